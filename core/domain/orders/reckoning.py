"""The whole calculation of what an order earns: rules with lines, conditions, caps and clawback modes, and promotions.

Numbers first; their explanation is put together afterwards, and only on demand.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from core.domain.orders.basket import Basket, Exact, amount_text
from core.domain.orders.facts import Order
from core.domain.orders.posted import Judgement
from core.domain.program import (
    AnyPromotion,
    ClawbackMode,
    Combine,
    CombinePromotions,
    Lines,
    Places,
    Program,
    Rounding,
    Terms,
    Unit,
)

_ZERO = Fraction(0)


class RulePoints(NamedTuple):
    """What one rule gives, and how it is worked out."""

    name: str
    points: int
    points_before_limit: int
    terms: Terms
    basket: Basket
    places: Sequence[int]  #: of the lines that it counts

    def explanation(self) -> dict[str, Any]:
        """The same for an entry."""
        terms, basket, places = self.terms, self.basket, self.places
        parts: dict[str, Any] = {**terms.explanation, "points": self.points}
        if self.points < self.points_before_limit:
            parts["points_before_limit"] = self.points_before_limit
        if not terms.lines.is_all:
            parts["lines"] = dict([basket.line_text(place) for place in places])
        if terms.unit is Unit.PIECE:
            is_one = len(places) == 1  # whose text is made already
            parts["quantity"] = basket.line_text(places[0])[1][1] if is_one else amount_text(basket.quantity_of(places))
        elif terms.unit is not Unit.ORDER:
            parts["basis_amount"] = amount_text(basket.amount_of(places))
            if terms.unit is Unit.LINE_AMOUNT:
                parts["round_per"] = "line"
        return parts


class PromotionPoints(NamedTuple):
    """What one promotion gives, and how it is worked out."""

    name: str
    points: int
    points_before_limit: int
    promotion: AnyPromotion
    base_points: int  #: what a multiplier multiplies

    def explanation(self) -> dict[str, Any]:
        """The same for an entry."""
        promotion = self.promotion
        parts: dict[str, Any] = {"promotion_id": self.name, "kind": promotion.kind, "points": self.points}
        if self.points < self.points_before_limit:
            parts["points_before_limit"] = self.points_before_limit
        if promotion.kind == "multiplier":
            parts |= {"multiplier": str(promotion.multiplier), "base_points": self.base_points}
        else:
            parts["points_added"] = promotion.points
        return parts


class Scope(NamedTuple):
    """An order, and the rules and promotions that it is for, as they were judged when it was posted."""

    tier_id: str
    judgement: Judgement
    ordered: Basket  #: before any refund
    places: Places
    terms: Sequence[Terms]
    promotions: Sequence[AnyPromotion]
    is_counted: bool  #: whether the use of any of them is


def scope_of(
    order: Order, ordered: Basket, program: Program, tier_id: str, judgement: Judgement, places: Places | None
) -> Scope:
    """Leave out the rules and promotions that the order is not for. `places`: of `program.rule_index`, if known."""
    if places is None:
        places = program.rule_index.places(order.lines)
    season = program.seasons.at(order.occurred_at)
    names = season.every_order.union(places).difference(season.over, judgement.excluded)
    terms = [terms for terms in program.terms[tier_id] if terms.rule_id in names]
    promotions = [promotion for promotion in program.promotions if promotion.promotion_id in names]
    return Scope(tier_id, judgement, ordered, places, terms, promotions, not season.counted.isdisjoint(names))


class Reckoning:
    """What is given for what is kept of an order."""

    def __init__(self, scope: Scope, kept: Basket, program: Program) -> None:
        """`kept` is `scope.ordered` where nothing was refunded."""
        self._scope, self._kept = scope, kept
        self._is_whole = kept is scope.ordered
        self._places, self._allowances = scope.places, scope.judgement.allowances
        self._is_stacked = program.combine is Combine.STACK
        self.left_over: dict[str, Fraction] = {}  #: the remainder that each rule with `carry` leaves
        self._rules = [
            given for terms in scope.terms if (given := self._points_of_rule(terms)) is not None and given.points > 0
        ]
        self._counted = self._rules
        if not self._is_stacked and self._rules:
            self._counted = [max(self._rules, key=lambda given: given.points)]  # the first of equals
        self._promotions = [
            more
            for promotion in scope.promotions
            if (more := self._points_of_promotion(promotion)) is not None and more.points > 0
        ]
        if program.combine_promotions is CombinePromotions.BEST and self._promotions:
            self._promotions = [max(self._promotions, key=lambda given: given.points)]
        #: The points by rule and promotion; those that gave something.
        self.given: Mapping[str, int] = {each.name: each.points for each in self._counted} | {
            each.name: each.points for each in self._promotions
        }

    def explanation(self) -> dict[str, Any]:
        """The calculation, rule by rule and line by line."""
        why: dict[str, Any] = {"tier": self._scope.tier_id, "basis_amount": amount_text(self._kept.amount)}
        why["rules"] = [self._explanation(each, each.terms.clawback) for each in self._counted]
        if len(self._rules) > len(self._counted):
            why["rules_not_best"] = [
                {"rule_id": each.name, "points": each.points} for each in self._rules if each is not self._counted[0]
            ]
        if self._promotions:
            why["promotions"] = [self._explanation(each, each.promotion.clawback) for each in self._promotions]
        return why

    def _explanation(self, given: RulePoints | PromotionPoints, clawback: ClawbackMode) -> dict[str, Any]:
        parts = given.explanation()
        if given.name in self.left_over:
            parts["carried_in"] = amount_text(self._carried(given.name))
            parts["left_over"] = amount_text(self.left_over[given.name])
        if not self._is_whole and clawback is not ClawbackMode.PROPORTIONAL:
            parts["clawback"] = clawback.value
        return parts

    def _carried(self, name: str) -> Fraction:
        return self._scope.judgement.carried.get(name, _ZERO)

    def _basket(self, mode: ClawbackMode) -> Basket:
        """What a rule or promotion of this clawback mode looks at."""
        if mode is ClawbackMode.NEVER or (mode is ClawbackMode.FULL_REFUND and not self._kept.is_empty):
            return self._scope.ordered
        return self._kept

    def _find(self, basket: Basket, name: str, lines: Lines) -> Sequence[int]:
        """The places of the kept lines that a rule or promotion counts."""
        return basket.find(lines, self._places.get(name))

    def _points_of_rule(self, terms: Terms) -> RulePoints | None:
        name = terms.rule_id
        basket = self._kept if self._is_whole else self._basket(terms.clawback)
        places = basket.find(terms.lines, self._places.get(name))
        if not places and not terms.carry:
            return None
        if terms.minimum_amount is not None and basket.amount_of(places) < terms.minimum_amount:
            if terms.carry:
                self.left_over[name] = self._carried(name)
            return None
        if terms.carry:
            # A remainder is below zero when a refund took back what an earlier remainder had helped to earn.
            amount = Fraction(basket.amount_of(places)) + self._carried(name)
            points, self.left_over[name] = _stepped(terms, amount)
        else:
            points = _points(terms, basket, places)
        limited = _at_most(points, terms.per_order, self._allowances.get(name))
        return RulePoints(name, limited, points, terms, basket, places)

    def _points_of_promotion(self, promotion: AnyPromotion) -> PromotionPoints | None:
        name, lines, minimum = promotion.promotion_id, promotion.lines, promotion.when.minimum_amount
        basket = self._kept if self._is_whole else self._basket(promotion.clawback)
        places = self._find(basket, name, lines)
        if not places or (minimum is not None and basket.amount_of(places) < minimum):
            return None
        base = 0
        if promotion.kind == "multiplier":
            if lines.is_all and basket is self._kept:
                base = sum(given.points for given in self._counted)
            else:
                base = self._base(basket, promotion)
            more, per = promotion.more
            points = rounded(base * more, per, promotion.rounding)
        elif self._is_whole:
            points = promotion.points
        else:
            kept, ordered = self._kept_share(promotion, basket.amount_of(places))
            points = rounded(promotion.points * kept, ordered, promotion.rounding)
        limited = _at_most(points, None, self._allowances.get(name))
        return PromotionPoints(name, limited, points, promotion, base)

    def _base(self, basket: Basket, promotion: AnyPromotion) -> int:
        """What the earning rules give for the promotion's lines alone: the best of them, or their sum."""
        scope = self._scope
        is_ordered = basket is scope.ordered
        places: set[int] | None = None
        if not promotion.lines.is_all:
            places = set(self._find(scope.ordered, promotion.promotion_id, promotion.lines))
        of_rules = [0]
        for terms in scope.terms if is_ordered else [given.terms for given in self._rules]:
            own = basket if is_ordered else self._basket(terms.clawback)
            found = self._find(own, terms.rule_id, terms.lines)
            if terms.minimum_amount is not None and own.amount_of(found) < terms.minimum_amount:
                continue
            if places is not None:
                found = [place for place in found if place in places]
            if terms.carry:
                carried = self._carried(terms.rule_id) if places is None else _ZERO
                points, _ = _stepped(terms, Fraction(own.amount_of(found)) + carried)
            else:
                points = _points(terms, own, found)
            of_rules.append(_at_most(points, terms.per_order, self._allowances.get(terms.rule_id)))
        return sum(of_rules) if self._is_stacked else max(of_rules)

    def _kept_share(self, promotion: AnyPromotion, kept: Exact) -> tuple[int, int]:
        """Which share of the amount of its lines counts as kept, as a ratio; all of it where they cost nothing."""
        if promotion.clawback is not ClawbackMode.PROPORTIONAL:
            return 1, 1
        whole = self._scope.ordered
        ordered = whole.amount_of(self._find(whole, promotion.promotion_id, promotion.lines))
        if kept == ordered:
            return 1, 1
        return (Fraction(kept) / Fraction(ordered)).as_integer_ratio()


def _stepped(terms: Terms, amount: Fraction) -> tuple[int, Fraction]:
    """Points for the whole steps of `amount`, and what is left of it; below zero there are no steps."""
    assert terms.step is not None
    steps = max(0, amount // terms.step)
    exact = Fraction(terms.numerator, terms.denominator) * steps * terms.step
    return rounded(*exact.as_integer_ratio(), terms.rounding), amount - steps * terms.step


def _points(terms: Terms, basket: Basket, places: Sequence[int]) -> int:
    """What a rule gives for these lines, before its limits."""
    if not places:
        return 0
    match terms.unit:
        case Unit.PIECE:
            return _times(basket.quantity_of(places), terms)
        case Unit.AMOUNT:
            return _times(basket.amount_of(places), terms)
        case Unit.LINE_AMOUNT:
            return sum(_times(basket.amount_of((place,)), terms) for place in places)
        case Unit.ORDER:
            return rounded(terms.numerator, terms.denominator, terms.rounding)


def _times(units: Exact, terms: Terms) -> int:
    whole = int(units)
    if whole == units:  # as pieces mostly are; the exact ratio of a Decimal takes three times as long
        if terms.denominator == 1:
            return whole * terms.numerator
        return rounded(whole * terms.numerator, terms.denominator, terms.rounding)
    numerator, denominator = units.as_integer_ratio()
    return rounded(numerator * terms.numerator, denominator * terms.denominator, terms.rounding)


def _at_most(points: int, cap: int | None, allowance: int | None) -> int:
    if cap is not None and cap < points:
        points = cap
    return points if allowance is None or points <= allowance else allowance


def rounded(numerator: int, denominator: int, rounding: Rounding) -> int:
    """An exact ratio (>= 0) as whole points."""
    whole, rest = divmod(numerator, denominator)
    if not rest:
        return whole
    match rounding:
        case Rounding.FLOOR:
            goes_up = False
        case Rounding.CEIL:
            goes_up = True
        case Rounding.HALF_UP:
            goes_up = 2 * rest >= denominator
        case Rounding.HALF_EVEN:
            goes_up = 2 * rest + whole % 2 > denominator
    return whole + goes_up
