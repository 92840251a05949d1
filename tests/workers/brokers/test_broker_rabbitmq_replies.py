"""RabbitMQ: an answer goes to the queue that its message names, and whatever becomes of it, the event goes out."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import amqp
import kombu
import pytest
from broker_steps import LISTENER_QUEUE, ORDER, receive

from core.errors import EventNotConfirmedError
from core.messages.inbound.replies import REPLY_PREFIX, ReplyAddress, allowed_reply
from core.messages.outbound.replies import Reply
from workers.brokers import open_event_publisher, open_intake
from workers.brokers.headers import reply_of_header
from workers.brokers.topology import EVENT_EXCHANGE, SHOP_EXCHANGE

pytestmark = pytest.mark.rabbitmq

REPLIES = "loyalty.replies.test"
ASKED = ReplyAddress(REPLIES, "ask-1")
EVENT = ("loyalty.command.accepted", '{"name": "Zoë"}')
ANSWER = Reply(REPLIES, "ask-1", EVENT[1])


@pytest.fixture
def replies(rabbitmq: Any) -> Iterator[str]:
    """A queue for answers, as a client declares it."""
    yield rabbitmq.queue_declare(REPLIES, durable=False, auto_delete=False).queue
    rabbitmq.queue_delete(REPLIES)


@pytest.fixture
def listener(rabbitmq: Any) -> str:
    """A consumer's queue, declared before the first event."""
    rabbitmq.exchange_declare(EVENT_EXCHANGE, "topic", durable=True, auto_delete=False)
    rabbitmq.queue_declare(LISTENER_QUEUE, durable=True, auto_delete=False)
    rabbitmq.queue_bind(LISTENER_QUEUE, EVENT_EXCHANGE, "loyalty.#")
    return LISTENER_QUEUE


def taken(channel: Any, queue: str) -> list[Any]:
    """What waits in a queue, taken out."""
    return list(iter(lambda: channel.basic_get(queue, no_ack=True), None))


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ({"reply_to": REPLIES, "correlation_id": "ask-1"}, ASKED),
        ({"reply_to": REPLIES}, ReplyAddress(REPLIES)),
        (
            {
                "content_type": "application/json",
                "content_encoding": "utf-8",
                "application_headers": {"reply_to": "elsewhere", "a": [1, {"b": 2.5}]},
                "delivery_mode": 2,
                "priority": 4,
                "correlation_id": "ask-1",
                "reply_to": REPLIES,
                "expiration": "600000",
                "message_id": "m",
                "app_id": "shop",
            },
            ASKED,
        ),
        ({"reply_to": REPLIES, "correlation_id": "", "priority": 0}, ReplyAddress(REPLIES, "")),
        ({"reply_to": b"loyalty.replies.\xff"}, ReplyAddress("loyalty.replies.\ufffd")),
        ({"reply_to": ""}, None),
        ({"correlation_id": "ask-1"}, None),
        ({}, None),
    ],
)
def test_where_an_answer_goes_is_read_among_whatever_properties_there_are(
    rabbitmq_url: str,
    rabbitmq: Any,
    opened: Callable[..., Any],
    properties: dict[str, Any],
    found: ReplyAddress | None,
) -> None:
    intake = opened(open_intake, rabbitmq_url, consumer="one")
    rabbitmq.basic_publish(amqp.Message(ORDER, **properties), SHOP_EXCHANGE, "order.completed")
    [received] = receive(intake, 1)
    assert (received.raw, received.reply) == (ORDER, found)


@pytest.mark.parametrize("correlation_id", ["ask-1", None])
def test_an_answer_is_the_event_with_its_correlation_id_and_the_event_goes_out_too(
    rabbitmq_url: str,
    rabbitmq: Any,
    opened: Callable[..., Any],
    replies: str,
    listener: str,
    correlation_id: str | None,
) -> None:
    opened(open_event_publisher, rabbitmq_url).publish([EVENT], [Reply(replies, correlation_id, EVENT[1])])
    answer, event = (rabbitmq.basic_get(queue, no_ack=True) for queue in (replies, listener))
    assert answer.body == event.body == EVENT[1].encode()
    named = {} if correlation_id is None else {"correlation_id": correlation_id}
    assert answer.properties == {**event.properties, **named}


def test_whoever_asks_by_direct_reply_to_is_answered(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any]
) -> None:
    intake = opened(open_intake, rabbitmq_url, consumer="one")
    answers: list[Any] = []
    rabbitmq.basic_consume("amq.rabbitmq.reply-to", no_ack=True, callback=answers.append)
    asking = amqp.Message(ORDER, reply_to="amq.rabbitmq.reply-to", correlation_id="ask-1")
    rabbitmq.basic_publish(asking, SHOP_EXCHANGE, "order.completed")
    [received] = receive(intake, 1)
    address = allowed_reply(received.reply, REPLY_PREFIX)
    assert address is not None
    opened(open_event_publisher, rabbitmq_url).publish([EVENT], [Reply(*address, EVENT[1])])
    rabbitmq.connection.drain_events(timeout=60)
    assert [(answer.body, answer.properties["correlation_id"]) for answer in answers] == [(EVENT[1].encode(), "ask-1")]


def test_whoever_asks_from_a_queue_without_a_name_of_its_own_is_answered(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any]
) -> None:
    queue = rabbitmq.queue_declare("", exclusive=True).queue
    address = allowed_reply(ReplyAddress(queue), REPLY_PREFIX)
    assert address is not None
    opened(open_event_publisher, rabbitmq_url).publish([EVENT], [Reply(*address, EVENT[1])])
    assert rabbitmq.basic_get(queue, no_ack=True).body == EVENT[1].encode()


#: As RabbitMQ writes it, of a node that is not there. RabbitMQ 3.10 ends the connection of who publishes to it.
ELSEWHERE = "amq.rabbitmq.reply-to.g1h2AA1yZXBseUAxMjQ4ODg0AABwUAAAAAFrDLqQ.As+D0MUMxVmvRWrLLqmGig=="


@pytest.mark.parametrize(
    "gone",
    [
        "loyalty.replies.gone",
        "loyalty.replies." + "x" * 239,
        "amq.gen-gone",
        "amq.rabbitmq.reply-to.forged",
        "amq.rabbitmq.reply-to.forged.too",
        ELSEWHERE,
    ],
)
def test_a_place_that_is_gone_holds_up_neither_events_nor_the_answers_beside_it(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any], replies: str, listener: str, gone: str
) -> None:
    publisher = opened(open_event_publisher, rabbitmq_url)
    started = time.monotonic()
    publisher.publish([EVENT, EVENT], [ANSWER._replace(reply_to=gone), ANSWER, ANSWER._replace(correlation_id="ask-2")])
    publisher.publish([EVENT])
    assert time.monotonic() - started < 4, "no time limit was waited for"
    assert rabbitmq.queue_declare(listener, passive=True).message_count == 3
    assert {answer.properties["correlation_id"] for answer in taken(rabbitmq, replies)} == {"ask-1", "ask-2"}


def test_a_client_that_is_gone_is_answered_no_more(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any], replies: str, listener: str
) -> None:
    intake = opened(open_intake, rabbitmq_url, consumer="one")
    with kombu.Connection(rabbitmq_url) as client:
        channel: Any = client.channel()
        channel.basic_consume("amq.rabbitmq.reply-to", no_ack=True)
        asking = amqp.Message(ORDER, reply_to="amq.rabbitmq.reply-to")
        channel.basic_publish(asking, SHOP_EXCHANGE, "order.completed")
        [received] = receive(intake, 1)
    publisher = opened(open_event_publisher, rabbitmq_url)
    publisher.publish([EVENT] * 2, [Reply(*received.reply, EVENT[1]), ANSWER])
    assert rabbitmq.queue_declare(listener, passive=True).message_count == 2
    assert len(taken(rabbitmq, replies)) == 1


def test_names_that_end_connections_take_little_time_however_many_they_are(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any], listener: str
) -> None:
    publisher = opened(open_event_publisher, rabbitmq_url)
    started = time.monotonic()
    publisher.publish([EVENT], [ANSWER._replace(reply_to=ELSEWHERE)] * 900)
    assert time.monotonic() - started < 6
    assert rabbitmq.queue_declare(listener, passive=True).message_count == 1


def test_an_answer_is_sent_although_the_connection_has_ended_since_the_last_one(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any], replies: str
) -> None:
    publisher = opened(open_event_publisher, rabbitmq_url)
    for number in range(3):
        publisher.publish([EVENT], [ANSWER._replace(correlation_id=str(number))])
        publisher._answers._link._connection.transport.sock.shutdown(socket.SHUT_RDWR)  # noqa: SLF001  # as a broker ends it
    assert [answer.properties["correlation_id"] for answer in taken(rabbitmq, replies)] == ["0", "1", "2"]


def test_a_queue_that_takes_no_answer_holds_no_event_up(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any], listener: str
) -> None:
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    rabbitmq.queue_declare(REPLIES, durable=False, auto_delete=False, arguments=full)
    publisher = opened(open_event_publisher, rabbitmq_url)
    for _ in range(3):
        publisher.publish([EVENT] * 2, [ANSWER] * 2)
    assert rabbitmq.queue_declare(listener, passive=True).message_count == 6
    assert rabbitmq.queue_delete(REPLIES) == 1


def test_an_event_that_is_refused_is_not_confirmed_by_the_answer_to_it(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any], replies: str
) -> None:
    publisher = opened(open_event_publisher, rabbitmq_url)
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    rabbitmq.queue_declare(LISTENER_QUEUE, durable=True, auto_delete=False, arguments=full)
    rabbitmq.queue_bind(LISTENER_QUEUE, EVENT_EXCHANGE, "loyalty.#")
    with pytest.raises(EventNotConfirmedError, match=r"did not confirm 2 event.*refused"):
        publisher.publish([EVENT] * 3, [ANSWER] * 3)
    rabbitmq.queue_purge(LISTENER_QUEUE)
    publisher.publish([EVENT], [ANSWER])
    assert rabbitmq.basic_get(LISTENER_QUEUE, no_ack=True) is not None
    assert rabbitmq.queue_declare(replies, passive=True).message_count == 4


def test_thousands_of_answers_and_events_are_each_sent_once_and_in_order(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any], replies: str, listener: str
) -> None:
    texts = [str(number) for number in range(3000)]
    publisher = opened(open_event_publisher, rabbitmq_url)
    publisher.publish([(EVENT[0], text) for text in texts], [Reply(replies, text, text) for text in texts])
    for queue in (replies, listener):
        assert [rabbitmq.basic_get(queue, no_ack=True).body.decode() for _ in texts] == texts


def test_a_worker_that_may_not_write_to_queues_of_others_publishes_its_events(
    rabbitmq_url: str,
    rabbitmq: Any,
    opened: Callable[..., Any],
    listener: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # RabbitMQ refuses what is published to an internal exchange as it refuses what a right is missing for.
    internal = (0, "test.internal", "direct", False, False, False, True, False, {})
    rabbitmq.send_method(amqp.spec.Exchange.Declare, "BssbbbbbF", internal, wait=amqp.spec.Exchange.DeclareOk)
    monkeypatch.setattr("workers.brokers.amqp_answers._DEFAULT_EXCHANGE", "test.internal")
    publisher = opened(open_event_publisher, rabbitmq_url)
    publisher.publish([EVENT] * 2, [ANSWER] * 2)
    publisher.publish([EVENT], [ANSWER])
    rabbitmq.exchange_delete("test.internal")
    assert rabbitmq.queue_declare(listener, passive=True).message_count == 3
    assert capsys.readouterr().out.count("action='replies_refused'") == 1, "it does not try again"


def test_a_header_that_ends_too_soon_names_no_place() -> None:
    whole = b"\0\x3c\0\0" + bytes(8) + b"\xfe\0" + b"\1t" + b"\1e" + bytes(4) + b"\2\0" + b"\1c" + b"\1r"
    assert reply_of_header(whole) == ReplyAddress("r", "c")
    assert [reply_of_header(whole[:size]) for size in range(len(whole) - 1)] == [None] * (len(whole) - 1)
