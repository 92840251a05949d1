"""What a program says that its author can hardly have meant: it is allowed, but does nothing, or not what it seems to.

Each check is careful: it speaks only where the program as written can have no other effect.
"""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from core.domain.program import (
    AdditionPromotion,
    AnyPromotion,
    AnyRule,
    AvailabilityPolicy,
    Caps,
    CategoryRule,
    ClawbackPolicy,
    Combine,
    CombinePromotions,
    Downgrade,
    Expiry,
    ExpiryPolicy,
    ItemRule,
    KeptFeesBasis,
    Limits,
    Measure,
    MultiplierPromotion,
    Program,
    QualificationWindow,
    SpendRule,
    Steps,
    Tier,
    VisitRule,
)
from core.domain.program.matching import covers, covers_lines, never_holds
from core.messages.program_files.advised import Advice
from core.messages.program_files.value_advice import value_advice
from core.messages.yaml_source import YamlPath

_DAYS_OF_MONTH_MAX = 31
_DAYS_OF_YEAR = 366


def advise(program: Program, today: date | None = None) -> list[Advice]:
    """Say what of `program` does nothing, or not what it seems to, in the order of the file.

    With `today`, the day in the program's time zone, also what is over by then.
    """
    return [
        *_currencies(program, today),
        *_kept_fees(program),
        *_rules(program, today),
        *_promotions(program, today),
        *_tiers(program),
        *_qualification(program),
        *_points(program),
        *value_advice(program, today),
    ]


def _currencies(program: Program, today: date | None) -> Iterator[Advice]:
    for name, periods in (program.currencies or {}).items():
        last = len(periods) - 1
        ends_on = periods[last].ends_on
        if today is not None and ends_on is not None and ends_on < today:
            text = "is over: from now on orders that say no rate themselves are parked; add a period, or move the date"
            yield Advice(("currencies", name, last, "ends_on"), text)


def _kept_fees(program: Program) -> Iterator[Advice]:
    parts = (*program.earning_rules, *program.promotions)
    looks_at_money = (
        any(isinstance(part, SpendRule | AdditionPromotion) for part in parts)
        or any(part.when.minimum_amount is not None or part.lines.minimum_amount is not None for part in parts)
        or program.qualification.measure is Measure.SPEND
    )
    if program.basis.kept_fees is KeptFeesBasis.INCLUDED and not looks_at_money:
        yield Advice(
            ("basis", "kept_fees"), "changes nothing, as no rule, promotion or tier looks at money: take it out"
        )


def _rules(program: Program, today: date | None) -> Iterator[Advice]:
    for place, rule in enumerate(program.earning_rules):
        here: YamlPath = ("earning_rules", place)
        yield from _conditions(here, rule, program, today)
        caps = [(name, getattr(rule.caps, name)) for name in ("per_order", "per_day", "per_month")]
        given = [(name, cap) for name, cap in caps if cap is not None]
        for (short, less), (long, more) in pairwise(given):
            if less >= more:
                text = f"changes nothing, as {long} is {more}: make it smaller, or take it out"
                yield Advice((*here, "caps", short), text)
        if not any(_gives(rule, tier_id, program) for tier_id in _tiers_of(rule, program)):
            why = " and parts of points are rounded down" if _has_rate(rule, program) else ""
            tiers = "the tiers that it is for" if rule.when.tiers else "all tiers"
            yield Advice((*here, "points"), f"gives 0 points in {tiers}{why}: raise it, or take the rule out")
        elif better := _always_better(rule, program):
            text = (
                f"never counts, since rule {better.rule_id} gives at least as much for all its orders, and combine "
                "is best: narrow that one, raise this one, or write combine: stack"
            )
            yield Advice(here, text)


def _promotions(program: Program, today: date | None) -> Iterator[Advice]:
    for place, promotion in enumerate(program.promotions):
        here: YamlPath = ("promotions", place)
        yield from _conditions(here, promotion, program, today)
        yield from _limits(here, promotion)
        if isinstance(promotion, MultiplierPromotion) and not _multiplies(promotion, program):
            text = "multiplies nothing: no earning rule gives points to its orders; use kind addition, or take it out"
            yield Advice((*here, "multiplier"), text)
        elif other := _always_preferred(place, promotion, program):
            text = (
                f"never counts, since {other.promotion_id} holds for all its orders, and combine_promotions is "
                f"{program.combine_promotions}: narrow that one, or write combine_promotions: all"
            )
            yield Advice(here, text)


def _conditions(here: YamlPath, part: AnyRule | AnyPromotion, program: Program, today: date | None) -> Iterator[Advice]:
    """What makes conditions fail always."""
    ends_on = part.when.ends_on
    if today is not None and ends_on is not None and ends_on < today:
        what = "rule" if here[0] == "earning_rules" else "promotion"
        text = f"is over: this {what} gives nothing to orders from now on; move the date, or take the {what} out"
        yield Advice((*here, "when", "ends_on"), text)
    found = never_holds(part.when)
    if found is not None:
        yield Advice((*here, "when", *found[0]), found[1])
    first = program.tiers[0].tier_id
    is_above = bool(part.when.tiers) and first not in part.when.tiers
    if is_above and part.when.first_order and program.qualification.crossing_order == "old_tier":
        text = f"leaves out {first}, in which every first order earns: add it, or take first_order out"
        yield Advice((*here, "when", "tiers"), text)
    yield from _minimums(here, part, program)
    if set(program.basis.kinds) <= set(part.lines.exclude_kinds):
        text = "excludes every kind that earns (basis.kinds): no line is left; take one of them out"
        yield Advice((*here, "lines", "exclude_kinds"), text)
    if part.lines.skus and not part.lines.categories and part.lines.exclude_skus:
        text = "changes nothing, since only the lines in skus count anyway: take it out"
        yield Advice((*here, "lines", "exclude_skus"), text)


def _minimums(here: YamlPath, part: AnyRule | AnyPromotion, program: Program) -> Iterator[Advice]:
    """What is asked of all lines together that each must have by itself, and free pieces as they are anyway."""
    for name in ("minimum_quantity", "minimum_amount"):
        of_all, of_each = getattr(part.when, name), getattr(part.lines, name)
        if of_all is not None and of_each is not None and of_all <= of_each and not getattr(part, "carry", False):
            text = f"changes nothing, as each line that counts has at least {of_each}: make it larger, or take it out"
            yield Advice((*here, "when", name), text)
    if isinstance(part, ItemRule | CategoryRule) and part.free_pieces is program.basis.free_pieces:
        text = f"changes nothing, as free pieces are {part.free_pieces} in the whole program: take it out"
        yield Advice((*here, "free_pieces"), text)


def _limits(here: YamlPath, promotion: AnyPromotion) -> Iterator[Advice]:
    limits, at = promotion.limits, (*here, "limits")
    if promotion.when.first_order and (limits.orders_per_customer or limits.orders_per_customer_and_day):
        field = "orders_per_customer" if limits.orders_per_customer else "orders_per_customer_and_day"
        yield Advice((*at, field), "changes nothing, since a customer has one first order: take it out")
    nested = [
        (name, getattr(limits, name)) for name in ("orders_per_customer_and_day", "orders_per_customer", "orders")
    ]
    given = [(name, count) for name, count in nested if count is not None]
    for (narrow, less), (wide, more) in pairwise(given):
        if less >= more:
            yield Advice((*at, narrow), f"changes nothing, as {wide} is {more}: make it smaller, or take it out")
    budget = limits.budget_points
    if isinstance(promotion, AdditionPromotion) and budget is not None and budget < promotion.points:
        text = f"is less than the {promotion.points} points of one order: even the first gets only a part; raise it"
        yield Advice((*at, "budget_points"), text)


def _tiers(program: Program) -> Iterator[Advice]:
    if len(program.tiers) == 1:
        return
    lowest = program.tiers[0].tier_id
    additions = [
        promotion
        for promotion in program.promotions
        if isinstance(promotion, AdditionPromotion) and lowest in _tiers_of(promotion, program)
    ]
    earns = [rule for rule in program.earning_rules if lowest in _tiers_of(rule, program)]
    is_stuck = not additions and not any(_gives(rule, lowest, program) for rule in earns)
    if is_stuck and program.qualification.measure is Measure.POINTS:
        text = (
            f"cannot be reached by orders, nor can any tier above it: they earn nothing in {lowest}; give points "
            "there, or write qualification.measure: spend or orders"
        )
        yield Advice(("tiers", 1), text)
    most = _most_points(program) if program.qualification.measure is Measure.POINTS else None
    for place, (below, tier) in enumerate(pairwise(program.tiers), start=1):
        if most is not None and program.thresholds[place] > most and not is_stuck:
            text = (
                f"cannot be reached, nor can any tier above it: caps and limits leave at most {most:,} points to the "
                "orders that count together; lower it, or raise a cap"
            )
            yield Advice(("tiers", place, "threshold_points"), text)
            most = None
        if _earns_less(tier, below, program):
            text = f"earns less than {below.tier_id}, the tier below it: check the points of the rules, and multiplier"
            yield Advice(("tiers", place), text)


def _months_counted(program: Program) -> int | None:
    """How many calendar months the orders can be of that qualify together; None without a limit."""
    match program.qualification.window:
        case QualificationWindow.LIFETIME:
            return None
        case QualificationWindow.ROLLING_MONTHS:
            return (program.qualification.months or 0) + 1
        case QualificationWindow.CALENDAR_YEAR:
            return 12
        case QualificationWindow.MEMBERSHIP_YEAR:
            return 13


def _most_points(program: Program) -> int | None:
    """The most points that the orders which qualify together can earn; None where nothing limits them."""
    months = _months_counted(program)
    found = [_most_of(part, months) for part in (*program.earning_rules, *program.promotions)]
    points = [most for most in found if most is not None]
    return sum(points) if len(points) == len(found) else None


def _most_of(part: AnyRule | AnyPromotion, months: int | None) -> int | None:
    """The most points that a rule or promotion gives one customer in so many months."""
    days = None if months is None else months * _DAYS_OF_MONTH_MAX
    if isinstance(part, MultiplierPromotion):
        limits = [part.limits.budget_points]
    elif isinstance(part, AdditionPromotion):
        orders, per_day = part.limits.orders_per_customer, part.limits.orders_per_customer_and_day
        limits = [part.limits.budget_points, _times(orders, part.points), _times(_times(per_day, days), part.points)]
    else:
        limits = [_times(part.caps.per_month, months), _times(part.caps.per_day, days)]
    return min((limit for limit in limits if limit is not None), default=None)


def _times(number: int | None, times: int | None) -> int | None:
    return None if number is None or times is None else number * times


def _earns_less(tier: Tier, below: Tier, program: Program) -> bool:
    """Whether no rule gives more in `tier` than in the one below, and one gives less."""
    parts: list[AnyRule | AnyPromotion] = [*program.earning_rules, *program.promotions]
    tiers = [_tiers_of(part, program) for part in parts]
    if any(tier.tier_id in those and below.tier_id not in those for those in tiers):
        return False
    rates = [
        (rule.rate(below.tier_id) * below.multiplier, rule.rate(tier.tier_id) * tier.multiplier)
        for rule in program.earning_rules
        if tier.tier_id in _tiers_of(rule, program)
    ]
    return all(more <= less for less, more in rates) and any(more < less for less, more in rates)


def _qualification(program: Program) -> Iterator[Advice]:
    qualification = program.qualification
    here = "qualification"
    is_lifetime = qualification.window is QualificationWindow.LIFETIME
    if is_lifetime:
        text = (
            "matters only to tiers that are held by hand, as with window lifetime no other is ever reviewed: take it "
            "out, or choose another window"
        )
        if qualification.warning_days is not None:
            yield Advice((here, "warning_days"), text)
        if qualification.grace_days:
            yield Advice((here, "grace_days"), text)
        if qualification.downgrade is not Downgrade.TO_FIT:
            yield Advice((here, "downgrade"), text)
        return
    if qualification.warning_days is not None:
        if qualification.downgrade is Downgrade.NEVER:
            yield Advice((here, "warning_days"), "warns of nothing, as downgrade is never: take it out")
        elif qualification.warning_days >= _DAYS_OF_YEAR:
            text = "is longer than a period: customers are warned from its first day on; make it smaller"
            yield Advice((here, "warning_days"), text)
    if qualification.grace_days >= _DAYS_OF_YEAR:
        yield Advice(
            (here, "grace_days"), "is longer than a year, so that reviews overtake each other; make it smaller"
        )


def _points(program: Program) -> Iterator[Advice]:
    """What availability, clawback, expiry and reminders do to each other."""
    if program.clawback.policy is ClawbackPolicy.PENDING_ONLY and (
        program.availability.policy is AvailabilityPolicy.AT_ONCE
    ):
        text = (
            "takes nothing back ever, since points are available at once: hold them (availability), or choose "
            "allow_negative or clamp"
        )
        yield Advice(("clawback", "policy"), text)
    lives = [_days_good(expiry) for expiry in program.expiries.values()]
    longest = max((days for days in lives if days is not None), default=None)
    for place, days in enumerate(program.reminders.days_ahead):
        if longest is None:
            yield Advice(
                ("reminders", "days_ahead"), "tells nobody anything, as no points expire: take it out, or set expiry"
            )
            return
        if days >= longest:
            text = f"is as long as points are good at all, which is {longest} days at most: make it smaller"
            yield Advice(("reminders", "days_ahead", place), text)


def _days_good(expiry: Expiry) -> int | None:
    """How many days points are good at most; None = without end."""
    match expiry.policy:
        case ExpiryPolicy.NEVER:
            return None
        case ExpiryPolicy.FIXED_DAY:
            return _DAYS_OF_YEAR + (expiry.months or 0) * _DAYS_OF_MONTH_MAX
        case _ if expiry.days is not None:
            return expiry.days
        case _:
            rest = 0 if expiry.end_of is None else _DAYS_OF_YEAR
            return (expiry.months or 0) * _DAYS_OF_MONTH_MAX + rest


def _tiers_of(part: AnyRule | AnyPromotion, program: Program) -> tuple[str, ...]:
    return part.when.tiers or tuple(tier.tier_id for tier in program.tiers)


def _has_rate(rule: AnyRule, program: Program) -> bool:
    return any(rule.rate(tier_id) for tier_id in _tiers_of(rule, program))


def _gives(rule: AnyRule, tier_id: str, program: Program) -> bool:
    """Whether the rule can give points in that tier; what it gives for a visit is rounded down."""
    tier = program.tier(tier_id)
    assert tier is not None
    rate = rule.rate(tier_id) * tier.multiplier
    return rate >= 1 if isinstance(rule, VisitRule) else rate > 0


def _always_better(rule: AnyRule, program: Program) -> AnyRule | None:
    """The rule that gives at least as much whenever this one gives anything, and so always is the best."""
    if program.combine is not Combine.BEST:
        return None
    place = program.earning_rules.index(rule)
    for other_place, other in enumerate(program.earning_rules):
        if other is rule or not _is_as_good(other, rule, program):
            continue
        if other_place < place or not _is_as_good(rule, other, program):
            return other
    return None


def _is_as_good(other: AnyRule, rule: AnyRule, program: Program) -> bool:
    is_alike = (
        other.kind == rule.kind
        and other.caps == Caps()
        and other.clawback is rule.clawback
        and getattr(other, "rounding", None) == getattr(rule, "rounding", None)
        and getattr(other, "round_per", None) == getattr(rule, "round_per", None)
        and (other.rule_id not in program.paid_only or rule.rule_id in program.paid_only)
        and _has_as_good_steps(other, rule)
    )
    return (
        is_alike
        and covers(other.when, rule.when)
        and covers_lines(other.lines, rule.lines)
        and all(_per_unit(other, tier_id) >= _per_unit(rule, tier_id) for tier_id in _tiers_of(rule, program))
    )


def _has_as_good_steps(other: AnyRule, rule: AnyRule) -> bool:
    """Whether `other` gives as much for what is beyond whole steps, as far as that is for the steps to say."""
    if not isinstance(other, SpendRule) or other.steps is Steps.PARTS:
        return True
    return isinstance(rule, SpendRule) and rule.steps is Steps.WHOLE and rule.per_amount == other.per_amount


def _per_unit(rule: AnyRule, tier_id: str) -> Fraction:
    per = rule.per_amount if isinstance(rule, SpendRule) else Decimal(1)
    return Fraction(rule.rate(tier_id)) / Fraction(per)


def _multiplies(promotion: AnyPromotion, program: Program) -> bool:
    return any(
        _gives(rule, tier_id, program)
        for rule in program.earning_rules
        for tier_id in _tiers_of(rule, program)
        if tier_id in _tiers_of(promotion, program)
    )


def _always_preferred(place: int, promotion: AnyPromotion, program: Program) -> AnyPromotion | None:
    """The promotion that is taken instead of this one for every order that both are for."""
    for other_place, other in enumerate(program.promotions):
        if (
            other is promotion
            or other.limits != Limits()
            or not covers(other.when, promotion.when)
            or not covers_lines(other.lines, promotion.lines)
        ):
            continue
        match program.combine_promotions:
            case CombinePromotions.NEWEST:
                # The newest of those that give something: an addition always does, a multiplier if the other does.
                if other_place > place and (isinstance(other, AdditionPromotion) or _gives_more(other, promotion)):
                    return other
            case CombinePromotions.BEST:
                is_more = _gives_more(other, promotion)
                if is_more and (other_place < place or not _gives_more(promotion, other)):
                    return other
            case CombinePromotions.ALL:
                return None
    return None


def _gives_more(other: AnyPromotion, promotion: AnyPromotion) -> bool:
    """Whether `other` gives at least as much, refunds or not."""
    if other.rounding is not promotion.rounding or other.clawback is not promotion.clawback:
        return False
    if isinstance(other, AdditionPromotion) and isinstance(promotion, AdditionPromotion):
        return other.points >= promotion.points and other.lines == promotion.lines
    if isinstance(other, MultiplierPromotion) and isinstance(promotion, MultiplierPromotion):
        return other.multiplier >= promotion.multiplier
    return False
