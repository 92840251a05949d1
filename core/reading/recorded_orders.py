"""One order for people: its facts, what was frozen with it, and all that came about it. Locks and changes nothing."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Frozen
from core.domain.orders.clawback import whole_refund
from core.domain.orders.facts import Cancellation, Order, Refund
from core.messages.inbound.reading import StoredRefund, read_attributes, read_lines, read_stored_event, read_tags
from core.store.engine import run_bulk
from core.store.frozen import read_frozen


class TakenBack(NamedTuple):
    """A refund of an order, or its cancellation, with what became of the points that it claimed."""

    refund: Refund  #: a cancellation is as good as a refund of everything; it has no id
    is_cancellation: bool
    recorded_at: datetime
    points_due: int
    points_taken: int
    points_excused: int
    points_shortfall: int


class RecordedOrder(NamedTuple):
    """An order as it is recorded, with what came about it."""

    order: Order
    program_id: str
    program_version: int  #: frozen with it
    tier_id: str  #: the tier that it earned in
    account_id: UUID
    sequence: int | None  #: its accrual entry; None when it earned nothing
    points_entitled: int  #: as it is now
    frozen: Frozen
    is_first: bool  #: no other order of the account was posted before it
    recorded_at: datetime
    fulfilled_at: datetime | None
    cancelled_at: datetime | None
    taken_back: tuple[TakenBack, ...]  #: in the order in which they were posted


_ORDERS = """
SELECT o.source, o.order_id, o.customer_id, o.currency, o.occurred_at, o.lines::text, o.points_paid,
       o.attributes::text, o.customer_tags::text, o.program_id, o.program_version, o.tier_id, o.account_id, o.sequence,
       o.points_entitled, o.frozen::text,
       NOT EXISTS (SELECT FROM orders e WHERE e.account_id = o.account_id
                   AND (e.recorded_at, e.inbox_id) < (o.recorded_at, o.inbox_id)),
       o.recorded_at,
       (SELECT v.occurred_at FROM order_events v WHERE v.kind = 'fulfilled' AND v.recorded_at <= %s
        AND (v.source, v.order_id, v.program_id) = (o.source, o.order_id, o.program_id)),
       (SELECT v.occurred_at FROM order_events v WHERE v.kind = 'cancelled' AND v.recorded_at <= %s
        AND (v.source, v.order_id, v.program_id) = (o.source, o.order_id, o.program_id))
FROM orders o
WHERE o.account_id = ANY(%s) AND o.order_id = %s AND o.recorded_at <= %s AND o.tier_id IS NOT NULL
ORDER BY o.program_id, o.source
"""


def load_recorded_orders(
    connection: Connection, account_ids: Collection[UUID], order_id: str, as_of: datetime
) -> list[RecordedOrder]:
    """The orders of that id of these accounts, by program and source, with what was recorded by `as_of`."""
    rows = run_bulk(connection, _ORDERS, (as_of, as_of, list(account_ids), order_id, as_of))
    return [_recorded(connection, row, as_of) for row in rows]


def _recorded(connection: Connection, row: tuple[Any, ...], as_of: datetime) -> RecordedOrder:
    source, order_id, customer_id, currency, occurred_at, lines, points_paid, attributes, tags, program_id = row[:10]
    version, tier_id, account_id, sequence, entitled, frozen, *rest = row[10:]
    order = Order(
        source, order_id, customer_id, currency, occurred_at, read_lines(lines), points_paid,
        read_attributes(attributes), read_tags(tags),
    )  # fmt: skip
    taken_back = tuple(_load_taken_back(connection, (source, order_id, program_id), as_of))
    values = (order, program_id, version, tier_id, account_id, sequence, entitled, read_frozen(frozen), *rest)
    return RecordedOrder._make((*values, taken_back))


_TAKEN_BACK = """
SELECT body, occurred_at, recorded_at, points_due, points_taken, points_excused, points_shortfall, inbox_id
FROM refunds WHERE (source, order_id, program_id) = (%s, %s, %s) AND recorded_at <= %s
UNION ALL
SELECT NULL, occurred_at, recorded_at, points_due, points_taken, points_excused, points_shortfall, inbox_id
FROM order_events WHERE (source, order_id, program_id) = (%s, %s, %s) AND recorded_at <= %s AND kind = 'cancelled'
ORDER BY recorded_at, inbox_id
"""


def _load_taken_back(connection: Connection, key: tuple[str, str, str], as_of: datetime) -> list[TakenBack]:
    found = []
    for body, occurred_at, *values, _ in run_bulk(connection, _TAKEN_BACK, (*key, as_of, *key, as_of)):
        if body is None:
            refund = whole_refund(Cancellation(key[0], key[1], occurred_at))
        else:
            event = read_stored_event(body)
            assert isinstance(event, StoredRefund)
            refund = event.refund
        found.append(TakenBack(refund, body is None, *values))
    return found
