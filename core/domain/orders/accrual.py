"""What a completed order does to its account."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from core.domain.expiry.dates import available_at, ends_at, slid
from core.domain.expiry.due import Change, release
from core.domain.ledger import (
    POINTS_MAX,
    Account,
    Credited,
    Decision,
    Entry,
    EntryKind,
    Frozen,
    NewLot,
    PostedOrder,
    TierChange,
    credit,
)
from core.domain.lots import Allocation, Lot
from core.domain.orders.earning import Earning, Entitlement
from core.domain.orders.facts import Order
from core.domain.orders.limits import Budget, Usage, budget_changes, freeze, usage_changes
from core.domain.outcomes import Parked, Reason
from core.domain.program import Circumstances, CrossingOrder, Program, UsageKey
from core.domain.tiers.qualification import Counted, TierHistoryEntry, qualify, review_overdue, tier_at

_UNUSED: Mapping[UsageKey, Usage] = MappingProxyType({})
_UNSPENT: Mapping[str, Budget] = MappingProxyType({})
_PLAIN = Frozen()


class Known(NamedTuple):
    """What is known of an account, beside itself, when an order of it is posted. Each part only where it is needed."""

    history: Sequence[TierHistoryEntry] = ()  #: its tier changes, oldest first
    counted: Sequence[Counted] = ()  #: its recorded orders, where a qualification period reaches back to them
    lots: Sequence[
        Lot
    ] = ()  #: its open lots, where an activity moves their end, or it has pending points and a deficit
    usages: Mapping[UsageKey, Usage] = _UNUSED
    budgets: Mapping[str, Budget] = _UNSPENT


class _Settled(NamedTuple):
    """What an order is at one tier, and the account with what it counts."""

    tier_id: str
    frozen: Frozen
    earned: Entitlement
    account: Account
    upgrades: tuple[TierChange, ...]


class _Granted(NamedTuple):
    """What an order's points do to its account."""

    account: Account
    entries: tuple[Entry, ...]
    lots: tuple[Lot, ...]
    sequence: int | None = None  #: of its own entry
    lot_number: int | None = None  #: the first that it opened


def decide_guest_order(order: Order, program: Program, version: int) -> Decision:
    """Record an order without a customer: it earns nothing, but its refunds are known for what they are."""
    return Decision(order=PostedOrder(order, program.program_id, version, None, None, None, None, 0, 0, 0))


def decide_accrual(
    account: Account,
    known: Known,
    order: Order,
    program: Program,
    version: int,
    current: Program,
    *,
    as_of: datetime,
) -> Decision:
    """Grant the order's points, in the tier in force before it, and count them for the tier after it.

    `program` is the version in force when the order occurred, `current` the one in force now, which rules the tiers and
    how activity moves the end of points. Rules, tier and limits are judged here and frozen with the order. An order
    that earns nothing is recorded without an entry. Points are available as the program says; at once means also when
    the order's time is a little ahead of `as_of`.
    """
    before = account._replace(
        orders_posted=account.orders_posted + 1, enrolled_at=account.enrolled_at or order.occurred_at
    )
    account, reviews = review_overdue(before, order.occurred_at, current, known.counted)
    settled = _settle(account, known, order, program, current)
    earned = settled.earned
    if earned.points:
        done = _grant(settled.account, known.lots, order, program, current, earned, as_of)
        changes = reviews + settled.upgrades
    else:
        moved = slid(known.lots, current, order.occurred_at, as_of)
        # A review that was overdue is left to its own run, where nothing of this counts.
        is_counted = settled.account != account
        done = _Granted(settled.account if is_counted else before, (), moved)
        changes = reviews + settled.upgrades if is_counted else ()
    return Decision(
        done.account, done.entries, done.lots, changes,
        order=PostedOrder(
            order, program.program_id, version, settled.tier_id, account.account_id, done.sequence, done.lot_number,
            earned.points, 0, 0, settled.frozen, earned.qualifying,
        ),
        usages=usage_changes(program, account.account_id, order, settled.frozen, None, earned),
        budgets=budget_changes(program, None, earned),
        given=earned.given,
    )  # fmt: skip


def accrual_problem(decision: Decision) -> Parked | None:
    """Why what `decide_accrual` decided may not be posted: more points than anybody can have meant."""
    account, posted = decision.account, decision.order
    if account is None or posted is None:
        return None
    if max(account.balance + account.pending, account.lifetime_points, account.qualifying_points) <= POINTS_MAX:
        return None
    detail = (
        f"the order earns {posted.points_entitled:,} points, and its account would come to more than {POINTS_MAX:,}; "
        f"check the order's amounts and the rates of program {posted.program_id}"
    )
    return Parked(Reason.TOO_MANY_POINTS, detail)


def _settle(account: Account, known: Known, order: Order, program: Program, current: Program) -> _Settled:
    """Find the tier that the order earns at, and the one that it leads to."""
    tier_id = tier_at(account, known.history, order.occurred_at, program)
    settled = _settle_at(tier_id, account, known, order, program, current)
    reached_id = settled.account.tier_id
    if (
        settled.upgrades
        and current.qualification.crossing_order is CrossingOrder.NEW_TIER
        and program.tier(reached_id) is not None
        and program.rank(reached_id) > program.rank(tier_id)  # a late order may be from a time in a still higher one
    ):
        there = _settle_at(reached_id, account, known, order, program, current)
        # Where the new tier earns less, the order might not reach it with that.
        return there if there.upgrades else settled
    return settled


def _settle_at(
    tier_id: str, account: Account, known: Known, order: Order, program: Program, current: Program
) -> _Settled:
    frozen, earned = _earned(account, known, order, program, tier_id)
    qualified, upgrades = qualify(account, earned.qualifying, order.occurred_at, current, known.counted)
    return _Settled(tier_id, frozen, earned, qualified, upgrades)


def _earned(account: Account, known: Known, order: Order, program: Program, tier_id: str) -> tuple[Frozen, Entitlement]:
    """What is frozen with the order, and what it earns by that."""
    if program.is_plain:
        return _PLAIN, Earning(order, program, tier_id).after(())
    local = order.occurred_at.astimezone(program.zone)
    # An earlier release did not count orders, but its accounts have entries.
    is_first = account.orders_posted == 1 and account.sequence == 0
    circumstances = Circumstances(order, local, tier_id, is_first_order=is_first)
    places = program.concerning.places(order.lines)
    frozen = freeze(program, circumstances, known.usages, known.budgets, places)
    return frozen, Earning(order, program, tier_id, frozen, places).after(())


def _grant(
    account: Account,
    lots: Sequence[Lot],
    order: Order,
    program: Program,
    current: Program,
    earned: Entitlement,
    as_of: datetime,
) -> _Granted:
    """Credit what the order earned. `lots` are the account's, as far as they are known."""
    # What had to become available meanwhile pays off a deficit before this order does, whether or not its run came.
    released = release(account, lots, as_of) if account.deficit else Change(account, (), ())
    by_number = {lot.lot_number: lot for lot in (*lots, *released.lots)}
    moved = slid(by_number.values(), current, order.occurred_at, as_of)
    by_number |= {lot.lot_number: lot for lot in moved}
    credited = credit(released.account, _new_lots(order, program, earned, by_number.values(), as_of), as_of)
    entry = _entry(credited.account, order, earned, credited)
    lot_number = credited.lots[0].lot_number if credited.lots else None
    changed = {lot.lot_number: lot for lot in (*released.lots, *moved, *credited.lots)}
    return _Granted(credited.account, (*released.entries, entry), tuple(changed.values()), entry.sequence, lot_number)


def _new_lots(
    order: Order, program: Program, earned: Entitlement, lots: Iterable[Lot], as_of: datetime
) -> list[NewLot]:
    """The terms of what is granted."""
    available = available_at(program.availability, order.occurred_at, as_of)
    return [
        NewLot(grant.points, available, ends_at(program, grant.earned_by, available, lots, as_of), grant.earned_by)
        for grant in earned.grants
    ]


def _entry(after: Account, order: Order, earned: Entitlement, credited: Credited) -> Entry:
    return Entry(
        account_id=after.account_id,
        sequence=after.sequence,
        kind=EntryKind.ACCRUAL,
        points=credited.available,
        balance_after=after.balance,
        lifetime_points_after=after.lifetime_points,
        deficit_change=-credited.paid_off,
        occurred_at=order.occurred_at,
        allocations=tuple(Allocation(lot.lot_number, lot.points_granted, lot.expires_at) for lot in credited.lots),
        source=order.source,
        order_id=order.order_id,
        refund_id=None,
        corrects_sequence=None,
        why=earned.why,
        pending_change=credited.held,
        pending_after=after.pending,
    )
