"""The brokers: RabbitMQ for amqp:// and amqps://, Redis or Valkey streams for redis:// and rediss://.

TLS options stand in the URL: `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` and `ssl_cert_reqs` (required, optional,
none); redis-py takes more. `UnsupportedBrokerError` for another scheme, `BrokerUnavailableError` when it cannot be
reached.
"""

from contextlib import suppress
from typing import Final

from core.errors import BrokerUnavailableError, UnsupportedBrokerError
from workers.brokers.amqp import AmqpEventPublisher, AmqpEventTail, AmqpIntake, AmqpShopPublisher, look_at_queues
from workers.brokers.amqp_link import AmqpLink, check_link_url
from workers.brokers.amqp_topology import celery_topology, declare_all, prepare
from workers.brokers.contracts import (
    Delivery,
    EventPublisher,
    EventTail,
    IntakeQueue,
    IntakeSource,
    ShopPublisher,
    url_scheme,
    url_without_password,
)
from workers.brokers.stream_link import check_server_url, reach_server
from workers.brokers.streams import (
    StreamEventPublisher,
    StreamEventTail,
    StreamIntake,
    StreamShopPublisher,
    look_at_stream,
    renew_stream,
)

__all__ = [
    "BROKER_SCHEMES",
    "Delivery",
    "EventPublisher",
    "EventTail",
    "IntakeQueue",
    "IntakeSource",
    "ShopPublisher",
    "check_broker_url",
    "check_celery_queues",
    "declare_everything",
    "look_at_intake",
    "open_event_publisher",
    "open_event_tail",
    "open_intake",
    "open_shop_publisher",
    "reach_broker",
    "refuse_server_mode",
    "renew_closed_stream",
    "url_scheme",
    "url_without_password",
]

_AMQP_SCHEMES: Final = ("amqp", "amqps")
BROKER_SCHEMES: Final = (*_AMQP_SCHEMES, "redis", "rediss")


def open_intake(
    broker_url: str,
    *,
    consumer: str,
    idle_claim_seconds: float = 30,
    prefetch_messages: int = 1000,
    declares: bool = True,
) -> IntakeSource:
    """Connect to where the shops' messages wait, declaring what is missing there.

    `consumer` is stable over restarts and different for each process. `idle_claim_seconds` is for Redis and Valkey,
    `prefetch_messages` (at least a batch, better two) for RabbitMQ; each ignores the other's.

    `declares`, here and below, is for RabbitMQ: without it nothing is declared, and BrokerTopologyError says what is
    missing. Redis and Valkey know no such right, and a stream is made by its first message.
    """
    if _is_amqp(broker_url):
        return AmqpIntake(broker_url, consumer=consumer, prefetch_messages=prefetch_messages, declares=declares)
    return StreamIntake(broker_url, consumer=consumer, idle_claim_seconds=idle_claim_seconds)


def reach_broker(broker_url: str) -> None:
    """Connect, log in and leave again; `BrokerUnavailableError` when that cannot be done."""
    if _is_amqp(broker_url):
        AmqpLink(broker_url, purpose="health").close()
    else:
        reach_server(broker_url)


def check_broker_url(broker_url: str) -> None:
    """Raise BrokerUnavailableError for a URL or option that its client would not take. Connects to nothing."""
    if _is_amqp(broker_url):
        check_link_url(broker_url)
    else:
        check_server_url(broker_url)


def declare_everything(broker_url: str) -> list[str]:
    """Declare, as an administrator, all that roles and shops need: the names. Nothing on Redis and Valkey."""
    return declare_all(broker_url) if _is_amqp(broker_url) else []


def check_celery_queues(broker_url: str) -> None:
    """See that the queues of Celery are there, for who may not declare them: BrokerTopologyError."""
    if _is_amqp(broker_url):
        link = AmqpLink(broker_url, purpose="check")
        try:
            prepare(link, celery_topology(), declares=False)
        finally:
            link.close()


def refuse_server_mode(broker_url: str) -> None:
    """Raise BrokerModeError for a node of a cluster or a Sentinel; a server that does not answer is not judged."""
    if not _is_amqp(broker_url):
        with suppress(BrokerUnavailableError):
            reach_server(broker_url)


def look_at_intake(broker_url: str) -> IntakeQueue:
    """Say what waits for intake; `BrokerUnavailableError` when the broker does not."""
    return look_at_queues(broker_url) if _is_amqp(broker_url) else look_at_stream(broker_url)


def renew_closed_stream(broker_url: str) -> int | None:
    """Let a closed stream take messages again, with all that waits: how many that was. None: nothing was closed."""
    return None if _is_amqp(broker_url) else renew_stream(broker_url)


def open_event_publisher(
    broker_url: str, *, events_kept_max: int | None = None, declares: bool = True
) -> EventPublisher:
    """Connect as the relay. `events_kept_max` bounds the stream of Redis or Valkey (roughly), whoever has read it."""
    if _is_amqp(broker_url):
        return AmqpEventPublisher(broker_url, declares=declares)
    return StreamEventPublisher(broker_url, events_kept_max=events_kept_max)


def open_shop_publisher(broker_url: str, *, declares: bool = True) -> ShopPublisher:
    """Connect as a shop does."""
    if _is_amqp(broker_url):
        return AmqpShopPublisher(broker_url, declares=declares)
    return StreamShopPublisher(broker_url)


def open_event_tail(broker_url: str, *, from_beginning: bool = False, declares: bool = True) -> EventTail:
    """Follow our events, from now on or (Redis, Valkey) from the first one kept; RabbitMQ keeps none."""
    if _is_amqp(broker_url):
        return AmqpEventTail(broker_url, declares=declares)
    return StreamEventTail(broker_url, from_beginning=from_beginning)


def _is_amqp(broker_url: str) -> bool:
    scheme = url_scheme(broker_url)
    if scheme not in BROKER_SCHEMES:
        raise UnsupportedBrokerError(scheme=scheme)
    return scheme in _AMQP_SCHEMES
