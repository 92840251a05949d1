"""The inbox: every message that came, byte for byte, and what became of it.

A row ends in exactly one outcome: posted, replayed, rejected (a command), dead (parked) or dropped; until then it is
received or waiting.
The unique key (source, event_id, variant) decides what is a replay, never a look-up before the insert.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.domain.outcomes import Reason, RejectionCode
from core.messages.trace_context import TraceContext, log_fields
from core.store.engine import Asked, ask, run_bulk
from core.store.erasures import ErasedMeanwhileError
from core.store.letters_again import MENDABLE
from core.store.locks import HELD_SHARDS
from core.store.sessions import Rows


class InboxMessage(NamedTuple):
    """One message as intake hands it over."""

    source: str
    event_id: str
    variant: bytes  #: empty for a readable event; for an unreadable one a hash of its bytes
    type: str | None
    occurred_at: datetime | None
    shard: int | None  #: None: that of its subject, which is looked up
    subject: str | None  #: None: it could not be read
    is_subject: bool
    content_hash: bytes | None
    body: bytes
    settled: str | None  #: what posting reads; None for a parked message
    reason: Reason | RejectionCode | None = None  #: set: the message is parked, or, with a code, rejected
    detail: str | None = None
    signature: str | None = None  #: of `body`, so that a retry can check it again
    subject_source: str | None = None  #: whose the subject is, where that is another source than the message's
    reply_to: str | None = None  #: the queue or stream to which its answer goes too; None: nobody asked for that
    correlation_id: str | None = None  #: goes back with the answer
    fallback_shard: int | None = None  #: where it is posted if its subject is nowhere; None: it waits for that
    points_per_command_max: int | None = None  #: that its source may move by one command; None: any number
    points_per_day_max: int | None = None  #: of all commands of this kind from its source; None: any number
    traceparent: str | None = None  #: of its sender's trace; None: it has none
    tracestate: str | None = None
    named: str | None = None  #: the subject of the account that it names, where it is posted if `shard` is None
    is_command: bool = False
    is_old: bool = False  #: of a customer who was erased, and known from before: nothing is left to be posted of it

    @property
    def is_rejected(self) -> bool:
        """Whether it is a command that is not let in."""
        return isinstance(self.reason, RejectionCode)

    @property
    def trace(self) -> TraceContext | None:
        """The trace that it belongs to."""
        return None if self.traceparent is None else TraceContext(self.traceparent, self.tracestate)


class StoredMessage(NamedTuple):
    """What the inbox made of one message."""

    inbox_id: int
    state: str  #: received, waiting or dead; for a replay, the state that its first delivery has by now
    shard: int | None
    is_new: bool  #: False: the same content was there already
    deliveries: int  #: how often it has come, with this time
    message: InboxMessage


class ClaimedMessage(NamedTuple):
    """One row that posting works on."""

    inbox_id: int
    source: str
    event_id: str
    type: str
    subject: str
    occurred_at: datetime
    settled: str
    received_at: datetime
    times_parked: int = 0
    subject_source: str | None = None
    awaits: str | None = None  #: what it waited for, where that was not what it is about
    reply_to: str | None = None  #: as of `InboxMessage`
    correlation_id: str | None = None
    points_per_command_max: int | None = None  #: as of `InboxMessage`
    points_per_day_max: int | None = None
    traceparent: str | None = None  #: of its sender's trace; None: it has none
    tracestate: str | None = None
    shard: int | None = None  #: where it is posted; None: it waits

    @property
    def trace(self) -> TraceContext | None:
        """The trace that it belongs to."""
        return None if self.traceparent is None else TraceContext(self.traceparent, self.tracestate)

    @property
    def log_fields(self) -> dict[str, Any]:
        """What a line of the log says that is about this message alone."""
        return {"inbox_id": self.inbox_id, **log_fields(self.trace)}

    @property
    def subject_key(self) -> tuple[str, str]:
        """Whose what it is about is, and what that is."""
        return self.subject_source or self.source, self.subject


class MessageState(NamedTuple):
    """What has become of one message so far."""

    state: str  #: received, waiting, posted, replayed, rejected, dead or dropped
    shard: int | None
    reason: str | None
    detail: str | None


class Settlement(NamedTuple):
    """What became of one claimed row: posted, replayed, rejected, waiting or dead."""

    inbox_id: int
    state: str
    reason: str | None = None
    detail: str | None = None
    others_posted: int = 0  #: of a waiting one: so many orders of this id are posted that it is not about


#: Whose what a message is about is; an index has the same words.
SUBJECT_SOURCE = "coalesce({m}.subject_source, {m}.source)"

# The shard of what a message is about, as far as the ledger knows it. No program is named: of an id that stands for
# several accounts, any one's shard will do, since accounts are locked. What waits although orders of the id are posted
# waits for one more of them, in the program that it is about.
SHARD_IN_LEDGER = f"""
CASE WHEN {{m}}.awaits IS NOT NULL
    THEN (SELECT max(o.shard) FROM refunds r
          JOIN orders o ON o.source = r.order_source AND o.order_id = r.order_id AND o.program_id = r.program_id
          WHERE r.source = {{m}}.source AND r.refund_id = substr({{m}}.awaits, length('refund ') + 1))
    WHEN split_part({{m}}.subject, ' ', 1) = 'order'
    THEN (SELECT max(o.shard) FROM orders o
          WHERE o.source = {SUBJECT_SOURCE} AND o.order_id = substr({{m}}.subject, length('order ') + 1)
          HAVING count(*) > {{m}}.others_posted)
    WHEN split_part({{m}}.subject, ' ', 1) = 'command'
    THEN (SELECT max(q.shard) FROM inbox q
          WHERE q.source = {SUBJECT_SOURCE} AND q.event_id = substr({{m}}.subject, length('command ') + 1))
    ELSE (SELECT r.shard FROM account_references r
          WHERE r.kind = split_part({{m}}.subject, ' ', 1)
            AND r.reference = substr({{m}}.subject, strpos({{m}}.subject, ' ') + 1) LIMIT 1)
END"""  # noqa: S608  # our own words
# Or as far as it is about to be posted.
_SHARD = f"""
coalesce({SHARD_IN_LEDGER},
         (SELECT q.shard FROM inbox q
          WHERE {SUBJECT_SOURCE.format(m="q")} = {SUBJECT_SOURCE} AND q.subject = {{m}}.subject AND q.is_subject
                AND q.state IN ('received', 'waiting') LIMIT 1))
"""  # noqa: S608  # our own words

_NEW_SHARD = _SHARD.replace("{m}.others_posted", "0").replace("{m}.awaits", "NULL::text")

# Of an order or a return that names an account which may just have been asked for: behind the command that makes it.
_NAMED_SHARD = f"""
CASE WHEN m.named IS NOT NULL THEN
    coalesce((SELECT shard FROM account_references WHERE (kind, reference) = ('account', substr(m.named, 9)) LIMIT 1),
             (SELECT q.shard FROM inbox q WHERE {SUBJECT_SOURCE.format(m="q")} = m.source AND q.subject = m.named
              AND q.is_subject AND q.state IN ('received', 'waiting') LIMIT 1))
END"""  # noqa: S608  # our own words

# Of a command that undoes one of the same batch: behind that.
_UNDONE_SHARD = f"""
CASE WHEN split_part(m.subject, ' ', 1) = 'command' THEN (
    SELECT coalesce(u.known_shard, u.fallback_shard) FROM placed u WHERE u.source = {SUBJECT_SOURCE.format(m="m")}
    AND u.event_id = substr(m.subject, length('command ') + 1) ORDER BY u.n LIMIT 1) END"""  # noqa: S608  # our own words

# Whoever asks again may have lost the queue in which the answer was to come.
_ASKS_AGAIN = "excluded.reply_to IS NOT NULL AND inbox.content_hash = excluded.content_hash"

_APPENDED = {
    "source": "text", "event_id": "text", "variant": "bytea", "type": "text", "occurred_at": "timestamptz",
    "shard": "smallint", "subject": "text", "is_subject": "boolean", "content_hash": "bytea", "body": "bytea",
    "settled": "text", "reason": "text", "detail": "text", "signature": "text", "subject_source": "text",
    "reply_to": "text", "correlation_id": "text", "fallback_shard": "smallint", "points_per_command_max": "bigint",
    "points_per_day_max": "bigint", "traceparent": "text", "tracestate": "text", "named": "text",
    "is_old": "boolean", "is_rejected": "boolean", "deliveries": "integer",
}  # fmt: skip
assert [*_APPENDED][:-3] == [*InboxMessage._fields][:-2]  # which `_append` hands over in their order
_MESSAGES = f"""
unnest({", ".join(f"%b::{kind}[]" for kind in _APPENDED.values())}) WITH ORDINALITY AS m({", ".join(_APPENDED)}, n)
"""
# Mostly one comes at a time, and then an array costs several times what the only value in it costs.
_ONE_MESSAGE = f"""
(SELECT {", ".join(f"%b::{kind}" for kind in _APPENDED.values())}, 1::bigint) AS m({", ".join(_APPENDED)}, n)
"""

# What names no customer (a refund, a fulfilment) is posted on the shard of what it is about; if that is not known yet,
# it waits. Numbers are drawn in order of arrival, and their row is held until the commit: they become visible in order.
# xmax is 0 for a row that this statement inserted, not for one that it found.
_APPEND = f"""
WITH drawn AS (
    UPDATE numbers SET next_number = next_number + %s WHERE name = 'inbox'
    RETURNING next_number - %s AS first, erasures
),
placed AS (
    SELECT m.*, coalesce(m.shard, {_NAMED_SHARD}, {_NEW_SHARD.format(m="m")}) AS known_shard
    FROM {{messages}}
)
INSERT INTO inbox (inbox_id, source, event_id, variant, type, occurred_at, shard, subject, is_subject, content_hash,
                   body, settled, state, reason, detail, signature, settled_at, times_parked, deliveries,
                   subject_source, reply_to, correlation_id, points_per_command_max, points_per_day_max,
                   traceparent, tracestate)
SELECT (SELECT first FROM drawn) + n - 1, source, event_id, variant, type, occurred_at, found_shard, subject,
       is_subject, content_hash, body, settled,
       CASE WHEN is_old THEN 'replayed' WHEN is_rejected THEN 'rejected' WHEN reason IS NOT NULL THEN 'dead'
            WHEN found_shard IS NULL THEN 'waiting' ELSE 'received' END,
       reason, detail, signature, CASE WHEN reason IS NOT NULL OR is_old THEN now() END,
       (reason IS NOT NULL AND NOT is_rejected)::integer, deliveries, subject_source, reply_to,
       correlation_id, points_per_command_max, points_per_day_max, traceparent, tracestate
FROM (SELECT m.*, coalesce(known_shard, {_UNDONE_SHARD}, fallback_shard) AS found_shard FROM placed m) AS placed
ORDER BY n
ON CONFLICT (source, event_id, variant) DO UPDATE
    SET reply_to = CASE WHEN {_ASKS_AGAIN} THEN excluded.reply_to ELSE inbox.reply_to END,
        correlation_id = CASE WHEN {_ASKS_AGAIN} THEN excluded.correlation_id ELSE inbox.correlation_id END,
        deliveries = inbox.deliveries
        + CASE WHEN inbox.content_hash IS NOT DISTINCT FROM excluded.content_hash THEN excluded.deliveries ELSE 0 END
RETURNING inbox_id, state, shard, xmax = 0, source, event_id, variant, content_hash, deliveries,
          (SELECT erasures FROM drawn)
"""  # noqa: S608  # our own words
_APPEND_MANY, _APPEND_ONE = (_APPEND.replace("{messages}", messages) for messages in (_MESSAGES, _ONE_MESSAGE))


def hold_numbers(connection: Connection) -> None:
    """Have intake wait until this transaction ends: for one that changes a key of the inbox before it appends."""
    run_bulk(connection, "SELECT 1 FROM numbers WHERE name = 'inbox' FOR UPDATE")


def append_messages(
    connection: Connection, messages: Sequence[InboxMessage], erasures: int | None = None
) -> list[StoredMessage]:
    """Store a batch with one statement; a second one only for conflicts.

    ErasedMeanwhileError where it is not `erasures` customers any longer who were erased.

    The same source and id with the same content is a replay: counted on the first row, whose answer goes to where the
    latest one asked for it. With other content it is a conflict: parked beside the first. The result is in no
    particular order.
    """
    groups: dict[tuple[str, str, bytes], list[InboxMessage]] = {}
    for message in messages:
        groups.setdefault((message.source, message.event_id, message.variant), []).append(message)
    stored: list[StoredMessage] = []
    again: list[InboxMessage] = []
    rows = _append(connection, [(_asked_last(group), _deliveries(group)) for group in groups.values()])
    if erasures is not None and any(row[-1] != erasures for row in rows):
        raise ErasedMeanwhileError
    for inbox_id, state, shard, is_new, source, event_id, variant, content_hash, deliveries, _ in rows:
        group = groups[source, event_id, bytes(variant)]
        is_counted = group[0].content_hash == content_hash
        for place, message in enumerate(group):
            if message.content_hash != content_hash:
                again.append(_as_conflict(message, inbox_id))
            elif is_counted:
                stored.append(StoredMessage(inbox_id, state, shard, is_new and place == 0, deliveries, message))
            else:
                again.append(message)
    if again:  # ends here: conflicts have keys of their own, and what is left under the old keys is the same as the row
        stored += append_messages(connection, again, erasures)
    return stored


def _deliveries(group: Sequence[InboxMessage]) -> int:
    return sum(message.content_hash == group[0].content_hash for message in group)


def _asked_last(group: Sequence[InboxMessage]) -> InboxMessage:
    """The first of a group, to be answered where the last of the same content wants it."""
    first = group[0]
    for again in reversed(group[1:]):
        if again.reply_to is not None and again.content_hash == first.content_hash:
            return first._replace(reply_to=again.reply_to, correlation_id=again.correlation_id)
    return first


def _as_conflict(message: InboxMessage, first_inbox_id: int) -> InboxMessage:
    assert message.content_hash is not None
    detail = event_conflict_text(first_inbox_id, message.type)
    reason = RejectionCode.COMMAND_CONFLICT if message.is_command else Reason.EVENT_CONFLICT
    return message._replace(variant=message.content_hash, shard=None, settled=None, reason=reason, detail=detail)


def event_conflict_text(first_inbox_id: int, event_type: str | None) -> str:
    """Why a message is parked that has the source and id of another one, and how to mend it."""
    changed = ", and a changed order as order.amended" if event_type == "order.completed" else ""
    return (
        f"message {first_inbox_id} has the same source and id but other content; "
        f"send another message under a new id{changed}, or drop this one"
    )


def _append(
    connection: Connection, messages: Sequence[tuple[InboxMessage, int]]
) -> list[tuple[int, str, int | None, bool, str, str, bytes, bytes | None, int, int]]:
    rows = ((*message[:-2], message.is_old, message.is_rejected, copies) for message, copies in messages)
    columns = [list(column) for column in zip(*rows, strict=True)]
    reasons = columns[InboxMessage._fields.index("reason")]
    reasons[:] = [None if reason is None else str(reason) for reason in reasons]
    count = len(messages)
    if count == 1:
        return run_bulk(connection, _APPEND_ONE, (count, count, *(value for (value,) in columns)))
    return run_bulk(connection, _APPEND_MANY, (count, count, *columns))


def load_message_state(connection: Connection, inbox_id: int) -> MessageState:
    """What has become of a message that is there."""
    [row] = run_bulk(connection, "SELECT state, shard, reason, detail FROM inbox WHERE inbox_id = %s", (inbox_id,))
    return MessageState(*row)


def subject_shard(connection: Connection, source: str, subject: str) -> int | None:
    """The shard of a known subject; None for one that has not come. `source` is the subject's."""
    values = "SELECT NULL::text AS subject_source, %s::text AS source, %s::text AS subject"
    statement = f"SELECT {_NEW_SHARD.format(m='m')} FROM ({values}) AS m"  # noqa: S608  # our own words
    ((shard,),) = run_bulk(connection, statement, (source, subject))
    return None if shard is None else int(shard)


#: The columns that `ClaimedMessage` takes, of the inbox as i.
CLAIMED = ", ".join(f"i.{name}" for name in ClaimedMessage._fields)
# A message weighs what posting has to read: its own text, and its order's lines, which are compressed in the table to a
# quarter or less; those of one order once. The first is claimed however heavy it is.
_CLAIM = f"""
SELECT {CLAIMED} FROM (
    SELECT w.*, sum(weight) OVER (ORDER BY inbox_id) AS weight_with_earlier FROM (
        SELECT n.*, octet_length(settled) + CASE WHEN NOT is_subject
               AND row_number() OVER (PARTITION BY coalesce(subject_source, source), subject ORDER BY inbox_id) = 1
               THEN coalesce((SELECT max(4 * pg_column_size(o.lines)) FROM orders o
                              WHERE o.source = {SUBJECT_SOURCE.format(m="n")}
                                    AND o.order_id = substr(n.subject, length('order ') + 1)), 0)
               ELSE 0 END AS weight
        FROM (SELECT r.* FROM unnest({HELD_SHARDS}) AS s(shard) CROSS JOIN LATERAL (
                  SELECT * FROM inbox WHERE shard = s.shard AND state = 'received' ORDER BY inbox_id LIMIT %(rows_max)s
              ) AS r ORDER BY inbox_id LIMIT %(rows_max)s) AS n
    ) AS w
) AS i WHERE weight_with_earlier <= greatest(%(bytes_max)s, weight) ORDER BY inbox_id
"""  # noqa: S608  # our own column names


def ask_received(connection: Connection, rows_max: int, bytes_max: int) -> Asked[list[ClaimedMessage]]:
    """The next rows of the held shards, oldest first, of which posting has to read at most about `bytes_max`.

    The caller has the shards' turns, so nobody else claims them.
    """
    return ask(connection, _CLAIM, {"rows_max": rows_max, "bytes_max": bytes_max}, _read_claimed)


def _read_claimed(rows: Rows) -> list[ClaimedMessage]:
    return [ClaimedMessage(*row) for row in rows]


_CLAIM_WAITING = f"""
SELECT {CLAIMED}
FROM inbox i JOIN (SELECT DISTINCT * FROM unnest(%b::text[], %b::text[]) AS k(source, subject)) k
     ON {SUBJECT_SOURCE.format(m="i")} = k.source AND i.subject = k.subject
WHERE i.state = 'waiting' ORDER BY i.inbox_id LIMIT %s FOR UPDATE OF i SKIP LOCKED
"""  # noqa: S608  # our own column names


def claim_waiting(connection: Connection, subjects: Sequence[tuple[str, str]], rows_max: int) -> list[ClaimedMessage]:
    """The oldest messages that wait for these (source, subject); what another transaction holds is left to it."""
    if not subjects:
        return []
    keys = [list(column) for column in zip(*subjects, strict=True)]
    return _read_claimed(run_bulk(connection, _CLAIM_WAITING, (*keys, rows_max)))


_SETTLE = """
WITH settled AS (
    UPDATE inbox SET state = s.state, reason = s.reason, detail = s.detail,
        settled = CASE WHEN s.state = 'waiting' OR s.reason = ANY(%b::text[]) THEN inbox.settled END,
        settled_at = CASE WHEN s.state = 'waiting' THEN NULL ELSE %s::timestamptz END,
        shard = CASE WHEN s.state = 'waiting' THEN NULL ELSE inbox.shard END,
        times_parked = inbox.times_parked + (s.state = 'dead')::integer, others_posted = s.others_posted
    FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::text[], %b::smallint[])
         AS s(inbox_id, state, reason, detail, others_posted)
    WHERE inbox.inbox_id = s.inbox_id
    RETURNING inbox.inbox_id, inbox.deliveries, inbox.reply_to, inbox.correlation_id
)
SELECT * FROM settled WHERE reply_to IS NOT NULL
"""


class AskedLast(NamedTuple):
    """Where the answer to a message is wanted by whoever has sent it last."""

    inbox_id: int
    deliveries: int  #: how often it has come until then
    reply_to: str
    correlation_id: str | None


_WAIT_FOR = """
UPDATE inbox SET awaits = k.awaits FROM unnest(%b::bigint[], %b::text[]) AS k(inbox_id, awaits)
WHERE inbox.inbox_id = k.inbox_id
"""


def wait_for(connection: Connection, awaited: Sequence[tuple[int, str]]) -> None:
    """Let these waiting messages wait for something else than what they are about: a refund of a known order."""
    if awaited:
        run_bulk(connection, _WAIT_FOR, tuple(list(column) for column in zip(*awaited, strict=True)))


def settle(connection: Connection, settlements: Sequence[Settlement], now: datetime) -> list[AskedLast]:
    """Write outcomes, in the transaction that wrote what they say; `now` is its time.

    Returns where answers are wanted by now: a message may have come again since it was claimed. Whoever sends it after
    this waits for the commit, and finds its answer.
    """
    if not settlements:
        return []
    columns = (list(column) for column in zip(*settlements, strict=True))
    return [AskedLast(*row) for row in run_bulk(connection, _SETTLE, ([*MENDABLE], now, *columns))]
