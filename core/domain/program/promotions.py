"""Promotions: what an order gets beside what the earning rules give."""

from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from core.domain.program.conditions import Lines, When
from core.domain.program.expiry import Expiry
from core.domain.program.fields import ClawbackMode, Factor, Name, Part, PointsLimit, Rounding


class CombinePromotions(StrEnum):
    """What several promotions give that hold for one order."""

    ALL = "all"
    BEST = "best"
    NEWEST = "newest"


class Limits(Part):
    """How often, and how much, a promotion gives. What is refunded in full counts no longer."""

    orders_per_customer: PointsLimit | None = None
    """For how many orders of one customer it gives something."""
    orders_per_customer_and_day: PointsLimit | None = None
    """For how many orders of one customer on one day of the program's time zone."""
    orders: PointsLimit | None = None
    """For how many orders of all customers together."""
    budget_points: PointsLimit | None = None
    """How many points for all customers together. The order that would go beyond gets what is left."""


class _Promotion(Part):
    promotion_id: Name
    """Names the promotion for ever; entries refer to it."""
    when: When = When()
    """Which orders it is for; all when left out."""
    lines: Lines = Lines()
    """Which lines it is for: one of them must be kept, and a multiplier multiplies what these alone earn."""
    limits: Limits = Limits()
    """How often, and how much, it gives."""
    clawback: ClawbackMode = ClawbackMode.PROPORTIONAL
    """How refunds reduce what it gave: proportional, full_refund (only when nothing is kept), or never."""
    rounding: Rounding = Rounding.FLOOR
    """How its exact result becomes whole points."""
    expiry: Expiry | None = None
    """When its points expire, if not as the program says."""

    @cached_property
    def has_budget(self) -> bool:
        """Whether all customers together have a limit."""
        return self.limits.orders is not None or self.limits.budget_points is not None

    @cached_property
    def limited_per(self) -> tuple[tuple[str, int], ...]:
        """The periods in which a customer's orders are counted, with how many it gives something for."""
        limits = self.limits
        found = (("ever", limits.orders_per_customer), ("day", limits.orders_per_customer_and_day))
        return tuple((period, orders) for period, orders in found if orders is not None)


class MultiplierPromotion(_Promotion):
    """Multiplies what the earning rules give: with "2" as much again."""

    kind: Literal["multiplier"]
    """The kind of promotion."""
    multiplier: Annotated[Factor, Field(gt=1)]
    """By how much, above 1."""

    @cached_property
    def more(self) -> tuple[int, int]:
        """What it adds to each point, as a ratio."""
        return (Fraction(self.multiplier) - 1).as_integer_ratio()


class AdditionPromotion(_Promotion):
    """Adds points to an order."""

    kind: Literal["addition"]
    """The kind of promotion."""
    points: PointsLimit
    """How many."""


AnyPromotion = MultiplierPromotion | AdditionPromotion
Promotion = Annotated[AnyPromotion, Field(discriminator="kind")]
