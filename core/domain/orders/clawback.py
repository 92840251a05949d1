"""What a refund or a cancellation does to the account of its order: post the difference to what it still earns."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from core.domain.expiry.due import release
from core.domain.ledger import Account, Decision, Entry, EntryKind, PostedOrder, PostedRefund, Qualifying, debit
from core.domain.lots import Allocation, Lot, in_spending_order, take
from core.domain.orders.earning import Earning, Entitlement, Grant
from core.domain.orders.facts import Cancellation, Refund
from core.domain.orders.limits import budget_changes, usage_changes
from core.domain.program import ClawbackPolicy, Program, RefundEffect
from core.domain.tiers.qualification import TierHistoryEntry, disqualify


class _Taken(NamedTuple):
    """What was taken from lots, and what became of the rest."""

    lots: dict[int, Lot]  #: changed
    allocations: tuple[Allocation, ...]
    pending: int  #: of what was taken: was pending
    excused: int
    uncovered: int


def decide_clawback(
    account: Account | None,
    lots: Mapping[int, Lot],
    posted: PostedOrder,
    known: Sequence[Refund],
    refund: Refund,
    program: Program,
    current: Program,
    as_of: datetime,
    history: Sequence[TierHistoryEntry] = (),
) -> Decision:
    """Take back what the order no longer earns with `refund`, `known` being the refunds posted before it.

    `lots` holds the account's open lots and the order's own; `program` is the version frozen with the order,
    `current` the one in force now, which rules the tiers. Points of the order that have expired already are excused,
    not taken a second time. The rest is taken from the order's own pending points first, then from its own lots, then
    from the soonest expiring; what no lot covers follows the program's policy. A guest's order has no account.
    """
    if account is None or posted.tier_id is None:
        return Decision(order=posted, refund=PostedRefund(refund, 0, 0, 0, 0))
    if posted.cancelled_at is not None:
        cancellation = Cancellation(posted.order.source, posted.order.order_id, posted.cancelled_at)
        known = (*known, whole_refund(cancellation))
    return _claw_back(account, lots, posted, known, refund, program, current, as_of, history)


def decide_cancellation(
    account: Account | None,
    lots: Mapping[int, Lot],
    posted: PostedOrder,
    known: Sequence[Refund],
    cancellation: Cancellation,
    program: Program,
    current: Program,
    as_of: datetime,
    history: Sequence[TierHistoryEntry] = (),
) -> Decision:
    """Take back all that the order still earns, as a refund in full would; `known` are its refunds."""
    cancelled = posted._replace(cancelled_at=cancellation.occurred_at)
    if account is None or posted.tier_id is None:
        return Decision(order=cancelled)
    return _claw_back(account, lots, cancelled, known, whole_refund(cancellation), program, current, as_of, history)


def whole_refund(cancellation: Cancellation) -> Refund:
    """The refund that a cancellation is as good as; it has no id."""
    return Refund(
        cancellation.source, "", cancellation.order_id, cancellation.occurred_at, full=True, amount=None, lines=()
    )


def _claw_back(
    account: Account,
    lots: Mapping[int, Lot],
    posted: PostedOrder,
    known: Sequence[Refund],
    refund: Refund,
    program: Program,
    current: Program,
    as_of: datetime,
    history: Sequence[TierHistoryEntry],
) -> Decision:
    earning = _earning(posted, program)
    target, ends_apart = earning.after((*known, refund)), len(program.expiries) > 1
    # What each rule and promotion had given before matters only where it is counted, or ends apart.
    before = earning.after(known) if earning.is_counted or ends_apart else target
    due = posted.points_entitled - target.points
    assert due >= 0, "another refund cannot raise an entitlement"
    # What had to become available meanwhile is, whether or not the run for it came.
    released = release(account, lots.values(), as_of)
    account, lots = released.account, {**lots, **{lot.lot_number: lot for lot in released.lots}}
    dues = _dues(earning.after(()).grants, before.grants, target.grants, due) if ends_apart else {"": due}
    taken = _take(lots, posted, dues, program, as_of)
    shortfall = 0 if program.clawback.policy is ClawbackPolicy.ALLOW_NEGATIVE else taken.uncovered
    result = PostedRefund(refund, due, due - taken.excused - shortfall, taken.excused, shortfall)
    removed = Qualifying(*(had - has for had, has in zip(posted.qualifying, target.qualifying, strict=True)))
    account, tier_changes = disqualify(account, history, removed, posted.order.occurred_at, refund.occurred_at, current)
    entries = released.entries
    if result.points_taken:
        available, deficit = result.points_taken - taken.pending, taken.uncovered - shortfall
        account = debit(account, available, uncovered=deficit, pending=taken.pending)
        account = account._replace(lifetime_points=account.lifetime_points - result.points_taken)
        entries += (_entry(account, posted, result, taken, shortfall, target),)
    counts_on = current.qualification.refunds is RefundEffect.NEVER
    return Decision(
        account=account,
        entries=entries,
        lots=tuple({**{lot.lot_number: lot for lot in released.lots}, **taken.lots}.values()),
        tier_changes=tier_changes,
        order=posted._replace(
            points_entitled=target.points,
            points_excused=posted.points_excused + taken.excused,
            points_shortfall=posted.points_shortfall + shortfall,
            qualifying=posted.qualifying if counts_on else target.qualifying,
        ),
        refund=result,
        usages=usage_changes(program, account.account_id, posted.order, posted.frozen, before, target),
        budgets=budget_changes(program, before, target),
        given=target.given,
    )


def _earning(posted: PostedOrder, program: Program) -> Earning:
    assert posted.tier_id is not None
    return Earning(posted.order, program, posted.tier_id, posted.frozen)


def _dues(granted: Sequence[Grant], before: Sequence[Grant], target: Sequence[Grant], due: int) -> dict[str, int]:
    """How much of `due` each kind of the order's lots owes, by what earned them."""
    owed_before, owed = _owed(granted, before), _owed(granted, target)
    dues: dict[str, int] = {}
    for earned_by, points in owed.items():
        dues[earned_by] = min(due, max(0, points - owed_before[earned_by]))
        due -= dues[earned_by]
    return dues


def _owed(granted: Sequence[Grant], kept: Sequence[Grant]) -> dict[str, int]:
    """How much of what was `granted` is kept no longer, by what earned it.

    Where refunds make another rule the best one, what that one gives now stands for what is lost of the others.
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
    lots: Mapping[int, Lot], posted: PostedOrder, dues: Mapping[str, int], program: Program, as_of: datetime
) -> _Taken:
    """Take what is due, as far as it goes: of the order's own lots from each what it owes, then from any of them.

    The other lots are looked at only when they are needed: an account that all of a shop's passers-by share has
    thousands.
    """
    owed = dict(dues)
    own = [lot for lot in lots.values() if lot.opened_by_sequence == posted.sequence]
    untold = posted.points_excused - sum(lot.points_excused for lot in own)
    if own and untold > 0:
        # A process of the release before, which runs on during an upgrade, notes it with the order alone; orders that
        # it posted have one lot.
        own[0] = own[0]._replace(points_excused=own[0].points_excused + untold)
    changed: dict[int, Lot] = {}
    excused = 0
    for lot in own:
        part = min(owed.get(lot.earned_by, 0), _expired_points(lot, as_of) - lot.points_excused)
        if part > 0:
            excused += part
            owed[lot.earned_by] -= part
            changed[lot.lot_number] = lot._replace(points_excused=lot.points_excused + part)
    is_pending_only = program.clawback.policy is ClawbackPolicy.PENDING_ONLY
    sources = [lot for lot in own if not lot.is_due(as_of) and (lot.is_pending or not is_pending_only)]
    found, allocations, uncovered = _take_from_own(sources, owed)
    if not is_pending_only and uncovered:
        numbers = {lot.lot_number for lot in own}
        others = (lot for lot in lots.values() if lot.lot_number not in numbers and lot.is_spendable(as_of))
        more, taken, uncovered = take(in_spending_order(others), uncovered)
        found, allocations = found + more, allocations + taken
    pending = sum(-part.points for part in allocations if lots[part.lot_number].is_pending)
    changed |= {lot.lot_number: lot for lot in found}
    return _Taken(changed, tuple(allocations), pending, excused, uncovered)


def _take_from_own(own: Sequence[Lot], owed: Mapping[str, int]) -> tuple[list[Lot], list[Allocation], int]:
    """Take from each lot of the order what it owes, then what others of them owe and no longer hold."""
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
        [Allocation(lot.lot_number, -part, lot.expires_at) for lot, part in taken],
        uncovered,
    )


def _expired_points(own: Lot, as_of: datetime) -> int:
    """What has expired of the lot, also when the expiry job has not run yet."""
    return own.points_expired + (own.points_remaining if own.is_due(as_of) else 0)


def _entry(
    after: Account, posted: PostedOrder, result: PostedRefund, taken: _Taken, shortfall: int, target: Entitlement
) -> Entry:
    why = {**target.why, "points_entitled_before": posted.points_entitled, "points_entitled_after": target.points}
    if result.points_excused:
        why["points_excused_as_expired"] = result.points_excused
    if result.points_shortfall:
        why["points_shortfall"] = result.points_shortfall
    return Entry(
        account_id=after.account_id,
        sequence=after.sequence,
        kind=EntryKind.CLAWBACK,
        points=taken.pending - result.points_taken,
        balance_after=after.balance,
        lifetime_points_after=after.lifetime_points,
        deficit_change=taken.uncovered - shortfall,
        occurred_at=result.refund.occurred_at,
        allocations=taken.allocations,
        source=posted.order.source,
        order_id=posted.order.order_id,
        refund_id=result.refund.refund_id or None,
        corrects_sequence=posted.sequence,
        why=why,
        pending_change=-taken.pending,
        pending_after=after.pending,
    )
