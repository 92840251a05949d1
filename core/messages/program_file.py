"""Reads program files, and says of a wrong one what is wrong, in which line, and what is allowed there."""

import json
import re
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from core.domain.program import (
    EXPIRY_MONTHS_MAX,
    RATE_POINTS_MAX,
    THRESHOLD_POINTS_MAX,
    Basis,
    Clawback,
    Expiry,
    Program,
    Qualification,
    SpendRule,
    Tier,
)
from core.errors import ProgramFileError
from core.messages.inbound_contract import CURRENCIES
from core.messages.problems import VALUE_CHARACTERS_MAX, near_currency, near_match
from core.messages.program_source import Problem, ProgramSource, YamlPath

_NAME = "1 to 36 of the characters a-z, 0-9, _ and -"
_DECIMAL = 'a decimal number in quotes with at most 4 decimal places, such as "1.25", or an integer'
_RATE = f"{_DECIMAL}, from 0 to {RATE_POINTS_MAX}"
_ALLOWED = {
    "program_id": _NAME,
    "rule_id": _NAME,
    "kind": "spend",
    "tier_id": _NAME,
    "name": "1 to 200 characters in one line",
    "currency": "an ISO 4217 code of three upper-case letters, such as EUR",
    "time_zone": "a name of the IANA database, such as Europe/London",
    "default": "true or false",
    "sources": "a list of message sources, such as [/shops/high-street]",
    "sources[]": "a message source of 1 to 200 characters, such as /shops/high-street",
    "basis": "fields indented below it: kinds, tax, points_paid",
    "kinds": "a list of at least one kind of order line",
    "earning_rules": "a list of 1 to 100 rules",
    "earning_rules[]": "a rule: rule_id, kind, per_amount, points, rounding",
    "per_amount": f"{_DECIMAL}, above 0",
    "points": 'one rate for each tier, such as {bronze: 1, silver: "1.25"}',
    "points.*": _RATE,
    "tiers": "a list of 1 to 100 tiers, in ascending order of threshold_points",
    "tiers[]": "a tier: tier_id, threshold_points",
    "threshold_points": f"an integer from 0 to {THRESHOLD_POINTS_MAX}",
    "qualification": "a field indented below it: window",
    "clawback": "a field indented below it: policy",
    "expiry": "fields indented below it: policy, months",
    "months": f"an integer from 1 to {EXPIRY_MONTHS_MAX}",
}

_PARTS: dict[str, type[BaseModel]] = {
    "basis": Basis,
    "earning_rules": SpendRule,
    "tiers": Tier,
    "qualification": Qualification,
    "clawback": Clawback,
    "expiry": Expiry,
}


def load_program(path: Path | str) -> Program:
    """Read a program file. ProgramFileError names every problem, one per line."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ProgramFileError(path=str(path), problems=error.strerror or "it cannot be read") from error
    except UnicodeDecodeError as error:
        problem = f"it is not written in UTF-8 (byte {error.start + 1})"
        raise ProgramFileError(path=str(path), problems=problem) from error
    return parse_program(text, path=str(path))


def parse_program(text: str, *, path: str) -> Program:
    """Read the text of a program file; `path` only names it in errors. ProgramFileError names every problem."""
    source = ProgramSource(text, path=path)
    document = source.value
    if not isinstance(document, dict):
        problem = "it is no program: write fields such as program_id, name, currency, earning_rules and tiers"
        raise ProgramFileError(path=path, problems=problem)
    problems = source.problems + _currency_problems(document, source)
    program = None
    try:
        program = Program.model_validate(document)
    except ValidationError as error:
        problems += _worded(error, document, source)
    if program is None or problems:
        lines = [str(problem) for problem in sorted(set(problems), key=lambda problem: (problem.line, str(problem)))]
        raise ProgramFileError(path=path, problems="\n".join(lines))
    return program


def program_document(program: Program) -> dict[str, Any]:
    """Give the program the JSON form in which the database keeps it; all defaults are written out."""
    return program.model_dump(mode="json")


def program_from_document(document: dict[str, Any]) -> Program:
    """Read what `program_document` wrote, in this or an earlier release."""
    return Program.model_validate(document)


def describe_differences(old: Program, new: Program) -> list[str]:
    """Say what changed, one readable line for each value; nothing when both mean the same."""
    return list(_differences("", old.model_dump(), new.model_dump()))


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            below = f"{path}.{key}".removeprefix(".")
            if key not in old:
                yield f"{below}: added ({_value_text(new[key])})"
            elif key not in new:
                yield f"{below}: removed ({_value_text(old[key])})"
            else:
                yield from _differences(below, old[key], new[key])
    elif isinstance(old, tuple) and isinstance(new, tuple):
        old_by_name, new_by_name = _by_name(old), _by_name(new)
        for name in dict.fromkeys([*old_by_name, *new_by_name]):
            below = f"{path}[{name}]"
            if name not in old_by_name:
                yield f"{below}: added" + _detail_text(new_by_name[name])
            elif name not in new_by_name:
                yield f"{below}: removed" + _detail_text(old_by_name[name])
            else:
                yield from _differences(below, old_by_name[name], new_by_name[name])
    elif old != new:
        yield f"{path}: {_value_text(old)} -> {_value_text(new)}"


def _by_name(values: tuple[Any, ...]) -> dict[str, Any]:
    return {
        str(value.get("rule_id") or value.get("tier_id")) if isinstance(value, dict) else str(value): value
        for value in values
    }


def _detail_text(value: Any) -> str:
    return f" ({_value_text(value)})" if isinstance(value, dict) else ""


def _value_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{key} {_value_text(item)}" for key, item in value.items() if key not in {"rule_id", "tier_id"}
        )
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _currency_problems(document: dict[str, Any], source: ProgramSource) -> list[Problem]:
    currency = document.get("currency")
    if not isinstance(currency, str) or currency in CURRENCIES:
        return []
    place = source.places["currency",]
    match = near_currency(currency)
    mend = f"did you mean {match}?" if match else f"write {_ALLOWED['currency']}"
    return [Problem(place.line, ("currency",), f"is {_shown(currency)}, which is no known currency; {mend}")]


def _worded(error: ValidationError, document: dict[str, Any], source: ProgramSource) -> list[Problem]:
    errors: list[dict[str, Any]] = [dict(item) for item in error.errors(include_url=False)]
    paths: list[YamlPath] = [item["loc"][:-1] if item["loc"][-1:] == ("[key]",) else item["loc"] for item in errors]
    missing = {path for path, item in zip(paths, errors, strict=True) if item["type"] == "missing"}
    mended: set[YamlPath] = set()  # missing fields that stand there misspelt
    reported = {problem.path for problem in source.problems}
    problems = []
    for path, item in zip(paths, errors, strict=True):
        if item["type"] == "extra_forbidden":
            meant = _meant_field(path, missing - mended)
            mended |= {(*path[:-1], meant)} if meant else set()
            problems.append(Problem(source.places[path].key_line, path, _no_field_text(path, meant)))
    for path, item in zip(paths, errors, strict=True):
        code = item["type"]
        if path in reported or path in mended or code == "extra_forbidden":
            continue
        if code == "too_short" and item["input"]:
            continue  # pydantic counts only the right elements; the wrong ones have problems of their own
        if code == "string_pattern_mismatch" and path == ("currency",):
            continue  # _currency_problems says more of it
        problems.append(Problem(_line_of(path, source), path, _text(path, item, document, source)))
    return problems


def _line_of(path: YamlPath, source: ProgramSource) -> int:
    while path not in source.places:
        path = path[:-1]
    return source.places[path].line


def _meant_field(path: YamlPath, missing: set[YamlPath]) -> str | None:
    wanted = [str(gap[-1]) for gap in sorted(missing, key=str) if gap[:-1] == path[:-1]]
    return near_match(str(path[-1]), wanted, cutoff=0.6) or near_match(str(path[-1]), _fields_at(path[:-1]))


def _no_field_text(path: YamlPath, meant: str | None) -> str:
    mend = f"did you mean {meant}?" if meant else f"known are {', '.join(_fields_at(path[:-1]))}"
    return f"is no field here; {mend}"


def _fields_at(path: YamlPath) -> list[str]:
    return list(_PARTS[str(path[0])].model_fields if path else Program.model_fields)


def _text(path: YamlPath, item: dict[str, Any], document: dict[str, Any], source: ProgramSource) -> str:
    """Word one of pydantic's errors, or one of the program's own."""
    value, place = item["input"], source.places.get(path)
    text = place.text if place else None
    match item["type"]:
        case "missing":
            worded = f"is missing; write {_allowed(path)}"
        case "enum" | "literal_error":
            worded = _choice_text(value, text, re.findall(r"'([^']*)'", item["ctx"]["expected"]))
        case "unknown_time_zone":
            meant = _near_time_zone(value)
            mend = f"did you mean {meant}?" if meant else f"write {_allowed(path)}"
            worded = f"is {_shown(value)}, which is no known time zone; {mend}"
        case "unknown_tier":
            tier_ids = [tier["tier_id"] for tier in document["tiers"]]
            worded = f"{item['msg']}; {_mend(str(path[-1]), tier_ids, 'one of ' + ', '.join(tier_ids))}"
        case "unquoted_decimal" if text and re.fullmatch(r"[0-9]{1,12}\.[0-9]{1,4}", text):
            worded = f'is the unquoted number {text}, which is not exact; write it in quotes: "{text}"'
        case "repeated" | "first_threshold" | "threshold_order":
            worded = f"is {text}; it {item['msg']}"
        case "missing_rate" | "missing_months" | "months_without_policy":
            worded = str(item["msg"])
        case "string_type" if text is not None:
            worded = f'is {_found(value, text)}; if it is meant as text, write it in quotes: "{text}"'
        case _:
            worded = f"is {_found(value, text)}; write {_allowed(path)}"
    return worded


def _near_time_zone(value: str) -> str | None:
    zones = sorted(zoneinfo.available_timezones())
    by_city = {zone.rpartition("/")[2]: zone for zone in zones}
    city = near_match(value, list(by_city), cutoff=0.8)
    return near_match(value, zones, cutoff=0.8) or (by_city[city] if city else None)


def _choice_text(value: Any, text: str | None, choices: list[str]) -> str:
    return f"is {_found(value, text)}; {_mend(str(value), choices, ' or '.join(choices))}"


def _mend(value: str, known: list[str], allowed: str) -> str:
    meant = near_match(value, known, cutoff=0.6)
    return f"did you mean {meant}?" if meant else f"write {allowed}"


def _allowed(path: YamlPath) -> str:
    if isinstance(path[-1], int):
        return _ALLOWED[f"{path[-2]}[]"]
    if path[-2:-1] == ("points",):
        return _ALLOWED["points.*"]
    return _ALLOWED[path[-1]]


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
