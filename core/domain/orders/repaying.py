"""Points that paid an order come back by themselves with what is refunded of it, or captured for it afterwards."""

from collections.abc import Callable, Sequence
from datetime import datetime
from fractions import Fraction
from functools import wraps
from typing import Any, TypeVar

from core.domain.books import Books
from core.domain.decision import Decision
from core.domain.message import Message
from core.domain.orders.basket import Basket
from core.domain.orders.facts import Order, Refund
from core.domain.orders.goods import Goods
from core.domain.orders.posted import (
    OrderEventKind,
    PostedOrder,
    PostedOrderEvent,
    PostedRefund,
    parts_cancelled,
    refunds_known,
)
from core.domain.outcomes import Parked, Reason, Rejected, Replayed
from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import Reach
from core.domain.value.authorizations import AUTHORIZATION
from core.domain.value.commands import AuthorizeTerms, Command
from core.domain.value.crediting import too_many
from core.domain.value.payments import Payment, PaymentKey, PaymentKind
from core.domain.value.repayments import Cause, Repayments

F = TypeVar("F")
Outcome = TypeVar("Outcome")
_Decide = Callable[[Books, Message[F], ProgramRegistry, datetime], Outcome]
_DecideCommand = Callable[[Books, Message[Any], ProgramRegistry, datetime], Decision | Rejected | Replayed]
_Reach = Callable[[Message[Any], ProgramRegistry, datetime], Reach]


def with_payment(reach: Reach, order: Order) -> Reach:
    """What a message asks of the books that reports an order, with what paid that."""
    paid_by = order.paid_by
    return reach if paid_by is None else reach._replace(payments={paid_by: frozenset({order.order_key})})


def repaying(decide: _Decide[F, Outcome]) -> _Decide[F, Outcome | Decision | Parked]:
    """Let what paid an order follow each decision about the order, or one that is made."""

    @wraps(decide)
    def decide_with_payment(
        books: Books, message: Message[F], rules: ProgramRegistry, as_of: datetime
    ) -> Outcome | Decision | Parked:
        decided = decide(books, message, rules, as_of)
        return _followed(books, decided, rules, as_of) if isinstance(decided, Decision) else decided

    return decide_with_payment


def offering(reach: _Reach) -> _Reach:
    """What a command asks of the books that takes points for good, or reserves them, which may pay an order."""

    def reach_of(message: Message[Command[Any]], rules: ProgramRegistry, as_of: datetime) -> Reach:
        return reach(message, rules, as_of)._replace(offered=frozenset({_offered_by(message)}))

    return reach_of


def paying(decide: _DecideCommand) -> _DecideCommand:
    """Let what is captured or redeemed for an order come back at once, as far as the order is given back already."""

    def decide_with_order(
        books: Books, message: Message[Command[Any]], rules: ProgramRegistry, as_of: datetime
    ) -> Decision | Rejected | Replayed:
        decided = decide(books, message, rules, as_of)
        payment = books.payment(_offered_by(message)) if isinstance(decided, Decision) else None
        if payment is None or payment.order is None or not isinstance(decided, Decision):
            return decided
        repayments = Repayments(books, decided, rules, as_of)
        because = {"taken_by": {"source": message.fact.source, "command_id": message.event_id}}
        problem = repayments.settle(payment, Cause(payment.order, message.fact.occurred_at, because))
        return too_many(problem.points) if problem is not None else repayments.decision()

    return decide_with_order


def _offered_by(message: Message[Command[Any]]) -> PaymentKey:
    command = message.fact
    if isinstance(command.terms, AuthorizeTerms):
        return PaymentKey(PaymentKind.AUTHORIZATION, "", command.terms.authorization_id)
    if command.whom.kind == AUTHORIZATION:
        return PaymentKey(PaymentKind.AUTHORIZATION, "", command.whom.id)
    return PaymentKey(PaymentKind.COMMAND, command.source, message.event_id)


def _followed(books: Books, decided: Decision, rules: ProgramRegistry, as_of: datetime) -> Decision | Parked:
    posted = _order_after(books, decided)
    before = books.orders(posted.key).get(posted.program_id)
    had, has = None if before is None else before.current.paid_by, posted.current.paid_by
    if had is None and has is None:
        return decided
    cause = _cause(decided, posted)
    order = (*posted.key, posted.program_id)
    repayments = Repayments(books, decided, rules, as_of)
    if had is not None and had != has and (left := books.payment(had)) is not None and left.order == order:
        left = left._replace(order_source=None, order_id=None, program_id=None, share=Fraction(0))
        if (problem := repayments.settle(left, cause)) is not None:
            return _too_many(problem.points)
    if has is None:
        return repayments.decision()
    payment = books.payment(has) or Payment(*has)
    if payment.order is not None and payment.order != order:
        # The same order in two programs: with one of them its points come back.
        is_same = payment.order[:2] == posted.key
        return repayments.decision() if is_same else _paid_another(has, payment)
    payment = payment._replace(
        order_source=order[0], order_id=order[1], program_id=order[2], share=_share_back(books, posted, decided, rules)
    )
    if posted.cancelled_at is not None:
        repayments.void(payment, cause)
    problem = repayments.settle(payment, cause)
    return _too_many(problem.points) if problem is not None else repayments.decision()


def _order_after(books: Books, decided: Decision) -> PostedOrder:
    """The order that a message was about, as it is by the decision."""
    for changed in decided.orders:
        return changed
    (fact,) = decided.facts
    if isinstance(fact, PostedOrder):
        return fact
    assert isinstance(fact, PostedRefund | PostedOrderEvent)
    key = fact.refund.order_key if isinstance(fact, PostedRefund) else (fact.source, fact.order_id)
    return books.orders(key)[fact.program_id]  # a guest's


def _cause(decided: Decision, posted: PostedOrder) -> Cause:
    (fact,) = decided.facts
    order = (*posted.key, posted.program_id)
    match fact:
        case PostedRefund():
            return Cause(order, fact.refund.occurred_at, {}, fact.refund.refund_id)
        case PostedOrderEvent(kind=OrderEventKind.REFUND_REVERTED):
            return Cause(order, fact.occurred_at, {"refund_reverted": True}, fact.event_key.partition("\t")[2])
        case PostedOrderEvent(kind=OrderEventKind.AMENDED):
            return Cause(order, fact.occurred_at, {"revision": int(fact.event_key)})
        case PostedOrderEvent():
            because = {"cancelled_lines": len(fact.lines)} if fact.lines else {"cancelled": True}
            return Cause(order, fact.occurred_at, because)
    return Cause(order, posted.order.occurred_at, {})


def _share_back(books: Books, posted: PostedOrder, decided: Decision, rules: ProgramRegistry) -> Fraction:
    """How much of the order is given back, by the decision and all that was known before it."""
    (fact,) = decided.facts
    if isinstance(fact, PostedOrder):
        return Fraction(0)
    refunds, events = books.refunds_of(posted), books.order_events_of(posted)
    if isinstance(fact, PostedRefund):
        refunds = [*refunds, fact]
    if isinstance(fact, PostedOrderEvent):
        events = [*events, fact]
    reverted = {event.event_key for event in events if event.kind is OrderEventKind.REFUND_REVERTED}
    known = refunds_known(refunds, posted, reverted, parts_cancelled(events))
    return share_back(posted, known, rules.version(posted.program_id, posted.program_version).program)


def share_back(posted: PostedOrder, refunds: Sequence[Refund], program: Program) -> Fraction:
    """How much of what the customer had to pay for an order these refunds give back together.

    `program` is the version that judged the order; which of its lines earn does not matter.
    """
    return Basket(Goods(posted.current, program.basis)).after(refunds).share_back


def _paid_another(paid_by: PaymentKey, payment: Payment) -> Parked:
    field = "points_authorization_id" if paid_by.kind is PaymentKind.AUTHORIZATION else "points_command_id"
    detail = (
        f"data.{field} names what paid order {payment.order_id!r} of {payment.order_source} already; one authorization "
        "or redemption pays one order: name its own, or leave the field out, in a new event"
    )
    return Parked(Reason.PAYMENT_TAKEN, detail)


def _too_many(points: int) -> Parked:
    detail = f"{points:,} points come back that paid the order, and their account would have more than are counted"
    return Parked(Reason.TOO_MANY_POINTS, f"{detail}; correct that account first, then retry")
