"""What an order has earned: a function of the order, all refunds known for it, and what was frozen with it.

The ledger posts the difference between this and what it holds, so that repeats, splits and arrival order of refunds
cannot matter: n partial refunds end where one big refund ends, and where buying only the kept goods would have.

All arithmetic is exact; only rounding a rule's result leaves it. More refunds never mean more points.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

from core.domain.basket import Basket, Exact, Selection, amount_text
from core.domain.ledger import Frozen, Qualifying
from core.domain.orders import Order, Refund
from core.domain.program import (
    SPEND_UNITS,
    AnyPromotion,
    AnyRule,
    ClawbackMode,
    Combine,
    CombinePromotions,
    Lines,
    MultiplierPromotion,
    Places,
    Program,
    Rounding,
    RoundPer,
    SpendRule,
    Terms,
    VisitRule,
)

_NO_REMAINDERS: Mapping[str, Fraction] = MappingProxyType({})
_ZERO = Fraction(0)


class Grant(NamedTuple):
    """Points of one order that end together."""

    earned_by: str  #: the rule or promotion whose own expiry they have; '' = the program's
    points: int


class Entitlement(NamedTuple):
    """Points, and the calculation that led to them."""

    points: int
    why: dict[str, Any]
    grants: tuple[Grant, ...]  #: the same points by when they end; none without points
    given: Mapping[str, int]  #: the same points by rule and promotion; those that gave something
    qualifying: Qualifying
    left_over: Mapping[str, Fraction] = _NO_REMAINDERS  #: the remainder that a rule with `carry` leaves, if it applied


class _Given(NamedTuple):
    """What one rule or promotion gives, and how."""

    name: str
    points: int
    told: dict[str, Any]


def entitlement(
    order: Order,
    refunds: Sequence[Refund],
    program: Program,
    tier_id: str,
    frozen: Frozen = Frozen(),  # noqa: B008  # a tuple
    places: Places | None = None,
) -> Entitlement:
    """Points that `order` earns in `tier_id` under `program`, after `refunds`, in whatever order they are given.

    `frozen` is what was judged when the order was posted, and `places` is `program.concerning.places` of the order,
    where the caller has it. Exact arithmetic; one rounding per rule per order, or per
    line where the rule says so. Never negative, and never more with more refunds.
    """
    basket = Basket(order, refunds, program.basis)
    if program.is_plain:
        return _plain(basket, program, tier_id)
    if places is None:
        places = program.concerning.places(order.lines)
    return _Reckoning(order, basket, program, tier_id, frozen, places).entitlement()


def _plain(basket: Basket, program: Program, tier_id: str) -> Entitlement:
    """Rates on the whole amount and nothing else, which is what most programs are: worked out without detours."""
    amount, scale = basket.amount.as_integer_ratio()
    rules: list[dict[str, Any]] = []
    points, best = 0, ""
    given: dict[str, int] = {}
    for rule, terms in program.terms[tier_id]:
        assert isinstance(rule, SpendRule)
        granted = rounded(amount * terms.numerator, scale * terms.denominator, rule.rounding)
        rules.append({**terms.told, "points": granted})
        given[rule.rule_id] = granted
        if not best or granted > given[best]:
            best = rule.rule_id
    if program.combine is Combine.BEST:
        given = {best: given[best]}
    points = sum(given.values())
    why = {"tier": tier_id, "basis_amount": amount_text(basket.amount), "rules": rules}
    return Entitlement(points, why, _grants(program, given), given, _qualifying(basket, points))


_NOTHING = _Given("", 0, {})


class _Reckoning:
    """The whole calculation, of rules with lines, conditions, caps and clawback modes, and of promotions."""

    def __init__(
        self, order: Order, basket: Basket, program: Program, tier_id: str, frozen: Frozen, places: Places
    ) -> None:
        self._kept = basket
        self._ordered = Basket(order, (), program.basis) if basket.is_refunded else basket
        self._program, self._frozen = program, frozen
        self._places = places
        names = program.concerning.every_order.union(self._places).difference(frozen.excluded)
        self._rules = [pair for pair in program.terms[tier_id] if pair[0].rule_id in names]
        self._promotions = [promotion for promotion in program.promotions if promotion.promotion_id in names]
        self._tier_id = tier_id
        self._left_over: dict[str, Fraction] = {}

    def entitlement(self) -> Entitlement:
        program = self._program
        found = [
            (rule, terms, given) for rule, terms in self._rules if (given := self._of_rule(rule, terms)).points > 0
        ]
        rules = [given for _, _, given in found]
        counted = rules
        if program.combine is Combine.BEST and rules:
            best = max(rules, key=lambda given: given.points)  # the first of equals
            counted = [best]
        earning = [(rule, terms) for rule, terms, _ in found]
        promotions = [
            given
            for promotion in self._promotions
            if (given := self._of_promotion(promotion, counted, earning)).points > 0
        ]
        if program.combine_promotions is CombinePromotions.BEST and promotions:
            promotions = [max(promotions, key=lambda given: given.points)]
        points_of = {each.name: each.points for each in (*counted, *promotions)}
        points = sum(points_of.values())
        why: dict[str, Any] = {"tier": self._tier_id, "basis_amount": amount_text(self._kept.amount)}
        why["rules"] = [each.told for each in counted]
        if len(rules) > len(counted):
            why["rules_not_best"] = [
                {"rule_id": each.name, "points": each.points} for each in rules if each is not counted[0]
            ]
        if promotions:
            why["promotions"] = [each.told for each in promotions]
        qualifying = _qualifying(self._kept, points)
        return Entitlement(points, why, _grants(program, points_of), points_of, qualifying, self._left_over)

    def _basket(self, mode: ClawbackMode) -> Basket:
        """What a rule or promotion of this clawback mode looks at."""
        if self._kept is self._ordered:
            return self._kept
        if mode is ClawbackMode.NEVER or (mode is ClawbackMode.FULL_REFUND and not self._kept.is_empty):
            return self._ordered
        return self._kept

    def _select(self, basket: Basket, name: str, lines: Lines) -> Selection:
        """The kept lines that a rule or promotion counts."""
        places = self._places.get(name)
        return basket.select(lines) if places is None else basket.pick(lines, places)

    def _of_rule(self, rule: AnyRule, terms: Terms) -> _Given:
        selection = self._select(self._basket(rule.clawback), rule.rule_id, rule.lines)
        if not selection.lines and not rule.carry:
            return _NOTHING
        if _is_below_minimum(rule, selection):
            if rule.carry:
                self._left_over[rule.rule_id] = self._frozen.carried.get(rule.rule_id, _ZERO)
            return _NOTHING
        told: dict[str, Any] = dict(terms.told)
        points = self._carry_on(rule, terms, selection, told) if rule.carry else _points(rule, terms, selection, told)
        if not rule.lines.is_all:
            told["lines"] = {kept.line.line_id: kept.told for kept in selection.lines}
        return self._limited(rule.rule_id, points, rule.caps.per_order, told)

    def _carry_on(self, rule: AnyRule, terms: Terms, selection: Selection, told: dict[str, Any]) -> int:
        """Points for whole steps of the amount and the remainder of earlier orders; what is left goes to the next.

        A remainder is below zero when a refund took back what an earlier remainder had helped to earn.
        """
        assert isinstance(rule, SpendRule)
        carried = self._frozen.carried.get(rule.rule_id, _ZERO)
        points, left_over = _stepped(rule, terms, Fraction(selection.amount) + carried)
        self._left_over[rule.rule_id] = left_over
        told["basis_amount"] = amount_text(selection.amount)
        told["carried_in"] = amount_text(carried)
        told["left_over"] = amount_text(left_over)
        return points

    def _of_promotion(
        self, promotion: AnyPromotion, counted: Sequence[_Given], earning: Sequence[tuple[AnyRule, Terms]]
    ) -> _Given:
        basket = self._basket(promotion.clawback)
        selection = self._select(basket, promotion.promotion_id, promotion.lines)
        if not selection.lines or _is_below_minimum(promotion, selection):
            return _NOTHING
        told: dict[str, Any] = {"promotion_id": promotion.promotion_id, "kind": promotion.kind}
        if isinstance(promotion, MultiplierPromotion):
            if promotion.lines.is_all and basket is self._kept:
                base = sum(given.points for given in counted)
            else:
                base = self._base(basket, promotion, earning)
            told |= {"multiplier": str(promotion.multiplier), "base_points": base}
            points = rounded(base * promotion.more.numerator, promotion.more.denominator, promotion.rounding)
        else:
            told["points_added"] = promotion.points
            kept, ordered = self._kept_share(promotion, selection)
            points = rounded(promotion.points * kept, ordered, promotion.rounding)
        return self._limited(promotion.promotion_id, points, None, told)

    def _base(self, basket: Basket, promotion: AnyPromotion, earning: Sequence[tuple[AnyRule, Terms]]) -> int:
        """What the earning rules give for the promotion's lines alone: the best of them, or their sum."""
        line_ids: set[str] | None = None
        if not promotion.lines.is_all:
            wanted = self._select(self._ordered, promotion.promotion_id, promotion.lines)
            line_ids = {kept.line.line_id for kept in wanted.lines}
        of_rules = [0]
        for rule, terms in self._rules if basket is self._ordered else earning:
            own = basket if basket is self._ordered else self._basket(rule.clawback)
            selection = self._select(own, rule.rule_id, rule.lines)
            if _is_below_minimum(rule, selection):
                continue
            if isinstance(rule, SpendRule) and rule.carry:
                carried = self._frozen.carried.get(rule.rule_id, _ZERO) if line_ids is None else _ZERO
                points, _ = _stepped(rule, terms, Fraction(selection.only(line_ids).amount) + carried)
            else:
                points = _points(rule, terms, selection.only(line_ids), {})
            of_rules.append(_at_most(points, rule.caps.per_order, self._frozen.allowances.get(rule.rule_id)))
        return sum(of_rules) if self._program.combine is Combine.STACK else max(of_rules)

    def _kept_share(self, promotion: AnyPromotion, selection: Selection) -> tuple[int, int]:
        """Which share of the amount of its lines counts as kept, as a ratio; all of it where they cost nothing."""
        if promotion.clawback is not ClawbackMode.PROPORTIONAL or self._kept is self._ordered:
            return 1, 1
        ordered = self._select(self._ordered, promotion.promotion_id, promotion.lines).amount
        if selection.amount == ordered:
            return 1, 1
        return (Fraction(selection.amount) / Fraction(ordered)).as_integer_ratio()

    def _limited(self, name: str, points: int, cap: int | None, told: dict[str, Any]) -> _Given:
        limited = _at_most(points, cap, self._frozen.allowances.get(name))
        if limited < points:
            told["points_before_limit"] = points
        told["points"] = limited
        return _Given(name, limited, told)


def _is_below_minimum(part: AnyRule | AnyPromotion, selection: Selection) -> bool:
    minimum = part.when.minimum_amount
    return minimum is not None and selection.amount < minimum


def _stepped(rule: SpendRule, terms: Terms, amount: Fraction) -> tuple[int, Fraction]:
    """Points for the whole steps of `amount`, and what is left of it; below zero there are no steps."""
    step = Fraction(rule.per_amount)
    steps = max(0, amount // step)
    exact = Fraction(terms.numerator, terms.denominator) * steps * step
    return rounded(*exact.as_integer_ratio(), rule.rounding), amount - steps * step


def _points(rule: AnyRule, terms: Terms, selection: Selection, told: dict[str, Any]) -> int:
    """What a rule gives for these lines, before its limits."""
    if not selection.lines:
        return 0
    if isinstance(rule, VisitRule):
        return rounded(terms.numerator, terms.denominator, Rounding.FLOOR)
    if not isinstance(rule, SpendRule):
        told["quantity"] = amount_text(selection.quantity)
        return _times(selection.quantity, terms, rule.rounding)
    told["basis_amount"] = amount_text(selection.amount)
    if rule.round_per is RoundPer.LINE:
        told["round_per"] = rule.round_per.value
        return sum(_times(kept.amount, terms, rule.rounding) for kept in selection.lines)
    return _times(selection.amount, terms, rule.rounding)


def _times(units: Exact, terms: Terms, rounding: Rounding) -> int:
    numerator, denominator = units.as_integer_ratio()
    return rounded(numerator * terms.numerator, denominator * terms.denominator, rounding)


def _at_most(points: int, cap: int | None, allowance: int | None) -> int:
    if cap is not None and cap < points:
        points = cap
    return points if allowance is None or points <= allowance else allowance


def _grants(program: Program, given: Mapping[str, int]) -> tuple[Grant, ...]:
    """The points by when they end: those with the program's expiry first."""
    if len(program.expiries) == 1:
        points = sum(given.values())
        return (Grant("", points),) if points else ()
    by_expiry: dict[str, int] = {}
    for name, points in given.items():
        earned_by = name if name in program.expiries else ""
        by_expiry[earned_by] = by_expiry.get(earned_by, 0) + points
    return tuple(Grant(earned_by, points) for earned_by, points in sorted(by_expiry.items()) if points)


def _qualifying(basket: Basket, points: int) -> Qualifying:
    return Qualifying(points, int(basket.amount * SPEND_UNITS), 0 if basket.is_empty else 1)


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
