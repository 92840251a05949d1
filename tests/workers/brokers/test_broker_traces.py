"""The trace of a message travels beside it too, in and out, as CloudEvents and OpenTelemetry write it there."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import kombu
import pytest
import redis
from broker_steps import LISTENER_QUEUE, ORDER, receive
from celery import Celery
from kombu import pools

from core.messages.inbound.celery_messages import HandedOver, handed_over
from core.messages.outbound.replies import Reply
from core.messages.trace_context import TraceContext
from workers.brokers import open_event_publisher, open_intake, renew_closed_stream
from workers.brokers.headers import trace_of_fields
from workers.brokers.stream_scripts import GREATEST_ID
from workers.brokers.topology import EVENT_EXCHANGE, EVENT_STREAM, SHOP_EXCHANGE, SHOP_STREAM, SUBMIT_QUEUE

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HOP = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
STATE = "congo=t61rcWkgMzE"
TRACE = TraceContext(PARENT, STATE)
BESIDE = {"traceparent": PARENT, "tracestate": STATE}
EVENT = ("loyalty.balance.changed", '{"name": "Zo\u00eb"}')

FOUND = [
    (BESIDE, TRACE),
    ({"cloudEvents:traceparent": PARENT, "cloudEvents:tracestate": STATE}, TRACE),
    ({"cloudEvents_traceparent": PARENT, "cloudEvents_tracestate": STATE}, TRACE),
    ({"traceparent": HOP, "tracestate": "hop=1", "cloudEvents:traceparent": PARENT}, TraceContext(PARENT)),
    ({"traceparent": PARENT, "cloudEvents:traceparent": "wrong"}, TraceContext(PARENT)),
    ({"traceparent": PARENT, "tracestate": "x=" + "\u00fc" * 100}, TraceContext(PARENT)),
    (
        {"traceparent": PARENT, "tracestate": f"{STATE},b={'v' * 250},c={'v' * 250}"},
        TraceContext(PARENT, f"{STATE},b={'v' * 250}"),
    ),
    ({"traceparent": PARENT, "tracestate": "x" * 100_000}, TraceContext(PARENT)),
    ({"tracestate": STATE}, None),
    ({"traceparent": PARENT * 2}, None),
    ({}, None),
]


@pytest.mark.rabbitmq
@pytest.mark.parametrize(
    ("headers", "found"),
    [
        *FOUND,
        ({"a": {"traceparent": HOP}, "b": [1, None, 2.5], "traceparent": PARENT}, TraceContext(PARENT)),
        ({"text": "traceparent"}, None),
        ({"traceparent": 17}, None),
        ({"traceparent": [PARENT], "tracestate": {"a": 1}}, None),
    ],
)
def test_a_header_of_rabbitmq_is_found(
    rabbitmq_url: str,
    rabbitmq: Any,
    opened: Callable[..., Any],
    headers: dict[str, Any],
    found: TraceContext | None,
) -> None:
    intake = opened(open_intake, rabbitmq_url, consumer="one")
    message = amqp.basic_message.Message(ORDER, application_headers=headers, content_type="text/plain")
    rabbitmq.basic_publish(message, SHOP_EXCHANGE, "order.completed")
    [received] = receive(intake, 1)
    assert (received.raw, received.trace) == (ORDER, found)


@pytest.mark.parametrize(("fields", "found"), FOUND)
def test_a_field_of_a_stream_entry_is_found(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any], fields: dict[Any, Any], found: TraceContext | None
) -> None:
    valkey.xadd(SHOP_STREAM, {"event": ORDER, **fields})
    [received] = receive(opened(open_intake, valkey_url, consumer="one"), 1)
    assert (received.raw, received.trace) == (ORDER, found)
    assert trace_of_fields({}) is None


def test_it_stays_beside_a_message_when_its_stream_is_renewed(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
) -> None:
    valkey.xadd(SHOP_STREAM, {"event": ORDER, **BESIDE, **{f"n{n}": "x" for n in range(3_000)}}, id=GREATEST_ID)
    assert renew_closed_stream(valkey_url) == 1
    [received] = receive(opened(open_intake, valkey_url, consumer="one"), 1)
    assert received.trace == TRACE


@pytest.fixture
def shop(broker_url: str) -> Iterator[Celery]:
    with Celery("shop", broker=broker_url, set_as_current=False) as app:
        yield app
    pools.reset()  # or the next one's connection believes that the queue is declared, which was deleted meanwhile


def test_it_is_among_the_headers_of_a_task(broker_url: str, shop: Celery, opened: Callable[..., Any]) -> None:
    intake = opened(open_intake, broker_url, consumer="one")
    shop.send_task(SUBMIT_QUEUE, args=[json.loads(ORDER)], queue=SUBMIT_QUEUE, headers=BESIDE)
    [received] = receive(intake, 1)
    found = handed_over(received.raw)
    assert isinstance(found, HandedOver)
    assert found.trace == TRACE


HEADERS = [None, TRACE, TraceContext(PARENT)]
WRITTEN = [{}, BESIDE, {"traceparent": PARENT}]


def test_an_event_takes_it_along_on_a_stream(valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]) -> None:
    publisher = opened(open_event_publisher, valkey_url)
    publisher.publish([EVENT] * 3, [Reply("loyalty.replies.test", "1", EVENT[1], TRACE)], HEADERS)
    publisher.publish([EVENT])
    entries: Any = valkey.xrange(EVENT_STREAM)
    beside = [{name.decode(): text.decode() for name, text in fields.items()} for _, fields in entries]
    assert [each.pop("event") for each in beside] == [EVENT[1]] * 4
    assert [each.pop("type") for each in beside] == [EVENT[0]] * 4
    assert beside == [*WRITTEN, {}]
    [(_, answer)] = valkey.xrange("loyalty.replies.test")
    assert (answer[b"traceparent"], answer[b"tracestate"]) == (PARENT.encode(), STATE.encode())


@pytest.mark.rabbitmq
def test_an_event_takes_it_along_on_rabbitmq(rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any]) -> None:
    publisher = opened(open_event_publisher, rabbitmq_url)
    rabbitmq.queue_declare(LISTENER_QUEUE, durable=False, exclusive=True)
    rabbitmq.queue_bind(LISTENER_QUEUE, EVENT_EXCHANGE, "#")
    rabbitmq.queue_declare("loyalty.replies.test", durable=False, exclusive=True)
    publisher.publish([EVENT] * 3, [Reply("loyalty.replies.test", "1", EVENT[1], TRACE)], HEADERS)
    publisher.publish([EVENT])
    read = [rabbitmq.basic_get(queue, no_ack=True) for queue in [LISTENER_QUEUE] * 4 + ["loyalty.replies.test"]]
    assert [message.body for message in read] == [EVENT[1].encode()] * 5
    assert [message.properties.get("application_headers", {}) for message in read] == [*WRITTEN, {}, BESIDE]
    assert read[1].properties["content_type"] == "application/cloudevents+json"


@pytest.mark.rabbitmq
def test_kombu_reads_what_goes_out_on_rabbitmq(rabbitmq_url: str, opened: Callable[..., Any]) -> None:
    publisher = opened(open_event_publisher, rabbitmq_url)
    with kombu.Connection(rabbitmq_url) as connection:
        channel = connection.channel()
        queue = kombu.Queue(
            "", kombu.Exchange(EVENT_EXCHANGE, type="topic", durable=True), routing_key="#", exclusive=True
        )(channel)
        queue.declare()
        publisher.publish([EVENT], (), [TRACE])
        message = queue.get(no_ack=True)
    assert message is not None
    assert message.headers == BESIDE
