"""What is kept of an order: numbers that stay small, and the same whether refunds come at once or one after another."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.orders.basket import Basket
from core.domain.orders.earning import Earning, entitlement
from core.domain.orders.goods import Goods
from core.domain.orders.posted import Judgement
from core.domain.orders.units import UNITS, amount_text
from core.domain.program import Program
from tests.domain.test_properties import numbered, orders, refunds_of, various_programs
from tests.facts import line, order, part, program_with, refund, spend_rule

TRILLIONTH = Decimal("1E-12")


@given(st.data(), st.sampled_from(various_programs()))
def test_refunds_one_after_another_leave_what_they_leave_together(data: st.DataObject, program: Program) -> None:
    sold = data.draw(orders())
    refunds = numbered(data.draw(st.lists(refunds_of(sold), min_size=2, max_size=6)))
    earning = Earning(sold, program, "silver")
    stepwise = earning.ordered
    for each in refunds:
        earning.of(stepwise)  # what was asked before is carried on, and must not differ
        stepwise = stepwise.plus(each)
    together = earning.of(earning.ordered.after(refunds))
    assert earning.of(stepwise)._replace(explain=together.explain) == together
    assert earning.of(stepwise).why == together.why


@given(st.data())
def test_what_is_kept_of_the_lines_sums_to_what_is_kept_of_the_order(data: st.DataObject) -> None:
    sold = data.draw(orders())
    basket = Basket(Goods(sold, program_with().basis)).after(data.draw(st.lists(refunds_of(sold), max_size=3)))
    parts = [basket.line_amount(place) for place in basket.places_of(basket.goods.all)]
    assert abs(sum(parts) - basket.amount) <= len(parts)
    assert all(kept >= 0 for kept in parts)


def test_a_remainder_has_twelve_decimal_places_however_many_refunds_there_were() -> None:
    program = program_with(earning_rules=[spend_rule(per_amount="7.00", carry=True)])
    carried: dict[str, Decimal] = {}
    for n in range(300):
        sold = order(f"o{n}", lines=[line("1", "9.97", "0.007"), line("2", "0.01", 3)])
        refunds = [refund(part("1", quantity="0.003"), at=sold.occurred_at), refund(net="0.07", at=sold.occurred_at)]
        judgement = Judgement(carried=carried)
        carried = dict(entitlement(sold, refunds, program, "bronze", judgement).left_over)
        assert carried["spend"] == carried["spend"].quantize(TRILLIONTH)


@pytest.mark.parametrize("gone", [1, 2])
@pytest.mark.parametrize("rounding", ["floor", "ceil", "half_up", "half_even"])
def test_a_third_of_a_line_is_worth_a_third_of_its_points(gone: int, rounding: str) -> None:
    program = program_with(earning_rules=[spend_rule("3", rounding=rounding)])
    sold = order(lines=[line("1", "1.00", 3)])
    assert entitlement(sold, [refund(part(quantity=gone))], program, "bronze").points == 3 - gone


def test_a_condition_of_a_least_amount_holds_for_thirds_that_sum_to_it() -> None:
    rule = spend_rule("1", when={"minimum_amount": "1.00"})
    sold = order(lines=[line(str(n), "1.00", 3) for n in range(3)])
    refunds = [refund(*[part(str(n), quantity=2) for n in range(3)])]
    assert entitlement(sold, refunds, program_with(earning_rules=[rule]), "bronze").points == 1


class TestExplanations:
    def test_name_two_hundred_lines_at_most_and_how_many_there_are(self) -> None:
        rules = [{**spend_rule("1", lines={"exclude_skus": ["other"]}), "rule_id": f"r{n}"} for n in range(2)]
        sold = order(lines=[line(str(n), "1.00", sku="some") for n in range(120)])
        program = program_with(earning_rules=rules, combine="stack")
        why = entitlement(sold, [refund(part("0", quantity=1))], program, "bronze").why
        for explained in why["rules"]:
            assert (len(explained["lines"]), explained["lines_count"], explained["basis_amount"]) == (100, 119, "119")

    @pytest.mark.parametrize(
        ("number", "text"),
        [
            ("12.50", "12.5"),
            ("0", "0"),
            ("-0.25", "-0.25"),
            ("3.333333333333", "3.3333…"),
            ("0.999999999999", "1"),
            ("-0.000000000001", "0"),
            ("0.00004", "0…"),
            ("1000000000000", "1000000000000"),
        ],
    )
    def test_show_four_places_and_leave_a_trillionth_out(self, number: str, text: str) -> None:
        assert amount_text(int(Fraction(number) * UNITS)) == text
