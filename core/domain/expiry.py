"""When lots become available and when they expire, and what both do to the account."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from core.domain.calendar import add_months, day_of_year, last_day_of, next_midnight
from core.domain.ledger import Account, Decision, Entry, EntryKind, debit
from core.domain.lots import Allocation, Lot
from core.domain.program import Availability, AvailabilityPolicy, EndOf, Expiry, ExpiryPolicy, Program, month_and_day

_MONTHS_OF = {EndOf.MONTH: 1, EndOf.QUARTER: 3, EndOf.HALF_YEAR: 6, EndOf.YEAR: 12}


def available_at(availability: Availability, occurred_at: datetime, as_of: datetime) -> datetime | None:
    """When points of an order of `occurred_at`, posted at `as_of`, can be spent; None = when it is fulfilled."""
    match availability.policy:
        case AvailabilityPolicy.AT_ONCE:
            return min(occurred_at, as_of)  # the shop's clock may be ahead of ours
        case AvailabilityPolicy.AFTER_DAYS:
            assert availability.days is not None
            return occurred_at + timedelta(days=availability.days)
        case AvailabilityPolicy.ON_FULFILLED:
            return None


def expires_at(expiry: Expiry, zone: ZoneInfo, available: datetime | None) -> datetime | None:
    """The first instant at which points that are available from `available` cannot be spent.

    None = never, or, for points that are not available before their order is fulfilled, not known yet. Points are good
    for the whole of their last day and expire at the local midnight that ends it (31 January + 1 month: to the end of
    February). With inactivity `available` is the last activity.
    """
    if available is None or expiry.policy is ExpiryPolicy.NEVER:
        return None
    day = available.astimezone(zone).date()
    if expiry.policy is ExpiryPolicy.FIXED_DAY:
        assert expiry.day is not None
        first = add_months(day, expiry.months or 0)
        last = day_of_year(first.year, *month_and_day(expiry.day))
        if last < first:
            last = day_of_year(first.year + 1, *month_and_day(expiry.day))
    elif expiry.months is not None:
        last = add_months(day, expiry.months)
        if expiry.end_of is not None:
            last = last_day_of(last, _MONTHS_OF[expiry.end_of])
    else:
        assert expiry.days is not None
        last = day + timedelta(days=expiry.days)
    return next_midnight(last, zone)


def ends_at(
    program: Program, earned_by: str, available: datetime | None, lots: Iterable[Lot], as_of: datetime
) -> datetime | None:
    """When points of the account of `lots` end that become known at `as_of`.

    Where inactivity ends them, those of a late order end with the others that have not ended. `earned_by` is the rule
    or promotion whose own expiry they have; '' = the program's.
    """
    expiry = program.expiries[earned_by]
    end = expires_at(expiry, program.zone, available)
    if end is None or expiry.policy is not ExpiryPolicy.INACTIVITY:
        return end
    others = [
        lot.expires_at
        for lot in lots
        if lot.earned_by == earned_by and lot.expires_at and lot.points_remaining and not lot.is_due(as_of)
    ]
    return max([end, *others])


def slid(lots: Iterable[Lot], program: Program, active_at: datetime, as_of: datetime) -> tuple[Lot, ...]:
    """The open lots whose end an activity of `active_at`, posted at `as_of`, moves: with the expiry of inactivity.

    `program` is the version in force. Only on, never back; and what has ended by then stays ended, whether the expiry
    run came or not, and also when the activity was before the end.
    """
    if not program.has_inactivity:
        return ()
    moved: list[Lot] = []
    for lot in lots:
        expiry = program.expiries.get(lot.earned_by, program.expiry)
        # Clocks of two workers' transactions may cross: a refund before this order may have found the lot ended.
        has_ended = lot.is_due(max(active_at, as_of)) or lot.points_excused > 0
        if expiry.policy is ExpiryPolicy.INACTIVITY and lot.points_remaining and not has_ended:
            end = expires_at(expiry, program.zone, active_at)
            if end is not None and lot.expires_at is not None and lot.expires_at < end:
                moved.append(lot._replace(expires_at=end))
    return tuple(moved)


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
