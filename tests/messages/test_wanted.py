"""What the sender of a wrong field reads is what the contract of that field says."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from core.domain.ids import id_pattern
from core.messages.inbound.contracts import CONTRACTS
from core.messages.inbound.fields import ID_CHARACTERS_MAX
from core.messages.inbound.wanted import wanted
from tests.messages.inbound_samples import LIMITS, ORDER, REFUND, changed, refused

TRUSTED = LIMITS._replace(is_trusted=True, reference_salt=b"s" * 32)
ID_TEXT = wanted("an id", None)
#: What a text must say of each kind of value.
KIND_WORDS = {
    "string": r'string|write one of|RFC 3339|write "1.0"',
    "integer": r"whole number|integer",
    "array": r"an array of",
    "object": r"object",
    "boolean": r"true",
}
TRACES = {"traceparent", "tracestate"}  # of which anything is taken


def fields_of(schema: dict[str, Any], above: dict[str, Any], type_name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each field of a JSON Schema with its own schema, and what stands in arrays as the field "name[]"."""
    schema = resolved(schema, above)
    for name, each in schema.get("properties", {}).items():
        field = resolved(each, above)
        yield name, field
        yield from fields_of(field, above, type_name)
        if field.get("type") == "array":
            yield f"{name}[]", resolved(field["items"], above)
            yield from fields_of(field["items"], above, type_name)


def resolved(schema: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The schema without references, and without the null that says as much as leaving out."""
    if "$ref" in schema:
        return resolved(above["$defs"][schema["$ref"].rpartition("/")[2]], above)
    choices = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(choices) == 1:
        rest = {name: value for name, value in schema.items() if name != "anyOf"}
        return {**resolved(choices[0], above), **rest}
    return schema


def all_fields() -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    for contract in CONTRACTS:
        schema = TypeAdapter(contract.model).json_schema()
        found += [(contract.type, *field) for field in fields_of(schema, schema, contract.type)]
    return [each for each in found if each[1] not in TRACES | {"type"} and each[2].get("type") != "null"]


FIELDS = all_fields()


def says(text: str, value: object) -> bool:
    """Whether a number or a word stands in a text, by itself."""
    word = f"{value:,}" if isinstance(value, int) else str(value)
    return re.search(rf"(?<![\d,]){re.escape(word)}(?![\d,]\d)", text) is not None


def unsaid(text: str, schema: dict[str, Any]) -> list[str]:
    """What a field demands and its text does not say."""
    kinds = {each["type"] for each in schema.get("anyOf", (schema,)) if "type" in each}
    missing = [kind for kind in kinds if not re.search(KIND_WORDS[kind], text)]
    bounds = ("minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength", "maxProperties")
    missing += [f"{name} {schema[name]}" for name in bounds if name in schema and not says(text, schema[name])]
    missing += [f"the word {word}" for word in schema.get("enum", ()) if not says(text, word)]
    if schema.get("pattern") == id_pattern(but="@") and '"@"' not in text:
        missing.append("without @")
    if schema.get("format") == "date-time" and "RFC 3339" not in text:
        missing.append("a time")
    if "not" in schema and "pattern" in schema["not"] and not re.search("above 0|UUID", text):
        missing.append("what it must not be")
    return missing


def is_id(schema: dict[str, Any]) -> bool:
    return (schema.get("pattern"), schema.get("maxLength")) == (id_pattern(), ID_CHARACTERS_MAX)


def test_the_fields_of_all_contracts_are_walked_over() -> None:
    names = {(event_type, name) for event_type, name, _ in FIELDS}
    assert ("order.amended", "revision") in names
    assert ("order.completed", "lines[]") in names
    assert ("loyalty.command.account.create", "role") in names
    assert len(names) > 300


def test_each_field_that_is_no_id_has_a_text_of_its_own() -> None:
    assert {(each, name) for each, name, schema in FIELDS if not is_id(schema) and wanted(name, each) == ID_TEXT} == (
        set()
    )


def test_each_text_says_all_that_the_field_demands() -> None:
    found = {(each, name): unsaid(wanted(name, each), schema) for each, name, schema in FIELDS}
    assert {field: missing for field, missing in found.items() if missing} == {}


def command(verb: str, **data: Any) -> dict[str, Any]:
    return {**REFUND, "type": f"loyalty.command.{verb}", "data": data}


CREATION = {"customer_id": "c-1", "account_id": "till-7"}
AMENDED = {**ORDER, "type": "order.amended", "data": {**ORDER["data"], "revision": 1}}


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (changed(AMENDED, "data.revision", ...), "data.revision is missing; it must be a whole number"),
        (changed(AMENDED, "data.revision", "1"), "written without quotes and without a point, from 1 to 1,000,000,000"),
        (changed(AMENDED, "data.lines.0.amount", "-2,50"), "below 0 for what is given back in exchange"),
        (changed(AMENDED, "data.lines.0.amount", -2.5), 'write "-2.50"'),
        (changed(AMENDED, "data.lines.0.quantity", -1.5), "decimal string that is not 0"),
        (command("credit", customer_id="c-1", points=5, expires_at="2026-12-31"), "the date, time and offset"),
        (command("authorize", customer_id="c-1", points=5, expires_in_seconds=60), "from 3,600 to 7,776,000"),
        (command("account.create", account_id="till-7"), "data.customer_id is missing; it must be a string of 1 to"),
        (command("account.create", **CREATION, members=["c-2"]), "data.members[0] is a string of length 3; a member"),
        (command("account.create", **CREATION, tags="vip"), "data.tags is a string of length 3; it must be an array"),
        (command("account.create", customer_id="c-1", account_id="a@b"), "of 1 to 64 characters"),
        (command("account.merge", customer_id="c-1", into_customer_id="a@b.example"), 'without "@": an opaque id'),
        (changed(changed(ORDER, "data.customer_id", ...), "data.card", "4111 1111"), "4 to 64 letters, digits and"),
    ],
)  # fmt: skip
def test_the_sender_reads_the_text_of_the_field(event: dict[str, Any], told: str) -> None:
    assert told in refused(event, TRUSTED).detail


def test_only_an_order_may_leave_its_customer_out_for_a_guest() -> None:
    details = {each: wanted("customer_id", each) for each, name, _ in FIELDS if name == "customer_id"}
    assert {each for each, text in details.items() if "guest" in text} == {"order.completed", "order.amended"}
