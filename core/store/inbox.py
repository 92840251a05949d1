"""The inbox: every message that came, byte for byte, and what became of it.

A row ends in exactly one outcome: posted, replayed, dead (parked) or dropped; until then it is received or waiting.
The unique key (source, event_id, variant) decides what is a replay, never a look-up before the insert.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.outcomes import Reason
from core.store.engine import run_bulk


class InboxMessage(NamedTuple):
    """One message as intake hands it over."""

    source: str
    event_id: str
    variant: bytes  #: empty for a readable event; for an unreadable one a hash of its bytes
    type: str | None
    occurred_at: datetime | None
    shard: int | None  #: None: a refund, whose order's shard is looked up
    order_id: str | None
    content_hash: bytes | None
    body: bytes
    reason: Reason | None = None  #: set: the message is parked
    detail: str | None = None


class StoredMessage(NamedTuple):
    """What the inbox made of one message."""

    inbox_id: int
    state: str  #: received, waiting or dead; for a replay, the state that its first delivery has by now
    shard: int | None
    is_new: bool  #: False: the same content was there already
    message: InboxMessage


class ClaimedMessage(NamedTuple):
    """One row that posting works on."""

    inbox_id: int
    source: str
    event_id: str
    type: str
    order_id: str
    body: bytes
    received_at: datetime
    times_parked: int = 0


class Settlement(NamedTuple):
    """The outcome of one claimed row: posted, replayed, waiting or dead."""

    inbox_id: int
    state: str
    reason: str | None = None
    detail: str | None = None


# A refund names no customer: its shard is that of its order, posted or still in the inbox; if neither is known it
# waits. xmax is 0 for a row that this statement inserted, not for one that it found.
_APPEND = """
INSERT INTO inbox (source, event_id, variant, type, occurred_at, shard, order_id, content_hash, body,
                   state, reason, detail, settled_at, times_parked, deliveries)
SELECT source, event_id, variant, type, occurred_at, found_shard, order_id, content_hash, body,
       CASE WHEN reason IS NOT NULL THEN 'dead' WHEN found_shard IS NULL THEN 'waiting' ELSE 'received' END,
       reason, detail, CASE WHEN reason IS NOT NULL THEN now() END, (reason IS NOT NULL)::integer, deliveries
FROM (
    SELECT m.*, coalesce(
               m.shard,
               (SELECT o.shard FROM orders o WHERE o.source = m.source AND o.order_id = m.order_id LIMIT 1),
               (SELECT q.shard FROM inbox q WHERE q.source = m.source AND q.order_id = m.order_id
                   AND q.state IN ('received', 'waiting') AND q.type = 'order.completed' LIMIT 1)
           ) AS found_shard
    FROM unnest(%b::text[], %b::text[], %b::bytea[], %b::text[], %b::timestamptz[], %b::smallint[], %b::text[],
                %b::bytea[], %b::bytea[], %b::text[], %b::text[], %b::integer[])
         WITH ORDINALITY
         AS m(source, event_id, variant, type, occurred_at, shard, order_id, content_hash, body, reason, detail,
              deliveries, n)
) AS placed
ORDER BY n
ON CONFLICT (source, event_id, variant) DO UPDATE
    SET deliveries = inbox.deliveries
        + CASE WHEN inbox.content_hash IS NOT DISTINCT FROM excluded.content_hash THEN excluded.deliveries ELSE 0 END
RETURNING inbox_id, state, shard, xmax = 0, source, event_id, variant, content_hash
"""


def append_messages(connection: Connection, messages: Sequence[InboxMessage]) -> list[StoredMessage]:
    """Store a batch with one statement; a second one only if the batch holds conflicts.

    The same source and id with the same content is a replay: counted on the first row, nothing else. With other
    content it is a conflict: parked beside the first. The result is in no particular order.
    """
    groups: dict[tuple[str, str, bytes], list[InboxMessage]] = {}
    for message in messages:
        groups.setdefault((message.source, message.event_id, message.variant), []).append(message)
    stored: list[StoredMessage] = []
    again: list[InboxMessage] = []
    rows = _append(connection, [(group[0], _deliveries(group)) for group in groups.values()])
    for inbox_id, state, shard, is_new, source, event_id, variant, content_hash in rows:
        group = groups[source, event_id, bytes(variant)]
        is_counted = group[0].content_hash == content_hash
        for place, message in enumerate(group):
            if message.content_hash != content_hash:
                again.append(_as_conflict(message, inbox_id))
            elif is_counted:
                stored.append(StoredMessage(inbox_id, state, shard, is_new and place == 0, message))
            else:
                again.append(message)
    if again:  # ends here: conflicts have keys of their own, and what is left under the old keys is the same as the row
        stored += append_messages(connection, again)
    return stored


def _deliveries(group: Sequence[InboxMessage]) -> int:
    return sum(message.content_hash == group[0].content_hash for message in group)


def _as_conflict(message: InboxMessage, first_inbox_id: int) -> InboxMessage:
    assert message.content_hash is not None
    detail = (
        f"message {first_inbox_id} has the same source and id but other content; "
        "send a changed message under a new id, or drop this one"
    )
    return message._replace(variant=message.content_hash, shard=None, reason=Reason.EVENT_CONFLICT, detail=detail)


def _append(
    connection: Connection, messages: Sequence[tuple[InboxMessage, int]]
) -> list[tuple[int, str, int | None, bool, str, str, bytes, bytes | None]]:
    columns = [list(column) for column in zip(*((*message, copies) for message, copies in messages), strict=True)]
    columns[9] = [None if reason is None else str(reason) for reason in columns[9]]
    return run_bulk(connection, _APPEND, columns)


_CLAIM = """
SELECT inbox_id, source, event_id, type, order_id, body, received_at, times_parked FROM inbox
WHERE shard = %s AND state = 'received' ORDER BY inbox_id LIMIT %s
"""


def claim_received(connection: Connection, shard: int, rows_max: int) -> list[ClaimedMessage]:
    """The next rows of a shard, oldest first. The caller holds the shard's lock, so nobody else claims them."""
    return [ClaimedMessage(*row) for row in run_bulk(connection, _CLAIM, (shard, rows_max))]


_CLAIM_WAITING = """
SELECT i.inbox_id, i.source, i.event_id, i.type, i.order_id, i.body, i.received_at, i.times_parked
FROM inbox i JOIN (SELECT DISTINCT * FROM unnest(%b::text[], %b::text[]) AS k(source, order_id)) k
     ON i.source = k.source AND i.order_id = k.order_id
WHERE i.state = 'waiting' ORDER BY i.inbox_id FOR UPDATE OF i SKIP LOCKED
"""


def claim_waiting(connection: Connection, orders: Sequence[tuple[str, str]]) -> list[ClaimedMessage]:
    """Refunds that wait for these (source, order_id), oldest first; what another transaction holds is left to it."""
    if not orders:
        return []
    keys = [list(column) for column in zip(*orders, strict=True)]
    return [ClaimedMessage(*row) for row in run_bulk(connection, _CLAIM_WAITING, keys)]


_SETTLE = """
UPDATE inbox SET state = s.state, reason = s.reason, detail = s.detail,
    settled_at = CASE WHEN s.state = 'waiting' THEN NULL ELSE now() END,
    shard = CASE WHEN s.state = 'waiting' THEN NULL ELSE inbox.shard END,
    times_parked = inbox.times_parked + (s.state = 'dead')::integer
FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[]) AS s(inbox_id, state, reason, detail)
WHERE inbox.inbox_id = s.inbox_id
"""


def settle(connection: Connection, settlements: Sequence[Settlement]) -> None:
    """Write outcomes, in the transaction that wrote what they say."""
    if settlements:
        run_bulk(connection, _SETTLE, [list(column) for column in zip(*settlements, strict=True)])


_WAKE = """
WITH found AS (
    SELECT i.inbox_id, o.shard
    FROM inbox i JOIN orders o ON o.source = i.source AND o.order_id = i.order_id
    WHERE i.state = 'waiting' ORDER BY i.inbox_id LIMIT %s FOR UPDATE OF i SKIP LOCKED
)
UPDATE inbox SET state = 'received', shard = found.shard FROM found WHERE inbox.inbox_id = found.inbox_id
RETURNING found.shard
"""


def wake_waiting(connection: Connection, rows_max: int) -> int:
    """Make waiting refunds whose order has been posted meanwhile ready again. Returns how many."""
    return len(run_bulk(connection, _WAKE, (rows_max,)))


_OVERDUE = """
SELECT inbox_id, source, event_id, type, order_id, body, received_at, times_parked FROM inbox
WHERE state = 'waiting' AND received_at < now() - make_interval(days => %s)
      AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.source = inbox.source AND o.order_id = inbox.order_id)
ORDER BY inbox_id LIMIT %s FOR UPDATE SKIP LOCKED
"""


def claim_overdue(connection: Connection, waiting_days_max: int, rows_max: int) -> list[ClaimedMessage]:
    """Refunds whose order has not come for longer than `waiting_days_max`."""
    return [ClaimedMessage(*row) for row in run_bulk(connection, _OVERDUE, (waiting_days_max, rows_max))]


def shards_with_work(connection: Connection) -> list[int]:
    """Every shard that has received rows, also one beyond today's LOYALTY_SHARDS."""
    # A loose index scan: one index probe per shard, however many rows wait.
    rows = run_bulk(
        connection,
        """
        WITH RECURSIVE s AS (
            (SELECT shard FROM inbox WHERE state = 'received' ORDER BY shard LIMIT 1)
            UNION ALL
            SELECT (SELECT i.shard FROM inbox i WHERE i.state = 'received' AND i.shard > s.shard
                    ORDER BY i.shard LIMIT 1) FROM s WHERE s.shard IS NOT NULL
        ) SELECT shard FROM s WHERE shard IS NOT NULL
        """,
    )
    return [row[0] for row in rows]
