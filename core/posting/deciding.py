"""From one message to one outcome: find what it is about in the books, let the core decide, keep the decision."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from core.domain.ledger import Account, Decision, PostedOrder, PostedRefund
from core.domain.lots import Lot
from core.domain.orders.accrual import accrual_problem, decide_accrual, decide_guest_order
from core.domain.orders.basket import refund_problem
from core.domain.orders.clawback import decide_cancellation, decide_clawback, whole_refund
from core.domain.orders.facts import Order
from core.domain.orders.fulfilment import decide_fulfilment
from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.domain.program import Program
from core.domain.tiers.qualification import TierHistoryEntry
from core.messages.inbound.reading import (
    StoredCancellation,
    StoredFulfilment,
    StoredOrder,
    StoredRefund,
    event_body,
)
from core.posting.books import Books
from core.posting.events import EventContext, account_created, decision_events
from core.store.appending import NewOrder, NewOrderEvent, NewRefund
from core.store.inbox import ClaimedMessage
from core.store.ledger import OrderRecord
from core.store.programs import ProgramRegistry

_FULFILLED, _CANCELLED = "fulfilled", "cancelled"
_NOUNS = {_FULFILLED: "fulfilment", _CANCELLED: "cancellation"}
#: What is to be done about another content of what is posted already.
_ADVICE = {
    "order": "To correct it, send a refund and a new order; drop this message",
    "refund": "If this one is right too, send it with a new refund id; drop this message",
    "fulfilment": "The order is fulfilled all the same; drop this message",
    "cancellation": "The order is cancelled all the same; drop this message",
}


class Posted(NamedTuple):
    """The message is in the ledger."""


Outcome = Posted | Replayed | Waiting | Parked


class Posting(NamedTuple):
    """What every message of a batch is posted with."""

    books: Books
    registry: ProgramRegistry
    shard: int
    as_of: datetime
    context: EventContext


def post_order(message: ClaimedMessage, event: StoredOrder, posting: Posting) -> Outcome:
    """Post one completed order."""
    books, registry, order = posting.books, posting.registry, event.order
    program_id = registry.resolve(event.program_id, order.source)
    if program_id is None:
        return unknown_program(event.program_id, registry)
    known = books.orders(order.source, order.order_id).get(program_id)
    if known is not None:
        return _again(event.business_hash == known.business_hash, Reason.ORDER_CONFLICT, "order")
    frozen = registry.at(program_id, order.occurred_at)
    refused = wrong_currency(order, frozen.program)
    if refused is not None:
        return refused
    if order.customer_id is None:
        decision = decide_guest_order(order, frozen.program, frozen.version)
    else:
        current = registry.at(program_id, posting.as_of).program
        account, is_new = books.account_of(program_id, order.customer_id, current.tiers[0].tier_id, order.occurred_at)
        decision = decide_accrual(
            account, books.known(account), order, frozen.program, frozen.version, current, as_of=posting.as_of
        )
        problem = accrual_problem(decision)
        if problem is not None:
            return problem
        if is_new:
            books.open_account(account)
            books.events.append(account_created(account, order.occurred_at, posting.context))
    assert decision.order is not None
    books.record_order(
        NewOrder(
            decision.order, posting.shard, message.inbox_id, event.business_hash, event.lines_json,
            event.attributes_json, event.tags_json,
        )
    )  # fmt: skip
    books.apply(decision)
    books.events += decision_events(decision, posting.context)
    return Posted()


def post_refund(message: ClaimedMessage, event: StoredRefund, posting: Posting) -> Outcome:
    """Post one refund; it waits if its order is not posted yet."""
    books, refund = posting.books, event.refund
    record = _order_of(refund.source, refund.order_id, event.program_id, posting)
    if not isinstance(record, OrderRecord):
        return record
    posted = record.posted
    known = books.refund_by_id(refund.source, refund.refund_id, posted.program_id)
    if known is not None:
        return _again(event.business_hash == known.business_hash, Reason.REFUND_CONFLICT, "refund")
    problem = refund_problem(posted.order, refund)
    if problem is not None:
        return problem
    decision = decide_clawback(
        *_ledger_of(posted, books),
        [earlier.refund for earlier in books.refunds_of(posted)],
        refund,
        *_versions_of(posted, posting),
        posting.as_of,
        _history_of(posted, books),
    )
    assert decision.refund is not None
    body = event_body(message.event_id, message.source, message.type, message.occurred_at, message.settled)
    books.record_refund(NewRefund(decision.refund, posted.program_id, message.inbox_id, event.business_hash, body))
    _keep(decision, posting)
    return Posted()


def post_cancellation(message: ClaimedMessage, event: StoredCancellation, posting: Posting) -> Outcome:
    """Post the cancellation of an order; it waits if its order is not posted yet."""
    books, cancellation = posting.books, event.cancellation
    key = (cancellation.source, cancellation.order_id)
    posted = _order_untold(key, _CANCELLED, event, posting)
    if not isinstance(posted, PostedOrder):
        return posted
    decision = decide_cancellation(
        *_ledger_of(posted, books),
        [refund.refund for refund in books.refunds_of(posted)],
        cancellation,
        *_versions_of(posted, posting),
        posting.as_of,
        _history_of(posted, books),
    )
    taken = decision.refund or PostedRefund(whole_refund(cancellation), 0, 0, 0, 0)
    books.record_order_event(
        NewOrderEvent(
            *key, posted.program_id, _CANCELLED, message.inbox_id, event.business_hash, cancellation.occurred_at,
            taken.points_due, taken.points_taken, taken.points_excused, taken.points_shortfall,
        )
    )  # fmt: skip
    _keep(decision, posting)
    return Posted()


def post_fulfilment(message: ClaimedMessage, event: StoredFulfilment, posting: Posting) -> Outcome:
    """Post the fulfilment of an order; it waits if its order is not posted yet."""
    books, fulfilment = posting.books, event.fulfilment
    key = (fulfilment.source, fulfilment.order_id)
    posted = _order_untold(key, _FULFILLED, event, posting)
    if not isinstance(posted, PostedOrder):
        return posted
    frozen, _ = _versions_of(posted, posting)
    decision = decide_fulfilment(*_ledger_of(posted, books), fulfilment, frozen, posting.as_of)
    books.record_order_event(
        NewOrderEvent(
            *key, posted.program_id, _FULFILLED, message.inbox_id, event.business_hash, fulfilment.occurred_at
        )
    )
    _keep(decision, posting)
    return Posted()


def _order_untold(
    key: tuple[str, str], kind: str, event: StoredFulfilment | StoredCancellation, posting: Posting
) -> PostedOrder | Outcome:
    """The posted order that is told to be fulfilled or cancelled, if that is news; else what becomes of the message."""
    record = _order_of(*key, event.program_id, posting)
    if not isinstance(record, OrderRecord):
        return record
    known = posting.books.order_event_hash(key, record.posted.program_id, kind)
    if known is not None:
        return _again(event.business_hash == known, Reason.ORDER_CONFLICT, _NOUNS[kind])
    return record.posted


def _keep(decision: Decision, posting: Posting) -> None:
    posting.books.apply(decision)
    posting.books.events += decision_events(decision, posting.context)


def _ledger_of(posted: PostedOrder, books: Books) -> tuple[Account | None, Mapping[int, Lot], PostedOrder]:
    """The order's account with its lots, and the order; a guest has no account."""
    account = books.account(posted.account_id)
    return account, {} if account is None else books.lots(account.account_id), posted


def _versions_of(posted: PostedOrder, posting: Posting) -> tuple[Program, Program]:
    """The version that was frozen with the order, and the one in force now."""
    registry = posting.registry
    frozen = registry.version(posted.program_id, posted.program_version).program
    return frozen, registry.at(posted.program_id, posting.as_of).program


def _history_of(posted: PostedOrder, books: Books) -> Sequence[TierHistoryEntry]:
    return () if posted.account_id is None else books.history(posted.account_id)


def _order_of(source: str, order_id: str, program_id: str | None, posting: Posting) -> OrderRecord | Waiting | Parked:
    """The order that a message is about: in the program it names, else in that of its source, else in the only one.

    Where the order is not posted yet, the message waits for it, unless it never can come.
    """
    books, registry = posting.books, posting.registry
    records = books.orders(source, order_id)
    if program_id is not None:
        if program_id in records:
            return records[program_id]
        if registry.resolve(program_id, source) is None:
            return unknown_program(program_id, registry)
    else:
        resolved = registry.resolve(None, source)
        if resolved in records:
            return records[resolved]
        if len(records) == 1:
            return next(iter(records.values()))
    if not records:
        return Waiting(order_id)
    # It would wait for an order that has come, but in other programs only.
    detail = f"the order is in program {' and '.join(sorted(records))}; name that one in data.program_id"
    return Parked(Reason.UNKNOWN_PROGRAM, detail)


def _again(is_same: bool, reason: Reason, noun: str) -> Outcome:
    if is_same:
        return Replayed()
    return Parked(reason, f"this {noun} is posted already with other content; the first one stands. {_ADVICE[noun]}")


def wrong_currency(order: Order, program: Program) -> Parked | None:
    """Why the order cannot be one of the program, if it is in another currency."""
    if order.currency == program.currency:
        return None
    detail = (
        f"data.currency is {order.currency}, program {program.program_id} has {program.currency}; "
        "name another program in data.program_id"
    )
    return Parked(Reason.WRONG_CURRENCY, detail)


def unknown_program(named: str | None, registry: ProgramRegistry) -> Parked:
    """Why a message that belongs to no program cannot be posted."""
    known = ", ".join(registry.program_ids()) or "none"
    if named is None:
        detail = (
            f"data.program_id is absent, no program lists this source, and none is the default; programs here: {known}"
        )
    else:
        detail = f"data.program_id names a program that is not here; programs here: {known}"
    return Parked(Reason.UNKNOWN_PROGRAM, detail)
