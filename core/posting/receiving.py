"""Receiving: raw messages into the inbox, whichever way they came: queue, command line or Celery."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.outcomes import Parked, Reason
from core.messages.inbound import MessageLimits, ReadEvent, UnreadableEvent, read_message
from core.posting.events import EventContext, message_parked
from core.store.appending import append_events
from core.store.engine import run_bulk
from core.store.inbox import ClaimedMessage, InboxMessage, StoredMessage, append_messages
from core.store.shards import message_shard


class Receipt(NamedTuple):
    """What became of a batch of raw messages."""

    stored: list[StoredMessage]
    shards: set[int]  #: that have new work

    @property
    def received(self) -> int:
        """New messages that will be posted."""
        return sum(message.is_new and message.state == "received" for message in self.stored)

    @property
    def waiting(self) -> int:
        """New refunds whose order is not known yet."""
        return sum(message.is_new and message.state == "waiting" for message in self.stored)

    @property
    def replayed(self) -> int:
        """Messages that had come before."""
        return sum(not message.is_new for message in self.stored)

    @property
    def parked(self) -> int:
        """New messages that need a person."""
        return sum(message.is_new and message.state == "dead" for message in self.stored)


def receive(
    connection: Connection, raw_messages: Sequence[bytes], *, limits: MessageLimits, shards: int, event_source: str
) -> Receipt:
    """Read and store raw messages in the transaction of `connection`.

    A second call with the same ones only counts them.
    """
    ((now,),) = run_bulk(connection, "SELECT now()")
    events = [event for raw in raw_messages for event in read_message(raw, limits=limits, now=now)]
    messages = _inbox_messages(events, shards)
    if not messages:
        return Receipt([], set())
    stored = append_messages(connection, messages)
    _tell_parked(connection, stored, event_source, now)
    return Receipt(stored, {m.shard for m in stored if m.is_new and m.state == "received" and m.shard is not None})


def park_unread(connection: Connection, raw: bytes, error: Exception, *, event_source: str) -> Receipt:
    """Park a message that could not be received because of `error`, unread, in the transaction of `connection`.

    So it blocks nobody, and can be retried when what failed is mended. A second call only counts it.
    """
    ((now,),) = run_bulk(connection, "SELECT now()")
    detail = f"receiving it raised {type(error).__name__}; retry it after a repair"
    event = UnreadableEvent(Reason.POSTING_FAILED, detail, raw, None, None, None)
    stored = append_messages(connection, [_parked_message(event)])
    _tell_parked(connection, stored, event_source, now)
    return Receipt(stored, set())


def _inbox_messages(events: Sequence[ReadEvent | UnreadableEvent], shards: int) -> list[InboxMessage]:
    """Rows for the inbox. A refund's shard is its order's: of this batch here, else found by the statement."""
    order_shards = {
        (event.source, event.order_id): message_shard(event.customer_id or event.order_id, shards)
        for event in events
        if isinstance(event, ReadEvent) and event.refund_id is None
    }
    messages: list[InboxMessage] = []
    for event in events:
        if isinstance(event, UnreadableEvent):
            messages.append(_parked_message(event))
        else:
            shard = order_shards.get((event.source, event.order_id))
            messages.append(
                InboxMessage(
                    event.source,
                    event.event_id,
                    b"",
                    event.type,
                    event.occurred_at,
                    shard,
                    event.order_id,
                    event.content_hash,
                    event.body,
                )
            )
    return messages


def _parked_message(event: UnreadableEvent) -> InboxMessage:
    digest = sha256(event.body).digest()
    return InboxMessage(
        source=event.source or "",
        event_id=event.event_id or "",
        variant=digest,
        type=event.type,
        occurred_at=None,
        shard=None,
        order_id=None,
        content_hash=digest,
        body=event.body,
        reason=event.reason,
        detail=event.detail,
    )


def _tell_parked(connection: Connection, stored: Sequence[StoredMessage], event_source: str, now: datetime) -> None:
    """Tell the shop about every message that was parked here and now."""
    context = EventContext(event_source, now)
    events = []
    for row in stored:
        reason, detail = row.message.reason, row.message.detail
        if row.is_new and reason is not None and detail is not None:
            m = row.message
            claimed = ClaimedMessage(row.inbox_id, m.source, m.event_id, m.type or "", m.order_id or "", m.body, now)
            events.append(message_parked(claimed, Parked(reason, detail), context))
    append_events(connection, events)
