"""The types of the Python client are those of the published schemas: current, and as strict as they."""

import json
import runpy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from core.messages.examples.story import published_events, sent_messages
from core.messages.inbound.contracts import INBOUND
from core.messages.outbound.published_events import OUTBOUND_EVENTS
from core.messages.schemas import all_schemas
from loyalty_client import UnreadableEventError, read_event
from loyalty_client.commands import COMMANDS, Adjust, AdjustData, Credit, CreditData
from loyalty_client.envelope import Event
from loyalty_client.events import EVENTS, BalanceChanged
from loyalty_client.facts import (
    FACTS,
    OrderCompleted,
    OrderCompletedData,
    OrderLineData,
    OrderRefundedData,
    RefundLineData,
)
from tests.pages import ROOT

CLIENT = ROOT / "clients" / "python"
SENT = FACTS | COMMANDS
LINE = OrderLineData(line_id="1", quantity=2, amount="49.00")
PART = RefundLineData(line_id="1", quantity=1)


def test_the_types_are_those_of_the_schemas() -> None:
    for name, text in runpy.run_path(str(CLIENT / "generate_types.py"))["modules"]().items():
        assert (CLIENT / "loyalty_client" / f"{name}.py").read_text() == text, "run: make client"


def test_there_is_a_type_for_each_message_and_no_other() -> None:
    assert set(SENT) == set(INBOUND)
    assert set(EVENTS) == set(OUTBOUND_EVENTS)


@pytest.mark.parametrize("message", sent_messages(), ids=lambda message: message["id"])
def test_what_is_written_is_the_same_message(message: dict[str, Any]) -> None:
    written = json.loads(SENT[message["type"]].model_validate_json(json.dumps(message)).to_json())
    assert datetime.fromisoformat(written["time"]) == datetime.fromisoformat(message["time"])
    assert written | {"time": message["time"]} == message
    Draft202012Validator(all_schemas()[f"{message['type']}.json"]).validate(written)


@pytest.mark.parametrize("event", published_events(), ids=lambda event: event["id"])
def test_what_is_read_has_every_field_that_the_engine_publishes(event: dict[str, Any]) -> None:
    read = read_event(json.dumps(event))
    assert type(read) is EVENTS[event["type"]]
    told = json.loads(read.model_dump_json(exclude_unset=True))
    assert told == {name: value for name, value in event.items() if name not in {"specversion", "datacontenttype"}}


@pytest.mark.parametrize("amount", ["49.00", "0", Decimal("49.00"), Decimal("4E+1")])
def test_amounts_are_decimal_strings_or_decimals(amount: Any) -> None:
    line = OrderLineData(line_id="1", quantity=1, amount=amount)
    assert Decimal(json.loads(line.model_dump_json())["amount"]) == Decimal(amount)


@pytest.mark.parametrize(
    "fields",
    [
        {"amount": 49.0},
        {"amount": 49},
        {"amount": "49,00"},
        {"amount": "49.00\n"},
        {"amount": None},
        {"amount": "-1"},
        {"amount": "1.00001"},
        {"amount": Decimal("NaN")},
        {"amount": Decimal("1E+12")},
        {"quantity": 0},
        {"quantity": -1},
        {"quantity": "0.000"},
        {"quantity": Decimal(0)},
        {"quantity": True},
        {"quantity": 1.5},
        {"kind": "prodct"},
        {"line_id": "1 "},
        {"line_id": "\u200b1"},
        {"line_id": 1},
        {"line_id": "1\n"},
        {"line_id": ""},
        {"line_id": "1" * 201},
        {"qty": 1},
    ],
)
def test_a_wrong_line_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OrderLineData.model_validate({"line_id": "1", "quantity": 2, "amount": "49.00", **fields})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"amount": 12.5}, "a float has lost digits"),
        ({"amount": "12,50"}, "'12,50' is not a decimal number in the form of"),
        ({"quantity": "0.0"}, "it must not be zero"),
        ({"line_id": " 1"}, "' 1' has a blank at an end"),
    ],
)
def test_what_is_wrong_is_said_in_words(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as refused:
        OrderLineData.model_validate({"line_id": "1", "quantity": 2, "amount": "49.00", **fields})
    assert len(refused.value.errors()) == 1


@pytest.mark.parametrize(
    ("extent", "right"),
    [
        ({"full": True}, True),
        ({"paid": "4.20"}, True),
        ({"lines": [PART]}, True),
        ({}, False),
        ({"full": False}, False),
        ({"net": "4.20", "full": True}, False),
        ({"lines": []}, False),
        ({"amount": "4.20"}, False),
    ],
)
def test_a_refund_says_in_exactly_one_way_how_much(extent: dict[str, Any], right: bool) -> None:
    try:
        OrderRefundedData.model_validate({"refund_id": "r", "order_id": "o", **extent})
    except ValidationError:
        assert not right
    else:
        assert right


@pytest.mark.parametrize("fields", [{}, {"paid": "1", "net": "1"}])
def test_a_line_that_is_given_back_says_what_came_back_or_which_money(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give "):
        RefundLineData(line_id="1", **fields)


def test_a_message_needs_a_time_with_an_offset_and_one_that_is_made_is_not_changed() -> None:
    data = OrderCompletedData(order_id="1", currency="GBP", lines=[LINE])
    with pytest.raises(ValidationError, match="timezone"):
        OrderCompleted(id="1", source="/shop", time=datetime(2026, 3, 1), data=data)  # noqa: DTZ001  # that is the test
    order = OrderCompleted(id="1", source="/shop", time=datetime(2026, 3, 1, tzinfo=UTC), data=data)
    with pytest.raises(ValidationError, match="frozen"):
        order.id = "2"


def test_a_command_draws_its_id_and_takes_the_time_of_now() -> None:
    first, second = (Credit(source="/shop", data=CreditData(customer_id="C-1", points=5)) for _ in "12")
    assert first.id != second.id
    assert abs((datetime.now(UTC) - first.time).total_seconds()) < 60


@pytest.mark.parametrize("points", [0, 2**60, 1.5, "5", True])
def test_points_are_whole_and_within_the_limits(points: Any) -> None:
    with pytest.raises(ValidationError):
        CreditData(customer_id="C-1", points=points)
    with pytest.raises(ValidationError):
        Adjust(source="/shop", data=AdjustData(customer_id="C-1", points=points, reason="x"))


def test_an_event_of_a_later_release_is_read_as_far_as_it_is_known() -> None:
    known = next(event for event in published_events() if event["type"] == "loyalty.balance.changed")
    later = read_event(json.dumps({**known, "more": 1, "data": {**known["data"], "kind": "gift", "more": []}}))
    assert isinstance(later, BalanceChanged)
    assert later.data.kind == "gift"
    unknown = read_event(json.dumps({**known, "type": "loyalty.badge.given", "data": {"badge": "tea"}}))
    assert (type(unknown), unknown.type, unknown.data) == (Event, "loyalty.badge.given", {"badge": "tea"})


@pytest.mark.parametrize(
    "raw", ["", "{", "[]", "7", "{}", '{"type": []}', '{"type": "loyalty.balance.changed"}', "\ud800"]
)
def test_what_is_no_event_is_refused_without_a_word_of_what_stands_there(raw: str) -> None:
    with pytest.raises(UnreadableEventError):
        read_event(raw.encode(errors="surrogatepass"))
    secret = {**published_events()[0], "subject": ["ann@example.com"]}
    with pytest.raises(UnreadableEventError) as refused:
        read_event(json.dumps(secret))
    assert "ann@example.com" not in str(refused.value)
