"""Accounts and ledger entries: how one signed entry changes an account and its lots.

    balance = sum of the account's entries = sum of points_remaining of its available lots - deficit
    pending = sum of the entries' pending_change = sum of points_remaining of its pending lots

Entries are immutable and numbered 1, 2, 3, … per account; a correction is a new entry that names the one it corrects.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from core.domain.lots import Allocation, Lot
from core.domain.orders.facts import Order, Refund

_NOTHING: Mapping[str, int] = MappingProxyType({})
_NO_REMAINDERS: Mapping[str, Fraction] = MappingProxyType({})


class EntryKind(StrEnum):
    """Why a balance changed."""

    ACCRUAL = "accrual"  #: an order earned points
    CLAWBACK = "clawback"  #: a refund took back points of its order
    EXPIRY = "expiry"  #: lots reached their expiry
    RELEASE = "release"  #: pending points became available


class TierChangeReason(StrEnum):
    """Why an account's tier changed."""

    QUALIFIED = "qualified"  #: the qualifying points reached a higher threshold
    REVIEWED = "reviewed"  #: the period ended with less than the tier asks for
    REFUNDED = "refunded"  #: a refund took what had qualified for it
    HELD = "held"  #: a person set it, and it is kept until a date


class Account(NamedTuple):
    """One customer's points in one program."""

    account_id: UUID
    program_id: str
    customer_id: str  #: the member that opened it
    tier_id: str
    sequence: int = 0  #: number of the last entry
    lots_opened: int = 0  #: number of the last lot
    balance: int = 0  #: available points less the deficit; may be below zero
    pending: int = 0  #: points that are not available yet
    deficit: int = 0  #: how far debits went beyond the lots; later credits pay it off first
    lifetime_points: int = 0  #: accruals less clawbacks of accruals
    qualifying_points: int = 0  #: units of the measure (points, hundredths, orders) of the current qualification period
    qualifying_from: datetime | None = None  #: start of that period; None = lifetime
    tier_since: datetime | None = None  #: None = the first tier, from the beginning
    tier_until: datetime | None = None  #: the period's end; the tier is reviewed then, after the grace; None = never
    tier_changes: int = 0  #: number of the last tier change
    orders_posted: int = 0  #: orders of this customer that are known, whatever they earned
    enrolled_at: datetime | None = None  #: when the order occurred that opened the account
    tier_held_until: datetime | None = None  #: until when no refund and no review lowers the tier
    tier_warned_until: datetime | None = None  #: the `tier_until` that a warning was sent for


class Entry(NamedTuple):
    """One signed change of one account. points + pending_change = sum of allocations - deficit_change."""

    account_id: UUID
    sequence: int
    kind: EntryKind
    points: int
    balance_after: int
    lifetime_points_after: int
    deficit_change: int  #: positive: the deficit grew; negative: this credit paid it off
    occurred_at: datetime
    allocations: tuple[Allocation, ...]
    source: str | None
    order_id: str | None
    refund_id: str | None
    corrects_sequence: int | None  #: the entry that this one corrects
    why: dict[str, Any]  #: the calculation, for people
    pending_change: int = 0  #: of the points that are not available yet
    pending_after: int = 0


class TierChange(NamedTuple):
    """An account moved to another tier at `effective_at`."""

    account_id: UUID
    change_number: int
    previous_tier_id: str
    tier_id: str
    qualifying_points: int
    effective_at: datetime
    reason: TierChangeReason


class Frozen(NamedTuple):
    """What was judged when the order was posted, for good: who it is for, and what its limits left of each rule.

    The empty one means: every rule and promotion of the version on the order's day, without limits.
    """

    excluded: tuple[str, ...] = ()  #: rules and promotions whose conditions, beside their dates, did not hold
    allowances: Mapping[str, int] = _NOTHING  #: the most points that each rule or promotion could give, where limited
    carried: Mapping[str, Fraction] = _NO_REMAINDERS  #: the remainder that each rule brought from earlier orders


class Qualifying(NamedTuple):
    """What one order counts for the tier, by each measure."""

    points: int = 0
    spend: int = 0  #: hundredths of the major unit
    orders: int = 0  #: 1 while something of it is kept


class PostedOrder(NamedTuple):
    """What the ledger holds of an order: its facts, the rules frozen with it, and what became of its points."""

    order: Order
    program_id: str
    program_version: int
    tier_id: str | None  #: the tier that its points were earned at; None for a guest
    account_id: UUID | None  #: None for a guest
    sequence: int | None  #: its accrual entry; None when it earned nothing
    lot_number: int | None  #: the first lot that its accrual opened
    points_entitled: int  #: entitlement with all refunds known so far
    points_excused: int  #: of what refunds claimed back: had expired already
    points_shortfall: int  #: of what refunds claimed back: not taken by policy
    frozen: Frozen = Frozen()
    qualifying: Qualifying = Qualifying()
    fulfilled_at: datetime | None = None
    cancelled_at: datetime | None = None


class PostedRefund(NamedTuple):
    """What one refund did. points_due = points_taken + points_excused + points_shortfall."""

    refund: Refund
    points_due: int
    points_taken: int
    points_excused: int
    points_shortfall: int


#: More than this no account gets in its life: far more than anybody means, far less than 64 bits hold, and still exact
#: for consumers whose numbers are doubles.
POINTS_MAX = 10**15


class UsageChange(NamedTuple):
    """What one order changed of what its customer has had of a rule or promotion in a period."""

    account_id: UUID
    name: str  #: the rule's or the promotion's
    period: str  #: 2026-11-21, 2026-11, or `ever`
    points: int
    orders: int
    carried: Fraction


class BudgetChange(NamedTuple):
    """What one order changed of what all customers have had of a promotion."""

    program_id: str
    promotion_id: str
    points: int
    orders: int


class Decision(NamedTuple):
    """All that one message or one periodic step changes; written in one transaction. Absent parts did not change."""

    account: Account | None = None
    entries: tuple[Entry, ...] = ()
    lots: tuple[Lot, ...] = ()  #: opened or changed, in their new state
    tier_changes: tuple[TierChange, ...] = ()
    order: PostedOrder | None = None
    refund: PostedRefund | None = None
    usages: tuple[UsageChange, ...] = ()
    budgets: tuple[BudgetChange, ...] = ()
    given: Mapping[str, int] = _NOTHING  #: the order's points now, by rule and promotion, where they were worked out


class NewLot(NamedTuple):
    """The terms of a lot that a credit opens."""

    points: int
    available_at: datetime | None
    expires_at: datetime | None
    earned_by: str = ""


class Credited(NamedTuple):
    """What a credit did: `available` and `held` points, of which `paid_off` went to the deficit."""

    account: Account
    lots: tuple[Lot, ...]
    available: int
    held: int
    paid_off: int


def credit(account: Account, grants: Sequence[NewLot], as_of: datetime) -> Credited:
    """Add what an order earned: points that are available at `as_of` pay off the deficit first; each rest opens a lot.

    Held points pay off nothing before they are released.
    """
    sequence, number = account.sequence + 1, account.lots_opened
    deficit, available, held = account.deficit, 0, 0
    lots: list[Lot] = []
    for grant in grants:
        assert grant.points > 0
        is_held = grant.available_at is None or grant.available_at > as_of
        paid_off = 0 if is_held else min(grant.points, deficit)
        deficit -= paid_off
        if is_held:
            held += grant.points
        else:
            available += grant.points
        left = grant.points - paid_off
        if left:
            number += 1
            lots.append(
                Lot(number, sequence, left, left, 0, grant.available_at, grant.expires_at, grant.earned_by, is_held)
            )
    changed = account._replace(
        sequence=sequence,
        lots_opened=number,
        balance=account.balance + available,
        pending=account.pending + held,
        deficit=deficit,
        lifetime_points=account.lifetime_points + available + held,
    )
    return Credited(changed, tuple(lots), available, held, account.deficit - deficit)


def debit(account: Account, points: int, *, uncovered: int, pending: int = 0) -> Account:
    """Take `points` from the balance, of which `uncovered` came from no lot and become deficit, and `pending` ones."""
    assert points + pending > 0
    assert 0 <= uncovered <= points
    return account._replace(
        sequence=account.sequence + 1,
        balance=account.balance - points,
        pending=account.pending - pending,
        deficit=account.deficit + uncovered,
    )
