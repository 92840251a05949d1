"""Points that wait for the fulfilment of their order: how many do, and how they become available part by part.

What is fulfilled is available as if only that had been bought. How much waits follows from the order, its refunds and
what is fulfilled of it; so it cannot matter in which order these came.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange
from core.domain.expiry.dates import available_by_fulfilment, expiries_begun_by, new_expiry
from core.domain.ledger import Account, Entry, EntryKind, entry_between
from core.domain.lots import Allocation, AllocationKind, Lot, SharedExpiry, room_in, taken_from
from core.domain.orders.basket import Basket
from core.domain.orders.earning import Entitlement
from core.domain.orders.facts import LinePart, Order
from core.domain.orders.parts import given_back
from core.domain.orders.posted import OrderEventKind, PostedOrder, PostedOrderEvent, in_full
from core.domain.orders.taking import surplus_of, waits
from core.domain.orders.units import number_of, units_of
from core.domain.program import Program
from core.domain.reports import KeptOrder


class Held(NamedTuple):
    """What waits of an order that is fulfilled in part."""

    by_earner: Mapping[str, int]  #: points that wait for the rest, by what earned them
    points_available: int  #: what is fulfilled earns
    fulfilled_at: datetime  #: the last part
    is_counted: bool  #: whether the order counts, as it is now

    @property
    def points(self) -> int:
        """All that wait for the rest."""
        return sum(self.by_earner.values())


def held_of(
    posted: PostedOrder, program: Program, kept: KeptOrder, target: Entitlement, events: Iterable[PostedOrderEvent]
) -> Held | None:
    """What waits of what the order earns; None where nothing waits for parts of it.

    `kept` is what is kept of it, `target` what that earns, and `events` all that happened to the order.
    """
    parts = [event for event in events if event.kind is OrderEventKind.FULFILLED and event.lines]
    if not parts or posted.fulfilled_at is not None or not program.availability.is_by_fulfilment:
        return None
    fulfilled = fulfilled_pieces(posted.current, parts)
    rest = _rest(posted.current, kept.basket, fulfilled)
    available = target
    if rest:
        whole = in_full(posted, posted.order.occurred_at)
        available = kept.earning.of(kept.basket.plus(given_back(whole, posted.current, rest)))
    left = max(0, target.points - available.points)
    of_fulfilled = dict(available.grants)
    by_earner: dict[str, int] = {}
    for earned_by, points in target.grants:
        by_earner[earned_by] = min(left, max(0, points - of_fulfilled.get(earned_by, 0)))
        left -= by_earner[earned_by]
    return Held(by_earner, available.points, max(event.occurred_at for event in parts), target.is_counted)


def fulfilled_pieces(order: Order, parts: Iterable[PostedOrderEvent]) -> dict[str, Decimal]:
    """How many pieces of each line are fulfilled, at most what was ordered."""
    ordered = {line.line_id: line.quantity for line in order.lines}
    found: dict[str, Decimal] = {}
    for line_id, quantity in (part for event in parts for part in event.lines):
        most = ordered.get(line_id)
        if most is not None:
            found[line_id] = most if quantity is None else min(most, found.get(line_id, Decimal(0)) + quantity)
    return found


def _rest(order: Order, kept: Basket, fulfilled: Mapping[str, Decimal]) -> list[LinePart]:
    """What is kept of the lines and not fulfilled."""
    rest = []
    for place, line in enumerate(order.lines):
        more = kept.line_quantity(place) - units_of(fulfilled.get(line.line_id, Decimal(0)))
        if more > 0:
            rest.append(LinePart(line.line_id, number_of(more)))
    return rest


class Rebalancing(NamedTuple):
    """An order's lots, of which so many points are to wait, and on which terms others become available."""

    posted: PostedOrder
    program: Program  #: that judged it
    held: Held
    own: Sequence[Lot]
    fulfilled_at: datetime  #: from which what becomes available does so
    occurred_at: datetime
    as_of: datetime
    expiries: tuple[SharedExpiry, ...] = ()  #: shared ones that have begun or moved with what came before


def rebalanced(books: Books, account: Account, of: Rebalancing) -> AccountChange:
    """Make available what waits beyond what is held, or let points wait again that are available and are not due yet.

    What becomes available has lots of its own.
    """
    waiting = [lot for lot in of.own if waits(lot)]
    beyond = sum(lot.points_remaining for lot in waiting) - of.held.points
    if beyond > 0:
        return _released(books, account, of, surplus_of(waiting, of.held.by_earner, beyond))
    return _held_again(account, of, waiting, -beyond) if beyond else AccountChange(account)


def _released(books: Books, account: Account, of: Rebalancing, parts: Iterable[tuple[Lot, int]]) -> AccountChange:
    program, as_of, posted = of.program, of.as_of, of.posted
    available = available_by_fulfilment(program.availability, posted.order.occurred_at, of.fulfilled_at, as_of)
    is_pending = available > as_of
    shared: dict[int, SharedExpiry] = {}
    if program.has_inactivity:
        shared = {each.expires_with: each for each in (*books.expiries(account), *of.expiries)}
    moved: dict[int, SharedExpiry] = {}
    number, deficit, released = account.lots_opened, account.deficit, 0
    changed: list[Lot] = []
    opened: list[Lot] = []
    allocations: list[Allocation] = []
    for lot, points in parts:
        changed.append(lot._replace(points_remaining=lot.points_remaining - points))
        allocations.append(taken_from(lot, points))
        released += points
        left = points if is_pending else points - min(points, deficit)
        deficit -= points - left
        if not left:
            continue
        number += 1
        new = new_expiry(program, lot.earned_by, available, shared.values(), as_of, is_counted=of.held.is_counted)
        expires_with = number if new.expires_with == 0 else new.expires_with
        opened.append(
            Lot(
                number, account.sequence + 1, lot.origin, left, left, 0, available, new.expires_at, lot.earned_by,
                is_pending, expires_with=expires_with,
            )
        )  # fmt: skip
        if new.moved is not None:
            shared[new.moved.expires_with] = moved[new.moved.expires_with] = new.moved
        shared |= {each.expires_with: each for each in expiries_begun_by(opened[-1:])}
    allocations += [
        Allocation(lot.lot_number, AllocationKind.OPENED, lot.points_granted, lot.expires_at) for lot in opened
    ]
    now = 0 if is_pending else released
    after = account._replace(
        sequence=account.sequence + 1,
        lots_opened=number,
        balance=account.balance + now,
        pending=account.pending - now,
        deficit=deficit,
    )
    named = [] if is_pending else [lot.lot_number for lot in opened]
    entry = _entry(account, after, of, allocations, named)
    begun = expiries_begun_by(opened)
    return AccountChange(after, (entry,), (*changed, *opened), expiries=tuple(moved.values()), expiries_begun=begun)


def _held_again(account: Account, of: Rebalancing, waiting: Sequence[Lot], points: int) -> AccountChange:
    lots = {lot.lot_number: lot for lot in waiting}
    sources: list[Allocation] = []
    returned: dict[int, int] = {}
    available = 0
    for lot in reversed([lot for lot in of.own if not waits(lot) and not lot.is_due(of.as_of)]):
        part = 0
        for into in sorted(waiting, key=lambda each: each.earned_by != lot.earned_by):  # used at once
            number = into.lot_number
            had = lots[number]
            more = min(points, lot.points_remaining - part, room_in(had))
            if more:
                lots[number] = had._replace(points_remaining=had.points_remaining + more)
                returned[number] = returned.get(number, 0) + more
                part, points = part + more, points - more
        if part:
            lots[lot.lot_number] = lot._replace(points_remaining=lot.points_remaining - part)
            sources.append(taken_from(lot, part))
            available += 0 if lot.is_pending else part
    if not sources:
        return AccountChange(account)
    returns = [
        Allocation(number, AllocationKind.RETURNED, part, lots[number].expires_at) for number, part in returned.items()
    ]
    after = account._replace(
        sequence=account.sequence + 1, balance=account.balance - available, pending=account.pending + available
    )
    return AccountChange(after, (_entry(account, after, of, [*sources, *returns], []),), tuple(lots.values()))


def _entry(
    before: Account, after: Account, of: Rebalancing, allocations: Sequence[Allocation], named: Sequence[int]
) -> Entry:
    source, order_id = of.posted.key
    why: dict[str, Any] = {
        "lots": list(named),
        "points_available": of.held.points_available,
        "points_waiting": of.held.points,
    }
    return entry_between(
        before, after, EntryKind.RELEASE, of.occurred_at, allocations, why, source=source, order_id=order_id
    )
