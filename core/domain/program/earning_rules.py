"""Earning rules: what each gives for what an order holds."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from functools import cached_property
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, StrictBool, WithJsonSchema, model_validator
from pydantic_core import InitErrorDetails

from core.domain.program.conditions import LineConditions, Lines, When
from core.domain.program.expiry import Expiry
from core.domain.program.fields import (
    DECIMAL_SCHEMA,
    Amount,
    ClawbackMode,
    FreePieces,
    Labels,
    Name,
    Part,
    PointsLimit,
    Rate,
    Rounding,
    SomeLabels,
    problem,
    refuse,
)

#: The key of a rate that is for all tiers.
ANY_TIER = "*"


def _for_all_tiers(value: Any) -> Any:
    return value if isinstance(value, dict) else {ANY_TIER: value}


PerTier = Annotated[
    dict[str, Rate],
    Field(min_length=1),
    BeforeValidator(_for_all_tiers),
    WithJsonSchema(
        {"anyOf": [DECIMAL_SCHEMA, {"type": "object", "minProperties": 1, "additionalProperties": DECIMAL_SCHEMA}]}
    ),
]


class Combine(StrEnum):
    """What several earning rules give together: the best one alone, or their sum."""

    BEST = "best"
    STACK = "stack"


class RoundPer(StrEnum):
    """Where a rule's exact result becomes whole points."""

    ORDER = "order"
    LINE = "line"


class Steps(StrEnum):
    """What a part of a spend rule's `per_amount` earns."""

    PARTS = "parts"  #: its part of the points
    WHOLE = "whole"  #: nothing


class Caps(Part):
    """The most points that a rule gives to one customer."""

    per_order: PointsLimit | None = None
    """For one order."""
    per_day: PointsLimit | None = None
    """For the orders of one day of the program's time zone."""
    per_month: PointsLimit | None = None
    """For the orders of one month."""


class _Rule(Part):
    rule_id: Name
    """Names the rule for ever; entries refer to it."""
    points: PerTier
    """Points for each tier, by tier_id; every tier has a rate, which may be 0. One number alone is for all tiers."""
    when: When = When()
    """Which orders it is for; all when left out."""
    caps: Caps = Caps()
    """The most that it gives."""
    clawback: ClawbackMode = ClawbackMode.PROPORTIONAL
    """How refunds reduce what it gave: proportional, full_refund (only when nothing is kept), or never."""
    expiry: Expiry | None = None
    """When its points expire, if not as the program says."""

    @cached_property
    def limited_per(self) -> tuple[tuple[str, int], ...]:
        """The periods that have a cap of their own, with it."""
        found = (("day", self.caps.per_day), ("month", self.caps.per_month))
        return tuple((period, points) for period, points in found if points is not None)

    def rate(self, tier_id: str) -> Decimal:
        """Points per unit in a tier of this program."""
        return self.points[ANY_TIER] if ANY_TIER in self.points else self.points[tier_id]


class SpendRule(_Rule):
    """Points for money spent: `points` of the customer's tier for each `per_amount` of what counts."""

    kind: Literal["spend"]
    """The kind of rule."""
    per_amount: Amount
    """The amount, in major units of the program's currency, that earns `points`."""
    lines: Lines = Lines()
    """Which lines count; all that earn at all when left out."""
    rounding: Rounding = Rounding.FLOOR
    """How the exact result becomes whole points."""
    round_per: RoundPer = RoundPer.ORDER
    """order: once for the whole order; line: once for each line."""
    steps: Steps = Steps.PARTS
    """parts: a part of per_amount earns its part of the points; whole: only whole steps of per_amount earn, and what
    is beyond them is lost. With "5 for each 2.50", 3.00 gives 6 or 5 points."""
    carry: StrictBool = False
    """Whether it gives points for whole steps of per_amount only, and keeps what is left for the customer's next
    order. With "1 per 50", orders of 30 and 20 give 1 point."""

    @cached_property
    def is_plain(self) -> bool:
        """Whether it is a rate on the whole order's amount and nothing else."""
        return (
            self.lines.is_all
            and self.when == When()
            and self.caps == Caps()
            and self.clawback is ClawbackMode.PROPORTIONAL
            and self.round_per is RoundPer.ORDER
            and self.steps is Steps.PARTS
            and not self.carry
        )

    @model_validator(mode="after")
    def _carries_exactly(self) -> Self:
        problems = []
        if self.carry:
            if self.round_per is RoundPer.LINE:
                problems.append(problem(("round_per",), "carry_with", "cannot be line with carry: true"))
            if self.steps is Steps.WHOLE:
                text = (
                    "cannot be whole with carry: true, which keeps what is beyond whole steps: leave out one of the two"
                )
                problems.append(problem(("steps",), "carry_with", text))
            if self.caps != Caps():
                problems.append(problem(("caps",), "carry_with", "cannot be together with carry: true"))
            if self.clawback is not ClawbackMode.PROPORTIONAL:
                problems.append(problem(("clawback",), "carry_with", "must be proportional with carry: true"))
        refuse(problems)
        return self


class _PieceRule(_Rule):
    """What all rules but spend rules share: there is no remainder to carry."""

    @property
    def carry(self) -> bool:
        """Never."""
        return False


class VisitRule(_PieceRule):
    """Points for an order, whatever it costs; minimums in `when` ask for more than any line that counts."""

    kind: Literal["visit"]
    """The kind of rule."""
    lines: Lines = Lines()
    """Lines of which at least one must be kept; any that earns when left out."""


class _ArticleRule(LineConditions, _PieceRule):
    """What rules that give points for pieces share."""

    free_pieces: FreePieces | None = None
    """Whether pieces that cost nothing count, if not as basis says."""


class ItemRule(_ArticleRule):
    """Points for each piece of certain articles."""

    kind: Literal["item"]
    """The kind of rule."""
    skus: SomeLabels
    """The articles."""
    rounding: Rounding = Rounding.FLOOR
    """How parts of pieces, by weight for instance, become whole points."""

    @cached_property
    def lines(self) -> Lines:
        """The lines that count."""
        return Lines(skus=self.skus, **_line_conditions(self))


class CategoryRule(_ArticleRule):
    """Points for each piece of the articles of certain categories."""

    kind: Literal["category"]
    """The kind of rule."""
    categories: SomeLabels
    """The categories. A piece that is in several counts once."""
    exclude_skus: Labels = ()
    """Articles that do not count."""
    rounding: Rounding = Rounding.FLOOR
    """How parts of pieces become whole points."""

    @cached_property
    def lines(self) -> Lines:
        """The lines that count."""
        return Lines(categories=self.categories, exclude_skus=self.exclude_skus, **_line_conditions(self))


def _line_conditions(rule: LineConditions) -> dict[str, Decimal | None]:
    return {name: getattr(rule, name) for name in LineConditions.model_fields}


AnyRule = SpendRule | VisitRule | ItemRule | CategoryRule
EarningRule = Annotated[AnyRule, Field(discriminator="kind")]


class Unit(Enum):
    """What a rule gives points for."""

    AMOUNT = "amount"
    LINE_AMOUNT = "line_amount"  #: the same, rounded line by line
    PIECE = "piece"
    ORDER = "order"


class Terms(NamedTuple):
    """What a rule gives in one tier: `numerator / denominator` points per unit, exactly.

    With all that a calculation asks of the rule, put together once, since every order asks.
    """

    rule_id: str
    rule: AnyRule
    unit: Unit
    step: Decimal | None  #: the amount that gives the points; None where points are not for an amount
    numerator: int
    denominator: int
    rounding: Rounding
    lines: Lines
    per_order: int | None  #: the cap
    carry: bool
    has_whole_steps: bool  #: parts of a step earn nothing
    clawback: ClawbackMode
    explanation: dict[str, str]  #: the same as the program file says it, for the explanation of an entry


def terms_of(rule: AnyRule, tier_id: str, multiplier: Decimal) -> Terms:
    """What `rule` gives in a tier, its multiplier included."""
    points = rule.rate(tier_id)
    explanation = {"rule_id": rule.rule_id}
    per, unit, rounding = Decimal(1), Unit.PIECE, Rounding.FLOOR
    if not isinstance(rule, SpendRule):
        explanation["kind"] = rule.kind
    explanation["points_per"] = str(points)
    if isinstance(rule, SpendRule):
        per = rule.per_amount
        unit = Unit.LINE_AMOUNT if rule.round_per is RoundPer.LINE else Unit.AMOUNT
        explanation["per_amount"] = str(per)
        if rule.steps is Steps.WHOLE:
            explanation["steps"] = rule.steps.value
    if isinstance(rule, VisitRule):
        unit = Unit.ORDER
    else:
        rounding = rule.rounding
        explanation["rounding"] = rounding.value
    if multiplier != 1:
        explanation["tier_multiplier"] = str(multiplier)
    numerator, denominator = (Fraction(points) * Fraction(multiplier) / Fraction(per)).as_integer_ratio()
    step = per if isinstance(rule, SpendRule) else None
    has_whole_steps = isinstance(rule, SpendRule) and rule.steps is Steps.WHOLE
    return Terms(
        rule.rule_id, rule, unit, step, numerator, denominator, rounding, rule.lines, rule.caps.per_order, rule.carry,
        has_whole_steps, rule.clawback, explanation,
    )  # fmt: skip


def rate_problems(rules: Iterable[AnyRule], tier_ids: Sequence[str]) -> Iterator[InitErrorDetails]:
    """Tiers without a rate, and rates of tiers that the program has not."""
    for place, rule in enumerate(rules):
        here = ("earning_rules", place, "points")
        if ANY_TIER in rule.points and len(rule.points) == 1:
            continue
        for tier_id in tier_ids:
            if tier_id not in rule.points:
                text = f"has no rate for tier {tier_id}; write 0 if that tier earns nothing"
                yield problem(here, "missing_rate", text)
        for name in rule.points:
            if name not in tier_ids:
                yield problem((*here, name), "unknown_tier", "is not a tier of this program")
