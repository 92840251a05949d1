"""What a refund does that did not happen after all: everything becomes as if it had never been; its id is used up."""

from datetime import datetime

from core.domain.books import Books
from core.domain.decision import Decision
from core.domain.message import Message
from core.domain.orders.facts import RefundReversion
from core.domain.orders.lookup import order_of, posted_before
from core.domain.orders.posted import OrderEventKind, PostedOrder, PostedOrderEvent, refund_event_key
from core.domain.orders.repaying import repaying
from core.domain.orders.settling import OrderChange, raising, settle
from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import Reach
from core.domain.reports import KeptOrder


def reversion_reach(message: Message[RefundReversion], rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What `decide_reversion` asks of the books."""
    fact = message.fact
    parts = raising(rules, fact.order_key)
    return Reach({fact.order_key: parts}, refunds=frozenset({(fact.source, fact.refund_id)}))


@repaying
def decide_reversion(
    books: Books, message: Message[RefundReversion], rules: ProgramRegistry, as_of: datetime
) -> Decision | Replayed | Waiting | Parked:
    """Give back what the refund took, as far as the order's other refunds do not claim it.

    A refund that is not known yet is waited for.
    """
    fact = message.fact
    posted = order_of(books, message, rules)
    if not isinstance(posted, PostedOrder):
        return posted
    key = refund_event_key(fact.source, fact.refund_id)
    refund = books.refund((fact.source, fact.refund_id), posted.program_id)
    known = books.order_event(posted, OrderEventKind.REFUND_REVERTED, key)
    if known is not None:
        return posted_before(known.digest == message.digest, Reason.ORDER_CONFLICT, "undone refund")
    if refund is None or refund.refund.order_key != posted.key:
        return Waiting(fact.order_id, refund_id=fact.refund_id) if refund is None else _other_order()
    event = PostedOrderEvent(
        OrderEventKind.REFUND_REVERTED, key, *posted.key, fact.occurred_at, posted.program_id, message.digest,
        posted.account_id,
    )  # fmt: skip
    if posted.account_id is None:
        return Decision(facts=(event,))
    had = books.kept(posted, rules.version(posted.program_id, posted.program_version).program)
    others = [each for each in books.refunds_known(posted) if each != refund.refund]
    has = KeptOrder(had.earning, had.earning.ordered.after(others))
    because = {"refund_reverted": True}
    change = OrderChange(posted, posted, had, has, others, None, fact.occurred_at, fact.refund_id, because)
    settled = settle(books, change, rules, as_of)
    if isinstance(settled, Parked):
        return settled
    return settled.decision(event._replace(recovery=settled.recovery, sequence=settled.sequence))


def _other_order() -> Parked:
    detail = "data.refund_id is a refund of another order than data.order_id; send the order_id of its own order"
    return Parked(Reason.REFUND_CONFLICT, detail)
