"""An id has nothing that a person does not see: no two ids look the same and are two."""

import json
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from core.domain.ids import id_pattern, oddity
from core.messages.inbound.fields import Id
from tests.pages import ROOT

ID = re.compile(id_pattern())
#: Of the category of format characters, but drawn: signs before Arabic and Kaithi numbers, a Syriac mark.
DRAWN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
UNSEEN_CATEGORIES = {"Cc", "Cf", "Zl", "Zp", "Zs"}
SCHEMAS = sorted((ROOT / "docs" / "schemas").glob("order.*.json"))


def test_no_character_that_is_not_seen_can_be_in_an_id() -> None:
    unseen = [
        code
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in UNSEEN_CATEGORIES and code not in DRAWN and chr(code) != " "
    ]
    assert [hex(code) for code in unseen if ID.search(f"a{chr(code)}b") or not oddity(f"a{chr(code)}b")] == []


@pytest.mark.parametrize("text", ["C-1001", "a b", "ø", "注文 1", "🧋", "/shops/high-street?x=1", "-", "[red]"])
def test_what_a_person_sees_can_be_an_id(text: str) -> None:
    assert (ID.search(text) is not None, oddity(text)) == (True, None)


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=6) | st.text(" a\u200b\u00a0\n", min_size=1))
def test_the_contract_refuses_what_has_a_reason_to_be_refused_and_nothing_else(text: str) -> None:
    try:
        TypeAdapter(Id).validate_python(text)
    except ValidationError:
        assert oddity(text) is not None
    else:
        assert oddity(text) is None


def fields(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each property of an object anywhere in a schema."""
    if isinstance(schema, dict):
        yield from (schema.get("properties") or {}).items()
    for below in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from fields(below)


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_every_id_of_a_message_is_of_that_kind(path: Any) -> None:
    ids = {
        name: json.dumps(schema)
        for name, schema in fields(json.loads(path.read_text()))
        if name in {"id", "source"} or name.endswith("_id")
    }
    assert {"id", "source"} < set(ids)
    patterns = [json.dumps(id_pattern(but=but)) for but in ("", "@")]
    assert [name for name, text in ids.items() if not any(pattern in text for pattern in patterns)] == []
