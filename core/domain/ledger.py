"""Accounts and ledger entries: how one signed entry changes an account and its lots.

    balance = sum of the account's entries = sum of points_remaining of its available lots - deficit

Entries are immutable and numbered 1, 2, 3, … per account; a correction is a new entry that names the one it corrects.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from core.domain.lots import Allocation, Lot
from core.domain.orders import Order, Refund


class EntryKind(StrEnum):
    """Why a balance changed."""

    ACCRUAL = "accrual"  #: an order earned points
    CLAWBACK = "clawback"  #: a refund took back points of its order
    EXPIRY = "expiry"  #: lots reached their expiry


class TierChangeReason(StrEnum):
    """Why an account's tier changed."""

    QUALIFIED = "qualified"  #: the qualifying points reached a higher threshold
    REVIEWED = "reviewed"  #: the period ended with fewer points than the tier asks for


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
    qualifying_points: int = 0  #: entitlements of the orders of the current qualification period
    qualifying_from: datetime | None = None  #: start of that period; None = lifetime
    tier_since: datetime | None = None  #: None = the first tier, from the beginning
    tier_until: datetime | None = None  #: when the tier is reviewed; None = never
    tier_changes: int = 0  #: number of the last tier change


class Entry(NamedTuple):
    """One signed change of one account. points = sum of allocations - deficit_change."""

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


class TierChange(NamedTuple):
    """An account moved to another tier at `effective_at`."""

    account_id: UUID
    change_number: int
    previous_tier_id: str
    tier_id: str
    qualifying_points: int
    effective_at: datetime
    reason: TierChangeReason


class PostedOrder(NamedTuple):
    """What the ledger holds of an order: its facts, the rules frozen with it, and what became of its points."""

    order: Order
    program_id: str
    program_version: int
    tier_id: str | None  #: the tier that its points were earned at; None for a guest
    account_id: UUID | None  #: None for a guest
    sequence: int | None  #: its accrual entry; None when it earned nothing
    lot_number: int | None  #: the lot that its accrual opened
    points_entitled: int  #: entitlement with all refunds known so far
    points_excused: int  #: of what refunds claimed back: had expired already
    points_shortfall: int  #: of what refunds claimed back: not taken by policy


class PostedRefund(NamedTuple):
    """What one refund did. points_due = points_taken + points_excused + points_shortfall."""

    refund: Refund
    points_due: int
    points_taken: int
    points_excused: int
    points_shortfall: int


class Decision(NamedTuple):
    """All that one message or one periodic step changes; written in one transaction. Absent parts did not change."""

    account: Account | None = None
    entries: tuple[Entry, ...] = ()
    lots: tuple[Lot, ...] = ()  #: opened or changed, in their new state
    tier_changes: tuple[TierChange, ...] = ()
    order: PostedOrder | None = None
    refund: PostedRefund | None = None


def credit(
    account: Account, points: int, *, available_at: datetime, expires_at: datetime | None
) -> tuple[Account, Lot | None, int]:
    """Add points: pay off the deficit first, open a lot with the rest.

    Returns the account, the lot (None when the deficit took everything) and the change of the deficit (<= 0).
    """
    assert points > 0
    paid_off = min(points, account.deficit)
    sequence = account.sequence + 1
    lot = None
    if points > paid_off:
        left = points - paid_off
        lot = Lot(account.lots_opened + 1, sequence, left, left, 0, available_at, expires_at)
    account = account._replace(
        sequence=sequence,
        lots_opened=account.lots_opened + (lot is not None),
        balance=account.balance + points,
        deficit=account.deficit - paid_off,
    )
    return account, lot, -paid_off


def debit(account: Account, points: int, *, uncovered: int) -> Account:
    """Take `points` from the balance, of which `uncovered` came from no lot and become deficit."""
    assert points > 0
    assert 0 <= uncovered <= points
    return account._replace(
        sequence=account.sequence + 1, balance=account.balance - points, deficit=account.deficit + uncovered
    )
