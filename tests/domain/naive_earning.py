"""What an order earns, worked out a second time: slow, plain, and without the domain's code (only its data)."""

import math
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from core.domain.orders.facts import Order, OrderLine, Refund, RefundLine
from core.domain.program import (
    AnyPromotion,
    AnyRule,
    CategoryRule,
    ItemRule,
    Lines,
    MultiplierPromotion,
    Program,
    SpendRule,
    VisitRule,
    When,
)

_ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "half_up": lambda points: math.floor(points + Fraction(1, 2)),
    "half_even": round,
}


class Judged(NamedTuple):
    """What was settled when the order was posted."""

    excluded: set[str]
    at_most: dict[str, int]
    carried: dict[str, Fraction]


NOTHING_JUDGED = Judged(set(), {}, {})


class Goods(NamedTuple):
    """What is kept of one line that earns."""

    line: OrderLine
    price: Fraction
    pieces: Fraction
    piece_price: Fraction  #: as ordered
    ordered_price: Fraction


class Earned(NamedTuple):
    """What each rule and promotion gives, what is left over of those that carry, and what counts for the tier."""

    by_name: dict[str, int]
    left_over: dict[str, Fraction]
    spent: int  #: hundredths
    is_kept: bool
    is_paid: bool  #: some of what is kept was not free

    @property
    def points(self) -> int:
        return sum(self.by_name.values())

    def by_kind(self, program: Program) -> dict[str, int]:
        """The points by the rule or promotion with an expiry of its own that earned them, '' for the others."""
        own = {rule.rule_id for rule in program.earning_rules if rule.expiry is not None}
        own |= {promotion.promotion_id for promotion in program.promotions if promotion.expiry is not None}
        found: dict[str, int] = {}
        for name, points in self.by_name.items():
            kind = name if name in own else ""
            found[kind] = found.get(kind, 0) + points
        return {kind: found[kind] for kind in sorted(found) if found[kind]}


class _Kept(NamedTuple):
    """What refunds leave of an order."""

    money: dict[str, Fraction]  #: the share of each line's money, without money that is given back of the whole order
    pieces: dict[str, Fraction]  #: of each line
    spread: Fraction  #: what money that is given back of the whole order leaves of each line's
    unpaid: Fraction  #: the share that was not paid with points
    is_nothing: bool  #: all was given back at once


def _kept(order: Order, refunds: list[Refund], program: Program) -> _Kept:
    gross = sum((Fraction(line.amount + line.tax) for line in order.lines), Fraction(0))
    unpaid = (gross - Fraction(order.points_paid)) / gross if gross > 0 else Fraction(1)
    money, pieces = {}, {}
    for line in order.lines:
        parts = [part for refund in refunds for part in refund.lines if part.line_id == line.line_id]
        money[line.line_id] = 1 - min(Fraction(1), _money_gone(line, parts, unpaid, program))
        left = max(Fraction(0), abs(Fraction(line.quantity)) - _sum(part.quantity for part in parts))
        pieces[line.line_id] = left if line.quantity > 0 else -left
    net_left = sum(Fraction(line.amount) * money[line.line_id] for line in order.lines)
    cash_left = sum(Fraction(line.amount + line.tax) * unpaid * money[line.line_id] for line in order.lines)
    spread = 1 - _share(_sum(refund.net for refund in refunds), Fraction(net_left))
    spread -= _share(_sum(refund.paid for refund in refunds), Fraction(cash_left))
    return _Kept(money, pieces, spread, unpaid, any(refund.full for refund in refunds))


def kept_goods(order: Order, refunds: list[Refund], program: Program) -> list[Goods]:
    """The lines that earn, with the money and the pieces that the refunds leave of each."""
    money, pieces, spread, unpaid, is_full = _kept(order, refunds, program)
    is_taxed = program.basis.tax.value == "included"
    worth = _worth(order, program)
    earns = unpaid if program.basis.points_paid.value == "excluded" else Fraction(1)
    found = []
    for line in order.lines:
        if line.kind in program.basis.kinds and not is_full:
            price = Fraction(line.amount) + (Fraction(line.tax) if is_taxed else 0)
            left = price * money[line.line_id] * max(Fraction(0), spread)
            of_piece = price / Fraction(line.quantity) * worth
            found.append(Goods(line, left * earns * worth, pieces[line.line_id], of_piece, price * earns * worth))
    return [each for each in found if each.pieces or each.price]


def rounded(points: Fraction, how: str) -> int:
    """Whole points."""
    return _ROUNDINGS[how](points)


def share_back(order: Order, refunds: list[Refund], program: Program) -> Fraction:
    """How much of what the customer had to pay for an order the refunds give back together."""
    kept, bought = _kept(order, refunds, program), _kept(order, called_off(order, refunds), program)
    gross = sum((Fraction(line.amount + line.tax) * bought.money[line.line_id] for line in order.lines), Fraction(0))
    if gross <= 0:
        return Fraction(kept.is_nothing or not any(kept.pieces.values()))
    left = sum(Fraction(line.amount + line.tax) * kept.money[line.line_id] for line in order.lines)
    return Fraction(1) if kept.is_nothing else 1 - left * max(Fraction(0), kept.spread) / gross


def called_off(order: Order, refunds: list[Refund]) -> list[Refund]:
    """What of these is of lines below zero: it is as if these had never been."""
    back = {line.line_id for line in order.lines if line.quantity < 0}
    return [
        refund._replace(full=False, paid=None, net=None, lines=tuple(p for p in refund.lines if p.line_id in back))
        for refund in refunds
    ]


def _money_gone(line: OrderLine, parts: list[RefundLine], unpaid: Fraction, program: Program) -> Fraction:
    """The share of a line's money that parts of refunds give back, all together."""
    net, cash = Fraction(line.amount), Fraction(line.amount + line.tax) * unpaid

    def money_of(some: list[RefundLine]) -> Fraction:
        if line.amount < 0:
            return Fraction(0)
        return _share(_sum(part.net for part in some), net) + _share(_sum(part.paid for part in some), cash)

    def pieces_of(some: list[RefundLine]) -> Fraction:
        return _sum(part.quantity for part in some) / abs(Fraction(line.quantity))

    of_money = [part for part in parts if part.paid is not None or part.net is not None]
    of_both = [part for part in of_money if part.quantity is not None]
    for_pieces = money_of(of_both)
    if program.basis.kept_fees.value == "excluded":
        for_pieces = max(for_pieces, pieces_of(of_both))
    pieces_alone = pieces_of([part for part in parts if part not in of_money])
    return pieces_alone + for_pieces + money_of([part for part in of_money if part.quantity is None])


def _sum(numbers: Iterable[Decimal | None]) -> Fraction:
    return sum((Fraction(number) for number in numbers if number is not None), Fraction(0))


def _share(money: Fraction, of: Fraction) -> Fraction:
    """All of it where there is nothing that money could be a share of."""
    if not money:
        return Fraction(0)
    return money / of if of > 0 else Fraction(1)


def _worth(order: Order, program: Program) -> Fraction:
    """What a unit of the order's currency is worth in the program's."""
    if order.currency == program.currency:
        return Fraction(1)
    if order.rate is not None:
        return Fraction(order.rate)
    day = order.occurred_at.astimezone(program.zone).date()
    (rate,) = [
        period.rate
        for period in (program.currencies or {})[order.currency]
        if (period.starts_on is None or period.starts_on <= day) and (period.ends_on is None or day <= period.ends_on)
    ]
    return Fraction(rate)


def fits(when: When, order: Order, program: Program, tier_id: str, *, is_first: bool) -> bool:
    """Whether all that can be asked of an order at its posting holds; the minimum amount is asked later."""
    local = order.occurred_at.astimezone(program.zone)
    answers = [
        when.starts_on is None or local.date() >= when.starts_on,
        when.ends_on is None or local.date() <= when.ends_on,
        not when.hours or any(_is_within(hours, local) for hours in when.hours),
        not when.channels or order.attributes.get("channel") in when.channels,
        not when.tiers or tier_id in when.tiers,
        not when.customer_tags or any(tag in when.customer_tags for tag in order.customer_tags),
        when.first_order is None or when.first_order is is_first,
    ]
    for name, values in (when.attributes or {}).items():
        found = order.attributes.get(name)
        answers.append(any(type(found) is type(value) and found == value for value in values))
    return all(answers)


def _is_within(hours: object, local: datetime) -> bool:
    day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][local.weekday()]
    start, end, days = (getattr(hours, name) for name in ("start", "end", "days"))
    return day in [each.value for each in days] and start <= f"{local:%H:%M}" < end


def _is_among(lines: Lines, line: OrderLine) -> bool:
    if line.sku in lines.exclude_skus or line.kind in lines.exclude_kinds:
        return False
    if any(category in lines.exclude_categories for category in line.categories):
        return False
    if not lines.skus and not lines.categories:
        return True
    return line.sku in lines.skus or any(category in lines.categories for category in line.categories)


def _is_looked_for(part: AnyRule | AnyPromotion, each: Goods, program: Program) -> bool:
    """Whether the line counts by what it is and what its pieces cost, whatever is kept of it."""
    line = each.line
    if isinstance(part, ItemRule):
        is_article = line.sku in part.skus
    elif isinstance(part, CategoryRule):
        is_article = any(name in part.categories for name in line.categories) and line.sku not in part.exclude_skus
    else:
        is_article = _is_among(part.lines, line)
    asked = part if isinstance(part, ItemRule | CategoryRule) else part.lines
    is_by_piece = isinstance(part, ItemRule | CategoryRule) or asked.minimum_quantity is not None
    return (
        is_article
        and not (is_by_piece and _is_unpaid(part, each, program))
        and (asked.minimum_price is None or each.piece_price >= Fraction(asked.minimum_price))
        and (asked.maximum_price is None or each.piece_price <= Fraction(asked.maximum_price))
    )


def _counts(part: AnyRule | AnyPromotion, each: Goods, program: Program) -> bool:
    asked = part if isinstance(part, ItemRule | CategoryRule) else part.lines
    is_back = each.line.quantity < 0  # given back in exchange: as it was ordered, whatever is kept of it
    price = abs(each.ordered_price) if is_back else each.price
    pieces = abs(Fraction(each.line.quantity)) if is_back else each.pieces
    return (
        _is_looked_for(part, each, program)
        and (asked.minimum_amount is None or price >= Fraction(asked.minimum_amount))
        and (asked.minimum_quantity is None or pieces >= Fraction(asked.minimum_quantity))
    )


def _is_unpaid(part: AnyRule | AnyPromotion, each: Goods, program: Program) -> bool:
    own = part.free_pieces if isinstance(part, ItemRule | CategoryRule) else None
    return each.line.amount == 0 and (own or program.basis.free_pieces).value == "excluded"


def _is_enough(part: AnyRule | AnyPromotion, chosen: list[Goods], bought: list[Goods], program: Program) -> bool:
    amount, quantity = part.when.minimum_amount, part.when.minimum_quantity
    pieces = sum(each.pieces for each in chosen if not _is_unpaid(part, each, program))
    worth = sum(each.price for each in chosen)
    if (amount is not None and worth < Fraction(amount)) or (quantity is not None and pieces < Fraction(quantity)):
        return False
    counted = [e for e in bought if _is_looked_for(part, e, program) and not _is_unpaid(part, e, program)]
    least, most = part.when.minimum_price, part.when.maximum_price
    cost = sum((each.piece_price * each.pieces for each in counted), Fraction(0))
    number = sum((each.pieces for each in counted), Fraction(0))
    cost, number = (-cost, -number) if number < 0 else (cost, number)
    return (least is None or cost >= Fraction(least) * number) and (most is None or cost <= Fraction(most) * number)


def _rule_gives(
    rule: AnyRule,
    goods: list[Goods],
    bought: list[Goods],
    program: Program,
    tier_id: str,
    judged: Judged,
    only: AnyPromotion | None = None,
) -> tuple[int, Fraction | None]:
    """Points, and what is left over if the rule carries. With `only`: for some of the lines alone."""
    chosen = [each for each in goods if _counts(rule, each, program)]
    carried = judged.carried.get(rule.rule_id, Fraction(0))
    if not _is_enough(rule, chosen, bought, program):
        return 0, carried
    if only is not None:
        chosen = [each for each in chosen if _counts(only, each, program)]
    (tier,) = [tier for tier in program.tiers if tier.tier_id == tier_id]
    rate = Fraction(rule.points["*"] if "*" in rule.points else rule.points[tier_id]) * Fraction(tier.multiplier)
    left_over = None
    if isinstance(rule, SpendRule):
        to_points = _ROUNDINGS[rule.rounding.value]
        per = Fraction(rule.per_amount)
        total = sum((each.price for each in chosen), Fraction(0))
        if rule.carry:
            left_over = total + (carried if only is None or only.lines == Lines() else 0)
            steps = 0
            while left_over >= per:
                left_over, steps = left_over - per, steps + 1
            points = to_points(rate * steps)
        else:
            amounts = [each.price for each in chosen] if rule.round_per.value == "line" else [total]
            steps_of = [abs(amount) / per for amount in amounts]
            if rule.steps.value == "whole":
                steps_of = [Fraction(math.floor(number)) for number in steps_of]
            signs = [1 if amount > 0 else -1 for amount in amounts]
            points = max(0, sum(sign * to_points(n * rate) for sign, n in zip(signs, steps_of, strict=True)))
    elif isinstance(rule, VisitRule):
        points = math.floor(rate) if _is_kept(chosen) else 0
    else:
        pieces = max(Fraction(0), sum((each.pieces for each in chosen), Fraction(0)))
        points = _ROUNDINGS[rule.rounding.value](pieces * rate)
    limits = [rule.caps.per_order, judged.at_most.get(rule.rule_id)]
    return min([points, *(limit for limit in limits if limit is not None)]), left_over


def _is_kept(goods: list[Goods]) -> bool:
    """Whether any piece is: money alone is no goods."""
    return any(each.pieces for each in goods)


def _promotion_gives(
    promotion: AnyPromotion, goods: list[Goods], bought: list[Goods], bases: list[int], program: Program, judged: Judged
) -> int:
    chosen = [each for each in goods if _counts(promotion, each, program)]
    worth = sum((each.price for each in chosen), Fraction(0))
    if not chosen or not _is_enough(promotion, chosen, bought, program):
        return 0
    if isinstance(promotion, MultiplierPromotion):
        base = sum(bases) if program.combine.value == "stack" else max([0, *bases])
        more = base * (Fraction(promotion.multiplier) - 1)
    elif promotion.clawback.value != "proportional" and not _is_kept(chosen):
        return 0
    else:
        more = Fraction(promotion.points)
        whole = sum((each.price for each in bought if _counts(promotion, each, program)), Fraction(0))
        if promotion.clawback.value == "proportional" and whole > 0:
            more = more * max(Fraction(0), worth) / whole
    points = _ROUNDINGS[promotion.rounding.value](more)
    return min(points, judged.at_most.get(promotion.promotion_id, points))


def naive_earned(
    order: Order, refunds: list[Refund], program: Program, tier_id: str, judged: Judged = NOTHING_JUDGED
) -> Earned:
    """What the goods that were kept earn."""
    bought, kept = kept_goods(order, called_off(order, refunds), program), kept_goods(order, refunds, program)

    def seen(part: AnyRule | AnyPromotion) -> list[Goods]:
        is_whole = part.clawback.value == "never" or (part.clawback.value == "full_refund" and _is_kept(kept))
        return bought if is_whole else kept

    rules = [rule for rule in program.earning_rules if rule.rule_id not in judged.excluded]
    gives: dict[str, int] = {}
    left_over: dict[str, Fraction] = {}
    for rule in rules:
        gives[rule.rule_id], left = _rule_gives(rule, seen(rule), bought, program, tier_id, judged)
        if isinstance(rule, SpendRule) and rule.carry and left is not None:
            left_over[rule.rule_id] = left
    by_name = {name: points for name, points in gives.items() if points}
    if program.combine.value == "best" and by_name:
        most = max(by_name.values())
        best = next(name for name, points in by_name.items() if points == most)
        by_name = {best: most}
    extra: dict[str, int] = {}
    for promotion in program.promotions:
        if promotion.promotion_id in judged.excluded:
            continue
        goods = seen(promotion)
        bases = [
            _rule_gives(rule, bought if goods is bought else seen(rule), bought, program, tier_id, judged, promotion)[0]
            for rule in rules
        ]
        points = _promotion_gives(promotion, goods, bought, bases, program, judged)
        if points:
            extra[promotion.promotion_id] = points
    if program.combine_promotions.value == "best" and extra:
        most = max(extra.values())
        best = next(name for name, points in extra.items() if points == most)
        extra = {best: most}
    spent = max(0, math.floor(sum((each.price for each in kept), Fraction(0)) * 100))
    is_paid = sum(each.price for each in kept) > 0 or any(each.line.amount > 0 for each in kept)
    return Earned(by_name | extra, left_over, spent, _is_kept(kept), is_paid)


def naive_points(order: Order, refunds: list[Refund], program: Program, tier_id: str) -> int:
    """The points that the goods that were kept earn."""
    return naive_earned(order, refunds, program, tier_id).points
