"""What conditions have to do with each other: whether one holds wherever another does, and which never hold."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from core.domain.program.conditions import CHANNEL, Lines, Weekday, When

_DAYS_OF_WEEK = 7
_WEEKDAYS = tuple(Weekday)


def covers(wide: When, narrow: When) -> bool:
    """Whether `wide` surely holds for every order for which `narrow` holds, on the same lines or more."""
    starts = wide.starts_on is None or (narrow.starts_on is not None and wide.starts_on <= narrow.starts_on)
    ends = wide.ends_on is None or (narrow.ends_on is not None and narrow.ends_on <= wide.ends_on)
    is_enough = _asks_no_more(wide.minimum_amount, narrow.minimum_amount)
    is_enough = is_enough and _asks_no_more(wide.minimum_quantity, narrow.minimum_quantity)
    # The average price of more lines may be another.
    is_enough = is_enough and wide.minimum_price is None and wide.maximum_price is None
    mine, theirs = wide.attributes or {}, narrow.attributes or {}
    return (
        starts
        and ends
        and is_enough
        and (not wide.hours or wide.hours == narrow.hours)
        and (wide.first_order is None or wide.first_order == narrow.first_order)
        and _has_all(wide.channels, narrow.channels)
        and _has_all(wide.tiers, narrow.tiers)
        and _has_all(wide.customer_tags, narrow.customer_tags)
        and all(name in theirs and _has_all(map(repr, mine[name]), map(repr, theirs[name])) for name in mine)
    )


def covers_lines(wide: Lines, narrow: Lines) -> bool:
    """Whether `wide` lets every line through that `narrow` does."""
    takes_all = not (wide.skus or wide.categories)
    takes_some = bool(narrow.skus or narrow.categories)
    is_within = takes_all or (
        takes_some and set(narrow.skus) <= set(wide.skus) and set(narrow.categories) <= set(wide.categories)
    )
    return (
        is_within
        and set(wide.exclude_skus) <= set(narrow.exclude_skus)
        and set(wide.exclude_categories) <= set(narrow.exclude_categories)
        and set(wide.exclude_kinds) <= set(narrow.exclude_kinds)
        and _asks_no_more(wide.minimum_quantity, narrow.minimum_quantity)
        and _asks_no_more(wide.minimum_amount, narrow.minimum_amount)
        and _asks_no_more(wide.minimum_price, narrow.minimum_price)
        and (
            wide.maximum_price is None
            or (narrow.maximum_price is not None and narrow.maximum_price <= wide.maximum_price)
        )
    )


def _asks_no_more(wide: Decimal | None, narrow: Decimal | None) -> bool:
    """Whether what reaches the minimum `narrow` reaches `wide` too."""
    return wide is None or (narrow is not None and wide <= narrow)


def never_holds(when: When) -> tuple[tuple[str, ...], str] | None:
    """The field that makes `when` fail for every order, and why; None when it can hold."""
    if when.hours and when.starts_on is not None and when.ends_on is not None:
        days = (when.ends_on - when.starts_on).days + 1
        weekdays = {_WEEKDAYS[(when.starts_on + timedelta(days=n)).weekday()] for n in range(min(days, _DAYS_OF_WEEK))}
        if not any(weekdays & set(hours.days) for hours in when.hours):
            return ("hours",), "are on no day from starts_on to ends_on, so this never holds: change either"
    named = (when.attributes or {}).get(CHANNEL)
    if named is not None and when.channels and not set(map(repr, named)) & set(map(repr, when.channels)):
        return ("attributes", CHANNEL), "has none of the values of channels, so this never holds: keep one of the two"
    return None


def _has_all(wide: Iterable[object], narrow: Iterable[object]) -> bool:
    """Whether the choice `wide`, empty for all, has everything that the choice `narrow` has."""
    mine, theirs = set(wide), set(narrow)
    return not mine or (bool(theirs) and theirs <= mine)
