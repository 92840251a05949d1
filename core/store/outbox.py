"""The outbox: events that were written with what they announce, and are published in order, shard by shard."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Engine

from core.messages.trace_context import TraceContext
from core.store.engine import Asked, Rows, ask, run_alone, run_bulk, run_later


class OutgoingEvent(NamedTuple):
    """A row that is published."""

    outbox_id: int
    type: str
    body: str
    reply_to: str | None = None  #: where an answer goes too, the first time that it is published
    correlation_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def trace(self) -> TraceContext | None:
        """The trace that goes on beside it."""
        return None if self.traceparent is None else TraceContext(self.traceparent, self.tracestate)


def traces_of(events: Sequence[OutgoingEvent]) -> Sequence[TraceContext | None]:
    """What goes on beside each of these events; empty if none has a trace."""
    return [event.trace for event in events] if any(event.traceparent for event in events) else ()


_CLAIM = """
SELECT outbox_id, type, body, reply_to, correlation_id, traceparent, tracestate FROM outbox
WHERE account_shard = %s AND published_at IS NULL ORDER BY outbox_id LIMIT %s
"""


def ask_unpublished(connection: Connection, account_shard: int, rows_max: int) -> Asked[list[OutgoingEvent]]:
    """The next events of a shard. The caller has the relay's turn at the shard.

    Ids are drawn under the account's lock, so that of one account's events every snapshot shows a prefix without gaps.
    """
    return ask(connection, _CLAIM, (account_shard, rows_max), _read_events)


def _read_events(rows: Rows) -> list[OutgoingEvent]:
    return [OutgoingEvent(*row) for row in rows]


def has_unpublished(engine: Engine, account_shard: int) -> bool:
    """Whether the shard has events to publish now."""
    statement = "SELECT EXISTS (SELECT 1 FROM outbox WHERE account_shard = %s AND published_at IS NULL)"
    return bool(run_alone(engine, statement, (account_shard,))[0][0])


def mark_published(connection: Connection, outbox_ids: Sequence[int]) -> None:
    """Mark these very rows; a range would take along rows that were committed meanwhile and never published.

    The commit does not wait until the marks are on disk: if the server dies meanwhile, the events are published again.
    """
    statement = """
        UPDATE outbox SET published_at = now() FROM set_config('synchronous_commit', 'off', true)
        WHERE outbox_id = ANY(%b)
    """
    run_later(connection, statement, (list(outbox_ids),))


class WrittenEvents(NamedTuple):
    """Events of one type that a transaction has written."""

    type: str
    events: int
    points: int | None  #: that they move; None for events that move none


# Rows of this transaction have its own time; those of others are published or not to be seen.
_WRITTEN = """
SELECT type, count(*), sum((body::jsonb -> 'data' ->> 'points')::bigint) FILTER (WHERE body::jsonb -> 'data' ? 'kind')
FROM outbox WHERE created_at = now() AND published_at IS NULL GROUP BY type ORDER BY type
"""


def written_events(connection: Connection) -> list[WrittenEvents]:
    """What the present transaction has written to the outbox so far."""
    rows = run_bulk(connection, _WRITTEN)
    return [WrittenEvents(kind, events, None if points is None else int(points)) for kind, events, points in rows]


_SHARDS = """
WITH RECURSIVE s AS (
    (SELECT account_shard FROM outbox WHERE published_at IS NULL ORDER BY account_shard LIMIT 1)
    UNION ALL
    SELECT (SELECT o.account_shard FROM outbox o WHERE o.published_at IS NULL AND o.account_shard > s.account_shard
            ORDER BY o.account_shard LIMIT 1) FROM s WHERE s.account_shard IS NOT NULL
) SELECT account_shard FROM s WHERE account_shard IS NOT NULL
"""


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


# A sequence is the last part of a balance-changed event's id; events of other types are not numbered with them.
_PUBLISHED = {
    "account_id": "account_id = %(account_id)s",
    "since": "created_at >= %(since)s",
    "from_sequence": """type = 'loyalty.balance.changed'
        AND substring(event_id FROM '[0-9]+$')::bigint >= %(from_sequence)s""",
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
        WHERE outbox_id > %(after)s AND published_at IS NOT NULL {_and(_PUBLISHED, chosen)}
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
                          WHERE o.account_id = e.account_id AND o.event_id = e.account_id || ':' || e.sequence)
              {_and(_ENTRIES, chosen)}
    """  # noqa: S608  # our own words
    ((count,),) = run_bulk(connection, statement, chosen)
    return int(count)


def _and(conditions: Mapping[str, str], chosen: Mapping[str, object]) -> str:
    """The conditions of what is chosen; one that is left out would keep the planner from an index."""
    return "".join(f" AND {conditions[name]}" for name, value in chosen.items() if value is not None)
