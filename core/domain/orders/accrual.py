"""What a completed order does to its account."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision
from core.domain.expiry.dates import (
    available_at,
    available_by_fulfilment,
    expiries_begun_by,
    moved_by_activity,
    moves_of,
    new_expiry,
)
from core.domain.expiry.due import release
from core.domain.ledger import (
    POINTS_MAX,
    Account,
    AccountStatus,
    Credit,
    Entry,
    EntryKind,
    LotTerms,
    credit,
    entry_between,
)
from core.domain.lots import Lot, Origin, OriginKind, SharedExpiry
from core.domain.members import OF_MEMBER
from core.domain.message import Message
from core.domain.orders.activity import recounted
from core.domain.orders.conflicts import order_conflict
from core.domain.orders.earning import Earning, Entitlement
from core.domain.orders.facts import Order, OrderClaim, Refund, Return
from core.domain.orders.heaviness import STEPS_MAX, too_heavy
from core.domain.orders.limits import budget_changes, budgets_of, judge, judge_anew, usage_changes, usage_keys
from core.domain.orders.lookup import order_known, unknown_program, unlisted_source
from core.domain.orders.posted import Amendment, BudgetChange, Judgement, PostedOrder, QualifyingStep
from core.domain.orders.qualifying_steps import steps_of
from core.domain.orders.rates import rate_problem
from core.domain.orders.repaying import repaying, with_payment
from core.domain.outcomes import Parked, Reason, Replayed
from core.domain.program import Circumstances, CrossingOrder, Enrol, Program
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, OrderParts, Reach, TierInstant
from core.domain.tiers.history import CountedOrder
from core.domain.tiers.qualification import ProgramAt
from core.domain.tiers.recounting import Recount, meet, recount
from core.domain.whose import account_found, account_reach, field_of, is_member, key_of

_PLAIN = Judgement()
_NOTHING = OrderParts()


def order_reach(message: Message[Order], rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What `decide_order` asks of the books."""
    return with_payment(_reach_of(message, rules), message.fact)


def _reach_of(message: Message[Order], rules: ProgramRegistry) -> Reach:
    order, key = message.fact, (message.fact.source, message.fact.order_id)
    program_id = rules.resolve(message.program_id, order.source, order.occurred_at)
    if program_id is None:
        return Reach({key: _NOTHING})
    program = rules.at(program_id, order.occurred_at).program
    limits_of = ((program, order.occurred_at),) if program.has_limits else ()
    # To whichever account another message of the batch moves it, it is held against the limits of that one.
    of_order = OrderParts(account=AccountParts(limits_of=limits_of)) if limits_of else _NOTHING
    whom = order.whom
    if whom is None:
        return Reach({key: of_order})
    parts = AccountParts(
        lots=LotsWanted.IF_OWING,
        tiers_at=(TierInstant(order.occurred_at, key, is_new=True),),
        limits_of=limits_of,
        expiries=program.has_inactivity,
    )
    reach = account_reach(whom, program_id, parts)
    return reach._replace(orders={key: of_order}, owners={key: (key_of(whom, program_id),)})


@repaying
def decide_order(
    books: Books, message: Message[Order], rules: ProgramRegistry, as_of: datetime
) -> Decision | Replayed | Parked:
    """Grant the order's points, in the tier in force before it, and count them for the tier after it.

    The program version in force when the order occurred decides what it earns, tiers, and how it moves the end of
    points. What is judged here (tier, rules, limits) stays with the order for good. An order that earns nothing is
    recorded without an entry. A guest's order earns nothing; it is recorded so that its refunds find it. So is one of a
    customer without an account where the program opens accounts only by command, of one whose account is closed, and
    any of a program that is not active. Who names an account by a reference means that one, which has to be there.
    """
    order = message.fact
    program_id = rules.resolve(message.program_id, order.source, order.occurred_at)
    if program_id is None:
        named = message.program_id
        return unlisted_source(order.occurred_at, rules) if named is None else unknown_program(named, rules)
    known = order_known(books, message, program_id, rules)
    if known is not None:
        return Replayed() if known.digest == message.digest else order_conflict(known.order, order)
    version = rules.at(program_id, order.occurred_at)
    problem = order_problem(order, version.program)
    if problem is not None:
        return problem
    posted = PostedOrder(order, program_id, version.version, message.digest)
    found = _comes_to(books, posted, version.program)
    if found is None:
        return Decision(facts=(posted,))
    if isinstance(found, Parked):
        return found
    if order.reference is not None:
        posted = posted._replace(order=order._replace(customer_id=found.account.customer_id))
    accrued = accrue(books, found.account, found.opened, posted, version.program, rules, as_of)
    return accrued if isinstance(accrued, Parked) else accrued.decision()


class Destination(NamedTuple):
    """The account that an order comes to."""

    account: Account
    opened: Account | None  #: the account again, where it is opened for the order


def _comes_to(books: Books, posted: PostedOrder, program: Program) -> Destination | Parked | None:
    """The account that a new order comes to; None where it is recorded only."""
    order = posted.order
    if order.reference is not None and program.active:
        named = account_named(books, order, posted.program_id)
        return named if isinstance(named, Parked) else Destination(named, None)
    if is_for_nobody(books, posted.program_id, order.customer_id, program):
        return None
    assert order.customer_id is not None
    return account_for(books, posted, order.customer_id, program)


def account_named(books: Books, fact: Order | Return | OrderClaim, program_id: str) -> Account | Parked:
    """The account that an order, its claim or a return names by a reference; Parked where nothing can come to it."""
    whom = fact.whom
    assert whom is not None
    account, field = account_found(books, whom, program_id), f"data.{field_of(whom)}"
    if account is None:
        detail = f"{field} leads to no account of program {program_id}; link it or create the account, then retry this"
        return Parked(Reason.UNKNOWN_ACCOUNT, detail)
    if account.program_id != program_id:
        detail = (
            f"{field} leads to an account of program {account.program_id}, and the message belongs to program "
            f"{program_id}; name the program in data.program_id, in a new event"
        )
        return Parked(Reason.UNKNOWN_ACCOUNT, detail)
    if account.status is AccountStatus.CLOSED:
        detail = f"the account of {field} is closed, and takes no orders; link it to another account, then retry this"
        return Parked(Reason.ACCOUNT_CLOSED, detail)
    return account


def order_problem(order: Order, program: Program) -> Parked | None:
    """Why `program` cannot work out what this order earns; None where it can."""
    if (wrong := rate_problem(order, program)) is not None:
        return wrong
    return too_heavy(order, program) if len(order.lines) * program.steps_per_line > STEPS_MAX else None


def is_not_enrolled(books: Books, program_id: str, customer_id: str, program: Program) -> bool:
    """Whether the customer has no account, and nothing but a command may open one."""
    return program.enrol is Enrol.COMMAND and books.account_of(program_id, customer_id) is None


def is_for_nobody(books: Books, program_id: str, customer_id: str | None, program: Program) -> bool:
    """Whether an order is recorded only: a guest's, of an inactive program, or of who has no account that takes it."""
    return (
        customer_id is None
        or not program.active
        or is_not_enrolled(books, program_id, customer_id, program)
        or is_closed(books, program_id, customer_id)
    )


def is_closed(books: Books, program_id: str, customer_id: str) -> bool:
    """Whether the customer's account takes no orders any more."""
    account = books.account_of(program_id, customer_id)
    return account is not None and account.status is AccountStatus.CLOSED


def account_for(books: Books, posted: PostedOrder, customer_id: str, program: Program) -> Destination:
    """The customer's account, to which this order comes; who has none gets one."""
    account = books.account_of(posted.program_id, customer_id)
    if account is not None:
        return Destination(account, None)
    first_tier_id = program.tiers[0].tier_id
    account = books.new_account(posted.program_id, customer_id, first_tier_id, posted.order.occurred_at)
    return Destination(account, account)


class Accrued(NamedTuple):
    """What an order does to an account that it comes to."""

    change: AccountChange
    posted: PostedOrder  #: as it is of that account
    budgets: tuple[BudgetChange, ...]
    given: Mapping[str, int]  #: its points by rule and promotion

    def decision(self) -> Decision:
        """All that the order does, where it is new."""
        return Decision((self.change,), (self.posted,), budgets=self.budgets, given=self.given)


class Coming(NamedTuple):
    """How an order comes to an account, beside being new."""

    refunds: Sequence[Refund] = ()  #: that are known already
    claimed_at: datetime | None = None  #: where that is not the order's own time
    freed: Sequence[BudgetChange] = ()  #: what it gave back of budgets as it left another account


_NEW = Coming()


def accrue(
    books: Books,
    account: Account,
    opened: Account | None,
    posted: PostedOrder,
    program: Program,
    rules: ProgramRegistry,
    as_of: datetime,
    coming: Coming = _NEW,
) -> Accrued | Parked:
    """Grant the account what the order earns in it, and count it for its tier.

    `program` is the version that judges it.
    """
    order = posted.current
    program_at = rules.in_force(posted.program_id)
    account = account._replace(
        orders_posted=account.orders_posted + 1, enrolled_at=account.enrolled_at or order.occurred_at
    )
    result = _earn(books, account, posted, program, program_at, coming)
    earned, counted = result.earned, result.counted
    if earned.points:
        posting = _grant(books, counted.account, posted, program, earned, as_of, coming.claimed_at)
    else:
        moved = _moved(_expiries(books, account, program), program, order, earned, as_of)
        posting = _Posting(counted.account, (), (), (tuple(moved), ()))
    after = posting.account
    if max(after.balance + after.pending, after.lifetime_points, after.qualifying_points) > POINTS_MAX:
        return _too_many_points(earned.points, program)
    usages = usage_changes(program, account.account_id, order, result.judgements.latest, None, earned)
    fact = posted._replace(
        tier_id=result.tier_id,
        account_id=account.account_id,
        sequence=posting.sequence,
        points_entitled=earned.points,
        judgement=result.judgements.first,
        amendment=_judged_again(posted, result.judgements),
        qualifying=earned.qualifying,
        qualifying_steps=result.steps,
        is_counted=earned.is_counted,
    )
    after = recounted(after, None, fact)
    return Accrued(
        AccountChange(after, posting.entries, posting.lots, counted.changes, usages, opened, *posting.expiries),
        fact,
        budget_changes(program, None, earned),
        earned.given,
    )


def _judged_again(posted: PostedOrder, judgements: "_Judgements") -> Amendment | None:
    """The newest revision, if there is one, as it is judged in the account that the order comes to."""
    return None if posted.amendment is None else posted.amendment._replace(judgement=judgements.latest)


class _Judgements(NamedTuple):
    """What was judged of an order."""

    first: Judgement  #: as it was at first, which stays with it
    latest: Judgement  #: as it is now


class _TierResult(NamedTuple):
    """What an order earns in one tier, and the account after it has counted the order."""

    tier_id: str
    judgements: _Judgements
    earned: Entitlement
    counted: Recount
    steps: tuple[QualifyingStep, ...]  #: what it counts when


def _earn(
    books: Books,
    account: Account,
    posted: PostedOrder,
    program: Program,
    program_at: ProgramAt,
    coming: Coming,
) -> _TierResult:
    """Find the tier that the order earns at, and the one that it leads to."""
    order = posted.current
    met = meet(books, account, order.occurred_at, program, program_at)

    def at(tier_id: str) -> _TierResult:
        judgements, earning = _judged(books, account, posted, program, tier_id, coming.freed)
        earned, steps = earning.after(coming.refunds), steps_of(posted, coming.refunds, earning)
        before_refunds = steps[0].qualifying if steps else None
        as_counted = CountedOrder(order.occurred_at, earned.qualifying, before_refunds, steps)
        counted = recount(books, met.account, None, as_counted, program_at)
        if met.changes:
            counted = counted._replace(changes=met.changes + counted.changes)
        return _TierResult(tier_id, judgements, earned, counted, steps)

    result = at(met.tier_id)
    if program.qualification.crossing_order is CrossingOrder.NEW_TIER and _is_above(
        program, result.counted.reached_id, met.tier_id
    ):
        there = at(result.counted.reached_id)
        # The new tier may earn less, and the order then not reach it.
        return there if _is_above(program, there.counted.reached_id, met.tier_id) else result
    return result


def _is_above(program: Program, tier_id: str, other_id: str) -> bool:
    return program.tier(tier_id) is not None and program.rank(tier_id) > program.rank(other_id)


def _judged(
    books: Books,
    account: Account,
    posted: PostedOrder,
    program: Program,
    tier_id: str,
    freed: Sequence[BudgetChange],
) -> tuple[_Judgements, Earning]:
    """The judgement that stays with the order, that of what it has become, and what it earns."""
    now = posted.current
    if program.is_plain:
        return _Judgements(_PLAIN, _PLAIN), Earning(now, program, tier_id)
    local = now.occurred_at.astimezone(program.zone)
    circumstances = Circumstances(posted.order, local, tier_id, is_first_order=account.orders_counted == 0)
    places = program.rule_index.places(posted.order.lines)
    usages = books.usages(account, usage_keys(program, now.occurred_at))
    budgets = books.budgets(program.program_id, (limit.name for limit in budgets_of(program, now.occurred_at)))
    for change in freed:
        if change.name in budgets:
            budgets[change.name] = budgets[change.name].plus(change)
    first = judge(program, circumstances, usages, budgets, places)
    if posted.amendment is None:
        return _Judgements(first, first), Earning(now, program, tier_id, first, places)
    circumstances = circumstances._replace(order=now, is_first_order=first.is_first_order)
    again = judge_anew(program, circumstances, posted.order, first, usages, budgets)
    return _Judgements(first, again), Earning(now, program, tier_id, again)


class _Posting(NamedTuple):
    """What an order's points do to its account."""

    account: Account
    entries: tuple[Entry, ...]
    lots: tuple[Lot, ...]
    expiries: tuple[tuple[SharedExpiry, ...], tuple[SharedExpiry, ...]]  #: that it moved, and that it began
    sequence: int | None = None  #: of the order's own entry


def _grant(
    books: Books,
    account: Account,
    posted: PostedOrder,
    program: Program,
    earned: Entitlement,
    as_of: datetime,
    claimed_at: datetime | None,
) -> _Posting:
    """Credit what the order earned."""
    order = posted.order
    # Pending points that are due by now pay off a deficit before this order does, whether or not their run came.
    is_owing = account.deficit > 0 and account.pending > 0
    released = release(account, books.lots_to_release(account, as_of) if is_owing else (), as_of)
    shared = _expiries(books, account, program)
    active = {each.expires_with: each for each in _moved(shared, program, order, earned, as_of)}
    known = {each.expires_with: each for each in shared} | active
    has_points = released.account.pending + released.account.balance + released.account.deficit > 0
    available = available_at(program.availability, order.occurred_at, as_of)
    if available is None and posted.fulfilled_at is not None:
        available = available_by_fulfilment(program.availability, order.occurred_at, posted.fulfilled_at, as_of)
    terms: list[LotTerms] = []
    moved: list[SharedExpiry] = []
    for points, earned_by in ((grant.points, grant.earned_by) for grant in earned.grants):
        new = new_expiry(
            program,
            earned_by,
            available,
            known.values(),
            as_of,
            is_counted=earned.is_counted,
            has_points=has_points,
        )
        terms.append(LotTerms(points, available, new.expires_at, earned_by, new.expires_with))
        if new.moved is not None:
            moved.append(new.moved)
    origin = Origin(OriginKind.ORDER, order.source, order.order_id, order.occurred_at)
    credited = credit(released.account, origin, terms, as_of)
    active |= {each.expires_with: each for each in moves_of(moved, credited.lots)}
    is_of_member = claimed_at is None and is_member(books, account, order.customer_id)
    because = {OF_MEMBER: True} if is_of_member else {} if claimed_at is None else {"claimed": True}
    entry = _entry(released.account, credited, order, {**earned.why, **because}, claimed_at)
    return _Posting(
        credited.account,
        (*released.entries, entry),
        (*released.lots, *credited.lots),
        (tuple(active.values()), expiries_begun_by(credited.lots)),
        entry.sequence,
    )


def _expiries(books: Books, account: Account, program: Program) -> Sequence[SharedExpiry]:
    """The shared expiries, where an order may move them, or its own points expire together with others."""
    return books.expiries(account) if program.has_inactivity else ()


def _moved(
    shared: Sequence[SharedExpiry], program: Program, order: Order, earned: Entitlement, as_of: datetime
) -> list[SharedExpiry]:
    return moved_by_activity(shared, program, order.occurred_at, as_of) if earned.is_counted else []


def _entry(before: Account, credited: Credit, order: Order, why: dict[str, Any], claimed_at: datetime | None) -> Entry:
    return entry_between(
        before,
        credited.account,
        EntryKind.ACCRUAL,
        claimed_at or order.occurred_at,
        credited.allocations,
        why,
        source=order.source,
        order_id=order.order_id,
    )


def _too_many_points(points: int, program: Program) -> Parked:
    detail = (
        f"the order earns {points:,} points, and its account would come to more than {POINTS_MAX:,}; "
        f"check the order's amounts and the rates of program {program.program_id}"
    )
    return Parked(Reason.TOO_MANY_POINTS, detail)
