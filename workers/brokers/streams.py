"""Redis and Valkey: streams and a consumer group, read with redis-py.

Not through kombu: its Redis transport reads only its own envelope, one message per round trip, and loses the message in
flight when it is killed.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis
import structlog
from redis.exceptions import ResponseError

from core.errors import BrokerUnavailableError, EventNotConfirmedError
from core.messages.inbound.problems import STREAM_ENTRY
from core.messages.inbound.reading import CutMessage
from core.messages.outbound.replies import Reply
from core.messages.trace_context import TraceContext
from workers.brokers.contracts import Delivery, IntakeQueue, url_without_password
from workers.brokers.headers import (
    TRACE_FIELDS,
    reply_of_fields,
    signature_of_fields,
    trace_headers,
    trace_of_fields,
)
from workers.brokers.large_messages import kept
from workers.brokers.stream_link import broker_errors, greet, open_client
from workers.brokers.stream_replies import CuttingParser
from workers.brokers.stream_scripts import ADD_REPLY, GREATEST_ID, RENEW_STREAM, TAKE_SUBMITTED
from workers.brokers.topology import (
    CORRELATION_FIELD,
    EVENT_FIELD,
    EVENT_STREAM,
    FRESH_STREAM,
    INTAKE_GROUP,
    REPLY_FIELD,
    SHOP_STREAM,
    SIGNATURE_FIELD,
    SUBMIT_LISTS,
    TYPE_FIELD,
)

_BLOCK_SECONDS_MAX: Final = 5.0  # a longer wait is done in slices, so that a dead socket is noticed and claims go on
#: What Celery's clients send lies in lists, and nobody can wait for these and for the stream at once.
_SUBMITTED_SECONDS_MAX: Final = 0.1
_TAIL_ENTRIES_MAX: Final = 500
_LATELY_MILLISECONDS: Final = 60_000
_RENEW_SECONDS: Final = 600.0
#: How long a stream of answers is kept after the last one, and how many of them, about.
_REPLIES_KEPT_SECONDS: Final = 3600
_REPLIES_KEPT_MAX: Final = 10_000

log = structlog.get_logger(__name__)

_Fields = Mapping[bytes, bytes | CutMessage]
_Entry = tuple[bytes | None, _Fields | None]


class StreamIntake:
    """`IntakeSource` on the shop stream, into which it also takes what Celery's clients send.

    `consumer` must be stable over restarts and different for each process: under this name the group keeps what was
    received and not acknowledged, and a new process of that name begins with it. What another consumer left for
    `idle_claim_seconds` is claimed, so a batch must be stored well within that time (if it is not, two processes store
    it, which is harmless). Names of consumers that are gone stay in the group: deleting one that wakes up in that
    moment would lose its messages, and an idle name costs some hundred bytes.
    """

    def __init__(self, broker_url: str, *, consumer: str, idle_claim_seconds: float) -> None:
        """Connect, create stream and group where missing (the group reads from the stream's beginning)."""
        self._where = url_without_password(broker_url)
        self._consumer = consumer
        self._idle_claim_seconds = idle_claim_seconds
        self._claim_position: bytes = b"0-0"
        self._claim_at = time.monotonic()
        self._own_position: bytes | None = b"0-0"  # None: everything that was pending under our name has been read
        self._redis = open_client(broker_url, blocks_seconds_max=_BLOCK_SECONDS_MAX, parser_class=CuttingParser)
        self._take_submitted = self._redis.register_script(TAKE_SUBMITTED)
        with self._own_pending_again():
            greet(self._redis, self._where)
            self._create_group()

    def receive(self, *, messages_max: int, wait_seconds: float) -> list[Delivery]:
        """See `IntakeSource.receive`. First what is pending under our name, then claims, then new messages."""
        deadline = time.monotonic() + wait_seconds
        with self._own_pending_again():
            while True:
                self._take_submitted(keys=(SHOP_STREAM, *SUBMIT_LISTS), args=(EVENT_FIELD, messages_max))
                look_again_at = min(deadline, self._claim_at, time.monotonic() + _SUBMITTED_SECONDS_MAX)
                received = (
                    self._read_own_pending(messages_max)
                    or self._claim_abandoned(messages_max)
                    or self._read_new(messages_max, look_again_at - time.monotonic())
                )
                if received or time.monotonic() >= deadline:
                    return received

    def acknowledge(self, received: Sequence[Delivery]) -> None:
        """Take these entries out of the group and out of the stream, in one transaction."""
        if not received:
            return
        ids = [message.token for message in received]
        with self._own_pending_again():
            # Deleted too, not only acknowledged, so that a full server gets room as we drain it; and both or none,
            # since an entry acknowledged but never deleted would stay for ever.
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.xack(SHOP_STREAM, INTAKE_GROUP, *ids)
            pipeline.xdel(SHOP_STREAM, *ids)
            pipeline.execute()

    def heartbeat(self) -> None:
        """Do nothing: the server expects none, and the next command finds a dead connection by its timeouts."""

    def close(self) -> None:
        """Close the connection; what was not acknowledged stays pending under our name."""
        self._redis.close()

    @contextmanager
    def _own_pending_again(self) -> Iterator[None]:
        try:
            with broker_errors(self._where):
                yield
        except BrokerUnavailableError:
            # The lost answer may have been a delivery: those entries are pending under our name, and `>` never shows
            # them again.
            self._own_position = b"0-0"
            raise

    def _create_group(self) -> None:
        try:
            self._redis.xgroup_create(SHOP_STREAM, INTAKE_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # it exists: what we wanted
                raise

    def _in_group(self, command: Callable[[], Any]) -> Any:
        """Run `command`; where somebody deleted the group or the stream, create it and run `command` again."""
        try:
            return command()
        except ResponseError as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            self._create_group()
            return command()

    def _read_own_pending(self, messages_max: int) -> list[Delivery]:
        position = self._own_position
        if position is None:
            return []
        entries = self._read_group(position, messages_max, None)
        self._own_position = entries[-1][0] if entries else None
        return self._received(entries)

    def _claim_abandoned(self, messages_max: int) -> list[Delivery]:
        if time.monotonic() < self._claim_at:
            return []
        answer = self._in_group(
            lambda: self._redis.xautoclaim(
                SHOP_STREAM,
                INTAKE_GROUP,
                self._consumer,
                min_idle_time=int(self._idle_claim_seconds * 1000),
                start_id=self._claim_position,
                count=messages_max,
            )
        )
        self._claim_position = answer[0]
        if self._claim_position == b"0-0":  # the whole list of pending entries was looked through
            self._claim_at = time.monotonic() + self._idle_claim_seconds / 2
        return self._received(answer[1])

    def _read_new(self, messages_max: int, wait_seconds: float) -> list[Delivery]:
        return self._received(self._read_group(b">", messages_max, _block_milliseconds(wait_seconds)))

    def _read_group(self, position: bytes, messages_max: int, block_milliseconds: int | None) -> list[_Entry]:
        return _entries(
            self._in_group(
                lambda: self._redis.xreadgroup(
                    INTAKE_GROUP, self._consumer, {SHOP_STREAM: position}, count=messages_max, block=block_milliseconds
                )
            )
        )

    def _received(self, entries: Iterable[_Entry]) -> list[Delivery]:
        received: list[Delivery] = []
        deleted: list[bytes] = []
        last: bytes = b"0-0"
        for place, (entry_id, fields) in enumerate(entries):
            if place and _is_cut(entry_id, fields):
                # It is pending under our name by now, and so is what stands behind it: they are read again.
                self._own_position = last
                break
            last = entry_id or last
            if fields:
                received.append(
                    Delivery(
                        _payload(fields),
                        entry_id,
                        signature_of_fields(fields),
                        reply_of_fields(fields),
                        trace_of_fields(fields),
                    )
                )
            elif entry_id is not None:  # pending, but somebody deleted the entry: nothing is left to store
                deleted.append(entry_id)
        if deleted:
            self._redis.xack(SHOP_STREAM, INTAKE_GROUP, *deleted)
        return received


class StreamEventPublisher:
    """`EventPublisher` on the event stream. Confirmed means: in the server's memory (and its AOF, if it has one)."""

    def __init__(self, broker_url: str, *, events_kept_max: int | None = None) -> None:
        """Connect. With `events_kept_max` the oldest events are trimmed away, read or not; else none ever is."""
        self._where = url_without_password(broker_url)
        self._events_kept_max = events_kept_max
        self._redis = open_client(broker_url)
        with broker_errors(self._where):
            greet(self._redis, self._where)

    def publish(
        self,
        events: Sequence[tuple[str, str]],
        replies: Sequence[Reply] = (),
        traces: Sequence[TraceContext | None] = (),
    ) -> None:
        """See `EventPublisher.publish`."""
        entries = [{EVENT_FIELD: text, TYPE_FIELD: event_type} for event_type, text in events]
        for entry, trace in zip(entries, traces, strict=False):
            entry.update(trace_headers(trace))
        with broker_errors(self._where):
            refusal = _add(self._redis, EVENT_STREAM, entries, entries_max=self._events_kept_max)
        if refusal is not None:
            raise EventNotConfirmedError(count=len(events), reason=str(refusal).rstrip("."))
        if replies:
            self._answer(replies)

    def _answer(self, replies: Sequence[Reply]) -> None:
        """Add each to its stream. Not in one transaction with the events: what is refused there refuses all."""
        pipeline = self._redis.pipeline(transaction=False)
        for reply in replies:
            fields = [EVENT_FIELD, reply.text]
            if reply.correlation_id is not None:
                fields += [CORRELATION_FIELD, reply.correlation_id]
            for named in trace_headers(reply.trace).items():
                fields += named
            pipeline.eval(ADD_REPLY, 1, reply.reply_to, _REPLIES_KEPT_SECONDS, _REPLIES_KEPT_MAX, *fields)
        with broker_errors(self._where):
            refusals = [each for each in pipeline.execute(raise_on_error=False) if isinstance(each, ResponseError)]
        if refusals:  # not with their texts, which might name a stream, and so a person
            codes = sorted({_code(refusal) for refusal in refusals})
            log.warning("replies_refused", action="replies_refused", replies=len(refusals), errors=codes)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


class StreamShopPublisher:
    """`ShopPublisher` on the shop stream; the routing key is not needed there."""

    def __init__(self, broker_url: str) -> None:
        """Connect."""
        self._where = url_without_password(broker_url)
        self._redis = open_client(broker_url)
        with broker_errors(self._where):
            greet(self._redis, self._where)

    def publish(self, messages: Sequence[tuple[str, bytes]], *, sign: Callable[[bytes], str] | None = None) -> None:
        """See `ShopPublisher.publish`."""
        entries: list[dict[Any, Any]] = [{EVENT_FIELD: body} for _, body in messages]
        if sign is not None:
            entries = [{**fields, SIGNATURE_FIELD: sign(fields[EVENT_FIELD])} for fields in entries]
        with broker_errors(self._where):
            refusal = _add(self._redis, SHOP_STREAM, entries, entries_max=None)
        if refusal is not None:
            reason = f"none of {len(messages)} message(s) was taken: {str(refusal).rstrip('.')}"
            raise BrokerUnavailableError(where=self._where, reason=reason)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


class StreamEventTail:
    """`EventTail` on the event stream, from its beginning or from now."""

    def __init__(self, broker_url: str, *, from_beginning: bool) -> None:
        """Connect and note where the stream ends now."""
        self._where = url_without_password(broker_url)
        self._redis = open_client(broker_url, blocks_seconds_max=_BLOCK_SECONDS_MAX)
        with broker_errors(self._where):
            greet(self._redis, self._where)
            # Not "$" at each read: that would skip what was added between two reads.
            newest: Any = [] if from_beginning else self._redis.xrevrange(EVENT_STREAM, count=1)
            self._position: bytes = newest[0][0] if newest else b"0-0"

    def events(self, *, wait_seconds: float) -> Iterator[bytes]:
        """See `EventTail.events`."""
        while entries := self._read(wait_seconds):
            for entry_id, fields in entries:
                if entry_id is not None and fields:
                    self._position = entry_id
                    event = _payload(fields)
                    yield event.head if isinstance(event, CutMessage) else event

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _read(self, wait_seconds: float) -> list[_Entry]:
        deadline = time.monotonic() + wait_seconds
        while True:
            block_milliseconds = _block_milliseconds(deadline - time.monotonic())
            with broker_errors(self._where):
                answer = self._redis.xread(
                    {EVENT_STREAM: self._position}, count=_TAIL_ENTRIES_MAX, block=block_milliseconds
                )
            entries = _entries(answer)
            if entries or time.monotonic() >= deadline:
                return entries


def look_at_stream(broker_url: str) -> IntakeQueue:
    """Count what waits, pending or not, since what is stored is deleted; and the consumers that have asked lately."""
    with broker_errors(url_without_password(broker_url)), open_client(broker_url) as client:
        waiting = sum(int(client.llen(key)) for key in SUBMIT_LISTS) + int(client.xlen(SHOP_STREAM))
        try:
            is_closed = client.xinfo_stream(SHOP_STREAM)["last-generated-id"] == GREATEST_ID
            consumers = client.xinfo_consumers(SHOP_STREAM, INTAKE_GROUP)
        except ResponseError:  # neither stream nor group is there: no intake has been here yet
            return IntakeQueue(waiting, 0)
        intakes = sum(consumer["idle"] < _LATELY_MILLISECONDS for consumer in consumers)
        return IntakeQueue(waiting, intakes, is_closed)


def renew_stream(broker_url: str) -> int | None:
    """Put a fresh shop stream in the place of one that takes no more messages, with all that waits in it.

    Returns how many messages that was; None if the stream takes messages, and nothing was changed. It is one step on
    the server, which does nothing else meanwhile. What an intake is storing just now comes again, as a repeat.
    """
    with (
        broker_errors(url_without_password(broker_url)),
        open_client(broker_url, socket_timeout=_RENEW_SECONDS) as client,
    ):
        if not client.exists(SHOP_STREAM):
            return None
        renew = client.register_script(RENEW_STREAM)
        fields = (EVENT_FIELD, SIGNATURE_FIELD, REPLY_FIELD, CORRELATION_FIELD, *TRACE_FIELDS)
        moved = renew(keys=(SHOP_STREAM, FRESH_STREAM), args=(GREATEST_ID, INTAKE_GROUP, *fields))
        return None if moved is None else int(moved)


def _add(
    client: redis.Redis, stream: str, entries: Sequence[dict[Any, Any]], *, entries_max: int | None
) -> redis.ResponseError | None:
    """Add all entries in one round trip, all or none: a full server would otherwise take some. Return its refusal."""
    if not entries:
        return None
    pipeline = client.pipeline(transaction=True)
    for fields in entries:
        pipeline.xadd(stream, fields, maxlen=entries_max, approximate=True)
    try:
        pipeline.execute()
    except redis.ResponseError as refusal:
        return refusal
    return None


def _code(error: ResponseError) -> str:
    """What kind of refusal it is: redis-py has a class for most, and leaves others their code."""
    return str(error).partition(" ")[0] if type(error) is ResponseError else type(error).__name__


def _block_milliseconds(wait_seconds: float) -> int | None:
    """Return one slice of a wait; None for no wait, since BLOCK 0 waits for ever."""
    return math.ceil(min(wait_seconds, _BLOCK_SECONDS_MAX) * 1000) if wait_seconds > 0 else None


def _entries(answer: Any) -> list[_Entry]:
    """Return the entries of the one stream that was read."""
    return answer[0][1] if answer else []


def _payload(fields: _Fields) -> bytes | CutMessage:
    """Return the event of an entry; of an entry without one all its fields as JSON, for intake to park and show."""
    event = fields.get(EVENT_FIELD.encode())
    if event is not None:
        return event
    readable = {_text(name): _text(value) for name, value in fields.items()}
    return kept(json.dumps({STREAM_ENTRY: readable}).encode())


def _is_cut(entry_id: object, fields: _Fields | None) -> bool:
    return isinstance(entry_id, CutMessage) or any(
        isinstance(part, CutMessage) for field in (fields or {}).items() for part in field
    )


def _text(raw: bytes | CutMessage) -> str:
    if isinstance(raw, CutMessage):
        return f"{_text(raw.head)}... ({raw.size_bytes} bytes)"
    return raw.decode(errors="backslashreplace")
