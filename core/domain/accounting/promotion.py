"""What became of a promotion: how many orders and customers had it, what it has cost, and how much of it came back."""

from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple


class PromotionMonth(NamedTuple):
    """Orders of one month that had the promotion, as judged by one version of the program."""

    month: date  #: in which the orders occurred: its first day
    version: int
    orders: int
    points_given: int  #: the most that it ever gave to each order
    points_left: int  #: what it gives them now, after their refunds
    worth: Decimal | None  #: of what is left, by that version


class Uptake(NamedTuple):
    """Orders and customers, and what their orders earned."""

    orders: int
    customers: int
    points_given: int
    points_left: int

    @property
    def return_rate(self) -> Fraction | None:
        """The share of what was given that was taken back; None where nothing was given."""
        return Fraction(self.points_given - self.points_left, self.points_given) if self.points_given else None


class PromotionOutcome(NamedTuple):
    """All of it."""

    program_id: str
    promotion_id: str
    unit: str
    currency: str
    first_at: datetime | None  #: when the first order occurred that had it; None: none has
    last_at: datetime | None
    had: Uptake  #: those that had it, and what it gave them
    others: Uptake  #: those in the same time that had it not, and what they earned
    months: tuple[PromotionMonth, ...]

    @property
    def order_share(self) -> Fraction | None:
        """Of the orders in its time the share that had it."""
        orders = self.had.orders + self.others.orders
        return Fraction(self.had.orders, orders) if orders else None

    @property
    def cost(self) -> Decimal | None:
        """What is left of it is worth; None where a version says no value."""
        worths = [month.worth for month in self.months]
        known = [worth for worth in worths if worth is not None]
        return sum(known, start=Decimal(0)) if len(known) == len(worths) else None
