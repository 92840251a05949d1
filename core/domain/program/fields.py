"""The kinds of value that a program file holds, and how several problems of one field are reported together."""

import re
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from core.domain.calendar import time_zone_names
from core.domain.ids import id_pattern

RATE_POINTS_MAX = 1_000_000
AMOUNT_MAX = 10**12
POINTS_LIMIT_MAX = 10**15  #: far above any real threshold or cap, far below what a 64-bit balance holds
DAYS_MAX = 36_500
MONTHS_MAX = 1_200
LISTED_MAX = 10_000

_DECIMAL_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,4})?$"
_DECIMAL = re.compile(_DECIMAL_PATTERN.replace("$", r"\Z"))
EXCHANGE_RATE_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,12})?$"
_EXCHANGE_RATE = re.compile(EXCHANGE_RATE_PATTERN.replace("$", r"\Z"))
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


class Rounding(StrEnum):
    """How an exact result becomes whole points."""

    FLOOR = "floor"
    CEIL = "ceil"
    HALF_UP = "half_up"
    HALF_EVEN = "half_even"


class ClawbackMode(StrEnum):
    """How refunds reduce what a rule or promotion gave."""

    PROPORTIONAL = "proportional"  #: to what the kept goods alone would earn
    FULL_REFUND = "full_refund"  #: to nothing, once nothing of the order is kept; before that not at all
    NEVER = "never"


class FreePieces(StrEnum):
    """Whether pieces that cost nothing count where pieces are counted."""

    EXCLUDED = "excluded"
    INCLUDED = "included"


def _exact_decimal(value: Any) -> Any:
    """Take exact forms only. A YAML or JSON float has already lost the digits that the author wrote."""
    if isinstance(value, float):
        raise PydanticCustomError("unquoted_decimal", "is the unquoted number {number}", {"number": repr(value)})
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str) and _DECIMAL.match(value):
        return Decimal(value)
    raise PydanticCustomError("not_a_decimal", 'is not a decimal number like "1.25" (at most 4 decimal places)')


def _exact_rate(value: Any) -> Any:
    if isinstance(value, str) and _EXCHANGE_RATE.match(value):
        return Decimal(value)
    return _exact_decimal(value)


def _known_time_zone(value: str) -> str:
    if value not in time_zone_names():
        raise PydanticCustomError("unknown_time_zone", "is not a time zone of the IANA database")
    return value


def _exact_date(value: Any) -> Any:
    """Take a date as YAML reads it or as JSON keeps it; pydantic alone would also take numbers and times."""
    if type(value) is date:
        return value
    if isinstance(value, str) and _DATE.match(value):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise PydanticCustomError("no_such_date", "is not a date of the calendar") from error
    raise PydanticCustomError("not_a_date", "is not a date like 2026-12-24")


def _once(values: tuple[Any, ...]) -> tuple[Any, ...]:
    refuse(repeated([str(value) for value in values], key=None))
    return values


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,36}$")]
DECIMAL_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": _DECIMAL_PATTERN}, {"type": "integer", "minimum": 0}]
}
EXCHANGE_RATE_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": EXCHANGE_RATE_PATTERN}, {"type": "integer", "minimum": 1}]
}
ExactDecimal = Annotated[Decimal, BeforeValidator(_exact_decimal), WithJsonSchema(DECIMAL_SCHEMA)]
Rate = Annotated[ExactDecimal, Field(ge=0, le=RATE_POINTS_MAX)]
Amount = Annotated[ExactDecimal, Field(gt=0, le=AMOUNT_MAX)]
ExchangeRate = Annotated[
    Decimal, BeforeValidator(_exact_rate), WithJsonSchema(EXCHANGE_RATE_SCHEMA), Field(gt=0, le=AMOUNT_MAX)
]
Factor = Annotated[ExactDecimal, Field(gt=0, le=1000)]
TimeZone = Annotated[str, AfterValidator(_known_time_zone)]
LocalDate = Annotated[date, BeforeValidator(_exact_date), WithJsonSchema({"type": "string", "format": "date"})]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Source = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=id_pattern())]
Labels = Annotated[tuple[Label, ...], Field(max_length=LISTED_MAX), AfterValidator(_once)]
SomeLabels = Annotated[tuple[Label, ...], Field(min_length=1, max_length=LISTED_MAX), AfterValidator(_once)]
PointsLimit = Annotated[StrictInt, Field(ge=1, le=POINTS_LIMIT_MAX)]
Days = Annotated[StrictInt, Field(ge=1, le=DAYS_MAX)]
Months = Annotated[StrictInt, Field(ge=1, le=MONTHS_MAX)]


class Part(BaseModel):
    """A part of a program: frozen, and without fields that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def problem(where: tuple[str | int, ...], code: str, text: str) -> InitErrorDetails:
    """A problem at `where` below the field that is being checked."""
    # The text goes in as a value, since a template would read braces in names as fields of its own.
    return InitErrorDetails(type=PydanticCustomError(code, "{text}", {"text": text}), loc=where, input=None)


def refuse(problems: Sequence[InitErrorDetails]) -> None:
    """Raise `problems` with their places below the field that is being checked; nothing to raise is no error."""
    if problems:
        raise ValidationError.from_exception_data("Program", list(problems))


def repeated(names: Sequence[str], *, key: str | None) -> list[InitErrorDetails]:
    """One problem per element whose name an earlier element has."""
    return [
        problem((place,) if key is None else (place, key), "repeated", "is there twice")
        for place, name in enumerate(names)
        if name in names[:place]
    ]


def belongs(part: Part, needed: Iterable[str], allowed: Iterable[str], given: str) -> list[InitErrorDetails]:
    """Problems of fields that go with one choice only: `given` (such as "policy after_days") needs and allows these."""
    needed, allowed = tuple(needed), tuple(allowed)
    missing = [
        problem((name,), "missing_with", f"is missing: {given} needs it")
        for name in needed
        if getattr(part, name) is None
    ]
    return missing + [
        problem((name,), "means_nothing", f"means nothing with {given}")
        for name in allowed
        if name not in needed and getattr(part, name) is not None
    ]
