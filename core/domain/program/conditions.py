"""Conditions: which orders a rule or promotion is for, and which of their lines.

What depends on the order alone, on the customer and on time is judged once, when the order is posted. What depends on
what is kept of the order (a minimum amount or quantity) is asked again after each refund.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Annotated, NamedTuple, Self

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StringConstraints, WithJsonSchema, model_validator

from core.domain.orders.facts import AttributeValue, LineKind, Order, OrderLine
from core.domain.program.fields import Amount, Label, Labels, LocalDate, Name, Part, problem, refuse, repeated

_TIME_PATTERN = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
_TIME = re.compile(_TIME_PATTERN.replace("$", r"\Z"))
_MINUTES_OF_HOUR = 60
CHANNEL = "channel"  #: the order attribute that `channels` asks for


class Weekday(StrEnum):
    """Days of the week, in the order of datetime.weekday()."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_WEEKDAYS = tuple(Weekday)


class Circumstances(NamedTuple):
    """What conditions are asked of."""

    order: Order
    local: datetime  #: when it occurred, in the program's time zone
    tier_id: str
    is_first_order: bool


def _require_span(least: Decimal | None, most: Decimal | None) -> None:
    if least is not None and most is not None and most < least:
        refuse([problem(("maximum_price",), "price_order", f"is less than minimum_price, {least}")])


class LineConditions(Part):
    """What each line must have by itself to count."""

    minimum_quantity: Amount | None = None
    """Of each line that counts at least so many pieces are kept."""
    minimum_amount: Amount | None = None
    """What is kept of each line that counts comes to at least this."""
    minimum_price: Amount | None = None
    """A piece of each line that counts costs at least this: the line's amount as ordered, by its quantity."""
    maximum_price: Amount | None = None
    """A piece of each line that counts costs at most this."""

    @cached_property
    def asks_price(self) -> bool:
        """Whether it asks what a piece cost, which no refund changes."""
        return self.minimum_price is not None or self.maximum_price is not None

    @cached_property
    def asks_kept(self) -> bool:
        """Whether it asks what is kept of a line."""
        return self.minimum_quantity is not None or self.minimum_amount is not None

    @model_validator(mode="after")
    def _prices_fit(self) -> Self:
        _require_span(self.minimum_price, self.maximum_price)
        return self


class _Articles(Part):
    """Which lines of an order count, by what they are."""

    skus: Labels = ()
    """Lines with one of these SKUs; with categories too, lines with either."""
    categories: Labels = ()
    """Lines in one of these categories."""
    exclude_skus: Labels = ()
    """No lines with one of these SKUs, whatever is included."""
    exclude_categories: Labels = ()
    """No lines in one of these categories, whatever is included."""
    exclude_kinds: Annotated[tuple[LineKind, ...], Field(max_length=len(LineKind))] = ()
    """No lines of these kinds, whatever is included."""

    @cached_property
    def wanted_skus(self) -> frozenset[str]:
        """The SKUs to look up."""
        return frozenset(self.skus)

    @cached_property
    def wanted_categories(self) -> frozenset[str]:
        """The categories to look up."""
        return frozenset(self.categories)

    @cached_property
    def excludes_some(self) -> bool:
        """Whether any line may be excepted."""
        return bool(self.exclude_skus or self.exclude_categories or self.exclude_kinds)

    @cached_property
    def _unwanted(self) -> tuple[frozenset[str], frozenset[str], frozenset[LineKind]]:
        return frozenset(self.exclude_skus), frozenset(self.exclude_categories), frozenset(self.exclude_kinds)

    def includes(self, line: OrderLine) -> bool:
        """Whether `line` counts."""
        is_wanted = not (self.skus or self.categories) or (
            line.sku in self.wanted_skus or not self.wanted_categories.isdisjoint(line.categories)
        )
        return is_wanted and not self.excludes(line)

    def excludes(self, line: OrderLine) -> bool:
        """Whether `line` is one of the excepted."""
        skus, categories, kinds = self._unwanted
        return line.sku in skus or line.kind in kinds or not categories.isdisjoint(line.categories)

    @model_validator(mode="after")
    def _excludes_something_else(self) -> Self:
        both = [("exclude_skus", self.skus, self.exclude_skus)]
        both += [("exclude_categories", self.categories, self.exclude_categories)]
        refuse(
            [
                problem((field, place), "in_and_out", "is both included and excluded")
                for field, included, excluded in both
                for place, name in enumerate(excluded)
                if name in included
            ]
        )
        return self


class Lines(LineConditions, _Articles):
    """Which lines of an order count. Without `skus` and `categories` all do that earn at all."""

    @cached_property
    def is_all(self) -> bool:
        """Whether every line counts."""
        is_picky = self.skus or self.categories or self.excludes_some or self.asks_price or self.asks_kept
        return not is_picky


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * _MINUTES_OF_HOUR + int(minutes)


def _known_time(value: str) -> str:
    refuse([] if _TIME.match(value) else [problem((), "not_a_time", "is not a time of day like 18:30")])
    return value


TimeOfDay = Annotated[
    str,
    StringConstraints(max_length=5),
    AfterValidator(_known_time),
    WithJsonSchema({"type": "string", "pattern": _TIME_PATTERN}),
]


class Hours(Part):
    """Hours of the week, by the clocks of the program's time zone."""

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)] = _WEEKDAYS
    """Days of the week; all when left out."""
    start: TimeOfDay = "00:00"
    """From this time of day on."""
    end: TimeOfDay = "24:00"
    """Up to, not including, this time of the same day."""

    @cached_property
    def _span(self) -> tuple[int, int]:
        return _minutes(self.start), _minutes(self.end)

    def holds(self, local: datetime) -> bool:
        """Whether `local` lies in these hours."""
        first, end = self._span
        return _WEEKDAYS[local.weekday()] in self.days and first <= local.hour * _MINUTES_OF_HOUR + local.minute < end

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if _minutes(self.end) <= _minutes(self.start):
            text = f"must be later than start, {self.start}; write two spans of hours to go past midnight"
            refuse([problem(("end",), "hours_order", text)])
        refuse([problem(("days", *at["loc"]), "repeated", "is there twice") for at in repeated(self.days, key=None)])
        return self


AttributeChoice = Annotated[tuple[StrictBool | StrictInt | Label, ...], Field(min_length=1, max_length=1000)]


class When(Part):
    """Conditions on an order. All that are given must hold; of the values of one, any."""

    starts_on: LocalDate | None = None
    """From the first instant of this day, in the program's time zone."""
    ends_on: LocalDate | None = None
    """To the last instant of this day."""
    hours: Annotated[tuple[Hours, ...], Field(max_length=100)] = ()
    """Hours of the week; none given: all."""
    channels: Labels = ()
    """The order's attribute `channel` is one of these."""
    attributes: Annotated[dict[Label, AttributeChoice], Field(max_length=100)] | None = None
    """Order attributes, each with the values of which it must have one."""
    tiers: Annotated[tuple[Name, ...], Field(max_length=100)] = ()
    """The order earns in one of these tiers."""
    customer_tags: Labels = ()
    """The customer has one of these tags, as the order says."""
    first_order: StrictBool | None = None
    """true: only while no other order of the customer counts (see counted_orders); false: only from then on."""
    minimum_amount: Amount | None = None
    """What is kept of the lines that count comes to at least this."""
    minimum_quantity: Amount | None = None
    """Of the lines that count at least so many pieces are kept, all together."""
    minimum_price: Amount | None = None
    """A piece of the lines that count costs at least this on average, as ordered."""
    maximum_price: Amount | None = None
    """A piece of the lines that count costs at most this on average, as ordered."""

    @cached_property
    def is_always(self) -> bool:
        """Whether nothing is asked that could fail when the order is posted."""
        return self.model_copy(update=dict.fromkeys(LineConditions.model_fields)) == When()

    def includes_day(self, day: date) -> bool:
        """Whether orders of this day of the program's time zone can fit at all."""
        return (self.starts_on is None or self.starts_on <= day) and (self.ends_on is None or day <= self.ends_on)

    def holds(self, circumstances: Circumstances) -> bool:
        """Whether the order, the customer and the time fit. The minimums are asked of what is kept, apart."""
        return self.includes_day(circumstances.local.date()) and self.holds_beside_dates(circumstances)

    def holds_beside_dates(self, circumstances: Circumstances) -> bool:
        """The same on a day that is known to be included."""
        order, local, tier_id, is_first = circumstances
        return (
            (not self.hours or any(hours.holds(local) for hours in self.hours))
            and (not self.tiers or tier_id in self.tiers)
            and (self.first_order is None or self.first_order == is_first)
            and (not self.channels or order.attributes.get(CHANNEL) in self.channels)
            and (not self.customer_tags or any(tag in self.customer_tags for tag in order.customer_tags))
            and (not self.attributes or all(_has(order.attributes, *choice) for choice in self.attributes.items()))
        )

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.starts_on is not None and self.ends_on is not None and self.ends_on < self.starts_on:
            refuse([problem(("ends_on",), "dates_order", f"is before starts_on, {self.starts_on}")])
        _require_span(self.minimum_price, self.maximum_price)
        return self


def _has(attributes: Mapping[str, AttributeValue], name: str, values: tuple[AttributeValue, ...]) -> bool:
    """Whether the attribute is one of `values`, of the same type: True is not 1."""
    found = attributes.get(name)
    return any(found == value and isinstance(found, bool) == isinstance(value, bool) for value in values)
