# ruff: noqa: INP001  # a script, not a package
"""Writes docs/asyncapi.md, the page of docs/asyncapi.yaml and of the schemas that it names. A test keeps it current."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent

Part = dict[str, Any]


def page_text() -> str:
    """The same for people, as Markdown."""
    made = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text(encoding="utf-8"))
    lines = ["# AsyncAPI", "", "Made from [asyncapi.yaml](asyncapi.yaml), the AsyncAPI 3 document for tools.", ""]
    lines += [made["info"]["description"], *_servers_told(made), *_channels_told(made), *_operations_told(made)]
    lines += ["## Beside a message", ""]
    for name in ("besideWhatIsSent", "besideWhatIsTold"):
        beside = made["components"]["schemas"][name]
        lines += [beside["description"], "", *_fields_told(beside, {}), ""]
    for tag in made["components"]["tags"]:
        lines += [f"## {tag.capitalize()}", ""]
        for kind, message in made["components"]["messages"].items():
            if _ref_name(message.get("tags", [{"$ref": ""}])[0]) == tag:
                lines += _message_told(kind)
    return "\n".join(lines).rstrip() + "\n"


def _servers_told(made: Part) -> Iterator[str]:
    rows = [(server["title"], f"`{server['protocol']}`", server["description"]) for server in made["servers"].values()]
    yield from ("## Brokers", "", *_table(("Broker", "Protocol", "How it is named"), rows), "")
    schemes = made["components"]["securitySchemes"].items()
    rows = [(f"`{name}`", f"`{scheme['type']}`", scheme["description"]) for name, scheme in schemes]
    yield from (
        "## Security",
        "",
        made["operations"]["receiveFactsOnRabbitMQ"]["description"],
        "",
        *_table(("Scheme", "Type", "Meaning"), rows),
        "",
    )


def _channels_told(made: Part) -> Iterator[str]:
    rows = [
        (f"`{name}`", f"`{channel['address'] or 'reply_to'}`", channel["description"])
        for name, channel in made["channels"].items()
    ]
    yield from ("## Channels", "", *_table(("Channel", "Address", "What it is"), rows), "")


def _operations_told(made: Part) -> Iterator[str]:
    rows = []
    for name, operation in made["operations"].items():
        channel = _ref_name(operation["channel"])
        reply = operation.get("reply", {}).get("messages", ())
        answers = ", ".join(f"`{_ref_name(each)}`" for each in reply)
        rows.append((f"`{name}`", operation["action"], f"`{channel}`", operation["summary"], answers))
    yield from ("## Operations", "", *_table(("Operation", "Action", "Channel", "What it does", "Reply"), rows), "")


def _message_told(kind: str) -> Iterator[str]:
    schema = json.loads((FOLDER / "schemas" / f"{kind}.json").read_text(encoding="utf-8"))
    yield from (f"### {kind}", "", f"{schema['description']} Schema: [{kind}.json](schemas/{kind}.json).", "")
    parts = schema["$defs"]
    first = _ref_name(schema["properties"]["data"])
    for name in (first, *(each for each in parts if each != first)):
        title = "`data`" if name == first else f"`{name}`"
        yield from (
            f"**{title}**: {' '.join(parts[name]['description'].split())}",
            "",
            *_fields_told(parts[name], parts),
            "",
        )
    yield from ("```json", json.dumps(schema["examples"][0], indent=2, ensure_ascii=False), "```", "")


def _fields_told(part: Part, parts: Part) -> Iterator[str]:
    required = part.get("required", ())
    rows = [
        (f"`{name}`", _type_of(field), "yes" if name in required else "", " ".join(_meaning(field, parts).split()))
        for name, field in part["properties"].items()
    ]
    return _table(("Field", "Type", "Required", "Meaning"), rows)


def _meaning(field: Part, parts: Part) -> str:
    return str(field.get("description") or parts[_ref_name(field)]["description"])


def _type_of(field: Part) -> str:
    """What a field holds, in a few words."""
    match field:
        case {"$ref": _}:
            kind = f"`{_ref_name(field)}`"
        case {"const": value}:
            kind = f"`{value}`"
        case {"enum": values}:
            kind = ", ".join(f"`{value}`" for value in values)
        case {"anyOf": choices}:
            kind = " or ".join(dict.fromkeys(_type_of(each) for each in choices if each != {"type": "null"}))
        case {"items": dict(items)}:
            kind = f"list of {_type_of(items)}"
        case {"type": "object"}:
            kind = "values by name"
        case {"format": "date-time"}:
            kind = "instant"
        case {"type": "null"}:
            kind = "never"
        case _:
            kind = str(field.get("format", field["type"]))
    return kind


def _ref_name(part: Part) -> str:
    return str(part["$ref"]).rpartition("/")[2]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for line in (headings, ["---"] * len(headings), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"


if __name__ == "__main__":
    (FOLDER / "asyncapi.md").write_text(page_text(), encoding="utf-8")
