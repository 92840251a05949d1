"""What each kind of earning rule gives, for which orders and lines, up to which cap, and what refunds leave of it."""

from typing import Any

import pytest

from core.domain.orders.earning import entitlement
from core.domain.orders.facts import Order
from core.domain.program import Program
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.facts import instant, line, order, part, program_with, refund

BASKET = (
    line("1", "30.00", 3, sku="apple", categories=["fruit"]),
    line("2", "8.00", 4, sku="pear", categories=["fruit", "gifts"]),
    line("3", "12.50", "0.5", sku="tea", categories=["drinks"]),
    line("4", "4.90", sku="post", kind="shipping"),
)


def rules(*parts: dict[str, Any], **over: Any) -> Program:
    return program_with(earning_rules=[{"rule_id": f"r{n}", **each} for n, each in enumerate(parts)], **over)


def earned(program: Program, sold: Order, *refunds: Any, tier_id: str = "bronze") -> int:
    return entitlement(sold, refunds, program, tier_id).points


@pytest.mark.parametrize(
    ("rule", "points"),
    [
        pytest.param({"kind": "spend", "points": "1", "per_amount": "10"}, 5, id="1 per 10 of 50.50"),
        pytest.param({"kind": "visit", "points": "5"}, 5, id="5 for the visit"),
        pytest.param({"kind": "item", "points": "5", "skus": ["apple"]}, 15, id="5 for each of three apples"),
        pytest.param({"kind": "item", "points": "5", "skus": ["apple", "pear"]}, 35, id="of several articles"),
        pytest.param({"kind": "item", "points": "5", "skus": ["tea"]}, 2, id="half a kilogram, rounded down"),
        pytest.param({"kind": "item", "points": "5", "skus": ["tea"], "rounding": "ceil"}, 3, id="or up"),
        pytest.param({"kind": "item", "points": "5", "skus": ["plum"]}, 0, id="none of an article that is not there"),
        pytest.param({"kind": "category", "points": "2", "categories": ["fruit"]}, 14, id="each piece of a category"),
        pytest.param(
            {"kind": "category", "points": "2", "categories": ["fruit", "gifts"]}, 14, id="in two categories: once"
        ),
        pytest.param(
            {"kind": "category", "points": "2", "categories": ["fruit"], "exclude_skus": ["pear"]}, 6, id="but no pears"
        ),
        pytest.param(
            {"kind": "spend", "points": {"bronze": "0", "silver": "1", "gold": "2"}, "per_amount": "1"}, 0, id="by tier"
        ),
    ],
)
def test_a_rule_gives(rule: dict[str, Any], points: int) -> None:
    assert earned(rules(rule), order(lines=BASKET)) == points


@pytest.mark.parametrize(
    ("lines", "points"),
    [
        pytest.param({}, 50, id="all that earn"),
        pytest.param({"skus": ["apple"]}, 30, id="by article"),
        pytest.param({"categories": ["drinks"]}, 12, id="by category"),
        pytest.param({"skus": ["apple"], "categories": ["drinks"]}, 42, id="by article or category"),
        pytest.param({"exclude_skus": ["apple"]}, 20, id="all but an article"),
        pytest.param({"exclude_categories": ["gifts"]}, 42, id="all but a category"),
        pytest.param({"categories": ["fruit"], "exclude_categories": ["gifts"]}, 30, id="one category without another"),
        pytest.param({"exclude_kinds": ["product"]}, 0, id="all but a kind of line"),
        pytest.param({"skus": ["post"]}, 0, id="a line that earns nowhere"),
    ],
)
def test_money_earns_on_the_lines_that_count(lines: dict[str, Any], points: int) -> None:
    rule = {"kind": "spend", "points": "1", "per_amount": "1", "lines": lines}
    assert earned(rules(rule), order(lines=BASKET)) == points


def test_a_visit_counts_while_one_of_its_lines_is_kept() -> None:
    program = rules({"kind": "visit", "points": "5", "lines": {"categories": ["drinks"]}})
    sold = order(lines=BASKET)
    assert earned(program, sold, refund(part("1", quantity=3))) == 5
    assert earned(program, sold, refund(part("3", quantity="0.5"))) == 0


@pytest.mark.parametrize(
    ("when", "at", "holds"),
    [
        pytest.param({"starts_on": "2026-03-02"}, "2026-03-01T23:59:59+01:00", False, id="before its first day"),
        pytest.param({"starts_on": "2026-03-02"}, "2026-03-02T00:00:00+01:00", True, id="from the local midnight on"),
        pytest.param({"ends_on": "2026-03-02"}, "2026-03-02T23:59:59+01:00", True, id="to the end of its last day"),
        pytest.param({"ends_on": "2026-03-02"}, "2026-03-03T00:00:00+01:00", False, id="and no longer"),
        pytest.param({"hours": [{"days": ["sun"]}]}, "2026-03-01T00:00+01:00", True, id="a Sunday in Berlin"),
        pytest.param({"hours": [{"days": ["sun"]}]}, "2026-03-02T00:00+01:00", False, id="still Sunday in UTC only"),
        pytest.param({"hours": [{"start": "17:00", "end": "19:00"}]}, "2026-03-02T17:00+01:00", True, id="happy hour"),
        pytest.param({"hours": [{"start": "17:00", "end": "19:00"}]}, "2026-03-02T19:00+01:00", False, id="is over"),
        pytest.param(
            {"hours": [{"start": "22:00"}, {"end": "02:00"}]}, "2026-03-02T01:59+01:00", True, id="past midnight"
        ),
        pytest.param(
            {"hours": [{"start": "02:00", "end": "03:00"}]}, "2026-03-29T02:30+01:00", False, id="no such hour in March"
        ),
        pytest.param(
            {"hours": [{"start": "02:00", "end": "03:00"}]}, "2026-10-25T01:30+00:00", True, id="the second 02:30"
        ),
        pytest.param({"channels": ["app", "web"]}, "2026-03-01", True, id="one of its channels"),
        pytest.param({"channels": ["app"]}, "2026-03-01", False, id="another channel"),
        pytest.param({"attributes": {"table": [4, 5], "paid": [True]}}, "2026-03-01", True, id="attributes: all hold"),
        pytest.param({"attributes": {"table": [4], "paid": [False]}}, "2026-03-01", False, id="attributes: one fails"),
        pytest.param({"attributes": {"paid": [1]}}, "2026-03-01", False, id="true is not 1"),
        pytest.param({"attributes": {"weather": ["rain"]}}, "2026-03-01", False, id="an attribute that is not there"),
        pytest.param({"tiers": ["bronze"]}, "2026-03-01", True, id="the tier of the order"),
        pytest.param({"tiers": ["silver", "gold"]}, "2026-03-01", False, id="another tier"),
        pytest.param({"customer_tags": ["vip", "staff"]}, "2026-03-01", True, id="one of the customer's tags"),
        pytest.param({"customer_tags": ["press"]}, "2026-03-01", False, id="none of them"),
        pytest.param({"first_order": True}, "2026-03-01", True, id="the first order"),
        pytest.param({"first_order": False}, "2026-03-01", False, id="not the first order"),
        pytest.param({"minimum_amount": "100"}, "2026-03-01", True, id="just enough"),
        pytest.param({"minimum_amount": "100.01"}, "2026-03-01", False, id="a cent too little"),
        pytest.param({"channels": ["web"], "first_order": False}, "2026-03-01", False, id="all conditions must hold"),
    ],
)
def test_a_rule_is_for_orders(when: dict[str, Any], at: str, holds: bool) -> None:
    book = Book(rules({"kind": "visit", "points": "5", "when": when}))
    attributes: dict[str, str | int | bool] = {"channel": "web", "table": 4, "paid": True}
    book.complete(order(at=at, attributes=attributes, customer_tags=["vip"]))
    assert book.account.balance == (5 if holds else 0)
    check_everything(book)


def test_a_refund_below_the_minimum_amount_takes_all_that_it_was_for() -> None:
    book = Book(rules({"kind": "visit", "points": "5", "when": {"minimum_amount": "60"}}))
    book.complete(order("100.00"))
    book.refund(refund(net="40.00"))
    assert book.account.balance == 5
    book.refund(refund(net="0.01", refund_id="r2"))
    assert book.account.balance == 0
    check_everything(book)


@pytest.mark.parametrize(
    ("caps", "points"),
    [
        pytest.param({"per_order": 25}, [25, 25, 25, 25], id="per order"),
        pytest.param({"per_day": 40}, [30, 10, 30, 30], id="per day of Berlin"),
        pytest.param({"per_month": 50}, [30, 20, 0, 30], id="per month"),
        pytest.param({"per_day": 40, "per_month": 75, "per_order": 25}, [25, 15, 25, 25], id="all of them"),
    ],
)
def test_caps_limit_what_a_rule_gives_a_customer(caps: dict[str, int], points: list[int]) -> None:
    book = Book(rules({"kind": "spend", "points": "1", "per_amount": "1", "caps": caps}))
    days = ["2026-03-30T09:00+02:00", "2026-03-30T23:59+02:00", "2026-03-31T00:00+02:00", "2026-04-01T00:00+02:00"]
    given = [book.complete(order("30.00", f"o{n}", at=at)).entries for n, at in enumerate(days)]
    assert [entries[0].points if entries else 0 for entries in given] == points
    check_everything(book)


def test_a_refund_frees_its_cap_for_orders_that_are_still_to_come() -> None:
    book = Book(rules({"kind": "spend", "points": "1", "per_amount": "1", "caps": {"per_month": 50}}))
    book.complete(order("40.00", "o1", at="2026-03-01"))
    book.complete(order("40.00", "o2", at="2026-03-02"))
    book.refund(refund(order_id="o1", at="2026-03-03"))
    assert book.account.balance == 10, "what an order was given is settled when it is posted"
    book.complete(order("80.00", "o3", at="2026-03-04"))
    assert book.account.balance == 50
    check_everything(book)


def test_a_capped_order_keeps_its_points_until_the_kept_goods_earn_less() -> None:
    book = Book(rules({"kind": "spend", "points": "1", "per_amount": "1", "caps": {"per_order": 25}}))
    book.complete(order("100.00"))
    book.refund(refund(net="75.00"))
    assert book.account.balance == 25
    book.refund(refund(net="5.00", refund_id="r2"))
    assert book.account.balance == 20


@pytest.mark.parametrize(
    ("mode", "after_part", "after_all"),
    [("proportional", 60, 0), ("full_refund", 100, 0), ("never", 100, 100)],
)
def test_refunds_reduce_by_the_rules_mode(mode: str, after_part: int, after_all: int) -> None:
    book = Book(rules({"kind": "spend", "points": "1", "per_amount": "1", "clawback": mode}))
    book.complete(order("100.00"))
    book.refund(refund(net="40.00"))
    assert book.account.balance == after_part
    book.refund(refund(refund_id="r2"))
    assert book.account.balance == after_all
    check_everything(book)


def test_points_can_be_rounded_on_each_line() -> None:
    lines = [line("1", "1.60"), line("2", "1.60"), line("3", "0.90")]
    per_line = {"kind": "spend", "points": "1", "per_amount": "1", "round_per": "line"}
    assert earned(rules(per_line), order(lines=lines)) == 2
    assert earned(rules({**per_line, "round_per": "order"}), order(lines=lines)) == 4
    assert earned(rules({**per_line, "rounding": "ceil"}), order(lines=lines), refund(part("3", quantity=1))) == 4


def test_the_tiers_multiplier_comes_before_rounding() -> None:
    tiers = [{"tier_id": "bronze", "threshold_points": 0, "multiplier": "1.5"}]
    program = rules({"kind": "spend", "points": "1", "per_amount": "1"}, tiers=tiers)
    assert earned(program, order("1.40")) == 2
    assert entitlement(order("1.40"), (), program, "bronze").why["rules"][0]["tier_multiplier"] == "1.5"


def test_the_best_rule_is_explained_with_those_that_were_not() -> None:
    program = rules({"kind": "visit", "points": "5"}, {"kind": "item", "points": "5", "skus": ["apple"]})
    why = entitlement(order(lines=BASKET), (), program, "bronze").why
    assert [(rule["rule_id"], rule["points"]) for rule in why["rules"]] == [("r1", 15)]
    assert why["rules_not_best"] == [{"rule_id": "r0", "points": 5}]


class TestCarry:
    """1 point per 50, and what is left goes to the next order."""

    PROGRAM = rules({"kind": "spend", "points": "1", "per_amount": "50", "carry": True})

    def balances(self, *amounts: str) -> tuple[Book, list[int]]:
        book, found = Book(self.PROGRAM), []
        for n, amount in enumerate(amounts):
            book.complete(order(amount, f"o{n}"))
            found.append(book.account.balance)
        check_everything(book)
        return book, found

    @pytest.mark.parametrize(
        ("amounts", "points"),
        [
            pytest.param(["30.00", "20.00"], [0, 1], id="30, then 20"),
            pytest.param(["30.00", "19.99", "0.01"], [0, 0, 1], id="to the cent"),
            pytest.param(["130.00", "130.00"], [2, 5], id="more than one step"),
            pytest.param(["16.67"] * 9, [0, 0, 1, 1, 1, 2, 2, 2, 3], id="again and again"),
        ],
    )
    def test_what_is_left_is_not_lost(self, amounts: list[str], points: list[int]) -> None:
        assert self.balances(*amounts)[1] == points

    def test_a_refund_of_the_order_that_completed_a_step_gives_the_remainder_back(self) -> None:
        book, _ = self.balances("30.00", "20.00")
        book.refund(refund(order_id="o1"))
        assert book.account.balance == 0
        book.complete(order("20.00", "o2"))
        assert book.account.balance == 1
        check_everything(book)

    def test_a_refund_of_the_order_that_left_the_remainder_is_set_off_against_the_next_one(self) -> None:
        book, _ = self.balances("30.00", "20.00")
        book.refund(refund(order_id="o0"))
        assert book.account.balance == 1, "the step was completed by the other order, which is kept"
        book.complete(order("79.00", "o2"))
        assert book.account.balance == 1, "99 were kept in all"
        book.complete(order("1.00", "o3"))
        assert book.account.balance == 2
        check_everything(book)

    def test_the_remainder_is_explained(self) -> None:
        book, _ = self.balances("30.00", "25.00")
        (rule,) = book.entries[0].why["rules"]
        assert (rule["carried_in"], rule["basis_amount"], rule["left_over"]) == ("30", "25", "5")


def test_a_rule_may_have_an_expiry_of_its_own() -> None:
    bonus = {"kind": "visit", "points": "5", "expiry": {"policy": "after_days", "days": 1}}
    book = Book(rules({"kind": "spend", "points": "1", "per_amount": "1"}, bonus, combine="stack"))
    book.complete(order("100.00", at="2026-03-01"))
    assert [(lot.points_remaining, lot.earned_by) for lot in book.lots.values()] == [(100, ""), (5, "r1")]
    book.refund(refund(net="50.00", at="2026-03-02"))
    assert [lot.points_remaining for lot in book.lots.values()] == [50, 5], "each lot gives what it owes"
    book.expire(instant("2026-03-03"))
    book.refund(refund(refund_id="r2", at="2026-03-04"))
    assert (book.account.balance, book.orders["o1"].points_excused) == (0, 5)
    check_everything(book)


def test_what_expired_is_excused_also_when_refunds_made_another_rule_the_best() -> None:
    item = {"kind": "item", "points": "30", "skus": ["apple"]}
    by_amount = {"kind": "spend", "points": "1", "per_amount": "1", "expiry": {"policy": "after_days", "days": 1}}
    book = Book(rules(by_amount, item))
    lines = [line("1", "50.00", 3, sku="apple"), line("2", "50.00")]
    book.complete(order(lines=lines, at="2026-03-01"))
    book.refund(refund(part("2", quantity=1), at="2026-03-02"))
    assert book.account.balance == 90, "three apples give more now than 50.00 do"
    book.expire(instant("2026-03-09"))
    book.complete(order("10.00", "other", at="2026-03-10"))
    book.refund(refund(refund_id="r2", at="2026-03-11"))
    assert (book.account.balance, book.orders["o1"].points_excused) == (10, 90)
    check_everything(book)
