"""docs/peers.md says what stands for which field and operation of the peers: everything that it names is there."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

import pytest
from typing_extensions import is_typeddict

from core.domain.outcomes import RejectionCode
from core.domain.program import Program
from core.domain.value.verbs import Verb
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.inbound.contracts import INBOUND
from core.messages.outbound.published_events import OUTBOUND_EVENTS
from tests.pages import ROOT
from tests.posting.test_peers_situations import CASES, DONE, SIMULATED, SITUATIONS

PAGE = ROOT / "docs" / "peers.md"
_FIELD = re.compile(r"`([a-z_]+)` of (a program|`[a-z_.]+`)")
_TYPE = re.compile(r"`((?:loyalty|order)\.[a-z_.]+)`")


def rows() -> list[list[str]]:
    """The rows of all tables but the generated one: what is there, what is here, what differs."""
    lines = PAGE.read_text(encoding="utf-8").partition("<!-- /commands -->")[2].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if row[0] not in {"There", "Situation", "---"}]


def named_here() -> str:
    return "\n".join(" ".join(row[1:]) for row in rows())


def fields_of(model: Any) -> Iterator[str]:
    """The fields of `data`, and of what stands in it."""
    if is_typeddict(model):
        for name, annotation in get_type_hints(model, include_extras=True).items():
            yield name
            yield from fields_of(annotation)
    for part in get_args(model):
        yield from fields_of(part)


MODELS: Mapping[str, Any] = {
    **{name: contract.model for name, contract in INBOUND.items()},
    **{event_type.value: model for event_type, model in OUTBOUND_EVENTS.items()},
}


@pytest.mark.parametrize(("field", "of"), sorted(set(_FIELD.findall(named_here()))))
def test_every_field_that_is_named_exists(field: str, of: str) -> None:
    if of == "a program":
        assert field in Program.model_fields
        return
    named = of.strip("`")
    found = MODELS.get(named) or MODELS[COMMAND_PREFIX + named]
    assert field in set(fields_of(found))


@pytest.mark.parametrize("named", sorted(set(_TYPE.findall(named_here()))))
def test_every_type_that_is_named_exists(named: str) -> None:
    assert named in MODELS


def test_every_command_and_code_that_is_named_is_one() -> None:
    known = {*Verb, *RejectionCode, *Program.model_fields, *MODELS, "remainder"}
    known |= {name for model in MODELS.values() for name in fields_of(model)}
    words = set(re.findall(r"`([a-z_.]+)`", named_here()))
    assert words - known == {"null"}


def test_every_command_has_a_row() -> None:
    words = set(re.findall(r"`([a-z_.]+)`", named_here()))
    assert [verb.value for verb in Verb if verb not in words] == []


def situations() -> dict[str, list[str]]:
    """The rows of the last two tables, by their situations."""
    text = PAGE.read_text(encoding="utf-8").partition("## Lightrail's situations")[2]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {cells[0]: cells[1:] for cells in lines if cells[0] not in {"Situation", "---"}}


def test_every_situation_has_a_row_and_every_row_is_tried() -> None:
    assert situations().keys() == SITUATIONS


@pytest.mark.parametrize("situation", sorted({case.situation for case in (*CASES, *SIMULATED)}))
def test_a_row_names_the_codes_that_its_cases_get(situation: str) -> None:
    told = {case.told for case in (*CASES, *SIMULATED) if case.situation == situation} - {DONE}
    here = situations()[situation][0]
    assert {code for code in re.findall(r"`([a-z_]+)`", here) if code in set(RejectionCode)} == told
