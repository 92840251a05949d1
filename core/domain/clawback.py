"""What a refund does to the account of its order: post the difference to what the order should have earned."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from core.domain.earning import Entitlement, entitlement
from core.domain.ledger import Account, Decision, Entry, EntryKind, PostedOrder, PostedRefund, debit
from core.domain.lots import Allocation, Lot, in_spending_order, take
from core.domain.orders import Refund
from core.domain.program import ClawbackPolicy, Program
from core.domain.tiers import qualify


def decide_clawback(
    account: Account | None,
    lots: Mapping[int, Lot],
    posted: PostedOrder,
    known: Sequence[Refund],
    refund: Refund,
    program: Program,
    current: Program,
    as_of: datetime,
) -> Decision:
    """Take back what the order no longer earns with `refund`, `known` being the refunds posted before it.

    `lots` holds the account's open lots and the order's own; `program` is the version frozen with the order,
    `current` the one in force now, which rules the tiers. Points of the order that have expired already are excused,
    not taken a second time. The rest is taken from the order's own lot first, then from the soonest expiring; what no
    lot covers follows the program's policy. A guest's order has no account.
    """
    if account is None or posted.tier_id is None:
        return Decision(order=posted, refund=PostedRefund(refund, 0, 0, 0, 0))
    target = entitlement(posted.order, (*known, refund), program, posted.tier_id)
    due = posted.points_entitled - target.points
    assert due >= 0, "another refund cannot raise an entitlement"
    own = lots.get(posted.lot_number) if posted.lot_number is not None else None
    excused = min(due, _expired_points(own, as_of) - posted.points_excused) if own else 0
    changed, allocations, uncovered = take(_sources(lots, own, program, as_of), due - excused)
    shortfall = 0 if program.clawback.policy is ClawbackPolicy.ALLOW_NEGATIVE else uncovered
    result = PostedRefund(refund, due, due - excused - shortfall, excused, shortfall)
    after, tier_changes = qualify(account, -due, posted.order.occurred_at, current)
    entries: tuple[Entry, ...] = ()
    if result.points_taken:
        after = debit(after, result.points_taken, uncovered=uncovered - shortfall)
        after = after._replace(lifetime_points=after.lifetime_points - result.points_taken)
        entries = (_entry(after, posted, result, uncovered - shortfall, allocations, target),)
    return Decision(
        account=after,
        entries=entries,
        lots=tuple(changed),
        tier_changes=tier_changes,
        order=posted._replace(
            points_entitled=target.points,
            points_excused=posted.points_excused + excused,
            points_shortfall=posted.points_shortfall + shortfall,
        ),
        refund=result,
    )


def _expired_points(own: Lot, as_of: datetime) -> int:
    """What has expired of the lot, also when the expiry job has not run yet."""
    return own.points_expired + (own.points_remaining if own.is_due(as_of) else 0)


def _sources(lots: Mapping[int, Lot], own: Lot | None, program: Program, as_of: datetime) -> Iterator[Lot]:
    """The lots to take from, in order: the order's own, pending or not, then the others as they would be spent.

    The others are looked at only when they are needed: an account that all of a shop's passers-by share has thousands.
    """
    is_pending_only = program.clawback.policy is ClawbackPolicy.PENDING_ONLY
    if own is not None and not own.is_due(as_of) and (own.available_at > as_of or not is_pending_only):
        yield own
    if not is_pending_only:
        yield from in_spending_order(lot for lot in lots.values() if lot is not own and lot.is_spendable(as_of))


def _entry(
    after: Account,
    posted: PostedOrder,
    result: PostedRefund,
    deficit_change: int,
    allocations: Sequence[Allocation],
    target: Entitlement,
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
        points=-result.points_taken,
        balance_after=after.balance,
        lifetime_points_after=after.lifetime_points,
        deficit_change=deficit_change,
        occurred_at=result.refund.occurred_at,
        allocations=tuple(allocations),
        source=posted.order.source,
        order_id=posted.order.order_id,
        refund_id=result.refund.refund_id,
        corrects_sequence=posted.sequence,
        why=why,
    )
