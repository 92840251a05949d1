"""Erases a customer from the messages that came: bytes, settled data, hashes, and what they are about."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json, to_json
from sqlalchemy import Connection

from core.domain.nameless import named_in, nameless_message
from core.domain.subjects import subject_id
from core.domain.value.commands import CUSTOMER, LINKED
from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.reading import MESSAGE_BYTES_KEPT_MAX, MessageLimits, ReadEvent, read_message
from core.store import tables
from core.store.engine import run_bulk
from core.store.personal_rows import IS_ABOUT_THEM
from core.store.rows import arrays

if TYPE_CHECKING:
    from core.store.erasing import Scrubbing

#: What is about an order and says nothing of a person: its hash can stay, and it still takes effect if it was parked.
_OF_ORDERS_ALONE = frozenset({"order.refunded", "order.fulfilled", "order.cancelled", "order.refund_reverted"})
#: Said of a dead letter that is dropped with its customer.
_DROPPED = "its customer was erased"


#: What was taken once is taken again.
_ANY = MessageLimits(MESSAGE_BYTES_KEPT_MAX, 1, 10**9, is_trusted=True)


class Row(NamedTuple):
    """A message that may name the customer."""

    inbox_id: int
    source: str
    event_id: str
    variant: bytes
    type: str | None
    occurred_at: datetime | None
    subject: str | None
    content_hash: bytes | None
    body: bytes
    settled: str | None
    state: str
    is_own: bool  #: it is about an account or an order of theirs


class Letters(NamedTuple):
    """The messages that were found."""

    changed: list["_Changed"]  #: without the customer
    dropped: list[int]  #: of them, dead letters that end here
    commands: list[tuple[str, str]]  #: of them, by source and id


class _Changed(NamedTuple):
    """A message without the customer."""

    inbox_id: int
    variant: bytes
    subject: str | None
    content_hash: bytes | None
    body: bytes
    settled: str | None
    is_over: bool  #: where answers go is not kept either
    is_dropped: bool


def find_messages(
    work: "Scrubbing",
    orders: Sequence[tuple[str, str, str]],
    events: Sequence[int],
    commands: Sequence[int],
    own_inbox_id: int | None,
) -> Letters:
    """Find what came of the customer, or about them, and what it is without them. Nothing is written yet."""
    columns = [f"t.{name}" for name in Row._fields[:-1]]
    rows = [Row(*row) for row in work.find_messages(orders, [*events, *commands], *columns, IS_ABOUT_THEM)]
    changed: list[_Changed] = []
    asked: list[_Changed] = []
    dropped: list[int] = []
    keys: list[tuple[str, str]] = []
    for row in rows:
        data = _data_of(row)
        if not row.is_own and data is not None and work.names.keys().isdisjoint(named_in(data)):
            continue
        after = _without(work, row, data)
        (asked if row.inbox_id == own_inbox_id else changed).append(after)
        if after.is_dropped:
            dropped.append(row.inbox_id)
        if (row.type or "").startswith(COMMAND_PREFIX):
            keys.append((row.source, row.event_id))
    work.count(tables.inbox, len(changed))
    return Letters([*changed, *asked], dropped, keys)


def _data_of(row: Row) -> Any:
    """What the message says, settled or as it came; None where it is no JSON."""
    try:
        if row.settled is not None:
            return from_json(row.settled)
        return from_json(row.body)
    except ValueError:
        return None


def _without(work: "Scrubbing", row: Row, data: Any) -> _Changed:
    is_open = row.state in {"received", "waiting"}
    if is_open or (row.state == "dead" and row.type in _OF_ORDERS_ALONE):
        left = _still_to_be_posted(work, row, data)
        if left is not None:
            return left
    is_dropped = row.state == "dead"
    if row.type in _OF_ORDERS_ALONE and not row.variant and row.content_hash is not None:
        return _Changed(row.inbox_id, b"", row.subject, row.content_hash, b"", None, True, is_dropped)
    key = row.content_hash
    if key is not None:
        key = work.keep_content("message", row.source, row.event_id, key)
    variant = row.variant and (key or row.variant)
    return _Changed(row.inbox_id, variant, _subject(work, row), key, b"", None, True, is_dropped)


def _still_to_be_posted(work: "Scrubbing", row: Row, data: Any) -> _Changed | None:
    """A message that is posted later, without the customer. None: of a dead letter it cannot be read what it says."""
    if row.type is None:
        return None
    if row.settled is None or row.occurred_at is None:
        return _parked_report(row)
    after = nameless_message(row.type, data, work.names)
    settled = to_json(after).decode()
    digest, body = content_of(row.type, row.occurred_at, settled), body_of(row, after)
    if row.content_hash is not None and digest != row.content_hash:
        work.keep_content("message", row.source, row.event_id, row.content_hash, digest)
    subject = INBOUND[row.type].subject(after)
    return _Changed(row.inbox_id, row.variant, subject, digest, body, settled, False, False)


def _parked_report(row: Row) -> _Changed | None:
    """A dead letter about an order, with just what it reports in the place of its bytes."""
    [event] = read_message(row.body, limits=_ANY, now=datetime.now(UTC)) if row.body else [None]
    if not isinstance(event, ReadEvent) or event.content_hash != row.content_hash:
        return None
    known = row._replace(occurred_at=event.occurred_at)
    body = body_of(known, from_json(event.settled))
    return _Changed(row.inbox_id, row.variant, row.subject, row.content_hash, body, None, False, False)


def content_of(event_type: str, occurred_at: datetime, settled: str) -> bytes:
    """The hash of a message's settled data, type and time, as reading makes it."""
    return sha256(f"{settled}\n{event_type}\n{occurred_at.astimezone(UTC).isoformat()}".encode()).digest()


def body_of(row: Any, data: Mapping[str, Any]) -> bytes:
    """The bytes that say this in the place of those that came."""
    time = row.occurred_at.astimezone(UTC).isoformat()
    event = {"specversion": "1.0", "id": row.event_id, "source": row.source, "type": row.type, "time": time}
    return to_json({**event, "data": data})


def _subject(work: "Scrubbing", row: Row) -> str | None:
    kind = (row.subject or "").partition(" ")[0]
    if row.subject is None or kind not in {CUSTOMER, *LINKED}:
        return row.subject
    is_named = kind in LINKED or subject_id(row.subject) in work.names
    return f"{kind} {work.token}" if is_named else row.subject


_PUT = """
UPDATE inbox t SET variant = k.variant, subject = k.subject, content_hash = k.content_hash, body = k.body,
    settled = k.settled, signature = NULL, tracestate = NULL,
    reply_to = CASE WHEN NOT k.is_over THEN t.reply_to END,
    correlation_id = CASE WHEN NOT k.is_over THEN t.correlation_id END,
    state = CASE WHEN k.is_dropped THEN 'dropped' ELSE t.state END,
    settled_at = CASE WHEN k.is_dropped THEN now() ELSE t.settled_at END
FROM unnest(%b::bigint[], %b::bytea[], %b::text[], %b::bytea[], %b::bytea[], %b::text[], %b::boolean[], %b::boolean[])
     AS k(inbox_id, variant, subject, content_hash, body, settled, is_over, is_dropped)
WHERE t.inbox_id = k.inbox_id
"""


def write_messages(work: "Scrubbing", letters: Letters) -> None:
    """Write them. What people wrote about dead letters goes; that they are dropped which name the customer is kept."""
    inbox_ids = [each.inbox_id for each in letters.changed]
    _forget_trace_states(work.connection, inbox_ids)
    run_bulk(work.connection, _PUT, arrays(letters.changed, len(_Changed._fields)))
    found = work.find(tables.dead_letter_actions, "t.action_id", inbox_ids=inbox_ids)
    work.write(tables.dead_letter_actions, [(row[0], None, None) for row in found])
    if letters.dropped:
        run_bulk(work.connection, _APPEND_DROPPED, (_DROPPED, "customer.erase", letters.dropped))


_WITH_TRACE_STATE = """
SELECT outbox_id, body FROM outbox WHERE tracestate IS NOT NULL AND traceparent = ANY(ARRAY(
    SELECT traceparent FROM inbox WHERE inbox_id = ANY(%b) AND tracestate IS NOT NULL))
"""
_PUT_STATELESS = """
UPDATE outbox t SET body = k.body, tracestate = NULL
FROM unnest(%b::bigint[], %b::text[]) AS k(outbox_id, body) WHERE t.outbox_id = k.outbox_id
"""


def _forget_trace_states(connection: Connection, inbox_ids: Sequence[int]) -> None:
    """Take what senders told tracing systems from all that these messages caused: they may have named anybody there."""
    events = [(outbox_id, from_json(body)) for outbox_id, body in run_bulk(connection, _WITH_TRACE_STATE, (inbox_ids,))]
    for _, event in events:
        event.pop("tracestate", None)
    if events:
        changed = [(outbox_id, to_json(event).decode()) for outbox_id, event in events]
        run_bulk(connection, _PUT_STATELESS, arrays(changed, 2))


_APPEND_DROPPED = """
INSERT INTO dead_letter_actions (inbox_id, action, detail, acted_by)
SELECT inbox_id, 'dropped', %s, %s FROM unnest(%b::bigint[]) AS k(inbox_id)
"""
