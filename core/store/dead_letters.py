"""Dead letters: what is parked and why, and the two things that a person does about it: retry and drop.

A dead letter keeps its row, its bytes and its reason; every action on it is kept beside it.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.store.engine import run_bulk


class Letter(NamedTuple):
    """One inbox row as a person looks at it; of whatever state."""

    inbox_id: int
    source: str
    event_id: str
    type: str | None
    order_id: str | None
    state: str
    reason: str | None
    detail: str | None
    deliveries: int  #: how often the same content came
    times_parked: int
    received_at: datetime
    settled_at: datetime | None  #: when it was parked, posted, …


class Action(NamedTuple):
    """What a person did about a letter."""

    action: str  #: retried or dropped
    reason: str | None  #: why it was parked when they did
    detail: str | None  #: what came of it, or the person's own words
    acted_at: datetime


class LockedLetter(NamedTuple):
    """A row that is about to be changed."""

    inbox_id: int
    state: str
    reason: str | None
    variant: bytes
    received_at: datetime
    body: bytes


class FirstMessage(NamedTuple):
    """The first message that came under a source and id."""

    inbox_id: int
    state: str
    content_hash: bytes | None


class Revival(NamedTuple):
    """How a readable letter goes back into the inbox."""

    state: str  #: received or waiting
    source: str
    event_id: str
    type: str
    occurred_at: datetime
    order_id: str
    shard: int | None
    content_hash: bytes


_COLUMNS = ", ".join(Letter._fields)


def count_dead(connection: Connection) -> dict[str, int]:
    """Dead letters by reason, the most frequent first."""
    rows = run_bulk(
        connection, "SELECT reason, count(*) FROM inbox WHERE state = 'dead' GROUP BY reason ORDER BY 2 DESC, 1"
    )
    return dict(rows)


def list_dead(connection: Connection, reason: str | None, rows_max: int) -> list[Letter]:
    """Dead letters, the newest first; only those of `reason` if given."""
    statement = f"""
        SELECT {_COLUMNS} FROM inbox
        WHERE state = 'dead' AND (%s::text IS NULL OR reason = %s) ORDER BY inbox_id DESC LIMIT %s
    """  # noqa: S608  # our own column names
    return [Letter(*row) for row in run_bulk(connection, statement, (reason, reason, rows_max))]


def list_dead_among(connection: Connection, inbox_ids: Collection[int]) -> list[Letter]:
    """Which of these messages are dead letters by now, the oldest first."""
    statement = f"SELECT {_COLUMNS} FROM inbox WHERE inbox_id = ANY(%b) AND state = 'dead' ORDER BY inbox_id"  # noqa: S608
    return [Letter(*row) for row in run_bulk(connection, statement, (list(inbox_ids),))]


def count_waiting(connection: Connection) -> int:
    """How many refunds wait for their orders."""
    ((count,),) = run_bulk(connection, "SELECT count(*) FROM inbox WHERE state = 'waiting'")
    return int(count)


def list_waiting(connection: Connection, rows_max: int) -> list[Letter]:
    """Refunds that wait for their orders, the longest first."""
    statement = f"SELECT {_COLUMNS} FROM inbox WHERE state = 'waiting' ORDER BY received_at, inbox_id LIMIT %s"  # noqa: S608
    return [Letter(*row) for row in run_bulk(connection, statement, (rows_max,))]


def load_letter(connection: Connection, inbox_id: int) -> tuple[Letter, bytes] | None:
    """One message of whatever state, and its bytes; None if there is none of that number."""
    rows = run_bulk(connection, f"SELECT {_COLUMNS}, body FROM inbox WHERE inbox_id = %s", (inbox_id,))  # noqa: S608
    return (Letter(*rows[0][:-1]), rows[0][-1]) if rows else None


def load_actions(connection: Connection, inbox_id: int) -> list[Action]:
    """What was done about a letter, oldest first."""
    statement = (
        "SELECT action, reason, detail, acted_at FROM dead_letter_actions WHERE inbox_id = %s ORDER BY action_id"
    )
    return [Action(*row) for row in run_bulk(connection, statement, (inbox_id,))]


def count_states(connection: Connection, inbox_ids: Collection[int]) -> dict[str, int]:
    """How many of these messages are in which state."""
    statement = "SELECT state, count(*) FROM inbox WHERE inbox_id = ANY(%b) GROUP BY state"
    return dict(run_bulk(connection, statement, (list(inbox_ids),)))


def still_received(connection: Connection, inbox_ids: Collection[int]) -> list[int]:
    """Which of these messages posting has not come to yet."""
    statement = "SELECT inbox_id FROM inbox WHERE inbox_id = ANY(%b) AND state = 'received'"
    return [row[0] for row in run_bulk(connection, statement, (list(inbox_ids),))]


def dead_ids(connection: Connection, reason: str | None) -> list[int]:
    """Numbers of all dead letters, oldest first; only those of `reason` if given."""
    statement = """
        SELECT inbox_id FROM inbox WHERE state = 'dead' AND (%s::text IS NULL OR reason = %s) ORDER BY inbox_id
    """
    return [row[0] for row in run_bulk(connection, statement, (reason, reason))]


def lock_letter(connection: Connection, inbox_id: int) -> LockedLetter | None:
    """One message of whatever state, locked; None if there is none of that number."""
    statement = f"SELECT {', '.join(LockedLetter._fields)} FROM inbox WHERE inbox_id = %s FOR UPDATE"  # noqa: S608
    rows = run_bulk(connection, statement, (inbox_id,))
    return LockedLetter(*rows[0]) if rows else None


def first_message(connection: Connection, source: str, event_id: str) -> FirstMessage | None:
    """The message that counts under this source and id; later ones are replays of it or conflicts with it."""
    statement = f"""
        SELECT {", ".join(FirstMessage._fields)} FROM inbox WHERE source = %s AND event_id = %s AND variant = ''
    """  # noqa: S608  # our own column names
    rows = run_bulk(connection, statement, (source, event_id))
    return FirstMessage(*rows[0]) if rows else None


# As intake finds it (core.store.inbox): among posted orders, then among those that are about to be posted.
_ORDER_SHARD = """
SELECT coalesce(
    (SELECT o.shard FROM orders o WHERE o.source = %s AND o.order_id = %s LIMIT 1),
    (SELECT q.shard FROM inbox q WHERE q.source = %s AND q.order_id = %s
        AND q.state IN ('received', 'waiting') AND q.type = 'order.completed' LIMIT 1))
"""


def order_shard(connection: Connection, source: str, order_id: str) -> int | None:
    """The shard of a known order; None for one that has not come."""
    ((shard,),) = run_bulk(connection, _ORDER_SHARD, (source, order_id, source, order_id))
    return None if shard is None else int(shard)


_REVIVE = """
UPDATE inbox SET state = %s, source = %s, event_id = %s, variant = '', type = %s, occurred_at = %s, order_id = %s,
    shard = %s, content_hash = %s, reason = NULL, detail = NULL, settled_at = NULL
WHERE inbox_id = %s
"""


def revive(connection: Connection, inbox_id: int, revival: Revival) -> None:
    """Put a locked letter back into the inbox, where posting finds it.

    The unique key (source, event_id, variant) fails if the message came again in this very moment.
    """
    state, source, event_id, kind, occurred_at, order_id, shard, content_hash = revival
    values = (state, source, event_id, kind, occurred_at, order_id, shard, content_hash, inbox_id)
    run_bulk(connection, _REVIVE, values)


def settle_as_replayed(connection: Connection, inbox_id: int) -> None:
    """Give a locked letter the outcome of another message, which has its source, id and content."""
    statement = (
        "UPDATE inbox SET state = 'replayed', reason = NULL, detail = NULL, settled_at = now() WHERE inbox_id = %s"
    )
    run_bulk(connection, statement, (inbox_id,))


def keep_dead(connection: Connection, inbox_id: int, reason: str, detail: str) -> None:
    """Leave a locked letter where it is, with what is wrong with it now."""
    run_bulk(connection, "UPDATE inbox SET reason = %s, detail = %s WHERE inbox_id = %s", (reason, detail, inbox_id))


def drop(connection: Connection, inbox_id: int) -> None:
    """Settle a locked letter as dropped; row, bytes and reason stay."""
    run_bulk(connection, "UPDATE inbox SET state = 'dropped', settled_at = now() WHERE inbox_id = %s", (inbox_id,))


def append_action(connection: Connection, inbox_id: int, action: str, reason: str | None, detail: str) -> None:
    """Keep what a person did: `action` is retried or dropped, `reason` the one it was parked with."""
    values: Sequence[object] = (inbox_id, action, reason, detail)
    run_bulk(
        connection, "INSERT INTO dead_letter_actions (inbox_id, action, reason, detail) VALUES (%s, %s, %s, %s)", values
    )
