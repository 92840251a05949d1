"""The published schemas say what the code checks: they are up to date, and agree with it on what is right and wrong."""

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import TypeAdapter

from core.errors import ProgramFileError
from core.messages.examples.story import published_events, sent_messages
from core.messages.inbound.reading import MessageLimits, ReadEvent, read_message
from core.messages.outbound.published_events import OUTBOUND_EVENTS
from core.messages.program_files.program_file import parse_program
from core.messages.schemas import all_schemas, schema_text, write_schemas

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
PROGRAMS = sorted((Path(__file__).parents[2] / "config" / "programs").glob("*.yaml"))
ORDER: dict[str, Any] = {
    "id": "evt-1",
    "source": "/shops/high-street",
    "type": "order.completed",
    "time": "2026-03-01T10:00:00+01:00",
    "data": {
        "order_id": "o-1",
        "currency": "GBP",
        "lines": [{"line_id": "1", "quantity": 2, "amount": "12.50"}],
    },
}
PROGRAM = """
program_id: high-street
name: High Street Rewards
currency: GBP
time_zone: Europe/London
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {bronze: 1, gold: "1.5"}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: gold, threshold_points: 2000}
expiry: {policy: after_months, months: 12}
"""

made_schemas = cache(all_schemas)  # making them takes a tenth of a second


def is_valid(name: str, document: Any) -> bool:
    return validator(name).is_valid(document)


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(made_schemas()[name], format_checker=FormatChecker())


def refund(**extent: Any) -> dict[str, Any]:
    return {**ORDER, "type": "order.refunded", "data": {"refund_id": "r-1", "order_id": "o-1", **extent}}


def line(**fields: Any) -> dict[str, Any]:
    wrong = {**ORDER["data"]["lines"][0], **fields}
    return {**ORDER, "data": {**ORDER["data"], "lines": [wrong]}}


@pytest.mark.parametrize("name", sorted(made_schemas()))
def test_the_committed_schemas_are_those_of_the_code(name: str) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")
    assert committed == schema_text(made_schemas()[name]), "run: python -m core.messages.schemas docs/schemas"
    Draft202012Validator.check_schema(json.loads(committed))


def test_no_other_schemas_are_committed() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} == set(made_schemas())


@pytest.mark.parametrize("name", sorted(made_schemas()))
def test_every_field_is_described(name: str) -> None:
    schema = made_schemas()[name]
    types = {**schema["$defs"], name: schema}
    fields = {
        f"{owner}.{field}": part for owner, kind in types.items() for field, part in kind.get("properties", {}).items()
    }
    undescribed = {
        field
        for field, part in fields.items()
        if "description" not in part and "description" not in types.get(str(part.get("$ref")).rpartition("/")[2], {})
    }
    assert not undescribed


def test_each_schema_has_an_id_of_its_own_that_says_what_it_is() -> None:
    ids = {name: schema["$id"] for name, schema in made_schemas().items()}
    assert ids.pop("program.schema.json") == "urn:loyalty:schema:program"
    assert ids == {name: f"urn:loyalty:schema:{name.removesuffix('.json')}" for name in ids}
    shapes = [json.loads(path.read_text())["$id"] for path in (FOLDER / "shapes").iterdir()]
    assert len({*ids.values(), *shapes}) == len(ids) + len(shapes)


@pytest.mark.parametrize("name", sorted(made_schemas()))
def test_every_schema_has_examples_that_keep_it(name: str) -> None:
    examples = made_schemas()[name]["examples"]
    assert examples, f"add a message of {name} to core/messages/examples/sent.json, and run tests/posting/test_story.py"
    for example in examples:
        validator(name).validate(example)


def test_the_contract_takes_every_example_of_what_comes_in() -> None:
    limits = MessageLimits(100_000, 10, clock_skew_seconds_max=0, is_trusted=True, reference_salt=b"salt")
    for message in sent_messages():
        (event,) = read_message(json.dumps(message).encode(), limits=limits, now=datetime(2027, 1, 1, tzinfo=UTC))
        assert isinstance(event, ReadEvent), event


def test_the_contract_has_every_field_of_the_events_in_the_examples() -> None:
    for event in published_events():
        TypeAdapter(OUTBOUND_EVENTS[event["type"]]).validate_json(json.dumps(event))
        schema = made_schemas()[f"{event['type']}.json"]
        data = schema["$defs"][schema["properties"]["data"]["$ref"].rpartition("/")[2]]
        assert (set(event) - set(schema["properties"]), set(event["data"]) - set(data["properties"])) == (set(), set())


def test_the_example_of_a_program_is_a_program() -> None:
    (example,) = made_schemas()["program.schema.json"]["examples"]
    assert parse_program(yaml.safe_dump(example), path="x.yaml").program_id == "high-street"


def test_writing_the_schemas_twice_changes_nothing(tmp_path: Path) -> None:
    first = {path.name: path.read_text() for path in write_schemas(tmp_path / "schemas")}
    assert first == {path.name: path.read_text() for path in write_schemas(tmp_path / "schemas")}
    assert first.keys() == made_schemas().keys()


@pytest.mark.parametrize(
    "event",
    [
        ORDER,
        {**ORDER, "specversion": "1.0", "more": 1},
        line(quantity="0.250", tax="1.25", kind="shipping", categories=["a"], sku=None),
        {**ORDER, "data": {**ORDER["data"], "customer_id": None, "attributes": {"a": 1, "b": True, "c": "d"}}},
        {**ORDER, "data": {**ORDER["data"], "customer_tags": ["vip", "staff", "vip"]}},
    ],
)
def test_right_orders_keep_the_schema(event: Any) -> None:
    assert is_valid("order.completed.json", event)


@pytest.mark.parametrize(
    "event",
    [
        {**ORDER, "time": "2026-03-01T10:00:00"},
        {**ORDER, "id": ""},
        {**ORDER, "specversion": "0.3"},
        {**ORDER, "type": "order.refunded"},
        {**ORDER, "data": {**ORDER["data"], "lines": []}},
        {**ORDER, "data": {**ORDER["data"], "currency": "gbp"}},
        {**ORDER, "data": {**ORDER["data"], "attributes": {"a": []}}},
        {**ORDER, "data": {**ORDER["data"], "customer_tags": [""]}},
        {**ORDER, "data": {**ORDER["data"], "customer_tags": ["x"] * 101}},
        line(amount=12.5),
        line(amount="-1"),
        line(amount="1.00001"),
        line(quantity=0),
        line(quantity="0.000"),
        line(quantity=True),
        line(kind="prodct"),
        line(line_id="1\u0000"),
        line(line_id="1 "),
        line(line_id="\u200b1"),
    ],
)
def test_wrong_orders_break_the_schema(event: Any) -> None:
    assert not is_valid("order.completed.json", event)


@pytest.mark.parametrize(
    ("extent", "right"),
    [
        ({"full": True}, True),
        ({"paid": "4.20"}, True),
        ({"net": "4.20"}, True),
        ({"amount": "4.20"}, False),
        ({"net": "4.20", "full": False, "lines": None, "amount": None}, True),
        ({"lines": [{"line_id": "1", "quantity": 1}]}, True),
        ({"lines": [{"line_id": "1", "paid": "1"}]}, True),
        ({"lines": [{"line_id": "1", "net": "1"}]}, True),
        ({"lines": [{"line_id": "1", "paid": "1", "net": "1"}]}, False),
        ({"lines": [{"line_id": "1", "amount": "1"}]}, False),
        ({}, False),
        ({"full": False}, False),
        ({"net": "4.20", "full": True}, False),
        ({"lines": []}, False),
        ({"lines": [{"line_id": "1"}]}, False),
        ({"lines": [{"line_id": "1", "quantity": None}]}, False),
    ],
)
def test_a_refund_says_in_exactly_one_way_how_much(extent: dict[str, Any], right: bool) -> None:
    assert is_valid("order.refunded.json", refund(**extent)) is right


@pytest.mark.parametrize("kind", ["order.fulfilled", "order.cancelled"])
@pytest.mark.parametrize(
    ("data", "right"),
    [
        ({"order_id": "o-1"}, True),
        ({"order_id": "o-1", "program_id": None, "more": []}, True),
        ({}, False),
        ({"order_id": ""}, False),
        ({"order_id": 1}, False),
    ],
)
def test_a_message_about_an_order_must_name_it(kind: str, data: dict[str, Any], right: bool) -> None:
    assert is_valid(f"{kind}.json", {**ORDER, "type": kind, "data": data}) is right


def test_a_program_file_keeps_the_schema() -> None:
    program = yaml.safe_load(PROGRAM)
    assert is_valid("program.schema.json", program)
    assert not is_valid("program.schema.json", {**program, "teirs": []})
    assert not is_valid("program.schema.json", {**program, "tiers": [{"tier_id": "bronze", "threshold_points": -1}]})


@pytest.mark.parametrize(
    ("part", "right"),
    [
        ({"points": 1}, True),
        ({"points": "0.5"}, True),
        ({"points": {"bronze": 1, "gold": "1.5"}}, True),
        ({"points": 1.5}, False),
        ({"points": {}}, False),
        ({"points": [1]}, False),
        ({"when": {"starts_on": "2026-12-24", "hours": [{"days": ["sat"], "start": "18:30", "end": "24:00"}]}}, True),
        ({"when": {"starts_on": "24.12.2026"}}, False),
        ({"when": {"hours": [{"start": "6 pm"}]}}, False),
        ({"when": {"attributes": {"gift": [True], "shop": [7, "web"]}}}, True),
        ({"when": {"attributes": {"gift": True}}}, False),
        ({"when": {"minimum": 5}}, False),
        ({"caps": {"per_day": 100}}, True),
        ({"caps": {"per_day": None}}, False),
        ({"kind": "visit"}, False),  # which has no per_amount
        ({"kind": "spnd"}, False),
    ],
)
def test_the_schema_of_rules_agrees_with_the_parser(part: dict[str, Any], right: bool) -> None:
    program = yaml.safe_load(PROGRAM)
    program["earning_rules"][0].update(part)
    assert is_valid("program.schema.json", program) is right
    try:
        parse_program(yaml.safe_dump(program), path="x.yaml")
    except ProgramFileError:
        assert not right
    else:
        assert right


@pytest.mark.parametrize(
    ("part", "right"),
    [
        ({"expiry": {"policy": "after_months"}}, False),
        ({"expiry": {"policy": "after_days", "days": 30}}, True),
        ({"expiry": {"policy": "fixed_day"}}, False),
        ({"expiry": {"policy": "fixed_day", "day": "12-31"}}, True),
        ({"availability": {"policy": "after_days"}}, False),
        ({"availability": {"policy": "on_fulfilled"}}, True),
        ({"availability": {"policy": "days_after_fulfilment"}}, False),
        ({"availability": {"policy": "days_after_fulfilment", "days": 7}}, True),
        ({"qualification": {"window": "rolling_months"}}, False),
        ({"qualification": {"window": "membership_year"}}, True),
    ],
)
def test_the_schema_knows_what_a_policy_needs(part: dict[str, Any], right: bool) -> None:
    assert is_valid("program.schema.json", {**yaml.safe_load(PROGRAM), **part}) is right


def test_the_schema_of_promotions_tells_their_kinds_apart() -> None:
    program = yaml.safe_load(PROGRAM)
    twice = {"promotion_id": "twice", "kind": "multiplier", "multiplier": "2"}
    bonus = {"promotion_id": "bonus", "kind": "addition", "points": 500, "limits": {"budget_points": 100_000}}
    assert is_valid("program.schema.json", {**program, "promotions": [twice, bonus]})
    assert not is_valid("program.schema.json", {**program, "promotions": [{**twice, "points": 5}]})


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_every_example_program_keeps_the_schema_and_names_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    first = text.partition("\n")[0]
    assert first == "# yaml-language-server: $schema=../../docs/schemas/program.schema.json"
    assert (path.parent / first.partition("=")[2]).resolve() == FOLDER / "program.schema.json"
    program = json.loads(json.dumps(yaml.safe_load(text), default=str))  # a date of YAML is a text of JSON
    schema = made_schemas()["program.schema.json"]
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(program)
