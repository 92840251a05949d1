"""A program: how orders earn points, which tiers there are, and what refunds and time do to points.

Program files (YAML) and the documents that the database keeps are these models; `core.messages.program_files` reads
and writes them and words the problems for a person. Everything is frozen: a changed program is a new one.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, StrictBool, StrictInt, StringConstraints, field_validator, model_validator
from pydantic_core import InitErrorDetails

from core.domain.program.basis import Basis, KeptFeesBasis, PointsPaidBasis, TaxBasis
from core.domain.program.conditions import Circumstances, Hours, LineConditions, Lines, Weekday, When
from core.domain.program.currencies import Currencies, RatePeriod, currency_problems, rate_on
from core.domain.program.earning_rules import (
    ANY_TIER,
    AnyRule,
    Caps,
    CategoryRule,
    Combine,
    EarningRule,
    ItemRule,
    RoundPer,
    SpendRule,
    Steps,
    Terms,
    Unit,
    VisitRule,
    rate_problems,
    terms_of,
)
from core.domain.program.expiry import (
    Availability,
    AvailabilityPolicy,
    EndOf,
    Expiry,
    ExpiryPolicy,
    Reminders,
    month_and_day,
)
from core.domain.program.fields import (
    DAYS_MAX,
    ClawbackMode,
    ExchangeRate,
    FreePieces,
    Labels,
    Name,
    Part,
    Rounding,
    Source,
    TimeZone,
    Title,
    problem,
    refuse,
    repeated,
)
from core.domain.program.minimums import Minimum, minimums_of, paid_only_of
from core.domain.program.promotions import (
    AdditionPromotion,
    AnyPromotion,
    CombinePromotions,
    Limits,
    MultiplierPromotion,
    Promotion,
)
from core.domain.program.rule_index import Places, RuleIndex, index_rules
from core.domain.program.seasons import EVER, PromotionLimit, Seasons, UsageKey
from core.domain.program.tiers import (
    BASE_TIER,
    SPEND_UNITS,
    CountedOrders,
    CrossingOrder,
    Downgrade,
    Measure,
    Qualification,
    QualificationWindow,
    RefundEffect,
    Tier,
    threshold_problems,
)
from core.domain.program.value import (
    CONVERSIONS_MAX,
    POINTS_UNIT,
    REWARDS_MAX,
    Access,
    AmountReward,
    AnyReward,
    Clawback,
    ClawbackPolicy,
    Conversion,
    CustomerLimit,
    Enrol,
    ItemReward,
    Metadata,
    PercentReward,
    ReasonNames,
    Reward,
    UnitsReward,
    ValueLimits,
    ValueUnit,
    conversion_problems,
    reward_problems,
    unit_problems,
)

__all__ = [
    "ANY_TIER",
    "BASE_TIER",
    "EVER",
    "POINTS_UNIT",
    "SPEND_UNITS",
    "Access",
    "AdditionPromotion",
    "AmountReward",
    "AnyPromotion",
    "AnyReward",
    "AnyRule",
    "Availability",
    "AvailabilityPolicy",
    "Basis",
    "Caps",
    "CategoryRule",
    "Circumstances",
    "Clawback",
    "ClawbackMode",
    "ClawbackPolicy",
    "Combine",
    "CombinePromotions",
    "Conversion",
    "CountedOrders",
    "CrossingOrder",
    "CustomerLimit",
    "Downgrade",
    "EndOf",
    "Enrol",
    "Expiry",
    "ExpiryPolicy",
    "FreePieces",
    "Hours",
    "ItemReward",
    "ItemRule",
    "KeptFeesBasis",
    "Limits",
    "LineConditions",
    "Lines",
    "Measure",
    "Minimum",
    "MultiplierPromotion",
    "PercentReward",
    "Places",
    "PointsPaidBasis",
    "Program",
    "PromotionLimit",
    "Qualification",
    "QualificationWindow",
    "RatePeriod",
    "RefundEffect",
    "RoundPer",
    "Rounding",
    "SpendRule",
    "Steps",
    "TaxBasis",
    "Terms",
    "Tier",
    "Unit",
    "UnitsReward",
    "UsageKey",
    "ValueLimits",
    "VisitRule",
    "Weekday",
    "When",
    "month_and_day",
]


class Program(Part):
    """One loyalty program."""

    program_id: Name
    """Names the program for ever, in orders, events and reports."""
    name: Title
    """For people."""
    active: StrictBool = True
    """false: its orders earn nothing, and commands are rejected; refunds, expiry and what undoes a command go on."""
    tags: Labels = ()
    """Words to find programs by."""
    metadata: Metadata | None = None
    """Whatever else is kept with the program, by names of your own; nothing here looks at it."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    """ISO 4217 code of rates, minimums and thresholds. Orders in another currency need a rate: see currencies."""
    unit: ValueUnit = POINTS_UNIT
    """What it counts: points, under a name of its own if it has one, such as megabucks; or its currency's ISO 4217 code
    for money, which is counted in the smallest units, such as cents. For ever: accounts hold it."""
    currencies: Currencies | None = None
    """What other currencies are worth in the program's, each with a rate for all time or one for each period. The rate
    in an order's message goes before these."""
    time_zone: TimeZone
    """IANA name; days, months and years of this program begin at its midnights."""
    default: StrictBool = False
    """Whether it takes the orders that name no program and whose source no program lists."""
    sources: tuple[Source, ...] = ()
    """Message sources whose orders belong here when they name no program."""
    enrol: Enrol = Enrol.FIRST_ACTIVITY
    """What opens a customer's account: first_activity, whatever first comes of the customer; command, the command
    account.create alone. Orders of who has no account are then recorded as guests' orders are, and earn nothing."""
    one_account_per_customer: StrictBool = True
    """Whether a customer who has an account gets no second one by account.create."""
    access: Access = Access.MEMBERS
    """Who may spend an account's points: members, its owner and those whose role lets them; owner, its owner alone.
    It counts where a command says which customer asks for it."""
    basis: Basis = Basis()
    """Which part of an order earns."""
    combine: Combine = Combine.BEST
    """What several rules give together."""
    earning_rules: Annotated[tuple[EarningRule, ...], Field(max_length=100)] = ()
    """What orders earn; the kind says which fields a rule has. None, where points are only credited by command: orders
    then earn what promotions add."""
    combine_promotions: CombinePromotions = CombinePromotions.ALL
    """What several promotions give that hold for one order: all, the best one, or the newest (the last in the file)."""
    promotions: Annotated[tuple[Promotion, ...], Field(max_length=100)] = ()
    """What orders get beside what the rules give."""
    counted_orders: CountedOrders = CountedOrders.EARNING
    """Which orders count as the customer's first one, and as activity: earning, those that cost something and earn
    points; paid, those that cost something; all, those of 0.00 too."""
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1, max_length=100)] = (BASE_TIER,)
    """In ascending order of their thresholds; the first has 0, so everybody has a tier. Left out: one, named base."""
    qualification: Qualification = Qualification()
    """What qualifies for a tier, and when it is lost."""
    availability: Availability = Availability()
    """When an order's points can be spent."""
    clawback: Clawback = Clawback()
    """What refunds do to spent points."""
    expiry: Expiry = Expiry()
    """When points expire."""
    reminders: Reminders = Reminders()
    """When customers are reminded of points that are about to expire."""
    returned_points_grace_days: Annotated[StrictInt, Field(ge=0, le=DAYS_MAX)] = 0
    """How many days points are good at least that come back by a void, a reversal or a deleted reward; 0: they keep the
    end that they had, and expire at once if it has passed."""
    adjustment_reasons: ReasonNames = ()
    """The reasons that the command adjust may give; none listed: any text."""
    point_value: ExchangeRate | None = None
    """What a point is worth to the books, in major units of the currency, with at most 12 decimal places: reports tell
    what is owed by it. Left out: they tell points alone. Money needs none."""
    limits: ValueLimits = ValueLimits()
    """How many points of one customer commands may move."""
    conversions: Annotated[tuple[Conversion, ...], Field(max_length=CONVERSIONS_MAX)] = ()
    """The programs to which points may be converted, each with its rate."""
    rewards: Annotated[tuple[Reward, ...], Field(max_length=REWARDS_MAX)] = ()
    """What points buy: the catalogue of the commands reward.issue, reward.redeem and reward.delete."""

    @cached_property
    def zone(self) -> ZoneInfo:
        """The program's time zone."""
        return ZoneInfo(self.time_zone)

    def rate_on(self, currency: str, occurred_at: datetime) -> Decimal | None:
        """What a unit of another currency was worth on the day of an instant, as the file says; None: it does not."""
        periods = (self.currencies or {}).get(currency)
        return None if periods is None else rate_on(periods, occurred_at.astimezone(self.zone).date())

    @cached_property
    def is_money(self) -> bool:
        """Whether its points are money, in the smallest units of its currency."""
        return self.unit == self.currency

    @cached_property
    def is_plain(self) -> bool:
        """Whether an order's points are nothing but rates on its amount, so that they can be worked out at once."""
        return not self.promotions and all(isinstance(r, SpendRule) and r.is_plain for r in self.earning_rules)

    @cached_property
    def has_limits(self) -> bool:
        """Whether what an order earns depends on what the customer's, or all customers', other orders have earned."""
        rules = any(rule.limited_per or rule.carry for rule in self.earning_rules)
        return rules or any(promotion.limited_per or promotion.has_budget for promotion in self.promotions)

    @cached_property
    def asks_for_first_order(self) -> bool:
        """Whether what an order earns depends on whether it is the customer's first."""
        return any(part.when.first_order is not None for part in (*self.earning_rules, *self.promotions))

    @cached_property
    def has_inactivity(self) -> bool:
        """Whether an order lets points that are there already expire later."""
        return any(expiry.policy is ExpiryPolicy.INACTIVITY for expiry in self.expiries.values())

    @cached_property
    def budgeted(self) -> tuple[str, ...]:
        """The promotions that have a limit for all customers together."""
        return tuple(promotion.promotion_id for promotion in self.promotions if promotion.has_budget)

    @cached_property
    def terms(self) -> dict[str, tuple[Terms, ...]]:
        """What each rule gives, by tier_id; worked out once, since every order asks."""
        return {
            tier.tier_id: tuple(terms_of(rule, tier.tier_id, tier.multiplier) for rule in self.earning_rules)
            for tier in self.tiers
        }

    @cached_property
    def minimums(self) -> dict[str, Minimum]:
        """What of their lines together must be kept, by the names of those rules and promotions that ask for it."""
        return minimums_of((*self.earning_rules, *self.promotions), self.basis.free_pieces)

    @cached_property
    def paid_only(self) -> frozenset[str]:
        """The rules and promotions that count pieces line by line, and none that cost nothing."""
        return paid_only_of((*self.earning_rules, *self.promotions), self.basis.free_pieces)

    @cached_property
    def rule_index(self) -> RuleIndex:
        """Which rules and promotions look for which lines."""
        # What a rule has carried on may be a whole step, after a refund, and then counts with any order.
        parts = [(rule.rule_id, Lines() if rule.carry else rule.lines) for rule in self.earning_rules]
        return index_rules([*parts, *((promotion.promotion_id, promotion.lines) for promotion in self.promotions)])

    @cached_property
    def seasons(self) -> Seasons:
        """What of it is for the orders of each day."""
        return Seasons(self.zone, self.earning_rules, self.promotions, self.rule_index.every_order)

    @cached_property
    def expiries(self) -> dict[str, Expiry]:
        """The expiry of points by what earned them: '' for all rules and promotions without one of their own."""
        own: dict[str, Expiry] = {"": self.expiry}
        own |= {rule.rule_id: rule.expiry for rule in self.earning_rules if rule.expiry is not None}
        return own | {p.promotion_id: p.expiry for p in self.promotions if p.expiry is not None}

    @cached_property
    def thresholds(self) -> tuple[int, ...]:
        """The tiers' thresholds, in units of the qualification's measure."""
        return tuple(tier.threshold(self.qualification.measure) for tier in self.tiers)

    @cached_property
    def _ranks(self) -> dict[str, int]:
        return {tier.tier_id: place for place, tier in enumerate(self.tiers)}

    def tier(self, tier_id: str) -> Tier | None:
        """Find the tier of that id; None when the program has none such (an old order may name a dropped tier)."""
        place = self._ranks.get(tier_id)
        return None if place is None else self.tiers[place]

    def tier_for(self, qualifying_units: int) -> Tier:
        """Find the highest tier that `qualifying_units` reach; the first one for anything below zero."""
        reached = self.tiers[0]
        for tier, threshold in zip(self.tiers[1:], self.thresholds[1:], strict=True):
            if threshold > qualifying_units:
                break
            reached = tier
        return reached

    def rank(self, tier_id: str) -> int:
        """Count the tiers below it: 0 for the lowest. KeyError when the program has no such tier."""
        return self._ranks[tier_id]

    @cached_property
    def steps_per_line(self) -> int:
        """How often each line of an order is looked at, at most: by rules, by promotions, and by one for the other."""
        rules, promotions = len(self.earning_rules), len(self.promotions)
        both = rules * sum(each.kind == "multiplier" and not each.lines.is_all for each in self.promotions)
        once = rules + promotions + both
        # What is asked of each line by itself is asked once more, of a promotion's lines for each rule.
        asked = [each.lines.asks_kept for each in (*self.earning_rules, *self.promotions)]
        once += sum(asked[:rules]) * (1 + promotions) + sum(asked[rules:]) * (1 + rules)
        # To find the newest promotion that gives something, each is tried.
        return once * (1 + promotions) if self.combine_promotions is CombinePromotions.NEWEST else once

    @field_validator("sources")
    @classmethod
    def _sources_once(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        refuse(repeated(sources, key=None))
        return sources

    @field_validator("earning_rules")
    @classmethod
    def _rules_once(cls, rules: tuple[AnyRule, ...]) -> tuple[AnyRule, ...]:
        refuse(repeated([rule.rule_id for rule in rules], key="rule_id"))
        return rules

    @field_validator("promotions")
    @classmethod
    def _promotions_once(cls, promotions: tuple[AnyPromotion, ...]) -> tuple[AnyPromotion, ...]:
        refuse(repeated([promotion.promotion_id for promotion in promotions], key="promotion_id"))
        return promotions

    @field_validator("conversions")
    @classmethod
    def _conversions_once(cls, conversions: tuple[Conversion, ...]) -> tuple[Conversion, ...]:
        refuse(repeated([conversion.to_program for conversion in conversions], key="to_program"))
        return conversions

    @field_validator("rewards")
    @classmethod
    def _rewards_once(cls, rewards: tuple[AnyReward, ...]) -> tuple[AnyReward, ...]:
        refuse(repeated([reward.reward_id for reward in rewards], key="reward_id"))
        return rewards

    @field_validator("tiers")
    @classmethod
    def _tiers_once(cls, tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
        refuse(repeated([tier.tier_id for tier in tiers], key="tier_id"))
        return tiers

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        are_written = "tiers" in self.model_fields_set
        problems = [*threshold_problems(self.tiers, self.qualification, are_written=are_written)]
        problems += rate_problems(self.earning_rules, [tier.tier_id for tier in self.tiers])
        problems += self._name_problems()
        problems += [*self._carry_problems(), *currency_problems(self.currencies or {}, self.currency)]
        problems += unit_problems(self.unit, self.currency, has_value=self.point_value is not None)
        problems += conversion_problems(self.conversions, self.program_id)
        problems += reward_problems(self.rewards, [tier.tier_id for tier in self.tiers])
        refuse(problems)
        return self

    def _name_problems(self) -> Iterator[InitErrorDetails]:
        """Rules and promotions share their names in the ledger; conditions name tiers that there are."""
        rule_ids = {rule.rule_id for rule in self.earning_rules}
        tier_ids = {tier.tier_id for tier in self.tiers}
        for place, promotion in enumerate(self.promotions):
            if promotion.promotion_id in rule_ids:
                where = ("promotions", place, "promotion_id")
                yield problem(where, "repeated", "is the name of an earning rule too; entries tell them apart by name")
        for field, parts in (("earning_rules", self.earning_rules), ("promotions", self.promotions)):
            for place, part in enumerate(parts):
                for n, tier_id in enumerate(part.when.tiers):
                    if tier_id not in tier_ids:
                        at = (field, place, "when", "tiers", n)
                        yield problem(at, "unknown_tier", "is not a tier of this program")

    def _carry_problems(self) -> Iterator[InitErrorDetails]:
        for place, rule in enumerate(self.earning_rules):
            if (
                isinstance(rule, SpendRule)
                and rule.carry
                and self.combine is Combine.BEST
                and len(self.earning_rules) > 1
            ):
                text = "cannot be together with other rules and combine: best, where its remainder may lose"
                yield problem(("earning_rules", place, "carry"), "carry_with", text)
