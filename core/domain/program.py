"""A program: how orders earn points, which tiers there are, and what refunds and time do to points.

Program files (YAML) and the documents that the database keeps are these models; `core.messages.program_file` reads and
writes them and words the problems for a person. Everything is frozen: a changed program is a new one.
"""

import re
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from core.domain.orders import LineKind

EXPIRY_MONTHS_MAX = 1200
RATE_POINTS_MAX = 1_000_000
AMOUNT_MAX = 10**12
THRESHOLD_POINTS_MAX = 10**15  #: far above any real tier, far below what a 64-bit balance holds

_DECIMAL_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,4})?$"
_DECIMAL = re.compile(_DECIMAL_PATTERN.replace("$", r"\Z"))


class TaxBasis(StrEnum):
    """Whether tax earns points."""

    EXCLUDED = "excluded"
    INCLUDED = "included"


class PointsPaidBasis(StrEnum):
    """Whether the part of an order that was paid with points earns points."""

    EXCLUDED = "excluded"
    INCLUDED = "included"


class Combine(StrEnum):
    """What several earning rules give together: the best one alone, or their sum."""

    BEST = "best"
    STACK = "stack"


class Rounding(StrEnum):
    """How a rule's exact result becomes whole points; once per rule and order."""

    FLOOR = "floor"
    CEIL = "ceil"
    HALF_UP = "half_up"
    HALF_EVEN = "half_even"


class QualificationWindow(StrEnum):
    """Which points count for the tier: all ever earned, or those of the calendar year in the program's time zone."""

    LIFETIME = "lifetime"
    CALENDAR_YEAR = "calendar_year"


class ClawbackPolicy(StrEnum):
    """What a refund does when the points it takes back are already spent."""

    ALLOW_NEGATIVE = "allow_negative"  #: the balance goes below zero; later credits pay it off first
    CLAMP = "clamp"  #: the balance stops at zero; the rest is recorded as a shortfall
    PENDING_ONLY = "pending_only"  #: only points that are not yet available are taken


class ExpiryPolicy(StrEnum):
    """When points end."""

    NEVER = "never"
    AFTER_MONTHS = "after_months"  #: at local midnight, that many months after they became available


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
    raise PydanticCustomError("not_a_decimal", 'is no decimal number like "1.25" (at most 4 decimal places)')


def _known_time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError) as error:  # KeyError: not found; ValueError: "../x"; OSError: a folder
        raise PydanticCustomError("unknown_time_zone", "is no time zone of the IANA database") from error
    return value


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,36}$")]
ExactDecimal = Annotated[
    Decimal,
    BeforeValidator(_exact_decimal),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": _DECIMAL_PATTERN}, {"type": "integer", "minimum": 0}]},
    ),
]
Rate = Annotated[ExactDecimal, Field(ge=0, le=RATE_POINTS_MAX)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)


class Basis(_Part):
    """Which part of an order earns points."""

    kinds: Annotated[tuple[LineKind, ...], Field(min_length=1)] = (LineKind.PRODUCT,)
    """Line kinds that earn."""
    tax: TaxBasis = TaxBasis.EXCLUDED
    """Whether the lines' tax earns."""
    points_paid: PointsPaidBasis = PointsPaidBasis.EXCLUDED
    """Whether the part paid with points earns."""

    @field_validator("kinds")
    @classmethod
    def _kinds_once(cls, kinds: tuple[LineKind, ...]) -> tuple[LineKind, ...]:
        _refuse(_repeated([kind.value for kind in kinds], key=None))
        return kinds


class SpendTerms(NamedTuple):
    """What a spend rule gives in one tier: `numerator / denominator` points per unit of money, exactly."""

    numerator: int
    denominator: int
    told: dict[str, str]  #: the same as the program file says it, for the explanation of an entry


class SpendRule(_Part):
    """Points for money spent: `points` of the customer's tier for each `per_amount` of the earning basis."""

    rule_id: Name
    """Names the rule for ever; entries refer to it."""
    kind: Literal["spend"]
    """The kind of rule."""
    per_amount: Annotated[ExactDecimal, Field(gt=0, le=AMOUNT_MAX)]
    """The amount, in major units of the program's currency, that earns `points`."""
    points: dict[str, Rate]
    """Points per `per_amount` for each tier, by tier_id; every tier has a rate, which may be 0."""
    rounding: Rounding = Rounding.FLOOR
    """How the exact result becomes whole points."""

    @cached_property
    def terms(self) -> dict[str, SpendTerms]:
        """What the rule gives in each tier, by tier_id; worked out once, since every order asks."""
        return {tier_id: self._terms(points) for tier_id, points in self.points.items()}

    def _terms(self, points: Decimal) -> SpendTerms:
        numerator, denominator = (Fraction(points) / Fraction(self.per_amount)).as_integer_ratio()
        told = {
            "rule_id": self.rule_id,
            "points_per": str(points),
            "per_amount": str(self.per_amount),
            "rounding": self.rounding.value,
        }
        return SpendTerms(numerator, denominator, told)


class Tier(_Part):
    """A level that a customer reaches with qualifying points."""

    tier_id: Name
    """Names the tier in rules, events and reports."""
    threshold_points: Annotated[StrictInt, Field(ge=0, le=THRESHOLD_POINTS_MAX)]
    """Qualifying points from which the tier is reached."""


class Qualification(_Part):
    """Which points count for the tier."""

    window: QualificationWindow = QualificationWindow.LIFETIME
    """lifetime: a tier is never lost by time alone; calendar_year: a yearly review can downgrade."""


class Clawback(_Part):
    """What refunds do to points that are already spent."""

    policy: ClawbackPolicy = ClawbackPolicy.ALLOW_NEGATIVE
    """allow_negative: the balance goes below zero, and later credits pay that off first; clamp: the balance stops at
    zero, and the rest is recorded as a shortfall; pending_only: only points that are not yet available are taken."""


class Expiry(_Part):
    """When points end."""

    policy: ExpiryPolicy = ExpiryPolicy.NEVER
    """never; or after_months: at local midnight, that many months after the points became available."""
    months: Annotated[StrictInt, Field(ge=1, le=EXPIRY_MONTHS_MAX)] | None = None
    """With after_months: months from a lot's availability to its end."""

    @model_validator(mode="after")
    def _months_belong_to_policy(self) -> Self:
        if self.policy is ExpiryPolicy.AFTER_MONTHS and self.months is None:
            _refuse([_problem(("months",), "missing_months", "is missing: policy after_months needs it")])
        if self.policy is ExpiryPolicy.NEVER and self.months is not None:
            _refuse([_problem(("months",), "months_without_policy", "means nothing with policy never")])
        return self


class Program(_Part):
    """One loyalty program."""

    program_id: Name
    """Names the program for ever, in orders, events and reports."""
    name: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
    """For people."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    """ISO 4217 code; orders in another currency do not belong to this program."""
    time_zone: Annotated[str, AfterValidator(_known_time_zone)]
    """IANA name; days, months and years of this program begin at its midnights."""
    default: StrictBool = False
    """Whether it takes the orders that name no program and whose source no program lists."""
    sources: tuple[Annotated[str, StringConstraints(min_length=1, max_length=200)], ...] = ()
    """Message sources whose orders belong here when they name no program."""
    basis: Basis = Basis()
    """Which part of an order earns."""
    combine: Combine = Combine.BEST
    """What several rules give together."""
    earning_rules: Annotated[tuple[SpendRule, ...], Field(min_length=1, max_length=100)]
    """At least one; the kind says which fields a rule has."""
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=100)]
    """In ascending order of threshold_points; the first has 0, so everybody has a tier."""
    qualification: Qualification = Qualification()
    """Which points count for the tier."""
    clawback: Clawback = Clawback()
    """What refunds do to spent points."""
    expiry: Expiry = Expiry()
    """When points end."""

    @cached_property
    def zone(self) -> ZoneInfo:
        """The program's time zone."""
        return ZoneInfo(self.time_zone)

    def tier(self, tier_id: str) -> Tier | None:
        """Find the tier of that id; None when the program has none such (an old order may name a dropped tier)."""
        return next((tier for tier in self.tiers if tier.tier_id == tier_id), None)

    def tier_for(self, qualifying_points: int) -> Tier:
        """Find the highest tier that `qualifying_points` reach; the first one for anything below zero."""
        reached = self.tiers[0]
        for tier in self.tiers[1:]:
            if tier.threshold_points > qualifying_points:
                break
            reached = tier
        return reached

    def rank(self, tier_id: str) -> int:
        """Count the tiers below it: 0 for the lowest. KeyError when the program has no such tier."""
        for place, tier in enumerate(self.tiers):
            if tier.tier_id == tier_id:
                return place
        raise KeyError(tier_id)

    @field_validator("sources")
    @classmethod
    def _sources_once(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        _refuse(_repeated(list(sources), key=None))
        return sources

    @field_validator("earning_rules")
    @classmethod
    def _rules_once(cls, rules: tuple[SpendRule, ...]) -> tuple[SpendRule, ...]:
        _refuse(_repeated([rule.rule_id for rule in rules], key="rule_id"))
        return rules

    @field_validator("tiers")
    @classmethod
    def _tiers_ascend_from_zero(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        problems = _repeated([tier.tier_id for tier in tiers], key="tier_id")
        if tiers[0].threshold_points != 0:
            text = "must be 0: the first tier is the one that everybody starts in"
            problems.append(_problem((0, "threshold_points"), "first_threshold", text))
        for place in range(1, len(tiers)):
            below = tiers[place - 1].threshold_points
            if tiers[place].threshold_points <= below:
                text = f"must be above {below}, the threshold of the tier before it"
                problems.append(_problem((place, "threshold_points"), "threshold_order", text))
        _refuse(problems)
        return tiers

    @model_validator(mode="after")
    def _rates_name_the_tiers(self) -> Self:
        tier_ids = [tier.tier_id for tier in self.tiers]
        problems: list[InitErrorDetails] = []
        for place, rule in enumerate(self.earning_rules):
            here = ("earning_rules", place, "points")
            problems += [
                _problem(here, "missing_rate", f"has no rate for tier {tier_id}; write 0 if that tier earns nothing")
                for tier_id in tier_ids
                if tier_id not in rule.points
            ]
            problems += [
                _problem((*here, name), "unknown_tier", "is no tier of this program")
                for name in rule.points
                if name not in tier_ids
            ]
        _refuse(problems)
        return self


def _problem(where: tuple[str | int, ...], code: str, text: str) -> InitErrorDetails:
    # The text goes in as a value, since a template would read braces in names as fields of its own.
    return InitErrorDetails(type=PydanticCustomError(code, "{text}", {"text": text}), loc=where, input=None)


def _refuse(problems: list[InitErrorDetails]) -> None:
    """Raise `problems` with their places below the field that is being checked; nothing to raise is no error."""
    if problems:
        raise ValidationError.from_exception_data("Program", problems)


def _repeated(names: list[str], *, key: str | None) -> list[InitErrorDetails]:
    """One problem per element whose name an earlier element has."""
    return [
        _problem((place,) if key is None else (place, key), "repeated", "is there twice")
        for place, name in enumerate(names)
        if name in names[:place]
    ]
