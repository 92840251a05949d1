"""RabbitMQ, through kombu."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from math import ceil
from time import monotonic
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import kombu
from amqp.exceptions import AMQPError, MessageNacked, NotFound
from kombu.exceptions import KombuError

from loyalty_client.errors import BrokerAwayError, NotPublishedError
from loyalty_client.wire import LOYALTY_EVENTS, SHOP_EVENTS, SIGNATURE_HEADER, TLS_VERIFICATION, Delivery, Outgoing

_DIRECT_REPLY_TO: Final = "amq.rabbitmq.reply-to"
_PREFETCH: Final = 100
_HEARTBEAT_SECONDS: Final = 60
_TLS_FILES: Final = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}
_FAULTS: Final = (AMQPError, KombuError, MessageNacked, OSError)

Result = TypeVar("Result")


def _connection(url: str, seconds_max: float, heartbeat_seconds: int = 0) -> kombu.Connection:
    plain, secure = _read_url(url)
    return kombu.Connection(
        plain,
        ssl=secure or False,
        connect_timeout=seconds_max,
        heartbeat=heartbeat_seconds,
        transport_options={"confirm_publish": True},
    )


def _read_url(url: str) -> tuple[str, dict[str, Any]]:
    """Take the options of TLS out of the query, where the worker's own URL has them."""
    parts = urlsplit(url)
    options: dict[str, Any] = {}
    others = []
    for name, value in parse_qsl(parts.query):
        if name in _TLS_FILES:
            options[_TLS_FILES[name]] = value
        elif name == "ssl_cert_reqs":
            options["cert_reqs"] = TLS_VERIFICATION[value]
        else:
            others.append((name, value))
    plain = urlunsplit(parts._replace(scheme="amqp", query=urlencode(others)))
    if parts.scheme == "amqp":
        return plain, {}
    # Without a name to compare with, py-amqp would take any certificate that an authority has signed.
    named = {} if options.get("cert_reqs") == ssl.CERT_NONE else {"server_hostname": parts.hostname}
    return plain, {"cert_reqs": ssl.CERT_REQUIRED, **named, **options}


class AmqpLink:
    """Publishes to shop.events with confirms, and asks by direct reply-to."""

    def __init__(self, url: str, seconds_max: float) -> None:
        """Connect later, by the first call; `seconds_max` holds for a connection, and for a confirm."""
        self._url, self._seconds_max = url, seconds_max
        self._connection: kombu.Connection | None = None
        self._producer: Any = None
        self._unroutable: list[str] = []
        self._answers: dict[str, bytes] = {}
        self._asks = False

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish one after the other, each mandatory and confirmed."""

        def send() -> None:
            for message in messages:
                self._send(message)

        self._with_connection(send)

    def ask(self, message: Outgoing, asked: str, seconds_max: float) -> bytes | None:
        """Publish a command; the answer comes through a queue that RabbitMQ keeps for this channel alone."""

        def send() -> None:
            self._listen()
            self._send(message, reply_to=_DIRECT_REPLY_TO, correlation_id=asked)

        self._answers.clear()
        self._with_connection(send)
        deadline = monotonic() + seconds_max
        while asked not in self._answers and (left := deadline - monotonic()) > 0:
            try:
                self._connected().drain_events(timeout=left)
            except TimeoutError:
                break
            except _FAULTS as error:
                # The command is confirmed, and its answer has lost its place: ask again for the same one.
                self.close()
                raise BrokerAwayError(reason=_worded(error)) from error
        return self._answers.pop(asked, None)

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection, self._producer, self._asks = self._connection, None, None, False
        if connection is not None:
            with suppress(*_FAULTS):
                connection.release()

    def _with_connection(self, send: Callable[[], None]) -> None:
        """Try once more where a connection was kept, which may have ended while nobody used it."""
        for is_last in (self._connection is None, True):
            try:
                self._connected()
                return send()
            except _FAULTS as error:
                self.close()
                if is_last:
                    raise NotPublishedError(reason=_worded(error)) from error
        raise AssertionError

    def _connected(self) -> kombu.Connection:
        if self._connection is None:
            self._connection = _connection(self._url, self._seconds_max)
            self._connection.ensure_connection(max_retries=1, timeout=ceil(self._seconds_max))
            self._producer = kombu.Producer(self._connection.channel(), on_return=self._on_return)
        return self._connection

    def _listen(self) -> None:
        """Read the queue of answers, which is the channel's own, before anything is asked on it."""
        if self._asks:
            return
        queue = kombu.Queue(_DIRECT_REPLY_TO, no_declare=True)
        kombu.Consumer(
            self._producer.channel, [queue], on_message=self._on_answer, no_ack=True, auto_declare=False
        ).consume()
        self._asks = True

    def _send(self, message: Outgoing, **properties: str) -> None:
        self._unroutable.clear()
        self._producer.publish(
            message.body,
            exchange=SHOP_EVENTS,
            routing_key=message.type,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            mandatory=True,
            headers={} if message.signature is None else {SIGNATURE_HEADER: message.signature},
            timeout=self._seconds_max,
            confirm_timeout=self._seconds_max,
            **properties,
        )
        if self._unroutable:
            raise NotPublishedError(reason=f"no queue takes {self._unroutable[0]}; has an intake been started?")

    def _on_return(self, error: Exception, exchange: Any, routing_key: str, message: Any) -> None:
        del error, exchange, message
        self._unroutable.append(routing_key)

    def _on_answer(self, message: Any) -> None:
        self._answers[str(message.properties.get("correlation_id"))] = message.body


class AmqpDeliveries:
    """A durable quorum queue of the consumer's own, bound to loyalty.events."""

    def __init__(self, url: str, name: str, types: Sequence[str], seconds_max: float) -> None:
        self._messages: list[Any] = []
        exchange = kombu.Exchange(LOYALTY_EVENTS, type="topic", durable=True)
        bindings = [kombu.binding(exchange, routing_key=kind) for kind in types]
        queue = kombu.Queue(name, bindings=bindings, durable=True, queue_arguments={"x-queue-type": "quorum"})
        self._connection = _connection(url, seconds_max, _HEARTBEAT_SECONDS)
        with _away():
            self._connection.ensure_connection(max_retries=1, timeout=ceil(seconds_max))
            channel = self._connection.channel()
            exchange.declare(channel=channel)
            kombu.Consumer(channel, [queue], on_message=self._messages.append, prefetch_count=_PREFETCH).consume()

    def receive(self, seconds_max: float) -> Sequence[Delivery]:
        """Wait for the next events; call it at least each minute, or the broker ends the connection."""
        with _away():
            self._connection.heartbeat_check()
            with suppress(TimeoutError):
                self._connection.drain_events(timeout=seconds_max)
        found = [Delivery(message.body, message) for message in self._messages]
        self._messages.clear()
        return found

    def acknowledge(self, delivery: Delivery) -> None:
        """Take it from the queue."""
        with _away():
            delivery.tag.ack()

    def close(self) -> None:
        """Disconnect; the queue stays."""
        with suppress(*_FAULTS):
            self._connection.release()


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except _FAULTS as error:
        raise BrokerAwayError(reason=_worded(error)) from error


def _worded(error: Exception) -> str:
    if isinstance(error, NotFound):
        return f"there is no {SHOP_EVENTS} or {LOYALTY_EVENTS} there yet; start an intake first"
    if isinstance(error, MessageNacked):
        return "a queue refused it"
    return str(error) or type(error).__name__
