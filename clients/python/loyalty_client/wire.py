"""Names of exchanges, queues and streams, and what both kinds of broker are asked for."""

import ssl
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

from loyalty_client.errors import BrokerUrlError, UnsupportedBrokerError

SHOP_EVENTS: Final = "shop.events"  #: topic exchange, or stream, that takes messages
LOYALTY_EVENTS: Final = "loyalty.events"  #: topic exchange, or stream, of events
EVENT_FIELD: Final = "event"
SIGNATURE_FIELD: Final = "signature"
SIGNATURE_HEADER: Final = "loyalty-signature"
REPLY_FIELD: Final = "reply_to"
CORRELATION_FIELD: Final = "correlation_id"
REPLY_PREFIX: Final = "loyalty.replies."
TLS_VERIFICATION: Final = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}


def is_amqp(url: str) -> bool:
    """Whether the URL is of RabbitMQ, and not of Redis or Valkey; UnsupportedBrokerError, BrokerUrlError."""
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in {"amqp", "amqps", "redis", "rediss"}:
        raise UnsupportedBrokerError(scheme=scheme)
    try:
        parts = urlsplit(url)
        port, verification = parts.port, dict(parse_qsl(parts.query)).get("ssl_cert_reqs", "required")
    except ValueError:
        # Its own text may quote a piece of the password.
        raise BrokerUrlError from None
    if port == 0 or verification not in TLS_VERIFICATION:
        raise BrokerUrlError
    return scheme in {"amqp", "amqps"}


class Outgoing(NamedTuple):
    """A message as it leaves."""

    type: str
    body: bytes
    signature: str | None


class Delivery(NamedTuple):
    """An event as it came, and by what it is acknowledged."""

    body: bytes
    tag: Any


class Link(Protocol):
    """A connection of one thread that publishes and asks; it connects when it must."""

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Return when all are confirmed; else NotPublishedError, and any part of them may have been taken."""

    def ask(self, message: Outgoing, asked: str, seconds_max: float) -> bytes | None:
        """Publish a command; the body of what answers `asked`, or None if nothing came in time."""

    def close(self) -> None:
        """Disconnect; a second call changes nothing."""


class Deliveries(Protocol):
    """A connection that reads the events of one consumer. What is wrong with it is a BrokerAwayError."""

    def receive(self, seconds_max: float) -> Sequence[Delivery]:
        """The next events, as soon as there are some; none if none came in that time."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Never send it again."""

    def close(self) -> None:
        """Disconnect; what is not acknowledged comes again."""
