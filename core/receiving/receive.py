"""Receiving: raw messages into the inbox, whichever way they came: queue, command line or Celery."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from itertools import repeat
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from core.domain.outcomes import Parked, Reason
from core.domain.subjects import subject_id
from core.messages.inbound.contracts import INBOUND, Contracts
from core.messages.inbound.reading import MessageLimits, ReadEvent, UnreadableEvent, read_message
from core.messages.inbound.sources import is_signature
from core.posting.events import EventContext, message_parked
from core.store.appending import append_events
from core.store.engine import run_bulk
from core.store.failures import frames, is_outage
from core.store.inbox import ClaimedMessage, InboxMessage, StoredMessage, append_messages
from core.store.shards import message_shard

log = structlog.get_logger(__name__)

#: Stands where a signature would. It has not the form of one, and so no sender can make us store it.
BY_OPERATOR = "operator"


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
        """New messages about an order that is not known yet."""
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
    connection: Connection,
    raw_messages: Sequence[bytes],
    *,
    limits: MessageLimits,
    shards: int,
    event_source: str,
    signatures: Sequence[str | None] = (),
    received_at: datetime | None = None,
    contracts: Contracts = INBOUND,
) -> Receipt:
    """Read and store raw messages in the transaction of `connection`.

    A second call with the same ones only counts them. `signatures`, if there are any, has one for each message;
    `received_at` is when the messages came, if that was earlier.
    """
    ((now,),) = run_bulk(connection, "SELECT now()")
    events = [
        event
        for raw, signature in zip(raw_messages, signatures or repeat(None))  # noqa: B905  # repeat() has no end
        for event in read_message(
            raw, limits=limits, now=now, signature=signature, received_at=received_at, contracts=contracts
        )
    ]
    return _stored(connection, _inbox_messages(events, shards), event_source, now)


def receive_by_operator(
    connection: Connection, raw_messages: Sequence[bytes], *, limits: MessageLimits, shards: int, event_source: str
) -> Receipt:
    """Receive what somebody hands over who may write to the database: whoever can do that need not prove anything.

    That is kept with the messages, so that a retry does not ask for signatures either.
    """
    ((now,),) = run_bulk(connection, "SELECT now()")
    unguarded = limits._replace(sources=None)
    events = [event for raw in raw_messages for event in read_message(raw, limits=unguarded, now=now)]
    messages = [message._replace(signature=BY_OPERATOR) for message in _inbox_messages(events, shards)]
    return _stored(connection, messages, event_source, now)


def _stored(connection: Connection, messages: Sequence[InboxMessage], event_source: str, now: datetime) -> Receipt:
    if not messages:
        return Receipt([], set())
    stored = append_messages(connection, messages)
    _tell_parked(connection, stored, event_source, now)
    return Receipt(stored, {m.shard for m in stored if m.is_new and m.state == "received" and m.shard is not None})


def receive_batch(
    engine: Engine,
    raw_messages: Sequence[bytes],
    *,
    limits: MessageLimits,
    shards: int,
    event_source: str,
    signatures: Sequence[str | None] = (),
    contracts: Contracts = INBOUND,
) -> list[Receipt]:
    """Receive in one transaction; if that fails, each message in its own, so that a bad one cannot block the others.

    One that fails alone is parked unread. A database that is gone is no message's fault: the error is raised.
    """

    def received(raw: Sequence[bytes], signed: Sequence[str | None]) -> Receipt:
        with engine.begin() as connection:
            return receive(
                connection, raw, limits=limits, shards=shards, event_source=event_source, signatures=signed,
                contracts=contracts,
            )  # fmt: skip

    def received_alone(raw: bytes, signature: str | None) -> Receipt:
        try:
            return received([raw], [signature])
        except Exception as error:
            if is_outage(error):
                raise
            log.error(  # noqa: TRY400  # the text of a database error holds the row, and so a customer's data
                "receiving_failed",
                action="receiving_failed",
                error=type(error).__name__,
                frames=frames(error),
            )
            with engine.begin() as connection:
                return _park_unread(connection, raw, signature, error, event_source)

    try:
        return [received(raw_messages, signatures)]
    except Exception as error:
        if is_outage(error):
            raise
        log.warning("receiving_batch_failed", action="receiving_batch_failed", error=type(error).__name__)
    return [
        received_alone(raw, signature)
        for raw, signature in zip(raw_messages, signatures or repeat(None))  # noqa: B905  # repeat() has no end
    ]


def _park_unread(
    connection: Connection, raw: bytes, signature: str | None, error: Exception, event_source: str
) -> Receipt:
    """Park a message that could not be received; it can be retried when what failed is mended."""
    ((now,),) = run_bulk(connection, "SELECT now()")
    detail = f"receiving it raised {type(error).__name__}; retry it after a repair"
    kept = signature if is_signature(signature) else None
    event = UnreadableEvent(Reason.POSTING_FAILED, detail, raw, None, None, None, kept)
    stored = append_messages(connection, [_parked_message(event)])
    _tell_parked(connection, stored, event_source, now)
    return Receipt(stored, set())


def _inbox_messages(events: Sequence[ReadEvent | UnreadableEvent], shards: int) -> list[InboxMessage]:
    """Rows for the inbox. What names no customer has its subject's shard: of this batch, or found by the statement."""
    subject_shards = {
        (event.source, event.subject): own_shard(event, shards)
        for event in events
        if isinstance(event, ReadEvent) and event.is_subject
    }
    messages: list[InboxMessage] = []
    for event in events:
        if isinstance(event, UnreadableEvent):
            messages.append(_parked_message(event))
        else:
            shard = subject_shards.get((event.source, event.subject))
            messages.append(
                InboxMessage(
                    event.source,
                    event.event_id,
                    b"",
                    event.type,
                    event.occurred_at,
                    own_shard(event, shards) if shard is None else shard,
                    event.subject,
                    event.is_subject,
                    event.content_hash,
                    event.body,
                    event.settled,
                    signature=event.signature,
                )
            )
    return messages


def own_shard(event: ReadEvent, shards: int) -> int | None:
    """The shard of the customer, or of a guest's order; None for what is posted where its subject is."""
    if event.customer_id is not None:
        return message_shard(event.customer_id, shards)
    return message_shard(subject_id(event.subject), shards) if event.is_subject else None


def _parked_message(event: UnreadableEvent) -> InboxMessage:
    # With its signature: a forger who sends the bytes first must not take the place of the signed message.
    digest = sha256(event.body + (b"\n" + event.signature.encode() if event.signature else b"")).digest()
    return InboxMessage(
        source=event.source or "",
        event_id=event.event_id or "",
        variant=digest,
        type=event.type,
        occurred_at=None,
        shard=None,
        subject=None,
        is_subject=False,
        content_hash=digest,
        body=event.body,
        settled=None,
        reason=event.reason,
        detail=event.detail,
        signature=event.signature,
    )


def _tell_parked(connection: Connection, stored: Sequence[StoredMessage], event_source: str, now: datetime) -> None:
    """Notify the shop of every message that was parked here and now."""
    context = EventContext(event_source, now)
    events = []
    for row in stored:
        reason, detail = row.message.reason, row.message.detail
        if row.is_new and reason is not None and detail is not None:
            m = row.message
            claimed = ClaimedMessage(row.inbox_id, m.source, m.event_id, m.type or "", m.subject or "", now, "", now)
            events.append(message_parked(claimed, Parked(reason, detail), context))
    append_events(connection, events)
