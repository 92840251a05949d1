"""The whole calculation of what an order earns: rules with lines, conditions, caps and clawback modes, and promotions.

Numbers first; their explanation is put together afterwards, and only on demand.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any, Literal, NamedTuple

from core.domain.orders.basket import Basket
from core.domain.orders.facts import Order
from core.domain.orders.goods import Selection
from core.domain.orders.posted import Judgement
from core.domain.orders.units import (
    UNITS,
    UNITS_PER_MILLIONTH,
    amount_text,
    nearest,
    number_of,
    to_millionth,
    units_of,
)
from core.domain.program import (
    AnyPromotion,
    ClawbackMode,
    Combine,
    CombinePromotions,
    Lines,
    Minimum,
    Places,
    Program,
    Rounding,
    Terms,
    Unit,
)

#: So many lines an explanation names, of all rules together; an entry of each of an order's refunds has one.
_LINES_EXPLAINED_MAX = 200
_NOTHING = Decimal(0)
_MILLIONTHS = UNITS // UNITS_PER_MILLIONTH


class RulePoints(NamedTuple):
    """What one rule gives, and how it is worked out."""

    name: str
    points: int
    points_before_limit: int
    terms: Terms
    basket: Basket
    selection: Selection  #: the lines that it counts

    def explanation(self, lines_max: int) -> dict[str, Any]:
        """The same for an entry, with so many lines at most, and how many there are if that is more."""
        terms, basket, selection = self.terms, self.basket, self.selection
        parts: dict[str, Any] = {**terms.explanation, "points": self.points}
        if self.points < self.points_before_limit:
            parts["points_before_limit"] = self.points_before_limit
        if not terms.lines.is_all:
            parts["lines"] = dict([basket.line_text(place) for place in islice(basket.places_of(selection), lines_max)])
            if basket.lines_count(selection) > lines_max:
                parts["lines_count"] = basket.lines_count(selection)
        if terms.unit is Unit.PIECE:
            parts["quantity"] = amount_text(basket.quantity_of(selection))
        elif terms.unit is not Unit.ORDER:
            parts["basis_amount"] = amount_text(basket.amount_of(selection))
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
        self._scope, self._kept, self._program = scope, kept, program
        self._ordered = kept.as_ordered(scope.ordered)
        self._is_whole = kept.is_whole
        self._places, self._allowances = scope.places, scope.judgement.allowances
        self._minimums, self._paid_only = program.minimums, program.paid_only
        self._is_stacked = program.combine is Combine.STACK
        self.left_over: dict[str, Decimal] = {}  #: the remainder that each rule with `carry` leaves
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
        why = beginning(self._scope.tier_id, self._kept, self._program)
        lines_max = _LINES_EXPLAINED_MAX // max(1, len(self._counted))
        why["rules"] = [
            self._explained(each.name, each.explanation(lines_max), each.terms.clawback) for each in self._counted
        ]
        if len(self._rules) > len(self._counted):
            why["rules_not_best"] = [
                {"rule_id": each.name, "points": each.points} for each in self._rules if each is not self._counted[0]
            ]
        if self._promotions:
            why["promotions"] = [
                self._explained(each.name, each.explanation(), each.promotion.clawback) for each in self._promotions
            ]
        return why

    def _explained(self, name: str, parts: dict[str, Any], clawback: ClawbackMode) -> dict[str, Any]:
        if name in self.left_over:
            parts["carried_in"] = amount_text(self._carried(name))
            parts["left_over"] = amount_text(units_of(self.left_over[name]))
        if not self._is_whole and clawback is not ClawbackMode.PROPORTIONAL:
            parts["clawback"] = clawback.value
        return parts

    def _carried(self, name: str) -> int:
        return units_of(self._scope.judgement.carried.get(name, _NOTHING))

    def _basket(self, mode: ClawbackMode) -> Basket:
        """What a rule or promotion of this clawback mode looks at."""
        if mode is ClawbackMode.NEVER or (mode is ClawbackMode.FULL_REFUND and not self._kept.is_empty):
            return self._ordered
        return self._kept

    def _select(self, name: str, lines: Lines) -> Selection:
        return self._kept.goods.select(name, lines, self._places.get(name), is_paid_only=name in self._paid_only)

    def _is_too_little(self, name: str, basket: Basket, selection: Selection) -> bool:
        minimum = self._minimums.get(name)
        return minimum is not None and shortage(name, basket, selection, minimum) is not None

    def _points_of_rule(self, terms: Terms) -> RulePoints | None:
        name = terms.rule_id
        basket = self._kept if self._is_whole else self._basket(terms.clawback)
        selection = self._select(name, terms.lines)
        if not (terms.carry or basket.lines_count(selection)):
            return None
        if self._is_too_little(name, basket, selection):
            if terms.carry:
                self.left_over[name] = self._scope.judgement.carried.get(name, _NOTHING)
            return None
        if terms.carry:
            # A remainder is below zero when a refund took back what an earlier remainder had helped to earn.
            points, left_over = _stepped(terms, basket.amount_of(selection) + self._carried(name))
            self.left_over[name] = number_of(left_over)
        else:
            points = _points(terms, basket, selection, name)
        limited = _at_most(points, terms.per_order, self._allowances.get(name))
        return RulePoints(name, limited, points, terms, basket, selection)

    def _points_of_promotion(self, promotion: AnyPromotion) -> PromotionPoints | None:
        name, lines = promotion.promotion_id, promotion.lines
        basket = self._kept if self._is_whole else self._basket(promotion.clawback)
        selection = self._select(name, lines)
        if not basket.lines_count(selection) or self._is_too_little(name, basket, selection):
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
        elif promotion.clawback is not ClawbackMode.PROPORTIONAL and not basket.goods_count(selection):
            return None
        else:
            kept, ordered = self._kept_share(promotion, basket.amount_of(selection))
            points = _rounded_once(promotion.points * kept, ordered, promotion.rounding)
        limited = _at_most(points, None, self._allowances.get(name))
        return PromotionPoints(name, limited, points, promotion, base)

    def _base(self, basket: Basket, promotion: AnyPromotion) -> int:
        """What the earning rules give for the promotion's lines alone: the best of them, or their sum."""
        scope = self._scope
        is_ordered = basket is self._ordered
        own_lines = None if promotion.lines.is_all else self._select(promotion.promotion_id, promotion.lines)
        of_rules = [0]
        for terms in scope.terms if is_ordered else [given.terms for given in self._rules]:
            name = terms.rule_id
            own = basket if is_ordered else self._basket(terms.clawback)
            selection = self._select(name, terms.lines)
            if self._is_too_little(name, own, selection):
                continue
            if own_lines is not None:
                name = f"{name} {promotion.promotion_id}"
                selection = own.goods.both(name, selection, own_lines)
            if terms.carry:
                carried = self._carried(terms.rule_id) if own_lines is None else 0
                points, _ = _stepped(terms, own.amount_of(selection) + carried)
            else:
                points = _points(terms, own, selection, name)
            of_rules.append(_at_most(points, terms.per_order, self._allowances.get(terms.rule_id)))
        return sum(of_rules) if self._is_stacked else max(of_rules)

    def _kept_share(self, promotion: AnyPromotion, kept: int) -> tuple[int, int]:
        """Which share of the amount of its lines counts as kept, as a ratio; all of it where they cost nothing."""
        if promotion.clawback is not ClawbackMode.PROPORTIONAL:
            return 1, 1
        ordered = self._ordered.amount_of(self._select(promotion.promotion_id, promotion.lines))
        return (1, 1) if kept >= ordered or ordered <= 0 else (max(0, kept), ordered)


def beginning(tier_id: str, kept: Basket, program: Program) -> dict[str, Any]:
    """What every explanation begins with: the tier, and what earns, which may have been in another currency."""
    why: dict[str, Any] = {"tier": tier_id, "basis_amount": amount_text(kept.amount)}
    converted = kept.converted
    if converted is not None:
        why["converted"] = {**converted, "into": program.currency}
    return why


class Shortage(NamedTuple):
    """How much there is, in units, of what a condition asks more, or other, of these lines."""

    had: int
    of: Literal["amount", "quantity", "price"]


def shortage(name: str, basket: Basket, selection: Selection, minimum: Minimum) -> Shortage | None:
    """What there is of these lines, which are of the rule or promotion of that name; None if that is enough."""
    if minimum.amount is not None:
        amount = basket.amount_of(selection)
        if to_millionth(amount) < units_of(minimum.amount):
            return Shortage(amount, "amount")
    goods, least, most = basket.goods, minimum.price, minimum.price_at_most
    counted = goods.paid(name, selection) if minimum.is_paid_only else selection
    if minimum.quantity is not None:
        quantity = basket.quantity_of(counted)
        if to_millionth(quantity) < units_of(minimum.quantity):
            return Shortage(quantity, "quantity")
    if (least is not None or most is not None) and not goods.has_average_price(
        counted.places, least, most, basket.called_off
    ):
        return Shortage(goods.average_price(counted.places, basket.called_off), "price")
    return None


def _stepped(terms: Terms, amount: int) -> tuple[int, int]:
    """Points for the whole steps of `amount`, in units, and what is left of it; below zero there are no steps."""
    assert terms.step is not None
    step = units_of(terms.step)
    steps = max(0, to_millionth(amount) // step)
    return points_for(steps * step, terms), amount - steps * step


def _points(terms: Terms, basket: Basket, selection: Selection, name: str) -> int:
    """What a rule gives for these lines, before its limits; `name` stands for the rule and the lines."""
    if not basket.lines_count(selection):
        return 0
    match terms.unit:
        case Unit.PIECE:
            return points_for(max(0, basket.quantity_of(selection)), terms)
        case Unit.AMOUNT:
            return _points_of_amount(max(0, basket.amount_of(selection)), terms)
        case Unit.LINE_AMOUNT:
            return max(0, basket.points_by_line(name, selection, partial(_points_of_line, terms=terms)))
        case Unit.ORDER:
            if not basket.goods_count(selection):
                return 0
            return rounded(terms.numerator, terms.denominator, terms.rounding)


def _points_of_line(amount: int, terms: Terms) -> int:
    """Below zero for what was given back in exchange."""
    return -_points_of_amount(-amount, terms) if amount < 0 else _points_of_amount(amount, terms)


def _points_of_amount(amount: int, terms: Terms) -> int:
    return _stepped(terms, amount)[0] if terms.has_whole_steps else points_for(amount, terms)


def points_for(units: int, terms: Terms) -> int:
    """What a rule gives for an amount or a quantity in units: taken to the millionth of a point, then rounded once."""
    return _rounded_once(units * terms.numerator, terms.denominator * UNITS, terms.rounding)


def _rounded_once(numerator: int, denominator: int, rounding: Rounding) -> int:
    """A ratio, of which shares may be rounded to a trillionth, as whole points."""
    return rounded(nearest(numerator * _MILLIONTHS, denominator), _MILLIONTHS, rounding)


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
