"""From one message to one outcome: find what it is about in the books, let the core decide, keep the decision."""

from datetime import datetime
from typing import NamedTuple

from core.domain.accrual import decide_accrual, decide_guest_order
from core.domain.clawback import decide_clawback
from core.domain.earning import refund_problem
from core.domain.orders import Refund
from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.messages.inbound import StoredOrder, StoredRefund
from core.posting.books import Books
from core.posting.events import EventContext, account_created, decision_events
from core.store.appending import NewOrder, NewRefund
from core.store.inbox import ClaimedMessage
from core.store.ledger import OrderRecord
from core.store.programs import ProgramRegistry


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
        return _unknown_program(event.program_id, registry)
    known = books.orders(order.source, order.order_id).get(program_id)
    if known is not None:
        return _again(known.business_hash == event.business_hash, Reason.ORDER_CONFLICT, "order")
    frozen = registry.at(program_id, order.occurred_at)
    if order.currency != frozen.program.currency:
        detail = (
            f"data.currency is {order.currency}, program {program_id} has {frozen.program.currency}; "
            "name another program in data.program_id"
        )
        return Parked(Reason.WRONG_CURRENCY, detail)
    if order.customer_id is None:
        decision = decide_guest_order(order, frozen.program, frozen.version)
    else:
        current = registry.at(program_id, posting.as_of).program
        account, is_new = books.account_of(program_id, order.customer_id, current.tiers[0].tier_id)
        if is_new:
            books.open_account(account)
            books.events.append(account_created(account, order.occurred_at, posting.context))
        history = books.history(account.account_id)
        decision = decide_accrual(account, history, order, frozen.program, frozen.version, current, as_of=posting.as_of)
    assert decision.order is not None
    books.record_order(NewOrder(decision.order, posting.shard, message.inbox_id, event.business_hash, event.lines_json))
    books.apply(decision)
    books.events += decision_events(decision, posting.context)
    return Posted()


def post_refund(message: ClaimedMessage, event: StoredRefund, posting: Posting) -> Outcome:
    """Post one refund; it waits if its order is not posted yet."""
    books, registry, refund = posting.books, posting.registry, event.refund
    record = _order_of(event, posting)
    if record is None:
        if event.program_id is not None and registry.resolve(event.program_id, refund.source) is None:
            return _unknown_program(event.program_id, registry)
        return _order_elsewhere(books, refund) or Waiting(refund.order_id)
    posted = record.posted
    known = books.refund_by_id(refund.source, refund.refund_id, posted.program_id)
    if known is not None:
        return _again(known.business_hash == event.business_hash, Reason.REFUND_CONFLICT, "refund")
    problem = refund_problem(posted.order, refund)
    if problem is not None:
        return problem
    account = books.account(posted.account_id)
    decision = decide_clawback(
        account,
        {} if account is None else books.lots(account.account_id),
        posted,
        [earlier.refund for earlier in books.refunds_of(posted)],
        refund,
        registry.version(posted.program_id, posted.program_version).program,
        registry.at(posted.program_id, posting.as_of).program,
        posting.as_of,
    )
    assert decision.refund is not None
    books.record_refund(
        NewRefund(decision.refund, posted.program_id, message.inbox_id, event.business_hash, message.body)
    )
    books.apply(decision)
    books.events += decision_events(decision, posting.context)
    return Posted()


def _order_of(event: StoredRefund, posting: Posting) -> OrderRecord | None:
    """The refund's order: in the program it names, else in the one its source belongs to, else in the only one."""
    refund = event.refund
    records = posting.books.orders(refund.source, refund.order_id)
    if event.program_id is not None:
        return records.get(event.program_id)
    resolved = posting.registry.resolve(None, refund.source)
    if resolved in records:
        return records[resolved]
    return next(iter(records.values()), None) if len(records) == 1 else None


def _order_elsewhere(books: Books, refund: Refund) -> Parked | None:
    """Park a refund whose order is there, but in other programs only: it would wait for an order that has come."""
    programs = sorted(books.orders(refund.source, refund.order_id))
    if not programs:
        return None
    detail = f"the order is in program {' and '.join(programs)}; name that one in data.program_id"
    return Parked(Reason.UNKNOWN_PROGRAM, detail)


def _again(is_same: bool, reason: Reason, noun: str) -> Outcome:
    if is_same:
        return Replayed()
    detail = (
        f"this {noun} is posted already with other content; the first one stands. "
        "Send a refund to correct an order, or drop this message"
    )
    return Parked(reason, detail)


def _unknown_program(named: str | None, registry: ProgramRegistry) -> Parked:
    known = ", ".join(registry.program_ids()) or "none"
    if named is None:
        detail = (
            f"data.program_id is absent, no program lists this source, and none is the default; programs here: {known}"
        )
    else:
        detail = f"data.program_id names a program that is not here; programs here: {known}"
    return Parked(Reason.UNKNOWN_PROGRAM, detail)
