"""Orders that waiting messages may mean: of the same id, but made in another source or in another program."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.program.registry import ProgramRegistry
from core.store.engine import run_bulk

_MESSAGES_MAX = 100  #: the newest that wait; each costs a look for every source
_SOURCES_MAX = 200


class OrderElsewhere(NamedTuple):
    """An order that a waiting message does not find as it is, and would find with a field more."""

    inbox_id: int
    type: str  #: of the message
    source: str  #: of the message
    order_id: str
    received_at: datetime
    to_add: Mapping[str, str]  #: to the data of the message, for it to be about this order


class OrderPair(NamedTuple):
    """A waiting message, and an order of the id that it waits for."""

    inbox_id: int
    type: str
    source: str
    about_source: str
    occurred_at: datetime
    named: str | None
    received_at: datetime
    order_id: str
    order_source: str
    program_id: str
    ordered_at: datetime


_PAIR = """
i.inbox_id, i.type, i.source, coalesce(i.subject_source, i.source), i.occurred_at, i.settled::json->>'program_id',
i.received_at, o.order_id, o.source, o.program_id, o.occurred_at
"""
# By their sources, since no index of orders leads with their ids.
_OF_SOURCES = f"""
WITH RECURSIVE known AS (
    (SELECT source FROM orders ORDER BY source LIMIT 1)
    UNION ALL
    SELECT (SELECT o.source FROM orders o WHERE o.source > known.source ORDER BY o.source LIMIT 1)
    FROM known WHERE known.source IS NOT NULL
), sources AS MATERIALIZED (SELECT source FROM known WHERE source IS NOT NULL LIMIT {_SOURCES_MAX}
), i AS MATERIALIZED (
    SELECT * FROM inbox WHERE state = 'waiting' AND subject LIKE 'order %%' AND {{chosen}}
    ORDER BY inbox_id DESC LIMIT {_MESSAGES_MAX}
)
SELECT {_PAIR} FROM i CROSS JOIN sources CROSS JOIN LATERAL (
    SELECT * FROM orders o WHERE o.source = sources.source AND o.order_id = substr(i.subject, length('order ') + 1)
) AS o ORDER BY i.inbox_id, o.source, o.program_id
"""  # noqa: S608  # our own names


_OF_NEWEST = _OF_SOURCES.format(chosen="true")
_OF_CHOSEN = _OF_SOURCES.format(chosen="inbox_id = ANY(%s)")


def orders_elsewhere(
    connection: Connection, registry: ProgramRegistry, inbox_ids: Sequence[int] | None = None
) -> list[OrderElsewhere]:
    """What the newest waiting messages, or these of them, may mean, among orders of the first sources; by number."""
    rows = run_bulk(connection, _OF_NEWEST) if inbox_ids is None else run_bulk(connection, _OF_CHOSEN, (inbox_ids,))
    return elsewhere_of(map(OrderPair._make, rows), registry)


def elsewhere_of(pairs: Iterable[OrderPair], registry: ProgramRegistry) -> list[OrderElsewhere]:
    """Those of these messages that do not find the order as they are, and would with a field more."""
    return [
        OrderElsewhere(pair.inbox_id, pair.type, pair.source, pair.order_id, pair.received_at, to_add)
        for pair in pairs
        if (to_add := _to_add(pair, registry))
    ]


def _to_add(pair: OrderPair, registry: ProgramRegistry) -> dict[str, str]:
    """What leads the message to the order; nothing where it is about another program's, or finds it as it is."""
    if pair.about_source != pair.order_source:
        is_within_reach = registry.resolve(pair.named, pair.source, pair.occurred_at) == pair.program_id
        return {"order_source": pair.order_source} if is_within_reach else {}
    finds_it = registry.resolve(pair.named, pair.order_source, pair.ordered_at) == pair.program_id
    return {} if finds_it else {"program_id": pair.program_id}
