"""Days, months and stretches of the calendar, by the clocks of a program's time zone."""

from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

_MONTHS = 12
#: Listed by the IANA database to say that nobody has chosen a time zone yet.
_NOT_CHOSEN = "Factory"

#: What an instant may be that somebody names: beyond, databases and calendars differ, and a person has mistyped it.
YEAR_MIN, YEAR_MAX = 1900, 2200


@cache
def time_zone_names() -> frozenset[str]:
    """The names of the IANA database, the same on every machine.

    They are read from the package tzdata, not from the machine's own files: those also have names that stand for what
    this machine is set to, such as localtime and posixrules, and some have a second set of clocks below right/.
    """
    listed = files("tzdata").joinpath("zones").read_text(encoding="utf-8").split()
    return frozenset(listed) - {_NOT_CHOSEN}


def is_nameable(instant: datetime) -> bool:
    """Whether an aware instant lies within the years that may be named."""
    try:
        return YEAR_MIN <= instant.astimezone(UTC).year <= YEAR_MAX
    except OverflowError:  # the year 1 in an eastern zone
        return False


def add_months(day: date, months: int) -> date:
    """The same day of the month `months` later, or that month's last day when it is shorter."""
    years, month = divmod(day.month - 1 + months, _MONTHS)
    year = day.year + years
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def last_day_of(day: date, months: int) -> date:
    """The last day of the stretch of `months` (1, 3, 6 or 12, counted from January) that `day` lies in."""
    last_month = (day.month - 1) // months * months + months
    return date(day.year, last_month, monthrange(day.year, last_month)[1])


def day_of_year(year: int, month: int, day: int) -> date:
    """That day, or the month's last where it has no such day."""
    return date(year, month, min(day, monthrange(year, month)[1]))


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which `day` begins in `zone`, in UTC."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def next_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which `day` ends in `zone`, in UTC."""
    return local_midnight(day + timedelta(days=1), zone)


def days_after(instant: datetime, days: int, zone: ZoneInfo) -> datetime:
    """The instant at which the day ends in `zone` that is so many days after that of `instant`, in UTC."""
    return next_midnight(instant.astimezone(zone).date() + timedelta(days=days), zone)
