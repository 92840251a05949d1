"""Which program and which posted order a message is about, and what becomes of it where there is none."""

from typing import Any

from core.domain.books import Books
from core.domain.message import Message
from core.domain.orders.posted import OrderEventKind, PostedOrder
from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import OrderKey

#: What is to be done about another content of what is posted already.
_ADVICE = {
    "order": "To correct it, send a refund and a new order; drop this message",
    "refund": "If this one is right too, send it with a new refund id; drop this message",
    "fulfilment": "The order is fulfilled all the same; drop this message",
    "cancellation": "The order is cancelled all the same; drop this message",
}
_NOUNS = {OrderEventKind.FULFILLED: "fulfilment", OrderEventKind.CANCELLED: "cancellation"}


def order_of(
    books: Books, key: OrderKey, program_id: str | None, rules: ProgramRegistry
) -> PostedOrder | Waiting | Parked:
    """The order that a message is about: in the program it names, else in that of its source, else in the only one.

    Where the order is not posted yet, the message waits for it, unless it never can come.
    """
    source, order_id = key
    orders = books.orders(key)
    if program_id is not None:
        if program_id in orders:
            return orders[program_id]
        if rules.resolve(program_id, source) is None:
            return unknown_program(program_id, rules)
    else:
        resolved = rules.resolve(None, source)
        if resolved is not None and resolved in orders:
            return orders[resolved]
        if len(orders) == 1:
            return next(iter(orders.values()))
    if not orders:
        return Waiting(order_id)
    # It would wait for an order that has come, but in other programs only.
    detail = f"the order is in program {' and '.join(sorted(orders))}; name that one in data.program_id"
    return Parked(Reason.UNKNOWN_PROGRAM, detail)


def order_for_event(
    books: Books, key: OrderKey, kind: OrderEventKind, message: Message[Any], rules: ProgramRegistry
) -> PostedOrder | Replayed | Waiting | Parked:
    """The order that a message reports to be fulfilled or cancelled, unless that is posted already."""
    posted = order_of(books, key, message.program_id, rules)
    if isinstance(posted, PostedOrder) and (known := books.order_event(posted, kind)) is not None:
        return posted_before(known.digest == message.digest, Reason.ORDER_CONFLICT, _NOUNS[kind])
    return posted


def posted_before(is_same: bool, reason: Reason, noun: str) -> Replayed | Parked:
    """What becomes of a message about something that is posted already."""
    if is_same:
        return Replayed()
    return Parked(reason, f"this {noun} is posted already with other content; the first one stands. {_ADVICE[noun]}")


def unknown_program(named: str | None, rules: ProgramRegistry) -> Parked:
    """Why a message that belongs to no program cannot be posted."""
    known = ", ".join(rules.program_ids()) or "none"
    if named is None:
        detail = (
            f"data.program_id is absent, no program lists this source, and none is the default; programs here: {known}"
        )
    else:
        detail = f"data.program_id names a program that is not here; programs here: {known}"
    return Parked(Reason.UNKNOWN_PROGRAM, detail)
