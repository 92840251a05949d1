"""What a rule or promotion gave an order, or why nothing, in words."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from core.domain.program import Circumstances, Hours, LineConditions, SpendRule, Steps, When
from core.reading.order_outcomes import NoPoints, OrderOutcome, PartOutcome, circumstances_of, holds_alone
from workers.cli.rule_sentences import (
    left_over_text,
    line_texts,
    money_text,
    not_best_text,
    pieces_text,
    promotion_text,
    rule_text,
)

_LIMITS = {
    "orders_per_customer": "orders of a customer",
    "orders_per_customer_and_day": "orders of a customer in a day",
    "orders": "orders in all",
    "budget_points": "points in all",
}
_ONLY_FIRST = "it is only for a customer's first order"


class PartSentence(NamedTuple):
    """What became of one rule or promotion, for a person and for `--json`."""

    name: str
    points: int
    text: str
    lines: tuple[str, ...] = ()  #: of the order, that it counts


def part_sentence(outcome: PartOutcome, order: OrderOutcome) -> PartSentence:
    """What became of one rule or promotion of the order."""
    name, currency, calculation = outcome.name, order.program.currency, outcome.calculation
    if calculation is None:
        kind = "promotion" if outcome.is_promotion else "rule"
        return PartSentence(name, 0, f"nothing by {kind} {name}: {_why_nothing(outcome, order)}")
    if outcome.is_promotion:
        return PartSentence(name, outcome.points, promotion_text(calculation))
    if outcome.reason is NoPoints.NOT_BEST:
        return PartSentence(name, 0, not_best_text(calculation))
    text = rule_text(calculation, currency, order.at_first.why["basis_amount"])
    return PartSentence(name, outcome.points, text, tuple(line_texts(calculation, currency)))


def _why_nothing(outcome: PartOutcome, order: OrderOutcome) -> str:
    currency, part = order.program.currency, outcome.part
    match outcome.reason:
        case NoPoints.CONDITIONS:
            return _unmet_text(outcome, order) or "its conditions did not hold"
        case NoPoints.BELOW_MINIMUM | NoPoints.TOO_FEW_PIECES | NoPoints.OTHER_PRICE | NoPoints.LINES_TOO_SMALL:
            return _shortage_text(outcome, currency)
        case NoPoints.BELOW_ONE_POINT:
            left = outcome.amount
            after = "" if left is None else f"; {left_over_text(left, currency)} left over for the next order"
            if isinstance(part, SpendRule) and part.steps is Steps.WHOLE:
                after = f", as only whole steps of {money_text(str(part.per_amount), currency)} earn"
            return f"it comes to less than one point{after}"
        case NoPoints.LIMITS_REACHED:
            return f"its limits were reached when the order was posted ({', '.join(_limit_texts(part))})"
        case _:
            texts = {
                NoPoints.NO_LINE: "no line of the order counts for it",
                NoPoints.ONLY_FREE: "the pieces that it is for cost nothing",
                NoPoints.NOTHING_IN_TIER: f"it gives nothing in tier {order.recorded.tier_id}",
                NoPoints.CAP_REACHED: "earlier orders of the day or month had reached its cap",
                NoPoints.NOT_BEST: f"it would give {outcome.points_lost:,} more, but only the best promotion counts",
                NoPoints.NOT_NEWEST: f"only the newest promotion counts, {outcome.other}",
                NoPoints.NOTHING_TO_MULTIPLY: "the rules give nothing that it could multiply",
            }
            return texts.get(outcome.reason or NoPoints.UNKNOWN, "it gave nothing for this order")


def _shortage_text(outcome: PartOutcome, currency: str) -> str:
    part = outcome.part
    if outcome.reason is NoPoints.LINES_TOO_SMALL:
        return f"no line of the order has what it asks of each: {_line_text(part.lines, currency)}"
    if outcome.reason is NoPoints.TOO_FEW_PIECES:
        pieces = pieces_text(str(outcome.amount))
        count = "counts" if pieces == "1 piece" else "count"
        return f"{pieces} {count} for it, and it asks for {part.when.minimum_quantity}"
    had = money_text(str(outcome.amount), currency)
    if outcome.reason is NoPoints.OTHER_PRICE:
        asked = LineConditions(minimum_price=part.when.minimum_price, maximum_price=part.when.maximum_price)
        return f"a piece of what counts for it costs {had} on average, and it asks for {_line_text(asked, currency)}"
    return f"what counts for it comes to {had}, and it asks for {money_text(str(part.when.minimum_amount), currency)}"


def _line_text(asked: LineConditions, currency: str) -> str:
    texts = [
        None if asked.minimum_quantity is None else f"at least {pieces_text(str(asked.minimum_quantity))}",
        None if asked.minimum_amount is None else f"at least {money_text(str(asked.minimum_amount), currency)}",
        None if asked.minimum_price is None else f"at least {money_text(str(asked.minimum_price), currency)} a piece",
        None if asked.maximum_price is None else f"at most {money_text(str(asked.maximum_price), currency)} a piece",
    ]
    return ", ".join(text for text in texts if text is not None)


def _limit_texts(promotion: Any) -> Iterator[str]:
    for field, noun in _LIMITS.items():
        limit = getattr(promotion.limits, field)
        if limit is not None:
            yield f"{limit:,} {noun.replace('orders', 'order', 1) if limit == 1 else noun}"


def _unmet_text(outcome: PartOutcome, order: OrderOutcome) -> str:
    circumstances = circumstances_of(order.recorded, order.program)
    conditions = dict(_conditions(outcome.part.when, circumstances))
    before = order.recorded.counted_before
    if before is not None and outcome.part.when.first_order:
        day = f"{before.occurred_at.astimezone(order.program.zone):%Y-%m-%d}"
        conditions["first_order"] = f"{_ONLY_FIRST}, and order {before.order_id} of {day} counts before it"
    return "; ".join(conditions[name] for name in outcome.unmet)


def _conditions(when: When, circumstances: Circumstances) -> Iterator[tuple[str, str]]:
    """Each condition, and what to say if it does not hold."""
    order, local, tier_id, _ = circumstances
    day = f"{local:%Y-%m-%d}"
    yield "starts_on", f"it starts on {when.starts_on}, and the order was placed on {day}"
    yield "ends_on", f"its last day was {when.ends_on}, and the order was placed on {day}"
    yield "hours", f"it is for {_hours_text(when.hours)}, and the order was placed on {local:%A %H:%M}"
    yield "tiers", f"it is for tier {_either(when.tiers)}, and the order earned in {tier_id}"
    not_first = f"{_ONLY_FIRST}, and another one counted when it was posted"
    yield "first_order", not_first if when.first_order else "it is not for a customer's first order"
    yield "channels", _attribute_text("channel", when.channels, order.attributes.get("channel"))
    tags = ", ".join(order.customer_tags) or "none"
    yield "customer_tags", f"it is for customers with the tag {_either(when.customer_tags)}, and the order names {tags}"
    wrong = {
        name: values
        for name, values in (when.attributes or {}).items()
        if not holds_alone("attributes", {name: tuple(values)}, circumstances)
    }
    texts = [_attribute_text(name, values, order.attributes.get(name)) for name, values in wrong.items()]
    yield "attributes", "; ".join(texts)


def _attribute_text(name: str, wanted: Sequence[Any], found: Any) -> str:
    said = "names none" if found is None else f"has {_value_text(found)}"
    return f"it asks for {name} {_either([_value_text(value) for value in wanted])}, and the order {said}"


def _value_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


def _hours_text(hours: Sequence[Hours]) -> str:
    return " and ".join(f"{', '.join(span.days)} {span.start} to {span.end}" for span in hours)
