"""The contract of the events that go out: what a consumer may rely on. The published JSON Schemas are made of it.

Every event is CloudEvents 1.0 in structured JSON. Fields, kinds and reasons are added in later releases, none change
their meaning; consumers ignore what they do not know.
"""

from enum import StrEnum
from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config

# Python 3.11's own TypedDict hides from pydantic which keys are required.
from typing_extensions import TypedDict

from core.messages.outbound.account_events import (
    AccountClosedEvent,
    AccountFrozenEvent,
    AccountMergedEvent,
    AccountUnmergedEvent,
    AccountUpdatedEvent,
    CustomerErasedEvent,
)
from core.messages.outbound.command_answers import CommandAcceptedEvent, CommandRejectedEvent
from core.messages.outbound.event_parts import (
    CONTRACT,
    AccountId,
    Attributes,
    Instant,
    LotChange,
    MemberTold,
    NotNegative,
    Ordinal,
    OwnAccountId,
)
from core.messages.outbound.reward_events import RewardDeletedEvent, RewardIssuedEvent, RewardRedeemedEvent


class OutboundType(StrEnum):
    """Every type of event that goes out; on RabbitMQ also the routing key."""

    BALANCE_CHANGED = "loyalty.balance.changed"
    ACCOUNT_CREATED = "loyalty.account.created"
    ACCOUNT_UPDATED = "loyalty.account.updated"
    ACCOUNT_FROZEN = "loyalty.account.frozen"
    ACCOUNT_CLOSED = "loyalty.account.closed"
    REWARD_ISSUED = "loyalty.reward.issued"
    REWARD_REDEEMED = "loyalty.reward.redeemed"
    REWARD_DELETED = "loyalty.reward.deleted"
    ACCOUNT_MERGED = "loyalty.account.merged"
    ACCOUNT_UNMERGED = "loyalty.account.unmerged"
    CUSTOMER_ERASED = "loyalty.customer.erased"
    TIER_CHANGED = "loyalty.tier.changed"
    TIER_AT_RISK = "loyalty.tier.at_risk"
    POINTS_EXPIRING = "loyalty.points.expiring"
    AUTHORIZATION_EXPIRING = "loyalty.authorization.expiring"
    POINTS_EXTENDED = "loyalty.points.extended"
    MESSAGE_PARKED = "loyalty.message.parked"
    COMMAND_ACCEPTED = "loyalty.command.accepted"
    COMMAND_REJECTED = "loyalty.command.rejected"


@with_config(CONTRACT)
class BalanceChangedData(TypedDict):
    """One ledger entry. What paid off a deficit, or became one, is in no lot: `lots` may sum to less than it."""

    account_id: AccountId
    """The account."""
    own_account_id: NotRequired[OwnAccountId]
    program_id: str
    """The loyalty program of the account."""
    customer_id: str
    """The shop's id of the customer."""
    sequence: Ordinal
    """Counts the account's balance changes: 1, 2, 3, … without gap, so that loss, repeats and reordering show."""
    kind: Annotated[
        str, Field(examples=["accrual", "clawback", "expiry", "release", "credit", "transfer", "authorization"])
    ]
    """Why the balance changed, coarsely. Later releases add kinds."""
    points: int
    """The change of the available points; 0 where only pending or reserved ones changed."""
    balance: int
    """Available points after the change; below zero when a refund took back more than there was."""
    pending: NotNegative
    """Points that are granted and not yet available, after the change."""
    pending_change: NotRequired[int]
    """The change of the pending points; absent: 0."""
    reserved: NotNegative
    """Points that authorizations and issued rewards hold, after the change: neither available nor spent."""
    reserved_change: NotRequired[int]
    """The change of the reserved points; absent: 0."""
    lifetime_points: int
    """All points earned and not taken back by refunds, after the change; spending and expiry do not lower it."""
    tier: str
    """The tier after the change."""
    occurred_at: Instant
    """When the cause occurred: the order's or refund's own time, or the instant of expiry."""
    recorded_at: Instant
    """When the ledger recorded it."""
    reason: Annotated[
        str,
        Field(
            examples=[
                "order_completed",
                "order_refunded",
                "order_cancelled",
                "order_returned",
                "order_fulfilled",
                "lots_expired",
            ]
        ),
    ]
    """Why the balance changed, precisely. Later releases add reasons."""
    order_id: NotRequired[str]
    """The shop's order, when one is the cause."""
    refund_id: NotRequired[str]
    """The shop's refund, when one is the cause."""
    return_id: NotRequired[str]
    """The shop's return without a receipt, when one is the cause."""
    command_id: NotRequired[str]
    """The command, when one is the cause."""
    acting_customer_id: NotRequired[str]
    """The member whose order or command is the cause, where that is not the account's owner."""
    lots: list[LotChange]
    """What the change gave to lots, or took from them."""


@with_config(CONTRACT)
class AccountCreatedData(TypedDict):
    """An account was opened: by a customer's first order or other activity in a program, or by command."""

    account_id: AccountId
    """The account."""
    own_account_id: NotRequired[OwnAccountId]
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    tier: str
    """The tier that it starts in."""
    occurred_at: Instant
    """When the order, return or command occurred that opened it."""
    enrolled_at: NotRequired[Instant]
    """When the membership began, where a command said that."""
    lifetime_points: NotRequired[int]
    """The lifetime points that it begins with, where a command said that: they were earned elsewhere before."""
    metadata: NotRequired[dict[str, str | int | bool]]
    """What its maker wanted kept with it."""
    tags: NotRequired[list[str]]
    """Words to find it by."""
    members: NotRequired[list[MemberTold]]
    """Who may use it beside its owner."""
    recorded_at: Instant
    """When it was opened."""


@with_config(CONTRACT)
class TierChangedData(TypedDict):
    """An account moved to another tier."""

    account_id: AccountId
    """The account."""
    own_account_id: NotRequired[OwnAccountId]
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    sequence: Ordinal
    """Counts the account's tier changes: 1, 2, 3, … without gap. It is not the sequence of the balance changes."""
    previous_tier: str
    """The tier before."""
    tier: str
    """The tier now."""
    qualifying_points: NotNegative
    """What decided it: points, hundredths of the currency's major unit, or orders, by the program's measure."""
    effective_at: Instant
    """From when the tier counts for orders."""
    recorded_at: Instant
    """When the change was recorded."""
    reason: Annotated[str, Field(examples=["qualified", "reviewed", "refunded", "held", "corrected"])]
    """Why the tier changed. Later releases add reasons."""


@with_config(CONTRACT)
class TierAtRiskData(TypedDict):
    """The next review will move the account down, unless more qualifies until then."""

    account_id: AccountId
    """The account."""
    own_account_id: NotRequired[OwnAccountId]
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    tier: str
    """The tier now."""
    tier_after: str
    """The tier after the review, as it stands."""
    loses_at: Instant
    """When the tier will be lost."""
    measure: Annotated[str, Field(examples=["points", "spend", "orders"])]
    """What `missing` counts: points, hundredths of the currency's major unit, or orders."""
    missing: Ordinal
    """What is missing to stay."""
    recorded_at: Instant
    """When this was found."""


@with_config(CONTRACT)
class PointsExpiringData(TypedDict):
    """Points are about to expire. Of the same `expires_at` an event with a higher number corrects an earlier one."""

    account_id: AccountId
    """The account."""
    own_account_id: NotRequired[OwnAccountId]
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    points: NotNegative
    """How many expire, as it stands; 0: none any more, forget the earlier reminder."""
    expires_at: Instant
    """The first instant at which they cannot be spent."""
    days_ahead: Ordinal
    """The period of the program's `reminders.days_ahead` that has begun."""
    number: Ordinal
    """Counts the reminders of this account and instant: 1, 2, 3, …"""
    recorded_at: Instant
    """When this was found."""


@with_config(CONTRACT)
class AuthorizationExpiringData(TypedDict):
    """An authorization still holds points, and its deadline is near: then they come back to the balance."""

    account_id: AccountId
    """The account."""
    own_account_id: NotRequired[OwnAccountId]
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    authorization_id: str
    """The authorization, as the command that made it named it."""
    command_id: str
    """That command."""
    command_source: str
    """The source that sent it."""
    points_held: Ordinal
    """How many points it holds: neither captured nor back."""
    expires_at: Instant
    """The deadline: the first instant at which nothing can be captured."""
    recorded_at: Instant
    """When this was found."""


@with_config(CONTRACT)
class ExtendedEnd(TypedDict):
    """Points of one end that can be used longer."""

    points: Ordinal
    """How many are left of them, pending ones included."""
    previous_expires_at: Instant
    """The first instant at which they could not have been spent."""
    expires_at: Instant
    """The first instant at which they cannot be spent now; it is later."""


@with_config(CONTRACT)
class PointsExtendedData(TypedDict):
    """A person let points of an account be used longer."""

    account_id: AccountId
    """The account."""
    own_account_id: NotRequired[OwnAccountId]
    program_id: str
    """Its loyalty program."""
    customer_id: str
    """The shop's id of the customer."""
    ends: list[ExtendedEnd]
    """What was extended, the soonest first."""
    recorded_at: Instant
    """When it was done."""


@with_config(CONTRACT)
class MessageParkedData(TypedDict):
    """A message needs a person: `loyalty dead show` shows all of it. What could not be read of it is left out."""

    inbox_id: Ordinal
    """Names the message for `loyalty dead show`."""
    source: NotRequired[str]
    """The message's own source."""
    event_id: NotRequired[str]
    """The message's own id."""
    type: NotRequired[str]
    """The message's own type, where it looks like one: words in lower case, parted by dots."""
    order_id: NotRequired[str]
    """The order that it is about."""
    refund_id: NotRequired[str]
    """The refund that it is about."""
    return_id: NotRequired[str]
    """The return without a receipt that it is."""
    reason: Annotated[str, Field(examples=["invalid_data", "order_conflict", "unknown_program"])]
    """Why it is parked. Later releases add reasons."""
    detail: str
    """What is wrong, where, and how to mend it; without the customer's data."""
    received_at: Instant
    """When it first came."""


@with_config(CONTRACT)
class BalanceChangedEvent(Attributes):
    """The balance of an account changed: exactly one event per ledger entry, in the order of `data.sequence`."""

    type: Literal["loyalty.balance.changed"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: BalanceChangedData
    """The change."""


@with_config(CONTRACT)
class AccountCreatedEvent(Attributes):
    """An account was opened; comes before every other event of the account."""

    type: Literal["loyalty.account.created"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: AccountCreatedData
    """The account."""


@with_config(CONTRACT)
class TierChangedEvent(Attributes):
    """The tier of an account changed."""

    type: Literal["loyalty.tier.changed"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: TierChangedData
    """The change."""


@with_config(CONTRACT)
class TierAtRiskEvent(Attributes):
    """The tier of an account is about to be lost."""

    type: Literal["loyalty.tier.at_risk"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: TierAtRiskData
    """The warning."""


@with_config(CONTRACT)
class PointsExpiringEvent(Attributes):
    """Points of an account are about to expire, or fewer than the last reminder said."""

    type: Literal["loyalty.points.expiring"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: PointsExpiringData
    """The reminder."""


@with_config(CONTRACT)
class AuthorizationExpiringEvent(Attributes):
    """The deadline of an authorization is near. Told once of each, however much of it is captured."""

    type: Literal["loyalty.authorization.expiring"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: AuthorizationExpiringData
    """The authorization."""


@with_config(CONTRACT)
class PointsExtendedEvent(Attributes):
    """Points of an account can be used longer than was announced. No balance changes."""

    type: Literal["loyalty.points.extended"]  # type: ignore[misc]
    """What happened."""
    subject: AccountId
    """The account."""
    data: PointsExtendedData
    """The new ends."""


@with_config(CONTRACT)
class MessageParkedEvent(Attributes):
    """A message that came in was set aside for a person."""

    type: Literal["loyalty.message.parked"]  # type: ignore[misc]
    """What happened."""
    data: MessageParkedData
    """The message, without its body."""


OUTBOUND_EVENTS: dict[str, type] = {
    OutboundType.BALANCE_CHANGED: BalanceChangedEvent,
    OutboundType.ACCOUNT_CREATED: AccountCreatedEvent,
    OutboundType.ACCOUNT_UPDATED: AccountUpdatedEvent,
    OutboundType.ACCOUNT_FROZEN: AccountFrozenEvent,
    OutboundType.ACCOUNT_CLOSED: AccountClosedEvent,
    OutboundType.REWARD_ISSUED: RewardIssuedEvent,
    OutboundType.REWARD_REDEEMED: RewardRedeemedEvent,
    OutboundType.REWARD_DELETED: RewardDeletedEvent,
    OutboundType.ACCOUNT_MERGED: AccountMergedEvent,
    OutboundType.ACCOUNT_UNMERGED: AccountUnmergedEvent,
    OutboundType.CUSTOMER_ERASED: CustomerErasedEvent,
    OutboundType.TIER_CHANGED: TierChangedEvent,
    OutboundType.TIER_AT_RISK: TierAtRiskEvent,
    OutboundType.POINTS_EXPIRING: PointsExpiringEvent,
    OutboundType.AUTHORIZATION_EXPIRING: AuthorizationExpiringEvent,
    OutboundType.POINTS_EXTENDED: PointsExtendedEvent,
    OutboundType.MESSAGE_PARKED: MessageParkedEvent,
    OutboundType.COMMAND_ACCEPTED: CommandAcceptedEvent,
    OutboundType.COMMAND_REJECTED: CommandRejectedEvent,
}
