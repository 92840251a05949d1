"""All that is recorded of a program's orders, in the order in which it happened: a stream, without locks."""

from collections.abc import Iterator
from datetime import datetime
from heapq import merge
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import from_json
from sqlalchemy import Connection, text

from core.domain.orders.facts import (
    AmendedOrder,
    Cancellation,
    Fulfilment,
    Order,
    OrderClaim,
    Refund,
    RefundReversion,
    Return,
)
from core.domain.orders.posted import OrderEventKind
from core.messages.inbound.order_facts import amended_order_of, claim_of
from core.store.engine import stream_rows
from core.store.ledger import ORDER_FACTS, REFUND_FACTS, read_parts
from core.store.returns import RETURN_FACTS

Message = Order | Refund | Fulfilment | Cancellation | AmendedOrder | OrderClaim | RefundReversion | Return


class RecordedMessage(NamedTuple):
    """One message that is posted."""

    happened_at: datetime  #: not before its order
    account_id: UUID
    type: str  #: of the message
    fact: Message
    is_followed: bool  #: an order that something later is about
    judged_by: int | None = None  #: an order: the version that judged it when it was posted


_ORDERS = f"""
SELECT coalesce(g.account_id, o.account_id), a.customer_id, o.program_version,
       (o.source, o.order_id) IN (SELECT order_source, order_id FROM refunds WHERE program_id = %(program)s
                                  UNION ALL
                                  SELECT source, order_id FROM order_events WHERE program_id = %(program)s),
       {ORDER_FACTS.select("o")}
FROM orders o
LEFT JOIN (SELECT DISTINCT ON (source, order_id) source, order_id, account_id FROM order_events
           WHERE program_id = %(program)s AND kind = 'given_up' ORDER BY source, order_id, occurred_at) g
     USING (source, order_id)
JOIN accounts a ON a.account_id = coalesce(g.account_id, o.account_id)
WHERE o.program_id = %(program)s AND o.account_id IS NOT NULL AND o.occurred_at < %(until)s
ORDER BY o.occurred_at, o.source, o.order_id
"""  # noqa: S608  # our own names
_REFUNDS = f"""
SELECT greatest(r.occurred_at, o.occurred_at) AS happened_at, o.account_id, {REFUND_FACTS.select("r")}
FROM refunds r JOIN orders o ON (o.source, o.order_id, o.program_id) = (r.order_source, r.order_id, r.program_id)
WHERE r.program_id = %(program)s AND o.account_id IS NOT NULL AND greatest(r.occurred_at, o.occurred_at) < %(until)s
ORDER BY happened_at, r.source, r.refund_id
"""  # noqa: S608  # our own names
# An undone refund comes after its refund, whatever its time says.
_ORDER_EVENTS = """
SELECT greatest(e.occurred_at, o.occurred_at, r.occurred_at) AS happened_at, o.account_id, e.kind, e.event_key,
       e.source, e.order_id, e.occurred_at, e.content::text,
       (SELECT a.customer_id FROM accounts a WHERE a.account_id = e.account_id)
FROM order_events e JOIN orders o USING (source, order_id, program_id)
LEFT JOIN refunds r ON e.kind = 'refund_reverted' AND r.program_id = e.program_id
                       AND concat(r.source, E'\\t', r.refund_id) = e.event_key
WHERE e.program_id = %(program)s AND o.account_id IS NOT NULL AND e.kind NOT IN ('given_up', 'moved_away', 'moved_in')
  AND greatest(e.occurred_at, o.occurred_at, r.occurred_at) < %(until)s
ORDER BY happened_at, e.source, e.order_id, e.kind, e.event_key
"""
_RETURNS = f"""
SELECT r.account_id, a.customer_id, {RETURN_FACTS.select("r")} FROM returns r JOIN accounts a USING (account_id)
WHERE r.program_id = %(program)s AND r.occurred_at < %(until)s
ORDER BY r.occurred_at, r.source, r.return_id
"""  # noqa: S608  # our own names


def read_only(connection: Connection) -> None:
    """Make the transaction one that cannot write and that sees one state throughout; the first statement in it."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    connection.execute(text("SET LOCAL statement_timeout = 0"))  # a sort of all orders takes its time
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))  # and so does what is made of them


def export_state(connection: Connection) -> str:
    """Give the state that this transaction sees a name, for `read_only_at` of other sessions, while it lasts."""
    return str(connection.execute(text("SELECT pg_export_snapshot()")).scalar_one())


def read_only_at(connection: Connection, state: str) -> None:
    """Make the transaction a reading one that sees the state of that name; the first statement in it."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    connection.execute(text(f"SET TRANSACTION SNAPSHOT '{state}'"))  # takes no parameters; the name is the server's own
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def has_orders(connection: Connection, program_id: str, at_least: int) -> bool:
    """Whether so many orders of the program are recorded."""
    statement = "SELECT count(*) FROM (SELECT FROM orders WHERE program_id = :program LIMIT :most) AS o"
    values = {"program": program_id, "most": at_least}
    return bool(connection.execute(text(statement), values).scalar_one() >= at_least)


def recorded_messages(connection: Connection, program_id: str, until: datetime) -> Iterator[RecordedMessage]:
    """Customers' orders of the program and all that is recorded about them before `until`, by time.

    What came about an order follows it, also where its time is earlier. Guests' orders earn nothing and are left out.
    """
    values = {"program": program_id, "until": until}
    orders = (_order(row) for row in stream_rows(connection, "recorded_orders", _ORDERS, values))
    refunds = (_refund(row) for row in stream_rows(connection, "recorded_refunds", _REFUNDS, values))
    events = (_order_event(row) for row in stream_rows(connection, "recorded_events", _ORDER_EVENTS, values))
    returns = (_return(row) for row in stream_rows(connection, "recorded_returns", _RETURNS, values))
    # Of equal times the first stream comes first: an order before what is about it.
    return merge(orders, refunds, events, returns, key=lambda recorded: recorded.happened_at)


def _order(row: tuple[Any, ...]) -> RecordedMessage:
    account_id, owner_id, version, is_followed, *facts = row
    # Whoever of a household ordered it, and by whatever its account is named.
    order = ORDER_FACTS.read(facts)._replace(customer_id=owner_id, reference_kind=None, reference=None)
    return RecordedMessage(order.occurred_at, account_id, "order.completed", order, is_followed, version)


def _refund(row: tuple[Any, ...]) -> RecordedMessage:
    happened_at, account_id, *facts = row
    return RecordedMessage(happened_at, account_id, "order.refunded", REFUND_FACTS.read(facts), is_followed=False)


def _return(row: tuple[Any, ...]) -> RecordedMessage:
    account_id, owner_id, *facts = row
    fact = RETURN_FACTS.read(facts)._replace(customer_id=owner_id, reference_kind=None, reference=None)
    return RecordedMessage(fact.occurred_at, account_id, "order.returned", fact, is_followed=False)


def _order_event(row: tuple[Any, ...]) -> RecordedMessage:
    happened_at, account_id, kind, key, source, order_id, occurred_at, content, owner_id = row
    fact: Message
    match OrderEventKind(kind):
        case OrderEventKind.FULFILLED:
            fact = Fulfilment(source, order_id, occurred_at, lines=read_parts(content), part_id=key)
        case OrderEventKind.CANCELLED:
            fact = Cancellation(source, order_id, occurred_at, lines=read_parts(content), part_id=key)
        case OrderEventKind.AMENDED:
            fact = amended_order_of(source, occurred_at, from_json(content))
        case OrderEventKind.CLAIMED:
            fact = claim_of(source, occurred_at, from_json(content))
            if fact.reference is not None:
                fact = fact._replace(customer_id=owner_id, reference_kind=None, reference=None)
        case OrderEventKind.REFUND_REVERTED:
            of_refund, refund_id = key.split("\t")
            fact = RefundReversion(of_refund, refund_id, order_id, occurred_at, source)
        case OrderEventKind.GIVEN_UP | OrderEventKind.MOVED_AWAY | OrderEventKind.MOVED_IN:
            raise AssertionError("these tell of what accounts gave and got, and are not asked for")
    return RecordedMessage(happened_at, account_id, f"order.{kind}", fact, is_followed=False)
