"""What an amendment does: the order is worked out anew as it is now, under the rules and the tier frozen with it."""

from collections.abc import Mapping
from datetime import datetime

from core.domain.books import Books
from core.domain.decision import Decision
from core.domain.ledger import Account
from core.domain.message import Message
from core.domain.nameless import is_erased
from core.domain.orders.earning import Earning, Entitlement
from core.domain.orders.facts import AmendedOrder, Order
from core.domain.orders.heaviness import STEPS_MAX, too_heavy
from core.domain.orders.limits import budgets_of, judge_anew, usage_keys
from core.domain.orders.lookup import order_of, posted_before
from core.domain.orders.posted import (
    Budget,
    Judgement,
    OrderEventKind,
    PostedOrder,
    PostedOrderEvent,
    Usage,
    amendment_of,
)
from core.domain.orders.repaying import repaying, with_payment
from core.domain.orders.settling import OrderChange, raising, settle
from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.domain.program import Circumstances, Program, UsageKey
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import Reach
from core.domain.reports import KeptOrder


def amendment_reach(message: Message[AmendedOrder], rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What `decide_amendment` asks of the books."""
    key = message.fact.order_key
    return with_payment(Reach({key: raising(rules, key)}), message.fact.order)


@repaying
def decide_amendment(
    books: Books, message: Message[AmendedOrder], rules: ProgramRegistry, as_of: datetime
) -> Decision | Replayed | Waiting | Parked:
    """Post what the order earns more or less as it is now; its time, its tier and its rules stay those of the order.

    An older revision than the newest that is known is a repetition. Lines that refunds name must still be there. A rule
    or promotion that the order was not for, since no line of it mattered, is judged now.
    """
    amended = message.fact
    posted = order_of(books, message, rules)
    if not isinstance(posted, PostedOrder):
        return posted
    program = rules.version(posted.program_id, posted.program_version).program
    outcome = _known(books, message, posted)
    if outcome is None:
        outcome = _problem(books, posted, amended, program)
    if outcome is not None:
        return outcome
    event = PostedOrderEvent(
        OrderEventKind.AMENDED, str(amended.revision), *posted.key, amended.occurred_at, posted.program_id,
        message.digest, posted.account_id,
    )  # fmt: skip
    as_now = posted._replace(amendment=amendment_of(amended.revision, amended.order, posted.judged))
    if posted.account_id is None:
        return Decision(facts=(event,), orders=(as_now,))
    change = _change(books, posted, as_now, amended, program)
    settled = settle(books, change, rules, as_of)
    if isinstance(settled, Parked):
        return settled
    return settled.decision(event._replace(recovery=settled.recovery, sequence=settled.sequence))


def _known(books: Books, message: Message[AmendedOrder], posted: PostedOrder) -> Replayed | Parked | None:
    """What becomes of a revision that is posted already, or is older than one that is."""
    revision = message.fact.revision
    known = books.order_event(posted, OrderEventKind.AMENDED, str(revision))
    if known is not None:
        return posted_before(known.digest == message.digest, Reason.ORDER_CONFLICT, "revision")
    newest = posted.amendment
    return Replayed() if newest is not None and revision < newest.revision else None


def _change(
    books: Books, posted: PostedOrder, as_now: PostedOrder, amended: AmendedOrder, program: Program
) -> OrderChange:
    assert posted.account_id is not None
    assert posted.tier_id is not None
    had = books.kept(posted, program)
    if not program.is_plain:
        account, before = books.account(posted.account_id), had.earning.of(had.basket)
        judgement = _judged(books, account, posted, as_now.current, program, before)
        as_now = posted._replace(amendment=amendment_of(amended.revision, amended.order, judgement))
    earning = Earning(as_now.current, program, posted.tier_id, as_now.judged)
    refunds = books.refunds_known(as_now)
    has = KeptOrder(earning, earning.ordered.after(refunds))
    because = {"revision": amended.revision}
    return OrderChange(posted, as_now, had, has, refunds, None, amended.occurred_at, because=because)


def _problem(books: Books, posted: PostedOrder, amended: AmendedOrder, program: Program) -> Parked | None:
    before, now = posted.order, amended.order
    owner_id = None if posted.account_id is None else books.account(posted.account_id).customer_id
    is_same = now.customer_id in {before.customer_id, owner_id} or is_erased(now.customer_id)
    if now.whom != before.whom and (now.reference is not None or not is_same):
        detail = (
            "data.customer_id is not the order's, or it is named otherwise than in the order; an amendment leaves the "
            "customer as it is. If the order is another customer's, send order.claimed; if this is another order, send "
            "it with an order_id of its own"
        )
        return Parked(Reason.ORDER_CONFLICT, detail)
    if now.currency != before.currency:
        detail = (
            f"data.currency is {now.currency}, the order's is {before.currency}; send the order in {before.currency}, "
            "in a new event: an amendment leaves the currency as it is"
        )
        return Parked(Reason.WRONG_CURRENCY, detail)
    if len(now.lines) * program.steps_per_line > STEPS_MAX:
        return too_heavy(now, program)
    lines = {line.line_id for line in now.lines}
    for refund in books.refunds_known(posted):
        missing = [part.line_id for part in refund.lines if part.line_id not in lines]
        if missing and refund.refund_id:  # what is called off may be left out: nothing is kept of it either way
            detail = (
                f"data.lines leaves out line {missing[0]!r}, which refund {refund.refund_id!r} names; send all lines "
                "that refunds name, in a new event with the next revision"
            )
            return Parked(Reason.REFUNDED_LINE_MISSING, detail)
    return None


def _judged(
    books: Books, account: Account, posted: PostedOrder, now: Order, program: Program, before: Entitlement
) -> Judgement:
    """The judgement of the order as it is now, held against what others have had of limits."""
    assert posted.tier_id is not None
    local = now.occurred_at.astimezone(program.zone)
    circumstances = Circumstances(now, local, posted.tier_id, posted.judgement.is_first_order)
    usages = _without(books.usages(account, usage_keys(program, now.occurred_at)), before)
    names_of_budgets = (limit.name for limit in budgets_of(program, now.occurred_at))
    budgets = _budgets_without(books.budgets(program.program_id, names_of_budgets), before)
    return judge_anew(program, circumstances, posted.order, posted.judgement, usages, budgets)


def _without(usages: Mapping[UsageKey, Usage], before: Entitlement) -> dict[UsageKey, Usage]:
    """What other orders have had."""
    had = before.given
    return {
        key: usage._replace(points=usage.points - had.get(key.name, 0), orders=usage.orders - (key.name in had))
        for key, usage in usages.items()
    }


def _budgets_without(budgets: Mapping[str, Budget], before: Entitlement) -> dict[str, Budget]:
    had = before.given
    return {
        name: Budget(budget.points - had.get(name, 0), budget.orders - (name in had))
        for name, budget in budgets.items()
    }
