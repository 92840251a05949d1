"""Months of the books: each begins at a midnight of the time zone that its program had then."""

from datetime import UTC, date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from core.domain.calendar import add_months, local_midnight
from core.domain.program.registry import ProgramRegistry


class Month(NamedTuple):
    """One month of a program's books: what is recorded from `starts_at` on and before `ends_at` is of it."""

    first_day: date
    starts_at: datetime
    ends_at: datetime

    @property
    def text(self) -> str:
        """As it is written everywhere: 2026-11."""
        return month_text(self.first_day)


def month_text(first_day: date) -> str:
    """The name of a month, such as 2026-11."""
    return f"{first_day:%Y-%m}"


def month_at(registry: ProgramRegistry, program_id: str, day: date) -> Month:
    """The month that `day` is in. KeyError for an unknown program."""
    first_day = day.replace(day=1)
    following = add_months(first_day, 1)
    return Month(first_day, _start(registry, program_id, first_day), _start(registry, program_id, following))


def month_of(registry: ProgramRegistry, program_id: str, instant: datetime) -> Month:
    """The month in which an entry is that was recorded at `instant`. KeyError for an unknown program."""
    zone = registry.at(program_id, instant).program.zone
    month = month_at(registry, program_id, instant.astimezone(zone).date())
    if instant < month.starts_at:  # the time zone changed with the month
        return month_at(registry, program_id, add_months(month.first_day, -1))
    return month_at(registry, program_id, add_months(month.first_day, 1)) if instant >= month.ends_at else month


def months_between(registry: ProgramRegistry, program_id: str, first: date, last: date) -> list[Month]:
    """All months from that of `first` to that of `last`; none if it is later. KeyError for an unknown program."""
    found, day = [], first.replace(day=1)
    while day <= last:
        found.append(month_at(registry, program_id, day))
        day = add_months(day, 1)
    return found


def _start(registry: ProgramRegistry, program_id: str, first_day: date) -> datetime:
    zone = registry.at(program_id, local_midnight(first_day, ZoneInfo("UTC"))).program.zone
    return local_midnight(first_day, zone).astimezone(UTC)
