"""Orders that get their customer, or move to another one: each ends as if it had been that customer's all along."""

from typing import Any

import pytest

from core.domain.orders.facts import OrderClaim
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.facts import SOURCE, amendment, instant, line, order, part, program_with, refund, spend_rule

TEA, CUP = line("1", "10.00", sku="tea"), line("2", "20.00", sku="cup")
ONCE = {"promotion_id": "once", "kind": "addition", "points": 50, "limits": {"orders": 1}}
VISIT = {"rule_id": "visit", "kind": "visit", "points": "5", "clawback": "never"}


def claim(customer_id: str = "c2", previous: str | None = None, at: str = "2026-03-08") -> OrderClaim:
    return OrderClaim(SOURCE, "o1", customer_id, previous, instant(at))


def told(*facts: ShopFact, **changes: Any) -> tuple[Book, Book]:
    """The books of both customers, c1 and c2, after these facts."""
    rules = {"earning_rules": [spend_rule("1")], **changes}
    first = Book(program_with(**rules))
    second = Book(first.program, customer_id="c2", beside=first)
    for fact in facts:
        first.deliver(fact, instant("2026-03-09"))
    for book in (first, second):
        check_everything(book)
    return first, second


def test_an_order_that_moves_leaves_nothing_where_it_was_not_even_what_refunds_would_leave() -> None:
    first, second = told(order(), claim(previous="c1"), combine="stack", earning_rules=[spend_rule("1"), VISIT])
    assert (first.account.balance, first.account.lifetime_points) == (0, 0)
    assert (second.account.balance, second.account.lifetime_points) == (105, 105)
    assert first.entries[-1].why["rules"] == []


def test_an_order_that_moves_takes_its_place_among_the_first_orders_along() -> None:
    first, second = told(order(), claim(previous="c1"), promotions=[ONCE])
    assert (first.account.balance, second.account.balance) == (0, 150)
    assert first.budgets["once"].orders == 1


def test_a_tier_that_an_order_took_along_is_taken_back_with_what_else_counted_then() -> None:
    facts = [
        order(order_id=name, lines=[line("1", amount)], at=instant(day))
        for name, amount, day in (
            ("o1", "400.00", "2026-03-01"),
            ("o2", "5.00", "2026-03-02"),
            ("o3", "450.00", "2026-03-04"),
        )
    ]
    first, _ = told(*facts, claim(previous="c1"))
    assert [(change.tier_id, change.qualifying_points) for change in first.tier_changes] == [
        ("silver", 855), ("bronze", 455),
    ]  # fmt: skip


@pytest.mark.parametrize("is_claimed_first", [True, False])
@pytest.mark.parametrize("when", [{}, {"channels": ["web"]}])
def test_a_guests_order_that_was_edited_is_judged_as_it_came_and_then_as_it_is(
    when: dict[str, Any], *, is_claimed_first: bool
) -> None:
    """So the rule for cups judges the channel of the edit, and that for tea the one of the order."""
    rules = [
        {"rule_id": sku, "kind": "item", "skus": [sku], "points": points, "when": when}
        for sku, points in (("tea", 7), ("cup", 100))
    ]
    sold = order(lines=[TEA], customer_id=None, attributes={"channel": "till"})
    edited = amendment(TEA, CUP, customer_id=None, attributes={"channel": "web"})
    facts = [claim(), edited] if is_claimed_first else [edited, claim()]
    _, second = told(sold, *facts, earning_rules=rules, combine="stack")
    assert second.account.balance == (100 if when else 107)


@pytest.mark.parametrize("is_claimed_first", [True, False])
def test_refunds_count_whoever_had_the_order_when_they_came(*, is_claimed_first: bool) -> None:
    back = refund(part("2", quantity=1))
    facts = [claim(previous="c1"), back] if is_claimed_first else [back, claim(previous="c1")]
    first, second = told(order(lines=[TEA, CUP]), *facts)
    assert (first.account.balance, second.account.balance) == (0, 10)
