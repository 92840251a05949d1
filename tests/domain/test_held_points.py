"""Points that wait: for days, or for the order to be fulfilled. They are pending, apart from the balance."""

import pytest

from core.domain.decision import AccountChange
from core.domain.ledger import EntryKind
from core.domain.lots import Allocation, AllocationKind
from core.domain.orders.facts import Fulfilment
from core.domain.orders.posted import Recovery
from core.domain.program import Program
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.facts import (
    account,
    amendment,
    cancellation,
    fulfilment,
    instant,
    line,
    order,
    part,
    program_with,
    refund,
    spend_rule,
)

AFTER_14_DAYS = program_with(
    availability={"policy": "after_days", "days": 14}, expiry={"policy": "after_months", "months": 1}
)
ON_FULFILLED = program_with(availability={"policy": "on_fulfilled"}, expiry={"policy": "after_months", "months": 1})


def with_policy(program: Program, policy: str) -> Program:
    document = program.model_dump(mode="json", exclude_defaults=True)
    return Program.model_validate({**document, "clawback": {"policy": policy}})


def test_points_wait_so_many_times_24_hours_and_their_expiry_counts_from_then() -> None:
    book = Book(AFTER_14_DAYS)
    (entry,) = book.complete(order(at="2026-03-20"), as_of=instant("2026-03-20")).entries
    assert (entry.points, entry.pending_change, entry.balance_after, entry.pending_after) == (0, 100, 0, 100)
    (lot,) = book.lots.values()
    assert (lot.is_pending, lot.available_at) == (True, instant("2026-04-03"))
    assert lot.expires_at == instant("2026-05-03T22:00+00:00")
    assert book.release(instant("2026-04-03T11:59:59+00:00")) == AccountChange(book.account)
    (released,) = book.release(instant("2026-04-03")).entries
    assert (released.kind, released.points, released.pending_change) == (EntryKind.RELEASE, 100, -100)
    assert (released.occurred_at, released.allocations) == (instant("2026-04-03"), ())
    assert (book.account.balance, book.account.pending, book.account.lifetime_points) == (100, 0, 100)
    assert book.release(instant("2026-04-03")) == AccountChange(book.account)
    check_everything(book)


def test_pending_points_cannot_be_spent() -> None:
    book = Book(AFTER_14_DAYS)
    book.complete(order(at="2026-03-20"), as_of=instant("2026-03-20"))
    book.spend(10, instant("2026-03-21"))
    assert (book.account.balance, book.account.pending) == (0, 100)


def test_an_order_that_comes_later_than_it_had_to_wait_is_available_at_once() -> None:
    book = Book(AFTER_14_DAYS)
    book.complete(order(at="2026-03-20"), as_of=instant("2026-04-04"))
    assert (book.account.balance, book.account.pending) == (100, 0)
    check_everything(book)


def test_a_late_run_releases_what_the_runs_in_time_would_have() -> None:
    books = [Book(AFTER_14_DAYS), Book(AFTER_14_DAYS)]
    for book in books:
        for day in ("2026-03-01", "2026-03-05"):
            book.complete(order(order_id=day, at=day), as_of=instant(day))
    books[0].release(instant("2026-03-15"))
    for book in books:
        book.release(instant("2026-03-31"))
        check_everything(book)
    assert books[0].entries == books[1].entries
    assert [entry.occurred_at for entry in books[1].entries[2:]] == [instant("2026-03-15"), instant("2026-03-19")]


def test_released_points_pay_off_a_deficit_first() -> None:
    book = Book(AFTER_14_DAYS, account=account(balance=-30, deficit=30))
    decision = book.complete(order(at="2026-03-20"), as_of=instant("2026-03-20"))
    assert decision.entries[0].deficit_change == 0
    (released,) = book.release(instant("2026-04-03")).entries
    assert (released.points, released.deficit_change, released.balance_after) == (100, -30, 70)
    assert released.allocations == (Allocation(1, AllocationKind.TAKEN, -30, book.lots[1].expires_at),)
    assert book.lots[1].points_remaining == 70


@pytest.mark.parametrize("runs", [["release", "expire"], ["expire"]])
def test_an_expiry_run_before_the_release_run_still_pays_off_the_deficit(runs: list[str]) -> None:
    book = Book(AFTER_14_DAYS, account=account(balance=-30, deficit=30))
    book.complete(order(at="2026-03-20"), as_of=instant("2026-03-20"))
    for run in runs:
        getattr(book, run)(instant("2026-09-01"))
    assert (book.account.balance, book.account.deficit, book.account.pending) == (0, 0, 0)
    assert [(entry.kind, entry.points) for entry in book.entries[1:]] == [("release", 100), ("expiry", -70)]


@pytest.mark.parametrize("run", [True, False])
def test_what_is_overdue_pays_off_a_deficit_before_a_new_order_does(run: bool) -> None:
    book = Book(program_with(availability={"policy": "after_days", "days": 14}))
    book.account = account(balance=-30, deficit=30)
    book.complete(order("50.00", "waiting", at="2026-03-01"), as_of=instant("2026-03-01"))
    if run:
        book.release(instant("2026-03-20"))
    book.complete(order("80.00", "new", at="2026-03-02"), as_of=instant("2026-03-20"))
    assert [lot.points_remaining for lot in book.lots.values()] == [20, 80]
    assert [entry.kind for entry in book.entries] == ["accrual", "release", "accrual"]


def test_a_refund_takes_pending_points_of_its_order_first_and_no_others() -> None:
    book = Book(AFTER_14_DAYS)
    book.complete(order(order_id="old", at="2026-01-15"), as_of=instant("2026-03-20"))
    book.complete(order(order_id="o1", at="2026-03-20"), as_of=instant("2026-03-20"))
    book.complete(order(order_id="o2", at="2026-03-20"), as_of=instant("2026-03-20"))
    (entry,) = book.refund(refund(net="40.00", at="2026-03-21")).entries
    assert (entry.points, entry.pending_change) == (0, -40)
    assert (book.account.balance, book.account.pending) == (100, 160)
    assert (book.account.lifetime_points, book.account.qualifying_points) == (260, 260)
    check_everything(book)


@pytest.mark.parametrize(
    ("as_of", "taken", "shortfall"),
    [
        pytest.param("2026-04-03T11:59:59+00:00", 100, 0, id="while they are pending"),
        pytest.param("2026-04-03T12:00:00+00:00", 0, 100, id="not from that instant on, whether or not the run came"),
    ],
)
def test_pending_only_takes_pending_points(as_of: str, taken: int, shortfall: int) -> None:
    book = Book(with_policy(AFTER_14_DAYS, "pending_only"))
    book.complete(order(at="2026-03-20"), as_of=instant("2026-03-20"))
    book.refund(refund(at=as_of))
    assert [each.recovery for each in book.refunds["o1"]] == [Recovery(100, taken, 0, shortfall)]
    assert book.account.balance + book.account.pending == 100 - taken
    check_everything(book)


class TestOnFulfilled:
    def test_points_wait_for_the_fulfilment_and_their_expiry_counts_from_then(self) -> None:
        book = Book(ON_FULFILLED)
        book.complete(order(at="2026-03-01"), as_of=instant("2026-03-01"))
        assert (book.lots[1].available_at, book.lots[1].expires_at) == (None, None)
        unchanged = AccountChange(book.account)
        assert book.release(instant("2027-01-01")) == book.expire(instant("2027-01-01")) == unchanged
        (entry,) = book.fulfil(fulfilment(at="2026-03-20")).entries
        assert (entry.kind, entry.points, entry.order_id) == (EntryKind.RELEASE, 100, "o1")
        assert book.lots[1].expires_at == instant("2026-04-20T22:00+00:00")
        assert book.orders["o1"].fulfilled_at == instant("2026-03-20")
        check_everything(book)

    def test_a_fulfilment_after_a_refund_releases_what_is_left(self) -> None:
        book = Book(ON_FULFILLED)
        book.complete(order(lines=[line("1", "90.00", 3)]), as_of=instant("2026-03-01"))
        book.refund(refund(part("1", quantity=1)))
        book.fulfil(fulfilment(at="2026-03-20"))
        assert (book.account.balance, book.account.pending) == (60, 0)
        check_everything(book)

    def test_a_fulfilment_after_a_full_refund_or_of_an_order_without_points_changes_nothing_else(self) -> None:
        book = Book(ON_FULFILLED)
        book.complete(order())
        book.refund(refund())
        book.complete(order("0.50", "nothing"))
        for order_id in ("o1", "nothing"):
            assert book.fulfil(fulfilment(order_id, at="2026-03-20")).entries == ()
        assert (book.account.balance, book.account.pending) == (0, 0)
        check_everything(book)

    def test_where_points_wait_for_nothing_a_fulfilment_is_recorded_only(self) -> None:
        for program in (program_with(), AFTER_14_DAYS):
            book = Book(program)
            book.complete(order(at="2026-03-01"), as_of=instant("2026-03-01"))
            before = book.account
            assert book.fulfil(fulfilment()).entries == ()
            assert (book.account, book.orders["o1"].fulfilled_at) == (before, instant("2026-03-03"))

    def test_a_fulfilment_that_is_ahead_of_our_clock_is_available_at_once(self) -> None:
        book = Book(ON_FULFILLED)
        book.complete(order(), as_of=instant("2026-03-01"))
        book.fulfil(fulfilment(at="2026-03-03T12:00:30+00:00"), as_of=instant("2026-03-03"))
        assert (book.account.balance, book.lots[1].available_at) == (100, instant("2026-03-03"))

    @pytest.mark.parametrize("way", ["in time", "back to front", "twice"])
    def test_messages_wait_for_their_order(self, way: str) -> None:
        sold: list[ShopFact] = [order(), fulfilment(at="2026-03-03"), refund(net="30.00", at="2026-03-03")]
        arrivals = {"in time": sold, "back to front": sold[::-1], "twice": [*sold, *sold]}
        book = Book(ON_FULFILLED)
        for message in arrivals[way]:
            book.deliver(message, instant("2026-03-04"))
        assert (book.account.balance, book.account.pending) == (70, 0)
        assert isinstance(sold[1], Fulfilment)
        check_everything(book)


class TestDaysAfterFulfilment:
    """Such as a return window: it begins when the goods are there."""

    WEEK_AFTER = program_with(
        availability={"policy": "days_after_fulfilment", "days": 7}, expiry={"policy": "after_months", "months": 1}
    )

    def test_points_wait_for_the_fulfilment_and_so_many_days_more_and_their_expiry_counts_from_then(self) -> None:
        book = Book(self.WEEK_AFTER)
        book.complete(order(at="2026-03-01"), as_of=instant("2026-03-01"))
        assert (book.lots[1].available_at, book.lots[1].expires_at) == (None, None)
        assert book.release(instant("2027-01-01")) == AccountChange(book.account)
        assert book.fulfil(fulfilment(at="2026-03-20")).entries == ()
        assert (book.lots[1].available_at, book.lots[1].is_pending) == (instant("2026-03-27"), True)
        assert book.lots[1].expires_at == instant("2026-04-27T22:00+00:00")
        assert book.release(instant("2026-03-27T11:59:59+00:00")) == AccountChange(book.account)
        (entry,) = book.release(instant("2026-03-27")).entries
        assert (entry.kind, entry.points, entry.occurred_at) == (EntryKind.RELEASE, 100, instant("2026-03-27"))
        check_everything(book)

    def test_a_fulfilment_that_is_told_later_than_that_makes_available_at_once(self) -> None:
        book = Book(self.WEEK_AFTER)
        book.complete(order(at="2026-03-01"), as_of=instant("2026-03-01"))
        (entry,) = book.fulfil(fulfilment(at="2026-03-03"), as_of=instant("2026-03-10")).entries
        assert (entry.points, entry.occurred_at) == (100, instant("2026-03-10"))
        check_everything(book)

    def test_what_comes_back_within_the_days_is_taken_from_what_is_pending(self) -> None:
        book = Book(with_policy(self.WEEK_AFTER, "pending_only"))
        book.complete(order(at="2026-03-01"), as_of=instant("2026-03-01"))
        book.fulfil(fulfilment(at="2026-03-03"))
        book.refund(refund(net="40.00", at="2026-03-09"))
        assert (book.account.balance, book.account.pending) == (0, 60)
        book.refund(refund(net="10.00", at="2026-03-11", refund_id="r2"))
        assert (book.account.balance, book.orders["o1"].points_shortfall) == (60, 10)
        check_everything(book)


class TestCancellation:
    @pytest.mark.parametrize(
        ("program", "spent", "balance", "deficit"),
        [
            pytest.param(program_with(), 0, 0, 0, id="takes all points back"),
            pytest.param(program_with(), 60, -60, 60, id="also those that are spent"),
            pytest.param(with_policy(program_with(), "clamp"), 60, 0, 0, id="as far as the policy goes"),
            pytest.param(ON_FULFILLED, 0, 0, 0, id="also those that are pending"),
        ],
    )
    def test_a_cancellation(self, program: Program, spent: int, balance: int, deficit: int) -> None:
        book = Book(program)
        book.complete(order(), as_of=instant("2026-03-01"))
        book.spend(spent, instant("2026-03-02"))
        change = book.cancel(cancellation())
        assert (book.account.balance, book.account.deficit, book.account.pending) == (balance, deficit, 0)
        recovery = book.cancellations["o1"].recovery
        assert recovery.points_taken == 100 - recovery.points_shortfall
        assert (change.entries[0].kind, change.entries[0].refund_id) == (EntryKind.CLAWBACK, None)
        assert book.orders["o1"].cancelled_at == instant("2026-03-04")
        assert book.account.qualifying_points == 0
        check_everything(book)

    def test_after_refunds_it_takes_the_rest_and_later_refunds_find_nothing(self) -> None:
        book = Book(program_with())
        book.complete(order())
        book.refund(refund(net="30.00"))
        assert book.cancel(cancellation(at="2026-03-06")).entries[0].points == -70
        assert book.refund(refund(net="70.00", refund_id="r2", at="2026-03-07")).entries == ()
        check_everything(book)

    def test_what_is_never_taken_back_stays(self) -> None:
        book = Book(program_with(earning_rules=[{**spend_rule("1"), "clawback": "never"}]))
        book.complete(order())
        assert book.cancel(cancellation()).entries == ()
        assert book.account.balance == 100
        check_everything(book)


def test_a_guests_order_can_be_fulfilled_and_cancelled() -> None:
    book = Book(ON_FULFILLED)
    now = instant("2026-03-04")
    book.deliver(order(customer_id=None), now)
    posted = book.orders["o1"]
    book.deliver(fulfilment(at="2026-03-03"), now)
    assert book.orders["o1"] == posted._replace(fulfilled_at=instant("2026-03-03"))
    book.deliver(cancellation(at="2026-03-04"), now)
    assert book.orders["o1"].cancelled_at == now
    assert book.cancellations["o1"].recovery == Recovery(0, 0, 0, 0)
    assert book.entries == []


def test_points_that_an_amendment_added_end_with_the_others_of_their_order_once_it_is_fulfilled() -> None:
    book = Book(program_with(availability={"policy": "on_fulfilled"}, expiry={"policy": "inactivity", "months": 6}))
    book.complete(order("40.00", at="2026-03-01"))
    book.amend(amendment(line("1", "60.00"), at="2026-03-02"))
    book.fulfil(fulfilment(at="2026-03-03"))
    assert len(book.lots) == 2
    book.complete(order("10.00", "o2", at="2026-04-01"))
    book.fulfil(fulfilment("o2", at="2026-04-03"))
    assert len({lot.expires_at for lot in book.open_lots}) == 1
    check_everything(book)
