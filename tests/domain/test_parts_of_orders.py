"""Lines of an order that are called off, apart from the rest."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.orders.facts import Cancellation, Refund
from core.domain.outcomes import Parked, Reason, Replayed
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.facts import Parts, cancellation, instant, line, order, part, program_with, refund, spend_rule

PLAIN = program_with(earning_rules=[spend_rule("1")])
#: 60 points and 40 points, and a line of four pieces of 10 points each.
BOUGHT = [line("1", "60.00"), line("2", "40.00"), line("3", "40.00", 4)]
NOW = instant("2026-03-10")


def book_with(*facts: ShopFact, program: Any = PLAIN) -> Book:
    book = Book(program)
    book.complete(order(lines=BOUGHT))
    for fact in facts:
        book.deliver(fact, NOW)
    return book


class TestCancelledLines:
    @pytest.mark.parametrize(
        ("cancelled", "kept"),
        [
            pytest.param([{"2": 1}], 100, id="one line: the rest is kept"),
            pytest.param([{"2": None}], 100, id="without a quantity all of the line"),
            pytest.param([{"3": 1}], 130, id="some pieces of a line take their share"),
            pytest.param([{"3": 1}, {"3": 2}], 110, id="one piece, then two more"),
            pytest.param([{"3": 3}, {"3": 3}], 100, id="never more than was ordered"),
            pytest.param([{"1": 1, "3": 4}], 40, id="several lines at once"),
            pytest.param([{"1": 1}, {"2": None}, {"3": None}], 0, id="all lines, one after the other"),
        ],
    )
    def test_count_as_refunded(self, cancelled: list[Parts], kept: int) -> None:
        facts = [cancellation(at=f"2026-03-0{n}", lines=lines) for n, lines in enumerate(cancelled, start=4)]
        book = book_with(*facts)
        assert (book.account.balance, book.orders["o1"].cancelled_at) == (kept, None)
        check_everything(book)

    def test_and_a_refund_of_the_same_line_find_the_line_once(self) -> None:
        facts: list[ShopFact] = [
            cancellation(lines={"3": 1}),
            refund(part("3", quantity=1)),
            refund(part("1", quantity=1), refund_id="r2"),
            cancellation(at="2026-03-05", lines={"3": 3}),
        ]
        for arrival in permutations(facts):
            book = book_with(*arrival)
            assert book.account.balance == 40
            check_everything(book)

    def test_then_the_whole_order_takes_the_rest(self) -> None:
        book = book_with(cancellation(lines={"1": 1}), cancellation(at="2026-03-05"))
        assert (book.account.balance, book.orders["o1"].cancelled_at) == (0, instant("2026-03-05"))
        check_everything(book)

    def test_wait_for_their_order(self) -> None:
        book = Book(PLAIN)
        for fact in (cancellation(lines={"2": 1}), order(lines=BOUGHT)):
            book.deliver(fact, NOW)
        assert book.account.balance == 100

    def test_of_a_guests_order_are_recorded(self) -> None:
        book = Book(PLAIN)
        for fact in (order(lines=BOUGHT, customer_id=None), cancellation(lines={"2": 1})):
            book.deliver(fact, NOW)
        assert [event.lines for event in book.events("o1")] == [cancellation(lines={"2": 1}).lines]

    @pytest.mark.parametrize(
        ("first", "second", "outcome"),
        [
            pytest.param({}, {}, Replayed, id="the same time and lines: the same"),
            pytest.param({"part_id": "k1"}, {"part_id": "k1"}, Replayed, id="the same id and content"),
            pytest.param({"part_id": "k1"}, {"part_id": "k1", "lines": {"3": 2}}, Parked, id="an id with other lines"),
            pytest.param({"part_id": "k1"}, {"part_id": "k2"}, None, id="another id: another one"),
            pytest.param({}, {"at": "2026-03-05"}, None, id="another time: another one"),
            pytest.param({}, {"lines": {"1": 1}}, None, id="other lines: another one"),
        ],
    )
    def test_are_known_for_ever(self, first: dict[str, Any], second: dict[str, Any], outcome: type | None) -> None:
        book = book_with(cancellation(**{"lines": {"3": 1}, **first}))
        found = book.decide(cancellation(**{"lines": {"3": 1}, **second}), NOW)
        if outcome is not None:
            assert isinstance(found, outcome)
        else:
            book.deliver(cancellation(**{"lines": {"3": 1}, **second}), NOW)
            assert book.account.balance < 130
        if isinstance(found, Parked):
            assert found.reason is Reason.ORDER_CONFLICT
            assert "cancellation of lines is posted already" in found.detail

    @pytest.mark.parametrize(
        ("lines", "reason", "text"),
        [
            ({"4": 1}, Reason.UNKNOWN_LINE, "names no line of the order; send the cancellation in a new event"),
            ({"3": 5}, Reason.REFUND_EXCEEDS_ORDER, "quantity is 5, more than the 4 that were ordered"),
        ],
    )
    def test_that_cannot_be_are_parked(self, lines: Parts, reason: Reason, text: str) -> None:
        found = book_with().decide(cancellation(lines=lines), NOW)
        assert isinstance(found, Parked)
        assert found.reason is reason
        assert text in found.detail

    @given(st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=5), st.randoms(use_true_random=False))
    def test_end_where_refunds_of_the_same_pieces_do_in_any_order(self, lines: list[str], random: Any) -> None:
        facts: list[Cancellation | Refund] = [
            cancellation(at=f"2026-03-0{n}", lines={each: 1})
            if random.random() < 0.5
            else refund(part(each, quantity=1), refund_id=f"r{n}")
            for n, each in enumerate(lines, start=1)
        ]
        book = book_with(*random.sample(facts, len(facts)))
        refunded = book_with(*[refund(part(each, quantity=1), refund_id=f"r{n}") for n, each in enumerate(lines)])
        assert book.account.balance == refunded.account.balance
        check_everything(book)
