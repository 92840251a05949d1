"""Points that come back: to the lots that they were taken from, what was taken last first."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from core.domain.calendar import days_after
from core.domain.decision import AccountChange
from core.domain.expiry.due import decide_expiry
from core.domain.ledger import Account, Entry, LotTerms
from core.domain.lots import Allocation, AllocationKind, Lot, Origin
from core.domain.program import Program


class Taken(NamedTuple):
    """Points that an entry took."""

    lot: Lot | None  #: from which, as it is now; None: from no lot, so that the deficit grew
    points: int


class NewLot(NamedTuple):
    """What becomes of points that come back and were in no lot, beyond what pays off a deficit."""

    origin: Origin
    terms: LotTerms  #: but for the points


class Restored(NamedTuple):
    """What points do that come back: the account after it, and the lots that have them now."""

    account: Account
    lots: tuple[Lot, ...]
    opened: tuple[Lot, ...]  #: of these, the new ones
    allocations: tuple[Allocation, ...]


def taken_last(taken: Iterable[Taken], points: int) -> list[Taken]:
    """Of what was taken, in this order, the last `points`."""
    found: list[Taken] = []
    for lot, part in reversed(list(taken)):
        back = min(part, points)
        points -= back
        if back:
            found.append(Taken(lot, back))
    assert points == 0, "no more comes back than was taken"
    return found[::-1]


def restore(
    account: Account,
    returns: Sequence[Taken],
    as_of: datetime,
    program: Program,
    *,
    of_reserve: bool = False,
    otherwise: NewLot | None = None,
) -> Restored:
    """Return points to the lots that they were taken from, each named once; the entry for it is the caller's.

    They pay off a deficit first, what was taken last before the rest. Where the time of a pending lot has come while
    nothing was left in it, they are available at once. What comes back to a lot with less time than the
    program's `returned_points_grace_days` opens another lot of the same origin, which has that time. A lot that has
    ended gets its points all the same: `expire_restored` says what becomes of them. With `of_reserve` they leave the
    reserved points. `otherwise` is for those that were in no lot.
    """
    deficit, number, pending = account.deficit, account.lots_opened, 0
    grace_end = _grace_end(program, as_of)
    lots: list[Lot] = []
    opened: list[Lot] = []
    allocations: list[Allocation] = []
    for taken_from, points in reversed(returns):
        lot = _as_it_is(taken_from, as_of)
        is_pending = lot is not None and lot.is_pending
        left = points if is_pending else points - min(points, deficit)
        pending += points if is_pending else 0
        deficit -= points - left
        if not left:
            continue
        if lot is not None and (grace_end is None or lot.expires_at is None or lot.expires_at >= grace_end):
            lots.append(lot._replace(points_remaining=lot.points_remaining + left))
            allocations.append(Allocation(lot.lot_number, AllocationKind.RETURNED, left, lot.expires_at))
            continue
        number += 1
        new = _new_lot(lot, otherwise, grace_end)._replace(
            lot_number=number, opened_by_sequence=account.sequence + 1, points_granted=left, points_remaining=left
        )
        opened.append(new)
        allocations.append(Allocation(number, AllocationKind.OPENED, left, new.expires_at))
    total = sum(points for _, points in returns)
    after = account._replace(
        sequence=account.sequence + 1,
        lots_opened=number,
        balance=account.balance + total - pending,
        pending=account.pending + pending,
        reserved=account.reserved - (total if of_reserve else 0),
        deficit=deficit,
    )
    return Restored(after, (*lots, *opened), tuple(opened), tuple(allocations))


def _as_it_is(lot: Lot | None, as_of: datetime) -> Lot | None:
    return lot._replace(is_pending=False) if lot is not None and lot.is_to_release(as_of) else lot


def _grace_end(program: Program, as_of: datetime) -> datetime | None:
    days = program.returned_points_grace_days
    return days_after(as_of, days, program.zone) if days else None


def _new_lot(ended: Lot | None, otherwise: NewLot | None, grace_end: datetime | None) -> Lot:
    if ended is not None:
        return ended._replace(points_expired=0, points_excused=0, expires_at=grace_end, expires_with=None)
    assert otherwise is not None
    terms = otherwise.terms
    return Lot(
        0, 0, otherwise.origin, 0, 0, 0, terms.available_at, terms.expires_at, terms.earned_by,
        expires_with=terms.expires_with,
    )  # fmt: skip


def expire_restored(restored: Restored, as_of: datetime) -> AccountChange:
    """Expire at once what came back to lots that have ended, with entries for each instant of expiry, as its run does.

    The account stands as the entry of what came back has left it.
    """
    account, lots = restored.account, {lot.lot_number: lot for lot in restored.lots}
    entries: list[Entry] = []
    # What was pending is released by the first step.
    while changes := decide_expiry(account, [lot for lot in lots.values() if lot.is_due(as_of)], as_of).changes:
        (change,) = changes
        account, entries = change.account, [*entries, *change.entries]
        lots |= {lot.lot_number: lot for lot in change.lots}
    return AccountChange(account, tuple(entries), tuple(lots.values()))
