"""A consumer of our events as docs/messages.md wants it: it acknowledges after it took, and comes back by itself."""

import threading
import time
from collections.abc import Callable
from typing import Any

import kombu
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.faults.event_log import EventLog
from workers.brokers.topology import EVENT_EXCHANGE, EVENT_FIELD, EVENT_STREAM

QUEUE = "faults.consumer"
_BATCH_EVENTS = 500
_WAIT_SECONDS = 0.5
_ANSWER_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_STOP_SECONDS_MAX = 15.0


class Consumer:
    """Follows `loyalty.events` in a thread of its own, from before the first event on. `log` may be replaced."""

    def __init__(self, broker_url: str) -> None:
        self.log = EventLog()
        self.reconnections = 0
        self._broker_url = broker_url
        self._is_amqp = broker_url.startswith("amqp")
        self._position = "0-0"
        self._stopping = threading.Event()
        self._connected = threading.Event()
        self._thread = threading.Thread(target=self._run, name="consumer", daemon=True)

    def start(self) -> None:
        """Return when events are collected."""
        self._thread.start()
        if not self._connected.wait(_STOP_SECONDS_MAX):
            raise RuntimeError("the consumer cannot reach the broker")

    def stop(self) -> None:
        """Let go of the broker."""
        self._stopping.set()
        self._thread.join(_STOP_SECONDS_MAX)

    def _run(self) -> None:
        follow: Callable[[], None] = self._follow_queue if self._is_amqp else self._follow_stream
        while not self._stopping.is_set():
            try:
                follow()
            # Whatever a client library raises when its broker is broken, a consumer begins again.
            except Exception as error:  # noqa: BLE001
                if isinstance(error, (KeyError, ValueError)):
                    self.log.problems.append(f"an event cannot be read: {error!r}")
                self.reconnections += 1
                time.sleep(_RETRY_SECONDS)

    def _follow_stream(self) -> None:
        with redis.Redis.from_url(
            self._broker_url,
            protocol=2,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
            self._connected.set()
            field = EVENT_FIELD.encode()
            while not self._stopping.is_set():
                streams = {EVENT_STREAM: self._position}
                answer: Any = client.xread(streams, count=_BATCH_EVENTS, block=int(_WAIT_SECONDS * 1000))
                for entry_id, fields in answer[0][1] if answer else ():
                    self.log.add(fields[field])
                    self._position = entry_id.decode()
                if answer:  # read by its only reader; a stream that nobody trims would fill the server
                    client.xtrim(EVENT_STREAM, minid=self._position, approximate=True)

    def _follow_queue(self) -> None:
        exchange = kombu.Exchange(EVENT_EXCHANGE, "topic", durable=True)
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
        queue = kombu.Queue(QUEUE, exchange, routing_key="#", durable=True, queue_arguments=arguments)
        options = {"read_timeout": _ANSWER_SECONDS, "write_timeout": _ANSWER_SECONDS}
        with kombu.Connection(
            self._broker_url, connect_timeout=_ANSWER_SECONDS, transport_options=options, heartbeat=10
        ) as connection:
            connection.ensure_connection(max_retries=1)
            messages: list[Any] = []
            consumer = kombu.Consumer(
                connection, [queue], on_message=messages.append, prefetch_count=_BATCH_EVENTS, accept=None
            )
            with consumer:
                self._connected.set()
                while not self._stopping.is_set():
                    self._drain(connection, messages)

    def _drain(self, connection: Any, messages: list[Any]) -> None:
        try:
            connection.drain_events(timeout=_WAIT_SECONDS)
            while len(messages) < _BATCH_EVENTS:
                connection.drain_events(timeout=0.001)
        except TimeoutError:
            connection.heartbeat_check()
        for message in messages:
            self.log.add(message.body if isinstance(message.body, bytes) else message.body.encode())
        if messages:
            messages[-1].ack(multiple=True)
            messages.clear()
