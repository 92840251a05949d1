"""Dead letters: what is parked and why, and what a person does about it: retry, drop, or put another in its place.

A dead letter keeps its row, its bytes and its reason. Whatever is done about it is kept beside it, and so is each
parking that this overwrites.
"""

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.subjects import order_subject
from core.messages.trace_context import TraceContext
from core.store.engine import run_bulk


class Letter(NamedTuple):
    """One inbox row as a person looks at it; of whatever state."""

    inbox_id: int
    source: str
    event_id: str
    type: str | None
    order_id: str | None  #: of the order that it is about
    state: str
    reason: str | None
    detail: str | None
    deliveries: int  #: how often the same content came
    times_parked: int
    received_at: datetime
    settled_at: datetime | None  #: when it was parked, posted, …


class Action(NamedTuple):
    """One step in the life of a letter."""

    action: str  #: parked, or what a person did: retried, dropped or replaced
    reason: str | None  #: why it was parked at that time
    detail: str | None  #: of the parking; or what came of the action, or the person's own words
    acted_by: str | None  #: the person
    acted_at: datetime


class NewAction(NamedTuple):
    """What a person does about a letter, and how the letter was parked before."""

    inbox_id: int
    action: str  #: retried, dropped or replaced
    reason: str | None  #: why it was parked
    detail: str
    acted_by: str
    parked_detail: str | None
    parked_at: datetime | None


class LockedLetter(NamedTuple):
    """A row that is about to be changed."""

    inbox_id: int
    state: str
    reason: str | None
    detail: str | None
    settled_at: datetime | None
    source: str
    event_id: str
    variant: bytes
    content_hash: bytes | None
    received_at: datetime
    body: bytes
    signature: str | None
    traceparent: str | None
    tracestate: str | None
    as_of: datetime  #: the transaction's time

    @property
    def trace(self) -> TraceContext | None:
        """The trace that it belongs to, and keeps."""
        return None if self.traceparent is None else TraceContext(self.traceparent, self.tracestate)

    def acted_on(self, action: str, detail: str, acted_by: str) -> NewAction:
        """Say what was done about it, and by whom."""
        return NewAction(self.inbox_id, action, self.reason, detail, acted_by, self.detail, self.settled_at)


class LetterFilter(NamedTuple):
    """Which letters are meant: those that fit all that is given."""

    reason: str | None = None
    source: str | None = None
    type: str | None = None
    order_id: str | None = None  #: where it could not be read, letters whose bytes hold it as a JSON string
    since: datetime | None = None  #: received at or after
    until: datetime | None = None  #: received before
    text: str | None = None  #: a part of the detail, in upper or lower case
    state: str = "dead"  #: or dropped, or all for both


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
    subject: str
    is_subject: bool
    shard: int | None
    content_hash: bytes
    settled: str
    subject_source: str | None
    points_per_command_max: int | None  #: as the sources file says now
    points_per_day_max: int | None
    traceparent: str | None
    tracestate: str | None


_ORDER_ID = "CASE split_part(subject, ' ', 1) WHEN 'order' THEN substr(subject, length('order ') + 1) END AS order_id"
_COLUMNS = ", ".join(_ORDER_ID if name == "order_id" else name for name in Letter._fields)


# Settled letters are found by what was done about them: the inbox has no index of them, and millions of other rows.
_SCOPES = {
    "dead": "state = 'dead'",
    "dropped": "state = 'dropped' AND inbox_id IN (SELECT inbox_id FROM dead_letter_actions)",
    "all": """state IN ('dead', 'dropped') AND inbox_id IN (
        SELECT inbox_id FROM inbox WHERE state = 'dead' UNION ALL SELECT inbox_id FROM dead_letter_actions)""",
}


def _where(chosen: LetterFilter) -> tuple[str, list[object]]:
    """Give the condition of a filter, and its values."""
    order_id = chosen.order_id
    tests: list[tuple[str, tuple[object, ...]]] = [
        ("reason = %s", (chosen.reason,)),
        ("source = %s", (chosen.source,)),
        ("type = %s", (chosen.type,)),
        (
            "(subject = %s OR subject IS NULL AND position(%b::bytea IN body) > 0)",
            (order_id and order_subject(order_id), json.dumps(order_id, ensure_ascii=False).encode()),
        ),
        ("received_at >= %s", (chosen.since,)),
        ("received_at < %s", (chosen.until,)),
        ("position(lower(%s) IN lower(detail)) > 0", (chosen.text,)),
    ]
    used = [(test, values) for test, values in tests if values[0] is not None]
    return " AND ".join([_SCOPES[chosen.state], *(test for test, _ in used)]), [v for _, vs in used for v in vs]


def count_letters(connection: Connection, chosen: LetterFilter) -> dict[str, int]:
    """How many letters fit, by reason, the most frequent first."""
    where, values = _where(chosen)
    statement = f"SELECT reason, count(*) FROM inbox WHERE {where} GROUP BY reason ORDER BY 2 DESC, 1"  # noqa: S608  # our own words
    return dict(run_bulk(connection, statement, values))


def list_letters(connection: Connection, chosen: LetterFilter, rows_max: int) -> list[Letter]:
    """The letters that fit, the newest first."""
    where, values = _where(chosen)
    statement = f"SELECT {_COLUMNS} FROM inbox WHERE {where} ORDER BY inbox_id DESC LIMIT %s"  # noqa: S608  # our own words
    return [Letter(*row) for row in run_bulk(connection, statement, (*values, rows_max))]


def newest_letter(connection: Connection) -> int:
    """The highest number of a dead letter; 0 if there is none."""
    ((newest,),) = run_bulk(connection, "SELECT coalesce(max(inbox_id), 0) FROM inbox WHERE state = 'dead'")
    return int(newest)


def next_letters(connection: Connection, chosen: LetterFilter, *, after: int, up_to: int, rows_max: int) -> list[int]:
    """The next numbers above `after`, at most `up_to`, of letters that fit, in their order."""
    where, values = _where(chosen)
    statement = f"""
        SELECT inbox_id FROM inbox WHERE {where} AND inbox_id > %s AND inbox_id <= %s ORDER BY inbox_id LIMIT %s
    """  # noqa: S608  # our own words
    return [row[0] for row in run_bulk(connection, statement, (*values, after, up_to, rows_max))]


def list_refused_among(connection: Connection, inbox_ids: Collection[int]) -> list[Letter]:
    """Which of these messages are dead letters by now, or rejected commands; the oldest first."""
    condition = "inbox_id = ANY(%b) AND state IN ('dead', 'rejected')"
    statement = f"SELECT {_COLUMNS} FROM inbox WHERE {condition} ORDER BY inbox_id"  # noqa: S608  # our own words
    return [Letter(*row) for row in run_bulk(connection, statement, (list(inbox_ids),))]


def count_waiting(connection: Connection) -> int:
    """How many messages wait for their orders."""
    ((count,),) = run_bulk(connection, "SELECT count(*) FROM inbox WHERE state = 'waiting'")
    return int(count)


def list_waiting(connection: Connection, rows_max: int) -> list[Letter]:
    """Messages that wait for their orders, the longest first."""
    statement = f"SELECT {_COLUMNS} FROM inbox WHERE state = 'waiting' ORDER BY received_at, inbox_id LIMIT %s"  # noqa: S608
    return [Letter(*row) for row in run_bulk(connection, statement, (rows_max,))]


def load_letter(connection: Connection, inbox_id: int) -> tuple[Letter, bytes] | None:
    """One message of whatever state, and its bytes; None if there is none of that number."""
    rows = run_bulk(connection, f"SELECT {_COLUMNS}, body FROM inbox WHERE inbox_id = %s", (inbox_id,))  # noqa: S608
    return (Letter(*rows[0][:-1]), rows[0][-1]) if rows else None


def load_actions(connection: Connection, letter: Letter) -> list[Action]:
    """Each parking of a letter and everything that was done about it, oldest first."""
    columns = ", ".join(Action._fields)
    statement = f"SELECT {columns} FROM dead_letter_actions WHERE inbox_id = %s ORDER BY action_id"  # noqa: S608  # our own names
    history = [Action(*row) for row in run_bulk(connection, statement, (letter.inbox_id,))]
    parkings = {action.acted_at for action in history if action.action == "parked"}
    if letter.state == "dead" and letter.settled_at is not None and letter.settled_at not in parkings:
        history.append(Action("parked", letter.reason, letter.detail, None, letter.settled_at))
    return history


def load_states(connection: Connection, inbox_ids: Collection[int]) -> dict[int, str]:
    """The state of each of these messages."""
    statement = "SELECT inbox_id, state FROM inbox WHERE inbox_id = ANY(%b)"
    return dict(row[:2] for row in run_bulk(connection, statement, (list(inbox_ids),)))


def lock_letter(connection: Connection, inbox_id: int) -> LockedLetter | None:
    """One message of whatever state, locked; None if there is none of that number."""
    columns = ", ".join(LockedLetter._fields[:-1])
    statement = f"SELECT {columns}, now() FROM inbox WHERE inbox_id = %s FOR UPDATE"  # noqa: S608  # our own column names
    rows = run_bulk(connection, statement, (inbox_id,))
    return LockedLetter(*rows[0]) if rows else None


def first_message(connection: Connection, source: str, event_id: str) -> FirstMessage | None:
    """The message that counts under this source and id; later ones are replays of it or conflicts with it."""
    statement = f"""
        SELECT {", ".join(FirstMessage._fields)} FROM inbox WHERE source = %s AND event_id = %s AND variant = ''
    """  # noqa: S608  # our own column names
    rows = run_bulk(connection, statement, (source, event_id))
    return FirstMessage(*rows[0]) if rows else None


_REVIVE = f"""
UPDATE inbox SET variant = '', {", ".join(f"{name} = %({name})s" for name in Revival._fields)},
    reason = NULL, detail = NULL, settled_at = NULL, others_posted = 0
WHERE inbox_id = %(inbox_id)s
"""  # noqa: S608  # our own column names


def revive(connection: Connection, inbox_id: int, revival: Revival) -> None:
    """Put a locked letter back into the inbox, where posting finds it.

    The unique key (source, event_id, variant) fails if the message came again in this very moment.
    """
    run_bulk(connection, _REVIVE, {**revival._asdict(), "inbox_id": inbox_id})


def set_aside(connection: Connection, inbox_id: int, variant: bytes) -> None:
    """Take a locked letter's source and id from it as a key, so that the true message may have them."""
    run_bulk(connection, "UPDATE inbox SET variant = %s WHERE inbox_id = %s", (variant, inbox_id))


def settle_as_replayed(connection: Connection, inbox_id: int) -> None:
    """Give a locked letter the outcome of another message, which has its source, id and content."""
    statement = (
        "UPDATE inbox SET state = 'replayed', reason = NULL, detail = NULL, settled = NULL, settled_at = now() "
        "WHERE inbox_id = %s"
    )
    run_bulk(connection, statement, (inbox_id,))


def keep_dead(connection: Connection, inbox_id: int, reason: str, detail: str) -> None:
    """Leave a locked letter where it is, with what is wrong with it now."""
    statement = "UPDATE inbox SET reason = %s, detail = %s, settled = NULL WHERE inbox_id = %s"
    run_bulk(connection, statement, (reason, detail, inbox_id))


def drop(connection: Connection, inbox_id: int) -> None:
    """Settle a locked letter as dropped; row, bytes and reason stay."""
    statement = "UPDATE inbox SET state = 'dropped', settled = NULL, settled_at = now() WHERE inbox_id = %s"
    run_bulk(connection, statement, (inbox_id,))


# A conflict that came under the same source and id may have the variant that is due to this one.
_STEP_ASIDE = """
UPDATE inbox SET state = 'dropped', settled = NULL, settled_at = now(),
    variant = CASE
        WHEN variant <> '' THEN variant
        WHEN EXISTS (SELECT 1 FROM inbox c WHERE c.source = inbox.source AND c.event_id = inbox.event_id
                     AND c.variant = inbox.content_hash) THEN inbox.content_hash || int8send(inbox_id)
        ELSE content_hash END
WHERE inbox_id = %s
"""


def step_aside(connection: Connection, inbox_id: int) -> None:
    """Settle a locked letter as dropped, and leave its source and id to the message that takes its place.

    The letter keeps the key of a conflict, so that its own content, should it come again, is counted on it.
    """
    run_bulk(connection, _STEP_ASIDE, (inbox_id,))


# The parking that the action overwrites, unless an earlier action has kept it already.
_KEEP_PARKINGS = """
INSERT INTO dead_letter_actions (inbox_id, action, reason, detail, acted_at)
SELECT n.inbox_id, 'parked', n.reason, n.parked_detail, n.parked_at
FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::timestamptz[]) AS n(inbox_id, reason, parked_detail, parked_at)
LEFT JOIN dead_letter_actions a ON a.inbox_id = n.inbox_id AND a.action = 'parked' AND a.acted_at = n.parked_at
WHERE a.inbox_id IS NULL
"""
_APPEND_ACTIONS = """
INSERT INTO dead_letter_actions (inbox_id, action, reason, detail, acted_by)
SELECT * FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[], %b::text[])
"""


def append_actions(connection: Connection, actions: Sequence[NewAction]) -> None:
    """Keep what a person did about letters, and before it how each was parked at that time."""
    if not actions:
        return
    inbox_ids, names, reasons, details, acted_by, parked_details, parked_ats = (
        list(column) for column in zip(*actions, strict=True)
    )
    run_bulk(connection, _KEEP_PARKINGS, (inbox_ids, reasons, parked_details, parked_ats))
    run_bulk(connection, _APPEND_ACTIONS, (inbox_ids, names, reasons, details, acted_by))
