"""Says what is wrong with a message that came in: what, where, and how to mend it.

The text is stored, logged and published, so it shows a value only where that looks like what belongs there and like
nothing of a person (`shown_values`).

Explaining costs far more than reading, and whoever sends wrong messages decides how often it is done. So `Effort`
bounds it for each message; what is no longer looked at is counted, or said to be there.
"""

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from core.domain.ids import oddity
from core.domain.outcomes import Reason
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.inbound.contracts import Contracts
from core.messages.inbound.fields import (
    OWN_PROBLEM,
    SIGNED_AMOUNT_PATTERN,
    plain_decimal,
)
from core.messages.inbound.near_names import near_match
from core.messages.inbound.not_json import json_in_string, not_json_detail
from core.messages.inbound.order_messages import Envelope
from core.messages.inbound.shown_values import (
    DISCOUNTS,
    VALUE_CHARACTERS_MAX,
    may_be_shown,
    near_currency,
    near_kind,
    shown,
)
from core.messages.inbound.stray_fields import STRAY, stray_problems
from core.messages.inbound.unknown_types import meant_type
from core.messages.inbound.wanted import AMOUNTS, TIMES, wanted
from core.messages.inbound.wrong_numbers import number_advice
from core.messages.inbound.wrong_times import time_advice

PROBLEMS_SHOWN_MAX = 5
_KEYS_COMPARED_MAX = 50
_NAMES_COMPARED_MAX = 400
_LINES_CHECKED_MAX = 100
_PROBLEMS_TOLD_MAX = 200

_SIGNED_AMOUNT = re.compile(SIGNED_AMOUNT_PATTERN)
_NUMBERS = {*AMOUNTS, "quantity"}
_ENVELOPE: TypeAdapter[Envelope] = TypeAdapter(Envelope)
_ENVELOPE_FIELDS = set(Envelope.__annotations__)


#: Under this name stand the fields of a stream's entry that has no event: the broker's client hands them on so.
STREAM_ENTRY = "stream_entry"
_FIELD_LIKE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")
_FIELDS_SHOWN_MAX = 5


class Problem(NamedTuple):
    """One thing that is wrong."""

    path: tuple[str | int, ...]
    text: str

    def __str__(self) -> str:
        return f"{path_text(self.path)} {self.text}"


class Effort:
    """What explaining one message, a whole array of events, may still cost.

    Equal mistakes are looked up once, so that a sender who makes one in each event reads the same of each.
    """

    def __init__(self) -> None:
        self.names_left = _NAMES_COMPARED_MAX  #: pairs of names to compare
        self.lines_left = _LINES_CHECKED_MAX  #: lines to look at behind the first wrong one
        self.problems_left = _PROBLEMS_TOLD_MAX
        self._matches: dict[tuple[str, ...], str | None] = {}

    def near_match(self, name: str, known: Sequence[str], cutoff: float = 0.75) -> str | None:
        """As the function of that name, while names may be compared; then None."""
        key = (name, *known)
        if key not in self._matches:
            if len(known) > self.names_left:
                return None
            self.names_left -= len(known)
            self._matches[key] = near_match(name, known, cutoff)
        return self._matches[key]

    def told(self, problems: Sequence[Problem]) -> Sequence[Problem]:
        """Those that are worded: the first ones, and always the very first."""
        shown = problems[: max(1, min(PROBLEMS_SHOWN_MAX, self.problems_left))]
        self.problems_left -= len(shown)
        return shown


def explain(body: bytes, error: ValidationError, contracts: Contracts, effort: Effort) -> tuple[Reason, str] | None:
    """Word why `body` is not an event of the contracts; `error` is what their validator said of it.

    None: it is one, as what its fields of other names say does not matter.
    """
    errors = error.errors(include_url=False, include_input=False)
    if errors[0]["type"] == "json_invalid":
        return Reason.NOT_JSON, not_json_detail(body, errors[0]["msg"])
    event = from_json(body)
    if not isinstance(event, dict):
        found, mend = _found(event, "", effort), json_in_string(event) or "send an object, or an array of objects"
        return Reason.NOT_AN_EVENT, f"the message is {found}; {mend}"
    if set(event) == {STREAM_ENTRY} and isinstance(event[STREAM_ENTRY], dict):
        return Reason.NOT_AN_EVENT, _entry_detail(list(event[STREAM_ENTRY]))
    event_type = event.get("type")
    strays: list[Problem] = []
    if errors[0]["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        worded = list(_envelope_problems(body, event, contracts, effort))
        if not worded:
            return Reason.UNKNOWN_TYPE, _unknown_type_detail(cast("str", event_type), contracts, effort)
    else:
        strays = _strays(errors, event, contracts)
        errors = [each for each in errors if each["type"] != STRAY]
        worded = list(_problems(cast("list[dict[str, Any]]", errors), event, contracts, effort, skip=1))
        if not worded and not strays:
            return None
    problems = worded + strays
    problems.sort(key=lambda problem: problem.path[0] not in _ENVELOPE_FIELDS)  # keeps the order otherwise
    is_envelope_bad = problems[0].path[0] in _ENVELOPE_FIELDS
    further: list[Problem] = []
    lines_left = 0
    own = [each for each in errors if each["type"] == OWN_PROBLEM]
    if not any("lines" in each["loc"] for each in own):  # else the parser has been through all lines
        further, lines_left = _further_line_problems(event, worded, contracts, effort)
    unworded = sum(each.get("ctx", {}).get("more", 0) for each in own)
    detail = _joined(problems + further, unworded, lines_left, effort)
    return (Reason.BAD_ENVELOPE if is_envelope_bad else Reason.INVALID_DATA), detail


def path_text(path: tuple[str | int, ...]) -> str:
    """Write a path as a person reads it: `data.lines[3].amount`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _entry_detail(names: list[str]) -> str:
    """Say which fields an entry has instead of the one. What does not look like a name may be anything: not shown."""
    told = [name for name in names if _FIELD_LIKE.fullmatch(name)][:_FIELDS_SHOWN_MAX]
    more = len(names) - len(told)
    there = ", ".join([*told, *([f"{more} more" if told else f"{more} of other names"] if more else [])])
    return f"the entry has no field event; it has {there}: put the JSON of the event into the field event"


def _joined(problems: Sequence[Problem], unworded: int, lines_left: int, effort: Effort) -> str:
    told = effort.told(problems)
    parts = [str(problem) for problem in told]
    more = len(problems) - len(told) + unworded
    if more:
        parts.append(f"and {more:,} more")
    if lines_left:
        last = f"{lines_left:,} lines were" if lines_left > 1 else "line was"
        parts.append(f"the last {last} not looked at")
    return "; ".join(parts)


def _unknown_type_detail(event_type: str, contracts: Contracts, effort: Effort) -> str:
    meant = meant_type(event_type, contracts)
    mend = f"did you mean {meant}?" if meant else _known_types(event_type, contracts)
    return f"type is {_found(event_type, 'type', effort)}, which this release does not know; {mend}"


def _known_types(event_type: str, contracts: Contracts) -> str:
    """The commands, to who sends one; else the facts, as all commands would hide them."""
    commands = [each for each in contracts if each.startswith(COMMAND_PREFIX)]
    if commands and event_type.startswith(COMMAND_PREFIX):
        return f"known commands are {', '.join(commands)}"
    facts = ", ".join(each for each in contracts if each not in commands)
    return f"known are {facts}" + (f", and commands, which begin with {COMMAND_PREFIX}" if commands else "")


def _types_wanted(contracts: Contracts) -> str:
    facts = ", ".join(json.dumps(each) for each in contracts if not each.startswith(COMMAND_PREFIX))
    others = any(each.startswith(COMMAND_PREFIX) for each in contracts)
    return f"it must be one of the strings {facts}" + (f"; commands begin with {COMMAND_PREFIX}" if others else "")


def _strays(errors: Sequence[Any], event: Any, contracts: Contracts) -> list[Problem]:
    """The fields that must not be ignored, but for those that are named where the right one is missing."""
    if all(each["type"] != STRAY for each in errors):
        return []
    missing = {tuple(each["loc"][1:]) for each in errors if each["type"] == "missing"}
    found = stray_problems(event, contracts.places[event["type"]])
    return [Problem(path, text) for path, text, meant in found if (*path[:-1], meant) not in missing]


def _envelope_problems(body: bytes, event: dict[str, Any], contracts: Contracts, effort: Effort) -> Iterator[Problem]:
    try:
        _ENVELOPE.validate_json(body)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        yield from _problems(cast("list[dict[str, Any]]", errors), event, contracts, effort, skip=0)


def _further_line_problems(
    event: dict[str, Any], problems: list[Problem], contracts: Contracts, effort: Effort
) -> tuple[list[Problem], int]:
    """Look on where the parser stopped, at the first wrong line, so that a sender sees more than one at a time.

    With how many lines were not looked at.
    """
    stopped_at = next((problem.path for problem in problems if problem.path[:2] == ("data", "lines")), ())
    if len(stopped_at) < 4:  # noqa: PLR2004 - data, lines, number, field
        return [], 0
    lines = event["data"]["lines"]
    start = cast("int", stopped_at[2]) + 1
    end = min(len(lines), start + effort.lines_left)
    effort.lines_left -= end - start
    found: list[Problem] = []
    for place in range(start, end):
        alone = {"type": event["type"], "data": {"lines": [lines[place]]}}
        try:
            contracts.validate_python(alone)
        except ValidationError as error:
            # What is missing around the line does not matter here, nor what our own checks say of whole lines.
            every = error.errors(include_url=False, include_input=False)
            errors = [each for each in every if each["type"] not in {OWN_PROBLEM, STRAY}]
            below = _problems(cast("list[dict[str, Any]]", errors), alone, contracts, effort, skip=1)
            of_line = (problem for problem in below if problem.path[:3] == ("data", "lines", 0))
            found += [Problem(("data", "lines", place, *path[3:]), text) for path, text in of_line]
    return found, len(lines) - end


def _problems(
    errors: list[dict[str, Any]], event: Any, contracts: Contracts, effort: Effort, *, skip: int
) -> Iterator[Problem]:
    """Word each of pydantic's errors once per place: a union of types has one error for each type."""
    seen = set()
    for error in errors:
        path, parent, value = _walk(event, error["loc"][skip:], missing=error["type"] == "missing")
        if path in seen:
            continue
        seen.add(path)
        field = next((part for part in reversed(path) if isinstance(part, str)), None)
        if field and isinstance(path[-1], int):
            field += "[]"
        if error["type"] == OWN_PROBLEM:
            yield Problem(path, error["msg"])
        elif error["type"] == "missing":
            yield Problem(path, _missing_text(cast("str", field), parent, event.get("type"), contracts, effort))
        else:
            there = parent if isinstance(parent, dict) else {}
            event_type = event.get("type")
            advice = number_advice(field, value, there, event_type, contracts) if field in _NUMBERS else None
            advice = advice or _advice(value, field or "", event_type, contracts, effort)
            yield Problem(path, f"is {_found(value, field or '', effort)}; {advice}")


def _walk(event: Any, loc: tuple[str | int, ...], *, missing: bool) -> tuple[tuple[str | int, ...], Any, Any]:
    """Follow pydantic's location; it also names the members of unions, which are no part of the message."""
    path: list[str | int] = []
    parent, value = None, event
    for part in loc:
        if (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int)):
            parent, value = value, value[part]  # type: ignore[index]
        elif missing and isinstance(value, dict):
            parent, value = value, None
        else:
            break
        path.append(part)
    return tuple(path), parent, value


def _missing_text(field: str, parent: Any, event_type: object, contracts: Contracts, effort: Effort) -> str:
    keys = [key for key in islice(parent, _KEYS_COMPARED_MAX) if len(key) <= VALUE_CHARACTERS_MAX]
    unknown = [key for key in keys if key not in contracts.field_names]
    match = effort.near_match(field, unknown)
    if match:
        return f"is missing; did you mean it by {shown(match)}?"
    if field == "data" and "data_base64" in parent:
        return "is missing; send the facts as a JSON object in data, not as data_base64"
    return f"is missing; {_advice(None, field, event_type, contracts, effort)}"


def _found(value: Any, field: str, effort: Effort) -> str:
    """Say what stands there, and its value where that may be shown."""
    match value:
        case None | True | False:
            return shown(value)
        case int() | float():
            return f"the number {shown(value)}" if may_be_shown(field, value) else "a number"
        case str() if may_be_shown(field, value, effort.near_match):
            return f"the string {shown(value)}"
        case str():
            odd = oddity(value)
            return f"a string of length {len(value)}{odd or ''}"
        case list():
            return f"an array of length {len(value)}" if value else "an empty array"
        case _:
            return "an object"


def _advice(value: Any, field: str, event_type: object, contracts: Contracts, effort: Effort) -> str:
    """How to mend the value of a field, as far as it can be seen what was meant by it."""
    if field == "type":
        return _types_wanted(contracts)
    advice = None
    if field == "data":
        advice = json_in_string(value)
    elif isinstance(value, str) and len(value) <= VALUE_CHARACTERS_MAX:
        advice = _text_advice(value, field, effort)
    elif field in AMOUNTS and not isinstance(value, bool) and may_be_shown(field, value):
        advice = _number_as_text(value)
    return advice or wanted(field, event_type)


def _text_advice(value: str, field: str, effort: Effort) -> str | None:
    match = None
    if field == "currency":
        match = near_currency(value, effort.near_match)
    elif field == "kind" and value.casefold() in DISCOUNTS:
        return "a discount is not a line: take it off the amounts of the goods that it is for"
    elif field == "kind":
        match = near_kind(value)
    elif field in TIMES and may_be_shown(field, value):
        return time_advice(value)
    return f'did you mean "{match}"?' if match else None


def _number_as_text(value: float) -> str | None:
    written = shown(value)
    if not _SIGNED_AMOUNT.match(written):
        return None
    amount = Decimal(plain_decimal(written))
    places = -cast("int", amount.as_tuple().exponent)
    return f'amounts are decimal strings in major units: write "{amount:.{max(places, 2)}f}"'
