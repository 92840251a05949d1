"""Which order a message is about: said by its program, its source and its times, and never by what came first."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.decision import Decision
from core.domain.message import Message
from core.domain.orders.facts import Cancellation, Fulfilment, Order, Refund
from core.domain.orders.posted import PostedOrder, PostedOrderEvent, PostedRefund
from core.domain.outcomes import Parked, Replayed, Waiting
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from tests.domain.book import DECIDERS, whole_books
from tests.facts import AS_OF, SOURCE, cancellation, fulfilment, instant, order, program_with, refund

TILL, LOST = "/shops/till", "/shops/lost"
MOVED_AT = instant("2026-06-01")
CLUB = program_with(program_id="club", sources=[SOURCE, TILL])
HOUSE = program_with(program_id="house", sources=[])
#: The source moves from the club to the house.
LATER_CLUB = program_with(program_id="club", sources=[TILL])
LATER_HOUSE = program_with(program_id="house", sources=[SOURCE])

STAYING = ProgramRegistry([ProgramVersion("club", 1, BEGINNING, CLUB), ProgramVersion("house", 1, BEGINNING, HOUSE)], 0)
MOVING = ProgramRegistry(
    [
        ProgramVersion("club", 1, BEGINNING, CLUB),
        ProgramVersion("club", 2, MOVED_AT, LATER_CLUB),
        ProgramVersion("house", 1, BEGINNING, HOUSE),
        ProgramVersion("house", 2, MOVED_AT, LATER_HOUSE),
    ],
    0,
)
Fact = Order | Refund | Fulfilment | Cancellation


class Sent(NamedTuple):
    """A message, and where it ends when all have come: a program, waiting, or the reason why it is parked."""

    fact: Fact
    program_id: str | None
    ends: str


def of_source(fact: Any, source: str, order_source: str | None = None) -> Any:
    named = {} if order_source is None else {"order_source": order_source}
    return fact._replace(source=source, **named)


def ends_of(messages: Iterable[tuple[int, Sent]], rules: ProgramRegistry) -> dict[int, str]:
    """Post as the posting does: what waits is looked at again after each order."""
    books = whole_books()
    ends: dict[int, str] = {}
    sent_as: dict[int, Sent] = {}

    def post(number: int) -> None:
        sent = sent_as[number]
        message = Message(sent.fact, sent.program_id, repr(sent).encode())
        _, decide = DECIDERS[type(sent.fact)]
        match decide(books, message, rules, AS_OF):
            case Decision() as decision:
                books.apply(decision)
                (fact,) = decision.facts
                assert isinstance(fact, PostedOrder | PostedRefund | PostedOrderEvent)
                ends[number] = fact.program_id
            case Parked(reason):
                ends[number] = reason.value
            case Waiting():
                ends[number] = "waiting"
            case Replayed():
                raise AssertionError("no message came twice")

    for number, sent in messages:
        sent_as[number] = sent
        post(number)
        if isinstance(sent.fact, Order):
            for waiting in [each for each, end in ends.items() if end == "waiting"]:
                post(waiting)
    return ends


def at(days: int) -> Any:
    return MOVED_AT + timedelta(days=days)


IN_BOTH = [
    Sent(order(at=at(-9)), None, "club"),
    Sent(order(at=at(-8)), "house", "house"),
    Sent(refund(at=at(-7)), None, "club"),
    Sent(refund(at=at(-7), refund_id="r2"), "house", "house"),
    Sent(refund(at=at(-7), refund_id="r3"), "club", "club"),
    Sent(fulfilment(at=at(-7)), None, "club"),
    Sent(cancellation(at=at(-6)), "house", "house"),
    Sent(of_source(refund(at=at(-5)), TILL, SOURCE), None, "club"),
    Sent(of_source(refund(at=at(-5), refund_id="r2"), TILL, SOURCE), "house", "house"),
    Sent(of_source(refund(at=at(-5)), LOST, SOURCE), None, "unknown_program"),
    Sent(of_source(refund(at=at(-5)), TILL), None, "waiting"),
]
ONLY_NAMED = [
    Sent(order(at=at(-9)), "house", "house"),
    Sent(refund(at=at(-7)), None, "waiting"),
    Sent(refund(at=at(-7), refund_id="r2"), "house", "house"),
    Sent(refund(at=at(-7), refund_id="r3"), "club", "waiting"),
]
OF_NO_PROGRAM = [
    Sent(of_source(order(at=at(-9)), LOST), "club", "club"),
    Sent(of_source(order(at=at(-9)), LOST), "house", "house"),
    Sent(of_source(refund(at=at(-7)), LOST), None, "unknown_program"),
    Sent(of_source(refund(at=at(-7), refund_id="r2"), LOST), "house", "house"),
]
#: After the move a message without a program is still about the order from before it.
BEFORE_THE_MOVE = [
    Sent(order(at=at(-1)), None, "club"),
    Sent(order(at=at(-1)), "house", "house"),
    Sent(refund(at=at(1)), None, "club"),
    Sent(cancellation(at=at(2)), None, "club"),
]
AFTER_THE_MOVE = [
    Sent(order(at=at(1)), None, "house"),
    Sent(order(at=at(1)), "club", "club"),
    Sent(refund(at=at(2)), None, "house"),
    Sent(of_source(refund(at=at(2)), TILL, SOURCE), None, "unknown_program"),
    Sent(of_source(refund(at=at(2), refund_id="r2"), TILL, SOURCE), "club", "club"),
]


@pytest.mark.parametrize(
    ("messages", "rules"),
    [
        pytest.param(IN_BOTH, STAYING, id="one id in two programs"),
        pytest.param(ONLY_NAMED, STAYING, id="one in a program that its source does not lead to"),
        pytest.param(OF_NO_PROGRAM, STAYING, id="a source that no program takes"),
        pytest.param(BEFORE_THE_MOVE, MOVING, id="before its source moved"),
        pytest.param(AFTER_THE_MOVE, MOVING, id="after its source moved"),
    ],
)
@given(st.data())
def test_which_message_comes_first_cannot_matter(messages: list[Sent], rules: ProgramRegistry, data: Any) -> None:
    arrival = data.draw(st.permutations(list(enumerate(messages))))
    assert ends_of(arrival, rules) == {number: sent.ends for number, sent in enumerate(messages)}
