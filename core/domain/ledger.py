"""Accounts and ledger entries: how one signed entry changes an account and its lots.

    balance = sum of the account's entries = sum of points_remaining of its available lots - deficit
    pending = sum of the entries' pending_change = sum of points_remaining of its pending lots

Entries are immutable and numbered 1, 2, 3, … per account; a correction is a new entry that names the one it corrects.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from core.domain.lots import Allocation, AllocationKind, Lot, Origin
from core.domain.records import quickly_replaced

#: The most that an account may get in its life: far more than anybody means, far less than 64 bits hold, and still
#: exact for consumers whose numbers are doubles.
POINTS_MAX = 10**15


class EntryKind(StrEnum):
    """Why a balance changed."""

    ACCRUAL = "accrual"  #: an order earned points
    CLAWBACK = "clawback"  #: a refund took back points of its order
    EXPIRY = "expiry"  #: lots reached their expiry
    RELEASE = "release"  #: pending points became available
    CREDIT = "credit"  #: a command gave points
    DEBIT = "debit"  #: a command took points
    ADJUSTMENT = "adjustment"  #: a command corrected what there was, either way
    TRANSFER = "transfer"  #: points went to another account, or came from one
    REVERSAL = "reversal"  #: a command undid another
    AUTHORIZATION = "authorization"  #: points were reserved
    CAPTURE = "capture"  #: reserved points were taken for good
    VOID = "void"  #: reserved points came back
    REDEMPTION = "redemption"  #: a customer spent points
    CONVERSION = "conversion"  #: points became those of another program, or came of them
    MERGE = "merge"  #: all of an account went to another one, or what was left of it came back
    REPAYMENT = "repayment"  #: points that paid an order came back with what was refunded of it, or were taken again


#: What orders give and what is taken back of that: what lifetime points are the sum of.
EARNING = frozenset({EntryKind.ACCRUAL, EntryKind.CLAWBACK})
#: What customers do with their points. Where inactivity ends points, it lets those that are left last longer.
SPENDING = frozenset({EntryKind.DEBIT, EntryKind.CAPTURE, EntryKind.REDEMPTION})
#: What gives points by command, as the program says: they expire together with those that inactivity ends.
GIVING = frozenset({EntryKind.CREDIT, EntryKind.ADJUSTMENT})


#: What an entry says of itself by which an account is closed whose points nobody gets.
FORFEITED = "forfeited"


class AccountStatus(StrEnum):
    """What an account takes part in."""

    ACTIVE = "active"
    FROZEN = "frozen"  #: nothing leaves it by spending; it earns, and points expire and are taken back, as ever
    CLOSED = "closed"  #: only what was done before is still corrected


@quickly_replaced
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
    reserved: int = 0  #: points that were taken out of the balance and are still owed to the customer
    deficit: int = 0  #: what debits took beyond the lots; later credits pay it off first
    lifetime_points: int = 0  #: accruals less clawbacks of accruals, and what was earned elsewhere before
    qualifying_points: int = 0  #: units of the measure (points, hundredths, orders) of the current qualification period
    qualifying_from: datetime | None = None  #: start of that period; None = lifetime
    tier_since: datetime | None = None  #: None = the first tier, from the beginning
    tier_until: datetime | None = None  #: the period's end; the tier is reviewed then, after the grace; None = never
    tier_changes: int = 0  #: number of the last tier change
    counted_until: datetime | None = None  #: what occurs before it is late for the tier; None: all is counted anew
    orders_posted: int = 0  #: orders of this customer that are known, whatever they earned
    orders_counted: int = 0  #: those that count as orders of the customer
    enrolled_at: datetime | None = None  #: when its first order occurred, or as a command said; None: it has neither
    tier_held_until: datetime | None = None  #: until when no refund and no review lowers the tier
    tier_warned_until: datetime | None = None  #: the `tier_until` that a warning was sent for
    status: AccountStatus = AccountStatus.ACTIVE
    own_account_id: str | None = None  #: the id that its maker gave it; None: it has only the one that we drew
    is_enrolment_given: bool = False  #: whether a command said `enrolled_at`, which orders then do not move
    merged_into: UUID | None = None  #: the account that has all that was its own; None: it is one by itself
    lifetime_points_given: int = 0  #: of its lifetime points what the command that made it said


class AccountDetails(NamedTuple):
    """What is kept with an account and counts for nothing."""

    metadata: Mapping[str, str | int | bool] = MappingProxyType({})
    tags: tuple[str, ...] = ()
    digest: bytes | None = None  #: of the content of the command that made it; None: none did


@quickly_replaced
class Entry(NamedTuple):
    """One signed change of one account. Changes of balance and pending = sum of allocations - deficit_change.

    Reserved points are in no lot: those that they came from have given them up, and take them back if they return.
    """

    account_id: UUID
    sequence: int
    kind: EntryKind
    points: int  #: change of the balance
    pending_change: int
    reserved_change: int
    deficit_change: int  #: positive: the deficit grew; negative: this credit paid it off
    balance_after: int
    pending_after: int
    reserved_after: int
    lifetime_points_after: int
    occurred_at: datetime
    allocations: tuple[Allocation, ...]
    why: dict[str, Any]  #: the calculation, for people
    source: str | None = None  #: of the order, return or command that it is about
    order_id: str | None = None
    refund_id: str | None = None
    corrects_sequence: int | None = None  #: the entry that this one corrects
    return_id: str | None = None
    command_id: str | None = None


def entry_between(
    before: Account,
    after: Account,
    kind: EntryKind,
    occurred_at: datetime,
    allocations: Iterable[Allocation],
    why: dict[str, Any],
    *,
    source: str | None = None,
    order_id: str | None = None,
    refund_id: str | None = None,
    corrects_sequence: int | None = None,
    return_id: str | None = None,
    command_id: str | None = None,
) -> Entry:
    """The entry that leads from one state of an account to the next. All its numbers follow from the two states."""
    assert after.sequence == before.sequence + 1
    return Entry(
        after.account_id,
        after.sequence,
        kind,
        after.balance - before.balance,
        after.pending - before.pending,
        after.reserved - before.reserved,
        after.deficit - before.deficit,
        after.balance,
        after.pending,
        after.reserved,
        after.lifetime_points,
        occurred_at,
        tuple(allocations),
        why,
        source,
        order_id,
        refund_id,
        corrects_sequence,
        return_id,
        command_id,
    )


class LotTerms(NamedTuple):
    """The terms of a lot that a credit opens."""

    points: int
    available_at: datetime | None
    expires_at: datetime | None
    earned_by: str = ""
    expires_with: int | None = None  #: the shared expiry that it has; 0: one that begins with it


class Credit(NamedTuple):
    """What a credit does: the account after it, the lots that it opens, and their allocations."""

    account: Account
    lots: tuple[Lot, ...]

    @property
    def allocations(self) -> tuple[Allocation, ...]:
        """What its entry says of the lots."""
        return tuple(
            Allocation(lot.lot_number, AllocationKind.OPENED, lot.points_granted, lot.expires_at) for lot in self.lots
        )


def credit(
    account: Account, origin: Origin, grants: Sequence[LotTerms], as_of: datetime, *, is_earned: bool = True
) -> Credit:
    """Add what `origin` gave: points that are available at `as_of` pay off the deficit first; each rest opens a lot.

    Pending points pay off nothing before they are released. What is not `is_earned` is no part of the lifetime points.
    """
    sequence, number = account.sequence + 1, account.lots_opened
    deficit, available, pending = account.deficit, 0, 0
    lots: list[Lot] = []
    for points, available_at, expires_at, earned_by, shared in grants:
        assert points > 0
        is_pending = available_at is None or available_at > as_of
        left = points
        if is_pending:
            pending += points
        else:
            available += points
            paid_off = min(points, deficit)
            deficit -= paid_off
            left -= paid_off
        if left:
            number += 1
            expires_with = number if shared == 0 else shared
            lots.append(
                Lot(
                    number, sequence, origin, left, left, 0, available_at, expires_at, earned_by, is_pending,
                    expires_with=expires_with,
                )
            )  # fmt: skip
    after = account._replace(
        sequence=sequence,
        lots_opened=number,
        balance=account.balance + available,
        pending=account.pending + pending,
        deficit=deficit,
        lifetime_points=account.lifetime_points + (available + pending if is_earned else 0),
    )
    return Credit(after, tuple(lots))


class GivenBack(NamedTuple):
    """What points do that come back: the account after it, the lots that have them now, and their allocations."""

    account: Account
    lots: tuple[Lot, ...]
    opened: tuple[Lot, ...]  #: of these, the new ones
    allocations: tuple[Allocation, ...]


def give_back(
    account: Account, origin: Origin, returns: Sequence[tuple[Lot, int]], grants: Sequence[LotTerms], as_of: datetime
) -> GivenBack:
    """Return points to the lots that they were taken from, and open lots of `origin` for what goes beyond that.

    What is available pays off the deficit first, the new points before those that return, the last return first: what
    was taken beyond all lots was taken last.
    """
    credited = credit(account, origin, grants, as_of) if grants else Credit(account, ())
    deficit, available, pending = credited.account.deficit, 0, 0
    lots: list[Lot] = []
    allocations: list[Allocation] = []
    for lot, points in reversed(returns):
        left = points
        if lot.is_pending:
            pending += points
        else:
            available += points
            left -= min(points, deficit)
            deficit -= points - left
        if left:
            lots.append(lot._replace(points_remaining=lot.points_remaining + left))
            allocations.append(Allocation(lot.lot_number, AllocationKind.RETURNED, left, lot.expires_at))
    after = credited.account
    if returns:
        after = after._replace(
            sequence=account.sequence + 1,
            balance=after.balance + available,
            pending=after.pending + pending,
            deficit=deficit,
            lifetime_points=after.lifetime_points + available + pending,
        )
    return GivenBack(after, (*lots, *credited.lots), credited.lots, (*reversed(allocations), *credited.allocations))


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
