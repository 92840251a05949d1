"""What other currencies are worth in a program's own, by the days of its time zone."""

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails

from core.domain.program.fields import EXCHANGE_RATE_SCHEMA, ExchangeRate, LocalDate, Part, problem

PERIODS_MAX = 1_000


class RatePeriod(Part):
    """What a currency is worth in some time. Periods stand in the order of time, and none overlaps the next."""

    rate: ExchangeRate
    """What one unit of the currency is worth in the program's, with at most 12 decimal places."""
    starts_on: LocalDate | None = None
    """For orders from the first instant of this day on, in the program's time zone; left out: for all before too."""
    ends_on: LocalDate | None = None
    """To the last instant of this day; left out: until the next period starts, if there is one."""


def _one_for_all_time(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [{"rate": value}]


class _OrOneForAllTime:
    """Lets the schema say what `_one_for_all_time` takes beside the list."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [EXCHANGE_RATE_SCHEMA, handler(schema)]}


CurrencyName = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Periods = Annotated[
    tuple[RatePeriod, ...],
    Field(min_length=1, max_length=PERIODS_MAX),
    BeforeValidator(_one_for_all_time),
    _OrOneForAllTime(),
]
Currencies = Annotated[dict[CurrencyName, Periods], Field(max_length=300)]


def rate_on(periods: tuple[RatePeriod, ...], day: date) -> Decimal | None:
    """The rate of that day; None where no period has it."""
    started = [each for each in periods if each.starts_on is None or each.starts_on <= day]
    if not started or (started[-1].ends_on is not None and started[-1].ends_on < day):
        return None
    return started[-1].rate


def currency_problems(currencies: Mapping[str, tuple[RatePeriod, ...]], own: str) -> Iterator[InitErrorDetails]:
    """Periods that overlap or stand in another order, and a rate of the program's own currency."""
    for name, periods in currencies.items():
        if name == own:
            yield problem(("currencies", name), "own_currency", "is the program's own currency: take it out")
        for place, period in enumerate(periods):
            here = ("currencies", name, place)
            if period.ends_on is not None and period.starts_on is not None and period.ends_on < period.starts_on:
                yield problem((*here, "ends_on"), "dates_order", f"is before starts_on, {period.starts_on}")
            if not place:
                continue
            before, starts_on = periods[place - 1], period.starts_on
            last = before.ends_on or before.starts_on
            if starts_on is None:
                yield problem((*here, "starts_on"), "missing_with", "is missing: only the first period may go without")
            elif last is not None and starts_on <= last:
                text = f"must be later than {last}, which the period before it has; periods stand in the order of time"
                yield problem((*here, "starts_on"), "dates_order", text)
