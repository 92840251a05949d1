"""Words what is wrong with a program file: where it stands, what is there, and what is allowed or was meant."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from core.domain.calendar import time_zone_names
from core.domain.program import BASE_TIER
from core.messages.inbound.fields import CURRENCIES
from core.messages.inbound.near_names import near_match
from core.messages.inbound.shown_values import VALUE_CHARACTERS_MAX, near_currency
from core.messages.program_files.file_fields import (
    allowed_at,
    fields_at,
    is_required,
    kinds_of,
    kinds_with,
    parts_with,
    value_at,
)
from core.messages.yaml_source import PROBLEMS_TOLD_MAX, Problem, YamlPath, YamlSource

#: A problem has up to three of pydantic's errors.
_WORDED_MAX = 3 * (PROBLEMS_TOLD_MAX + 1)
_LISTED_MAX = 12  #: names of fields in one problem
_KEY = "[key]"  #: how pydantic ends the place of a wrong key
_ANY_TIER = "*"
#: Problems of the domain that say all there is to say.
_COMPLETE = {
    "missing_with",
    "means_nothing",
    "dates_order",
    "price_order",
    "carry_with",
    "days_or_months",
    "missing_rate",
    "own_currency",
    "own_program",
}
_FORMATTED = {"day", "start", "end"}  #: texts that quotes alone do not make right
#: Those that go on from what stands there.
_CONTINUED = {"repeated", "first_threshold", "threshold_order", "hours_order", "in_and_out", "unit_currency"}


def currency_problems(source: YamlSource) -> Iterator[Problem]:
    """Say of a currency that nobody knows what was meant."""
    own, others = source.value.get("currency"), source.value.get("currencies")
    named: list[tuple[YamlPath, Any, int]] = []
    if isinstance(own, str):
        named.append((("currency",), own, source.places["currency",].line))
    if isinstance(others, dict):
        named += [(("currencies", name), name, source.places["currencies", name].key_line) for name in others]
    unit = source.value.get("unit")
    if isinstance(unit, str) and unit.isupper():
        named.append((("unit",), unit, source.places["unit",].line))
    for path, currency, line in named:
        if isinstance(currency, str) and currency not in CURRENCIES:
            match = near_currency(currency)
            at = path if path == ("unit",) else ("currency",)
            mend = f"did you mean {match}?" if match else f"write {allowed_at(at, source.value)}"
            yield Problem(line, path, f"is {_shown(currency)}, which is not a known currency; {mend}")


def empty_problems(source: YamlSource) -> Iterator[Problem]:
    """Refuse fields without a value: pydantic takes them for left out, and a limit that was meant would not be there.

    The documents of the database have such fields, so the domain cannot refuse them.
    """
    reported = {problem.path for problem in source.problems}
    for path, place in source.places.items():
        is_empty = place.text is not None and value_at(path, source.value) is None
        if is_empty and path not in reported and _is_known(path, source.value):
            leave = "" if is_required(path, source.value) else ", or leave the field out"
            yield Problem(place.line, path, f"is empty; write {allowed_at(path, source.value)}{leave}")


def ambiguous_problems(source: YamlSource) -> Iterator[Problem]:
    """Refuse words such as `no` (Norway) where a text and a truth value are both allowed: YAML reads them as false."""
    for path, place in source.places.items():
        is_either = ("attributes" in path and isinstance(path[-1], int)) or path[:1] == ("metadata",)
        if is_either and place.text not in {None, "true", "false"}:
            value = value_at(path, source.value)
            if isinstance(value, bool):
                read = "true" if value else "false"
                text = f'is {place.text}, which YAML reads as {read}; write {read}, or quote it: "{place.text}"'
                yield Problem(place.line, path, text)


def worded(error: ValidationError, source: YamlSource, reported: set[YamlPath]) -> list[Problem]:
    """Word each of pydantic's errors, and of the domain's own, once for each place that is not yet `reported`.

    Of very many those that stand first.
    """
    errors: list[dict[str, Any]] = [dict(item) for item in error.errors(include_url=False)]
    if len(errors) > _WORDED_MAX:
        errors = sorted(errors, key=lambda item: _line_of(_path(item, source), source))[:_WORDED_MAX]
    paths = [_path(item, source) for item in errors]
    missing = {path for path, item in zip(paths, errors, strict=True) if item["type"] == "missing"}
    mended: set[YamlPath] = set()  # missing fields that stand there misspelt
    problems: list[Problem] = []
    for path, item in zip(paths, errors, strict=True):
        if item["type"] == "extra_forbidden" and len(problems) <= PROBLEMS_TOLD_MAX:
            meant = _meant_field(path, missing - mended, source.value)
            mended |= {(*path[:-1], meant)} if meant else set()
            problems.append(Problem(source.places[path].key_line, path, _no_field_text(path, meant, source.value)))
    for path, item in zip(paths, errors, strict=True):
        code, value = item["type"], value_at(path, source.value)
        if path in reported or path in mended or code == "extra_forbidden":
            continue
        if len(problems) > 2 * PROBLEMS_TOLD_MAX:
            break
        if code == "too_short" and value:
            continue  # pydantic counts only the right elements; the wrong ones have problems of their own
        if _is_of_any_type(path):
            reported = {*reported, path}  # a value that is none of three types has three errors
        problems.append(_problem(path, item, value, source))
    return problems


def _problem(path: YamlPath, item: dict[str, Any], value: Any, source: YamlSource) -> Problem:
    if item["type"] in {"union_tag_not_found", "union_tag_invalid"}:
        return _kind_problem(path, source)
    return Problem(_line_of(path, source), path, _text(path, item, value, source))


def _path(item: dict[str, Any], source: YamlSource) -> YamlPath:
    """Where the error is in the file: pydantic also names the members of unions, which are no part of it."""
    path: YamlPath = item["loc"]
    if len(path) > 2 and path[2] in kinds_of(str(path[0])):  # noqa: PLR2004 - field, place, kind
        path = path[:2] + path[3:]
    if "attributes" in path:
        path = path[: path.index("attributes") + 3]
    if path[0] == "metadata":
        path = path[:2]
    if path[0] == "currencies" and path[-2:] == (0, "rate") and path[:-1] not in source.places:
        path = path[:-2]  # a rate for all time, without the list that it stands for
    if path[-1:] == (_KEY,) or (path[-1:] == (_ANY_TIER,) and path not in source.places):
        path = path[:-1]
    return path


def _is_known(path: YamlPath, document: Any) -> bool:
    """Whether all fields on the path are fields of a program; names of tiers and attributes are not fields."""
    return all(
        isinstance(part, int) or part in fields_at(path[:n], document) or not fields_at(path[:n], document)
        for n, part in enumerate(path)
    )


def _line_of(path: YamlPath, source: YamlSource) -> int:
    while path not in source.places:
        path = path[:-1]
    return source.places[path].line


def _meant_field(path: YamlPath, missing: set[YamlPath], document: Any) -> str | None:
    field = str(path[-1])
    wanted = [str(gap[-1]) for gap in sorted(missing, key=str) if gap[:-1] == path[:-1]]
    meant = near_match(field, wanted, cutoff=0.6)
    if meant is None and not (kinds_with(path[:-1], field) or parts_with(path[:-1], field, document)):
        there = value_at(path[:-1], document)
        meant = near_match(field, [name for name in fields_at(path[:-1], document) if name not in there], cutoff=0.65)
        meant = meant or near_match(field, fields_at(path[:-1], document))
    return meant


def _no_field_text(path: YamlPath, meant: str | None, document: Any) -> str:
    above, field = path[:-1], str(path[-1])
    if meant:
        return f"is not a field here; did you mean {meant}?"
    kinds, parts = kinds_with(above, field), parts_with(above, field, document)
    places = [f"below {part}" for part in parts] + [f"to kind {kind}" for kind in kinds]
    if kinds:
        return f"means nothing with kind {value_at((*above, 'kind'), document)}; it belongs {' or '.join(places)}"
    if parts:
        return f"is not a field here; it belongs {' or '.join(places)}"
    if beside := _beside(above, field, document):
        return f"is not a field here; it belongs {beside}"
    return f"is not a field here; known are {_listed(fields_at(above, document))}"


def _listed(fields: Sequence[str]) -> str:
    """The names of all of them, or of the first and how many there are besides."""
    count = len(fields) if len(fields) <= _LISTED_MAX + 1 else _LISTED_MAX
    more = f" and {len(fields) - count} more: see docs/programs.md" if count < len(fields) else ""
    return f"{', '.join(fields[:count])}{more}"


def _beside(above: YamlPath, field: str, document: Any) -> str | None:
    """Where the field belongs, if that is around the part in which it stands, or in another part beside that."""
    if len(above) < 2 or not isinstance(above[-1], str):  # noqa: PLR2004 - the file itself, and one of its parts
        return None
    around, here = above[:-1], above[-1]
    if field in fields_at(around, document):
        return f"beside {here}"
    parts = [part for part in parts_with(around, field, document) if part != here]
    return f"below {' or '.join(parts)}" if parts else None


def _kind_problem(path: YamlPath, source: YamlSource) -> Problem:
    kinds = kinds_of(str(path[0]))
    value = value_at((*path, "kind"), source.value)
    if value is not None:
        place = source.places[*path, "kind"]
        return Problem(place.line, (*path, "kind"), _choice_text(value, place.text, kinds))
    element = value_at(path, source.value)
    unknown = [name for name in element if name not in fields_at(path, source.value)]
    misspelt = near_match("kind", unknown, cutoff=0.7)
    if misspelt:
        text = "is not a field here; did you mean kind?"
        return Problem(source.places[*path, misspelt].key_line, (*path, misspelt), text)
    return Problem(_line_of(path, source), (*path, "kind"), f"is missing; write {' or '.join(kinds)}")


def _text(path: YamlPath, item: dict[str, Any], value: Any, source: YamlSource) -> str:
    """Word one of pydantic's errors, or one of the program's own."""
    place = source.places.get(path)
    text = place.text if place else None
    allowed = allowed_at(path, source.value) if item["type"] not in _COMPLETE else ""
    match item["type"]:
        case "missing":
            said = f"is missing; write {allowed}"
        case "enum" | "literal_error":
            said = _choice_text(value, text, re.findall(r"'([^']*)'", item["ctx"]["expected"]))
        case "unknown_time_zone":
            meant = _near_time_zone(value)
            mend = f"did you mean {meant}?" if meant else f"write {allowed}"
            said = f"is {_shown(value)}, which is not a time zone of the IANA database; {mend}"
        case "unknown_tier":
            tier_ids = [tier["tier_id"] for tier in source.value.get("tiers", [{"tier_id": BASE_TIER.tier_id}])]
            found, name = ("", path[-1]) if isinstance(path[-1], str) else (f"is {text}; it ", value)
            said = f"{found}{item['msg']}; {_mend(str(name), tier_ids, 'one of ' + ', '.join(tier_ids))}"
        case "unquoted_decimal" if text and re.fullmatch(r"[0-9]{1,12}\.[0-9]{1,4}", text):
            said = f'is the unquoted number {text}, which is not exact; write it in quotes: "{text}"'
        case "too_long" if isinstance(value, list):
            said = f"has {len(value):,} items; write {allowed}"
        case code if code in _CONTINUED and text is not None:
            said = f"is {_cut(text)}; it {item['msg']}"
        case code if code in _COMPLETE | _CONTINUED:
            said = str(item["msg"])
        case "string_type" if text is not None and path[-1] not in _FORMATTED and not _is_of_any_type(path):
            said = f'is {_found(value, text)}; if it is meant as text, write it in quotes: "{_cut(text)}"'
        case _:
            said = f"is {_found(value, text)}; write {allowed}"
    return said


def _is_of_any_type(path: YamlPath) -> bool:
    """Whether a text, an integer and a truth value may all stand there, so that a problem has an error for each."""
    return "attributes" in path or path[0] == "metadata"


def _near_time_zone(value: str) -> str | None:
    zones = sorted(time_zone_names())
    value = value.removeprefix("posix/").removeprefix("right/")
    if value in zones:
        return value
    by_city = {zone.rpartition("/")[2]: zone for zone in zones}
    city = near_match(value, list(by_city), cutoff=0.8)
    return near_match(value, zones, cutoff=0.8) or (by_city[city] if city else None)


def _choice_text(value: Any, text: str | None, choices: list[str]) -> str:
    return f"is {_found(value, text)}; {_mend(str(value), choices, ' or '.join(choices))}"


def _mend(value: str, known: list[str], allowed: str) -> str:
    meant = near_match(value, known, cutoff=0.6)
    return f"did you mean {meant}?" if meant else f"write {allowed}"


def _found(value: Any, text: str | None) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            read = "true" if value else "false"
            return read if text == read else f"{text}, which YAML reads as {read}"
        case str():
            return f"the text {_shown(value)}"
        case list():
            return "a list" if value else "an empty list"
        case dict():
            return "a group of fields"
        case _:
            kind = "number" if isinstance(value, int | float) else "date"
            return f"the {kind} {_cut(text or str(value))}"


def _shown(value: str) -> str:
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[: VALUE_CHARACTERS_MAX - 3]}..."
