"""One RabbitMQ connection with one channel: opening it, its timeouts, its errors."""

import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import amqp
import kombu

from core.errors import BrokerUnavailableError
from workers.brokers.amqp_frames import Delivery, Frame, FrameReader, Outgoing, delivery_handler, publish_frames
from workers.brokers.contracts import url_without_password, wrong_option_text
from workers.brokers.large_messages import fitting, held_bytes

_CONNECT_SECONDS: Final = 3.0
_ANSWER_SECONDS: Final = 8.0
_TIMEOUT_SECONDS_MIN: Final = 0.001

# The library's own TCP_USER_TIMEOUT of one second cuts off a publisher that the broker slows down for a second.
_TCP_OPTIONS: Final = {
    getattr(socket, name): value
    for name, value in {
        "TCP_USER_TIMEOUT": 10_000,
        "TCP_KEEPIDLE": 30,
        "TCP_KEEPINTVL": 5,
        "TCP_KEEPCNT": 3,
    }.items()
    if hasattr(socket, name)
}

_TLS_FILES: Final = {"ssl_ca_certs": "ca_certs", "ssl_certfile": "certfile", "ssl_keyfile": "keyfile"}
_TLS_VERIFICATION: Final = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


class AmqpLink:
    """A connection and its channel. Broken by any error, and then closed: nothing is ever sent on a reconnected one."""

    def __init__(self, broker_url: str, *, purpose: str, heartbeat_seconds: int = 0) -> None:
        """Connect. `purpose` is shown in the broker's list of connections.

        Heartbeats are for who calls `beat` steadily. Without them TCP keepalive and the timeouts find a dead peer.
        """
        self.where = url_without_password(broker_url)
        self.blocked = False  #: the broker takes no messages now (its memory or disk alarm)
        self.deliveries: deque[Delivery] = deque()  #: what has been delivered to our consumer, oldest first
        self.held_bytes = 0  #: of these, as far as `take` gives them out
        self._open = True
        self._kombu = _kombu_connection(
            broker_url, self.where, heartbeat=heartbeat_seconds, transport_options=self._options(purpose)
        )
        with self.errors():
            self._kombu.ensure_connection(max_retries=0, reraise_as_library_errors=False)
            self._connection: Any = self._kombu.connection
            self._reader = FrameReader(self._connection.transport.sock.recv)
            self._connection.transport.read_frame = self._reader.read_frame
            self.channel: Any = self._connection.channel()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Close the link and raise `BrokerUnavailableError` where the connection or the channel fails."""
        if not self._open:
            # The library would connect again by itself, without our channel.
            raise BrokerUnavailableError(where=self.where, reason="this connection was closed; open a new one")
        try:
            yield
        except (amqp.AMQPError, OSError) as error:
            self.abandon()
            raise BrokerUnavailableError(where=self.where, reason=_reason(error)) from error

    def drain(self, timeout_seconds: float) -> bool:
        """Wait for a frame, then handle it and all that came with it; False when none came within the time."""
        handle = self._connection.on_inbound_frame
        try:
            # Never 0, for which a socket has a mode of its own.
            with self._connection.transport.having_timeout(max(timeout_seconds, _TIMEOUT_SECONDS_MIN)):
                frame: Frame | None = self._reader.read_frame()
        except TimeoutError:
            return False
        while frame is not None:
            handle(frame)
            frame = self._reader.buffered_frame()
        return True

    def take(self, messages_max: int) -> list[Delivery]:
        """Take out the oldest deliveries, so many and BATCH_BYTES_MAX at most; at least one, if there is one."""
        sizes_bytes = [_held_bytes(delivery) for delivery in islice(self.deliveries, messages_max)]
        sizes_bytes = sizes_bytes[: fitting(sizes_bytes)]
        self.held_bytes -= sum(sizes_bytes)
        return [self.deliveries.popleft() for _ in sizes_bytes]

    def publish(self, exchange: str, messages: Sequence[Outgoing], *, mandatory: bool) -> None:
        """Write messages, without waiting for anything."""
        frames = publish_frames(
            messages,
            channel=self.channel.channel_id,
            frame_bytes_max=self._connection.frame_max,
            exchange=exchange,
            mandatory=mandatory,
        )
        for piece in frames:
            self._connection.transport.write(piece)

    def new_channel(self) -> Any:
        """Open a channel for a question whose refusal closes it; close it when it was answered."""
        return self._connection.channel()

    def beat(self) -> None:
        """Send a heartbeat if one is due; fail when the broker's have stopped."""
        self._connection.heartbeat_tick()

    def abandon(self) -> None:
        """Close the socket at once: the goodbye of a broken connection might wait for its answer in vain."""
        if self._open:
            self._open = False
            self._kombu.collect()

    def close(self) -> None:
        """Close channel and connection. Never raises; closing again does nothing."""
        if self._open:
            self._open = False
            with suppress(amqp.AMQPError, OSError, AttributeError):  # AttributeError: py-amqp on a half closed one
                self._kombu.release()

    def _options(self, purpose: str) -> dict[str, Any]:
        return {
            "read_timeout": _ANSWER_SECONDS,
            "write_timeout": _ANSWER_SECONDS,
            "socket_settings": _TCP_OPTIONS,
            "frame_handler": self._frame_handler,
            "client_properties": {"connection_name": f"loyalty {purpose}"},
            "on_blocked": self._on_blocked,
            "on_unblocked": self._on_unblocked,
        }

    def _frame_handler(self, connection: Any, on_method: Callable[..., Any]) -> Callable[[Frame], bool]:
        return delivery_handler(connection, on_method, self._deliver)

    def _deliver(self, delivery: Delivery) -> None:
        if self._open:  # else they go back to the broker: no goodbye may hold a prefetch of large ones
            self.deliveries.append(delivery)
            self.held_bytes += _held_bytes(delivery)

    def _on_blocked(self, _reason: str) -> None:
        self.blocked = True

    def _on_unblocked(self) -> None:
        self.blocked = False


def _held_bytes(delivery: Delivery) -> int:
    return held_bytes(delivery.body) + len(delivery.header)


def _kombu_connection(broker_url: str, where: str, **options: Any) -> Any:
    address, _, query = broker_url.partition("?")
    try:
        tls = tls_options(address, query)
        # transport: kombu would take librabbitmq, which knows none of these options, wherever it is installed.
        return kombu.Connection(address, transport="pyamqp", ssl=tls, connect_timeout=_CONNECT_SECONDS, **options)
    except KeyError as error:
        raise BrokerUnavailableError(where=where, reason=wrong_option_text(broker_url, error)) from error
    except ValueError:
        # Not the error's own text: it may quote a piece of the password.
        reason = "its URL cannot be read (special characters in the password must be percent-encoded)"
        raise BrokerUnavailableError(where=where, reason=reason) from None


def check_link_url(broker_url: str) -> None:
    """Raise BrokerUnavailableError for a URL or option that the client would not take. Connects to nothing."""
    _kombu_connection(broker_url, url_without_password(broker_url)).close()


def tls_options(address: str, query: str) -> dict[str, Any] | bool:
    """Return py-amqp's TLS options for an amqps URL. The server's certificate and name are verified by default."""
    url_options = dict(parse_qsl(query, strict_parsing=bool(query)))
    options: dict[str, Any] = {"server_hostname": urlsplit(address).hostname}
    for name, value in url_options.items():
        if name == "ssl_cert_reqs":
            options["cert_reqs"] = _TLS_VERIFICATION[value]
        else:
            options[_TLS_FILES[name]] = value
    if options.get("cert_reqs") == ssl.CERT_NONE:
        del options["server_hostname"]  # Python refuses to check a name without a certificate
    return options if address.startswith("amqps:") else False


def _reason(error: Exception) -> str:
    if isinstance(error, amqp.ConsumerCancelled):
        return "it cancelled our consumer (was the queue deleted?)"
    if isinstance(error, TimeoutError | BlockingIOError):
        return "it did not answer in time"
    return str(error).rstrip(".") or type(error).__name__
