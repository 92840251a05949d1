"""An order of which nothing is kept leaves no trace: the next one is judged as if it had never been."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.expiry.dates import expires_at
from core.domain.orders.facts import Order, Refund
from core.domain.program import Program
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.facts import (
    SOURCE,
    amendment,
    cancellation,
    fulfilment,
    instant,
    line,
    order,
    part,
    program_with,
    refund,
    reversion,
)

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


JANUARY, FEBRUARY, MARCH = (f"2026-0{month}-10" for month in (1, 2, 3))
SLIDING = {"policy": "inactivity", "months": 6}


class TestInactivity:
    """The end that points have comes back to where the orders leave it that count."""

    def book(self, *days: str, **changes: Any) -> Book:
        """An account whose orders o1, o2, … came on these days."""
        book = Book(program_with(expiry=SLIDING, **changes))
        for number, day in enumerate(days, start=1):
            book.complete(order(order_id=f"o{number}", at=day), instant(day))
        return book

    def ends(self, book: Book) -> dict[str, str]:
        """Until when the points of each order are good that have some left."""
        check_everything(book)
        zone = book.program.zone
        open_lots = [lot for lot in book.open_lots if lot.expires_at is not None]
        return {
            lot.origin.id: f"{(lot.expires_at - timedelta(days=1)).astimezone(zone):%Y-%m-%d}"
            for lot in open_lots
            if lot.expires_at is not None
        }

    def test_the_end_is_that_of_the_latest_order_that_is_kept(self) -> None:
        book = self.book(JANUARY, FEBRUARY, MARCH)
        assert self.ends(book) == dict.fromkeys(["o1", "o2", "o3"], "2026-09-10")
        book.cancel(cancellation("o3", at="2026-03-12"))
        assert self.ends(book) == dict.fromkeys(["o1", "o2"], "2026-08-10")
        book.refund(refund(order_id="o2", at="2026-03-13"))
        assert self.ends(book) == {"o1": "2026-07-10"}

    def test_an_order_that_was_not_the_latest_moves_none(self) -> None:
        book = self.book(JANUARY, FEBRUARY, MARCH)
        book.cancel(cancellation("o2", at="2026-03-12"))
        assert self.ends(book) == dict.fromkeys(["o1", "o3"], "2026-09-10")

    def test_also_where_its_points_began_to_share_the_end(self) -> None:
        book = self.book(MARCH)
        book.complete(order(order_id="late", at=JANUARY), instant("2026-03-11"))
        book.cancel(cancellation(at="2026-03-12"))
        assert self.ends(book) == {"late": "2026-07-10"}

    def test_an_order_that_the_books_have_forgotten_still_lets_points_last(self) -> None:
        book = self.book(JANUARY, FEBRUARY, MARCH)
        book.books.forget_order((SOURCE, "o2"))
        book.books.forget_order((SOURCE, "o1"))
        book.cancel(cancellation("o3", at="2026-03-12"))
        (end,) = {lot.expires_at for lot in book.open_lots}
        assert end == expires_at(book.program.expiry, book.program.zone, instant(FEBRUARY))

    def test_a_refund_in_part_leaves_the_end(self) -> None:
        book = self.book(JANUARY, MARCH)
        book.refund(refund(net="50.00", order_id="o2", at="2026-03-12"))
        assert self.ends(book) == dict.fromkeys(["o1", "o2"], "2026-09-10")

    def test_held_points_last_from_when_they_are_available(self) -> None:
        book = self.book(JANUARY, MARCH, availability={"policy": "after_days", "days": 14})
        assert self.ends(book) == dict.fromkeys(["o1", "o2"], "2026-09-24")
        book.cancel(cancellation("o2", at="2026-03-12"))
        assert self.ends(book) == {"o1": "2026-07-24"}

    def test_points_that_were_fulfilled_last_from_then(self) -> None:
        book = self.book(JANUARY, FEBRUARY, availability={"policy": "on_fulfilled"})
        book.fulfil(fulfilment(at="2026-01-20"))
        book.fulfil(fulfilment("o2", at=MARCH))
        book.cancel(cancellation("o2", at="2026-03-12"))
        assert self.ends(book) == {"o1": "2026-07-20"}

    def test_an_end_that_would_have_passed_is_now(self) -> None:
        book = self.book(JANUARY, "2026-07-01")
        at = instant("2026-08-20")
        book.cancel(cancellation("o2", at=at), at)
        assert {lot.expires_at for lot in book.open_lots} == {at}
        book.complete(order("30.00", "o3", at=at), at)
        book.expire(at)
        check_everything(book)
        assert book.account.balance == 30, "the points of o1 have ended, and o3 does not bring them back"

    def test_what_has_ended_meanwhile_stays_ended(self) -> None:
        book = self.book(JANUARY)
        book.expire(instant("2026-07-11"))
        book.complete(order(order_id="o2", at="2026-07-12"), instant("2026-07-12"))
        book.cancel(cancellation("o2", at="2026-07-13"))
        check_everything(book)
        assert book.account.balance == 0

    def test_points_that_a_person_has_let_last_longer_do(self) -> None:
        book = self.book(JANUARY, MARCH)
        (shared,) = book.books.expiries(book.account)
        until = expires_at(book.program.expiry, book.program.zone, instant("2026-05-10"))
        assert until is not None
        book.books.put_expiries(book.account.account_id, [shared._replace(expires_at=until, extended_to=until)])
        book.cancel(cancellation("o2", at="2026-03-12"))
        assert self.ends(book) == {"o1": "2026-11-10"}

    def test_a_first_order_that_is_gone_begins_nothing_that_an_older_one_ends_with(self) -> None:
        book = self.book(MARCH)
        book.cancel(cancellation(at="2026-03-12"))
        book.complete(order(order_id="older", at=JANUARY), instant("2026-03-13"))
        assert self.ends(book) == {"older": "2026-07-10"}

    def test_a_first_order_that_is_gone_is_no_matter_after_one_whose_points_had_ended_when_it_came(self) -> None:
        book = self.book("2026-07-01")
        book.cancel(cancellation(at="2026-07-02"))
        late = order(order_id="late", at="2025-12-01")
        book.complete(late, instant("2026-07-03"))
        book.complete(order(order_id="o2", at="2026-06-10"), instant("2026-07-04"))
        book.expire(instant("2026-07-05"))
        assert self.ends(book) == {"o2": "2026-12-10"}

    def test_points_of_an_order_that_is_kept_again_end_as_if_it_had_never_been_gone(self) -> None:
        book = self.book(MARCH)
        book.refund(refund(at="2026-03-12"))
        book.complete(order(order_id="late", at="2025-06-01"), instant("2026-03-13"))
        book.revert(reversion(at="2026-03-14"))
        book.expire(instant("2026-03-15"))
        assert self.ends(book) == {"o1": "2026-09-10"}
        book.complete(order(order_id="older", at=FEBRUARY), instant("2026-03-16"))
        assert self.ends(book) == dict.fromkeys(["o1", "older"], "2026-09-10")

    @pytest.mark.parametrize("visits", [False, True], ids=["paid", "of 0.00, with points for the visit"])
    @pytest.mark.parametrize("is_amended", [False, True], ids=["refunded", "amended"])
    def test_so_they_do_where_older_points_have_expired(self, *, visits: bool, is_amended: bool) -> None:
        rules = [*BASE["earning_rules"], VISIT | {"lines": {"categories": ["tea"]}}]
        book = self.book("2025-01-10", earning_rules=rules)
        book.expire(instant("2025-07-12"))
        sold = line("1", "0.00" if visits else "50.00", categories=["tea"])
        book.complete(order(order_id="o2", at=MARCH, lines=[sold]))
        before = state(book, instant(MARCH))
        if is_amended:
            book.amend(amendment(line(kind="gift_card"), order_id="o2", at=MARCH), instant("2026-03-12"))
        else:
            book.refund(refund(order_id="o2", at="2026-03-12"))
        book.expire(instant("2026-03-13"))
        if is_amended:
            book.amend(amendment(sold, revision=2, order_id="o2", at=MARCH), instant("2026-03-14"))
        else:
            book.revert(reversion(order_id="o2", at="2026-03-14"))
        assert state(book, instant("2026-03-15")) == before
        assert self.ends(book) == {"o2": "2026-09-10"}

    def test_an_order_that_came_and_went_meanwhile_leaves_their_end(self) -> None:
        book = self.book("2025-01-10", "2025-02-10")
        book.expire(instant("2025-08-12"))
        book.complete(order(order_id="o3", at=JANUARY))
        book.refund(refund(order_id="o3", at="2026-01-12"))
        book.complete(order(order_id="o4", at=FEBRUARY))
        book.refund(refund(order_id="o4", refund_id="r2", at="2026-02-12"))
        book.revert(reversion(order_id="o3", at="2026-02-14"))
        assert self.ends(book) == {"o3": "2026-07-10"}

    def test_points_that_a_policy_has_left_do_not_end_with_the_next_order(self) -> None:
        held = {"availability": {"policy": "after_days", "days": 14}, "clawback": {"policy": "pending_only"}}
        book = self.book(MARCH, **held)
        book.cancel(cancellation(at="2026-04-01"))
        book.complete(order(order_id="older", at=JANUARY), instant("2026-04-02"))
        assert self.ends(book) == {"o1": "2026-09-24", "older": "2026-07-24"}

    def test_each_order_moves_the_end_as_its_own_version_says(self) -> None:
        book = self.book(JANUARY)
        older = book.program
        book.program = program_with(expiry={"policy": "inactivity", "months": 12})
        book.complete(order(order_id="o2", at=MARCH), instant("2026-03-11"), older)
        book.complete(order(order_id="o3", at="2026-04-10"), instant("2026-04-10"))
        assert set(self.ends(book).values()) == {"2027-04-10"}
        book.cancel(cancellation("o3", at="2026-04-11"))
        assert set(self.ends(book).values()) == {"2026-09-10"}


BASE: dict[str, Any] = {
    "earning_rules": [{"rule_id": "spend", "kind": "spend", "per_amount": "1.00", "points": "1"}],
    "tiers": [{"tier_id": "bronze", "threshold_points": 0}],
}
TIERS_BY_ORDERS = [{"tier_id": "bronze", "threshold_orders": 0}, {"tier_id": "silver", "threshold_orders": 3}]
VISITS = {"rule_id": "visits", "kind": "visit", "points": "5", "clawback": "proportional"}
PROGRAMS = [
    program_with(**(BASE | changes))
    for changes in (
        {"expiry": SLIDING, "promotions": [WELCOME, ONCE]},
        {"expiry": SLIDING, "availability": {"policy": "after_days", "days": 14}},
        {"combine": "stack", "earning_rules": [*BASE["earning_rules"], VISITS], "expiry": SLIDING},
        {"expiry": SLIDING, "counted_orders": "paid"},
        {"expiry": SLIDING, "promotions": [ONCE | {"expiry": {"policy": "inactivity", "days": 20}}]},
        {"expiry": {"policy": "after_months", "months": 3}, "promotions": [WELCOME]},
        {"qualification": {"measure": "orders", "refunds": "at_once"}, "tiers": TIERS_BY_ORDERS},
    )
]
START = instant("2026-01-01")
AMOUNTS = ("0.00", "0.40", "12.00", "80.00")
#: How many days pass before an order comes, how late it then is, and what it comes to.
orders = st.lists(
    st.tuples(st.integers(0, 150), st.sampled_from([0, 0, 30, 200]), st.sampled_from(AMOUNTS)), max_size=4
)


@given(st.sampled_from(PROGRAMS), orders, st.sampled_from([0, 0, 40, 250]), st.booleans(), orders)
def test_an_account_goes_on_as_if_the_order_had_never_been(
    program: Program,
    before: list[tuple[int, int, str]],
    late: int,
    is_cancelled: bool,
    later: list[tuple[int, int, str]],
) -> None:
    touched, untouched = Book(program), Book(program)
    now = START
    for number, (days, late_by, amount) in enumerate(before):
        now += timedelta(days=days)
        for book in (touched, untouched):
            complete(book, f"before{number}", now, late_by, amount)
    complete(touched, "gone", now, late, "500.00")
    if is_cancelled:
        touched.cancel(cancellation("gone", at=now), now)
    else:
        touched.refund(refund(order_id="gone", at=now), now)
    assert state(touched, now) == state(untouched, now)
    for number, (days, late_by, amount) in enumerate(later):
        now += timedelta(days=days)
        given = [complete(book, f"later{number}", now, late_by, amount) for book in (touched, untouched)]
        assert given[0] == given[1]
        assert state(touched, now) == state(untouched, now)
    check_everything(touched)


@given(
    st.sampled_from([program for program in PROGRAMS if program.has_inactivity]),
    orders,
    st.sampled_from([0, 0, 40, 250]),
    st.sampled_from(AMOUNTS),
    st.booleans(),
    orders,
)
def test_a_refund_that_did_not_happen_after_all_leaves_an_account_as_it_was(
    program: Program,
    before: list[tuple[int, int, str]],
    late: int,
    amount: str,
    is_amended: bool,
    later: list[tuple[int, int, str]],
) -> None:
    touched, untouched = Book(program), Book(program)
    now = START
    for number, (days, late_by, price) in enumerate(before):
        now += timedelta(days=days)
        for book in (touched, untouched):
            complete(book, f"before{number}", now, late_by, price)
    # Longer than any points last: those that a refund lets end are over for good.
    now += timedelta(days=300)
    for book in (touched, untouched):
        state(book, now)
        complete(book, "back", now, late, amount)
    for each in _undone(amount, now, is_amended=is_amended):
        touched.deliver(each, now)
        now += timedelta(days=1)
    assert state(touched, now) == state(untouched, now)
    for number, (days, late_by, price) in enumerate(later):
        now += timedelta(days=days)
        for book in (touched, untouched):
            complete(book, f"later{number}", now, late_by, price)
        assert state(touched, now) == state(untouched, now)
    check_everything(touched)


def _undone(amount: str, now: datetime, *, is_amended: bool) -> list[ShopFact]:
    """What leaves nothing of an order, and what undoes that."""
    if is_amended:
        nothing, all_of_it = line(kind="gift_card"), line("1", amount)
        facts = [amendment(each, revision=n, order_id="back", at=now) for n, each in enumerate((nothing, all_of_it), 1)]
        return [*facts]
    return [refund(order_id="back", at=now), reversion(order_id="back", at=now)]


def complete(book: Book, order_id: str, now: datetime, late_by: int, amount: str) -> int:
    """Post an order; what it earns."""
    book.complete(order(amount, order_id, at=now - timedelta(days=late_by)), now)
    return book.orders[order_id].points_entitled


def state(book: Book, now: datetime) -> tuple[object, ...]:
    """All of an account that later orders meet, once the runs have come."""
    book.release(now)
    book.expire(now)
    account = book.account
    points: Counter[tuple[datetime | None, bool]] = Counter()
    for lot in book.open_lots:
        points[lot.expires_at, lot.is_pending] += lot.points_remaining
    numbers = account.balance, account.pending, account.deficit, account.orders_counted, account.qualifying_points
    return *numbers, account.tier_id, +points
