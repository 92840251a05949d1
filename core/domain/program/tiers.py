"""Tiers, and what qualifies for them."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StrictInt, model_validator
from pydantic_core import InitErrorDetails

from core.domain.program.fields import (
    DAYS_MAX,
    POINTS_LIMIT_MAX,
    Days,
    ExactDecimal,
    Factor,
    Months,
    Name,
    Part,
    belongs,
    problem,
    refuse,
)

#: Spend qualifies in hundredths of the currency's major unit.
SPEND_UNITS = 100


class Measure(StrEnum):
    """What is counted for the tier."""

    POINTS = "points"  #: points that orders earn
    SPEND = "spend"  #: the amounts that earn
    ORDERS = "orders"  #: orders of which something is kept that cost something


class QualificationWindow(StrEnum):
    """Which orders count."""

    LIFETIME = "lifetime"
    ROLLING_MONTHS = "rolling_months"
    CALENDAR_YEAR = "calendar_year"
    MEMBERSHIP_YEAR = "membership_year"


class Downgrade(StrEnum):
    """How far a review moves a customer down who no longer qualifies."""

    TO_FIT = "to_fit"
    ONE_STEP = "one_step"
    NEVER = "never"


class RefundEffect(StrEnum):
    """What refunds do to the tier."""

    AT_ONCE = "at_once"
    AT_REVIEW = "at_review"
    NEVER = "never"


class CountedOrders(StrEnum):
    """Which orders count as orders of their customer, while something of them is kept."""

    EARNING = "earning"  #: those that cost something and earn points
    PAID = "paid"  #: those that cost something
    ALL = "all"  #: those of 0.00 too


class CrossingOrder(StrEnum):
    """The tier at which the order earns that reaches a higher one."""

    OLD_TIER = "old_tier"
    NEW_TIER = "new_tier"


class Tier(Part):
    """A level that a customer reaches with what qualifies."""

    tier_id: Name
    """Names the tier in rules, events and reports."""
    threshold_points: Annotated[StrictInt, Field(ge=0, le=POINTS_LIMIT_MAX)] | None = None
    """With measure points: from how many on the tier is reached."""
    threshold_amount: Annotated[ExactDecimal, Field(ge=0, le=10**12, decimal_places=2)] | None = None
    """With measure spend: from which amount on, in major units."""
    threshold_orders: Annotated[StrictInt, Field(ge=0, le=POINTS_LIMIT_MAX)] | None = None
    """With measure orders: from how many on."""
    multiplier: Factor = Decimal(1)
    """Multiplies what every earning rule gives in this tier, before rounding."""

    def threshold(self, measure: Measure) -> int:
        """From where the tier is reached, in units: points, hundredths of the major unit, or orders."""
        match measure:
            case Measure.POINTS:
                return self.threshold_points or 0
            case Measure.SPEND:
                return int((self.threshold_amount or 0) * SPEND_UNITS)
            case Measure.ORDERS:
                return self.threshold_orders or 0


#: The one tier of a program that writes none: everybody is in it, and nobody leaves it.
BASE_TIER = Tier(tier_id="base", threshold_points=0)


class Qualification(Part):
    """What qualifies for a tier, and when it is lost."""

    measure: Measure = Measure.POINTS
    """points that orders earn; spend: the amounts that earn; orders: how many that cost something. Refunds reduce all
    of them, unless refunds is never."""
    window: QualificationWindow = QualificationWindow.LIFETIME
    """lifetime: a tier is never lost by time alone. calendar_year, membership_year (from the day of the first order, or
    from enrolled_at, where account.create gave one): reviewed at the end of each year, which counts for itself.
    rolling_months: reviewed at the end of each month, which counts with the months before it."""
    months: Months | None = None
    """With rolling_months: how many whole months count before the running one."""
    downgrade: Downgrade = Downgrade.TO_FIT
    """What a review does to who no longer qualifies: to_fit, to the tier that fits; one_step, one below; never."""
    grace_days: Annotated[StrictInt, Field(ge=0, le=DAYS_MAX)] = 0
    """How many days after the end of the period the tier is kept; orders of those days count for the next period."""
    refunds: RefundEffect = RefundEffect.AT_REVIEW
    """What refunds do, by their own time: at_once, they may cost the tier; at_review, those before a review count in
    it; never."""
    crossing_order: CrossingOrder = CrossingOrder.OLD_TIER
    """Where the order earns that reaches a higher tier: old_tier or new_tier."""
    warning_days: Days | None = None
    """How many days before a downgrade the event loyalty.tier.at_risk announces it; left out: not at all."""

    @model_validator(mode="after")
    def _fields_belong_to_window(self) -> Self:
        needed = ["months"] if self.window is QualificationWindow.ROLLING_MONTHS else []
        refuse(belongs(self, needed, ["months"], f"window {self.window}"))
        return self


_FIELDS = {
    Measure.POINTS: "threshold_points",
    Measure.SPEND: "threshold_amount",
    Measure.ORDERS: "threshold_orders",
}


def threshold_problems(
    tiers: Sequence[Tier], qualification: Qualification, *, are_written: bool
) -> Iterator[InitErrorDetails]:
    """Problems of the tiers' thresholds. `are_written`: the program's author wrote the tiers."""
    measure = qualification.measure
    if not are_written and measure is not Measure.POINTS:
        yield problem(("qualification", "measure"), "means_nothing", "means nothing without tiers; write tiers")
        return
    field, thresholds = _FIELDS[measure], [tier.threshold(measure) for tier in tiers]
    for place, tier in enumerate(tiers):
        for other in _FIELDS.values():
            if other != field and getattr(tier, other) is not None:
                text = f"means nothing with measure {measure}; write {field}"
                yield problem(("tiers", place, other), "means_nothing", text)
        here = ("tiers", place, field)
        if getattr(tier, field) is None:
            yield problem(here, "missing_with", f"is missing: qualification.measure is {measure}")
        elif place == 0 and thresholds[0] != 0:
            text = "must be 0: the first tier is the one that everybody starts in"
            yield problem(here, "first_threshold", text)
        elif place and thresholds[place] <= thresholds[place - 1]:
            below = getattr(tiers[place - 1], field)
            yield problem(here, "threshold_order", f"must be above {below}, the threshold of the tier before it")
