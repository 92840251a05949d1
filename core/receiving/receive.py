"""Receiving: raw messages into the inbox, whichever way they came: queue or command line."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, Engine

from core.domain.outcomes import Parked, Reason
from core.domain.subjects import command_subject, subject_id
from core.messages.inbound.contracts import INBOUND, Contracts
from core.messages.inbound.reading import (
    MESSAGE_BYTES_KEPT_MAX,
    CutMessage,
    MessageLimits,
    ReadEvent,
    UnreadableEvent,
    read_message,
)
from core.messages.inbound.replies import ReplyAddress, allowed_reply
from core.messages.inbound.sources import is_signature
from core.messages.trace_context import TraceContext, log_fields
from core.posting.events import EventContext, message_parked
from core.receiving.answering import intake_answers, log_refusals
from core.receiving.erased_customers import without_erased
from core.store.appending import OutboxEvent, append_events
from core.store.erasures import ErasedMeanwhileError, ErasureSaltError, IntakeState, RecentIntakeState, intake_state
from core.store.failures import frames, is_outage
from core.store.inbox import ClaimedMessage, InboxMessage, StoredMessage, append_messages
from core.store.shards import message_shard

log = structlog.get_logger(__name__)

#: What one transaction stores, unless one message alone is more: its statements must end well within their time.
_EVENTS_AT_ONCE_MAX = 2_500
_BYTES_AT_ONCE_MAX = MESSAGE_BYTES_KEPT_MAX

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

    @property
    def rejected(self) -> int:
        """New commands that are not let in."""
        return sum(message.is_new and message.state == "rejected" for message in self.stored)


class _Beside(NamedTuple):
    """A message with what came beside it."""

    raw: bytes | CutMessage
    signature: str | None
    reply: ReplyAddress | None
    trace: TraceContext | None


class _Message(NamedTuple):
    """A message that has been read."""

    raw: bytes | CutMessage
    signature: str | None
    events: list[ReadEvent | UnreadableEvent]
    trace: TraceContext | None = None  #: that came beside it


def receive(
    connection: Connection,
    raw_messages: Sequence[bytes],
    *,
    limits: MessageLimits,
    shards: int,
    event_source: str,
    signatures: Sequence[str | None] = (),
    replies: Sequence[ReplyAddress | None] = (),
    traces: Sequence[TraceContext | None] = (),
    received_at: datetime | None = None,
    contracts: Contracts = INBOUND,
) -> Receipt:
    """Read and store a few raw messages in the transaction of `connection`; many are for `receive_in_parts`.

    ErasedMeanwhileError where somebody was erased meanwhile: do the transaction again. A second call with the same ones
    only counts them. `signatures`, `replies` and `traces`, if there are any, have one for each
    message, else ValueError; `received_at` is when the messages came, if that was earlier.
    """
    state = intake_state(connection)
    read = _read(_beside(raw_messages, signatures, replies, traces), limits, state.now, contracts, received_at)
    return _stored(connection, _inbox_messages(_events(read), shards), event_source, state, limits.reference_salt)


def receive_by_operator(
    connection: Connection,
    raw_messages: Sequence[bytes],
    *,
    limits: MessageLimits,
    shards: int,
    event_source: str,
    traces: Sequence[TraceContext | None] = (),
) -> Receipt:
    """Receive what somebody hands over who may write to the database: whoever can do that need not prove anything.

    That is kept with the messages, so that a retry does not ask for signatures either.
    """
    state = intake_state(connection)
    beside = _beside(raw_messages, traces=traces)
    read = _read(beside, limits._replace(sources=None, is_trusted=True), state.now, INBOUND)
    messages = _by_operator(_inbox_messages(_events(read), shards))
    return _stored(connection, messages, event_source, state, limits.reference_salt)


def receive_in_parts(
    engine: Engine,
    raw_messages: Sequence[bytes | CutMessage],
    *,
    limits: MessageLimits,
    shards: int,
    event_source: str,
    signatures: Sequence[str | None] = (),
    replies: Sequence[ReplyAddress | None] = (),
    traces: Sequence[TraceContext | None] = (),
    contracts: Contracts = INBOUND,
    is_by_operator: bool = False,
    recent: RecentIntakeState | None = None,
) -> Iterator[tuple[int, Receipt]]:
    """Receive messages in bounded transactions; tell after each how many more of them are stored, in their order.

    They are read before the transaction begins: how long that takes is up to their sender, and the database ends a
    session that is silent within a transaction. If a part cannot be stored, each of its messages is stored in a
    transaction of its own, so that a bad one cannot block the others; one that fails alone is parked unread. A database
    that is gone is no message's fault: the error is raised. Who receives again and again keeps a `recent`.
    """
    recent = recent or RecentIntakeState(engine)
    now = recent().now
    store = _Store(engine, shards, event_source, recent, limits.reference_salt, is_by_operator)
    limits = limits._replace(sources=None, is_trusted=True) if is_by_operator else limits
    beside = _beside(raw_messages, signatures, replies, traces)
    yield from _in_parts(store, _read(beside, limits, now, contracts))


def receive_read_by_operator(
    engine: Engine, read: Sequence[tuple[bytes, ReadEvent]], *, limits: MessageLimits, shards: int, event_source: str
) -> Iterator[tuple[int, Receipt]]:
    """The same of messages that their sender has read before, each with the one event in it."""
    store = _Store(engine, shards, event_source, RecentIntakeState(engine), limits.reference_salt, True)
    yield from _in_parts(store, (_Message(raw, None, [event]) for raw, event in read))


def _in_parts(store: "_Store", messages: Iterable[_Message]) -> Iterator[tuple[int, Receipt]]:
    for part in _parts(messages):
        try:
            receipt = store.messages(part)
        except ErasureSaltError:
            raise
        except Exception as error:
            if is_outage(error):
                raise
            log.warning("receiving_batch_failed", action="receiving_batch_failed", error=type(error).__name__)
            for message in part:
                yield 1, store.alone(message)
        else:
            yield len(part), receipt


class _Store(NamedTuple):
    """Stores what has been read, each time in a transaction of its own."""

    engine: Engine
    shards: int
    event_source: str
    recent: RecentIntakeState
    reference_salt: bytes | None
    is_by_operator: bool

    def messages(self, messages: Sequence[_Message]) -> Receipt:
        return self._rows(_inbox_messages(_events(messages), self.shards))

    def alone(self, message: _Message) -> Receipt:
        try:
            return self.messages([message])
        except Exception as error:
            if is_outage(error):
                raise
            log.error(  # noqa: TRY400  # the text of a database error holds the row, and so a customer's data
                "receiving_failed",
                action="receiving_failed",
                error=type(error).__name__,
                frames=frames(error),
                **log_fields(message.events[0].trace),
            )
            return self._rows([_parked_message(_unread(message, error))])

    def _rows(self, rows: list[InboxMessage]) -> Receipt:
        rows, state = _by_operator(rows) if self.is_by_operator else rows, self.recent()
        while True:
            try:
                with self.engine.begin() as connection:
                    receipt = _stored(connection, rows, self.event_source, state, self.reference_salt)
                break
            except ErasedMeanwhileError:
                state = self.recent.ask()
        if not self.is_by_operator:  # a person is told by the command that they gave
            log_refusals(receipt.stored)
        return receipt


def _beside(
    raw_messages: Sequence[bytes | CutMessage],
    signatures: Sequence[str | None] = (),
    replies: Sequence[ReplyAddress | None] = (),
    traces: Sequence[TraceContext | None] = (),
) -> list[_Beside]:
    """Each message with what came beside it. ValueError, before any is read, where a list is of another length."""
    nothing = (None,) * len(raw_messages)
    beside = zip(raw_messages, signatures or nothing, replies or nothing, traces or nothing, strict=True)
    return [_Beside(*each) for each in beside]


def _read(
    messages: Iterable[_Beside],
    limits: MessageLimits,
    now: datetime,
    contracts: Contracts,
    received_at: datetime | None = None,
) -> Iterator[_Message]:
    for raw, signature, reply, trace in messages:
        events = read_message(
            raw, limits=limits, now=now, signature=signature, received_at=received_at, reply=reply, trace=trace,
            contracts=contracts,
        )  # fmt: skip
        asked = next((event.reply for event in events if event.reply is not None), None)
        if asked is not None:
            allowed = _allowed(asked, limits.reply_prefix, events[0].trace)
            events = [event if event.reply is None else event._replace(reply=allowed) for event in events]
        yield _Message(raw, signature, events, trace)


def _allowed(asked: ReplyAddress, prefix: str, trace: TraceContext | None) -> ReplyAddress | None:
    """What is kept of an address. What is not is told without its text, in which a person may be named."""
    allowed = allowed_reply(asked, prefix)
    if allowed is None:
        told = {"characters": len(asked.reply_to), **log_fields(trace)}
        log.warning("reply_to_refused", action="reply_to_refused", prefix=prefix, **told)
    elif allowed != asked:
        log.warning("correlation_id_refused", action="correlation_id_refused", **log_fields(trace))
    return allowed


def _events(messages: Iterable[_Message]) -> list[ReadEvent | UnreadableEvent]:
    return [event for message in messages for event in message.events]


def _parts(messages: Iterable[_Message]) -> Iterator[list[_Message]]:
    """Cut messages, as they are read, into what is stored together; one that is too much alone is a part of its own."""
    part: list[_Message] = []
    events = size_bytes = 0
    for message in messages:
        message_bytes = sum(len(event.body) for event in message.events)
        is_full = events + len(message.events) > _EVENTS_AT_ONCE_MAX or size_bytes + message_bytes > _BYTES_AT_ONCE_MAX
        if part and is_full:
            yield part
            part, events, size_bytes = [], 0, 0
        part.append(message)
        events += len(message.events)
        size_bytes += message_bytes
    if part:
        yield part


def _by_operator(messages: Sequence[InboxMessage]) -> list[InboxMessage]:
    return [message._replace(signature=BY_OPERATOR) for message in messages]


def _stored(
    connection: Connection, messages: Sequence[InboxMessage], event_source: str, state: IntakeState, salt: bytes | None
) -> Receipt:
    if not messages:
        return Receipt([], set())
    if state.erasures:
        messages = without_erased(connection, messages, salt)
    stored = append_messages(connection, messages, state.erasures)
    context = EventContext(event_source, state.now)
    append_events(connection, [*_parked_events(stored, context), *intake_answers(connection, stored, context)])
    return Receipt(stored, {m.shard for m in stored if m.is_new and m.state == "received" and m.shard is not None})


def _unread(message: _Message, error: Exception) -> UnreadableEvent:
    """What is kept of a message that could not be received; it can be retried when what failed is mended."""
    detail = f"receiving it raised {type(error).__name__}; retry it after a repair"
    kept = message.signature if is_signature(message.signature) else None
    body, digest = (message.raw, None) if isinstance(message.raw, bytes) else (message.raw.head, message.raw.digest)
    return UnreadableEvent(Reason.POSTING_FAILED, detail, body, None, None, None, kept, digest, trace=message.trace)


def _inbox_messages(events: Sequence[ReadEvent | UnreadableEvent], shards: int) -> list[InboxMessage]:
    """Rows for the inbox. What names no customer has its subject's shard: of this batch, or found by the statement."""
    subject_shards = _subject_shards([event for event in events if isinstance(event, ReadEvent)], shards)
    messages: list[InboxMessage] = []
    for event in events:
        if isinstance(event, UnreadableEvent):
            messages.append(_parked_message(event))
        else:
            is_looked_up = _is_looked_up(event)
            shard = subject_shards.get(_subject_key(event))
            if shard is None and not is_looked_up:
                shard = own_shard(event, shards)
            messages.append(
                InboxMessage(
                    event.source,
                    event.event_id,
                    b"",
                    event.type,
                    event.occurred_at,
                    shard,
                    event.subject,
                    event.is_subject,
                    event.content_hash,
                    event.body,
                    event.settled,
                    signature=event.signature,
                    subject_source=event.subject_source,
                    reply_to=event.reply and event.reply.reply_to,
                    correlation_id=event.reply and event.reply.correlation_id,
                    fallback_shard=own_shard(event, shards) if is_looked_up else fallback_shard(event, shards),
                    points_per_command_max=event.points_per_command_max,
                    points_per_day_max=event.points_per_day_max,
                    traceparent=event.trace and event.trace.traceparent,
                    tracestate=event.trace and event.trace.tracestate,
                    named=event.named if is_looked_up else None,
                    is_command=event.is_command,
                )
            )
    return messages


def _subject_shards(events: Sequence[ReadEvent], shards: int) -> dict[tuple[str, str], int | None]:
    """Where what this batch brings into being is posted, and its commands; None: the statement finds out.

    What names an account by its id comes behind the command of the same source that makes the account.
    """
    found = {_subject_key(each): own_shard(each, shards) for each in events if each.is_subject and each.named is None}
    for each in events:
        if each.is_subject and each.named is not None:
            of_account = found.get((each.source, each.named))
            own = None if _is_looked_up(each) else own_shard(each, shards)
            found[_subject_key(each)] = own if of_account is None else of_account
    for each in events:
        if each.is_command:
            shard = found.get(_subject_key(each)) if each.is_subject else None
            found[each.source, command_subject(each.event_id)] = own_shard(each, shards) if shard is None else shard
    return found


def _is_looked_up(event: ReadEvent) -> bool:
    """Whether the statement finds out where an order or a return is posted: where the account is that it names."""
    return event.named is not None and event.is_subject and not event.is_command


def _subject_key(event: ReadEvent) -> tuple[str, str]:
    return event.subject_source or event.source, event.subject


def own_shard(event: ReadEvent, shards: int) -> int | None:
    """The shard of the customer, or of a guest's order; None for what is posted where its subject is."""
    if event.customer_id is not None:
        return message_shard(event.customer_id, shards)
    return message_shard(subject_id(event.subject), shards) if event.is_subject else None


def fallback_shard(event: ReadEvent, shards: int) -> int | None:
    """Where a command is posted whose subject is nowhere, and there rejected; None for what waits for its subject."""
    return message_shard(subject_id(event.subject), shards) if event.is_command else None


def is_only_a_head(body: bytes, signature: str | None, content_hash: bytes | None) -> bool:
    """Whether of a message that was never read only the beginning is kept: its hash is not that of its bytes."""
    return content_hash != _hash_of_unread(body, None if signature == BY_OPERATOR else signature)


def _hash_of_unread(content: bytes, signature: str | None) -> bytes:
    # With its signature: a forger who sends the bytes first must not take the place of the signed message.
    return sha256(content + (b"\n" + signature.encode() if signature else b"")).digest()


def _parked_message(event: UnreadableEvent) -> InboxMessage:
    digest = _hash_of_unread(event.digest or event.body, event.signature)
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
        reply_to=event.reply and event.reply.reply_to,
        correlation_id=event.reply and event.reply.correlation_id,
        traceparent=event.trace and event.trace.traceparent,
        tracestate=event.trace and event.trace.tracestate,
    )


def _parked_events(stored: Sequence[StoredMessage], context: EventContext) -> Iterator[OutboxEvent]:
    """Notify the shop of every message that was parked here and now."""
    now = context.recorded_at
    for row in stored:
        reason, detail = row.message.reason, row.message.detail
        if row.is_new and isinstance(reason, Reason) and detail is not None:
            m = row.message
            claimed = ClaimedMessage(
                row.inbox_id, m.source, m.event_id, m.type or "", m.subject or "", now, "", now,
                reply_to=m.reply_to, correlation_id=m.correlation_id,
                traceparent=m.traceparent, tracestate=m.tracestate,
            )  # fmt: skip
            yield message_parked(claimed, Parked(reason, detail), context)
