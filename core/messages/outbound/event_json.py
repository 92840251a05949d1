"""Writes the events that go out.

An event's id follows from what it tells, so writing the same change twice gives the same event. mypy holds the data of
each event to the contract, and tests hold the whole of it, so that the hot path needs no check of its own.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID

from pydantic_core import to_json

from core.messages.outbound.published_events import (
    AccountCreatedData,
    BalanceChangedData,
    LotChange,
    MessageParkedData,
    OutboundType,
    PointsExpiringData,
    TierAtRiskData,
    TierChangedData,
)


def balance_changed_id(account_id: UUID | str, sequence: int) -> str:
    """Name the event of the account's entry `sequence`."""
    return f"{account_id}:{sequence}"


def account_created_id(account_id: UUID | str) -> str:
    """Name the event of the account's opening."""
    return f"{account_id}:created"


def tier_changed_id(account_id: UUID | str, sequence: int) -> str:
    """Name the event of the account's tier change number `sequence`."""
    return f"{account_id}:tier:{sequence}"


def tier_at_risk_id(account_id: UUID | str, loses_at: datetime) -> str:
    """Name the event of a warning that the tier may be lost at that instant."""
    return f"{account_id}:at_risk:{instant_text(loses_at)}"


def points_expiring_id(account_id: UUID | str, expires_at: datetime, number: int) -> str:
    """Name the event of a reminder of points that end at that instant; a correction is the next number."""
    return f"{account_id}:expiring:{instant_text(expires_at)}:{number}"


def message_parked_id(inbox_id: int, times_parked: int = 1) -> str:
    """Name the event of a parked message; one that was retried and parked again has another event each time."""
    return f"parked:{inbox_id}" if times_parked == 1 else f"parked:{inbox_id}:{times_parked}"


def instant_text(time: datetime) -> str:
    """Write an aware time as RFC 3339 in UTC, with Z."""
    if time.tzinfo is not UTC:
        time = time.astimezone(UTC)
    return time.isoformat()[:-6] + "Z"


#: When something was recorded is the same instant for a whole batch.
_recorded_text = lru_cache(maxsize=8)(instant_text)


def balance_changed_json(
    *,
    source: str,
    account_id: UUID | str,
    program_id: str,
    customer_id: str,
    sequence: int,
    kind: str,
    points: int,
    balance: int,
    pending: int,
    lifetime_points: int,
    tier: str,
    occurred_at: datetime,
    recorded_at: datetime,
    reason: str,
    lots: Iterable[tuple[int, int, datetime | None]],
    pending_change: int = 0,
    order_id: str | None = None,
    refund_id: str | None = None,
    command_id: str | None = None,
) -> str:
    """Write the event of one ledger entry; `lots` are its allocations: (lot number, signed points, expiry)."""
    account, recorded = str(account_id), _recorded_text(recorded_at)
    data: BalanceChangedData = {
        "account_id": account,
        "program_id": program_id,
        "customer_id": customer_id,
        "sequence": sequence,
        "kind": kind,
        "points": points,
        "balance": balance,
        "pending": pending,
        "lifetime_points": lifetime_points,
        "tier": tier,
        "occurred_at": instant_text(occurred_at),
        "recorded_at": recorded,
        "reason": reason,
        "lots": [_lot_change(*allocation) for allocation in lots],
    }
    if pending_change:
        data["pending_change"] = pending_change
    if order_id is not None:
        data["order_id"] = order_id
    if refund_id is not None:
        data["refund_id"] = refund_id
    if command_id is not None:
        data["command_id"] = command_id
    event_id = balance_changed_id(account, sequence)
    return _event_json(OutboundType.BALANCE_CHANGED, event_id, source, recorded, data, account)


def _lot_change(lot_number: int, points: int, expires_at: datetime | None) -> LotChange:
    end = None if expires_at is None else instant_text(expires_at)
    return {"lot_number": lot_number, "points": points, "expires_at": end}


def account_created_json(
    *,
    source: str,
    account_id: UUID | str,
    program_id: str,
    customer_id: str,
    tier: str,
    occurred_at: datetime,
    recorded_at: datetime,
) -> str:
    """Write the event of an account's opening by an order of `occurred_at`."""
    account = str(account_id)
    recorded = _recorded_text(recorded_at)
    data: AccountCreatedData = {
        "account_id": account,
        "program_id": program_id,
        "customer_id": customer_id,
        "tier": tier,
        "occurred_at": instant_text(occurred_at),
        "recorded_at": recorded,
    }
    return _event_json(OutboundType.ACCOUNT_CREATED, account_created_id(account), source, recorded, data, account)


def tier_changed_json(
    *,
    source: str,
    account_id: UUID | str,
    program_id: str,
    customer_id: str,
    sequence: int,
    previous_tier: str,
    tier: str,
    qualifying_points: int,
    effective_at: datetime,
    recorded_at: datetime,
    reason: str,
) -> str:
    """Write the event of the account's tier change number `sequence`."""
    account = str(account_id)
    recorded = _recorded_text(recorded_at)
    data: TierChangedData = {
        "account_id": account,
        "program_id": program_id,
        "customer_id": customer_id,
        "sequence": sequence,
        "previous_tier": previous_tier,
        "tier": tier,
        "qualifying_points": qualifying_points,
        "effective_at": instant_text(effective_at),
        "recorded_at": recorded,
        "reason": reason,
    }
    return _event_json(OutboundType.TIER_CHANGED, tier_changed_id(account, sequence), source, recorded, data, account)


def tier_at_risk_json(
    *,
    source: str,
    account_id: UUID | str,
    program_id: str,
    customer_id: str,
    tier: str,
    tier_after: str,
    loses_at: datetime,
    measure: str,
    missing: int,
    recorded_at: datetime,
) -> str:
    """Write the event of a warning that a review will move the account down, as it stands."""
    account = str(account_id)
    recorded = _recorded_text(recorded_at)
    data: TierAtRiskData = {
        "account_id": account,
        "program_id": program_id,
        "customer_id": customer_id,
        "tier": tier,
        "tier_after": tier_after,
        "loses_at": instant_text(loses_at),
        "measure": measure,
        "missing": missing,
        "recorded_at": recorded,
    }
    return _event_json(OutboundType.TIER_AT_RISK, tier_at_risk_id(account, loses_at), source, recorded, data, account)


def points_expiring_json(
    *,
    source: str,
    account_id: UUID | str,
    program_id: str,
    customer_id: str,
    points: int,
    expires_at: datetime,
    days_ahead: int,
    number: int,
    recorded_at: datetime,
) -> str:
    """Write the event of a reminder; 0 points withdraw it."""
    account = str(account_id)
    recorded = _recorded_text(recorded_at)
    data: PointsExpiringData = {
        "account_id": account,
        "program_id": program_id,
        "customer_id": customer_id,
        "points": points,
        "expires_at": instant_text(expires_at),
        "days_ahead": days_ahead,
        "number": number,
        "recorded_at": recorded,
    }
    event_id = points_expiring_id(account, expires_at, number)
    return _event_json(OutboundType.POINTS_EXPIRING, event_id, source, recorded, data, account)


def message_parked_json(
    *,
    source: str,
    inbox_id: int,
    reason: str,
    detail: str,
    received_at: datetime,
    parked_at: datetime,
    times_parked: int = 1,
    event_source: str | None = None,
    event_id: str | None = None,
    event_type: str | None = None,
    order_id: str | None = None,
    refund_id: str | None = None,
) -> str:
    """Write the event of a parked message. `times_parked` counts this time too; what is None or empty is left out."""
    data: MessageParkedData = {
        "inbox_id": inbox_id,
        "reason": reason,
        "detail": detail,
        "received_at": instant_text(received_at),
    }
    if event_source:
        data["source"] = event_source
    if event_id:
        data["event_id"] = event_id
    if event_type:
        data["type"] = event_type
    if order_id:
        data["order_id"] = order_id
    if refund_id:
        data["refund_id"] = refund_id
    event_name = message_parked_id(inbox_id, times_parked)
    return _event_json(OutboundType.MESSAGE_PARKED, event_name, source, instant_text(parked_at), data)


def _event_json(
    event_type: OutboundType,
    event_id: str,
    source: str,
    time: str,
    data: Mapping[str, object],
    subject: str | None = None,
) -> str:
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": event_type.value,  # the member itself takes twice as long to write
        "time": time,
        "datacontenttype": "application/json",
    }
    if subject is not None:
        event["subject"] = subject
    event["data"] = data
    return to_json(event).decode()
