"""What goes out keeps the published contract, is CloudEvents 1.0, and has an id that follows from what it tells."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import TypeAdapter

from core.messages.outbound.event_json import (
    account_created_json,
    balance_changed_json,
    instant_text,
    message_parked_json,
    tier_changed_json,
)
from core.messages.outbound.published_events import OUTBOUND_EVENTS, OutboundType
from core.messages.schemas import all_schemas

ACCOUNT = UUID("01945d3e-0000-7000-8000-000000000001")
OCCURRED = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
RECORDED = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


def balance_changed(**changes: Any) -> str:
    facts: dict[str, Any] = {
        "source": "/loyalty",
        "account_id": ACCOUNT,
        "program_id": "high-street",
        "customer_id": "c-1",
        "sequence": 3,
        "kind": "accrual",
        "points": 25,
        "balance": 420,
        "pending": 0,
        "lifetime_points": 500,
        "tier": "silver",
        "occurred_at": OCCURRED,
        "recorded_at": RECORDED,
        "reason": "order_completed",
        "lots": [(3, 20, OCCURRED), (4, 5, None)],
        "order_id": "o-1",
    }
    return balance_changed_json(**{**facts, **changes})


def message_parked(**changes: Any) -> str:
    facts: dict[str, Any] = {
        "source": "/loyalty",
        "inbox_id": 17,
        "reason": "invalid_data",
        "detail": 'data.currency is the string "gbp"; did you mean "GBP"?',
        "received_at": OCCURRED,
        "parked_at": RECORDED,
    }
    return message_parked_json(**{**facts, **changes})


ACCOUNT_CREATED = account_created_json(
    source="/loyalty",
    account_id=ACCOUNT,
    program_id="high-street",
    customer_id="c-1",
    tier="bronze",
    occurred_at=OCCURRED,
    recorded_at=RECORDED,
)
TIER_CHANGED = tier_changed_json(
    source="/loyalty",
    account_id=ACCOUNT,
    program_id="high-street",
    customer_id="c-1",
    sequence=1,
    previous_tier="bronze",
    tier="silver",
    qualifying_points=520,
    effective_at=OCCURRED,
    recorded_at=RECORDED,
    reason="qualified",
)
EVENTS = [
    balance_changed(),
    balance_changed(
        kind="clawback", points=-25, balance=-5, lots=[(3, -20, None)], reason="order_refunded", refund_id="r-1"
    ),
    balance_changed(kind="expiry", points=-5, order_id=None, reason="lots_expired"),
    balance_changed(command_id="cmd-1", customer_id='Zoë "7" \u2028'),
    ACCOUNT_CREATED,
    TIER_CHANGED,
    message_parked(),
    message_parked(event_source="/shops/a", event_id="e-1", event_type="order.refunded", order_id="o", refund_id="r"),
]


@pytest.mark.parametrize("text", EVENTS)
def test_every_event_keeps_its_published_schema_and_says_nothing_beyond_it(text: str) -> None:
    event = json.loads(text)
    schema = all_schemas()[f"{event['type']}.json"]
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(event)
    TypeAdapter(OUTBOUND_EVENTS[event["type"]]).validate_json(text)
    assert event.keys() <= schema["properties"].keys()
    (data,) = [part for name, part in schema["$defs"].items() if name.endswith("Data")]
    assert event["data"].keys() <= data["properties"].keys()


@pytest.mark.parametrize("text", EVENTS)
def test_every_event_is_read_by_the_cloudevents_package(text: str) -> None:
    message = HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=text.encode())
    event = from_structured_event(message, JSONFormat())
    expected = json.loads(text)
    assert event.get_specversion() == "1.0"
    assert (event.get_id(), event.get_source(), event.get_type()) == (
        expected["id"],
        expected["source"],
        expected["type"],
    )
    assert event.get_data() == expected["data"]
    assert event.get_time() == RECORDED


def test_a_balance_change_tells_all_of_the_entry() -> None:
    assert json.loads(balance_changed()) == {
        "specversion": "1.0",
        "id": f"{ACCOUNT}:3",
        "source": "/loyalty",
        "type": "loyalty.balance.changed",
        "subject": str(ACCOUNT),
        "time": "2026-03-01T12:00:00.250000Z",
        "datacontenttype": "application/json",
        "data": {
            "account_id": str(ACCOUNT),
            "program_id": "high-street",
            "customer_id": "c-1",
            "sequence": 3,
            "kind": "accrual",
            "points": 25,
            "balance": 420,
            "pending": 0,
            "lifetime_points": 500,
            "tier": "silver",
            "occurred_at": "2026-03-01T09:00:00Z",
            "recorded_at": "2026-03-01T12:00:00.250000Z",
            "reason": "order_completed",
            "lots": [
                {"lot_number": 3, "points": 20, "expires_at": "2026-03-01T09:00:00Z"},
                {"lot_number": 4, "points": 5, "expires_at": None},
            ],
            "order_id": "o-1",
        },
    }


def test_a_change_of_a_lot_without_an_end_says_so() -> None:
    data = json.loads(balance_changed(lots=((7, -3, None),)))["data"]
    assert data["lots"] == [{"lot_number": 7, "points": -3, "expires_at": None}]


def test_ids_follow_from_what_happened() -> None:
    assert balance_changed() == balance_changed()
    ids = [json.loads(text)["id"] for text in (balance_changed(sequence=4), ACCOUNT_CREATED, TIER_CHANGED)]
    assert ids == [f"{ACCOUNT}:4", f"{ACCOUNT}:created", f"{ACCOUNT}:tier:1"]


def test_a_message_that_is_parked_again_after_a_retry_has_another_event() -> None:
    ids = [json.loads(message_parked(times_parked=times))["id"] for times in (1, 2, 3)]
    assert ids == ["parked:17", "parked:17:2", "parked:17:3"]


def test_a_parked_message_leaves_out_what_could_not_be_read_of_it() -> None:
    data = json.loads(message_parked(event_source="", event_type=None))["data"]
    assert data.keys() == {"inbox_id", "reason", "detail", "received_at"}


def test_times_are_written_in_utc() -> None:
    eastern = datetime(2026, 3, 1, 4, 0, tzinfo=timezone(timedelta(hours=-5)))
    assert instant_text(eastern) == "2026-03-01T09:00:00Z"


def test_every_type_has_a_schema() -> None:
    assert set(OUTBOUND_EVENTS) == set(OutboundType)
