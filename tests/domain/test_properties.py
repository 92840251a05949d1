"""What holds for every order and every set of refunds, not only for those in the tables."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import cycle, islice, product
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from core.domain.orders.earning import entitlement
from core.domain.orders.facts import Order, Refund
from core.domain.orders.goods import Goods
from core.domain.orders.refund_limits import refund_problem
from core.domain.program import ClawbackPolicy, Combine, KeptFeesBasis, PointsPaidBasis, Program, Rounding, TaxBasis
from tests.domain.book import Book
from tests.domain.naive_earning import naive_points
from tests.facts import instant, line, order, part, program_with, refund, spend_rule

START = instant("2026-01-10")
KINDS = st.sampled_from(["product", "product", "product", "shipping", "gift_card"])


def cents(largest: int) -> st.SearchStrategy[str]:
    """Amounts of two places, or now and then of four."""
    return st.one_of(
        st.integers(0, largest).map(lambda n: str(Decimal(n).scaleb(-2))),
        st.integers(0, largest * 100).map(lambda n: str(Decimal(n).scaleb(-4))),
    )


POLICIES = [
    {"clawback": {"policy": clawback.value}, "expiry": expiry}
    for clawback in ClawbackPolicy
    for expiry in ({"policy": "never"}, {"policy": "after_months", "months": 1})
]


def various_programs() -> list[Program]:
    """Programs in which every switch stands each way beside most others. Built once, since that is what takes long."""
    rates = cycle(["0", "0.3333", "1", "1.5", "2.5", "7", "1.3"])
    per_amounts = cycle(["0.7", "1.00", "3", "10"])
    switches = product(
        Rounding,
        Combine,
        POLICIES,
        (["product"], ["product", "shipping"]),
        TaxBasis,
        PointsPaidBasis,
        KeptFeesBasis,
        (1, 2),
    )
    found = []
    for rounding, combine, policies, kinds, tax, points_paid, kept_fees, rules in islice(switches, 0, None, 13):
        of_rules = [
            spend_rule(
                {tier_id: next(rates) for tier_id in ("bronze", "silver", "gold")},
                rule_id=f"r{n}",
                per_amount=next(per_amounts),
                rounding=rounding,
            )
            for n in range(rules)
        ]
        basis = {"kinds": kinds, "tax": tax, "points_paid": points_paid, "kept_fees": kept_fees}
        found.append(program_with(earning_rules=of_rules, combine=combine, basis=basis, **policies))
    return found


programs = st.sampled_from(various_programs())
policies = st.sampled_from(POLICIES)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    lines = [
        line(
            str(n),
            draw(cents(20_000)),
            draw(st.integers(1, 4)),
            tax=draw(st.one_of(st.just("0"), cents(4_000))),
            kind=draw(KINDS),
        )
        for n in range(draw(st.integers(1, 4)))
    ]
    gross = sum((each.amount + each.tax for each in lines), Decimal(0))
    paid = Decimal(draw(st.one_of(st.just("0"), cents(10_000), st.just(str(gross)))))
    return order(lines=lines, at=START, points_paid=min(paid, gross))


@st.composite
def refunds_of(draw: st.DrawFn, sold: Order) -> Refund:
    """Any refund of this order that is valid on its own."""
    whole = draw(st.integers(0, 9))
    if whole == 0:
        return refund(at=START)
    if whole == 1:
        return refund(net=Decimal(draw(cents(int(sold.total_net * 100)))), at=START)
    if whole <= 3:
        return refund(paid=Decimal(draw(cents(int((sold.total_gross - sold.points_paid) * 100)))), at=START)
    parts = []
    for each in draw(st.lists(st.sampled_from(sold.lines), min_size=1, unique_by=lambda each: each.line_id)):
        shape = draw(st.sampled_from(["pieces", "money", "both"]))
        quantity = str(draw(st.integers(1, int(each.quantity) * 2)) / Decimal(2)) if shape != "money" else None
        money: dict[str, str] = {}
        if shape != "pieces":
            paid = (each.amount + each.tax) * (1 - sold.points_paid / (sold.total_gross or 1))
            kind, most = draw(st.sampled_from([("net", each.amount), ("paid", paid)]))
            money[kind] = draw(cents(int(most * 100)))
        parts.append(part(each.line_id, quantity=quantity, **money))
    return refund(*parts, at=START)


def numbered(refunds: Sequence[Refund]) -> list[Refund]:
    return [each._replace(refund_id=f"r{n}") for n, each in enumerate(refunds)]


@st.composite
def orders_with_refunds(draw: st.DrawFn) -> tuple[Order, list[Refund]]:
    sold = draw(orders())
    return sold, numbered(draw(st.lists(refunds_of(sold), max_size=4)))


@given(orders_with_refunds(), programs, st.sampled_from(["bronze", "silver", "gold"]))
def test_an_order_earns_what_the_naive_model_says(
    facts: tuple[Order, list[Refund]], program: Program, tier_id: str
) -> None:
    sold, refunds = facts
    assert all(refund_problem(Goods(sold, program.basis), each) is None for each in refunds)
    assert entitlement(sold, refunds, program, tier_id).points == naive_points(sold, refunds, program, tier_id)


@given(st.data(), programs)
def test_refunded_pieces_leave_what_buying_only_the_kept_ones_would_have(data: st.DataObject, program: Program) -> None:
    prices = data.draw(st.lists(st.tuples(cents(9_000), st.integers(1, 5), KINDS), min_size=1, max_size=4))
    kept = [data.draw(st.integers(0, quantity)) for _, quantity, _ in prices]
    sold = order(lines=goods(prices, [quantity for _, quantity, _ in prices]), at=START)
    refunds = []
    for n, (price, quantity, _) in enumerate(prices):
        left = quantity - kept[n]
        while left:  # in any number of steps, by pieces or by their price
            some = data.draw(st.integers(1, left))
            money = str(some * Decimal(price))
            by_pieces = part(str(n), quantity=some)
            refunds.append(refund(data.draw(st.sampled_from([by_pieces, part(str(n), net=money)])), at=START))
            left -= some
    assume(all(Decimal(price) for price, _, _ in prices))
    expected = entitlement(order(lines=goods(prices, kept), at=START), (), program, "silver").points
    book = Book(program)
    book.account = book.account._replace(tier_id="silver")
    book.complete(sold)
    for each in data.draw(st.permutations(numbered(refunds))):
        book.refund(each)
    assert book.orders["o1"].points_entitled == expected
    if program.clawback.policy is not ClawbackPolicy.PENDING_ONLY:
        assert (book.account.balance, book.account.lifetime_points) == (expected, expected)


def goods(prices: list[tuple[str, int, str]], quantities: list[int]) -> list[Any]:
    return [
        line(str(n), quantity * Decimal(price), max(1, quantity), kind=kind)
        for n, ((price, _, kind), quantity) in enumerate(zip(prices, quantities, strict=True))
    ]


@given(cents(50_000), st.lists(st.integers(1, 40), max_size=4), st.integers(0, 30), programs)
def test_refunded_shares_leave_what_an_order_of_the_rest_would_have(
    amount: str, percents: list[int], paid_percent: int, program: Program
) -> None:
    rest = max(0, 100 - sum(percents))
    amounts = [Decimal(amount) * percent / 100 for percent in (*percents, rest, paid_percent)]
    paid_of_rest = Decimal(amount) * rest * paid_percent / 10_000
    assume(all(each == round(each, 4) for each in (*amounts, paid_of_rest)))
    sold = order(amount, points_paid=amounts[-1])
    refunds = [refund(net=each) for each in amounts[:-2]]
    kept = order(amounts[-2], points_paid=paid_of_rest)
    assert entitlement(sold, refunds, program, "gold").points == entitlement(kept, (), program, "gold").points
