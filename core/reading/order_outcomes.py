"""What became of one order: what each rule and promotion gave it, or why nothing, its refunds, and what is left.

Worked out again from what was frozen with the order. Changes nothing.
"""

from collections.abc import Mapping
from enum import StrEnum
from itertools import accumulate
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.domain.lots import Lot, OriginKind, in_spending_order
from core.domain.orders.basket import Basket
from core.domain.orders.earning import Earning, Entitlement, entitlement
from core.domain.orders.facts import OrderLine
from core.domain.orders.goods import Goods
from core.domain.orders.reckoning import shortage
from core.domain.orders.units import amount_text, units_of
from core.domain.program import (
    AdditionPromotion,
    AnyPromotion,
    AnyRule,
    Circumstances,
    Combine,
    CombinePromotions,
    LineConditions,
    MultiplierPromotion,
    PointsPaidBasis,
    Program,
    Terms,
    When,
)
from core.reading.accounts import HistoryEntry
from core.reading.recorded_orders import PartRefund, RecordedOrder, load_recorded_orders
from core.reading.standing import Standing, Standings, load_entries
from core.store.ledger import ask_lots

#: What a rule or promotion may ask of an order, but for what counts of its lines.
CONDITIONS = ("starts_on", "ends_on", "hours", "tiers", "first_order", "channels", "customer_tags", "attributes")
_HOLDS_FOR_ALL = When()


class NoPoints(StrEnum):
    """Why a rule or promotion gave an order nothing."""

    CONDITIONS = "conditions"  #: those of `unmet` did not hold
    NO_LINE = "no_line"  #: no line of the order counts for it
    ONLY_FREE = "only_free"  #: the lines that it looks for cost nothing
    LINES_TOO_SMALL = "lines_too_small"  #: no line that it looks for has by itself what it asks of each
    BELOW_MINIMUM = "below_minimum"  #: what counts comes to `amount`, less than it asks for
    OTHER_PRICE = "other_price"  #: a piece of what counts costs `amount` on average, which is not what it asks for
    TOO_FEW_PIECES = "too_few_pieces"  #: what counts comes to so many pieces, `amount`, fewer than it asks for
    NOTHING_IN_TIER = "nothing_in_tier"
    CAP_REACHED = "cap_reached"  #: by earlier orders of the day or month
    BELOW_ONE_POINT = "below_one_point"  #: `amount` is left over for the next order, if it carries any
    NOT_BEST = "not_best"  #: another gave more, and only the best counts
    NOT_NEWEST = "not_newest"  #: only the newest promotion counts, `other`
    LIMITS_REACHED = "limits_reached"  #: those of the promotion, when the order was posted
    NOTHING_TO_MULTIPLY = "nothing_to_multiply"
    UNKNOWN = "unknown"


class PartOutcome(NamedTuple):
    """What became of one rule or promotion when the order was posted; amounts are in major units."""

    part: AnyRule | AnyPromotion
    points: int
    calculation: Mapping[str, Any] | None = None  #: as entries keep it; also of a rule that lost against the best
    reason: NoPoints | None = None  #: None: it gave points
    unmet: tuple[str, ...] = ()  #: of CONDITIONS
    amount: str | None = None
    points_lost: int = 0  #: what it would have given, were it the best
    other: str | None = None

    @property
    def is_promotion(self) -> bool:
        """Whether it is a promotion, and not an earning rule."""
        return isinstance(self.part, MultiplierPromotion | AdditionPromotion)

    @property
    def name(self) -> str:
        """The id of the rule or promotion."""
        part = self.part
        return part.promotion_id if isinstance(part, MultiplierPromotion | AdditionPromotion) else part.rule_id


class RefundOutcome(NamedTuple):
    """One refund, or the cancellation, and what the order earned before and after it."""

    taken_back: PartRefund
    before: Entitlement
    after: Entitlement


class LineOutcome(NamedTuple):
    """One line of the order, and what earns of it now."""

    line: OrderLine
    is_earning: bool  #: a line of its kind may earn
    amount: str | None = None  #: what counts of it, in major units as the others; None: nothing
    returned: str | None = None  #: so many pieces came back
    refunded: str | None = None  #: of what would count of it
    paid_with_points: str | None = None  #: of what is kept of it, where that does not count


class OrderOutcome(NamedTuple):
    """One order with everything that explains it."""

    recorded: RecordedOrder
    standing: Standing  #: of its account
    program: Program  #: the version that was frozen with it
    at_first: Entitlement
    now: Entitlement
    rules: list[PartOutcome]  #: every earning rule, in the order of the file
    promotions: list[PartOutcome]  #: every promotion, in the order of the file
    refunds: list[RefundOutcome]  #: in the order in which they were posted
    lines: list[LineOutcome]
    lots: list[Lot]  #: what is left of its points
    entries: list[HistoryEntry]  #: about it, oldest first


def load_order_outcomes(
    connection: Connection, found: Standings, order_id: str, entries_max: int
) -> list[OrderOutcome]:
    """The orders of this id of these accounts, by program and source, with what was recorded by `found.as_of`."""
    standings = {standing.account.account_id: standing for standing in found.standings}
    outcomes = []
    for recorded in load_recorded_orders(connection, standings, order_id, found.as_of):
        standing = standings[recorded.account_id]
        program = found.registry.version(recorded.program_id, recorded.program_version).program
        key = (recorded.order.source, order_id)
        entries = load_entries(connection, standing, entries_max, of_order=key)
        lots = _lots_of(connection, recorded, standing)
        outcomes.append(order_outcome(recorded, standing, program, lots, entries))
    return outcomes


def _lots_of(connection: Connection, recorded: RecordedOrder, standing: Standing) -> list[Lot]:
    """The order's lots with points left, in the order in which they would be spent."""
    key = OriginKind.ORDER, recorded.order.source, recorded.order.order_id
    if standing.is_past:
        return [lot for lot in standing.lots if lot.origin.key == key]
    lots = ask_lots(connection, [(recorded.account_id, *key)], {}, standing.as_of).found.get(recorded.account_id, [])
    return in_spending_order(lot for lot in lots if lot.points_remaining)


def order_outcome(
    recorded: RecordedOrder, standing: Standing, program: Program, lots: list[Lot], entries: list[HistoryEntry]
) -> OrderOutcome:
    """Work out again what became of an order; `program` is the version that was frozen with it."""
    earning = Earning(recorded.order, program, recorded.tier_id, recorded.judgement)
    baskets = list(accumulate((each.refund for each in recorded.taken_back), Basket.plus, initial=earning.ordered))
    earned = [earning.of(basket) for basket in baskets]
    case = _Case(recorded, program, earned[0], program.seasons.at(recorded.order.occurred_at).over)
    return OrderOutcome(
        recorded,
        standing,
        program,
        earned[0],
        earned[-1],
        [_rule_outcome(case, terms) for terms in program.terms[recorded.tier_id]],
        [_promotion_outcome(case, promotion) for promotion in program.promotions],
        [RefundOutcome(*each) for each in zip(recorded.taken_back, earned, earned[1:], strict=False)],
        _line_outcomes(baskets[-1], recorded, program),
        lots,
        entries,
    )


def _line_outcomes(kept: Basket, recorded: RecordedOrder, program: Program) -> list[LineOutcome]:
    """What counts of each line, and what became of the rest of it."""
    goods, order, left = kept.goods, recorded.order, set(kept.places_of(kept.goods.all))
    in_money = program.basis.model_copy(update={"points_paid": PointsPaidBasis.INCLUDED})
    as_ordered = Basket(Goods(order, in_money, goods.rate))
    all_in_money = as_ordered.after([each.refund for each in recorded.taken_back])
    outcomes = []
    for place, line in enumerate(order.lines):
        if place not in goods:
            outcomes.append(LineOutcome(line, False))
            continue
        counted, unpaid = kept.line_amount(place), all_in_money.line_amount(place)
        returned = units_of(line.quantity) - kept.line_quantity(place)
        refunded = as_ordered.line_amount(place) - unpaid
        parts = counted if place in left else 0, returned, refunded, unpaid - counted
        # Shares may miss a line by the smallest unit, which the text leaves out.
        outcomes.append(LineOutcome(line, True, *(text if text != "0" else None for text in map(amount_text, parts))))
    return outcomes


def circumstances_of(recorded: RecordedOrder, program: Program) -> Circumstances:
    """What the conditions of rules and promotions were held against."""
    local = recorded.order.occurred_at.astimezone(program.zone)
    return Circumstances(recorded.order, local, recorded.tier_id, is_first_order=recorded.judgement.is_first_order)


def holds_alone(name: str, value: object, circumstances: Circumstances) -> bool:
    """Whether the condition of that name would hold, had it this value and were there no other."""
    return _HOLDS_FOR_ALL.model_copy(update={name: value}).holds(circumstances)


class _Case(NamedTuple):
    """An order as it was posted, before all refunds."""

    recorded: RecordedOrder
    program: Program
    earned: Entitlement
    over: frozenset[str]  #: rules and promotions whose season it was not

    def is_excluded(self, name: str) -> bool:
        """Whether a rule or promotion was not for the order when it was posted."""
        return name in self.over or name in self.recorded.judgement.excluded

    def unmet(self, when: When) -> tuple[str, ...]:
        """The conditions that did not hold, of those that are judged when an order is posted."""
        circumstances = circumstances_of(self.recorded, self.program)
        return tuple(name for name in CONDITIONS if not holds_alone(name, getattr(when, name), circumstances))

    def shortage(self, part: AnyRule | AnyPromotion) -> PartOutcome | None:
        """The outcome of a rule or promotion for which too little was ordered."""
        basket, name, lines = (
            Earning(self.recorded.order, self.program, self.recorded.tier_id, self.recorded.judgement).ordered,
            PartOutcome(part, 0).name,
            part.lines,
        )
        goods, is_paid_only = basket.goods, name in self.program.paid_only
        of_articles = goods.select("", lines.model_copy(update=dict.fromkeys(LineConditions.model_fields)), None)
        selection = goods.select(name, lines, None, is_paid_only=is_paid_only)
        if not of_articles.places:
            return PartOutcome(part, 0, reason=NoPoints.NO_LINE)
        if is_paid_only and not goods.paid("", of_articles).places:
            return PartOutcome(part, 0, reason=NoPoints.ONLY_FREE)
        if not basket.lines_count(selection):
            return PartOutcome(part, 0, reason=NoPoints.LINES_TOO_SMALL)
        minimum = self.program.minimums.get(name)
        short = None if minimum is None else shortage(name, basket, selection, minimum)
        if short is None:
            return None
        reasons = {"quantity": NoPoints.TOO_FEW_PIECES, "price": NoPoints.OTHER_PRICE, "amount": NoPoints.BELOW_MINIMUM}
        return PartOutcome(part, 0, reason=reasons[short.of], amount=amount_text(short.had))


def _rule_outcome(case: _Case, terms: Terms) -> PartOutcome:
    rule, name, why = terms.rule, terms.rule_id, case.earned.why
    points = case.earned.given.get(name, 0)
    calculations = (*why["rules"], *why.get("rules_not_best", []))
    calculation = next((each for each in calculations if each["rule_id"] == name), None)
    if calculation is not None and points:
        return PartOutcome(rule, points, calculation)
    if calculation is not None and calculation["points"] and case.program.combine is Combine.BEST:
        return PartOutcome(rule, 0, calculation, NoPoints.NOT_BEST, points_lost=calculation["points"])
    if case.is_excluded(name):
        return PartOutcome(rule, 0, reason=NoPoints.CONDITIONS, unmet=case.unmet(rule.when))
    return case.shortage(rule) or _zero_rule_outcome(case, terms)


def _zero_rule_outcome(case: _Case, terms: Terms) -> PartOutcome:
    """Of a rule that was for the order and came to nothing."""
    if terms.numerator == 0:
        return PartOutcome(terms.rule, 0, reason=NoPoints.NOTHING_IN_TIER)
    if case.recorded.judgement.allowances.get(terms.rule_id) == 0:
        return PartOutcome(terms.rule, 0, reason=NoPoints.CAP_REACHED)
    left = case.earned.left_over.get(terms.rule_id)
    return PartOutcome(
        terms.rule, 0, reason=NoPoints.BELOW_ONE_POINT, amount=None if left is None else amount_text(units_of(left))
    )


def _promotion_outcome(case: _Case, promotion: AnyPromotion) -> PartOutcome:
    name = promotion.promotion_id
    points = case.earned.given.get(name, 0)
    calculations = case.earned.why.get("promotions", [])
    calculation = next((each for each in calculations if each["promotion_id"] == name), None)
    if calculation is not None and points:
        return PartOutcome(promotion, points, calculation)
    if case.is_excluded(name):
        unmet = case.unmet(promotion.when)
        if unmet:
            return PartOutcome(promotion, 0, reason=NoPoints.CONDITIONS, unmet=unmet)
        return case.shortage(promotion) or _excluded_outcome(case, promotion)
    return case.shortage(promotion) or _zero_promotion_outcome(case, promotion)


def _excluded_outcome(case: _Case, promotion: AnyPromotion) -> PartOutcome:
    """Of a promotion that was not for the order although its conditions held."""
    if case.program.combine_promotions is CombinePromotions.NEWEST:
        names = [each.promotion_id for each in case.program.promotions]
        later = [each for each in names[names.index(promotion.promotion_id) + 1 :] if not case.is_excluded(each)]
        if later:
            return PartOutcome(promotion, 0, reason=NoPoints.NOT_NEWEST, other=later[-1])
    has_limits = promotion.limited_per or promotion.has_budget
    return PartOutcome(promotion, 0, reason=NoPoints.LIMITS_REACHED if has_limits else NoPoints.UNKNOWN)


def _zero_promotion_outcome(case: _Case, promotion: AnyPromotion) -> PartOutcome:
    """Of a promotion that was for the order and came to nothing."""
    others = tuple(each.promotion_id for each in case.program.promotions if each is not promotion)
    judgement = case.recorded.judgement._replace(excluded=(*case.recorded.judgement.excluded, *others))
    alone = entitlement(case.recorded.order, (), case.program, case.recorded.tier_id, judgement).given.get(
        promotion.promotion_id, 0
    )
    if alone:
        return PartOutcome(promotion, 0, reason=NoPoints.NOT_BEST, points_lost=alone)
    is_multiplier = isinstance(promotion, MultiplierPromotion)
    return PartOutcome(promotion, 0, reason=NoPoints.NOTHING_TO_MULTIPLY if is_multiplier else NoPoints.BELOW_ONE_POINT)
