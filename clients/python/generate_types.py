"""Writes the types of the client, loyalty_client/{values,facts,commands,events}.py, from the published JSON Schemas.

`python clients/python/generate_types.py` makes them from docs/schemas. A test fails while they differ. From them
datamodel-code-generator makes four times as many lines: four classes for one refund, and hundreds of numbered ones.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import indent, wrap
from typing import Any

FOLDER = Path(__file__).parent
SCHEMAS = FOLDER.parents[1] / "docs" / "schemas"
PACKAGE = FOLDER / "loyalty_client"

Part = dict[str, Any]

COMMAND_PREFIX = "loyalty.command."
ANSWERS = {"loyalty.command.accepted", "loyalty.command.rejected"}
#: What stands in the base classes (loyalty_client/envelope.py).
ENVELOPE = {"specversion", "id", "source", "time", "datacontenttype", "subject", "traceparent", "tracestate"}
#: Values that many fields share get the name of the field that shows what they are: message, part, field.
NAMED = {
    "Id": ("order.completed", "OrderCompletedData", "order_id"),
    "CustomerId": ("order.claimed", "OrderClaimedData", "customer_id"),
    "Label": ("order.completed", "OrderLineData", "sku"),
    "Words": ("loyalty.command.credit", "CreditData", "reason"),
    "OperatorName": ("loyalty.command.credit", "CreditData", "by"),
    "OwnAccountId": ("loyalty.command.account.create", "CreateData", "account_id"),
    "CardNumber": ("loyalty.command.account.link", "LinkData", "card"),
    "CurrencyCode": ("order.completed", "OrderCompletedData", "currency"),
    "Amount": ("order.completed", "OrderLineData", "amount"),
    "SignedAmount": ("order.amended", "AmendedLineData", "amount"),
    "Quantity": ("order.completed", "OrderLineData", "quantity"),
    "SignedQuantity": ("order.amended", "AmendedLineData", "quantity"),
    "ExchangeRate": ("order.completed", "OrderCompletedData", "rate"),
    "Attributes": ("order.completed", "OrderCompletedData", "attributes"),
    "Points": ("loyalty.command.credit", "CreditData", "points"),
}
#: Written as text, and given as Decimal too.
DECIMALS = {"Amount", "SignedAmount", "Quantity", "SignedQuantity", "ExchangeRate"}
_SAYS_NOTHING = {"description", "examples"}
_WIDTH = 112
#: Longer patterns are those of ids, which list the characters that nobody sees.
_PATTERN_MAX = 200


def modules() -> dict[str, str]:
    """The text of each generated module, by its name."""
    schemas = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(SCHEMAS.glob("*.json"))}
    del schemas["program.schema"]
    values = _named_values(schemas)
    facts = {kind: schema for kind, schema in schemas.items() if kind.startswith("order.")}
    commands = {
        kind: schema for kind, schema in schemas.items() if kind.startswith(COMMAND_PREFIX) and kind not in ANSWERS
    }
    events = {kind: schema for kind, schema in schemas.items() if kind not in facts and kind not in commands}
    made = {
        "values": _values_module(values),
        "facts": _Module("What shops report of their orders.", "SentPart", "Fact", values).text(facts),
        "commands": _Module("What services ask for.", "SentPart", "Command", values).text(commands),
        "events": _Module("What the loyalty worker publishes.", "ReceivedPart", "Event", {}).text(events),
    }
    return {name: _formatted(f"{text}\n") for name, text in made.items()}


def class_name(kind: str) -> str:
    """The class of a type: OrderCompleted of order.completed, AccountCreate of loyalty.command.account.create."""
    words = kind if kind in ANSWERS else kind.removeprefix(COMMAND_PREFIX)
    return "".join(word.capitalize() for word in words.removeprefix("loyalty.").replace(".", "_").split("_"))


def _named_values(schemas: Part) -> dict[str, Part]:
    found = {}
    for name, (kind, part, field) in NAMED.items():
        found[name] = _bare(schemas[kind]["$defs"][part]["properties"][field])
    return found


def _bare(schema: Part) -> Part:
    """Only what a value must be, without null and without what is said of it."""
    if "anyOf" in schema:
        choices = [_bare(each) for each in schema["anyOf"] if each != {"type": "null"}]
        return choices[0] if len(choices) == 1 else {"anyOf": choices}
    return {name: value for name, value in schema.items() if name not in _SAYS_NOTHING}


def _values_module(values: dict[str, Part]) -> str:
    lines = [
        f"{name} = {_decimal(schema) if name in DECIMALS else _type_of(schema, {})}" for name, schema in values.items()
    ]
    body = "\n".join(lines)
    return "\n".join(
        [
            _head("The kinds of value that messages hold."),
            "from decimal import Decimal",
            "from typing import Annotated\n",
            f"from pydantic import {_used(body, 'AfterValidator', 'BeforeValidator', 'Field')}\n",
            f"from loyalty_client.checks import {_used(body, 'decimal_text', 'other_than', 'unlike', 'visible')}\n",
            body,
        ]
    )


def _used(body: str, *names: str) -> str:
    return ", ".join(name for name in names if f"{name}(" in body)


def _decimal(schema: Part) -> str:
    (text,) = [each for each in schema.get("anyOf", [schema]) if each["type"] == "string"]
    whole = [_type_of(each, {}) for each in schema.get("anyOf", []) if each["type"] == "integer"]
    check = f"decimal_text({_literal(text['pattern'])}{', not_zero=True' if 'not' in text else ''})"
    return f"Annotated[{' | '.join([*whole, 'str', 'Decimal'])}, BeforeValidator({check})]"


class _Module:
    """One module of classes."""

    def __init__(self, about: str, part_base: str, message_base: str, values: dict[str, Part]) -> None:
        self._about, self._part_base, self._message_base, self._values = about, part_base, message_base, values

    def text(self, schemas: dict[str, Part]) -> str:
        parts: dict[str, Part] = {}
        for schema in schemas.values():
            for name, part in schema["$defs"].items():
                assert parts.setdefault(name, part) == part, f"two parts are called {name}"
        classes = [self._class(name, part, self._part_base) for name, part in _sorted_by_need(parts)]
        classes += [self._message(kind, schema) for kind, schema in schemas.items()]
        names = ", ".join(f'"{kind}": {class_name(kind)}' for kind in schemas)
        base = self._message_base
        classes.append(f"{base.upper()}S: dict[str, type[{base}]] = {{{names}}}\n" + _docstring("By their types."))
        body = "\n\n\n".join(classes)
        return "\n".join([*self._imports(body), "", "", body])

    def _imports(self, body: str) -> Iterator[str]:
        yield _head(self._about)
        typing = [name for name in ("Annotated", "Any", "ClassVar", "Literal") if f"{name}" in body]
        pydantic = [name for name in ("AfterValidator", "AwareDatetime", "Field") if name in body]
        yield f"from typing import {', '.join(typing)}\n"
        yield f"from pydantic import {', '.join(pydantic)}\n"
        if checks := [name for name in ("other_than", "unlike", "visible") if f"{name}(" in body]:
            yield f"from loyalty_client.checks import {', '.join(checks)}"
        yield f"from loyalty_client.envelope import {', '.join(sorted({self._part_base, self._message_base}))}"
        words = set(body.replace("[", " ").replace("]", " ").replace(",", " ").split())
        if named := [name for name in sorted(self._values) if name in words]:
            yield f"from loyalty_client.values import {', '.join(named)}"

    def _class(self, name: str, part: Part, base: str) -> str:
        lines = [f"class {name}({base}):", indent(_docstring(part["description"]), "    "), ""]
        lines += [indent(line, "    ") for line in _constraints(part)]
        required = part.get("required", ())
        # A type checker wants fields without a default first, and a constructor by keywords does not mind.
        fields = [(field, schema) for field, schema in part["properties"].items() if schema.get("type") != "null"]
        for field, schema in fields:
            lines.append(indent(self._field(field, schema, is_required=field in required), "    "))
        return "\n".join(lines)

    def _message(self, kind: str, schema: Part) -> str:
        own = {name: part for name, part in schema["properties"].items() if name not in ENVELOPE | {"type"}}
        lines = [
            f"class {class_name(kind)}({self._message_base}):",
            indent(_docstring(schema["description"]), "    "),
            "",
            f"    type: Literal[{_literal(kind)}] = {_literal(kind)}",
        ]
        for name, part in own.items():
            lines.append(indent(self._field(name, part, is_required=name in schema["required"]), "    "))
        return "\n".join(lines)

    def _field(self, name: str, schema: Part, *, is_required: bool) -> str:
        kind = _type_of(_bare(schema), self._values)
        may_be_null = {"type": "null"} in schema.get("anyOf", ())
        optional = "" if is_required else " = None"
        line = f"{name}: {kind}{' | None' if may_be_null or not is_required else ''}{optional}"
        return f"{line}\n{_docstring(schema['description'])}" if "description" in schema else line


def _constraints(part: Part) -> Iterator[str]:
    """What the fields of a part must be together, for the check of its base class."""
    for word, constraint in (("oneOf", "exactly_one_of"), ("anyOf", "at_least_one_of")):
        if word in part:
            yield f"{constraint}: ClassVar[tuple[str, ...]] = {_names(part[word])}"
    if "not" in part:
        yield f"not_together: ClassVar[tuple[str, ...]] = {_names(part['not']['allOf'])}"


def _names(choices: Iterable[Part]) -> str:
    return repr(tuple(choice["required"][0] for choice in choices))


def _type_of(schema: Part, named: dict[str, Part]) -> str:
    """The type of a bare value."""
    for name, value in named.items():
        if value == schema:
            return name
    match schema:
        case {"$ref": str(reference)}:
            kind = reference.rpartition("/")[2]
        case {"const": value}:
            kind = f"Literal[{_literal(value)}]"
        case {"enum": values}:
            kind = f"Literal[{', '.join(map(_literal, values))}]"
        case {"anyOf": choices}:
            kind = " | ".join(dict.fromkeys(_type_of(_bare(each), named) for each in choices))
        case {"type": "array", "items": items}:
            kind = _limited(
                f"list[{_type_of(_bare(items), named)}]", schema, min_length="minItems", max_length="maxItems"
            )
        case {"type": "object", "additionalProperties": dict(each)}:
            kind = _limited(f"dict[str, {_type_of(_bare(each), named)}]", schema, max_length="maxProperties")
        case {"type": list(types)}:
            kind = " | ".join(_plain({"type": each}) for each in types)
        case _:
            kind = _plain(schema)
    return kind


def _plain(schema: Part) -> str:
    match schema:
        case {"type": "object"}:
            return "dict[str, Any]"
        case {"type": "integer"}:
            return _limited("int", schema, ge="minimum", gt="exclusiveMinimum", le="maximum")
        case {"type": "boolean"}:
            return "bool"
        case {"format": "date-time"}:
            return "AwareDatetime"
        case _:
            return _limited("str", schema, min_length="minLength", max_length="maxLength", pattern="pattern")


def _limited(kind: str, schema: Part, **limits: str) -> str:
    is_long = len(schema.get("pattern", "")) > _PATTERN_MAX
    given = {
        name: schema[word] for name, word in limits.items() if word in schema and not (is_long and word == "pattern")
    }
    checks = [f"Field({', '.join(f'{name}={_literal(value)}' for name, value in given.items())})"] if given else []
    if is_long:
        checks.append(f"AfterValidator(visible({_literal(schema['pattern'])}))")
    match schema.get("not"):
        case {"pattern": pattern}:
            checks.append(f"AfterValidator(unlike({_literal(pattern)}))")
        case {"const": value}:
            checks.append(f"AfterValidator(other_than({_literal(value)}))")
    return f"Annotated[{kind}, {', '.join(checks)}]" if checks else kind


def _literal(value: Any) -> str:
    """A value as source code, text in double quotes."""
    if isinstance(value, str):
        quoted = json.dumps(value, ensure_ascii=False)
        return "".join(sign if sign.isascii() else f"\\U{ord(sign):08x}" for sign in quoted)
    return f"{value:_}"


def _sorted_by_need(parts: dict[str, Part]) -> Iterator[tuple[str, Part]]:
    """Each part after those that it is made of."""
    done: set[str] = set()

    def walk(name: str) -> Iterator[tuple[str, Part]]:
        if name not in done:
            done.add(name)
            for needed in _references(parts[name]):
                yield from walk(needed)
            yield name, parts[name]

    for name in sorted(parts):
        yield from walk(name)


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        part = dict(enumerate(part))
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value.rpartition("/")[2]
            else:
                yield from _references(value)


def _docstring(text: str) -> str:
    lines = wrap(" ".join(text.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)
    raw = "r" if "\\" in text else ""
    if len(lines) == 1 and not lines[0].endswith('"'):
        return f'{raw}"""{lines[0]}"""'
    return "\n".join([f'{raw}"""{lines[0]}', *lines[1:], '"""'])


def _head(about: str) -> str:
    return f'"""{about} Made by clients/python/generate_types.py from docs/schemas; do not edit."""\n'


def _formatted(text: str) -> str:
    # Isolated: the same wherever it is run, whatever settings of ruff are there.
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "120", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)  # noqa: S603  # our own words
    return done.stdout


if __name__ == "__main__":
    for name, text in modules().items():
        (PACKAGE / f"{name}.py").write_text(text, encoding="utf-8")
