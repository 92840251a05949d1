"""What time does to the lots of an account: it releases the pending ones, and expires what is left of the others."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from core.domain.ledger import Account, Decision, Entry, EntryKind, debit
from core.domain.lots import Allocation, Lot


class Change(NamedTuple):
    """One entry of a periodic run, and the lots as it leaves them."""

    account: Account
    entries: tuple[Entry, ...]
    lots: tuple[Lot, ...]


def decide_expiry(account: Account, lots: Iterable[Lot], as_of: datetime) -> Decision:
    """Expire what is left in the lots that are due at `as_of`: one entry per instant of expiry.

    A run that is late posts the same entries as the runs in time would have: all that had to become available by now is
    released first. A second run finds nothing.
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
        points = sum(lot.points_remaining for lot in expiring)
        account = debit(account, points, uncovered=0)
        allocations = tuple(Allocation(lot.lot_number, -lot.points_remaining, lot.expires_at) for lot in expiring)
        why = {"lots": [lot.lot_number for lot in expiring]}
        entries.append(_entry(account, EntryKind.EXPIRY, -points, 0, 0, instant, allocations, why))
        changed |= {
            lot.lot_number: lot._replace(points_remaining=0, points_expired=lot.points_expired + lot.points_remaining)
            for lot in expiring
        }
    return Decision(account=account, entries=tuple(entries), lots=tuple(changed.values()))


def release(account: Account, lots: Iterable[Lot], as_of: datetime) -> Change:
    """Make the pending lots available whose time has come by `as_of`: one entry per instant.

    Released points pay off a deficit first. A second call finds nothing.
    """
    due = sorted((lot for lot in lots if lot.is_to_release(as_of)), key=lambda lot: (lot.available_at, lot.lot_number))
    entries: list[Entry] = []
    changed: list[Lot] = []
    for instant, group in groupby(due, key=lambda lot: lot.available_at):
        assert instant is not None
        account, lots_released, entry = _release_together(account, list(group), instant)
        changed += lots_released
        entries += [entry] if entry is not None else []
    return Change(account, tuple(entries), tuple(changed))


def _release_together(
    account: Account, lots: Sequence[Lot], instant: datetime
) -> tuple[Account, list[Lot], Entry | None]:
    points = sum(lot.points_remaining for lot in lots)
    paid_off = left = min(points, account.deficit)
    changed: list[Lot] = []
    allocations: list[Allocation] = []
    for lot in lots:
        part = min(left, lot.points_remaining)
        left -= part
        changed.append(lot._replace(points_remaining=lot.points_remaining - part, is_pending=False))
        if part:
            allocations.append(Allocation(lot.lot_number, -part, lot.expires_at))
    if not points:
        return account, changed, None
    account = account._replace(
        sequence=account.sequence + 1,
        balance=account.balance + points,
        pending=account.pending - points,
        deficit=account.deficit - paid_off,
    )
    why = {"lots": [lot.lot_number for lot in lots]}
    entry = _entry(account, EntryKind.RELEASE, points, -points, -paid_off, instant, tuple(allocations), why)
    return account, changed, entry


def decide_release(account: Account, lots: Iterable[Lot], as_of: datetime) -> Decision:
    """Release what is due at `as_of`. A run that is late posts the same entries as the runs in time would have."""
    change = release(account, lots, as_of)
    return Decision(account=change.account, entries=change.entries, lots=change.lots) if change.lots else Decision()


def _entry(
    account: Account,
    kind: EntryKind,
    points: int,
    pending_change: int,
    deficit_change: int,
    occurred_at: datetime,
    allocations: tuple[Allocation, ...],
    why: dict[str, Any],
) -> Entry:
    return Entry(
        account_id=account.account_id,
        sequence=account.sequence,
        kind=kind,
        points=points,
        balance_after=account.balance,
        lifetime_points_after=account.lifetime_points,
        deficit_change=deficit_change,
        occurred_at=occurred_at,
        allocations=allocations,
        source=None,
        order_id=None,
        refund_id=None,
        corrects_sequence=None,
        why=why,
        pending_change=pending_change,
        pending_after=account.pending,
    )
