"""What time does to the lots of an account: it releases the pending ones, and expires what is left of the others."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby

from core.domain.decision import AccountChange, Decision
from core.domain.ledger import Account, Entry, EntryKind, debit, entry_between
from core.domain.lots import Allocation, AllocationKind, Lot, taken_from


def decide_expiry(account: Account, lots: Iterable[Lot], as_of: datetime) -> Decision:
    """Expire what is left in the lots that are due at `as_of`: one entry per instant of expiry.

    A late run posts the same entries as runs in time would have: all pending lots that are due by now are released
    first. A second run finds nothing.
    """
    known = {lot.lot_number: lot for lot in lots}
    if not any(lot.is_due(as_of) and lot.points_remaining for lot in known.values()):
        return Decision()
    released = release(account, known.values(), as_of)
    account, entries = released.account, list(released.entries)
    changed = {lot.lot_number: lot for lot in released.lots}
    left = sorted(
        (lot for lot in (known | changed).values() if lot.is_due(as_of) and lot.points_remaining),
        key=lambda lot: (lot.expires_at, lot.lot_number),
    )
    for instant, group in groupby(left, key=lambda lot: lot.expires_at):
        assert instant is not None
        expiring = list(group)
        after = debit(account, sum(lot.points_remaining for lot in expiring), uncovered=0)
        allocations = [
            Allocation(lot.lot_number, AllocationKind.EXPIRED, -lot.points_remaining, lot.expires_at)
            for lot in expiring
        ]
        why = {"lots": [lot.lot_number for lot in expiring]}
        entries.append(entry_between(account, after, EntryKind.EXPIRY, instant, allocations, why))
        account = after
        changed |= {
            lot.lot_number: lot._replace(points_remaining=0, points_expired=lot.points_expired + lot.points_remaining)
            for lot in expiring
        }
    return Decision((AccountChange(account, tuple(entries), tuple(changed.values())),))


def decide_release(account: Account, lots: Iterable[Lot], as_of: datetime) -> Decision:
    """Release what is due at `as_of`. A late run posts the same entries as runs in time would have."""
    change = release(account, lots, as_of)
    return Decision((change,)) if change.lots else Decision()


def release(account: Account, lots: Iterable[Lot], as_of: datetime) -> AccountChange:
    """Make the pending lots available whose time has come by `as_of`: one entry per instant.

    Released points pay off a deficit first. A second call finds nothing.
    """
    due = sorted((lot for lot in lots if lot.is_to_release(as_of)), key=lambda lot: (lot.available_at, lot.lot_number))
    entries: list[Entry] = []
    changed: list[Lot] = []
    for instant, group in groupby(due, key=lambda lot: lot.available_at):
        assert instant is not None
        account, released, entry = _release_together(account, list(group), instant)
        changed += released
        entries += [entry] if entry is not None else []
    return AccountChange(account, tuple(entries), tuple(changed))


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
