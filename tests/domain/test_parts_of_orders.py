"""Lines of an order that are called off, or fulfilled, apart from the rest."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.orders.facts import Cancellation, Refund, RefundReversion
from core.domain.outcomes import Parked, Reason, Replayed
from core.domain.program import Availability, AvailabilityPolicy, ClawbackPolicy, Program
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.domain.stories import some_order, some_refund
from tests.domain.valid_programs import various_versions
from tests.facts import (
    Parts,
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
    spend_rule,
)

PLAIN = program_with(earning_rules=[spend_rule("1")])
#: 60 points and 40 points, and a line of four pieces of 10 points each.
BOUGHT = [line("1", "60.00"), line("2", "40.00"), line("3", "40.00", 4)]
NOW = instant("2026-03-10")


def book_with(*facts: ShopFact, program: Any = PLAIN) -> Book:
    book = Book(program)
    book.complete(order(lines=BOUGHT))
    undone = [fact for fact in facts if isinstance(fact, RefundReversion)]  # they wait for their refunds
    for fact in [*facts, *undone]:
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
            pytest.param({"part_id": "k1"}, {"part_id": "k1", "lines": None}, Parked, id="an id with the whole order"),
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


#: Everything that a program can say, with points that wait for the fulfilment.
VARIOUS = [
    each.first.model_copy(update={"availability": Availability(policy=AvailabilityPolicy.ON_FULFILLED)})
    for each in various_versions(40, seed=11)
    if each.first.clawback.policy is not ClawbackPolicy.PENDING_ONLY
]
HELD = {"availability": {"policy": "on_fulfilled"}, "earning_rules": [spend_rule("1")]}
ON_FULFILLED = program_with(**HELD, expiry={"policy": "after_months", "months": 1})
WEEK_AFTER = program_with(**{**HELD, "availability": {"policy": "days_after_fulfilment", "days": 7}})


def buckets(book: Book) -> tuple[int, int]:
    return book.account.balance, book.account.pending


class TestFulfilledLines:
    @pytest.mark.parametrize(
        ("facts", "available", "pending"),
        [
            pytest.param([fulfilment(lines={"1": 1})], 60, 80, id="one of three lines"),
            pytest.param([fulfilment(lines={"1": None, "2": None})], 100, 40, id="two of three lines"),
            pytest.param([fulfilment(lines={"3": 1})], 10, 130, id="one of four pieces"),
            pytest.param(
                [fulfilment(lines={"3": 3}), fulfilment(lines={"3": 3}, part_id="2")], 40, 100, id="never more than all"
            ),
            pytest.param(
                [fulfilment(lines={"1": 1}), fulfilment(lines={"2": 1}), fulfilment(lines={"3": 4})],
                140, 0, id="all lines, one after the other",
            ),
            pytest.param([fulfilment(lines={"1": 1}), fulfilment(at="2026-03-06")], 140, 0, id="then the whole"),
            pytest.param([fulfilment(at="2026-03-02"), fulfilment(lines={"1": 1})], 140, 0, id="the whole first"),
            pytest.param(
                [refund(part("1", quantity=1)), fulfilment(lines={"1": 1})], 0, 80, id="what came back never waited"
            ),
            pytest.param([refund(part("2", quantity=1)), fulfilment(lines={"1": 1})], 60, 40, id="another came back"),
            pytest.param([refund(part("3", quantity=1)), fulfilment(lines={"3": 3})], 30, 100, id="a piece came back"),
            pytest.param([fulfilment(lines={"1": 1}), cancellation(lines={"2": 1})], 60, 40, id="a line cannot be had"),
            pytest.param([fulfilment(lines={"1": 1}), cancellation()], 0, 0, id="all of it is called off"),
        ],
    )  # fmt: skip
    def test_are_available_as_if_only_they_had_been_bought(
        self, facts: list[ShopFact], available: int, pending: int
    ) -> None:
        for arrival in permutations(facts):
            book = book_with(*arrival, program=ON_FULFILLED)
            assert buckets(book) == (available, pending)
            check_everything(book)

    def test_expire_each_from_its_own_fulfilment_on(self) -> None:
        book = book_with(program=ON_FULFILLED)
        book.fulfil(fulfilment(at="2026-03-22", lines={"1": 1}))
        book.fulfil(fulfilment(at="2026-04-25", lines={"2": 1}))
        ends = {lot.points_granted: lot.expires_at for lot in book.lots.values() if not lot.is_pending}
        assert ends == {60: instant("2026-04-22T22:00+00:00"), 40: instant("2026-05-25T22:00+00:00")}
        assert [lot.points_remaining for lot in book.lots.values() if lot.is_pending] == [40]

    def test_are_pending_for_so_many_days_more_where_the_program_says_so(self) -> None:
        book = Book(WEEK_AFTER)
        book.complete(order(lines=BOUGHT), as_of=instant("2026-03-01"))
        book.fulfil(fulfilment(at="2026-03-02", lines={"1": 1}))
        book.fulfil(fulfilment(at="2026-03-05", lines={"2": 1}))
        assert buckets(book) == (0, 140)
        book.release(instant("2026-03-09"))
        assert buckets(book) == (60, 80)
        book.release(instant("2026-03-20"))
        assert buckets(book) == (100, 40)
        book.fulfil(fulfilment(at="2026-03-21"))
        book.release(instant("2026-03-28"))
        assert buckets(book) == (140, 0)
        check_everything(book)

    def test_pay_off_a_deficit(self) -> None:
        book = Book(ON_FULFILLED)
        book.complete(order(lines=BOUGHT))
        book.account = book.account._replace(balance=-30, deficit=30)
        (entry,) = book.fulfil(fulfilment(lines={"1": 1})).entries
        assert (entry.points, entry.pending_change, entry.deficit_change) == (60, -60, -30)
        assert (book.account.balance, book.account.deficit) == (30, 0)
        assert [lot.points_remaining for lot in book.lots.values()] == [80, 30]

    def test_leave_the_rest_pending_whatever_was_spent_and_comes_back(self) -> None:
        book = book_with(fulfilment(lines={"1": 1}), program=ON_FULFILLED)
        book.spend(60, instant("2026-03-04"))
        book.refund(refund(part("1", quantity=1)))
        assert (*buckets(book), book.account.deficit) == (-60, 80, 60)
        check_everything(book)

    def test_what_is_not_available_any_more_waits_again(self) -> None:
        """The bonus is for 50.00 and more. What is fulfilled comes to that, until some money of it is given back."""
        bonus = {"promotion_id": "bonus", "kind": "addition", "points": 50, "when": {"minimum_amount": "50.00"}}
        program = program_with(**HELD, promotions=[bonus])
        facts: list[ShopFact] = [fulfilment(lines={"1": 1}), refund(part("1", net="20.00"))]
        ends = [buckets(book_with(*arrival, program=program)) for arrival in permutations(facts)]
        assert ends == [(40, 122), (40, 122)]

    def test_where_points_wait_for_nothing_they_are_recorded_only(self) -> None:
        book = book_with(fulfilment(lines={"1": 1}))
        assert (buckets(book), book.orders["o1"].fulfilled_at) == ((140, 0), None)
        assert [event.lines for event in book.events("o1")] == [fulfilment(lines={"1": 1}).lines]

    def test_that_cannot_be_are_parked(self) -> None:
        found = book_with().decide(fulfilment(lines={"4": 1}), NOW)
        assert isinstance(found, Parked)
        assert "send the fulfilment in a new event with the line_id of one of its 3 lines" in found.detail

    def test_what_did_not_come_back_after_all_is_available_or_waits_as_before(self) -> None:
        facts: list[ShopFact] = [
            fulfilment(lines={"1": 1}),
            refund(part("1", quantity=1), refund_id="of-delivered"),
            refund(part("2", quantity=1), refund_id="of-waiting"),
            reversion("of-delivered"),
            reversion("of-waiting"),
        ]
        for arrival in permutations(facts):
            book = book_with(*arrival, program=ON_FULFILLED)
            assert buckets(book) == (60, 80)
            check_everything(book)

    def test_of_an_order_that_has_changed_since_are_what_they_come_to_now(self) -> None:
        cheaper = [line("1", "50.00"), line("2", "45.00"), line("3", "40.00", 4), line("4", "5.00")]
        facts: list[ShopFact] = [
            fulfilment(lines={"1": 1, "3": 2}),
            amendment(*cheaper),
            refund(part("3", quantity=1)),
        ]
        for arrival in permutations(facts):
            book = book_with(*arrival, program=ON_FULFILLED)
            assert buckets(book) == (70, 60)
            check_everything(book)

    @given(
        st.lists(st.tuples(st.sampled_from(["1", "2", "3"]), st.sampled_from("frcu")), min_size=1, max_size=6),
        st.randoms(use_true_random=False),
        st.sampled_from(["allow_negative", "clamp"]),
        st.sampled_from(["1", "0.7", "1.3"]),
    )
    def test_and_what_is_given_back_or_called_off_end_alike_however_they_arrive(
        self, parts: list[tuple[str, str]], random: Any, policy: str, rate: str
    ) -> None:
        def some_facts(n: int, line_id: str, kind: str) -> list[ShopFact]:
            at, lines = f"2026-03-0{n}", {line_id: 1}
            given_back = refund(part(line_id, quantity=1), refund_id=f"r{n}", at=at)
            match kind:
                case "f":
                    return [fulfilment(at=at, lines=lines)]
                case "c":
                    return [cancellation(at=at, lines=lines)]
                case "u":
                    return [given_back, reversion(f"r{n}", at=at)]
            return [given_back]

        program = program_with(**{**HELD, "earning_rules": [spend_rule(rate)]}, clawback={"policy": policy})
        facts = [fact for n, each in enumerate(parts, start=1) for fact in some_facts(n, *each)]
        ends = set()
        for arrival in (facts, random.sample(facts, len(facts)), facts[::-1]):
            book = book_with(*arrival, program=program)
            ends.add((*buckets(book), book.account.deficit, book.account.lifetime_points))
            check_everything(book)
        assert len(ends) == 1
        available, pending = buckets(book)
        book.fulfil(fulfilment(at="2026-03-09"), NOW)
        assert buckets(book) == (available + pending, 0)

    @given(
        st.sampled_from(VARIOUS),
        st.integers(0, 10_000),
        st.lists(st.tuples(st.sampled_from("ffrcu"), st.integers(0, 10_000)), min_size=1, max_size=6),
        st.integers(0, 60),
        st.randoms(use_true_random=False),
    )
    def test_the_same_under_whatever_a_program_says(
        self, program: Program, number: int, parts: list[tuple[str, int]], spent: int, random: Any
    ) -> None:
        """Without spending; else what is gone depends on when it was there to be spent, and the books are sound."""
        sold = some_order("o1", number, instant("2026-03-01"))
        facts: list[ShopFact] = []
        for n, (kind, which) in enumerate(parts):
            chosen = sold.lines[which % len(sold.lines)]
            lines: Parts = {chosen.line_id: None if which % 5 == 0 else 1 + which % int(chosen.quantity)}
            if kind == "f":
                facts.append(fulfilment(lines=lines, part_id=f"p{n}"))
            elif kind == "c":
                facts.append(cancellation(lines=lines, part_id=f"p{n}"))
            else:
                facts.append(some_refund(sold, f"r{n}", which, instant("2026-03-05")))
                facts += [reversion(f"r{n}")] if kind == "u" else []
        ends = set()
        for arrival in (facts, random.sample(facts, len(facts))):
            book = Book(program)
            book.deliver(sold, NOW)
            for fact in [*arrival, *[fact for fact in facts if isinstance(fact, RefundReversion)]]:
                book.deliver(fact, NOW)
                book.spend(spent // 3, NOW)
            ends.add((*buckets(book), book.account.deficit, book.account.lifetime_points))
            check_everything(book)
        assert len(ends) == 1 or spent // 3
        book.fulfil(fulfilment(at="2026-03-09"), NOW)
        assert book.account.pending == 0
