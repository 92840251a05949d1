"""The outbox: events that were written with what they announce, and are published in order, shard by shard.

An event is never written again once it is there, but where a customer is erased. How far its shard's events are
published says one row, the relay's position: numbers are drawn in the order of the commits, so whoever sees an event
sees all that are numbered before it.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine

from core.messages.trace_context import TraceContext
from core.store.engine import Asked, ask, run_alone, run_bulk, run_later
from core.store.locks import HELD_SHARDS
from core.store.sessions import Rows
from core.store.shards import ACCOUNT_SHARDS


class OutgoingEvent(NamedTuple):
    """A row that is published."""

    outbox_id: int
    type: str
    body: str
    reply_to: str | None = None  #: where an answer goes too, the first time that it is published
    correlation_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    account_shard: int | None = None  #: None: it has been published, and is to be once more

    @property
    def trace(self) -> TraceContext | None:
        """The trace that goes on beside it."""
        return None if self.traceparent is None else TraceContext(self.traceparent, self.tracestate)


def traces_of(events: Sequence[OutgoingEvent]) -> Sequence[TraceContext | None]:
    """What goes on beside each of these events; empty if none has a trace."""
    return [event.trace for event in events] if any(event.traceparent for event in events) else ()


#: Up to which number a shard's events are published.
PUBLISHED_THROUGH = "coalesce((SELECT published_through FROM relay_positions WHERE account_shard = {shard}), 0)"

#: All events that are still to be published, shard by shard, since an index finds those behind a number of one shard.
#: The upper bound is for the planner alone: of a range without one it expects a third of the table, and reads it whole.
UNPUBLISHED = f"""
(SELECT o.* FROM generate_series(0, {ACCOUNT_SHARDS - 1}) AS s(shard) CROSS JOIN LATERAL (
    SELECT * FROM outbox WHERE account_shard = s.shard
    AND outbox_id > {PUBLISHED_THROUGH.format(shard="s.shard")} AND outbox_id <= {2**63 - 1}) AS o)
"""  # noqa: S608  # our own words

# The first of a shard's. Compared and sorted as pairs, which no other index can do: by the numbers alone the planner
# would walk through all that other shards have published since this one had something.
_FIRST = f"""
FROM outbox WHERE (account_shard, outbox_id) > ({{shard}}, {PUBLISHED_THROUGH}) AND account_shard <= {{shard}}
ORDER BY account_shard, outbox_id LIMIT {{rows_max}}
"""
_OF_EACH = f"""CROSS JOIN LATERAL (
    SELECT * {_FIRST.format(shard="s.shard", rows_max="{rows_max}")}) AS first"""  # our own words
_CLAIM = f"""
SELECT outbox_id, type, body, reply_to, correlation_id, traceparent, tracestate, account_shard
FROM unnest({HELD_SHARDS}) AS s(shard) {_OF_EACH.format(rows_max="%(rows_max)s")}
ORDER BY account_shard, outbox_id LIMIT %(rows_max)s
"""  # noqa: S608  # our own words


def ask_unpublished(connection: Connection, rows_max: int) -> Asked[list[OutgoingEvent]]:
    """The next events of the held shards, shard by shard. The caller has the relay's turns at them.

    Ids are drawn under the account's lock, so that of one account's events every snapshot shows a prefix without gaps.
    """
    return ask(connection, _CLAIM, {"rows_max": rows_max}, _read_events)


def _read_events(rows: Rows) -> list[OutgoingEvent]:
    return [OutgoingEvent(*row) for row in rows]


_SOME_UNPUBLISHED = f"""
SELECT s.shard FROM unnest(%s::smallint[]) AS s(shard) {_OF_EACH.format(rows_max=1)}
"""  # noqa: S608  # our own words


def with_unpublished(engine: Engine, account_shards: Collection[int]) -> set[int]:
    """Those of the shards that have events to publish now."""
    return {shard for (shard,) in run_alone(engine, _SOME_UNPUBLISHED, ([*account_shards],))}


_MARK = """
INSERT INTO relay_positions (account_shard, published_through)
SELECT m.shard, m.number
FROM set_config('synchronous_commit', 'off', true), unnest(%s::smallint[], %s::bigint[]) AS m(shard, number)
ON CONFLICT (account_shard) DO UPDATE SET published_through = excluded.published_through
"""


def mark_published(connection: Connection, events: Sequence[OutgoingEvent]) -> None:
    """Mark these as published, which are all of their shards up to the last of each: others may have come meanwhile.

    The caller has the relay's turns at the shards. The commit does not wait until the mark is on disk: if the server
    dies meanwhile, the events are published again.
    """
    last = {event.account_shard: event.outbox_id for event in events}
    run_later(connection, _MARK, ([*last], [*last.values()]))


class WrittenEvents(NamedTuple):
    """Events of one type that a transaction has written."""

    type: str
    events: int
    points: int | None  #: that they move; None for events that move none


# Rows of this transaction have its own time; those of others are published or not to be seen.
_WRITTEN = f"""
SELECT type, count(*), sum((body::jsonb -> 'data' ->> 'points')::bigint) FILTER (WHERE body::jsonb -> 'data' ? 'kind')
FROM {UNPUBLISHED} AS u WHERE created_at = now() GROUP BY type ORDER BY type
"""  # noqa: S608  # our own words


def written_events(connection: Connection) -> list[WrittenEvents]:
    """What the present transaction has written to the outbox so far."""
    rows = run_bulk(connection, _WRITTEN)
    return [WrittenEvents(kind, events, None if points is None else int(points)) for kind, events, points in rows]


_SHARDS = f"""
SELECT s.shard FROM generate_series(0, {ACCOUNT_SHARDS - 1}) AS s(shard) {_OF_EACH.format(rows_max=1)} ORDER BY s.shard
"""  # noqa: S608  # our own words


def shards_with_unpublished(connection: Connection) -> list[int]:
    """Every account shard that has events to publish."""
    return [row[0] for row in run_bulk(connection, _SHARDS)]


# Found by the BRIN index of created_at, which no plan for the lowest of some numbers would use by itself.
_FIRST_SINCE = """
WITH recent AS MATERIALIZED (SELECT outbox_id FROM outbox WHERE created_at >= %s) SELECT min(outbox_id) FROM recent
"""


def number_before(connection: Connection, since: datetime) -> int | None:
    """The number below which no event was written since that instant; None if none was."""
    ((first,),) = run_bulk(connection, _FIRST_SINCE, (since,))
    return None if first is None else first - 1


# A sequence is the key of a balance-changed event; events of other types are not numbered with them.
_PUBLISHED = {
    "account_id": "account_id = %(account_id)s",
    "since": "created_at >= %(since)s",
    "from_sequence": "CASE type WHEN 'loyalty.balance.changed' THEN event_key::bigint END >= %(from_sequence)s",
}


def load_published(
    connection: Connection,
    *,
    after: int,
    rows_max: int,
    account_id: UUID | None = None,
    since: datetime | None = None,
    from_sequence: int | None = None,
) -> list[OutgoingEvent]:
    """Past events in their order, after the outbox id `after`: of one account, or written since an instant, or both.

    With `from_sequence` only the account's balance-changed events from that one on.
    """
    chosen = {"account_id": account_id, "since": since, "from_sequence": from_sequence}
    statement = f"""
        SELECT outbox_id, type, body, NULL, NULL, traceparent, tracestate FROM outbox
        WHERE outbox_id > %(after)s AND outbox_id <= {PUBLISHED_THROUGH.format(shard="outbox.account_shard")}
            {_and(_PUBLISHED, chosen)}
        ORDER BY outbox_id LIMIT %(rows_max)s
    """  # noqa: S608  # our own words
    rows = run_bulk(connection, statement, {**chosen, "after": after, "rows_max": rows_max})
    return [OutgoingEvent(*row) for row in rows]


_ENTRIES = {
    "account_id": "e.account_id = %(account_id)s",
    "since": "e.recorded_at >= %(since)s",
    "from_sequence": "e.sequence >= %(from_sequence)s",
}


def count_entries_without_event(
    connection: Connection,
    *,
    account_id: UUID | None = None,
    since: datetime | None = None,
    from_sequence: int | None = None,
) -> int:
    """Entries of the same choice as `load_published` whose event is stored no more: retention has purged it."""
    run_bulk(connection, "SET LOCAL statement_timeout = 0")  # it may read the whole ledger
    chosen = {"account_id": account_id, "since": since, "from_sequence": from_sequence}
    statement = f"""
        SELECT count(*) FROM entries e
        WHERE NOT EXISTS (SELECT 1 FROM outbox o
                          WHERE o.account_id = e.account_id AND o.event_key = e.sequence::text)
              {_and(_ENTRIES, chosen)}
    """  # noqa: S608  # our own words
    ((count,),) = run_bulk(connection, statement, chosen)
    return int(count)


def _and(conditions: Mapping[str, str], chosen: Mapping[str, object]) -> str:
    """The conditions of what is chosen; one that is left out would keep the planner from an index."""
    return "".join(f" AND {conditions[name]}" for name, value in chosen.items() if value is not None)
