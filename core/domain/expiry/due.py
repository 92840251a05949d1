"""What time does to the lots of an account: it releases the pending ones, and expires what is left of the others."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby

from core.domain.decision import AccountChange, Decision
from core.domain.ledger import Account, Entry, EntryKind, debit, entry_between
from core.domain.lots import Allocation, AllocationKind, Lot, in_spending_order, taken_from

#: An entry, and with it the event that announces it, is of no more lots than that; where more lots are due at one
#: instant, it has several entries.
LOTS_OF_ENTRY_MAX = 1_000


def decide_expiry(account: Account, lots: Iterable[Lot], as_of: datetime, *, is_cut: bool = False) -> Decision:
    """Expire what is left in the lots that are due at `as_of`, with entries for each instant of expiry.

    All pending lots that are due by now are released first: where `lots` has some, they are all that changes, and the
    next call expires. With `is_cut` `lots` are only the first that are due, in spending order, and what may share an
    entry with others is left to the next call. So a late run, in batches of any size, posts the same entries as runs in
    time would have. A run after the last finds nothing.
    """
    known = list(lots)
    due = in_spending_order(lot for lot in known if lot.is_due(as_of) and lot.points_remaining)
    if not due:
        return Decision()
    if any(lot.is_to_release(as_of) for lot in known):
        return decide_release(account, known, as_of, is_cut=is_cut)
    entries: list[Entry] = []
    changed: dict[int, Lot] = {}
    for instant, expiring in _of_entries(due, [lot.expires_at for lot in due], is_cut=is_cut):
        after = debit(account, sum(lot.points_remaining for lot in expiring), uncovered=0)
        allocations = [
            Allocation(lot.lot_number, AllocationKind.EXPIRED, -lot.points_remaining, lot.expires_at)
            for lot in expiring
        ]
        why = {"lots": [lot.lot_number for lot in expiring]}
        entries.append(entry_between(account, after, EntryKind.EXPIRY, instant, allocations, why))
        account = after
        changed |= {
            lot.lot_number: lot._replace(
                points_remaining=0, points_expired=lot.points_expired + lot.points_remaining, expires_with=None
            )
            for lot in expiring
        }
    return Decision((AccountChange(account, tuple(entries), tuple(changed.values())),)) if changed else Decision()


def decide_release(account: Account, lots: Iterable[Lot], as_of: datetime, *, is_cut: bool = False) -> Decision:
    """Release what is due at `as_of`. A late run posts the same entries as runs in time would have.

    With `is_cut` `lots` are only the first that are due, by the time they become available and their numbers.
    """
    change = release(account, lots, as_of, is_cut=is_cut)
    return Decision((change,)) if change.lots else Decision()


def release(account: Account, lots: Iterable[Lot], as_of: datetime, *, is_cut: bool = False) -> AccountChange:
    """Make the pending lots available whose time has come by `as_of`, with entries for each instant.

    Released points pay off a deficit first. A second call finds nothing, but for what `is_cut` leaves to it.
    """
    due = sorted([lot for lot in lots if lot.is_to_release(as_of)], key=lambda lot: (lot.available_at, lot.lot_number))
    if not due:
        return AccountChange(account)
    entries: list[Entry] = []
    changed: list[Lot] = []
    for instant, group in _of_entries(due, [lot.available_at for lot in due], is_cut=is_cut):
        account, released, entry = _release_together(account, group, instant)
        changed += released
        entries += [entry] if entry is not None else []
    return AccountChange(account, tuple(entries), tuple(changed))


def _of_entries(
    due: Sequence[Lot], instants: Sequence[datetime | None], *, is_cut: bool
) -> Iterator[tuple[datetime, Sequence[Lot]]]:
    """The lots that make one entry each, with its instant; the last, where more lots may follow, only if it is full."""
    for instant, group in groupby(range(len(due)), key=instants.__getitem__):
        assert instant is not None
        places = list(group)
        for start in range(0, len(places), LOTS_OF_ENTRY_MAX):
            of_entry = places[start : start + LOTS_OF_ENTRY_MAX]
            is_full, is_last = len(of_entry) == LOTS_OF_ENTRY_MAX, of_entry[-1] == len(due) - 1
            if is_full or not (is_last and is_cut):
                yield instant, [due[place] for place in of_entry]


def _release_together(
    account: Account, lots: Sequence[Lot], instant: datetime
) -> tuple[Account, list[Lot], Entry | None]:
    points = sum(lot.points_remaining for lot in lots)
    paid_off = left = min(points, account.deficit)
    released: list[Lot] = []
    allocations: list[Allocation] = []
    for lot in lots:
        part = min(left, lot.points_remaining)
        left -= part
        released.append(lot._replace(points_remaining=lot.points_remaining - part, is_pending=False))
        if part:
            allocations.append(taken_from(lot, part))
    if not points:
        return account, released, None
    after = account._replace(
        sequence=account.sequence + 1,
        balance=account.balance + points,
        pending=account.pending - points,
        deficit=account.deficit - paid_off,
    )
    why = {"lots": [lot.lot_number for lot in lots]}
    return after, released, entry_between(account, after, EntryKind.RELEASE, instant, allocations, why)
