"""What a program says of its points as value: what it counts, who has accounts, and what may be done with points."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, StrictInt, StringConstraints, model_validator
from pydantic_core import InitErrorDetails

from core.domain.program.fields import (
    Amount,
    ExactDecimal,
    Label,
    LocalDate,
    Name,
    Part,
    PointsLimit,
    Rounding,
    Title,
    problem,
    refuse,
    repeated,
)

POINTS_UNIT = "points"
REASONS_MAX = 100
CONVERSIONS_MAX = 100
REWARDS_MAX = 1_000
METADATA_MAX = 100
METADATA_CHARACTERS_MAX = 1_000
_METADATA_INTEGER_MAX = 2**63 - 1


def _names_once(names: tuple[str, ...]) -> tuple[str, ...]:
    refuse(repeated(names, key=None))
    return names


#: A word of the program's own in lower case, or the code of a currency in upper case, which the file's reader knows.
ValueUnit = Annotated[str, StringConstraints(pattern=r"^([a-z][a-z0-9_-]{0,35}|[A-Z]{3})$")]
ReasonNames = Annotated[tuple[Name, ...], Field(max_length=REASONS_MAX), AfterValidator(_names_once)]
_MetadataText = Annotated[str, StringConstraints(max_length=METADATA_CHARACTERS_MAX, pattern=r"^[^\x00]*$")]
_MetadataInteger = Annotated[StrictInt, Field(ge=-_METADATA_INTEGER_MAX, le=_METADATA_INTEGER_MAX)]
Metadata = Annotated[dict[Label, StrictBool | _MetadataInteger | _MetadataText], Field(max_length=METADATA_MAX)]


class Access(StrEnum):
    """Who may spend an account's points."""

    MEMBERS = "members"  #: its owner, and each member who is no mere viewer
    OWNER = "owner"  #: its owner alone


class Enrol(StrEnum):
    """What opens a customer's account."""

    FIRST_ACTIVITY = "first_activity"  #: whatever first comes of the customer: an order, a credit
    COMMAND = "command"  #: account.create alone


class ClawbackPolicy(StrEnum):
    """What a refund does when the points it takes back are already spent."""

    ALLOW_NEGATIVE = "allow_negative"  #: the balance goes below zero; later credits pay it off first
    CLAMP = "clamp"  #: the balance stops at zero; the rest is recorded as a shortfall
    PENDING_ONLY = "pending_only"  #: only points that are not yet available are taken


class Clawback(Part):
    """What refunds do to points that are already spent."""

    policy: ClawbackPolicy = ClawbackPolicy.ALLOW_NEGATIVE
    """allow_negative: the balance goes below zero, and later credits pay that off first; clamp: the balance stops at
    zero, and the rest is recorded as a shortfall; pending_only: only points that are not yet available are taken."""
    takes_reserved: StrictBool = False
    """Whether points are taken too that authorizations hold, where no others are left: those of the order itself first.
    Issued rewards keep their price."""


class CustomerLimit(Part):
    """How many points of one customer, in days and months of the program's time zone."""

    per_day: PointsLimit | None = None
    """On one day of the program's time zone."""
    per_month: PointsLimit | None = None
    """In one month."""


class ValueLimits(Part):
    """How many points of one customer commands may move."""

    redeem: CustomerLimit = CustomerLimit()
    """What the customer redeems, authorizations and rewards too."""
    transfer: CustomerLimit = CustomerLimit()
    """What goes from the customer's account to other accounts of the program."""
    convert: CustomerLimit = CustomerLimit()
    """What the customer converts to other programs."""
    credit: CustomerLimit = CustomerLimit()
    """What commands credit to the customer."""


class Conversion(Part):
    """A rate at which points become those of another program."""

    to_program: Name
    """The program whose points it gives; it must have been applied before."""
    points: PointsLimit
    """For so many points of this program ..."""
    gives: PointsLimit
    """... the customer gets so many of the other one, in its unit: cents, for one that counts EUR."""
    rounding: Rounding = Rounding.FLOOR
    """How the exact result becomes whole points of the other program."""
    points_min: PointsLimit | None = None
    """The fewest points that are converted at once."""
    points_step: PointsLimit | None = None
    """Only multiples of this are converted."""


class _Reward(Part):
    reward_id: Name
    """Names the reward for ever; commands and events refer to it."""
    name: Title
    """For people."""
    cost: PointsLimit
    """How many points it takes."""
    stock: PointsLimit | None = None
    """How often it is given, to all customers together; one that is deleted can be given again."""
    per_customer: PointsLimit | None = None
    """How often one customer gets it."""
    starts_on: LocalDate | None = None
    """It is issued from the first instant of this day on, in the program's time zone."""
    ends_on: LocalDate | None = None
    """It is issued to the last instant of this day."""
    tiers: Annotated[tuple[Name, ...], Field(max_length=100), AfterValidator(_names_once)] = ()
    """Tiers whose customers get it; all when left out."""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.starts_on is not None and self.ends_on is not None and self.ends_on < self.starts_on:
            refuse([problem(("ends_on",), "dates_order", f"is before starts_on, {self.starts_on}")])
        return self


class AmountReward(_Reward):
    """Money off an order."""

    kind: Literal["amount"]
    """The kind of reward."""
    amount: Amount
    """How much, in major units of the program's currency."""


class PercentReward(_Reward):
    """A part of an order's price off."""

    kind: Literal["percent"]
    """The kind of reward."""
    percent: Annotated[ExactDecimal, Field(gt=0, le=100)]
    """How much of the price, in percent."""


class ItemReward(_Reward):
    """An article."""

    kind: Literal["item"]
    """The kind of reward."""
    sku: Label
    """Which one."""


class UnitsReward(_Reward):
    """Pieces, hours or uses of something that is no article."""

    kind: Literal["units"]
    """The kind of reward."""
    units: PointsLimit
    """How many."""
    unit_name: Label
    """Of what, for people, such as hour of parking."""


AnyReward = AmountReward | PercentReward | ItemReward | UnitsReward
Reward = Annotated[AnyReward, Field(discriminator="kind")]


def unit_problems(unit: str, currency: str, *, has_value: bool) -> Iterator[InitErrorDetails]:
    """Problems of what a program counts, and of what that is worth."""
    if unit == currency and has_value:
        yield problem(("point_value",), "means_nothing", f"means nothing with unit {unit}, which is money itself")
    if unit.isupper() and unit != currency:
        text = (
            f"must be {currency}, the program's currency, or a word in lower case: orders and money are in one currency"
        )
        yield problem(("unit",), "unit_currency", text)


def conversion_problems(conversions: Iterable[Conversion], program_id: str) -> Iterator[InitErrorDetails]:
    """Problems of conversions that each has by itself in its program."""
    for place, conversion in enumerate(conversions):
        if conversion.to_program == program_id:
            yield problem(("conversions", place, "to_program"), "own_program", "is this program itself")


def reward_problems(rewards: Iterable[AnyReward], tier_ids: Sequence[str]) -> Iterator[InitErrorDetails]:
    """Tiers of rewards that the program has not."""
    for place, reward in enumerate(rewards):
        for n, tier_id in enumerate(reward.tiers):
            if tier_id not in tier_ids:
                yield problem(("rewards", place, "tiers", n), "unknown_tier", "is not a tier of this program")
