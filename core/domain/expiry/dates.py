"""When lots become available and when they expire."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from core.domain.calendar import add_months, day_of_year, last_day_of, next_midnight
from core.domain.lots import Lot
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
    """When new points end, of an account that has these lots.

    Where inactivity ends points, those of a late order end together with the others that have not ended by `as_of`.
    `earned_by` is the rule or promotion whose own expiry the points have; '' = the program's.
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


def extended_lots(lots: Iterable[Lot], program: Program, active_at: datetime, as_of: datetime) -> tuple[Lot, ...]:
    """The lots that last longer because of an activity of `active_at`, posted at `as_of`: those that inactivity ends.

    `program` is the version in force. An end is never moved back. A lot that has ended by `as_of` stays ended, whether
    or not the expiry run came, even if the activity was before its end.
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
