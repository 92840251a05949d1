"""Which program and which posted order a message is about, and what becomes of it where there is none."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from core.domain.books import Books
from core.domain.message import Message
from core.domain.orders.facts import Cancellation, Fulfilment, Order
from core.domain.orders.parts import key_of_id, part_key, part_problem
from core.domain.orders.posted import OrderEventKind, PostedOrder
from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.domain.program.registry import ProgramRegistry

#: What is to be done about another content of what is posted already.
_ADVICE = {
    "refund": (
        "If it is another refund, send it in a new event with a refund_id of its own; if the first one did not happen "
        "after all, send order.refund_reverted; drop this message"
    ),
    "return": "If it is another return, send it in a new event with a return_id of its own; drop this message",
    "fulfilment": "The order is fulfilled all the same; drop this message",
    "cancellation": "The order is cancelled all the same; drop this message",
    "fulfilment of lines": "If it is another one, send it in a new event with a fulfilment_id; drop this",
    "cancellation of lines": "If it is another one, send it in a new event with a cancellation_id; drop this",
    "revision": "If this one is right, send it with the next revision; drop this message",
    "undone refund": "The refund is undone all the same; drop this message",
}
_NOUNS = {OrderEventKind.FULFILLED: "fulfilment", OrderEventKind.CANCELLED: "cancellation"}


def order_of(books: Books, message: Message[Any], rules: ProgramRegistry) -> PostedOrder | Waiting | Parked:
    """The order that a message is about: in the program it names, else in the one where the order's source led.

    The order's source leads where it did at the order's own time, whatever it does at the message's. While that order
    is not posted, the message waits for it, whichever orders of the same id are posted in other programs: which comes
    first cannot matter. Another source than the order's may speak of it in a program that it names or that takes it.
    """
    fact, named = message.fact, message.program_id
    orders = books.orders(fact.order_key)
    awaited = Waiting(fact.order_id, len(orders))
    if named is not None:
        return orders.get(named, awaited) if named in rules.program_ids() else unknown_program(named, rules)
    source, _ = fact.order_key
    routed = _routed(orders, rules)
    if len(routed) > 1:  # the source has moved, and orders of both its programs have this id
        led_to = rules.resolve(None, source, fact.occurred_at)
        routed = [posted for posted in routed if posted.program_id == led_to]
    if len(routed) == 1:
        return _out_of_reach(routed[0], fact, rules) or routed[0]
    if not orders or (not routed and rules.takes_ever(source)):
        return awaited
    detail = (
        f"data.program_id is absent, and the order is in program {' and '.join(sorted(orders))}, which its source does "
        "not say; name the program in data.program_id, in a new event"
    )
    return Parked(Reason.UNKNOWN_PROGRAM, detail)


def _out_of_reach(posted: PostedOrder, fact: Any, rules: ProgramRegistry) -> Parked | None:
    """Why a message of another source is not taken for this order; None where it is."""
    if fact.source == posted.order.source or rules.resolve(None, fact.source, fact.occurred_at) == posted.program_id:
        return None
    detail = (
        f"the order of data.order_source is in program {posted.program_id}, which does not take this message's source "
        "at its time; list the source in that program, or name the program in data.program_id"
    )
    return Parked(Reason.UNKNOWN_PROGRAM, detail)


def order_known(books: Books, message: Message[Order], program_id: str, rules: ProgramRegistry) -> PostedOrder | None:
    """The order of this id that is posted already in `program_id`, or, if the message names none, by its source.

    Its source may lead to another program by now, or it may come again with another time: it is one order all the same.
    """
    orders = books.orders((message.fact.source, message.fact.order_id))
    if not orders or program_id in orders or message.program_id is not None:
        return orders.get(program_id)
    same = [posted for posted in orders.values() if posted.digest == message.digest]
    return next(iter(same or _routed(orders, rules)), None)


def _routed(orders: Mapping[str, PostedOrder], rules: ProgramRegistry) -> list[PostedOrder]:
    """Those of one order's postings that are where its source led at their time."""
    return [
        posted
        for program_id, posted in orders.items()
        if rules.resolve(None, posted.order.source, posted.order.occurred_at) == program_id
    ]


def order_for_event(
    books: Books, kind: OrderEventKind, message: Message[Any], rules: ProgramRegistry
) -> PostedOrder | Replayed | Waiting | Parked:
    """The order that a message reports to be fulfilled or cancelled, or a part of it, unless that is posted already."""
    posted = order_of(books, message, rules)
    if not isinstance(posted, PostedOrder):
        return posted
    noun, lines = _NOUNS[kind], message.fact.lines
    known = books.order_event(posted, kind, event_key_of(message.fact))
    if known is None and message.fact.part_id is not None and not lines:
        known = books.order_event(posted, kind, key_of_id(message.fact.part_id))
    if known is not None:
        noun = f"{noun} of lines" if known.lines else noun
        return posted_before(known.digest == message.digest, Reason.ORDER_CONFLICT, noun)
    return part_problem(posted.current, posted.order, lines, noun) or posted


def event_key_of(fact: Fulfilment | Cancellation) -> str:
    """What tells a fulfilment or a cancellation from others of its order."""
    return part_key(fact.part_id, fact.occurred_at, fact.lines)


def posted_before(is_same: bool, reason: Reason, noun: str) -> Replayed | Parked:
    """What becomes of a message about something that is posted already."""
    if is_same:
        return Replayed()
    return Parked(reason, f"this {noun} is posted already with other content; the first one stands. {_ADVICE[noun]}")


def unknown_program(named: str, rules: ProgramRegistry) -> Parked:
    """Why a message cannot be posted that names a program `named` which is not here."""
    assert named not in rules.program_ids()
    detail = f"data.program_id names a program that is not here; programs here: {_known_text(rules)}"
    return Parked(Reason.UNKNOWN_PROGRAM, detail)


def unlisted_source(occurred_at: datetime, rules: ProgramRegistry) -> Parked:
    """Why an order of `occurred_at` cannot be posted that names no program and that no program takes."""
    then = occurred_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    detail = (
        f"data.program_id is absent, and at {then}, the order's time, no program lists this source and none is the "
        f"default; programs here: {_known_text(rules)}"
    )
    return Parked(Reason.UNKNOWN_PROGRAM, detail)


def _known_text(rules: ProgramRegistry) -> str:
    return ", ".join(rules.program_ids()) or "none"
