"""The books: what was not loaded raises an error, and decisions change what is there."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

import pytest

from core.domain.account_lots import NotLoadedError
from core.domain.books import Books
from core.domain.decision import AccountChange, Decision, TierChange, TierChangeReason
from core.domain.ledger import Account
from core.domain.orders.posted import (
    Budget,
    BudgetChange,
    OrderEventKind,
    PostedOrder,
    PostedOrderEvent,
    PostedRefund,
    Qualifying,
    Usage,
    UsageChange,
)
from core.domain.program import UsageKey
from core.domain.program.registry import BEGINNING
from core.domain.tiers.history import OrdersByTime, TierHistoryEntry
from tests.domain.book import whole_books
from tests.domain.stories import START
from tests.facts import (
    ACCOUNT_ID,
    SOURCE,
    account,
    instant,
    lot,
    order,
    program_with,
    refund,
)

PROGRAM = program_with()
MARCH = instant("2026-03-01")
KEY = (SOURCE, "o1")
ACCOUNT = account(tier_changes=1)
POSTED = PostedOrder(
    order(), "test", 1, b"", "bronze", ACCOUNT_ID, sequence=1, points_entitled=100, qualifying=Qualifying(100, 10000, 1)
)
CAP = UsageKey("spend", "2026-03")


def no_new_account() -> UUID:
    raise AssertionError("an account is opened")


def nothing_loaded() -> Books:
    """Books that know an account, and nothing of it."""
    books = Books(no_new_account)
    books.put_accounts({ACCOUNT_ID: ACCOUNT})
    return books


ASKED: dict[str, Callable[[Books], Any]] = {
    "whether a customer has an account": lambda books: books.account_of("test", "c1"),
    "open lots": lambda books: [*books.open_lots(ACCOUNT)],
    "lots of an order": lambda books: books.lots_of_order(ACCOUNT, KEY),
    "lots to release": lambda books: books.lots_to_release(ACCOUNT, MARCH),
    "lots to take from": lambda books: [*books.lots_to_take(ACCOUNT, MARCH, {}, ())],
    "tier changes": lambda books: [*books.history(ACCOUNT)],
    "what the tier follows from": lambda books: [*books.tier_facts(ACCOUNT).orders],
    "counted orders": lambda books: [*books.counted(ACCOUNT, MARCH)],
    "usages": lambda books: books.usages(ACCOUNT, [CAP])[CAP],
    "budgets": lambda books: books.budgets("test", ["bonus"])["bonus"],
    "an order": lambda books: {**books.orders(KEY)},
    "a refund": lambda books: books.refund((SOURCE, "r1"), "test"),
    "refunds of an order": lambda books: books.refunds_of(POSTED),
    "order events": lambda books: books.order_event(POSTED, OrderEventKind.FULFILLED),
}


def load_what_is_not_there(books: Books) -> None:
    """Say of all parts that they were looked for and not found."""
    books.put_primaries({("test", "c1"): None})
    books.put_lots(ACCOUNT_ID, [], is_all_open=True)
    books.put_lots_of_order(ACCOUNT_ID, KEY)
    books.put_history({ACCOUNT_ID: []})
    books.put_counted(ACCOUNT_ID, MARCH, [])
    books.put_tier_facts(ACCOUNT_ID, OrdersByTime(), [])
    books.put_usages(ACCOUNT_ID, {CAP: Usage()})
    books.put_budgets({("test", "bonus"): Budget()})
    books.put_orders([KEY], [])
    books.put_refunds([KEY], [(SOURCE, "r1")], [])
    books.put_order_events([KEY], [])


class TestWhatIsNotLoaded:
    @pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
    def test_raises(self, asked: Callable[[Books], Any]) -> None:
        with pytest.raises(NotLoadedError):
            asked(nothing_loaded())

    @pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
    def test_is_not_the_same_as_what_was_looked_for_and_is_not_there(self, asked: Callable[[Books], Any]) -> None:
        books = nothing_loaded()
        load_what_is_not_there(books)
        assert not any(asked(books) or ())

    @pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
    def test_does_not_exist_where_the_books_are_whole(self, asked: Callable[[Books], Any]) -> None:
        books = whole_books()
        books.put_accounts({ACCOUNT_ID: ACCOUNT})
        assert not any(asked(books) or ())

    def test_an_account_by_its_id(self) -> None:
        with pytest.raises(NotLoadedError):
            nothing_loaded().account(UUID(int=1))

    def test_an_account_that_never_changed_its_tier_has_no_history_to_load(self) -> None:
        assert nothing_loaded().history(ACCOUNT._replace(tier_changes=0)) == ()

    def test_lots_to_take_from_are_there_as_far_as_they_cover_what_was_asked_for(self) -> None:
        books = nothing_loaded()
        later = lot(3, 10, expires="2026-09-01")
        some = [later, lot(2, 10, expires="2026-07-01"), lot(1, 10, expires="2026-06-01")]
        books.put_lots_to_take(ACCOUNT_ID, some, 15, MARCH)
        taken = books.lots_to_take(ACCOUNT, MARCH, {}, ())
        assert [next(taken).lot_number for _ in range(2)] == [1, 2]
        with pytest.raises(NotLoadedError):
            next(taken)  # lot 3 is known, but others may come before it
        assert [each.lot_number for each in islice(books.lots_to_take(ACCOUNT, MARCH, {}, {1}), 1)] == [2]

    def test_lots_that_do_not_cover_what_was_asked_for_are_all_that_can_be_taken_from(self) -> None:
        books = nothing_loaded()
        books.put_lots_to_take(ACCOUNT_ID, [lot(1, 10), lot(2, 10)], 21, MARCH)
        assert [each.lot_number for each in books.lots_to_take(ACCOUNT, MARCH, {}, ())] == [1, 2]

    def test_lots_to_release_are_there_as_far_as_they_were_due(self) -> None:
        books = nothing_loaded()
        held = lot(1, 10, available="2026-02-01", is_pending=True)
        books.put_lots_to_take(ACCOUNT_ID, [held], 0, MARCH)
        assert books.lots_to_release(ACCOUNT, MARCH) == [held]
        with pytest.raises(NotLoadedError):
            books.lots_to_release(ACCOUNT, MARCH + timedelta(days=1))

    def test_one_period_of_a_limit_is_not_another(self) -> None:
        books = nothing_loaded()
        books.put_usages(ACCOUNT_ID, {CAP: Usage(5, 1)})
        with pytest.raises(NotLoadedError):
            books.usages(ACCOUNT, [CAP, CAP._replace(period="2026-04")])

    def test_of_an_account_that_these_books_opened_everything_is_known(self) -> None:
        books = Books(lambda: ACCOUNT_ID)
        books.put_primaries({("test", "c1"): None})
        opened = books.new_account("test", "c1", "bronze", MARCH)
        for _ in ("before it is written", "after that"):
            assert not any((books.open_lots(opened), books.lots_of_order(opened, KEY), books.history(opened)))
            assert [*books.counted(opened, BEGINNING)] == []
            assert books.usages(opened, [CAP]) == {CAP: Usage()}
            books.apply(Decision((AccountChange(opened, opened=opened),)))
        assert books.account_of("test", "c1") == opened


def change_of(after: Account = ACCOUNT, **parts: Any) -> Decision:
    return Decision((AccountChange(after, **parts),))


class TestDecisionsChangeTheBooks:
    def books(self) -> Books:
        books = nothing_loaded()
        load_what_is_not_there(books)
        return books

    def test_an_account_is_as_decided(self) -> None:
        books, after = self.books(), ACCOUNT._replace(balance=7)
        books.apply(change_of(after))
        assert books.account(ACCOUNT_ID) == after

    def test_a_lot_that_is_emptied_is_no_longer_open_and_still_its_orders(self) -> None:
        books, half, empty = self.books(), lot(1, 50, granted=100), lot(1, 0, granted=100)
        books.apply(change_of(lots=(lot(2, 10, order_id="o1"), half)))
        assert {each.lot_number for each in books.open_lots(ACCOUNT)} == {1, 2}
        books.apply(change_of(lots=(empty,)))
        assert [each.lot_number for each in books.open_lots(ACCOUNT)] == [2]
        assert books.lots_of_order(ACCOUNT, KEY) == [empty, lot(2, 10, order_id="o1")]
        books.apply(change_of(lots=(half,)))
        assert books.lots_of_order(ACCOUNT, KEY)[0] == half, "points may come back"

    def test_tier_changes_follow_the_history(self) -> None:
        books, moved = self.books(), TierChange(ACCOUNT_ID, 2, "bronze", "silver", 500, MARCH, TierChangeReason.HELD)
        books.put_history({ACCOUNT_ID: [TierHistoryEntry(START, "bronze")]})
        books.apply(change_of(tier_changes=(moved,)))
        assert books.history(ACCOUNT) == [TierHistoryEntry(START, "bronze"), TierHistoryEntry(MARCH, "silver")]

    @pytest.mark.parametrize(("number", "is_known"), [(1, True), (2, False)])
    def test_a_history_that_was_not_loaded_begins_with_the_first_change_only(self, number: int, is_known: bool) -> None:
        books = nothing_loaded()
        moved = TierChange(ACCOUNT_ID, number, "bronze", "silver", 500, MARCH, TierChangeReason.QUALIFIED)
        books.apply(change_of(ACCOUNT._replace(tier_changes=number), tier_changes=(moved,)))
        if is_known:
            assert books.history(ACCOUNT) == [TierHistoryEntry(MARCH, "silver")]
        else:
            with pytest.raises(NotLoadedError):
                books.history(ACCOUNT)

    def test_usages_and_budgets_add_up(self) -> None:
        books = self.books()
        used = UsageChange(ACCOUNT_ID, *CAP, 30, 1, Decimal("0.333333333333"))
        given_back = used._replace(points=-10, orders=0, carried=Decimal("-0.333333333333"))
        for change in (used, given_back):
            spent = BudgetChange("test", "bonus", change.points, change.orders)
            books.apply(change_of(usages=(change,))._replace(budgets=(spent,)))
        assert books.usages(ACCOUNT, [CAP]) == {CAP: Usage(20, 1, Decimal(0))}
        assert books.budgets("test", ["bonus"]) == {"bonus": Budget(20, 1)}

    @pytest.mark.parametrize("change", [
        pytest.param(change_of(usages=(UsageChange(ACCOUNT_ID, *CAP, 30, 1, Decimal(0)),)), id="a usage"),
        pytest.param(Decision(budgets=(BudgetChange("test", "bonus", 30, 1),)), id="a budget"),
    ])  # fmt: skip
    def test_nothing_is_added_to_a_sum_that_was_not_loaded(self, change: Decision) -> None:
        with pytest.raises(NotLoadedError):
            nothing_loaded().apply(change)

    def test_an_order_counts_once_however_often_it_changes(self) -> None:
        books = self.books()
        books.apply(Decision(facts=(POSTED,)))
        after = POSTED._replace(points_entitled=40, qualifying=Qualifying(40, 4000, 1))
        books.apply(Decision(orders=(after,)))
        assert books.orders(KEY) == {"test": after}
        counted = [order.qualifying for order in books.counted(ACCOUNT, MARCH) if order.occurred_at == MARCH]
        assert Qualifying(*map(sum, zip(*counted, strict=True))) == after.qualifying

    def test_an_order_that_is_posted_has_all_its_lots_here(self) -> None:
        books = nothing_loaded()
        books.put_orders([KEY], [])
        books.apply(Decision((AccountChange(ACCOUNT, lots=(lot(),)),), (POSTED,)))
        assert books.lots_of_order(ACCOUNT, KEY) == [lot()]

    def test_refunds_and_events_are_found_in_their_own_program(self) -> None:
        books, elsewhere = self.books(), POSTED._replace(program_id="other")
        of_order = PostedRefund(refund(), "test", b"", ACCOUNT_ID)
        event = PostedOrderEvent(OrderEventKind.CANCELLED, "", *KEY, MARCH, "test", b"", ACCOUNT_ID)
        books.apply(Decision(facts=(POSTED, elsewhere, of_order, event)))
        assert (books.refunds_of(POSTED), books.refunds_of(elsewhere)) == ([of_order], [])
        assert (books.refund((SOURCE, "r1"), "test"), books.refund((SOURCE, "r1"), "other")) == (of_order, None)
        assert books.order_event(POSTED, OrderEventKind.CANCELLED) == event
        assert books.order_event(POSTED, OrderEventKind.FULFILLED) is None
        assert books.order_event(elsewhere, OrderEventKind.CANCELLED) is None
