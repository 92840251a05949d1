"""The events that announce what was decided. Ids follow from what happened: the same change twice is the same event.

mypy holds the data of each event to its contract.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, NotRequired, TypedDict

from core.domain.decision import AccountChange, AccountNotice, Decision, NoticeKind, TierChange
from core.domain.expiry.reminders import Reminder
from core.domain.ledger import Account, Entry, EntryKind
from core.domain.members import OF_MEMBER, Member
from core.domain.merges import MergeRole
from core.domain.orders.posted import PostedOrder
from core.domain.outcomes import Parked
from core.domain.program import Measure
from core.domain.reach import ReferenceKey
from core.domain.subjects import order_id_of, return_id_of
from core.domain.tiers.qualification import TierAtRisk
from core.domain.value.authorizations import Authorization
from core.domain.value.commands import told_reference
from core.domain.value.rewards import RewardNotice, RewardStep
from core.messages.outbound.account_events import AccountChangedData
from core.messages.outbound.event_json import event_json, instant_text, recorded_text
from core.messages.outbound.event_parts import MemberTold
from core.messages.outbound.published_events import (
    AccountCreatedData,
    AuthorizationExpiringData,
    BalanceChangedData,
    MessageParkedData,
    OutboundType,
    PointsExpiringData,
    PointsExtendedData,
    TierAtRiskData,
    TierChangedData,
)
from core.messages.outbound.reward_events import RewardData
from core.messages.outbound.told_rewards import told_reward
from core.messages.trace_context import TraceContext
from core.posting.tally import Tally
from core.store.appending import OutboxEvent
from core.store.inbox import ClaimedMessage
from core.store.shards import account_shard


class EventContext(NamedTuple):
    """What all events of one transaction share, and, with a trace, all that one message causes in it."""

    source: str  #: CloudEvents source
    recorded_at: datetime  #: the transaction's time
    tally: Tally | None = None  #: what it is counted in; None: nobody asks
    trace: TraceContext | None = None  #: of the message; None: it has none, or the calendar is the cause


class _Whose(TypedDict):
    account_id: str
    program_id: str
    customer_id: str
    own_account_id: NotRequired[str]


def decision_events(decision: Decision, context: EventContext) -> list[OutboxEvent]:
    """Announce what a decision changed: accounts that it opened, its entries in their order, tier changes."""
    events: list[OutboxEvent] = []
    for change in decision.changes:
        if change.opened is not None:
            events.append(_account_created(change, change.opened, context))
        events += [
            _balance_changed(change.account, entry, _acting(decision, entry), context) for entry in change.entries
        ]
        events += [_tier_changed(change.account, moved, context) for moved in change.tier_changes]
        if change.notice is not None:
            events.append(_account_changed(change, change.notice, context))
    events += [_reward_changed(notice, context) for notice in decision.rewards]
    return events


def _account_created(change: AccountChange, account: Account, context: EventContext) -> OutboxEvent:
    opened_at = change.opened_at or account.enrolled_at or change.entries[0].occurred_at
    data: AccountCreatedData = {
        "account_id": str(account.account_id),
        "program_id": account.program_id,
        "customer_id": account.customer_id,
        "tier": account.tier_id,
        "occurred_at": instant_text(opened_at),
        "recorded_at": recorded_text(context.recorded_at),
    }
    if account.is_enrolment_given and account.enrolled_at is not None:
        data["enrolled_at"] = instant_text(account.enrolled_at)
    if account.lifetime_points_given:
        data["lifetime_points"] = account.lifetime_points_given
    if change.details is not None and change.details.metadata:
        data["metadata"] = dict(change.details.metadata)
    if change.details is not None and change.details.tags:
        data["tags"] = list(change.details.tags)
    if change.members:
        data["members"] = members_told(change.members)
    return _of_account(account, "created", OutboundType.ACCOUNT_CREATED, data, context)


def members_told(members: Iterable[Member]) -> list[MemberTold]:
    """Who may use an account beside its owner, as events and answers say it."""
    return [{"customer_id": member.customer_id, "role": member.role.value} for member in members]


_NOTICES = {
    NoticeKind.UPDATED: OutboundType.ACCOUNT_UPDATED,
    NoticeKind.FROZEN: OutboundType.ACCOUNT_FROZEN,
    NoticeKind.CLOSED: OutboundType.ACCOUNT_CLOSED,
    NoticeKind.MERGED: OutboundType.ACCOUNT_MERGED,
    NoticeKind.UNMERGED: OutboundType.ACCOUNT_UNMERGED,
    NoticeKind.ERASED: OutboundType.CUSTOMER_ERASED,
}


def _account_changed(change: AccountChange, notice: AccountNotice, context: EventContext) -> OutboxEvent:
    account, (source, command_id) = change.account, notice.command
    data: AccountChangedData = {
        "account_id": str(account.account_id),
        "program_id": account.program_id,
        "customer_id": account.customer_id,
        "status": account.status.value,
        "command_id": command_id,
        "command_source": source,
        "occurred_at": instant_text(notice.occurred_at),
        "recorded_at": recorded_text(context.recorded_at),
    }
    if change.details is not None:
        data["metadata"] = dict(change.details.metadata)
        data["tags"] = list(change.details.tags)
    if change.members is not None:
        data["members"] = members_told(change.members)
    come = [moved.customer_id for moved in change.primaries if moved.after == account.account_id]
    gone = [moved.customer_id for moved in change.primaries if moved.before == account.account_id]
    if come:
        data["primary_of"] = come
    if gone:
        data["primary_no_longer_of"] = gone
    if notice.linked:
        data["linked"] = _linked_told(notice.linked)
    if notice.unlinked:
        data["unlinked"] = _linked_told(notice.unlinked)
    if notice.survivor is not None:
        data["survivor_account_id"] = str(notice.survivor)
    if notice.reason is not None:
        data["reason"] = notice.reason
    return _of_account(account, f"{notice.kind.value}:{source} {command_id}", _NOTICES[notice.kind], data, context)


def _linked_told(keys: Iterable[ReferenceKey]) -> dict[str, str]:
    """By what else an account is found, or no longer."""
    return {key.kind: told_reference(key.kind, key.reference) for key in keys}


_REWARDS = {
    RewardStep.ISSUED: OutboundType.REWARD_ISSUED,
    RewardStep.REDEEMED: OutboundType.REWARD_REDEEMED,
    RewardStep.DELETED: OutboundType.REWARD_DELETED,
    RewardStep.EXPIRED: OutboundType.REWARD_DELETED,
}


def _reward_changed(notice: RewardNotice, context: EventContext) -> OutboxEvent:
    issued = notice.issued
    data: RewardData = {
        "account_id": str(notice.account.account_id),
        "program_id": notice.account.program_id,
        "customer_id": notice.account.customer_id,
        "issue_id": issued.authorization_id,
        "state": notice.step.value,
        "reward": told_reward(notice.offer),
        "occurred_at": instant_text(notice.occurred_at),
        "recorded_at": recorded_text(context.recorded_at),
    }
    if issued.expires_at is not None:
        data["expires_at"] = instant_text(issued.expires_at)
    if notice.order_id is not None:
        data["order_id"] = notice.order_id
    if notice.reason is not None:
        data["reason"] = notice.reason
    if notice.command is not None:
        data["command_source"], data["command_id"] = notice.command
    name = f"reward:{notice.step.value}:{issued.authorization_id}"
    return _of_account(notice.account, name, _REWARDS[notice.step], data, context)


def _acting(decision: Decision, entry: Entry) -> str | None:
    """The customer whose command or order made an entry, as far as it is known and not the owner."""
    if entry.command_id is not None:
        told = None if decision.answer is None else decision.answer.told.get("acting_customer_id")
        return None if told is None else str(told)
    if OF_MEMBER in entry.why:
        (posted,) = (each for each in decision.facts if isinstance(each, PostedOrder))
        return posted.order.customer_id
    return None


def _balance_changed(account: Account, entry: Entry, acting: str | None, context: EventContext) -> OutboxEvent:
    data: BalanceChangedData = {
        "account_id": str(account.account_id),
        "program_id": account.program_id,
        "customer_id": account.customer_id,
        "sequence": entry.sequence,
        "kind": entry.kind.value,
        "points": entry.points,
        "balance": entry.balance_after,
        "pending": entry.pending_after,
        "reserved": entry.reserved_after,
        "lifetime_points": entry.lifetime_points_after,
        "tier": account.tier_id,
        "occurred_at": instant_text(entry.occurred_at),
        "recorded_at": recorded_text(context.recorded_at),
        "reason": _reason(entry),
        "lots": [
            {
                "lot_number": part.lot_number,
                "points": part.points,
                "expires_at": None if part.expires_at is None else instant_text(part.expires_at),
            }
            for part in entry.allocations
        ],
    }
    if entry.pending_change:
        data["pending_change"] = entry.pending_change
    if entry.reserved_change:
        data["reserved_change"] = entry.reserved_change
    if entry.order_id is not None:
        data["order_id"] = entry.order_id
    if entry.refund_id is not None:
        data["refund_id"] = entry.refund_id
    if entry.return_id is not None:
        data["return_id"] = entry.return_id
    if entry.command_id is not None:
        data["command_id"] = entry.command_id
    if acting is not None and acting != account.customer_id:
        data["acting_customer_id"] = acting
    return _of_account(account, str(entry.sequence), OutboundType.BALANCE_CHANGED, data, context)


_MERGING = frozenset({MergeRole.MERGED.value, MergeRole.SURVIVOR.value})
#: What an entry's explanation has of the message that made it, and the reason that this is.
_REASONS = {"revision": "order_amended", "claimed": "order_claimed"}


_OF_REWARDS = {EntryKind.AUTHORIZATION: "issued", EntryKind.CAPTURE: "redeemed", EntryKind.VOID: "deleted"}


def _reason(entry: Entry) -> str:
    told = [reason for name, reason in _REASONS.items() if name in entry.why]
    match entry.kind:
        case EntryKind.ACCRUAL:
            usual = "order_completed" if entry.refund_id is None else "refund_reverted"
        case EntryKind.CLAWBACK if entry.return_id is not None:
            usual = "order_returned"
        case EntryKind.CLAWBACK:
            usual = "order_cancelled" if entry.refund_id is None else "order_refunded"
        case EntryKind.EXPIRY:
            usual = "lots_expired"
        case EntryKind.MERGE:
            usual = "account_merged" if entry.why["merge"] in _MERGING else "account_unmerged"
        case EntryKind.DEBIT if "forfeited" in entry.why:
            usual = "customer_erased" if "erased" in entry.why else "account_closed"
        case EntryKind.VOID if entry.command_id is None:
            of_deadline = "reward_expired" if "reward_id" in entry.why.get("deadline", {}) else "authorization_expired"
            usual = of_deadline if entry.source is None else "authorization_clawed_back"
            usual = "order_cancelled" if "cancelled_order" in entry.why else usual
        case EntryKind.REPAYMENT:
            usual = "order_repaid" if entry.points > 0 else "order_repayment_undone"
        case kind if kind in _OF_REWARDS and "reward_id" in entry.why.get("command", {}):
            usual = f"reward_{_OF_REWARDS[kind]}"
        case (
            EntryKind.CREDIT
            | EntryKind.DEBIT
            | EntryKind.ADJUSTMENT
            | EntryKind.TRANSFER
            | EntryKind.REVERSAL
            | EntryKind.AUTHORIZATION
            | EntryKind.CAPTURE
            | EntryKind.VOID
            | EntryKind.REDEMPTION
            | EntryKind.CONVERSION
        ):
            usual = f"command_{entry.kind.value}"
        case EntryKind.RELEASE:
            usual = "lots_released" if entry.order_id is None else "order_fulfilled"
    return told[0] if told else usual


def _tier_changed(account: Account, change: TierChange, context: EventContext) -> OutboxEvent:
    data: TierChangedData = {
        **_whose(account),
        "sequence": change.change_number,
        "previous_tier": change.previous_tier_id,
        "tier": change.tier_id,
        "qualifying_points": change.qualifying_points,
        "effective_at": instant_text(change.effective_at),
        "recorded_at": recorded_text(context.recorded_at),
        "reason": change.reason.value,
    }
    return _of_account(account, f"tier:{change.change_number}", OutboundType.TIER_CHANGED, data, context)


def tier_at_risk(account: Account, risk: TierAtRisk, measure: Measure, context: EventContext) -> OutboxEvent:
    """Announce a review that would move the account down."""
    loses_at = instant_text(risk.loses_at)
    data: TierAtRiskData = {
        **_whose(account),
        "tier": risk.tier_id,
        "tier_after": risk.fitting_tier_id,
        "loses_at": loses_at,
        "measure": measure.value,
        "missing": risk.units_missing,
        "recorded_at": recorded_text(context.recorded_at),
    }
    return _of_account(account, f"at_risk:{loses_at}", OutboundType.TIER_AT_RISK, data, context)


def points_expiring(account: Account, reminder: Reminder, context: EventContext) -> OutboxEvent:
    """Remind of points that are about to expire, or correct an earlier reminder."""
    expires_at = instant_text(reminder.expires_at)
    data: PointsExpiringData = {
        **_whose(account),
        "points": reminder.points,
        "expires_at": expires_at,
        "days_ahead": reminder.days_ahead,
        "number": reminder.number,
        "recorded_at": recorded_text(context.recorded_at),
    }
    return _of_account(account, f"expiring:{expires_at}:{reminder.number}", OutboundType.POINTS_EXPIRING, data, context)


def authorization_expiring(account: Account, authorization: Authorization, context: EventContext) -> OutboxEvent:
    """Tell of an authorization that holds points still, and of its deadline."""
    assert authorization.expires_at is not None
    data: AuthorizationExpiringData = {
        **_whose(account),
        "authorization_id": authorization.authorization_id,
        "command_id": authorization.command_id,
        "command_source": authorization.source,
        "points_held": authorization.points_held,
        "expires_at": instant_text(authorization.expires_at),
        "recorded_at": recorded_text(context.recorded_at),
    }
    what = f"authorization:{authorization.authorization_id}:expiring"
    return _of_account(account, what, OutboundType.AUTHORIZATION_EXPIRING, data, context)


def points_extended(
    account: Account, ends: Sequence[tuple[int, datetime, datetime]], context: EventContext
) -> OutboxEvent:
    """Tell that points can be used longer: how many, their end until now, and the new one."""
    recorded_at = recorded_text(context.recorded_at)
    data: PointsExtendedData = {
        **_whose(account),
        "ends": [
            {"points": points, "previous_expires_at": instant_text(before), "expires_at": instant_text(after)}
            for points, before, after in ends
        ],
        "recorded_at": recorded_at,
    }
    return _of_account(account, f"extended:{recorded_at}", OutboundType.POINTS_EXTENDED, data, context)


def message_parked(message: ClaimedMessage, parked: Parked, context: EventContext) -> OutboxEvent:
    """Notify the shop that a message needs a person; what could not be read of it is left out.

    It belongs to no account, so any shard will do. One that was retried and is parked again has another event.
    """
    data: MessageParkedData = {
        "inbox_id": message.inbox_id,
        "reason": parked.reason.value,
        "detail": parked.detail,
        "received_at": instant_text(message.received_at),
    }
    if message.source:
        data["source"] = message.source
    if message.event_id:
        data["event_id"] = message.event_id
    if message.type:
        data["type"] = message.type
    if order_id := order_id_of(message.subject):
        data["order_id"] = order_id
    if return_id := return_id_of(message.subject):
        data["return_id"] = return_id
    times = message.times_parked + 1
    event_id = f"parked:{message.inbox_id}" if times == 1 else f"parked:{message.inbox_id}:{times}"
    event_type = OutboundType.MESSAGE_PARKED
    # Whatever it is parked by, and when: the message is the cause.
    body = event_json(event_type, event_id, context.source, context.recorded_at, data, trace=message.trace)
    return OutboxEvent(
        0, None, event_id, event_type.value, body, traceparent=message.traceparent, tracestate=message.tracestate
    )


def _whose(account: Account) -> _Whose:
    return {
        "account_id": str(account.account_id),
        "program_id": account.program_id,
        "customer_id": account.customer_id,
    }


def _of_account(
    account: Account, name: str, event_type: OutboundType, data: _Whose, context: EventContext
) -> OutboxEvent:
    """An event of an account; `name` is its own within the account's."""
    if account.own_account_id is not None:
        data["own_account_id"] = account.own_account_id
    subject = data["account_id"]
    event_id = f"{subject}:{name}"
    trace = context.trace
    body = event_json(event_type, event_id, context.source, context.recorded_at, data, subject, trace=trace)
    shard = account_shard(account.account_id)
    if trace is None:
        return OutboxEvent(shard, account.account_id, name, event_type.value, body)
    return OutboxEvent(shard, account.account_id, name, event_type.value, body, None, None, *trace)
