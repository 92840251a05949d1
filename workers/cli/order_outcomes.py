"""What each rule and promotion gave an order, or why nothing: worked out again from what was frozen with the order."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from core.domain.orders.basket import Basket, amount_text
from core.domain.orders.earning import Entitlement, entitlement
from core.domain.orders.facts import Refund
from core.domain.program import (
    AnyPromotion,
    AnyRule,
    Circumstances,
    Combine,
    CombinePromotions,
    MultiplierPromotion,
    Program,
    Terms,
)
from core.reading.orders import RecordedOrder
from workers.cli.condition_sentences import unmet_texts
from workers.cli.rule_sentences import left_over_text, line_texts, money_text, not_best_text, promotion_text, rule_text


class PartOutcome(NamedTuple):
    """What became of one rule or promotion."""

    name: str
    points: int
    text: str
    lines: tuple[str, ...] = ()  #: of the order, that it counts


def earned_with(recorded: RecordedOrder, program: Program, refunds: Sequence[Refund]) -> Entitlement:
    """What the order earns with these refunds, in its own version and tier, with what was frozen."""
    return entitlement(recorded.order, refunds, program, recorded.tier_id, recorded.frozen)


def rule_outcomes(recorded: RecordedOrder, program: Program, refunds: Sequence[Refund]) -> list[PartOutcome]:
    """Every earning rule of the version, in the order of the file."""
    earned = earned_with(recorded, program, refunds)
    return [_rule_outcome(recorded, program, refunds, earned, terms) for terms in program.terms[recorded.tier_id]]


def promotion_outcomes(recorded: RecordedOrder, program: Program, refunds: Sequence[Refund]) -> list[PartOutcome]:
    """Every promotion of the version, in the order of the file."""
    earned = earned_with(recorded, program, refunds)
    return [_promotion_outcome(recorded, program, refunds, earned, promotion) for promotion in program.promotions]


def _rule_outcome(
    recorded: RecordedOrder,
    program: Program,
    refunds: Sequence[Refund],
    earned: Entitlement,
    terms: Terms,
) -> PartOutcome:
    rule, name, currency, why = terms.rule, terms.rule_id, program.currency, earned.why
    points = earned.given.get(name, 0)
    told = {each["rule_id"]: each for each in why["rules"]}.get(name)
    if told is not None and points:
        return PartOutcome(
            name, points, rule_text(told, currency, why["basis_amount"]), tuple(line_texts(told, currency))
        )
    lost = [each for each in (*why["rules"], *why.get("rules_not_best", [])) if each["rule_id"] == name]
    if lost and lost[0]["points"] and program.combine is Combine.BEST:
        return PartOutcome(name, 0, not_best_text(lost[0]))
    if name in _out_of_the_question(recorded, program):
        reasons = unmet_texts(rule.when, _circumstances(recorded, program)) or ["its conditions did not hold"]
    else:
        reasons = [_nothing_of_rule(recorded, program, refunds, earned, terms)]
    return PartOutcome(name, 0, f"nothing by rule {name}: {'; '.join(reasons)}")


def _nothing_of_rule(
    recorded: RecordedOrder,
    program: Program,
    refunds: Sequence[Refund],
    earned: Entitlement,
    terms: Terms,
) -> str:
    """Why a rule whose conditions held gave nothing."""
    if (missing := _missing(recorded, program, terms.rule, refunds)) is not None:
        return missing
    if terms.numerator == 0:
        return f"it gives nothing in tier {recorded.tier_id}"
    if recorded.frozen.allowances.get(terms.rule_id) == 0:
        return "earlier orders of the day or month had reached its cap"
    if terms.rule_id in earned.left_over:
        left = left_over_text(amount_text(earned.left_over[terms.rule_id]), program.currency)
        return f"it comes to less than one point; {left} left over for the next order"
    return "it comes to less than one point"


def _promotion_outcome(
    recorded: RecordedOrder, program: Program, refunds: Sequence[Refund], earned: Entitlement, promotion: AnyPromotion
) -> PartOutcome:
    name = promotion.promotion_id
    points = earned.given.get(name, 0)
    told = {each["promotion_id"]: each for each in earned.why.get("promotions", [])}.get(name)
    if told is not None and points:
        return PartOutcome(name, points, promotion_text(told))
    if name in _out_of_the_question(recorded, program):
        reasons = unmet_texts(promotion.when, _circumstances(recorded, program)) or [
            _held_back_text(recorded, program, name)
        ]
    else:
        reasons = [_nothing_of_promotion(recorded, program, refunds, promotion)]
    return PartOutcome(name, 0, f"nothing by promotion {name}: {'; '.join(reasons)}")


def _held_back_text(recorded: RecordedOrder, program: Program, name: str) -> str:
    """Why a promotion was not for an order although its conditions held."""
    promotion = next(p for p in program.promotions if p.promotion_id == name)
    if (missing := _missing(recorded, program, promotion, ())) is not None:
        return missing
    if program.combine_promotions is CombinePromotions.NEWEST:
        names, out = [p.promotion_id for p in program.promotions], _out_of_the_question(recorded, program)
        later = [each for each in names[names.index(name) + 1 :] if each not in out]
        if later:
            return f"only the newest promotion counts, {later[-1]}"
    if promotion.limited_per or promotion.has_budget:
        return f"its limits were reached when the order was posted ({', '.join(_limit_texts(promotion))})"
    return "it gave nothing for this order"


def _limit_texts(promotion: AnyPromotion) -> Iterator[str]:
    words = {
        "orders_per_customer": "orders of a customer",
        "orders_per_customer_and_day": "orders of a customer in a day",
        "orders": "orders in all",
        "budget_points": "points in all",
    }
    for field, noun in words.items():
        limit = getattr(promotion.limits, field)
        if limit is not None:
            yield f"{limit:,} {noun.replace('orders', 'order', 1) if limit == 1 else noun}"


def _nothing_of_promotion(
    recorded: RecordedOrder, program: Program, refunds: Sequence[Refund], promotion: AnyPromotion
) -> str:
    if (missing := _missing(recorded, program, promotion, refunds)) is not None:
        return missing
    others = tuple(p.promotion_id for p in program.promotions if p is not promotion)
    frozen = recorded.frozen._replace(excluded=(*recorded.frozen.excluded, *others))
    alone = earned_with(recorded._replace(frozen=frozen), program, refunds).given.get(promotion.promotion_id, 0)
    if alone:
        return f"it would give {alone:,} more, but only the best promotion counts"
    if isinstance(promotion, MultiplierPromotion):
        return "the rules give nothing that it could multiply"
    return "it comes to less than one point"


def _missing(
    recorded: RecordedOrder, program: Program, part: AnyRule | AnyPromotion, refunds: Sequence[Refund]
) -> str | None:
    """What of the goods that are kept is missing for a rule or promotion."""
    basket, minimum = Basket(recorded.order, refunds, program.basis), part.when.minimum_amount
    places = basket.find(part.lines)
    if not places:
        ordered = Basket(recorded.order, (), program.basis).find(part.lines)
        return "nothing that counts for it is kept" if ordered else "no line of the order counts for it"
    if minimum is not None and basket.amount_of(places) < minimum:
        had = money_text(amount_text(basket.amount_of(places)), program.currency)
        return f"what counts for it comes to {had}, and it asks for {money_text(str(minimum), program.currency)}"
    return None


def _out_of_the_question(recorded: RecordedOrder, program: Program) -> frozenset[str]:
    """The rules and promotions that were not for the order, when it was posted."""
    return program.seasons.at(recorded.order.occurred_at).over.union(recorded.frozen.excluded)


def _circumstances(recorded: RecordedOrder, program: Program) -> Circumstances:
    local = recorded.order.occurred_at.astimezone(program.zone)
    return Circumstances(recorded.order, local, recorded.tier_id, is_first_order=recorded.is_first)
