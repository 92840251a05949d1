"""The events of a decision: one balance-changed event per entry, then the tier changes. Ids are deterministic."""

from datetime import datetime
from typing import NamedTuple

from core.domain.decision import Decision, TierChange
from core.domain.expiry.reminders import Reminder
from core.domain.ledger import Account, Entry, EntryKind
from core.domain.outcomes import Parked
from core.domain.program import Measure
from core.domain.subjects import order_id_of
from core.domain.tiers.qualification import TierAtRisk
from core.messages.outbound.event_json import (
    account_created_id,
    account_created_json,
    balance_changed_id,
    balance_changed_json,
    message_parked_id,
    message_parked_json,
    points_expiring_id,
    points_expiring_json,
    tier_at_risk_id,
    tier_at_risk_json,
    tier_changed_id,
    tier_changed_json,
)
from core.messages.outbound.published_events import OutboundType
from core.store.appending import OutboxEvent
from core.store.inbox import ClaimedMessage
from core.store.shards import account_shard


def _reason(entry: Entry) -> str:
    match entry.kind:
        case EntryKind.ACCRUAL:
            return "order_completed"
        case EntryKind.CLAWBACK:
            return "order_cancelled" if entry.refund_id is None else "order_refunded"
        case EntryKind.EXPIRY:
            return "lots_expired"
        case EntryKind.RELEASE:
            return "lots_released" if entry.order_id is None else "order_fulfilled"


class EventContext(NamedTuple):
    """What all events of one transaction share."""

    source: str  #: CloudEvents source
    recorded_at: datetime  #: the transaction's time


def _account_created(account: Account, context: EventContext) -> OutboxEvent:
    assert account.enrolled_at is not None
    body = account_created_json(
        source=context.source,
        account_id=account.account_id,
        program_id=account.program_id,
        customer_id=account.customer_id,
        tier=account.tier_id,
        occurred_at=account.enrolled_at,
        recorded_at=context.recorded_at,
    )
    event_id = account_created_id(account.account_id)
    return _of_account(account, event_id, OutboundType.ACCOUNT_CREATED, body)


def decision_events(decision: Decision, context: EventContext) -> list[OutboxEvent]:
    """Announce what a decision changed: accounts that it opened, its entries in their order, tier changes."""
    events: list[OutboxEvent] = []
    for change in decision.changes:
        if change.opened is not None:
            events.append(_account_created(change.opened, context))
        events += [_balance_changed(change.account, entry, context) for entry in change.entries]
        events += [_tier_changed(change.account, moved, context) for moved in change.tier_changes]
    return events


def _balance_changed(account: Account, entry: Entry, context: EventContext) -> OutboxEvent:
    body = balance_changed_json(
        source=context.source,
        account_id=account.account_id,
        program_id=account.program_id,
        customer_id=account.customer_id,
        sequence=entry.sequence,
        kind=entry.kind.value,
        points=entry.points,
        balance=entry.balance_after,
        pending=entry.pending_after,
        pending_change=entry.pending_change,
        lifetime_points=entry.lifetime_points_after,
        tier=account.tier_id,
        occurred_at=entry.occurred_at,
        recorded_at=context.recorded_at,
        reason=_reason(entry),
        lots=[(part.lot_number, part.points, part.expires_at) for part in entry.allocations],
        order_id=entry.order_id,
        refund_id=entry.refund_id,
    )
    event_id = balance_changed_id(account.account_id, entry.sequence)
    return _of_account(account, event_id, OutboundType.BALANCE_CHANGED, body)


def _tier_changed(account: Account, change: TierChange, context: EventContext) -> OutboxEvent:
    body = tier_changed_json(
        source=context.source,
        account_id=account.account_id,
        program_id=account.program_id,
        customer_id=account.customer_id,
        sequence=change.change_number,
        previous_tier=change.previous_tier_id,
        tier=change.tier_id,
        qualifying_points=change.qualifying_points,
        effective_at=change.effective_at,
        recorded_at=context.recorded_at,
        reason=change.reason.value,
    )
    event_id = tier_changed_id(account.account_id, change.change_number)
    return _of_account(account, event_id, OutboundType.TIER_CHANGED, body)


def tier_at_risk(account: Account, risk: TierAtRisk, measure: Measure, context: EventContext) -> OutboxEvent:
    """Announce a review that would move the account down."""
    body = tier_at_risk_json(
        source=context.source,
        account_id=account.account_id,
        program_id=account.program_id,
        customer_id=account.customer_id,
        tier=risk.tier_id,
        tier_after=risk.fitting_tier_id,
        loses_at=risk.loses_at,
        measure=measure.value,
        missing=risk.units_missing,
        recorded_at=context.recorded_at,
    )
    event_id = tier_at_risk_id(account.account_id, risk.loses_at)
    return _of_account(account, event_id, OutboundType.TIER_AT_RISK, body)


def points_expiring(account: Account, reminder: Reminder, context: EventContext) -> OutboxEvent:
    """Remind of points that are about to expire, or correct an earlier reminder."""
    body = points_expiring_json(
        source=context.source,
        account_id=account.account_id,
        program_id=account.program_id,
        customer_id=account.customer_id,
        points=reminder.points,
        expires_at=reminder.expires_at,
        days_ahead=reminder.days_ahead,
        number=reminder.number,
        recorded_at=context.recorded_at,
    )
    event_id = points_expiring_id(account.account_id, reminder.expires_at, reminder.number)
    return _of_account(account, event_id, OutboundType.POINTS_EXPIRING, body)


def _of_account(account: Account, event_id: str, event_type: OutboundType, body: str) -> OutboxEvent:
    return OutboxEvent(account_shard(account.account_id), account.account_id, event_id, event_type.value, body)


def message_parked(message: ClaimedMessage, parked: Parked, context: EventContext) -> OutboxEvent:
    """Notify the shop that a message needs a person. It belongs to no account, so any shard will do."""
    times_parked = message.times_parked + 1
    body = message_parked_json(
        source=context.source,
        inbox_id=message.inbox_id,
        reason=parked.reason.value,
        detail=parked.detail,
        received_at=message.received_at,
        parked_at=context.recorded_at,
        times_parked=times_parked,
        event_source=message.source,
        event_id=message.event_id,
        event_type=message.type,
        order_id=order_id_of(message.subject),
    )
    event_id = message_parked_id(message.inbox_id, times_parked)
    return OutboxEvent(0, None, event_id, OutboundType.MESSAGE_PARKED.value, body)
