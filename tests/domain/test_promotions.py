"""What promotions add to what the rules give, how often, and what refunds leave of it."""

from typing import Any

import pytest

from core.domain.orders.earning import entitlement
from core.domain.orders.posted import Budget
from core.domain.program import Program
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.facts import instant, line, order, part, program_with, refund, spend_rule

BASKET = (
    line("1", "60.00", 3, sku="apple", categories=["fruit"]),
    line("2", "40.00", sku="tea", categories=["drinks"]),
)
DOUBLE = {"promotion_id": "double", "kind": "multiplier", "multiplier": "2"}
BONUS = {"promotion_id": "bonus", "kind": "addition", "points": 30}


def promoted(*promotions: dict[str, Any], **over: Any) -> Program:
    return program_with(**{"earning_rules": [spend_rule("1")], "promotions": promotions, **over})


def given(program: Program, *refunds: Any) -> dict[str, int]:
    return dict(entitlement(order(lines=BASKET), refunds, program, "bronze").given)


@pytest.mark.parametrize(
    ("promotion", "points"),
    [
        pytest.param(DOUBLE, 100, id="double points"),
        pytest.param({**DOUBLE, "multiplier": "1.5"}, 50, id="half as much again"),
        pytest.param({**DOUBLE, "multiplier": "1.255"}, 25, id="rounded down"),
        pytest.param({**DOUBLE, "multiplier": "1.255", "rounding": "half_up"}, 26, id="or as it says"),
        pytest.param({**DOUBLE, "lines": {"categories": ["fruit"]}}, 60, id="double points on fruit"),
        pytest.param({**DOUBLE, "lines": {"categories": ["garden"]}}, 0, id="on what the order has none of"),
        pytest.param({**DOUBLE, "when": {"minimum_amount": "100.01"}}, 0, id="from an amount on that is not reached"),
        pytest.param(BONUS, 30, id="points on top"),
        pytest.param({**BONUS, "lines": {"skus": ["tea"]}}, 30, id="for an article"),
        pytest.param({**BONUS, "lines": {"skus": ["plum"]}}, 0, id="that is not there"),
        pytest.param({**BONUS, "when": {"tiers": ["gold"]}}, 30, id="conditions on the order are asked at its posting"),
    ],
)
def test_a_promotion_gives(promotion: dict[str, Any], points: int) -> None:
    found = given(promoted(promotion))
    assert found == {"spend": 100, **({promotion["promotion_id"]: points} if points else {})}


@pytest.mark.parametrize(
    ("promotion", "points"),
    [
        pytest.param({**BONUS, "when": {"tiers": ["gold"]}}, 100, id="another tier"),
        pytest.param({**BONUS, "when": {"first_order": True}}, 130, id="a welcome bonus"),
        pytest.param({**BONUS, "when": {"starts_on": "2026-03-02"}}, 100, id="not yet begun"),
        pytest.param({**BONUS, "when": {"ends_on": "2026-03-01"}}, 130, id="its last day"),
    ],
)
def test_a_promotion_is_for_orders(promotion: dict[str, Any], points: int) -> None:
    book = Book(promoted(promotion))
    book.complete(order(at="2026-03-01"))
    assert book.account.balance == points
    check_everything(book)


@pytest.mark.parametrize(
    ("combine", "points"),
    [
        pytest.param("all", {"double": 100, "bonus": 30}, id="all of them"),
        pytest.param("best", {"double": 100}, id="the best one"),
        pytest.param("newest", {"bonus": 30}, id="the newest, the last of the file"),
    ],
)
def test_promotions_are_combined(combine: str, points: dict[str, int]) -> None:
    book = Book(promoted(DOUBLE, BONUS, combine_promotions=combine))
    book.complete(order())
    explained = {each["promotion_id"]: each["points"] for each in book.entries[0].why["promotions"]}
    assert explained == points
    assert book.account.balance == 100 + sum(points.values())
    check_everything(book)


def test_the_newest_promotion_is_the_newest_that_gives_something_and_stays_it() -> None:
    on_tea = {**BONUS, "promotion_id": "tea", "lines": {"skus": ["tea"]}}
    on_plums = {**BONUS, "promotion_id": "plums", "lines": {"skus": ["plum"]}}
    book = Book(promoted(DOUBLE, on_tea, on_plums, combine_promotions="newest"))
    book.complete(order(lines=BASKET))
    assert book.account.balance == 130
    book.refund(refund(part("2", quantity=1)))
    assert book.account.balance == 60, "a refund must not bring another promotion"
    check_everything(book)


@pytest.mark.parametrize(
    ("promotion", "after_part", "after_all"),
    [
        pytest.param(DOUBLE, 40, 0, id="a multiplier goes with what it multiplied"),
        pytest.param(BONUS, 12, 0, id="an addition in proportion to the amount kept"),
        pytest.param({**DOUBLE, "clawback": "full_refund"}, 100, 0, id="a multiplier on full refund only"),
        pytest.param({**BONUS, "clawback": "full_refund"}, 30, 0, id="an addition on full refund only"),
        pytest.param({**DOUBLE, "clawback": "never"}, 100, 100, id="a multiplier never"),
        pytest.param({**BONUS, "clawback": "never"}, 30, 30, id="an addition never"),
    ],
)
def test_refunds_reduce_a_promotion(promotion: dict[str, Any], after_part: int, after_all: int) -> None:
    found = [
        given(promoted(promotion), *refunds).get(promotion["promotion_id"], 0)
        for refunds in ([refund(part("1", quantity=3))], [refund()])
    ]
    assert found == [after_part, after_all]


def test_what_a_refund_leaves_of_an_addition_is_worked_out_exactly() -> None:
    """12 of 25 parts of the money are given back; each line's share of that is a number without end."""
    lines = [line("1", "6.31"), line("2", "4.64"), line("3", "75.86")]
    book = Book(promoted(BONUS | {"points": 25}))
    book.complete(order(lines=lines, points_paid="7.31"))
    (given,) = book.refund(refund(paid="38.16")).entries[0].why["promotions"]
    assert given["points"] == 13


@pytest.mark.parametrize(
    ("limits", "points"),
    [
        pytest.param({"orders_per_customer": 2}, [30, 30, 0, 0], id="so many orders of a customer"),
        pytest.param({"orders_per_customer_and_day": 1}, [30, 0, 30, 30], id="so many on one day of Berlin"),
        pytest.param({"orders": 3}, [30, 30, 30, 0], id="so many orders of all customers"),
        pytest.param({"budget_points": 70}, [30, 30, 10, 0], id="a budget: the last order gets what is left"),
    ],
)
def test_limits_of_a_promotion(limits: dict[str, int], points: list[int]) -> None:
    book = Book(promoted({**BONUS, "limits": limits}))
    days = ["2026-03-30T09:00+02:00", "2026-03-30T23:59+02:00", "2026-03-31T00:00+02:00", "2026-04-01T00:00+02:00"]
    for n, at in enumerate(days):
        book.complete(order("10.00", f"o{n}", at=at))
    assert [posted.points_entitled - 10 for posted in book.orders.values()] == points
    check_everything(book)


def test_a_budget_is_shared_by_all_customers() -> None:
    program = promoted({**BONUS, "limits": {"budget_points": 40}})
    first = Book(program, customer_id="c0")
    books = [first, *(Book(program, customer_id=customer_id, books=first.books) for customer_id in ("c1", "c2"))]
    for n, book in enumerate(books):
        book.complete(order(order_id=f"o{n}", customer_id=f"c{n}"))
    assert [book.account.balance for book in books] == [130, 110, 100]
    assert first.budgets == {"bonus": Budget(40, 2)}
    first.refund(refund(order_id="o0"))
    assert first.budgets == {"bonus": Budget(10, 1)}
    books[2].complete(order(order_id="o3", customer_id="c2"))
    assert books[2].account.balance == 230


def test_an_order_that_was_refunded_in_full_counts_for_a_limit_no_longer() -> None:
    book = Book(promoted({**BONUS, "limits": {"orders_per_customer": 1}}))
    book.complete(order())
    book.refund(refund())
    book.complete(order(order_id="o2", at="2026-03-09"))
    assert book.account.balance == 130
    check_everything(book)


def test_points_of_a_promotion_may_end_sooner_than_the_others() -> None:
    book = Book(promoted({**BONUS, "expiry": {"policy": "after_days", "days": 7}}))
    book.complete(order(at="2026-03-01"))
    assert [(lot.points_remaining, lot.earned_by) for lot in book.lots.values()] == [(100, ""), (30, "bonus")]
    book.spend(20, instant("2026-03-02"))
    assert [lot.points_remaining for lot in book.lots.values()] == [100, 10], "what ends sooner is spent first"
    book.expire(instant("2026-04-01"))
    assert book.account.balance == 100
    check_everything(book)


def test_a_multiplier_multiplies_what_a_rule_with_carry_gives_in_whole_steps() -> None:
    rule = {**spend_rule("3", per_amount="50"), "carry": True}
    on_fruit = {**DOUBLE, "lines": {"categories": ["fruit"]}}
    found = given(promoted(on_fruit, earning_rules=[rule]))
    assert found == {"spend": 6, "double": 3}
