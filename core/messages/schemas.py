"""Makes the published JSON Schemas (draft 2020-12) of messages and program files, from the types that check them.

`python -m core.messages.schemas docs/schemas` writes them. A schema says all that JSON Schema can say; what it cannot
(line_ids unique in an order, known currencies, times that are not in the future) the descriptions say.
"""

import ast
import inspect
import json
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any, cast

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import ModelField, ModelSchema, TypedDictField, TypedDictSchema
from typing_extensions import get_original_bases

from core.domain.program import Program
from core.messages.examples.story import examples_of
from core.messages.inbound.contracts import CONTRACTS
from core.messages.outbound.published_events import OUTBOUND_EVENTS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: Names a schema for ever, wherever its file is; it leads to nothing. It has no version: a type's schema only grows.
_ID = "urn:loyalty:schema:{}"
_PAID, _NET = ({"required": [name], "properties": {name: {"type": "string"}}} for name in ("paid", "net"))
_EXACTLY_ONE_EXTENT = [
    {"required": ["lines"], "properties": {"lines": {"type": "array"}}},
    _PAID,
    _NET,
    {"required": ["full"], "properties": {"full": {"const": True}}},
]
_SOME_EXTENT = [{"required": ["quantity"], "properties": {"quantity": {"type": ["integer", "string"]}}}, _PAID, _NET]
_BOTH_KINDS_OF_MONEY = {"allOf": [_PAID, _NET]}
#: Fields of a program file that a choice needs.
_NEEDED = {
    "Availability": ("policy", {"after_days": "days", "days_after_fulfilment": "days"}),
    "Expiry": ("policy", {"after_days": "days", "after_months": "months", "fixed_day": "day"}),
    "Qualification": ("window", {"rolling_months": "months"}),
}


class _Generator(GenerateJsonSchema):
    """Leaves out the titles that repeat a field's name, and tells what the docstrings of fields say.

    Pydantic would read those when a type is made, which every process would wait for at its start.
    """

    def field_title_should_be_set(self, schema: CoreSchema | ModelField | TypedDictField | Any) -> bool:
        del schema
        return False

    def typed_dict_schema(self, schema: TypedDictSchema) -> JsonSchemaValue:
        return _with_meanings(super().typed_dict_schema(schema), schema.get("cls"))

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        return _with_meanings(super().model_schema(schema), schema["cls"])


def _with_meanings(schema: JsonSchemaValue, described: type | None) -> JsonSchemaValue:
    for name, meaning in _meanings(described).items():
        schema["properties"][name]["description"] = meaning
    return schema


@cache  # of one class many schemas are made
def _meanings(described: type | None) -> dict[str, str]:
    """The docstrings below the fields of a class and of those it is made of."""
    if described is None or not described.__module__.startswith("core."):
        return {}
    found = {name: text for base in get_original_bases(described) for name, text in _meanings(base).items()}
    (written,) = ast.parse(dedent(inspect.getsource(described))).body
    assert isinstance(written, ast.ClassDef)
    for field, after in pairwise(written.body):
        match field, after:
            case ast.AnnAssign(ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found[name] = inspect.cleandoc(text)
    return found


def all_schemas() -> dict[str, dict[str, Any]]:
    """Every schema by its file name: `order.completed.json`, `program.schema.json`, ..."""
    messages = {row.type: row.model for row in CONTRACTS} | OUTBOUND_EVENTS
    schemas = {f"{name}.json": _message_schema(name, message) for name, message in messages.items()}
    schemas["program.schema.json"] = _program_schema()
    refund = schemas["order.refunded.json"]["$defs"]
    refund["OrderRefundedData"]["oneOf"] = _EXACTLY_ONE_EXTENT
    refund["RefundLineData"] |= {"anyOf": _SOME_EXTENT, "not": _BOTH_KINDS_OF_MONEY}
    return schemas


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into `folder`, which is made if need be; the same content again changes nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, schema in all_schemas().items():
        path = folder / name
        path.write_text(schema_text(schema), encoding="utf-8")
        paths.append(path)
    return paths


def schema_text(schema: dict[str, Any]) -> str:
    """Write a schema as its file holds it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _message_schema(event_type: str, message: type) -> dict[str, Any]:
    return {**_schema(message, name=event_type, title=event_type), "examples": list(examples_of(event_type))}


def _schema(described: type, *, name: str, title: str) -> dict[str, Any]:
    adapter: TypeAdapter[Any] = TypeAdapter(described)
    schema = adapter.json_schema(schema_generator=_Generator, ref_template="#/$defs/{model}")
    return {"$schema": _DIALECT, "$id": _ID.format(name), **_tidied(schema), "title": title}


def _tidied(schema: JsonSchemaValue) -> dict[str, Any]:
    """Leave out what says nothing: titles made of class names, and defaults of null."""

    def tidy(value: Any, *, names: bool) -> Any:
        """`names`: the keys of `value` are names of fields or definitions, not words of JSON Schema."""
        if isinstance(value, list):
            return [tidy(item, names=False) for item in value]
        if not isinstance(value, dict):
            return value
        return {
            key: tidy(item, names=not names and key in {"properties", "$defs"})
            for key, item in value.items()
            if names or not (key == "title" or (key == "default" and item is None))
        }

    return cast("dict[str, Any]", tidy(schema, names=False))


#: As little as a file may say.
_SMALL_PROGRAM = {
    "program_id": "high-street",
    "name": "High Street Rewards",
    "currency": "GBP",
    "time_zone": "Europe/London",
    "earning_rules": [{"rule_id": "spend", "kind": "spend", "per_amount": "1.00", "points": 1}],
}


def _program_schema() -> dict[str, Any]:
    schema: dict[str, Any] = _as_written(_schema(Program, name="program", title="Loyalty program file"))
    for part, (field, needed) in _NEEDED.items():
        schema["$defs"][part]["allOf"] = [
            {
                "if": {"required": [field], "properties": {field: {"const": choice}}},
                "then": {"required": [other]},
            }
            for choice, other in needed.items()
        ]
    return {**schema, "examples": [_SMALL_PROGRAM]}


def _as_written(schema: Any, *, names: bool = False) -> Any:
    """Leave out what the database's documents have and files do not: nulls, and the defaults of whole parts.

    `names` as in _tidied.
    """
    if isinstance(schema, list):
        return [_as_written(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    written = {
        key: _as_written(item, names=not names and key in {"properties", "$defs"})
        for key, item in schema.items()
        if names or key != "default" or not _is_of_parts(item)
    }
    if names:
        return written
    if "anyOf" in written:
        choices = [choice for choice in written.pop("anyOf") if choice != {"type": "null"}]
        written = {**choices[0], **written} if len(choices) == 1 else {"anyOf": choices, **written}
    if "description" in written:
        written["description"] = " ".join(written["description"].split())
    return written


def _is_of_parts(default: Any) -> bool:
    return isinstance(default, dict) or (isinstance(default, list) and any(isinstance(item, dict) for item in default))


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas"))
