"""What a refund or a cancellation does to the account of its order: post the difference to what it still earns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision
from core.domain.expiry.due import release
from core.domain.ledger import Account, Entry, EntryKind, debit, entry_between
from core.domain.lots import Allocation, Lot, take, taken_from
from core.domain.message import Message
from core.domain.orders.basket import Goods, refund_problem
from core.domain.orders.earning import Entitlement, Grant
from core.domain.orders.facts import Cancellation, Refund
from core.domain.orders.limits import budget_changes, usage_changes
from core.domain.orders.lookup import order_for_event, order_of, posted_before
from core.domain.orders.posted import (
    OrderEventKind,
    PostedOrder,
    PostedOrderEvent,
    PostedRefund,
    Qualifying,
    Recovery,
    in_full,
)
from core.domain.outcomes import Parked, Reason, Replayed, Waiting
from core.domain.program import ClawbackPolicy, Program, RefundEffect
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, OrderParts, Reach
from core.domain.tiers.qualification import disqualify, qualification_period

_PARTS = OrderParts(refunds=True, events=True, account=AccountParts(lots=LotsWanted.TO_TAKE, history=True), limits=True)


def refund_reach(message: Message[Refund], _rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What `decide_refund` asks of the books."""
    refund = message.fact
    return Reach({(refund.source, refund.order_id): _PARTS}, refunds=frozenset({(refund.source, refund.refund_id)}))


def cancellation_reach(message: Message[Cancellation], _rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What `decide_cancellation` asks of the books."""
    return Reach({(message.fact.source, message.fact.order_id): _PARTS})


def decide_refund(
    books: Books, message: Message[Refund], rules: ProgramRegistry, as_of: datetime
) -> Decision | Replayed | Waiting | Parked:
    """Take back what the order no longer earns with this refund and those posted before it.

    The version that judged the order decides its points, the one in force at `as_of` decides the tiers. Points of the
    order that have expired already are excused: they are not taken a second time. The rest is taken from the order's
    own lots, then from the lots that expire soonest. The program's policy says what becomes of points that no lot
    covers. A guest's order has no account.
    """
    refund = message.fact
    posted = order_of(books, (refund.source, refund.order_id), message.program_id, rules)
    if not isinstance(posted, PostedOrder):
        return posted
    known = books.refund((refund.source, refund.refund_id), posted.program_id)
    if known is not None:
        return posted_before(known.digest == message.digest, Reason.REFUND_CONFLICT, "refund")
    program = rules.version(posted.program_id, posted.program_version).program
    goods = Goods(posted.order, program.basis) if posted.tier_id is None else books.kept(posted, program).basket.goods
    problem = refund_problem(goods, refund)
    if problem is not None:
        return problem
    fact = PostedRefund(refund, posted.program_id, message.digest, posted.account_id)
    if posted.account_id is None:
        return Decision(facts=(fact,))
    clawback = _claw_back(books, posted, refund, rules, as_of)
    return clawback.decision(fact._replace(recovery=clawback.recovery))


def decide_cancellation(
    books: Books, message: Message[Cancellation], rules: ProgramRegistry, as_of: datetime
) -> Decision | Replayed | Waiting | Parked:
    """Take back all that the order still earns, as a refund in full would."""
    cancellation, key = message.fact, (message.fact.source, message.fact.order_id)
    posted = order_for_event(books, key, OrderEventKind.CANCELLED, message, rules)
    if not isinstance(posted, PostedOrder):
        return posted
    fact = PostedOrderEvent(
        OrderEventKind.CANCELLED, *key, cancellation.occurred_at, posted.program_id, message.digest, posted.account_id
    )
    cancelled = posted._replace(cancelled_at=cancellation.occurred_at)
    if posted.account_id is None:
        return Decision(facts=(fact,), orders=(cancelled,))
    clawback = _claw_back(books, cancelled, None, rules, as_of)
    return clawback.decision(fact._replace(recovery=clawback.recovery))


def points_at_stake(account: Account, orders: Iterable[PostedOrder]) -> int:
    """The most that refunds of these posted orders, and of orders that are yet to be posted, may take from other lots.

    All that the posted orders earn; and a new order's own lot lacks at most what has paid off the deficit.
    """
    return account.deficit + sum(posted.points_entitled for posted in orders)


class _Clawback(NamedTuple):
    """What is taken back of one order."""

    change: AccountChange
    posted: PostedOrder
    recovery: Recovery
    rest: Decision  #: budgets, and what each rule gives now

    def decision(self, fact: PostedRefund | PostedOrderEvent) -> Decision:
        return self.rest._replace(changes=(self.change,), facts=(fact,), orders=(self.posted,))


def _claw_back(
    books: Books, posted: PostedOrder, refund: Refund | None, rules: ProgramRegistry, as_of: datetime
) -> _Clawback:
    """Post the difference that `refund` makes; None: that the cancellation makes which is noted in `posted`."""
    assert posted.account_id is not None
    program = rules.version(posted.program_id, posted.program_version).program
    current = rules.at(posted.program_id, as_of).program
    loss = _loss(books, posted, refund, program)
    target = loss.target
    account = books.account(posted.account_id)
    # Pending lots that are due by now are released first, whether or not the run for it came.
    released = release(account, books.lots_to_release(account, as_of), as_of)
    newer = {lot.lot_number: lot for lot in released.lots}
    own = [newer.get(lot.lot_number, lot) for lot in books.lots_of_order(account, posted.key)]
    others = books.lots_to_take(account, as_of, newer, {lot.lot_number for lot in own})
    taken = _take(own, others, loss.dues, program, as_of)
    shortfall = 0 if program.clawback.policy is ClawbackPolicy.ALLOW_NEGATIVE else taken.uncovered
    recovery = Recovery(loss.points, loss.points - taken.excused - shortfall, taken.excused, shortfall)

    removed = Qualifying(*(had - has for had, has in zip(posted.qualifying, target.qualifying, strict=True)))
    refunds_count = current.qualification.refunds
    start = qualification_period(current, posted.order.occurred_at, account.enrolled_at).start
    history = books.history(account, start) if refunds_count is RefundEffect.AT_ONCE and start is not None else ()
    account, tier_changes = disqualify(
        released.account, history, removed, posted.order.occurred_at, loss.occurred_at, current
    )
    entries = released.entries
    if recovery.points_taken:
        debited = _debit(account, taken, recovery)
        entries += (_entry(account, debited, posted, refund, loss, taken, recovery),)
        account = debited
    return _Clawback(
        AccountChange(
            account,
            entries,
            tuple((newer | taken.lots).values()),
            tier_changes,
            usage_changes(program, account.account_id, posted.order, posted.judgement, loss.before, target),
        ),
        posted._replace(
            points_entitled=target.points,
            points_excused=posted.points_excused + taken.excused,
            points_shortfall=posted.points_shortfall + shortfall,
            qualifying=posted.qualifying if refunds_count is RefundEffect.NEVER else target.qualifying,
        ),
        recovery,
        Decision(budgets=budget_changes(program, loss.before, target), given=target.given),
    )


class _Loss(NamedTuple):
    """What an order earns less than before."""

    points: int
    dues: Mapping[str, int]  #: the same points, by what earned the lots that owe them
    before: Entitlement
    target: Entitlement  #: what the order earns now
    occurred_at: datetime


def _loss(books: Books, posted: PostedOrder, refund: Refund | None, program: Program) -> _Loss:
    uncancelled = posted if refund is not None else posted._replace(cancelled_at=None)
    if refund is None:
        assert posted.cancelled_at is not None
        refund = in_full(posted, posted.cancelled_at)
    (earning, kept), ends_apart = books.kept(uncancelled, program), len(program.expiries) > 1
    target = earning.of(kept.plus(refund))
    # What each rule and promotion gave before matters only where their use is counted, or their points end apart.
    before = earning.of(kept) if earning.is_counted or ends_apart else target
    points = posted.points_entitled - target.points
    assert points >= 0, "another refund cannot raise an entitlement"
    dues = _dues(earning.after(()).grants, before.grants, target.grants, points) if ends_apart else {"": points}
    return _Loss(points, dues, before, target, refund.occurred_at)


class _Deduction(NamedTuple):
    """What is taken from lots, and what becomes of the rest."""

    lots: dict[int, Lot]  #: changed
    allocations: tuple[Allocation, ...]
    pending: int  #: how much of what is taken was pending
    excused: int
    uncovered: int


def _debit(account: Account, taken: _Deduction, recovery: Recovery) -> Account:
    available, uncovered = recovery.points_taken - taken.pending, taken.uncovered - recovery.points_shortfall
    debited = debit(account, available, uncovered=uncovered, pending=taken.pending)
    return debited._replace(lifetime_points=account.lifetime_points - recovery.points_taken)


def _entry(
    before: Account,
    after: Account,
    posted: PostedOrder,
    refund: Refund | None,
    loss: _Loss,
    taken: _Deduction,
    recovery: Recovery,
) -> Entry:
    return entry_between(
        before,
        after,
        EntryKind.CLAWBACK,
        loss.occurred_at,
        taken.allocations,
        _why(loss.target.why, posted.points_entitled, loss.target.points, recovery),
        source=posted.order.source,
        order_id=posted.order.order_id,
        refund_id=None if refund is None else refund.refund_id,
        corrects_sequence=posted.sequence,
    )


def _why(explanation: dict[str, Any], before: int, after: int, recovery: Recovery) -> dict[str, Any]:
    why = {**explanation, "points_entitled_before": before, "points_entitled_after": after}
    if recovery.points_excused:
        why["points_excused_as_expired"] = recovery.points_excused
    if recovery.points_shortfall:
        why["points_shortfall"] = recovery.points_shortfall
    return why


def _dues(granted: Sequence[Grant], before: Sequence[Grant], target: Sequence[Grant], due: int) -> dict[str, int]:
    """How much of `due` each kind of the order's lots owes, by what earned them."""
    owed_before, owed = _owed(granted, before), _owed(granted, target)
    dues: dict[str, int] = {}
    for earned_by, points in owed.items():
        dues[earned_by] = min(due, max(0, points - owed_before[earned_by]))
        due -= dues[earned_by]
    return dues


def _owed(granted: Sequence[Grant], kept: Sequence[Grant]) -> dict[str, int]:
    """How much of what was `granted` is lost, by what earned it.

    Where refunds make another rule the best one, what that rule gives now is set off against what the others lose.
    """
    left = dict(kept)
    more = sum(max(0, points - dict(granted).get(earned_by, 0)) for earned_by, points in kept)
    owed: dict[str, int] = {}
    for earned_by, points in granted:
        lost = max(0, points - left.get(earned_by, 0))
        owed[earned_by] = lost - min(more, lost)
        more -= min(more, lost)
    return owed


def _take(
    own: Sequence[Lot], others: Iterator[Lot], dues: Mapping[str, int], program: Program, as_of: datetime
) -> _Deduction:
    """Take what is due, as far as it goes: what each of the order's own lots owes, then from any of them, then others.

    The others, in spending order, are read no further than needed: an account that all of a shop's walk-in customers
    share has thousands.
    """
    owed = dict(dues)
    changed: dict[int, Lot] = {}
    excused = 0
    for lot in own:
        part = min(owed.get(lot.earned_by, 0), _expired_points(lot, as_of) - lot.points_excused)
        if part > 0:
            excused += part
            owed[lot.earned_by] -= part
            # From now on it has expired, also for whoever began before us and comes after us.
            changed[lot.lot_number] = lot._replace(points_excused=lot.points_excused + part, expires_with=None)
    is_pending_only = program.clawback.policy is ClawbackPolicy.PENDING_ONLY
    sources = [
        changed.get(lot.lot_number, lot)
        for lot in own
        if not lot.is_due(as_of) and (lot.is_pending or not is_pending_only)
    ]
    found, allocations, uncovered = _take_from_own(sources, owed)
    if not is_pending_only and uncovered:
        more, taken, uncovered = take(others, uncovered)
        found, allocations = found + more, allocations + taken
    pending = sum(-part.points for lot, part in zip(found, allocations, strict=True) if lot.is_pending)
    changed |= {lot.lot_number: lot for lot in found}
    return _Deduction(changed, tuple(allocations), pending, excused, uncovered)


def _take_from_own(own: Sequence[Lot], owed: Mapping[str, int]) -> tuple[list[Lot], list[Allocation], int]:
    """Take from each of the order's lots what it owes, then what the others owe and no longer hold."""
    missing = dict(owed)
    parts: list[int] = []
    for lot in own:
        parts.append(min(lot.points_remaining, missing.get(lot.earned_by, 0)))
        missing[lot.earned_by] = missing.get(lot.earned_by, 0) - parts[-1]
    uncovered = sum(missing.values())
    for place, lot in enumerate(own):
        more = min(uncovered, lot.points_remaining - parts[place])
        parts[place] += more
        uncovered -= more
    taken = [(lot, part) for lot, part in zip(own, parts, strict=True) if part]
    return (
        [lot._replace(points_remaining=lot.points_remaining - part) for lot, part in taken],
        [taken_from(lot, part) for lot, part in taken],
        uncovered,
    )


def _expired_points(own: Lot, as_of: datetime) -> int:
    """How much of the lot has expired, even if the expiry run has not come yet."""
    return own.points_expired + (own.points_remaining if own.is_due(as_of) else 0)
