"""One order for people: its facts, what was frozen with it, and all that came about it. Locks and changes nothing."""

from collections.abc import Collection
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import from_json
from sqlalchemy import Connection

from core.domain.orders.facts import LinePart, Order, Refund
from core.domain.orders.posted import (
    Judgement,
    OrderEventKind,
    PostedOrder,
    PostedOrderEvent,
    amendment_of,
    cancelled_part,
    refund_event_key,
)
from core.messages.inbound.order_facts import order_of
from core.store.engine import run_bulk
from core.store.ledger import ORDER_EVENTS, ORDERS, REFUNDS


class PartRefund(NamedTuple):
    """A refund of an order, or a cancellation, with what became of the points that it claimed."""

    refund: Refund  #: a cancellation is as good as a refund of everything, or of its lines; it has no id
    is_cancellation: bool
    recorded_at: datetime
    points_due: int
    points_taken: int
    points_excused: int
    points_shortfall: int


class FulfilledPart(NamedTuple):
    """Lines of an order that were fulfilled before the rest."""

    occurred_at: datetime
    lines: tuple[LinePart, ...]


class UndoneRefund(NamedTuple):
    """A refund that did not happen after all."""

    refund_id: str
    occurred_at: datetime  #: when that was known


class CountedBefore(NamedTuple):
    """An order that counts as one of its customer."""

    order_id: str
    occurred_at: datetime


class RecordedOrder(NamedTuple):
    """An order as it is recorded, with what came about it."""

    order: Order  #: as its newest revision has it
    revision: int  #: of that; 0: as it came first
    program_id: str
    program_version: int  #: frozen with it
    tier_id: str  #: the tier that it earned in
    account_id: UUID
    sequence: int | None  #: its accrual entry; None when it earned nothing
    points_entitled: int  #: as it is now
    judgement: Judgement
    counted_before: CountedBefore | None  #: the earliest that counts of the customer's orders that were posted before
    recorded_at: datetime
    fulfilled_at: datetime | None
    cancelled_at: datetime | None
    taken_back: tuple[PartRefund, ...]  #: in the order in which they were posted
    fulfilled_parts: tuple[FulfilledPart, ...]  #: by their times
    undone: tuple[UndoneRefund, ...]  #: refunds that did not happen after all, by the times when that was known


_ORDERS = f"""
SELECT b.order_id, b.occurred_at, o.recorded_at,
       (SELECT v.occurred_at FROM order_events v WHERE v.kind = 'fulfilled' AND v.event_key = '' AND v.recorded_at <= %s
        AND (v.source, v.order_id, v.program_id) = (o.source, o.order_id, o.program_id)),
       (SELECT v.occurred_at FROM order_events v WHERE v.kind = 'cancelled' AND v.event_key = '' AND v.recorded_at <= %s
        AND (v.source, v.order_id, v.program_id) = (o.source, o.order_id, o.program_id)), {ORDERS.select("o")}
FROM orders o
LEFT JOIN LATERAL (
    SELECT e.order_id, e.occurred_at FROM orders e
    WHERE e.account_id = o.account_id AND e.is_counted AND (e.recorded_at, e.inbox_id) < (o.recorded_at, o.inbox_id)
    ORDER BY e.occurred_at LIMIT 1
) AS b ON true
WHERE o.account_id = ANY(%s) AND o.order_id = %s AND o.recorded_at <= %s AND o.tier_id IS NOT NULL
ORDER BY o.program_id, o.source
"""  # noqa: S608  # our own names


def load_recorded_orders(
    connection: Connection, account_ids: Collection[UUID], order_id: str, as_of: datetime
) -> list[RecordedOrder]:
    """The orders of that id of these accounts, by program and source, with what was recorded by `as_of`."""
    rows = run_bulk(connection, _ORDERS, (as_of, as_of, list(account_ids), order_id, as_of))
    return [_recorded(connection, row, as_of) for row in rows]


def _recorded(connection: Connection, row: tuple[Any, ...], as_of: datetime) -> RecordedOrder:
    *before, recorded_at, fulfilled_at, cancelled_at = row[:5]
    values = row[5:]
    counted_before = CountedBefore(*before) if before[0] is not None else None
    posted = _as_revised(connection, ORDERS.read(values), as_of)
    assert posted.account_id is not None
    assert posted.tier_id is not None
    undone = _load_events(connection, posted, OrderEventKind.REFUND_REVERTED, as_of)
    taken_back = _load_taken_back(connection, posted, as_of, {event.event_key for event in undone})
    return RecordedOrder(
        posted.current, 0 if posted.amendment is None else posted.amendment.revision, posted.program_id,
        posted.program_version, posted.tier_id, posted.account_id, posted.sequence, posted.points_entitled,
        posted.judged, counted_before, recorded_at, fulfilled_at, cancelled_at, tuple(taken_back),
        tuple(_load_fulfilled_parts(connection, posted, as_of)),
        tuple(UndoneRefund(event.event_key.split("\t")[1], event.occurred_at) for event in undone),
    )  # fmt: skip


_OF_ORDER = "(t.{source}, t.order_id, t.program_id) = (%s, %s, %s) AND t.recorded_at <= %s"
_REFUNDS = f"""
SELECT t.recorded_at, t.inbox_id, {REFUNDS.select("t")} FROM refunds t WHERE {_OF_ORDER.format(source="order_source")}
"""  # noqa: S608  # our own names
_EVENTS = f"""
SELECT t.recorded_at, t.inbox_id, {ORDER_EVENTS.select("t")}
FROM order_events t WHERE {_OF_ORDER.format(source="source")} AND t.kind = %s
"""  # noqa: S608  # our own names


_REVISIONS = f"""
SELECT t.content::text
FROM order_events t WHERE {_OF_ORDER.format(source="source")} AND t.kind = 'amended'
ORDER BY (t.content->>'revision')::integer DESC LIMIT 1
"""  # noqa: S608  # our own names


def _as_revised(connection: Connection, posted: PostedOrder, as_of: datetime) -> PostedOrder:
    """The order as the newest revision had it that was recorded by `as_of`."""
    newest = posted.amendment
    if newest is None:
        return posted
    found = run_bulk(connection, _REVISIONS, (*posted.key, posted.program_id, as_of))
    if not found:
        return posted._replace(amendment=None)
    data = from_json(found[0][0])
    if data["revision"] == newest.revision:
        return posted
    then = order_of(posted.order.source, posted.order.occurred_at, data)
    return posted._replace(amendment=amendment_of(data["revision"], then, newest.judgement))


def _load_events(
    connection: Connection, posted: PostedOrder, kind: OrderEventKind, as_of: datetime
) -> list[PostedOrderEvent]:
    """What is recorded of one kind of event of an order, by their own times."""
    parameters = (*posted.key, posted.program_id, as_of, kind.value)
    found = [ORDER_EVENTS.read(values) for _, _, *values in run_bulk(connection, _EVENTS, parameters)]
    return sorted(found, key=lambda event: event.occurred_at)


def _load_taken_back(
    connection: Connection, posted: PostedOrder, as_of: datetime, undone: Collection[str]
) -> list[PartRefund]:
    parameters = (*posted.key, posted.program_id, as_of)
    found: list[tuple[datetime, int, PartRefund]] = []
    for recorded_at, inbox_id, *values in run_bulk(connection, _REFUNDS, parameters):
        reported = REFUNDS.read(values)
        if refund_event_key(reported.refund.source, reported.refund.refund_id) in undone:
            continue
        found.append((recorded_at, inbox_id, PartRefund(reported.refund, False, recorded_at, *reported.recovery)))
    for recorded_at, inbox_id, *values in run_bulk(connection, _EVENTS, (*parameters, OrderEventKind.CANCELLED.value)):
        event = ORDER_EVENTS.read(values)
        refund = cancelled_part(posted, event.occurred_at, event.lines)
        found.append((recorded_at, inbox_id, PartRefund(refund, True, recorded_at, *event.recovery)))
    return [taken for *_, taken in sorted(found, key=itemgetter(0, 1))]


def _load_fulfilled_parts(connection: Connection, posted: PostedOrder, as_of: datetime) -> list[FulfilledPart]:
    found = _load_events(connection, posted, OrderEventKind.FULFILLED, as_of)
    return [FulfilledPart(event.occurred_at, event.lines) for event in found if event.lines]
