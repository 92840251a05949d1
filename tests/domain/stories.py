"""Stories for the property tests: what reaches one account, in the sequence in which it is recorded, from numbers."""

from datetime import datetime
from decimal import Decimal

from hypothesis import strategies as st

from core.domain.orders.facts import AmendedOrder, Order, OrderLine, Refund
from tests.domain.valid_programs import CATEGORIES, SKUS
from tests.facts import instant, line, order, part, refund

START = instant("2026-01-10")
Step = tuple[str, int, int]
SHOP = (
    *["order"] * 4,
    *["refund"] * 4,
    *["amend", "amend", "revert", "revert"],
    *["parcel", "parcel", "parcel", "return", "claim", "claim"],
    *["fulfil", "fulfil", "cancel"],
)
KINDS = (*SHOP, "spend", "pass", "pass", "expire", "release", "review", "change")
steps = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 10_000), st.integers(0, 200)), min_size=2, max_size=18
)


def some_lines(number: int) -> list[OrderLine]:
    """One to three lines, chosen by a number."""
    lines = []
    for n in range(1 + number % 3):
        which = number // (3 + n)
        lines.append(
            line(
                str(n),
                Decimal(0 if which % 9 == 4 else which * 37 % 9000).scaleb(-2),
                1 + which % 4,
                tax=str(Decimal(which * 11 % 900).scaleb(-2)) if which % 5 == 0 else "0",
                kind="shipping" if which % 7 == 6 else "gift_card" if which % 17 == 16 else "product",
                sku=SKUS[which % len(SKUS)],
                categories=CATEGORIES[: which % 4],
            )
        )
    return lines


def some_order(order_id: str, number: int, at: datetime) -> Order:
    """An order, chosen by a number."""
    currency, rate = {1: ("CHF", None), 5: ("CHF", "1.2"), 6: ("ZAR", "0.05291234")}.get(number % 13, ("EUR", None))
    lines = some_lines(number)
    cost = sum((each.amount + each.tax for each in lines), Decimal(0))
    return order(
        order_id=order_id,
        currency=currency,
        rate=rate,
        lines=lines,
        at=at,
        points_paid=min(Decimal("7.31"), cost) if number % 6 == 5 else "0",
        attributes={"channel": ("web", "till")[number % 2], "paid": number % 3 > 0, "till": number % 4},
        customer_tags=[["vip"], [], ["staff", "press"]][number % 3],
    )


def some_refund(sold: Order, refund_id: str, number: int, at: datetime) -> Refund:
    """One of the refunds of an order, chosen by a number."""
    bought = [line for line in sold.lines if line.quantity > 0]  # of what was given back nothing can be refunded
    one = bought[number % len(bought)]
    match number % 8:
        case 0:
            return refund(order_id=sold.order_id, refund_id=refund_id, at=at)
        case 1 | 2:
            share = round(sold.total_net * (number % 60) / 100, 2)
            return refund(net=share, order_id=sold.order_id, refund_id=refund_id, at=at)
        case 3:
            given = part(one.line_id, net=str(round(one.amount / 3, 2)))
        case 4:
            paid = (sold.total_gross - sold.points_paid) * (number % 60) / 100
            return refund(paid=round(paid, 2), order_id=sold.order_id, refund_id=refund_id, at=at)
        case 5:
            given = part(one.line_id, quantity=1, net=str(round(one.amount * (number % 7) / 6, 2)))
        case _:
            given = part(one.line_id, quantity=1 + number % int(one.quantity))
    return refund(given, order_id=sold.order_id, refund_id=refund_id, at=at)


def given_back(one: OrderLine, number: int) -> OrderLine:
    """A line below zero of some of the pieces of this one, or of all."""
    pieces = 1 + number // 5 % int(one.quantity)
    amount, tax = (-round(each * pieces / one.quantity, 2) for each in (one.amount, one.tax))
    return one._replace(line_id=f"{one.line_id} back", quantity=Decimal(-pieces), amount=amount, tax=tax)


def some_amendment(sold: Order, named: set[str], revision: int, number: int, at: datetime) -> AmendedOrder:
    """What an order became, chosen by a number: other lines and other money, and all lines that are `named` already.

    Now and then pieces of a line are given back in exchange.
    """
    lines = some_lines(number)
    if number % 5 < 2:
        lines.append(given_back(lines[number % len(lines)], number))
    there = {line.line_id for line in lines}
    lines += [line for line in sold.lines if line.line_id in named - there]
    gross = sum((line.amount + line.tax for line in lines), Decimal(0))
    now = some_order(sold.order_id, number, sold.occurred_at)._replace(
        lines=tuple(lines),
        points_paid=min(gross, Decimal(number % 3)),
        currency=sold.currency,
        rate=sold.rate,
        customer_id=sold.customer_id,
    )
    return AmendedOrder(sold.source, sold.order_id, at, revision, now)
