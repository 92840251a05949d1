"""Redis and Valkey: streams."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final
from uuid import uuid4

import redis
from redis.exceptions import RedisError, ResponseError

from loyalty_client.errors import BrokerAwayError, NotPublishedError
from loyalty_client.wire import (
    CORRELATION_FIELD,
    EVENT_FIELD,
    LOYALTY_EVENTS,
    REPLY_FIELD,
    SHOP_EVENTS,
    SIGNATURE_FIELD,
    Delivery,
    Outgoing,
)

_MESSAGES_AT_ONCE: Final = 500
_ENTRIES_AT_ONCE: Final = 100
#: A read that waits ends before its socket gives up.
_BLOCK_SECONDS_MAX: Final = 2.0


def _client(url: str, seconds_max: float) -> "redis.Redis":
    # Releases of redis-py before 6 believe a certificate of any host.
    secure = {"ssl_check_hostname": "ssl_cert_reqs=none" not in url} if url.startswith("rediss:") else {}
    # The newer protocol gives the entries of a stream in another form.
    return redis.Redis.from_url(
        url,
        protocol=2,
        socket_connect_timeout=seconds_max,
        socket_timeout=max(seconds_max, 2 * _BLOCK_SECONDS_MAX),
        **secure,
    )


class StreamLink:
    """Adds to the stream shop.events, and reads answers from a stream of this link alone."""

    def __init__(self, url: str, seconds_max: float, reply_prefix: str) -> None:
        """Connect later, by the first call."""
        self._client = _client(url, seconds_max)
        self._replies = f"{reply_prefix}{uuid4()}"
        self._read = "0"  # so far answers are read: an older one is not that of a command that is asked again

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Add many in one round trip; an answer of the server means that it has them in memory."""
        for start in range(0, len(messages), _MESSAGES_AT_ONCE):
            with self._not_published(), self._client.pipeline(transaction=False) as pipeline:
                for message in messages[start : start + _MESSAGES_AT_ONCE]:
                    pipeline.xadd(SHOP_EVENTS, _fields(message))
                pipeline.execute()

    def ask(self, message: Outgoing, asked: str, seconds_max: float) -> bytes | None:
        """Add a command; the answer comes to a stream that the worker deletes an hour after its last one."""
        with self._not_published():
            self._client.xadd(SHOP_EVENTS, {**_fields(message), REPLY_FIELD: self._replies, CORRELATION_FIELD: asked})
        deadline = monotonic() + seconds_max
        while (left := deadline - monotonic()) > 0:
            with _away():
                block = max(1, int(min(left, _BLOCK_SECONDS_MAX) * 1000))
                found: Any = self._client.xread({self._replies: self._read}, block=block)
            for entry_id, fields in found[0][1] if found else ():
                self._read = entry_id
                if fields.get(CORRELATION_FIELD.encode()) == asked.encode():
                    answer: bytes = fields[EVENT_FIELD.encode()]
                    return answer
        return None

    def close(self) -> None:
        """Disconnect."""
        self._client.close()

    @staticmethod
    @contextmanager
    def _not_published() -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            raise NotPublishedError(reason=str(error)) from error


def _fields(message: Outgoing) -> dict[Any, Any]:
    fields: dict[Any, Any] = {EVENT_FIELD: message.body}
    if message.signature is not None:
        fields[SIGNATURE_FIELD] = message.signature
    return fields


class StreamDeliveries:
    """A group of the consumer's own on the stream loyalty.events, of which this is one member."""

    def __init__(self, url: str, name: str, member: str, seconds_max: float) -> None:
        self._client, self._name, self._member = _client(url, seconds_max), name, member
        self._start = "0"
        with _away():
            try:
                self._client.xgroup_create(LOYALTY_EVENTS, name, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    def receive(self, seconds_max: float) -> Sequence[Delivery]:
        """First what this member took before and did not acknowledge, then what is new."""
        block = max(1, int(min(seconds_max, _BLOCK_SECONDS_MAX) * 1000))
        with _away():
            found: Any = self._client.xreadgroup(
                self._name, self._member, {LOYALTY_EVENTS: self._start}, count=_ENTRIES_AT_ONCE, block=block
            )
        entries: list[tuple[bytes, Mapping[bytes, bytes]]] = found[0][1] if found else []
        if not entries and self._start == "0":
            self._start = ">"
            return self.receive(seconds_max)
        # What was taken and has been trimmed since comes without its fields.
        return [
            Delivery(fields.get(EVENT_FIELD.encode(), b"") if fields else b"", entry_id) for entry_id, fields in entries
        ]

    def acknowledge(self, delivery: Delivery) -> None:
        """Take it from what the member has pending."""
        with _away():
            self._client.xack(LOYALTY_EVENTS, self._name, delivery.tag)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise BrokerAwayError(reason=str(error)) from error
