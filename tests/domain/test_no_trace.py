"""An order of which nothing is kept leaves no trace: the next one is judged as if it had never been."""

from typing import Any

import pytest

from core.domain.orders.facts import Order, Refund
from core.domain.program import Program
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.facts import cancellation, line, order, part, program_with, refund

WELCOME = {"promotion_id": "welcome", "kind": "addition", "points": 50, "when": {"first_order": True}}
ONCE = {"promotion_id": "once", "kind": "addition", "points": 7, "limits": {"orders_per_customer": 1}}
VISIT = {"rule_id": "visit", "kind": "visit", "points": "5"}
TEA = line("1", "10.00")
BY_ORDERS: dict[str, Any] = {
    "qualification": {"measure": "orders"},
    "tiers": [{"tier_id": "base", "threshold_orders": 0}, {"tier_id": "regular", "threshold_orders": 1}],
}


def welcoming(**changes: Any) -> Program:
    base = {"tiers": [{"tier_id": "base", "threshold_points": 0}], "promotions": [WELCOME, ONCE]}
    rule = {"rule_id": "spend", "kind": "spend", "per_amount": "1.00", "points": "1"}
    return program_with(**{"earning_rules": [rule]} | base | changes)


def gives(book: Book, amount: str = "60.00") -> int:
    """What the next order of this customer earns."""
    return sum(entry.points for entry in book.complete(order(amount, "next", at="2026-03-09")).entries)


def test_a_cancelled_first_order_leaves_the_bonus_to_the_next_one() -> None:
    book = Book(welcoming())
    book.complete(order("40.00"))
    book.cancel(cancellation())
    assert gives(book) == 60 + 50 + 7
    check_everything(book)


@pytest.mark.parametrize(
    ("refunds", "is_first"),
    [
        pytest.param([refund()], True, id="a refund in full"),
        pytest.param([refund(part(quantity=2))], True, id="all pieces"),
        pytest.param([refund(part(quantity=1)), refund(part(quantity=1), refund_id="r2")], True, id="piece by piece"),
        pytest.param([refund(part(quantity=1))], False, id="a piece of two"),
    ],
)
def test_what_is_kept_of_an_order_decides_whether_it_was_the_first(refunds: list[Refund], is_first: bool) -> None:
    book = Book(welcoming())
    book.complete(order(lines=[line("1", "40.00", quantity=2)]))
    for each in refunds:
        book.refund(each)
    assert (gives(book) == 60 + 50 + 7) is is_first
    check_everything(book)


@pytest.mark.parametrize("counted", ["earning", "paid", "all"])
@pytest.mark.parametrize(
    ("sold", "is_counted"),
    [
        pytest.param(order(lines=[TEA]), {"earning", "paid", "all"}, id="it earns"),
        pytest.param(order("0.50"), {"paid", "all"}, id="less than a point"),
        pytest.param(order("50.00", points_paid="50.00"), {"paid", "all"}, id="paid with points"),
        pytest.param(order("0.00"), {"all"}, id="of 0.00"),
        pytest.param(order(lines=[line(kind="gift_card")]), set(), id="no line of it earns"),
    ],
)
def test_which_orders_count_as_the_first_one_is_the_programs_choice(
    counted: str, sold: Order, is_counted: set[str]
) -> None:
    book = Book(welcoming(counted_orders=counted, promotions=[]))
    book.complete(sold)
    assert (book.account.orders_counted == 1) is (counted in is_counted)
    check_everything(book)


def test_an_order_of_nothing_that_a_visit_earns_for_is_no_first_order() -> None:
    book = Book(welcoming(earning_rules=[VISIT], promotions=[WELCOME]))
    assert sum(entry.points for entry in book.complete(order("0.00")).entries) == 55
    assert gives(book) == 55


def test_what_a_rule_leaves_after_a_refund_in_full_does_not_make_it_an_order_that_counts() -> None:
    book = Book(welcoming(earning_rules=[VISIT | {"clawback": "never"}], promotions=[WELCOME]))
    book.complete(order("40.00"))
    book.refund(refund())
    assert book.account.balance == 5
    assert gives(book) == 55
    check_everything(book)


def test_a_trial_month_of_nothing_is_neither_the_first_order_nor_one_for_the_tier() -> None:
    first = WELCOME | {"when": {"first_order": True, "minimum_amount": "0.01"}}
    book = Book(welcoming(promotions=[first], **BY_ORDERS))
    book.complete(order("0.00", at="2026-03-01"))
    assert (book.account.balance, book.account.tier_id) == (0, "base")
    assert gives(book, "30.00") == 30 + 50
    assert book.account.tier_id == "regular"
    check_everything(book)


@pytest.mark.parametrize(
    ("sold", "counted", "tier_id"),
    [
        pytest.param(order("0.00"), "earning", "base", id="it cost nothing"),
        pytest.param(order("0.00"), "all", "regular", id="it cost nothing, and the program counts all"),
        pytest.param(order("0.50"), "earning", "regular", id="it cost something and earns nothing"),
        pytest.param(order("5.00", points_paid="5.00"), "earning", "regular", id="it was paid with points"),
    ],
)
def test_an_order_that_cost_something_counts_for_a_tier_of_orders(sold: Order, counted: str, tier_id: str) -> None:
    book = Book(welcoming(promotions=[], counted_orders=counted, **BY_ORDERS))
    book.complete(sold)
    assert book.account.tier_id == tier_id


def test_what_later_orders_were_given_meanwhile_stays() -> None:
    book = Book(welcoming())
    book.complete(order("40.00"))
    book.complete(order("30.00", "o2", at="2026-03-02"))
    assert book.account.balance == 40 + 57 + 30
    book.cancel(cancellation())
    assert book.account.balance == 30
    assert gives(book) == 60 + 7, "o2 counts, and has not had what is given once"
    check_everything(book)


def test_a_late_older_order_is_not_the_first_while_a_newer_one_counts() -> None:
    book = Book(welcoming(promotions=[WELCOME]))
    book.complete(order("40.00", at="2026-03-05"))
    book.complete(order("10.00", "older", at="2026-03-01"))
    assert book.account.balance == 90 + 10
    book.refund(refund())
    book.complete(order("20.00", "oldest", at="2026-02-01"))
    assert book.account.balance == 10 + 20, "the older one counts"
