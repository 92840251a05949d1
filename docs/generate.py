# ruff: noqa: INP001  # a script, not a package
"""Writes the tables of the docs that follow from the code: settings, queue names, reasons, fields of a program file.

`python docs/generate.py` rewrites them in place, between the markers `<!-- name: ... -->` and `<!-- /name -->`.
A test fails while they differ from the code.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from inspect import getsource
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))  # run as a script, only this folder is on the path

from config.queues import QUEUE_NAMES  # noqa: E402
from config.schedule import TICKS  # noqa: E402
from config.settings import Settings  # noqa: E402
from core.domain import outcomes  # noqa: E402
from core.domain.value.verbs import Verb  # noqa: E402
from core.messages.inbound.command_messages import COMMAND_PREFIX  # noqa: E402
from core.messages.inbound.contracts import INBOUND  # noqa: E402
from core.messages.reasons import MENDS  # noqa: E402
from core.messages.schemas import all_schemas  # noqa: E402
from core.store.report_views import REPORT_VIEWS  # noqa: E402
from tasks.registry import TASKS  # noqa: E402
from workers.metrics.families import COUNTED, FAMILIES, OF_ROLE  # noqa: E402

#: Parts of a program file with the heading under which the page of programs tells of each.
_PARTS = {
    "RatePeriod": "currencies",
    "Basis": "basis",
    "When": "when",
    "Hours": "hours",
    "Lines": "lines",
    "Caps": "caps",
    "Limits": "limits",
    "Tier": "tiers",
    "Qualification": "qualification",
    "Availability": "availability",
    "Clawback": "clawback",
    "Expiry": "expiry",
    "Reminders": "reminders",
    "ValueLimits": "limits-of-customers",
    "CustomerLimit": "days-and-months",
    "Conversion": "conversions",
}
_RULES = {"SpendRule": "spend", "VisitRule": "visit", "ItemRule": "item", "CategoryRule": "category"}
_PROMOTIONS = {"MultiplierPromotion": "multiplier", "AdditionPromotion": "addition"}
_REWARDS = {"AmountReward": "amount", "PercentReward": "percent", "ItemReward": "article", "UnitsReward": "units"}

_MANY = 1_000_000

_LIMITS = {"ge": "from {}", "gt": "above {}", "le": "to {}", "lt": "below {}"}


def tables() -> dict[str, dict[str, str]]:
    """Every generated table, by file and name."""
    return {
        "operations.md": {"settings": _settings(), "tasks": _tasks()},
        "messages.md": {"reasons": _reasons()},
        "programs.md": _program_fields(),
        "peers.md": {"commands": _commands()},
        "reading.md": {"views": _views()},
        "monitoring.md": {"metrics": _metrics()},
    }


def with_tables(text: str, named: dict[str, str]) -> str:
    """Put the tables between their markers; KeyError-like failure is a marker that is not there."""
    for name, table in named.items():
        pattern = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, count = pattern.subn(lambda found, table=table: f"{found[1]}{table}{found[2]}", text)
        if count != 1:
            raise ValueError(f"the markers of table {name} stand {count} times")
    return text


def _settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        meaning = " ".join((field.description or "").split())
        limits = _limits(field.metadata) + _choices(field.annotation)
        rows.append((f"`LOYALTY_{name.upper()}`", _default(field.default), f"{meaning}{limits}"))
    return _table(("Setting", "Default", "Meaning"), rows)


def _default(value: Any) -> str:
    return "unset" if value is None else f"`{value}`"


def _limits(metadata: Sequence[Any]) -> str:
    limits = [
        text.format(f"{getattr(bound, name):,}")
        for bound in metadata
        for name, text in _LIMITS.items()
        if hasattr(bound, name)
    ]
    return f" ({' '.join(limits)})" if limits else ""


def _choices(annotation: Any) -> str:
    return f" ({', '.join(get_args(annotation))})" if get_origin(annotation) is Literal else ""


def _tasks() -> str:
    every = {tick.task: f"{tick.every_seconds:g} s" for tick in TICKS}
    rows = []
    for task in TASKS:
        assert task.queue in QUEUE_NAMES
        summary = (task.function.__doc__ or "").partition("\n")[0]
        rows.append((f"`{task.name}`", f"`{task.queue}`", every.get(task.name, "when there is work"), summary))
    return _table(("Task", "Queue", "Runs each", "What it does"), rows)


def _metrics() -> str:
    tellers: dict[str, list[str]] = {}
    for role, families in COUNTED.items():
        for family in families:
            tellers.setdefault(family.name, []).append(role)
    for family in FAMILIES:
        tellers.setdefault(family.name, ["every role" if family in OF_ROLE else "beat"])
    rows = []
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append((f"`{family.name}`", family.kind, labels, ", ".join(tellers[family.name]), family.meaning))
    return _table(("Metric", "Kind", "Labels", "Told by", "What it says"), rows)


def _commands() -> str:
    rows = [(f"`{verb}`", "yes" if COMMAND_PREFIX + verb in INBOUND else "not yet") for verb in Verb]
    return _table(("Command", "Taken by this release"), rows)


def _views() -> str:
    parts = []
    for view, (row, columns) in REPORT_VIEWS.items():
        rows = [(f"`{column}`", meaning) for column, meaning in columns.items()]
        parts.append(f"\n**`{view}`**: each row is {row}\n\n{_table(('Column', 'What it holds'), rows)}")
    return "".join(parts) + "\n"


def _reasons() -> str:
    # What a reason means stands beside it in the source, as a comment.
    meanings = dict(re.findall(r'= "(\w+)"  #: (.+)', getsource(outcomes.Reason)))
    rows = [(f"`{reason}`", meanings[reason], MENDS[reason]) for reason in outcomes.Reason]
    return _table(("Reason", "What is wrong", "What mends it"), rows)


def _program_fields() -> dict[str, str]:
    """One table for each part of a program file. What all kinds of rule have stands in one of its own."""
    schema = all_schemas()["program.schema.json"]
    parts = schema["$defs"]
    found = {"program": _fields(schema, parts)}
    found |= {anchor: _fields(parts[name], parts) for name, anchor in _PARTS.items()}
    for shared, kinds in (("rules", _RULES), ("promotions", _PROMOTIONS), ("rewards", _REWARDS)):
        fields = [list(parts[name]["properties"]) for name in kinds]
        of_all = {field for field in fields[0] if all(field in others for others in fields)}
        of_all -= {field for field in of_all if len({_what(parts[name], field, parts) for name in kinds}) > 1}
        found[shared] = _fields(parts[next(iter(kinds))], parts, only=of_all)
        for name, kind in kinds.items():
            found[kind] = _fields(parts[name], parts, only=set(parts[name]["properties"]) - of_all - {"kind"})
    return found


def _fields(part: dict[str, Any], parts: dict[str, Any], only: set[str] | None = None) -> str:
    rows = [
        (f"`{name}`", _what(part, name, parts), _program_default(part, name), _meaning(field, parts))
        for name, field in part["properties"].items()
        if only is None or name in only
    ]
    return _table(("Field", "Value", "Default", "Meaning"), rows)


def _meaning(field: dict[str, Any], parts: dict[str, Any]) -> str:
    return str(field.get("description") or parts[field["$ref"].rpartition("/")[2]]["description"])


def _program_default(part: dict[str, Any], name: str) -> str:
    if name in part.get("required", ()):
        return "required"
    default = part["properties"][name].get("default")
    match default:
        case None | []:
            return ""
        case list():
            return f"`[{', '.join(default)}]`"
        case bool():
            return f"`{str(default).lower()}`"
        case _:
            return f"`{default}`"


def _what(part: dict[str, Any], name: str, parts: dict[str, Any]) -> str:
    field = part["properties"][name]
    return f"[list](#{name.replace('_', '-')})" if "oneOf" in field.get("items", ()) else _kind_of(field, parts)


def _kind_of(field: dict[str, Any], parts: dict[str, Any]) -> str:
    """What kind of value a field holds, in a few words."""
    referred = str(field.get("$ref", "")).rpartition("/")[2]
    choices = parts.get(referred, {}).get("enum") or ([field["const"]] if "const" in field else [])
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    match field:
        case {"$ref": _}:
            kind = f"[{_PARTS[referred]}](#{_PARTS[referred]})"
        case {"items": {"anyOf": _}}:
            kind = "list"
        case {"items": items}:
            kind = f"list: {_kind_of(items, parts)}"
        case {"anyOf": [_, {"additionalProperties": _}]}:
            kind = "decimal, or one for each tier"
        case {"anyOf": _}:
            kind = "decimal"
        case {"type": "integer", "minimum": least, "maximum": most}:
            kind = f"integer, {least:,} to {most:,}" if most < _MANY else f"integer from {least:,}"
        case {"type": "boolean"}:
            kind = "`true`, `false`"
        case {"patternProperties": _}:
            kind = "[rates by code](#currencies)"
        case {"type": "object", "additionalProperties": each}:
            kind = "lists by name" if each.get("type") == "array" else "values by name"
        case {"format": "date"}:
            kind = "date"
        case _:
            kind = "text"
    return kind


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    for file, named in tables().items():
        path = FOLDER / file
        path.write_text(with_tables(path.read_text(encoding="utf-8"), named), encoding="utf-8")
