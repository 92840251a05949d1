"""What a claim does: a guest's order comes to its customer, or an order moves to the customer whose it is.

The order earns in the new account as of its own day: in the tier of then, under the version that judged it, with what
its refunds have left. What it had earned elsewhere is taken back there.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision
from core.domain.ledger import Account
from core.domain.lots import OriginKind
from core.domain.message import Message
from core.domain.nameless import is_erased
from core.domain.orders.accrual import (
    Coming,
    Destination,
    account_for,
    account_named,
    accrue,
    is_closed,
    is_not_enrolled,
)
from core.domain.orders.earning import Earning
from core.domain.orders.facts import OrderClaim, Refund
from core.domain.orders.holding import Rebalancing, held_of, rebalanced
from core.domain.orders.lookup import order_of
from core.domain.orders.posted import (
    BudgetChange,
    Judgement,
    OrderEventKind,
    PostedOrder,
    PostedOrderEvent,
    Qualifying,
    Recovery,
    in_full,
)
from core.domain.orders.settling import OrderChange, raising, settle
from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, Reach, TierInstant, union
from core.domain.reports import KeptOrder
from core.domain.value.authorizations import Authorization
from core.domain.value.commands import CUSTOMER, Whom
from core.domain.whose import account_found, account_reach, key_of


def claim_reach(message: Message[OrderClaim], rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What `decide_claim` asks of the books: the order, and the account that it comes to, in whichever program."""
    claim, key = message.fact, message.fact.order_key
    named = message.program_id
    programs = rules.program_ids() if named is None else [named]
    of_order = raising(rules, key)
    assert of_order.account is not None
    parts = AccountParts(
        LotsWanted.TO_TAKE, (TierInstant(None, key, is_new=False),), expiries=of_order.account.expiries
    )
    reached = [account_reach(claim.whom, program_id, parts) for program_id in programs]
    if claim.previous_customer_id is not None:
        # Whose account may have been merged into that which has the order.
        previous = Whom(CUSTOMER, claim.previous_customer_id)
        reached += [account_reach(previous, program_id, AccountParts()) for program_id in programs]
    owners = tuple(dict.fromkeys(key_of(claim.whom, program_id) for program_id in programs))
    return union([Reach({key: of_order}, owners={key: owners}), *reached])


def decide_claim(
    books: Books, message: Message[OrderClaim], rules: ProgramRegistry, as_of: datetime
) -> Decision | Replayed | Waiting | Parked:
    """Post the order to the customer's account, and take it back from where it was.

    Of several claims the latest by its own time counts, whatever the order of arrival. An order that is somebody else's
    moves only if the claim says whose it was.
    """
    claim = message.fact
    posted = order_of(books, message, rules)
    if not isinstance(posted, PostedOrder):
        return posted
    key = f"{claim.occurred_at.isoformat()} {message.digest.hex()}"
    claims = [each for each in books.order_events_of(posted) if each.kind is OrderEventKind.CLAIMED]
    if any(each.event_key == key for each in claims):
        return Replayed()
    event = PostedOrderEvent(
        OrderEventKind.CLAIMED, key, *posted.key, claim.occurred_at, posted.program_id, message.digest,
        posted.account_id,
    )  # fmt: skip
    owner = None if posted.account_id is None else books.account(posted.account_id)
    is_late = any((each.occurred_at, each.event_key) > (claim.occurred_at, key) for each in claims)
    account = account_found(books, claim.whom, posted.program_id)
    if is_late or (owner is not None and _is_of(owner, claim.customer_id, account)):
        return Decision(facts=(event,))
    # In a shared account it may be a member's, as long as no claim has moved it there.
    reported_for = None if claims else posted.order.customer_id
    if (problem := _in_the_way(books, posted, owner, claim, reported_for)) is not None:
        return problem
    return _moved(books, posted, owner, claim, event, rules, as_of)


def _in_the_way(
    books: Books, posted: PostedOrder, owner: Account | None, claim: OrderClaim, reported_for: str | None
) -> Parked | None:
    """Why the order does not move to where the claim says; None where it does."""
    account = account_found(books, claim.whom, posted.program_id)
    if claim.reference is not None and isinstance(named := account_named(books, claim, posted.program_id), Parked):
        return named
    if owner is not None and not _was_of(books, owner, claim, reported_for):
        return _owned()
    held_before = {each.account_id for each in books.order_events_of(posted) if each.kind is OrderEventKind.GIVEN_UP}
    return _back_again() if account is not None and account.account_id in held_before else None


def _is_of(owner: Account, customer_id: str | None, account: Account | None) -> bool:
    """Whether this is the account that is meant: the customer's, any of theirs, or the one that it is merged into."""
    return owner.customer_id == customer_id or (account is not None and account.account_id == owner.account_id)


def _was_of(books: Books, owner: Account, claim: OrderClaim, reported_for: str | None) -> bool:
    """Whether the claim says whose the order is until now; their account may be merged into that which has it."""
    previous = claim.previous_customer_id
    if previous is None or previous in {reported_for, owner.customer_id}:
        return previous is not None
    own = books.account_itself((owner.program_id, previous))
    is_merged = own is not None and own.merged_into is not None
    return is_merged and _is_of(owner, previous, books.account_of(owner.program_id, previous))


class _Left(NamedTuple):
    """What it does to an account that an order leaves it."""

    changes: tuple[AccountChange, ...] = ()
    events: tuple[PostedOrderEvent, ...] = ()
    budgets: tuple[BudgetChange, ...] = ()
    authorizations: tuple[Authorization, ...] = ()  #: of which it takes back what they hold


def _moved(
    books: Books,
    posted: PostedOrder,
    owner: Account | None,
    claim: OrderClaim,
    event: PostedOrderEvent,
    rules: ProgramRegistry,
    as_of: datetime,
) -> Decision | Parked:
    program = rules.version(posted.program_id, posted.program_version).program
    if not program.active:
        return inactive(posted.program_id)
    if (none := _takes_no_orders(books, posted, claim, program)) is not None:
        return none
    left = _Left() if owner is None else _given_up(books, posted, owner, event, rules, as_of)
    if isinstance(left, Parked):
        return left
    account, opened = _comes_to(books, posted, claim, program)
    nobodys = _nobodys(posted)
    refunds = books.refunds_known(posted)
    coming = Coming(refunds, claim.occurred_at, left.budgets)
    accrued = accrue(books, account, opened, nobodys, program, rules, as_of, coming)
    if isinstance(accrued, Parked):
        return accrued
    owned = accrued.posted._replace(sequence=None)
    points = owned.points_entitled
    change = _with_parts(books, accrued.change, owned, program, refunds, claim.occurred_at, as_of)
    event = event._replace(
        account_id=account.account_id, recovery=Recovery(-points, -points), sequence=accrued.posted.sequence
    )
    return Decision(
        (*left.changes, change),
        (event, *left.events),
        (owned,),
        budgets=(*left.budgets, *accrued.budgets),
        authorizations=left.authorizations,
        given=accrued.given,
    )


def _takes_no_orders(books: Books, posted: PostedOrder, claim: OrderClaim, program: Program) -> Parked | None:
    """Why the order does not come to who claims it; None where it does."""
    if claim.customer_id is None:
        return None  # the account that it names is there
    if is_erased(claim.customer_id):
        return Parked(Reason.ACCOUNT_CLOSED, "the customer who claims the order was erased, and takes no orders")
    if is_not_enrolled(books, posted.program_id, claim.customer_id, program):
        return _not_enrolled(posted.program_id)
    if is_closed(books, posted.program_id, claim.customer_id):
        return Parked(Reason.ACCOUNT_CLOSED, "the customer's account is closed, and takes no orders")
    return None


def _comes_to(books: Books, posted: PostedOrder, claim: OrderClaim, program: Program) -> Destination:
    """The account that the claim names, or the customer's; who has none gets one."""
    if claim.customer_id is not None:
        return account_for(books, posted, claim.customer_id, program)
    account = account_found(books, claim.whom, posted.program_id)
    assert account is not None
    return Destination(account, None)


def _nobodys(posted: PostedOrder) -> PostedOrder:
    """The order without what it is in an account."""
    return posted._replace(
        account_id=None,
        tier_id=None,
        sequence=None,
        points_entitled=0,
        points_excused=0,
        points_shortfall=0,
        judgement=Judgement(),
        qualifying=Qualifying(),
        qualifying_steps=(),
        is_counted=False,
    )


def _with_parts(
    books: Books,
    change: AccountChange,
    owned: PostedOrder,
    program: Program,
    refunds: Sequence[Refund],
    occurred_at: datetime,
    as_of: datetime,
) -> AccountChange:
    """Make available what is fulfilled, where the order is in parts."""
    assert owned.tier_id is not None
    earning = Earning(owned.current, program, owned.tier_id, owned.judged)
    kept = KeptOrder(earning, earning.ordered.after(refunds))
    held = held_of(owned, program, kept, earning.of(kept.basket), books.order_events_of(owned))
    if held is None:
        return change
    lots = {lot.lot_number: lot for lot in change.lots}
    own = [lot for lot in change.lots if lot.origin.key == (OriginKind.ORDER, *owned.key)]
    shared = change.expiries + change.expiries_begun
    of = Rebalancing(owned, program, held, own, held.fulfilled_at, occurred_at, as_of, shared)
    more = rebalanced(books, change.account, of)
    return change._replace(
        account=more.account,
        entries=change.entries + more.entries,
        lots=tuple({**lots, **{lot.lot_number: lot for lot in more.lots}}.values()),
        expiries=change.expiries + more.expiries,
        expiries_begun=change.expiries_begun + more.expiries_begun,
    )


def _given_up(
    books: Books,
    posted: PostedOrder,
    owner: Account,
    event: PostedOrderEvent,
    rules: ProgramRegistry,
    as_of: datetime,
) -> _Left | Parked:
    had = books.kept(posted, rules.version(posted.program_id, posted.program_version).program)
    everything = in_full(posted, event.occurred_at)
    has = KeptOrder(had.earning, had.basket.plus(everything))
    refunds = [*books.refunds_known(posted), everything]
    change = OrderChange(
        posted, posted, had, has, refunds, None, event.occurred_at, because={"claimed": True}, is_leaving=True
    )
    settled = settle(books, change, rules, as_of)
    if isinstance(settled, Parked):
        return settled
    account = settled.change.account
    left = account.orders_posted - 1
    # Without any order nothing says when the membership began, unless a command did.
    is_known = left > 0 or account.is_enrolment_given
    account = account._replace(orders_posted=left, enrolled_at=account.enrolled_at if is_known else None)
    account_change = settled.change._replace(account=account)
    given_up = event._replace(
        kind=OrderEventKind.GIVEN_UP,
        account_id=owner.account_id,
        recovery=settled.recovery,
        sequence=settled.sequence,
        accrual_sequence=posted.sequence,
    )
    return _Left((account_change,), (given_up,), settled.rest.budgets, settled.rest.authorizations)


def _owned() -> Parked:
    detail = (
        "the order is another customer's; if it is to move, send whose it is in data.previous_customer_id, in a new "
        "event; else drop this message"
    )
    return Parked(Reason.ALREADY_OWNED, detail)


def inactive(program_id: str) -> Parked:
    """Why an order comes to nobody's account that its program did not let earn."""
    detail = f"program {program_id} was not active at the order's time: it earns nothing; drop this message"
    return Parked(Reason.PROGRAM_INACTIVE, detail)


def _not_enrolled(program_id: str) -> Parked:
    detail = (
        f"the customer has no account, and program {program_id} opens accounts only by command; create the account, "
        "then retry this message"
    )
    return Parked(Reason.NOT_ENROLLED, detail)


def _back_again() -> Parked:
    detail = (
        "the order was this customer's before, and moved to another; it does not come back to an account that it has "
        "left. Claim it for the right customer, or drop this message"
    )
    return Parked(Reason.ALREADY_OWNED, detail)
