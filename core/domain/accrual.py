"""What a completed order does to its account."""

from collections.abc import Sequence
from datetime import datetime

from core.domain.earning import Entitlement, entitlement
from core.domain.expiry import expires_at
from core.domain.ledger import Account, Decision, Entry, EntryKind, PostedOrder, credit
from core.domain.lots import Allocation, Lot
from core.domain.orders import Order
from core.domain.program import Program
from core.domain.tiers import TierHistoryEntry, qualify, review_overdue, tier_at


def decide_guest_order(order: Order, program: Program, version: int) -> Decision:
    """Record an order without a customer: it earns nothing, but its refunds are known for what they are."""
    return Decision(order=PostedOrder(order, program.program_id, version, None, None, None, None, 0, 0, 0))


def decide_accrual(
    account: Account,
    history: Sequence[TierHistoryEntry],
    order: Order,
    program: Program,
    version: int,
    current: Program,
    *,
    as_of: datetime,
) -> Decision:
    """Grant the order's points, in the tier in force before it, and count them for the tier after it.

    `program` is the version in force when the order occurred, `current` the one in force now, which rules the tiers.
    An order that earns nothing is recorded without an entry. Rules and tier are frozen with the order. Points are
    available at once, also when the order's time is a little ahead of `as_of`.
    """
    account, reviews = review_overdue(account, order.occurred_at, current)
    tier_id = tier_at(account, history, order.occurred_at, program)
    earned = entitlement(order, (), program, tier_id)
    posted = PostedOrder(
        order, program.program_id, version, tier_id, account.account_id, None, None, earned.points, 0, 0
    )
    if earned.points == 0:
        return Decision(order=posted)  # a review that was overdue is left to its own run
    qualified, upgrades = qualify(account, earned.points, order.occurred_at, current)
    available_at = min(order.occurred_at, as_of)  # the shop's clock may be ahead of ours
    after, lot, deficit_change = credit(
        qualified, earned.points, available_at=available_at, expires_at=expires_at(program, available_at)
    )
    after = after._replace(lifetime_points=account.lifetime_points + earned.points)
    entry = _entry(after, order, earned, deficit_change, lot)
    return Decision(
        account=after,
        entries=(entry,),
        lots=(lot,) if lot else (),
        tier_changes=reviews + upgrades,
        order=posted._replace(sequence=entry.sequence, lot_number=lot.lot_number if lot else None),
    )


def _entry(after: Account, order: Order, earned: Entitlement, deficit_change: int, lot: Lot | None) -> Entry:
    return Entry(
        account_id=after.account_id,
        sequence=after.sequence,
        kind=EntryKind.ACCRUAL,
        points=earned.points,
        balance_after=after.balance,
        lifetime_points_after=after.lifetime_points,
        deficit_change=deficit_change,
        occurred_at=order.occurred_at,
        allocations=(Allocation(lot.lot_number, lot.points_granted, lot.expires_at),) if lot else (),
        source=order.source,
        order_id=order.order_id,
        refund_id=None,
        corrects_sequence=None,
        why=earned.why,
    )
