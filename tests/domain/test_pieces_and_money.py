"""What refunds leave of an order: what came back is counted in pieces, what was paid back in money."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.orders.basket import Basket
from core.domain.orders.earning import entitlement
from core.domain.orders.facts import Order, Refund, RefundLine
from core.domain.orders.goods import Goods
from core.domain.orders.units import number_of
from core.domain.program import Program
from tests.domain.test_properties import numbered, orders, refunds_of
from tests.facts import line, order, part, program_with, refund, spend_rule

CUPS = line("cups", "80.00", 2, tax="16.00", sku="CUP")
POT = line("pot", "20.00", tax="4.00")
POSTAGE = line("postage", "5.00", tax="1.00", kind="shipping")
FEES_EARN = {"kept_fees": "included"}


def kept(sold: Order, refunds: Sequence[Refund], basis: dict[str, Any]) -> tuple[Decimal, Decimal]:
    """Pieces and money."""
    basket = Basket(Goods(sold, program_with(basis=basis).basis)).after(refunds)
    return number_of(basket.quantity_of(basket.goods.all)), number_of(basket.amount)


@pytest.mark.parametrize(
    ("refunds", "pieces", "money", "with_fees"),
    [
        pytest.param([], 3, "100", "100", id="nothing refunded"),
        pytest.param([refund()], 0, "0", "0", id="everything"),
        pytest.param([refund(part("cups", quantity=1))], 2, "60", "60", id="a piece, with its price"),
        pytest.param([refund(part("cups", net="8.00"))], 3, "92", "92", id="a price adjustment, without tax"),
        pytest.param([refund(part("cups", paid="9.60"))], 3, "92", "92", id="the same, with tax"),
        pytest.param([refund(part("cups", net="80.00"))], 3, "20", "20", id="all the money, and the goods are kept"),
        pytest.param([refund(part("cups", quantity=1, net="40.00"))], 2, "60", "60", id="a piece and its price"),
        pytest.param([refund(part("cups", quantity=1, net="30.00"))], 2, "60", "70", id="a piece, less a fee of 10.00"),
        pytest.param([refund(part("cups", quantity=1, paid="36.00"))], 2, "60", "70", id="the same fee, with tax"),
        pytest.param([refund(part("cups", quantity=1, net="0"))], 2, "60", "100", id="a piece, and no money"),
        pytest.param([refund(part("cups", quantity=1, net="55.00"))], 2, "45", "45", id="a piece, and more money"),
        pytest.param(
            [refund(part("cups", quantity=1, net="30.00")), refund(part("cups", quantity=1, net="50.00"))],
            1, "20", "20", id="two pieces, of which one cost the fee and the other gave it back",
        ),
        pytest.param(
            [refund(part("cups", quantity=1)), refund(part("cups", net="8.00"))], 2, "52", "52", id="a piece and money"
        ),
        pytest.param([refund(net="10.50")], 3, "90", "90", id="a goodwill payment of a tenth, without tax"),
        pytest.param([refund(paid="12.60")], 3, "90", "90", id="the same, with tax and postage"),
        pytest.param([refund(paid="126.00")], 3, "0", "0", id="a goodwill payment of everything"),
        pytest.param([refund(paid="12.60"), refund(net="10.50")], 3, "80", "80", id="a tenth of each kind of money"),
        pytest.param(
            [refund(part("cups", quantity=2)), refund(paid="15.00")], 1, "10", "10", id="half of what is left in money"
        ),
        pytest.param([refund(part("pot", quantity=1)), refund(part("cups", quantity=2))], 0, "0", "0", id="all goods"),
        pytest.param(
            [refund(part("pot", quantity=1, net="15.00")), refund(part("cups", quantity=2))],
            0, "0", "5", id="all goods, and a fee is kept",
        ),
        pytest.param([refund(part("cups", quantity=2)), refund(part("cups", quantity=2))], 1, "20", "20", id="twice"),
        pytest.param([refund(part("cups", quantity="0.5"))], Decimal("2.5"), "80", "80", id="half a piece, as it says"),
        pytest.param([refund(part("postage", paid="6.00"))], 3, "100", "100", id="the money of what does not earn"),
    ],
)  # fmt: skip
def test_refunds_leave_pieces_and_money(refunds: list[Refund], pieces: Decimal, money: str, with_fees: str) -> None:
    sold = order(lines=[CUPS, POT, POSTAGE])
    for arrival in permutations(refunds):
        assert kept(sold, arrival, {"kinds": ["product"]}) == (pieces, Decimal(money))
        assert kept(sold, arrival, FEES_EARN) == (pieces, Decimal(with_fees))


@pytest.mark.parametrize(
    ("given_back", "left"),
    [
        pytest.param([], "50", id="half paid with points earns half, postage and tax too"),
        pytest.param([refund(paid="31.50")], "25", id="half of the money that the customer had paid"),
        pytest.param([refund(net="52.50")], "25", id="the same, as it was before points"),
        pytest.param([refund(paid="63.00")], "0", id="all of the money"),
        pytest.param([refund(part("cups", paid="24.00"))], "30", id="half of a line in money"),
        pytest.param([refund(part("cups", net="40.00"))], "30", id="the same, as it was before points"),
        pytest.param([refund(part("cups", quantity=1))], "30", id="half of a line in pieces"),
    ],
)
def test_points_paid_for_every_line_alike(given_back: list[Refund], left: str) -> None:
    sold = order(lines=[CUPS, POT, POSTAGE], points_paid="63.00")
    assert kept(sold, given_back, {})[1] == Decimal(left)


PIECES = {"rule_id": "pieces", "kind": "item", "skus": ["CUP"], "points": 10}
VISIT = {"rule_id": "visit", "kind": "visit", "points": 7}
GIFT = {"promotion_id": "gift", "kind": "addition", "points": 100, "clawback": "full_refund"}
EVERY_WAY = program_with(earning_rules=[spend_rule(), PIECES, VISIT], combine="stack", promotions=[GIFT])


@pytest.mark.parametrize(
    ("refunds", "given"),
    [
        pytest.param([], {"spend": 100, "pieces": 20, "visit": 7, "gift": 100}, id="nothing refunded"),
        pytest.param(
            [refund(part("cups", net="8.00"))], {"spend": 92, "pieces": 20, "visit": 7, "gift": 100}, id="money alone"
        ),
        pytest.param([refund(paid="126.00")], {"pieces": 20, "visit": 7, "gift": 100}, id="all the money"),
        pytest.param(
            [refund(part("cups", quantity=1, net="10.00"))],
            {"spend": 60, "pieces": 10, "visit": 7, "gift": 100},
            id="a piece, less a fee",
        ),
        pytest.param(
            [refund(part("cups", quantity=2, net="1.00"), part("pot", quantity=1, net="1.00"))],
            {},
            id="all goods, for whatever money",
        ),
        pytest.param(
            [refund(part("postage", quantity=1))],
            {"spend": 100, "pieces": 20, "visit": 7, "gift": 100},
            id="what does not earn",
        ),
    ],
)  # fmt: skip
def test_goods_decide_for_pieces_visits_and_full_refunds_and_money_for_amounts(
    refunds: list[Refund], given: dict[str, int]
) -> None:
    earned = entitlement(order(lines=[CUPS, POT, POSTAGE]), refunds, EVERY_WAY, "bronze")
    assert dict(earned.given) == given
    assert earned.qualifying.orders == (1 if given else 0)


def test_a_kept_fee_earns_for_its_money_and_for_nothing_else() -> None:
    program = program_with(
        earning_rules=[spend_rule(), PIECES, VISIT], combine="stack", promotions=[GIFT], basis=FEES_EARN
    )
    back = refund(part("cups", quantity=2, net="75.00"), part("pot", quantity=1))
    earned = entitlement(order(lines=[CUPS, POT, POSTAGE]), [back], program, "bronze")
    assert (dict(earned.given), earned.qualifying) == ({"spend": 5}, (5, 500, 0))


def test_a_minimum_amount_looks_at_the_money_that_is_kept() -> None:
    rule = {**PIECES, "when": {"minimum_amount": "75.00"}}
    program = program_with(earning_rules=[rule])
    points = [
        entitlement(order(lines=[CUPS]), [refund(part("cups", net=net))], program, "bronze").points
        for net in ("5.00", "5.01")
    ]
    assert points == [20, 0]


def test_the_explanation_names_pieces_and_money_that_are_kept() -> None:
    why = entitlement(order(lines=[CUPS, POT]), [refund(part("cups", net="8.00"))], EVERY_WAY, "bronze").why
    pieces = next(rule for rule in why["rules"] if rule["rule_id"] == "pieces")
    assert (why["basis_amount"], pieces["quantity"], pieces["lines"]) == ("92", "2", {"cups": ["72", "2"]})


def test_a_cent_for_each_line_that_is_too_much_is_rounding() -> None:
    thirds = [line(str(n), "8.1301", tax="1.8699") for n in range(3)]
    assert entitlement(order(lines=thirds), [refund(paid="30.01")], program_with(), "bronze").points == 0


SWITCHES = [
    {"tax": tax, "points_paid": points_paid, "kept_fees": kept_fees}
    for tax in ("excluded", "included")
    for points_paid in ("excluded", "included")
    for kept_fees in ("excluded", "included")
]
programs = st.sampled_from(
    [
        program_with(
            earning_rules=[spend_rule("1.7"), PIECES, VISIT],
            combine="stack",
            promotions=[GIFT, {**GIFT, "promotion_id": "share", "clawback": "proportional"}],
            basis=basis,
        )
        for basis in SWITCHES
    ]
)


def with_cups(sold: Order) -> Order:
    return sold._replace(lines=tuple(each._replace(sku="CUP") for each in sold.lines))


def halved(given_back: Refund) -> list[Refund]:
    """The same in two refunds."""

    def half(number: Decimal | None, *, first: bool) -> Decimal | None:
        if number is None:
            return None
        part_of = (number / 2).quantize(Decimal("0.0001"))
        return part_of if first else number - part_of

    def of_line(each: RefundLine, *, first: bool) -> RefundLine:
        return RefundLine(each.line_id, *(half(number, first=first) for number in each[1:]))

    return [
        given_back._replace(
            paid=half(given_back.paid, first=first),
            net=half(given_back.net, first=first),
            lines=tuple(of_line(each, first=first) for each in given_back.lines),
        )
        for first in (True, False)
    ]


@given(st.data(), programs)
def test_neither_splits_nor_arrival_matter(data: st.DataObject, program: Program) -> None:
    sold = with_cups(data.draw(orders()))
    together = data.draw(st.lists(refunds_of(sold), min_size=1, max_size=4))
    parts = [each for whole in together for each in halved(whole)]
    in_any_order = data.draw(st.permutations(numbered(parts)))
    one, other = (entitlement(sold, refunds, program, "gold") for refunds in (numbered(together), in_any_order))
    assert (one.points, one.given, one.qualifying) == (other.points, other.given, other.qualifying)


@given(st.data(), programs)
def test_more_refunds_never_leave_more_points_pieces_or_money(data: st.DataObject, program: Program) -> None:
    sold = with_cups(data.draw(orders()))
    refunds = numbered(data.draw(st.lists(refunds_of(sold), min_size=1, max_size=5)))
    baskets = [Basket(Goods(sold, program.basis)).after(refunds[:n]) for n in range(len(refunds) + 1)]
    for less in (
        [entitlement(sold, refunds[:n], program, "silver").points for n in range(len(refunds) + 1)],
        [basket.amount for basket in baskets],
        *([basket.line_quantity(place) for basket in baskets] for place in range(len(sold.lines))),
    ):
        assert less == sorted(less, reverse=True)


@given(st.data(), programs)
def test_the_pieces_that_are_kept_are_those_that_did_not_come_back(data: st.DataObject, program: Program) -> None:
    sold = data.draw(orders())
    refunds = data.draw(st.lists(refunds_of(sold), max_size=4))
    basket = Basket(Goods(sold, program.basis)).after(refunds)
    for place, each in enumerate(sold.lines):
        back = [part_of.quantity for one in refunds for part_of in one.lines if part_of.line_id == each.line_id]
        left = max(Decimal(0), each.quantity - sum((number for number in back if number is not None), Decimal(0)))
        expected = Decimal(0) if any(one.full for one in refunds) else left
        assert number_of(basket.line_quantity(place)) == expected


@given(orders(), programs)
def test_all_of_one_kind_of_money_is_all_of_the_other(sold: Order, program: Program) -> None:
    if not (sold.total_net and sold.total_gross > sold.points_paid):
        return
    paid, net = refund(paid=sold.total_gross - sold.points_paid), refund(net=sold.total_net)
    for everything in (paid, net):
        assert Basket(Goods(sold, program.basis)).after([everything]).amount == 0
