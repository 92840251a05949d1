"""The calendar, worked out a second time: day by day, without the domain's code."""

from datetime import UTC, date, datetime, timedelta

from core.domain.program import EndOf, Expiry, Program

DAY = timedelta(days=1)
NEVER = datetime.max.replace(tzinfo=UTC)
_ENDS = {
    EndOf.MONTH: range(1, 13),
    EndOf.QUARTER: (3, 6, 9, 12),
    EndOf.HALF_YEAR: (6, 12),
    EndOf.YEAR: (12,),
}


def midnight(day: date, program: Program) -> datetime:
    """When the day begins there."""
    return datetime(day.year, day.month, day.day, tzinfo=program.zone).astimezone(UTC)


def months_later(day: date, months: int) -> date:
    """The same day so many months later, or the last one before it that there is."""
    year, month, number = day.year, day.month, day.day
    for _ in range(abs(months)):
        month += 1 if months > 0 else -1
        if month in {0, 13}:
            year, month = (year - 1, 12) if month == 0 else (year + 1, 1)
    while True:
        try:
            return date(year, month, number)
        except ValueError:
            number -= 1


def _is_day(day: date, month_and_day: str) -> bool:
    if month_and_day == "02-29" and (day + DAY).month == 3:
        return day.month == 2
    return f"{day:%m-%d}" == month_and_day


def end_of_points(expiry: Expiry, program: Program, available: datetime | None) -> datetime | None:
    """The first instant at which points are gone that became available then."""
    if available is None or expiry.policy.value == "never":
        return None
    day = available.astimezone(program.zone).date()
    if expiry.months is not None:
        day = months_later(day, expiry.months)
    for _ in range(expiry.days or 0):
        day += DAY
    if expiry.end_of is not None:
        while not ((day + DAY).month != day.month and day.month in _ENDS[expiry.end_of]):
            day += DAY
    if expiry.day is not None:
        while not _is_day(day, expiry.day):
            day += DAY
    return midnight(day + DAY, program)


def period_of(program: Program, instant: datetime, enrolled_at: datetime) -> tuple[datetime, datetime] | None:
    """The period whose running part the instant lies in; None: all time."""
    day = instant.astimezone(program.zone).date()
    match program.qualification.window.value:
        case "lifetime":
            return None
        case "calendar_year":
            first, after = date(day.year, 1, 1), date(day.year + 1, 1, 1)
        case "rolling_months":
            first = months_later(day.replace(day=1), -(program.qualification.months or 0))
            after = months_later(day.replace(day=1), 1)
        case _:
            birthday = enrolled_at.astimezone(program.zone).date()
            years = 0
            while months_later(birthday, 12 * years) > day:
                years -= 1
            while months_later(birthday, 12 * (years + 1)) <= day:
                years += 1
            first, after = months_later(birthday, 12 * years), months_later(birthday, 12 * (years + 1))
    return midnight(first, program), midnight(after, program)
