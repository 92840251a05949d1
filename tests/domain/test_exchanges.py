"""Lines below zero, which stand for what was given back in exchange: called off, refunded beside, and rounded."""

from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.orders.basket import Basket
from core.domain.orders.earning import entitlement
from core.domain.orders.facts import Order, Refund
from core.domain.orders.goods import Goods
from core.domain.outcomes import Parked, Reason
from core.domain.program import Program
from tests.domain.book import Book, ShopFact
from tests.domain.invariants import check_everything
from tests.domain.stories import START, given_back, some_order, some_refund
from tests.domain.valid_programs import various_versions
from tests.facts import AS_OF, amendment, cancellation, line, order, part, program_with, refund, spend_rule

PLAIN = program_with(earning_rules=[spend_rule("1")])
ADDED: dict[str, Any] = {"promotion_id": "tea", "kind": "addition", "points": 20, "lines": {"skus": ["tea"]}}
BOUGHT = (line("1", "100.00", 2), line("2", "50.00"))
BACK = line("1b", "-50.00", -1)
PROGRAMS = [versions.first for versions in various_versions(300, seed=29)]
programs = st.sampled_from(PROGRAMS)
numbers = st.integers(0, 10_000)


def told(program: Program, *facts: ShopFact) -> Book:
    """The book of one customer after these facts."""
    book = Book(program)
    for fact in facts:
        book.deliver(fact, AS_OF)
    check_everything(book)
    return book


def exchanged(bought: Order, number: int) -> tuple[Order, list[Refund]]:
    """The same order with lines below zero for pieces of some of its lines, and all that calls these off."""
    random = Random(number)
    chosen = random.sample(bought.lines, random.randint(1, len(bought.lines)))
    back = [given_back(each, random.randrange(100)) for each in chosen]
    called_off = [
        refund(part(each.line_id, quantity=abs(int(each.quantity))), refund_id=each.line_id, at=START)
        for each in back
        for _ in range(random.randint(1, 2))
    ]
    return bought._replace(lines=(*bought.lines, *back)), called_off


@given(programs, numbers, numbers, st.lists(numbers, max_size=4))
def test_what_was_given_back_and_is_called_off_is_as_if_it_had_never_been(
    program: Program, number: int, which: int, chosen: list[int]
) -> None:
    bought = some_order("o1", number, START)._replace(points_paid=0)
    both, called_off = exchanged(bought, which)
    refunds = [some_refund(bought, f"r{n}", each, START) for n, each in enumerate(chosen)]
    arrived = Random(which).sample([*refunds, *called_off], len(refunds) + len(called_off))
    is_there, never_was = (entitlement(o, r, program, "silver") for o, r in ((both, arrived), (bought, refunds)))
    assert (is_there.points, is_there.given, is_there.qualifying) == (
        never_was.points,
        never_was.given,
        never_was.qualifying,
    )
    shares = [Basket(Goods(o, program.basis)).after(r).share_back for o, r in ((both, arrived), (bought, refunds))]
    assert abs(shares[0] - shares[1]) < 1e-9


def is_rounded_by_line(program: Program) -> bool:
    return any(rule.kind == "spend" and rule.round_per.value == "line" for rule in program.earning_rules)


@given(
    st.sampled_from([program for program in PROGRAMS if not is_rounded_by_line(program)]),
    numbers,
    numbers,
    st.lists(numbers, max_size=4),
)
def test_a_refund_beside_what_was_given_back_never_means_more_points(
    program: Program, number: int, which: int, chosen: list[int]
) -> None:
    both, _ = exchanged(some_order("o1", number, START), which)
    both = both._replace(points_paid=min(both.points_paid, both.total_gross))
    refunds = [some_refund(both, f"r{n}", each, START) for n, each in enumerate(chosen)]
    points = [entitlement(both, refunds[:n], program, "silver").points for n in range(len(refunds) + 1)]
    assert points == sorted(points, reverse=True)


@pytest.mark.parametrize("pieces", [None, 1])
def test_a_line_given_back_is_called_off_once_however_often_that_is_said(pieces: int | None) -> None:
    again = [cancellation(lines={"1b": pieces}, part_id=f"x{n}") for n in range(3)]
    book = told(PLAIN, order(lines=BOUGHT), amendment(*BOUGHT, BACK), *again)
    assert [entry.points for entry in book.entries] == [150, -50, 50]


def test_some_pieces_of_what_was_given_back_are_called_off() -> None:
    back = line("1b", "-100.00", -2)
    facts = order(lines=BOUGHT), amendment(*BOUGHT, back), cancellation(lines={"1b": 1}, part_id="x1")
    assert told(PLAIN, *facts).account.balance == 100
    assert told(PLAIN, *facts, cancellation(lines={"1b": 1}, part_id="x2")).account.balance == 150


def test_a_line_that_turned_into_one_given_back_counts_the_pieces_that_were_called_off_before() -> None:
    """By their number alone: of three of which one was called off two are given back still."""
    turned = line("2", "-30.00", -3)
    facts = [order(lines=(BOUGHT[0], line("2", "30.00", 3))), cancellation(lines={"2": 1}, part_id="x1")]
    for arrival in permutations([*facts[1:], amendment(BOUGHT[0], turned)]):
        assert told(PLAIN, facts[0], *arrival).account.balance == 80


@pytest.mark.parametrize("given", [part("1b", quantity=1), part("1b", net="0.01"), part("1b", paid="50.00")])
def test_nothing_can_be_refunded_of_what_was_given_back(given: Any) -> None:
    book = told(PLAIN, order(lines=BOUGHT), amendment(*BOUGHT, BACK))
    outcome = book.decide(refund(given), AS_OF)
    assert isinstance(outcome, Parked)
    assert (outcome.reason, "order.cancelled" in outcome.detail) == (Reason.REFUND_EXCEEDS_ORDER, True)


def test_what_is_asked_of_each_line_is_asked_of_one_given_back_as_it_was_ordered() -> None:
    program = program_with(earning_rules=[spend_rule("1", lines={"minimum_amount": "20"})])
    bought, back = line("1", "100.00", 2), line("1b", "-20.00", -1)
    book = told(program, order(lines=[bought]), amendment(bought, back), refund(net="1.00"))
    assert [entry.points for entry in book.entries] == [100, -20, -1]


@pytest.mark.parametrize(("mode", "points"), [("proportional", 10), ("never", 20), ("full_refund", 20)])
def test_an_addition_is_for_what_was_bought_once_what_was_given_back_is_called_off(mode: str, points: int) -> None:
    """Half of what was bought is refunded, so half of the addition is left, and not more than all of it before."""
    program = program_with(earning_rules=[spend_rule("0")], promotions=[{**ADDED, "clawback": mode}])
    bought, back = line("1", "50.00", 5, sku="tea"), line("1b", "-30.00", -3, sku="tea")
    book = told(
        program, order(lines=[bought]), amendment(bought, back), cancellation(lines={"1b": None}), refund(net="25.00")
    )
    assert book.account.balance == points
    assert max(entry.points for entry in book.entries) <= 20
