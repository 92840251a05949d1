"""What a refund does: before, message, posted, after."""

from typing import NamedTuple

import pytest

from core.domain.decision import Decision
from core.domain.ledger import Account, EntryKind
from core.domain.lots import Allocation, AllocationKind, Lot
from core.domain.orders.posted import PostedOrder, PostedRefund, Qualifying, QualifyingStep, Recovery
from core.domain.program import ClawbackPolicy, Program
from tests.domain.book import Book, message_of
from tests.domain.invariants import check_everything
from tests.facts import ACCOUNT_ID, account, instant, line, lot, order, part, program_with, refund, spend_rule

AS_OF = instant("2026-03-05")


def program(policy: str = "allow_negative") -> Program:
    return program_with(clawback={"policy": policy})


def posted(points: int = 100, *, excused: int = 0, shortfall: int = 0) -> PostedOrder:
    """An order of 100.00 in bronze, of whose 100 points `points` are left by the refunds so far."""
    return PostedOrder(
        order("100.00"),
        "test",
        1,
        b"its content",
        "bronze",
        ACCOUNT_ID,
        1,
        points,
        excused,
        shortfall,
        qualifying=Qualifying(points, 100 * points, 1 if points else 0),
    )


def holding(*lots: Lot) -> Account:
    """An account with these lots and no deficit."""
    pending = sum(each.points_remaining for each in lots if each.is_pending)
    balance = sum(each.points_remaining for each in lots) - pending
    return account(
        balance=balance, pending=pending, lifetime_points=1000, qualifying_points=100, sequence=8, lots_opened=5
    )


def book_with(lots: list[Lot], policy: str) -> Book:
    """The order is posted, and the account has these lots left."""
    book = Book(program(policy), holding(*lots))
    book.books.put_lots(ACCOUNT_ID, lots, is_all_open=True)
    book.put_orders([posted()])
    return book


class Case(NamedTuple):
    """The account's lots, of which lot 1 is the order's; then what a full refund of 100 points does."""

    lots: list[Lot]
    policy: str
    taken: int
    excused: int
    shortfall: int
    allocations: list[tuple[int, int]]
    balance: int
    deficit: int


EMPTY = lot(1, 0, granted=100)
OTHERS = [
    lot(2, 60, expires="2026-12-01"),
    lot(3, 50, expires="2026-06-01"),
    lot(4, 500),
]


@pytest.mark.parametrize("case", [
    pytest.param(
        Case([lot(1, 100), *OTHERS], "allow_negative", 100, 0, 0, [(1, -100)], 610, 0),
        id="the order's own lot is there: taken from it alone, although others end sooner"),
    pytest.param(
        Case([lot(1, 30, granted=100), *OTHERS], "allow_negative", 100, 0, 0, [(1, -30), (3, -50), (2, -20)], 540, 0),
        id="its own lot is partly spent: the rest from the lots that end soonest"),
    pytest.param(
        Case([EMPTY, *OTHERS], "clamp", 100, 0, 0, [(3, -50), (2, -50)], 510, 0),
        id="clamp: other lots are taken from as well"),
    pytest.param(
        Case([lot(1, 10, granted=100), lot(3, 50)], "allow_negative", 100, 0, 0, [(1, -10), (3, -50)], -40, 40),
        id="allow_negative: what no lot covers is a deficit"),
    pytest.param(
        Case([EMPTY], "allow_negative", 100, 0, 0, [], -100, 100),
        id="allow_negative: all of it, when there is no lot at all"),
    pytest.param(
        Case([lot(1, 10, granted=100), lot(3, 50)], "clamp", 60, 0, 40, [(1, -10), (3, -50)], 0, 0),
        id="clamp: what no lot covers is a shortfall, and the balance stops at zero"),
    pytest.param(
        Case([EMPTY], "clamp", 0, 0, 100, [], 0, 0),
        id="clamp: nothing is taken from nothing"),
    pytest.param(
        Case([lot(1, 100), *OTHERS], "pending_only", 0, 0, 100, [], 710, 0),
        id="pending_only: available points stay, also the order's own"),
    pytest.param(
        Case([lot(1, 70, granted=100, available="2026-03-06", is_pending=True), *OTHERS], "pending_only",
             70, 0, 30, [(1, -70)], 610, 0),
        id="pending_only: the order's points that are not yet available are taken, others' not"),
    pytest.param(
        Case([lot(1, 100, available="2026-03-05"), *OTHERS], "pending_only", 0, 0, 100, [], 710, 0),
        id="pending_only: points that become available at this instant are available"),
    pytest.param(
        Case([lot(1, 100, available="2026-03-06", is_pending=True), *OTHERS], "allow_negative",
             100, 0, 0, [(1, -100)], 610, 0),
        id="the order's own points are taken before they are available"),
    pytest.param(
        Case([EMPTY, lot(2, 40, available="2026-03-06", is_pending=True), lot(3, 10)], "clamp",
             10, 0, 90, [(3, -10)], 0, 0),
        id="other orders' points are not taken before they are available"),
    pytest.param(
        Case([lot(1, 0, granted=100, expired=100), *OTHERS], "allow_negative", 0, 100, 0, [], 610, 0),
        id="expired points of the order are excused, not taken a second time"),
    pytest.param(
        Case([lot(1, 0, granted=100, expired=70), *OTHERS], "allow_negative", 30, 70, 0, [(3, -30)], 580, 0),
        id="spent ones are taken from elsewhere, the expired rest is excused"),
    pytest.param(
        Case([lot(1, 70, granted=100, expires="2026-03-05"), *OTHERS], "allow_negative", 30, 70, 0, [(3, -30)], 650, 0),
        id="points that are due count as expired before the job has run"),
    pytest.param(
        Case([EMPTY, lot(2, 80, expires="2026-03-05"), lot(3, 30)], "clamp", 30, 0, 70, [(3, -30)], 80, 0),
        id="other lots that are due are not taken from"),
    pytest.param(
        Case([lot(1, 40, granted=60), lot(3, 20)], "allow_negative", 100, 0, 0, [(1, -40), (3, -20)], -40, 40),
        id="points that paid off a deficit are taken from elsewhere"),
])  # fmt: skip
def test_a_full_refund_takes(case: Case) -> None:
    book, lots = book_with(case.lots, case.policy), {each.lot_number: each for each in case.lots}
    change = book.refund(refund(), AS_OF)

    (taken_back,) = book.refunds["o1"]
    assert taken_back.recovery == Recovery(100, case.taken, case.excused, case.shortfall)
    steps = (
        QualifyingStep(order().occurred_at, Qualifying(100, 10000, 1)),
        QualifyingStep(refund().occurred_at, Qualifying()),
    )
    left = posted(0, excused=case.excused, shortfall=case.shortfall)._replace(qualifying_steps=steps)
    assert book.orders["o1"] == left
    assert (change.account.balance, change.account.deficit) == (case.balance, case.deficit)
    assert change.account.lifetime_points == 1000 - case.taken
    assert change.account.qualifying_points == 0
    if not case.taken:
        assert change.entries == ()
        return
    (entry,) = change.entries
    assert (entry.kind, entry.balance_after) == (EntryKind.CLAWBACK, case.balance)
    assert (entry.points + entry.pending_change, entry.pending_after) == (-case.taken, change.account.pending)
    assert entry.pending_change == sum(points for n, points in case.allocations if lots[n].is_pending)
    assert entry.deficit_change == case.deficit
    assert entry.allocations == tuple(
        Allocation(n, AllocationKind.TAKEN, points, lots[n].expires_at) for n, points in case.allocations
    )
    assert (entry.order_id, entry.refund_id, entry.corrects_sequence) == ("o1", "r1", 1)
    assert (entry.sequence, entry.lifetime_points_after) == (9, 1000 - case.taken)
    after = {each.lot_number: each.points_remaining for each in change.lots}
    after = {n: points for n, points in after.items() if points != lots[n].points_remaining}
    assert after == {n: lots[n].points_remaining + points for n, points in case.allocations}


def test_the_calculation_is_explained() -> None:
    book = book_with([lot(1, 5, granted=100, expired=20)], "clamp")
    why = book.refund(refund(net="60.50"), AS_OF).entries[0].why
    assert why["basis_amount"] == "39.5"
    assert (why["points_entitled_before"], why["points_entitled_after"]) == (100, 39)
    assert (why["points_excused_as_expired"], why["points_shortfall"]) == (20, 36)


def test_a_refund_that_costs_no_point_is_recorded_without_an_entry() -> None:
    rules = program_with(earning_rules=[spend_rule("1", per_amount="100")])
    book = Book(rules)
    book.complete(order("199.00"))
    assert book.refund(refund(net="99.00")).entries == ()
    assert [each.recovery for each in book.refunds["o1"]] == [Recovery(0, 0, 0, 0)]
    assert book.refund(refund(net="0.01", refund_id="r2")).entries[0].points == -1
    check_everything(book)


def test_a_refund_of_a_guests_order_is_recorded_and_takes_nothing() -> None:
    book = Book(program())
    book.put_orders([posted()._replace(account_id=None, tier_id=None, sequence=None, points_entitled=0)])
    fact = PostedRefund(refund(), "test", message_of(refund()).digest, None, Recovery(0, 0, 0, 0))
    assert book.decide(refund(), AS_OF) == Decision(facts=(fact,))


def test_a_refund_of_an_order_that_earned_nothing_takes_nothing() -> None:
    book = Book(program())
    book.complete(order("500.00", "earned"))
    book.complete(order("0.50", "nothing"))
    assert book.refund(refund(order_id="nothing")).entries == ()
    assert book.account.balance == 500
    check_everything(book)


@pytest.mark.parametrize("policy", ClawbackPolicy)
def test_many_refunds_end_where_one_would(policy: ClawbackPolicy) -> None:
    books = [Book(program(policy)), Book(program(policy))]
    for book in books:
        book.complete(order(order_id="before", at="2026-02-01"))
        book.complete(order(lines=[line("1", "10.00", 3), line("2", "89.99")]))
        book.spend(150, instant("2026-03-02"))
    for n, given_back in enumerate([refund(part("1", quantity=1)), refund(part("2", net="9.99"))] * 2):
        books[0].refund(given_back._replace(refund_id=f"r{n}"))
    books[1].refund(refund(part("1", quantity=2), part("2", net="19.98")))
    for book in books:
        check_everything(book)
        assert book.orders["o1"].points_entitled == 73
    assert books[0].orders == books[1].orders
    assert books[0].lots == books[1].lots
    assert books[0].account == books[1].account._replace(sequence=books[0].account.sequence)


def test_a_refund_after_a_full_one_finds_nothing_to_take() -> None:
    book = Book(program())
    book.complete(order())
    book.refund(refund())
    assert book.refund(refund(net="100.00", refund_id="r2")).entries == ()
    assert book.account.balance == 0
    check_everything(book)


def test_expired_points_are_excused_once() -> None:
    book = Book(program_with(expiry={"policy": "after_months", "months": 1}))
    book.complete(order("100.00", at="2026-01-01"))
    book.spend(40, instant("2026-01-02"))
    book.complete(order("100.00", "later", at="2026-02-20"))
    halves = [refund(net="50.00", refund_id=n, at="2026-02-21") for n in ("r1", "r2")]
    for half in halves:
        book.refund(half)
    assert [each.recovery for each in book.refunds["o1"]] == [Recovery(50, 0, 50, 0), Recovery(50, 40, 10, 0)]
    assert book.account.balance == 120  # 60 of them are due, and the job has not run yet
    book.expire(instant("2026-02-21"))
    assert book.account.balance == 60
    check_everything(book)


def test_what_a_refund_took_from_another_order_that_orders_own_refund_finds_missing() -> None:
    book = Book(program())
    book.complete(order("100.00", "spent", at="2026-01-01"))
    book.spend(100, instant("2026-01-02"))
    book.complete(order("100.00", "kept", at="2026-02-01"))
    book.refund(refund(order_id="spent", refund_id="r1"))
    assert (book.account.balance, book.account.deficit) == (0, 0)
    book.refund(refund(order_id="kept", refund_id="r2"))
    assert (book.account.balance, book.account.deficit) == (-100, 100)
    check_everything(book)


def test_a_deficit_is_paid_off_by_later_orders_whose_refund_brings_it_back() -> None:
    book = Book(program())
    book.complete(order("100.00", "spent"))
    book.spend(100, instant("2026-03-02"))
    book.refund(refund(order_id="spent"))
    book.complete(order("150.00", "next", at="2026-03-06"))
    assert (book.account.balance, book.account.deficit, book.lots[2].points_granted) == (50, 0, 50)
    book.refund(refund(order_id="next", refund_id="r2", at="2026-03-07"))
    assert (book.account.balance, book.account.deficit) == (-100, 100)
    assert book.account.lifetime_points == 0
    check_everything(book)


def test_a_shortfall_is_not_taken_from_later_orders() -> None:
    book = Book(program("clamp"))
    book.complete(order("100.00", "spent"))
    book.spend(100, instant("2026-03-02"))
    book.refund(refund(net="60.00", order_id="spent"))
    book.complete(order("150.00", "next", at="2026-03-06"))
    assert (book.account.balance, book.account.deficit) == (150, 0)
    assert book.orders["spent"].points_shortfall == 60
    check_everything(book)


def test_points_go_back_by_the_rule_the_rate_the_tier_and_the_policy_of_the_order() -> None:
    book = Book(program_with(earning_rules=[spend_rule("1")], clawback={"policy": "clamp"}))
    book.complete(order("50.00"))
    book.spend(50, instant("2026-03-02"))
    book.program = program_with(earning_rules=[spend_rule("2", rule_id="doubled")])
    book.account = book.account._replace(tier_id="gold")
    book.refund(refund())
    assert [each.recovery for each in book.refunds["o1"]] == [Recovery(50, 0, 0, 50)]


def test_buying_and_refunding_again_and_again_gains_nothing() -> None:
    book = Book(program())
    for n in range(5):
        book.complete(order("99.99", f"o{n}"))
        book.refund(refund(order_id=f"o{n}", refund_id=f"r{n}"))
    assert (book.account.balance, book.account.lifetime_points, book.account.qualifying_points) == (0, 0, 0)
    check_everything(book)


def test_a_refund_lowers_what_qualifies_and_keeps_the_tier() -> None:
    book = Book(program())
    book.complete(order("600.00"))
    book.refund(refund(net="500.00"))
    assert (book.account.qualifying_points, book.account.tier_id) == (100, "silver")
    assert book.complete(order("100.00", "next", at="2026-03-06")).entries[0].points == 150
    check_everything(book)


def test_what_was_excused_or_not_taken_does_not_qualify_either() -> None:
    book = Book(program_with(expiry={"policy": "after_months", "months": 1}, clawback={"policy": "clamp"}))
    book.complete(order("300.00", at="2026-01-01"))
    book.spend(100, instant("2026-01-02"))
    book.expire(instant("2026-03-01"))
    book.refund(refund())
    assert (book.account.qualifying_points, book.account.lifetime_points) == (0, 300)
    assert (book.orders["o1"].points_excused, book.orders["o1"].points_shortfall) == (200, 100)
    check_everything(book)
