"""A shop's connections while latencies are measured: it sends messages one by one, and sees events and answers come.

What comes is told by a key: of an event of an account the order's id, of an answer the command's.
"""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

import kombu
import redis
from kombu.exceptions import OperationalError

from workers.brokers.topology import (
    CORRELATION_FIELD,
    EVENT_EXCHANGE,
    EVENT_FIELD,
    EVENT_STREAM,
    REPLY_FIELD,
    SHOP_EXCHANGE,
    SHOP_STREAM,
)

_BALANCE_CHANGED = "loyalty.balance.changed"
_ACCEPTED = "loyalty.command.accepted"
_WAIT_SECONDS = 0.2


class ShopLink(Protocol):
    """Sending and receiving may be done by two threads."""

    def send(self, message_type: str, body: bytes) -> None:
        """Send it, with an address for the answer if it is a command; return when the broker has it."""
        ...

    def receive(self) -> list[str]:
        """Wait a little; the keys of what has come."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def open_shop_link(broker_url: str) -> ShopLink:
    """Connect. Only what is published from now on is received."""
    return _AmqpLink(broker_url) if broker_url.startswith("amqp") else _StreamLink(broker_url)


def _is_command(message_type: str) -> bool:
    return message_type.startswith("loyalty.command.")


def _key_of_event(body: Any) -> str | None:
    event = json.loads(body)
    key: str | None = event["data"].get("order_id") if event["type"] == _BALANCE_CHANGED else None
    return key


def _key_of_answer(body: Any) -> str:
    answer = json.loads(body)
    if answer["type"] != _ACCEPTED:
        raise RuntimeError(f"a command was rejected: {answer['data']}")
    return str(answer["correlationid"])


def _replies() -> str:
    return f"loyalty.replies.{uuid4()}"


class _StreamLink:
    def __init__(self, broker_url: str) -> None:
        self._client = redis.Redis.from_url(broker_url)
        self._replies = _replies()
        last: Any = self._client.xrevrange(EVENT_STREAM, count=1)
        self._read_until: dict[Any, Any] = {EVENT_STREAM: last[0][0] if last else "0", self._replies: "0"}

    def send(self, message_type: str, body: bytes) -> None:
        fields: dict[Any, Any] = {EVENT_FIELD: body}
        if _is_command(message_type):
            fields |= {REPLY_FIELD: self._replies, CORRELATION_FIELD: "any"}
        self._client.xadd(SHOP_STREAM, fields)

    def receive(self) -> list[str]:
        found: Any = self._client.xread(self._read_until, block=int(_WAIT_SECONDS * 1000))
        keys: list[str | None] = []
        for name, entries in found or ():
            stream = name.decode()
            key_of = _key_of_answer if stream == self._replies else _key_of_event
            keys += [key_of(fields[EVENT_FIELD.encode()]) for _, fields in entries]
            self._read_until[stream] = entries[-1][0]
        return [key for key in keys if key is not None]

    def close(self) -> None:
        self._client.delete(self._replies)
        self._client.close()


class _AmqpLink:
    def __init__(self, broker_url: str) -> None:
        self._sending = kombu.Connection(broker_url, transport_options={"confirm_publish": True})
        self._receiving = kombu.Connection(broker_url)
        self._producer = kombu.Producer(self._sending.channel())
        self._keys: list[str] = []
        events = kombu.Exchange(EVENT_EXCHANGE, "topic", durable=True)
        self._replies = _replies()
        own: dict[str, Any] = {"exclusive": True, "auto_delete": True, "durable": False}
        channel = self._receiving.channel()
        for queue, key_of in (
            (kombu.Queue(f"benchmarks.{uuid4()}", events, _BALANCE_CHANGED, **own), _key_of_event),
            (kombu.Queue(self._replies, **own), _key_of_answer),
        ):
            consumer = kombu.Consumer(channel, [queue], no_ack=True)
            consumer.register_callback(partial(self._take, key_of))
            consumer.consume()

    def _take(self, key_of: Callable[[Any], str | None], body: Any, _message: kombu.Message) -> None:
        if (key := key_of(body)) is not None:
            self._keys.append(key)

    def send(self, message_type: str, body: bytes) -> None:
        answered: dict[str, Any] = (
            {"reply_to": self._replies, "correlation_id": "any"} if _is_command(message_type) else {}
        )
        self._producer.publish(
            body,
            exchange=SHOP_EXCHANGE,
            routing_key=message_type,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            **answered,
        )

    def receive(self) -> list[str]:
        self._keys.clear()
        try:
            self._receiving.drain_events(timeout=_WAIT_SECONDS)
        except (TimeoutError, OperationalError):
            return []
        return list(self._keys)

    def close(self) -> None:
        self._receiving.close()
        self._sending.close()
