"""When points become available, when they end, and when customers hear of that."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from core.domain.program.fields import DAYS_MAX, Days, Months, Part, belongs, problem, refuse, repeated

#: A leap year, so that 29 February is a day; in other years it is the last of February.
_DAYS_OF_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class AvailabilityPolicy(StrEnum):
    """When an order's points can be spent."""

    AT_ONCE = "at_once"
    AFTER_DAYS = "after_days"  #: n times 24 hours after the order
    ON_FULFILLED = "on_fulfilled"  #: when the shop says that the order is fulfilled
    DAYS_AFTER_FULFILMENT = "days_after_fulfilment"  #: n times 24 hours after that


_WITH_DAYS = {AvailabilityPolicy.AFTER_DAYS, AvailabilityPolicy.DAYS_AFTER_FULFILMENT}


class Availability(Part):
    """When an order's points can be spent; until then they are pending."""

    policy: AvailabilityPolicy = AvailabilityPolicy.AT_ONCE
    """at_once; after_days: n times 24 hours after the order; on_fulfilled: when the message order.fulfilled comes;
    days_after_fulfilment: n times 24 hours after the fulfilment, such as the days in which goods may be sent back."""
    days: Days | None = None
    """With after_days or days_after_fulfilment: how many."""

    @model_validator(mode="after")
    def _days_belong_to_policy(self) -> Self:
        if self.policy is AvailabilityPolicy.ON_FULFILLED and self.days is not None:
            text = (
                "means nothing with policy on_fulfilled; for points that wait so many days from the fulfilment on, "
                "write policy: days_after_fulfilment"
            )
            refuse([problem(("days",), "means_nothing", text)])
        needed = ["days"] if self.policy in _WITH_DAYS else []
        refuse(belongs(self, needed, ["days"], f"policy {self.policy}"))
        return self

    @property
    def is_by_fulfilment(self) -> bool:
        """Whether points wait for the order to be fulfilled."""
        return self.policy in {AvailabilityPolicy.ON_FULFILLED, AvailabilityPolicy.DAYS_AFTER_FULFILMENT}


class ExpiryPolicy(StrEnum):
    """When points expire."""

    NEVER = "never"
    AFTER_DAYS = "after_days"
    AFTER_MONTHS = "after_months"
    FIXED_DAY = "fixed_day"
    INACTIVITY = "inactivity"


class EndOf(StrEnum):
    """A stretch of the calendar that points last to the end of."""

    MONTH = "month"
    QUARTER = "quarter"
    HALF_YEAR = "half_year"
    YEAR = "year"


def month_and_day(text: str) -> tuple[int, int]:
    """Read `MM-DD`."""
    return int(text[:2]), int(text[3:])


def _known_day(value: str) -> str:
    month, day = month_and_day(value)
    if not (1 <= month <= len(_DAYS_OF_MONTHS) and 1 <= day <= _DAYS_OF_MONTHS[month - 1]):
        refuse([problem((), "no_such_day", "is not a day of the year like 12-31")])
    return value


DayOfYear = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}-[0-9]{2}$"), AfterValidator(_known_day)]
_FIELDS = {
    ExpiryPolicy.NEVER: ([], []),
    ExpiryPolicy.AFTER_DAYS: (["days"], []),
    ExpiryPolicy.AFTER_MONTHS: (["months"], ["end_of"]),
    ExpiryPolicy.FIXED_DAY: (["day"], ["months"]),
    ExpiryPolicy.INACTIVITY: ([], ["days", "months"]),
}


class Expiry(Part):
    """When points expire: always at a midnight of the program's time zone, counted from when they became available."""

    policy: ExpiryPolicy = ExpiryPolicy.NEVER
    """never; after_days; after_months, if asked to the end of that month, quarter, half-year or year; fixed_day: each
    year on that day; inactivity: all points together, so long after the last order that counts, the last
    spending, or the day on which points that were held became available, whichever is last."""
    days: Days | None = None
    """With after_days or inactivity: whole days."""
    months: Months | None = None
    """With after_months or inactivity: months. With fixed_day: for at least so many months."""
    end_of: EndOf | None = None
    """With after_months: on to the end of the month, quarter, half_year or year in which they would expire."""
    day: DayOfYear | None = None
    """With fixed_day: the last day, such as 12-31, on which the points are good."""

    @model_validator(mode="after")
    def _fields_belong_to_policy(self) -> Self:
        needed, also = _FIELDS[self.policy]
        allowed = [name for name in ("days", "months", "end_of", "day") if name not in also]
        problems = belongs(self, needed, allowed, f"policy {self.policy}")
        if self.policy is ExpiryPolicy.INACTIVITY and (self.days is None) == (self.months is None):
            problems.append(problem((), "days_or_months", "needs either days or months with policy inactivity"))
        refuse(problems)
        return self


#: Of an authorization that lasts as long as one can.
_AUTHORIZATION_HOURS_MAX = 90 * 24


class Reminders(Part):
    """When others are reminded of points that are about to expire, and of authorizations."""

    days_ahead: Annotated[tuple[Annotated[int, Field(strict=True, ge=1, le=DAYS_MAX)], ...], Field(max_length=10)] = ()
    """How many days ahead the event loyalty.points.expiring announces them, such as [30, 7]."""
    authorization_hours_ahead: Annotated[int, Field(strict=True, ge=0, le=_AUTHORIZATION_HOURS_MAX)] = 24
    """How many hours before its deadline the event loyalty.authorization.expiring tells of an authorization that still
    holds points, once; not of one that lasts no longer. 0: of none."""

    @field_validator("days_ahead")
    @classmethod
    def _days_once(cls, days: tuple[int, ...]) -> tuple[int, ...]:
        refuse(repeated([str(day) for day in days], key=None))
        return days
