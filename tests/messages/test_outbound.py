"""What goes out keeps the published contract, is CloudEvents 1.0, and has an id that follows from what it tells."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import TypeAdapter

from core.domain.decision import AccountChange, Decision, TierChange, TierChangeReason
from core.domain.ledger import Account, Entry, EntryKind
from core.domain.lots import Allocation, AllocationKind
from core.domain.outcomes import Parked, Reason
from core.messages.outbound.event_json import instant_text
from core.messages.outbound.published_events import OUTBOUND_EVENTS, OutboundType
from core.messages.schemas import all_schemas
from core.posting.events import EventContext, decision_events, message_parked, points_extended
from core.store.inbox import ClaimedMessage

ACCOUNT = UUID("01945d3e-0000-7000-8000-000000000001")
OCCURRED = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
RECORDED = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)


CONTEXT = EventContext("/loyalty", RECORDED)
OWNER = Account(ACCOUNT, "high-street", "c-1", "silver", enrolled_at=OCCURRED)
OPENED, TAKEN = AllocationKind.OPENED, AllocationKind.TAKEN
ENTRY = Entry(
    account_id=ACCOUNT,
    sequence=3,
    kind=EntryKind.ACCRUAL,
    points=25,
    pending_change=0,
    reserved_change=0,
    deficit_change=0,
    balance_after=420,
    pending_after=0,
    reserved_after=0,
    lifetime_points_after=500,
    occurred_at=OCCURRED,
    allocations=(Allocation(3, OPENED, 20, OCCURRED), Allocation(4, OPENED, 5, None)),
    why={},
    source="/shops/a",
    order_id="o-1",
)
LETTER = ClaimedMessage(17, "/shops/a", "e-1", "order.refunded", "order o", OCCURRED, "{}", OCCURRED)


def balance_changed(account: Account = OWNER, **changes: Any) -> str:
    return announced(AccountChange(account, entries=(ENTRY._replace(**changes),)))


def announced(change: AccountChange) -> str:
    (event,) = decision_events(Decision((change,)), CONTEXT)
    id_and_type = tuple(json.loads(event.body)[name] for name in ("id", "type"))
    assert (f"{event.account_id}:{event.event_key}", event.type) == id_and_type
    return event.body


def parked(**changes: Any) -> str:
    detail = 'data.currency is the string "gbp"; did you mean "GBP"?'
    return message_parked(LETTER._replace(**changes), Parked(Reason.INVALID_DATA, detail), CONTEXT).body


ACCOUNT_CREATED = announced(AccountChange(OWNER, opened=OWNER._replace(tier_id="bronze")))
MOVED = TierChange(ACCOUNT, 1, "bronze", "silver", 520, OCCURRED, TierChangeReason.QUALIFIED)
TIER_CHANGED = announced(AccountChange(OWNER, tier_changes=(MOVED,)))
EVENTS = [
    balance_changed(),
    balance_changed(
        kind=EntryKind.CLAWBACK,
        points=-25,
        balance_after=-5,
        allocations=(Allocation(3, TAKEN, -20, None),),
        refund_id="r-1",
    ),
    balance_changed(kind=EntryKind.EXPIRY, points=-5, order_id=None),
    balance_changed(OWNER._replace(customer_id='Zoë "7" \u2028')),
    ACCOUNT_CREATED,
    TIER_CHANGED,
    points_extended(OWNER, [(5, OCCURRED, OCCURRED + timedelta(days=1))], CONTEXT).body,
    parked(),
    parked(source="", event_id="", type="", subject=""),
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
            "reserved": 0,
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


def test_ids_follow_from_what_happened() -> None:
    assert balance_changed() == balance_changed()
    ids = [json.loads(text)["id"] for text in (balance_changed(sequence=4), ACCOUNT_CREATED, TIER_CHANGED)]
    assert ids == [f"{ACCOUNT}:4", f"{ACCOUNT}:created", f"{ACCOUNT}:tier:1"]


def test_a_message_that_is_parked_again_after_a_retry_has_another_event() -> None:
    ids = [json.loads(parked(times_parked=times))["id"] for times in (0, 1, 2)]
    assert ids == ["parked:17", "parked:17:2", "parked:17:3"]


def test_a_parked_message_leaves_out_what_could_not_be_read_of_it() -> None:
    data = json.loads(parked(source="", event_id="", type="", subject=""))["data"]
    assert data.keys() == {"inbox_id", "reason", "detail", "received_at"}


def test_times_are_written_in_utc() -> None:
    eastern = datetime(2026, 3, 1, 4, 0, tzinfo=timezone(timedelta(hours=-5)))
    assert instant_text(eastern) == "2026-03-01T09:00:00Z"


@given(st.datetimes(timezones=st.sampled_from((UTC, timezone(timedelta(hours=-5), "east"), ZoneInfo("Asia/Kolkata")))))
def test_instants_have_the_text_of_python_in_utc(instant: datetime) -> None:
    assume(datetime(1, 1, 2, tzinfo=UTC) < instant < datetime(9999, 12, 30, tzinfo=UTC))
    assert instant_text(instant) == instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def test_every_type_has_a_schema() -> None:
    assert set(OUTBOUND_EVENTS) == set(OutboundType)
