"""What an order earns: which part of it counts, how points are rounded, and what refunds leave of it."""

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import permutations
from typing import Any

import pytest

from core.domain.orders.basket import Basket
from core.domain.orders.earning import entitlement
from core.domain.orders.facts import Order, Refund
from core.domain.orders.goods import Goods
from core.domain.orders.reckoning import rounded
from core.domain.orders.refund_limits import refund_problem
from core.domain.orders.units import UNITS
from core.domain.outcomes import Reason
from core.domain.program import Program, Rounding
from tests.facts import line, order, part, program_with, refund, spend_rule

BASKET = (
    line("shirt", "60.00", 3, tax="12.00"),
    line("book", "40.00", tax="2.80"),
    line("postage", "5.00", tax="1.00", kind="shipping"),
    line("wrapping", "3.00", kind="fee"),
    line("rider", "2.00", kind="tip"),
    line("voucher", "50.00", kind="gift_card"),
)


def earning_basis(sold: Order, refunds: Sequence[Refund], program: Program) -> Fraction:
    return Fraction(Basket(Goods(sold, program.basis)).after(refunds).amount, UNITS)


@pytest.mark.parametrize(
    ("basis", "points_paid", "amount"),
    [
        pytest.param({}, "0", "100.00", id="products, before tax, without shipping, fees, tips and gift cards"),
        pytest.param({"tax": "included"}, "0", "114.80", id="with the tax of the lines that earn, if so switched"),
        pytest.param({"kinds": ["product", "shipping"]}, "0", "105.00", id="with shipping, if so switched"),
        pytest.param({"kinds": ["gift_card"]}, "0", "50.00", id="gift cards alone, if so switched"),
        pytest.param({}, "43.95", "75.00", id="without a quarter, where points paid a quarter of all with its tax"),
        pytest.param({"tax": "included"}, "43.95", "86.10", id="without a quarter of the tax too"),
        pytest.param({"points_paid": "included"}, "43.95", "100.00", id="with what points paid, if so switched"),
        pytest.param({}, "175.80", "0", id="nothing, when points paid for it all"),
    ],
)
def test_the_basis_is(basis: dict[str, Any], points_paid: str, amount: str) -> None:
    program = program_with(basis=basis)
    assert earning_basis(order(lines=BASKET, points_paid=points_paid), (), program) == Decimal(amount)


@pytest.mark.parametrize(
    ("amount", "rate", "per_amount", "floor", "ceil", "half_up", "half_even"),
    [
        ("105.00", "1", "10.00", 10, 11, 11, 10),
        ("115.00", "1", "10.00", 11, 12, 12, 12),
        ("105.01", "1", "10.00", 10, 11, 11, 11),
        ("104.99", "1", "10.00", 10, 11, 10, 10),
        ("100.00", "1", "10.00", 10, 10, 10, 10),
        ("0.01", "1", "10.00", 0, 1, 0, 0),
        ("0", "1", "10.00", 0, 0, 0, 0),
        ("19.99", "1.5", "1.00", 29, 30, 30, 30),
        ("1.00", "1", "3.00", 0, 1, 0, 0),
        ("2.00", "1", "3.00", 0, 1, 1, 1),
        ("999999999999.9999", "1000000", "0.0001", *[9_999_999_999_999_999_000_000] * 4),
    ],
)
def test_points_are_rounded_once_and_exactly(
    amount: str, rate: str, per_amount: str, floor: int, ceil: int, half_up: int, half_even: int
) -> None:
    for rounding, points in [("floor", floor), ("ceil", ceil), ("half_up", half_up), ("half_even", half_even)]:
        program = program_with(earning_rules=[spend_rule(rate, per_amount=per_amount, rounding=rounding)])
        assert entitlement(order(amount), (), program, "bronze").points == points, rounding


def test_amounts_that_floats_get_wrong_are_exact() -> None:
    # 0.1 + 0.2 is not 0.3 in floats, and 1.1 * 1.1 is above 1.21.
    program = program_with(earning_rules=[spend_rule("1", per_amount="0.10", rounding="ceil")])
    assert entitlement(order(lines=[line("1", "0.10"), line("2", "0.20")]), (), program, "bronze").points == 3
    program = program_with(earning_rules=[spend_rule("1.1", per_amount="0.0001", rounding="ceil")])
    assert entitlement(order("1.1"), (), program, "bronze").points == 12_100


def test_the_lines_of_an_order_are_rounded_together() -> None:
    lines = [line(str(n), "0.50") for n in range(4)]
    assert entitlement(order(lines=lines), (), program_with(), "bronze").points == 2


@pytest.mark.parametrize(("tier_id", "points"), [("bronze", 100), ("silver", 150), ("gold", 201)])
def test_every_tier_has_its_rate(tier_id: str, points: int) -> None:
    assert entitlement(order("100.50"), (), program_with(), tier_id).points == points


@pytest.mark.parametrize(("combine", "points"), [("best", 15), ("stack", 25)])
def test_several_rules_give_the_best_or_all_each_rounded_on_its_own(combine: str, points: int) -> None:
    rules = [spend_rule("1"), spend_rule("1.5", rule_id="bonus")]
    assert entitlement(order("10.50"), (), program_with(combine=combine, earning_rules=rules), "gold").points == points


def test_the_calculation_is_explained() -> None:
    rules = [spend_rule("1.5"), spend_rule("1", rule_id="small", per_amount="3", rounding="half_up")]
    program = program_with(combine="stack", earning_rules=rules)
    earned = entitlement(order("10.50"), (), program, "silver")
    assert earned.why == {
        "tier": "silver",
        "basis_amount": "10.5",
        "rules": [
            {"rule_id": "spend", "points_per": "1.5", "per_amount": "1.00", "rounding": "floor", "points": 15},
            {"rule_id": "small", "points_per": "1", "per_amount": "3", "rounding": "half_up", "points": 4},
        ],
    }
    assert earned.points == 19


@pytest.mark.parametrize(
    ("amount", "quantity", "returned", "text"),
    [
        ("100.00", 1, 0, "100"),
        ("1234567.10", 1, 0, "1234567.1"),
        ("0.00", 1, 0, "0"),
        ("10.00", 4, 1, "7.5"),
        ("10.00", 3, 1, "6.6666…"),
        ("0.0001", 3, 1, "0…"),
    ],
)
def test_an_amount_is_written_exactly_or_marked_as_cut(amount: str, quantity: int, returned: int, text: str) -> None:
    sold = order(lines=[line(amount=amount, quantity=quantity)])
    refunds = [refund(part(quantity=returned))] if returned else []
    assert entitlement(sold, refunds, program_with(), "bronze").why["basis_amount"] == text


GOODS = (line("shirt", "60.00", 3), line("book", "40.00"), line("postage", "10.00", kind="shipping"))


@pytest.mark.parametrize(
    ("refunds", "left"),
    [
        pytest.param([], "100", id="nothing refunded"),
        pytest.param([refund()], "0", id="in full"),
        pytest.param([refund(part("shirt", quantity=1))], "80", id="one of three pieces"),
        pytest.param([refund(part("shirt", quantity="1.5"))], "70", id="one and a half of three pieces"),
        pytest.param([refund(part("shirt", net="15.00"))], "85", id="money for a line"),
        pytest.param([refund(part("shirt", quantity=1, net="15.00"))], "80", id="a piece, less the fee that is kept"),
        pytest.param([refund(part("shirt", quantity=1, net="0"))], "80", id="a piece, and no money"),
        pytest.param([refund(part("shirt", quantity=1, net="25.00"))], "75", id="a piece, and more than it cost"),
        pytest.param([refund(part("postage", quantity=1))], "100", id="a line that does not earn"),
        pytest.param([refund(part("shirt", quantity=1), part("book", quantity=1))], "40", id="pieces of two lines"),
        pytest.param([refund(net="11.00")], "90", id="a tenth of all lines, the postage too"),
        pytest.param([refund(net="110.00")], "0", id="an amount that is all of it"),
        pytest.param([refund(net="0.00")], "100", id="an amount of nothing"),
        pytest.param(
            [refund(part("shirt", quantity=1)), refund(part("shirt", quantity=1))], "60", id="the same line twice"
        ),
        pytest.param(
            [refund(part("shirt", quantity=1)), refund(part("shirt", net="20.00"))], "60", id="pieces, then money"
        ),
        pytest.param(
            [refund(part("shirt", quantity=2)), refund(part("shirt", quantity=2))],
            "40",
            id="more of a line than there was takes nothing from the others",
        ),
        pytest.param(
            [refund(part("shirt", quantity=3)), refund(net="10.00")], "32", id="a fifth of the lines that are left"
        ),
        pytest.param([refund(net="60.00"), refund(net="60.00")], "0", id="amounts beyond the order"),
        pytest.param([refund(net="11.00"), refund()], "0", id="an amount, then the rest"),
        pytest.param([refund(net="11.00"), refund(paid="11.00")], "80", id="a tenth of each kind"),
        pytest.param(
            [refund(part("book", quantity=1)), refund(part("shirt", quantity=3)), refund(net="10.00")],
            "0",
            id="every good by line, the postage by amount",
        ),
    ],
)
def test_refunds_leave(refunds: Sequence[Refund], left: str) -> None:
    sold = order(lines=GOODS)
    for arrival in permutations(refunds):
        assert earning_basis(sold, arrival, program_with()) == Fraction(left)


def test_what_points_paid_is_spread_over_what_is_kept() -> None:
    sold = order(lines=[line("1", "80.00", 4), line("2", "20.00")], points_paid="25.00")
    assert earning_basis(sold, [refund(part("1", quantity=2))], program_with()) == 45


def test_tax_goes_back_with_its_line() -> None:
    program = program_with(basis={"tax": "included"})
    sold = order(lines=[line("1", "100.00", 4, tax="20.00"), line("2", "50.00", tax="5.00")])
    assert earning_basis(sold, [refund(part("1", quantity=1))], program) == 145
    assert earning_basis(sold, [refund(part("1", net="25.00"))], program) == 145
    assert earning_basis(sold, [refund(part("1", paid="30.00"))], program) == 145
    assert earning_basis(sold, [refund(net="75.00")], program) == Fraction("87.5")
    assert earning_basis(sold, [refund(paid="87.50")], program) == Fraction("87.5")


FREE = (line("1", "10.00", tax="2.00"), line("free", "0.00", 2, tax="5.00"))


@pytest.mark.parametrize(
    ("refunds", "left"),
    [
        pytest.param([refund(part("free", quantity=1))], "14.5", id="pieces of it"),
        pytest.param([refund(part("free", quantity=1, net="0.00"))], "14.5", id="pieces, and no money"),
        pytest.param([refund(part("free", paid="5.00"))], "12", id="money, which is its tax"),
        pytest.param([refund(part("free", net="0.00"))], "17", id="no money"),
        pytest.param([refund(part("1", quantity=1)), refund(net="1.00")], "0", id="net money when none of it is left"),
        pytest.param([refund(net="10.00"), refund(part("1", quantity=1))], "0", id="the same before"),
        pytest.param([refund(part("1", quantity=1)), refund(paid="1.00")], "4", id="paid money, a fifth of the tax"),
    ],
)
def test_a_line_that_cost_nothing_but_its_tax_is_refunded_too(refunds: Sequence[Refund], left: str) -> None:
    program = program_with(basis={"tax": "included"})
    for arrival in permutations(refunds):
        assert earning_basis(order(lines=FREE), arrival, program) == Fraction(left)


def test_an_order_of_no_amount_earns_nothing_and_can_be_refunded() -> None:
    for refunds in [[], [refund()], [refund(part(quantity=1))], [refund(part(net="0"))], [refund(net="0")]]:
        assert entitlement(order("0.00"), refunds, program_with(), "gold").points == 0


@pytest.mark.parametrize(
    ("refunds", "points"),
    [
        pytest.param(["1.00"], 9, id="1.00 of 100.00 costs a point of 1 per 10.00, since 99.00 earn 9"),
        pytest.param(["1.00", "5.00"], 9, id="and 5.00 more cost no other"),
        pytest.param(["1.00", "5.00", "4.01"], 8, id="until less than 90.00 are left"),
        pytest.param(["10.01"], 8, id="as with one refund of the sum"),
    ],
)
def test_small_refunds_add_up_to_what_one_would_cost(refunds: list[str], points: int) -> None:
    program = program_with(earning_rules=[spend_rule("1", per_amount="10.00")])
    given_back = [refund(net=amount, refund_id=f"r{n}") for n, amount in enumerate(refunds)]
    assert entitlement(order("100.00"), given_back, program, "bronze").points == points


def test_three_thirds_of_a_line_are_all_of_it() -> None:
    thirds = [refund(part(quantity=1), refund_id=f"r{n}") for n in range(3)]
    points = [
        entitlement(order(lines=[line(quantity=3)]), thirds[:n], program_with(), "bronze").points for n in range(4)
    ]
    assert points == [100, 66, 33, 0]


@pytest.mark.parametrize(
    ("bad", "reason", "detail"),
    [
        (refund(part("hat", quantity=1)), Reason.UNKNOWN_LINE, r"lines\[0\]\.line_id .* one of its 2 lines"),
        (refund(part("2", quantity=1), part("1", quantity=4)), Reason.REFUND_EXCEEDS_ORDER, r"lines\[1\].* 4, .* 3 "),
        (
            refund(part("1", net="60.02")),
            Reason.REFUND_EXCEEDS_ORDER,
            r"net is 60\.02, more than the 60\.00 EUR that the line cost without tax; if .* as paid, else send at most",
        ),
        (
            refund(part("1", paid="72.02")),
            Reason.REFUND_EXCEEDS_ORDER,
            r"lines\[0\]\.paid is 72\.02, more than the 72\.00 EUR that the customer paid for the line, with tax; send",
        ),
        (
            refund(net="112.03"),
            Reason.REFUND_EXCEEDS_ORDER,
            r"net is 112\.03, more than the 100\.00 EUR .* at most 100",
        ),
        (
            refund(paid="112.03"),
            Reason.REFUND_EXCEEDS_ORDER,
            r'paid is 112\.03, more than the 112\.00 EUR .*; send at most 112\.00, or "full": true for everything',
        ),
        (
            refund(paid="30.00", currency="GBP"),
            Reason.WRONG_CURRENCY,
            r"data\.currency is GBP, but the order is in EUR; send what was given back in EUR, in a new event",
        ),
    ],
)
def test_a_refund_that_cannot_be_of_its_order_is_parked(bad: Refund, reason: Reason, detail: str) -> None:
    sold = order(lines=[line("1", "60.00", 3, tax="12.00"), line("2", "40.00")])
    parked = refund_problem(Goods(sold, program_with().basis), bad)
    assert parked is not None
    assert parked.reason is reason
    assert re.search(detail, parked.detail)


@pytest.mark.parametrize(
    "good",
    [
        refund(),
        refund(part("1", quantity=3)),
        refund(part("1", net="60.01")),
        refund(part("1", paid="72.01")),
        refund(net="100.02"),
        refund(paid="112.02"),
        refund(paid="30.00", currency="EUR"),
        refund(part("1", quantity="0.5", net="1.00"), part("2", net="0")),
    ],
)
def test_a_refund_of_all_that_was_paid_and_a_cent_for_each_line_is_taken(good: Refund) -> None:
    sold = order(lines=[line("1", "60.00", 3, tax="12.00"), line("2", "40.00")])
    assert refund_problem(Goods(sold, program_with().basis), good) is None


@pytest.mark.parametrize("rounding", Rounding)
def test_every_rounding_keeps_whole_points(rounding: Rounding) -> None:
    assert [rounded(7 * n, 7, rounding) for n in range(4)] == [0, 1, 2, 3]


def test_more_refunds_never_earn_more() -> None:
    # A refunded amount is spread over the goods that are kept; if it is more than they cost, nothing is kept.
    sold = order(lines=[line("0", "50.00"), line("1", "50.00"), line("p", "20.00", kind="shipping")])
    refunds = [refund(net="60.00"), refund(part("p", quantity=1)), refund(part("0", quantity=1))]
    points = [entitlement(sold, refunds[:n], program_with(), "bronze").points for n in range(4)]
    assert points == [100, 50, 40, 0]
