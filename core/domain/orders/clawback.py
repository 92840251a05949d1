"""What a refund or a cancellation does to the account of its order: post the difference to what it still earns."""

from collections.abc import Iterable
from datetime import datetime

from core.domain.books import Books
from core.domain.decision import Decision
from core.domain.ledger import Account
from core.domain.message import Message
from core.domain.orders.facts import Cancellation, Refund
from core.domain.orders.goods import Goods
from core.domain.orders.lookup import event_key_of, order_for_event, order_of, posted_before
from core.domain.orders.posted import OrderEventKind, PostedOrder, PostedOrderEvent, PostedRefund, cancelled_part
from core.domain.orders.refund_limits import refund_problem
from core.domain.orders.repaying import repaying
from core.domain.orders.settling import OrderChange, lowering, raising, settle
from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import OrderKey, OrderParts, Reach
from core.domain.reports import KeptOrder


def refund_reach(message: Message[Refund], rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What `decide_refund` asks of the books; `with_raising` adds what only some orders need."""
    refund, key = message.fact, message.fact.order_key
    reached = {key: lowering(rules, key, refund.occurred_at)}
    return Reach(reached, refunds=frozenset({(refund.source, refund.refund_id)}))


def cancellation_reach(message: Message[Cancellation], rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What `decide_cancellation` asks of the books; `with_raising` adds what only some orders need."""
    key = message.fact.order_key
    return Reach({key: lowering(rules, key, message.fact.occurred_at)})


def with_raising(reach: Reach, rules: ProgramRegistry, orders: Iterable[PostedOrder]) -> Reach:
    """What a batch reaches, once the orders that it reaches are known.

    Whoever cancels a line below zero raises what its order earns, and so may a refund that shrinks such lines, which
    are rounded by themselves. Only an amendment brings such lines; one of the same batch asks for all this by itself.
    """
    more: dict[OrderKey, OrderParts] = {}
    for posted in orders:
        parts = reach.orders[posted.key]
        if posted.amendment is not None and parts.refunds and any(line.quantity < 0 for line in posted.current.lines):
            more[posted.key] = parts.union(raising(rules, posted.key))
    return reach._replace(orders={**reach.orders, **more}) if more else reach


@repaying
def decide_refund(
    books: Books, message: Message[Refund], rules: ProgramRegistry, as_of: datetime
) -> Decision | Replayed | Waiting | Parked:
    """Take back what the order no longer earns with this refund and those posted before it.

    The version that judged the order decides its points, those in force at their own instants decide the tiers. Points
    of the order that have expired already are excused: they are not taken a second time. The rest is taken from the
    order's own lots, then from the lots that expire soonest. The program's policy says what becomes of points that no
    lot covers. A guest's order has no account.
    """
    refund = message.fact
    posted = order_of(books, message, rules)
    if not isinstance(posted, PostedOrder):
        return posted
    known = books.refund((refund.source, refund.refund_id), posted.program_id)
    if known is not None:
        return posted_before(known.digest == message.digest, Reason.REFUND_CONFLICT, "refund")
    program = rules.version(posted.program_id, posted.program_version).program
    goods = Goods(posted.current, program.basis) if posted.tier_id is None else books.kept(posted, program).basket.goods
    first = None if posted.amendment is None else Goods(posted.order, program.basis)
    problem = refund_problem(goods, refund, first)
    if problem is not None:
        return problem
    fact = PostedRefund(refund, posted.program_id, message.digest, posted.account_id)
    if posted.account_id is None:
        return Decision(facts=(fact,))
    had = books.kept(posted, program)
    has = KeptOrder(had.earning, had.basket.plus(refund))
    refunds = [*books.refunds_known(posted), refund]
    change = OrderChange(posted, posted, had, has, refunds, refund, refund.occurred_at, refund.refund_id)
    settled = settle(books, change, rules, as_of)
    if isinstance(settled, Parked):
        return settled
    return settled.decision(fact._replace(recovery=settled.recovery, sequence=settled.sequence))


@repaying
def decide_cancellation(
    books: Books, message: Message[Cancellation], rules: ProgramRegistry, as_of: datetime
) -> Decision | Replayed | Waiting | Parked:
    """Take back what the order, or its lines that are cancelled, still earns, as a refund of that would.

    What a line below zero took, which is what was given back in exchange, comes back where that is called off.
    """
    cancellation, key = message.fact, message.fact.order_key
    posted = order_for_event(books, OrderEventKind.CANCELLED, message, rules)
    if not isinstance(posted, PostedOrder):
        return posted
    at = cancellation.occurred_at
    fact = PostedOrderEvent(
        OrderEventKind.CANCELLED,
        event_key_of(cancellation),
        *key,
        at,
        posted.program_id,
        message.digest,
        posted.account_id,
        lines=cancellation.lines,
    )
    cancelled = posted if cancellation.lines else posted._replace(cancelled_at=at)
    if posted.account_id is None:
        return Decision(facts=(fact,), orders=(cancelled,))
    had = books.kept(posted, rules.version(posted.program_id, posted.program_version).program)
    refund = cancelled_part(posted, at, cancellation.lines)
    has = KeptOrder(had.earning, had.basket.plus(refund))
    refunds = [*books.refunds_known(posted), refund]
    because = {"cancelled_lines": len(cancellation.lines)} if cancellation.lines else {}
    change = OrderChange(posted, cancelled, had, has, refunds, refund, at, because=because)
    settled = settle(books, change, rules, as_of)
    if isinstance(settled, Parked):
        return settled
    return settled.decision(fact._replace(recovery=settled.recovery, sequence=settled.sequence))


def points_at_stake(books: Books, account: Account, orders: Iterable[PostedOrder]) -> int:
    """The most that refunds of these posted orders, and of orders that are yet to be posted, may take from other lots.

    All that the posted orders earn, and what their known refunds have claimed, since a refund may be undone first; a
    new order's own lot lacks at most what has paid off the deficit. What raises the order puts more at stake, but that
    comes to its own lots, or to those that it was taken from.
    """
    return account.deficit + sum(posted.points_entitled + books.points_claimed(posted) for posted in orders)
