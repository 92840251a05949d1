"""When lots become available and when they expire."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.domain.calendar import add_months, day_of_year, last_day_of, next_midnight
from core.domain.lots import Lot, SharedExpiry
from core.domain.program import Availability, AvailabilityPolicy, EndOf, Expiry, ExpiryPolicy, Program, month_and_day

_MONTHS_OF = {EndOf.MONTH: 1, EndOf.QUARTER: 3, EndOf.HALF_YEAR: 6, EndOf.YEAR: 12}


def available_at(availability: Availability, occurred_at: datetime, as_of: datetime) -> datetime | None:
    """When points of an order of `occurred_at`, posted at `as_of`, can be spent; None = by its fulfilment."""
    match availability.policy:
        case AvailabilityPolicy.AT_ONCE:
            return min(occurred_at, as_of)  # the shop's clock may be ahead of ours
        case AvailabilityPolicy.AFTER_DAYS:
            assert availability.days is not None
            return occurred_at + timedelta(days=availability.days)
        case AvailabilityPolicy.ON_FULFILLED | AvailabilityPolicy.DAYS_AFTER_FULFILMENT:
            return None


def available_by_fulfilment(
    availability: Availability, occurred_at: datetime, fulfilled_at: datetime, as_of: datetime
) -> datetime:
    """When points that waited for it can be spent, of an order of `occurred_at` that was fulfilled at `fulfilled_at`.

    Clocks of shops may go wrong: no fulfilment is before its order, and none is after it was posted.
    """
    at = min(max(fulfilled_at, occurred_at), as_of)
    if availability.policy is AvailabilityPolicy.DAYS_AFTER_FULFILMENT:
        assert availability.days is not None
        at += timedelta(days=availability.days)
    return at


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


class NewExpiry(NamedTuple):
    """When new points expire."""

    expires_at: datetime | None  #: None = never, or not known yet
    expires_with: int | None = None  #: the shared expiry that they have; 0: they begin one
    moved: SharedExpiry | None = None  #: that one, where they move it on


def new_expiry(
    program: Program,
    earned_by: str,
    available: datetime | None,
    shared: Iterable[SharedExpiry],
    as_of: datetime,
    *,
    is_counted: bool = True,
    has_points: bool = True,
) -> NewExpiry:
    """When new points expire, of an account with these shared expiries that have not been carried out.

    Where inactivity ends points, new ones expire together with those that have not expired by `as_of`, at the later of
    both instants. `earned_by` is the rule or promotion whose own expiry the points have; '' = the program's. Points of
    an order that is not `is_counted` do not move the instant on that they share.

    A shared expiry that no points keep is as good as none: they begin another, or, where the account `has_points` no
    more, that one anew.
    """
    expiry = program.expiries[earned_by]
    end = expires_at(expiry, program.zone, available)
    if end is None or expiry.policy is not ExpiryPolicy.INACTIVITY:
        return NewExpiry(end)
    open_ones = [each for each in shared if each.earned_by == earned_by and each.expires_at > as_of]
    kept = [each for each in open_ones if each.is_kept]
    if not is_counted and available is not None:
        kept = [each for each in kept if each.expires_at > available]
    if not kept:
        left = [each for each in open_ones if not each.is_kept and each.extended_to is None]
        if has_points or end <= as_of or not left:
            return NewExpiry(end, 0)
        again = max(left, key=_latest)
        return NewExpiry(end, again.expires_with, again._replace(expires_at=end, is_kept=True))
    joined = max(kept, key=_latest)
    if joined.expires_at >= end or not is_counted:
        return NewExpiry(joined.expires_at, joined.expires_with)
    return NewExpiry(end, joined.expires_with, joined._replace(expires_at=end))


def moves_of(moved: Iterable[SharedExpiry], opened: Iterable[Lot]) -> list[SharedExpiry]:
    """Those of `moved` that hold: points that went into a deficit at once share no expiry, and let none last."""
    having_points = {lot.expires_with for lot in opened}
    return [each for each in moved if each.expires_with in having_points]


def _latest(shared: SharedExpiry) -> tuple[datetime, int]:
    return shared.expires_at, shared.expires_with


def expiries_begun_by(lots: Iterable[Lot]) -> tuple[SharedExpiry, ...]:
    """The shared expiries that begin with these lots, whose dates were set just now."""
    return tuple(
        SharedExpiry(lot.lot_number, lot.earned_by, lot.expires_at)
        for lot in lots
        if lot.expires_with == lot.lot_number and lot.expires_at is not None
    )


def moved_by_activity(
    shared: Iterable[SharedExpiry], program: Program, active_at: datetime, as_of: datetime
) -> list[SharedExpiry]:
    """The shared expiries that an activity of `active_at`, posted at `as_of`, moves on, as they are after it.

    `program` is the version that judges the activity. None is moved back. One that has passed by `as_of` stands,
    whether or not the expiry run came, even if the activity was before it.
    """
    moved: list[SharedExpiry] = []
    for each in shared:
        expiry = program.expiries.get(each.earned_by, program.expiry)
        if expiry.policy is ExpiryPolicy.INACTIVITY and each.expires_at > max(active_at, as_of):
            end = expires_at(expiry, program.zone, active_at)
            if end is not None and each.expires_at < end:
                moved.append(each._replace(expires_at=end))
    return moved
