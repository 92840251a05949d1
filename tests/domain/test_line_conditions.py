"""What rules and promotions ask of their lines, of each or of all; whole steps; pieces that cost nothing."""

import re
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.orders.earning import entitlement
from core.domain.orders.facts import OrderLine, Refund
from core.domain.program import Program
from core.errors import ProgramFileError
from core.messages.program_files.program_file import parse_program
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.factories import PROGRAM_TEXT
from tests.facts import line, order, part, program_with, refund
from tests.pages import ROOT, table

PROGRAMS_PAGE = ROOT / "docs" / "programs.md"


def rules(*parts: dict[str, Any], **over: Any) -> Program:
    return program_with(earning_rules=[{"rule_id": f"r{n}", **each} for n, each in enumerate(parts)], **over)


def spend(points: str = "1", per_amount: str = "1.00", **over: Any) -> dict[str, Any]:
    return {"kind": "spend", "points": points, "per_amount": per_amount, **over}


def earned(program: Program, lines: list[OrderLine], *refunds: Refund, **facts: Any) -> int:
    return entitlement(order(lines=lines, **facts), refunds, program, "bronze").points


class TestFromFivePiecesOn:
    PROGRAM = rules(spend("10", when={"minimum_quantity": 5}))

    @pytest.mark.parametrize(
        ("lines", "points"),
        [
            pytest.param([line("1", "40.00", 4)], 0, id="4 pieces"),
            pytest.param([line("1", "50.00", 5)], 500, id="5 pieces: 10 for each 1.00"),
            pytest.param([line("1", "20.00", 2), line("2", "30.00", 3)], 500, id="of all lines together"),
            pytest.param([line("1", "40.00", 4), line("2", "0.00", 1)], 0, id="a gift is not the fifth"),
            pytest.param([line("1", "40.00", 4), line("2", "4.00", 1, kind="shipping")], 0, id="nor is a parcel"),
        ],
    )
    def test_what_is_bought_counts(self, lines: list[OrderLine], points: int) -> None:
        assert earned(self.PROGRAM, lines) == points

    def test_nothing_is_left_when_one_of_five_comes_back(self) -> None:
        book = Book(self.PROGRAM)
        book.complete(order(lines=[line("1", "50.00", 5)]))
        assert book.account.balance == 500
        book.refund(refund(part("1", quantity=1)))
        assert book.account.balance == 0
        check_everything(book)

    def test_six_pieces_may_lose_one(self) -> None:
        assert earned(self.PROGRAM, [line("1", "60.00", 6)], refund(part("1", quantity=1))) == 500

    def test_a_promotion_may_ask_for_it_too(self) -> None:
        more = {"promotion_id": "five", "kind": "addition", "points": 7, "when": {"minimum_quantity": 5}}
        program = rules(spend(), promotions=[more])
        assert [earned(program, [line("1", "10.00", n)]) for n in (4, 5)] == [10, 17]


@pytest.mark.parametrize(
    ("asked", "points"),
    [
        pytest.param({"minimum_quantity": 3}, 30, id="three pieces of one line"),
        pytest.param({"minimum_quantity": 2}, 38, id="two pieces"),
        pytest.param({"minimum_amount": "8.00"}, 50, id="an amount"),
        pytest.param({"minimum_amount": "8.01"}, 42, id="a cent more"),
        pytest.param({"minimum_price": "10.00"}, 42, id="a price of one piece"),
        pytest.param({"minimum_price": "10.01"}, 12, id="a cent more a piece"),
        pytest.param({"maximum_price": "10.00"}, 38, id="a highest price"),
        pytest.param({"minimum_price": "5", "maximum_price": "10"}, 30, id="a span of prices"),
        pytest.param({"minimum_quantity": 2, "minimum_amount": "10"}, 30, id="both"),
        pytest.param({"minimum_quantity": 4}, 0, id="more than any line has"),
        pytest.param({"skus": ["apple"], "maximum_price": "9.99"}, 0, id="of certain articles"),
    ],
)
def test_each_line_must_have_what_is_asked_of_each(asked: dict[str, Any], points: int) -> None:
    basket = [
        line("1", "30.00", 3, sku="apple"),
        line("2", "8.00", 2, sku="pear"),
        line("3", "12.50", "0.5", sku="tea"),
    ]
    assert earned(rules(spend(lines=asked)), basket) == points


@pytest.mark.parametrize("kind", [{"kind": "item", "skus": ["pen"]}, {"kind": "category", "categories": ["pens"]}])
@pytest.mark.parametrize(
    ("asked", "points"),
    [
        pytest.param({}, 6, id="nothing"),
        pytest.param({"minimum_price": "2.00"}, 4, id="a price"),
        pytest.param({"minimum_quantity": 3}, 3, id="a quantity"),
        pytest.param({"minimum_amount": "6.00"}, 3, id="an amount"),
        pytest.param({"when": {"minimum_quantity": 6}}, 6, id="a quantity of all"),
        pytest.param({"when": {"minimum_quantity": 7}}, 0, id="a greater one of all"),
    ],
)
def test_rules_for_pieces_may_ask_it_of_each_line_too(kind: dict[str, Any], asked: dict[str, Any], points: int) -> None:
    pens = {"sku": "pen", "categories": ["pens"]}
    basket = [line("1", "6.00", 3, **pens), line("2", "1.00", 2, **pens), line("3", "5.00", 1, **pens)]
    assert earned(rules({**kind, "points": "1", **asked}), basket) == points


def test_what_is_asked_of_a_line_is_asked_of_what_is_kept_of_it() -> None:
    program = rules(spend(lines={"minimum_quantity": 2, "minimum_amount": "10"}))
    bought = [line("1", "15.00", 3), line("2", "20.00", 2)]
    assert earned(program, bought) == 35
    assert earned(program, bought, refund(part("1", quantity=1))) == 30
    assert earned(program, bought, refund(part("2", quantity=1))) == 15
    back = [refund(part("1", quantity=1), refund_id=f"r{n}") for n in (1, 2)]
    assert earned(program, bought, *back) == 20


def test_a_price_is_that_of_the_order_whatever_comes_back() -> None:
    program = rules(spend(lines={"maximum_price": "5.00"}))
    bought = [line("1", "15.00", 3), line("2", "20.00", 2)]
    assert earned(program, bought, refund(part("2", net="15.00"))) == 15


def test_what_is_given_back_in_exchange_counts_against_what_is_bought_by_the_same_conditions() -> None:
    exchanged = [line("1", "30.00", 3), line("2", "-20.00", -2), line("3", "4.00", 1)]
    assert earned(rules(spend(lines={"minimum_quantity": 2})), exchanged) == 10
    assert earned(rules(spend(lines={"minimum_price": "10"})), exchanged) == 10
    assert earned(rules(spend(lines={"minimum_amount": "4.01"})), exchanged) == 10


def test_points_by_line_and_a_multiplier_of_some_lines_ask_it_too() -> None:
    per_line = rules(spend(round_per="line", lines={"minimum_quantity": 2}))
    bought = [line("1", "1.60", 2), line("2", "1.60", 1), line("3", "3.50", 3)]
    assert earned(per_line, bought) == 1 + 3
    assert earned(per_line, bought, refund(part("3", quantity=2))) == 1
    double = {"promotion_id": "many", "kind": "multiplier", "multiplier": 2, "lines": {"minimum_quantity": 3}}
    program = rules(spend(), promotions=[double])
    assert earned(program, bought) == 6 + 3
    assert earned(program, bought, refund(part("3", quantity=1))) == 5


class TestAveragePrice:
    """What a piece of all lines that count costs, as ordered."""

    BOUGHT: ClassVar = [line("1", "30.00", 3), line("2", "4.00", 2), line("3", "0.00", 5)]

    @pytest.mark.parametrize(
        ("asked", "points"),
        [
            pytest.param({"minimum_price": "6.80"}, 34, id="on average of what was paid"),
            pytest.param({"minimum_price": "6.81"}, 0, id="a cent more"),
            pytest.param({"maximum_price": "6.80"}, 34, id="at most"),
            pytest.param({"minimum_price": "2", "maximum_price": "6.79"}, 0, id="a span of prices"),
        ],
    )
    def test_a_rule_may_ask_what_a_piece_costs_on_average(self, asked: dict[str, Any], points: int) -> None:
        assert earned(rules(spend(when=asked)), self.BOUGHT) == points

    def test_free_pieces_make_it_less_where_they_count(self) -> None:
        program = rules(spend(when={"maximum_price": "3.40"}), basis={"free_pieces": "included"})
        assert earned(program, self.BOUGHT) == 34

    def test_refunds_do_not_change_it(self) -> None:
        program = rules(spend(when={"maximum_price": "6.80"}))
        assert earned(program, self.BOUGHT, refund(part("2", quantity=2))) == 30
        cheap = rules(spend(when={"minimum_price": "6.80"}))
        assert earned(cheap, self.BOUGHT, refund(part("1", quantity=3))) == 4


class TestWholeSteps:
    """5 points for each full 2.50, and nothing is carried on."""

    PROGRAM = rules(spend("5", "2.50", steps="whole"))

    @pytest.mark.parametrize(
        ("amount", "points"), [("3.00", 5), ("2.00", 0), ("2.49", 0), ("2.50", 5), ("4.99", 5), ("5.00", 10)]
    )
    def test_only_whole_steps_earn(self, amount: str, points: int) -> None:
        assert earned(self.PROGRAM, [line("1", amount)]) == points

    def test_nothing_is_carried_on(self) -> None:
        book = Book(self.PROGRAM)
        assert [book.complete(order(amount, f"o{amount}")).account.balance for amount in ("3.00", "2.00")] == [5, 5]
        check_everything(book)

    def test_steps_of_each_line(self) -> None:
        bought = [line("1", "3.00"), line("2", "2.00"), line("3", "5.20")]
        assert earned(rules(spend("5", "2.50", steps="whole", round_per="line")), bought) == 15
        assert earned(self.PROGRAM, bought) == 20

    def test_rates_and_multipliers_are_of_the_steps_and_rounded_once(self) -> None:
        tiers = [{"tier_id": "bronze", "threshold_points": 0, "multiplier": "1.5"}]
        program = rules(spend("0.5", "2.50", steps="whole", rounding="ceil"), tiers=tiers)
        assert [earned(program, [line("1", amount)]) for amount in ("2.49", "2.50", "7.50")] == [0, 1, 3]

    def test_a_refund_below_a_step_takes_the_step(self) -> None:
        assert earned(self.PROGRAM, [line("1", "5.00", 5)], refund(part("1", quantity=1))) == 5

    def test_it_is_refused_with_a_remainder_that_is_carried_on(self) -> None:
        text = PROGRAM_TEXT.replace("kind: spend\n", "kind: spend\n    steps: whole\n    carry: true\n")
        with pytest.raises(
            ProgramFileError, match=re.escape("earning_rules[0].steps cannot be whole with carry: true")
        ):
            parse_program(text, path="p.yaml")


class TestFreePieces:
    """2 pens paid, the third free; 1 point for each, 10 for a visit of more than nothing."""

    PEN: ClassVar = {"kind": "item", "skus": ["PEN"], "points": "1"}
    VISIT: ClassVar = {"kind": "visit", "points": "10", "when": {"minimum_amount": "0.01"}}
    THIRD_FREE: ClassVar = [line("1", "10.00", 2, sku="PEN"), line("2", "0.00", 1, sku="PEN")]
    VOUCHER: ClassVar = [line("1", "0.00", 4, sku="PEN")]

    @pytest.mark.parametrize(
        ("basis", "own", "points"),
        [
            pytest.param({}, {}, [12, 0], id="excluded by default"),
            pytest.param({"free_pieces": "included"}, {}, [13, 4], id="included in the program"),
            pytest.param({}, {"free_pieces": "included"}, [13, 4], id="included in the rule"),
            pytest.param({"free_pieces": "included"}, {"free_pieces": "excluded"}, [12, 0], id="the rule goes before"),
        ],
    )
    def test_pieces_that_cost_nothing(self, basis: dict[str, Any], own: dict[str, Any], points: list[int]) -> None:
        program = rules({**self.PEN, **own}, self.VISIT, combine="stack", basis=basis)
        assert [earned(program, lines) for lines in (self.THIRD_FREE, self.VOUCHER)] == points

    @pytest.mark.parametrize(("free", "points"), [("excluded", 0), ("included", 3)])
    def test_they_do_not_make_up_a_quantity_either(self, free: str, points: int) -> None:
        program = rules({**self.PEN, "when": {"minimum_quantity": 3}, "free_pieces": free})
        assert earned(program, self.THIRD_FREE) == points

    @pytest.mark.parametrize(("free", "points"), [("excluded", 0), ("included", 10)])
    def test_nor_that_of_a_line(self, free: str, points: int) -> None:
        visit = {"kind": "visit", "points": "10", "lines": {"minimum_quantity": 4}}
        assert earned(rules(visit, basis={"free_pieces": free}), self.VOUCHER) == points

    def test_a_piece_that_comes_back_takes_its_own_point_alone(self) -> None:
        program = rules(self.PEN)
        assert earned(program, self.THIRD_FREE, refund(part("2", quantity=1))) == 2
        assert earned(program, self.THIRD_FREE, refund(part("1", quantity=1))) == 1


def test_what_is_asked_of_each_line_counts_for_how_heavy_an_order_is() -> None:
    asking, plain = rules(spend(lines={"minimum_quantity": 2})), rules(spend(lines={"minimum_price": "2"}))
    assert (asking.steps_per_line, plain.steps_per_line) == (2, 1)


@given(
    st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 5)), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=5),
    st.sampled_from(["2.50", "1", "7"]),
)
def test_whole_steps_are_never_more_than_parts_and_less_with_each_refund(
    goods: list[tuple[int, int]], back: list[tuple[int, int]], per_amount: str
) -> None:
    bought = [line(str(n), f"{cents / 100:.2f}", quantity) for n, (cents, quantity) in enumerate(goods)]
    refunds = [
        refund(part(str(place % len(goods)), quantity=min(pieces, goods[place % len(goods)][1])), refund_id=f"r{n}")
        for n, (place, pieces) in enumerate(back)
    ]
    asked = {
        "lines": {"minimum_quantity": 2},
        "when": {"minimum_quantity": 3, "minimum_amount": "1", "maximum_price": "9"},
    }
    whole, parts, pieces = (
        [earned(rules(each), bought, *refunds[:n]) for n in range(len(refunds) + 1)]
        for each in (spend("5", per_amount, steps="whole"), spend("5", per_amount), spend("5", per_amount, **asked))
    )
    for points in (whole, parts, pieces):
        assert points == sorted(points, reverse=True)
    assert all(few <= more and few % 5 == 0 for few, more in zip(whole, parts, strict=True))


@pytest.mark.parametrize("row", table(PROGRAMS_PAGE, "A rule of the file"), ids=lambda row: row[0])
def test_the_worked_examples_of_the_page(row: list[str]) -> None:
    rule, bought, points = row
    extra = rule.strip("`").removeprefix("{").removesuffix("}")
    text = PROGRAM_TEXT.partition("earning_rules:")[0] + f"earning_rules:\n  - {{rule_id: r, {extra}}}\n"
    text += "tiers:\n  - {tier_id: bronze, threshold_points: 0}\n"
    lines = [
        line(str(n), amount, pieces, sku="PEN")
        for n, (pieces, amount) in enumerate(re.findall(r"(\d+) pens? for ([0-9.]+)", bought))
    ]
    assert len(lines) == bought.count(" for ")
    assert earned(parse_program(text, path="page.yaml"), lines) == int(points)
