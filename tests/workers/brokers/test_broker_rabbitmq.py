"""RabbitMQ: what queues and exchanges add to the promises of both brokers."""

from collections.abc import Callable
from typing import Any

import amqp
import pytest
from broker_steps import LISTENER_QUEUE, ORDER, bodies, orders, receive

from core.errors import BrokerUnavailableError, EventNotConfirmedError
from workers.brokers import ShopPublisher, open_event_publisher, open_intake, open_shop_publisher
from workers.brokers.topology import EVENT_EXCHANGE, INTAKE_QUEUE, SHOP_EXCHANGE

pytestmark = pytest.mark.rabbitmq


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"content_type": "text/plain", "content_encoding": "utf-16"},
        {"content_type": "application/x-python-serialize", "content_encoding": "binary"},
        {"content_type": "application/json", "content_encoding": "gzip"},
        {"content_type": b"text/\xff\xfe", "content_encoding": b"\xff", "message_id": b"\xe9"},
        {"application_headers": {"celery": True, "nested": {"a": [1, None]}}, "expiration": "600000"},
    ],
    ids=["none", "utf-16", "pickle", "gzip", "not utf-8", "headers"],
)
def test_a_body_comes_through_whatever_stands_beside_it(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any], properties: dict[str, Any]
) -> None:
    intake = opened(open_intake, rabbitmq_url, consumer="one")
    body = b'\xef\xbb\xbf{"name": "Zo\xeb"}'
    rabbitmq.basic_publish(amqp.Message(body, **properties), SHOP_EXCHANGE, "order.completed")
    rabbitmq.basic_publish(amqp.Message(ORDER), SHOP_EXCHANGE, "order.completed")
    assert bodies(receive(intake, 2)) == [body, ORDER]


def test_a_routing_key_that_is_not_utf_8_stops_nothing(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any]
) -> None:
    intake = opened(open_intake, rabbitmq_url, consumer="one")
    rabbitmq.basic_publish(amqp.Message(b"1"), SHOP_EXCHANGE, b"order.r\xfcckgabe")
    rabbitmq.basic_publish(amqp.Message(b"2"), SHOP_EXCHANGE, "order.completed")
    assert bodies(receive(intake, 2)) == [b"1", b"2"]


def test_what_is_about_orders_and_commands_reaches_the_intake_and_nothing_else_does(
    rabbitmq_url: str, opened: Callable[..., Any]
) -> None:
    intake = opened(open_intake, rabbitmq_url, consumer="one")
    shop: ShopPublisher = opened(open_shop_publisher, rabbitmq_url)
    shop.publish([("order.refunded", b"1"), ("order.completed.v2", b"2"), ("loyalty.command.account.create", b"3")])
    assert bodies(receive(intake, 3)) == [b"1", b"2", b"3"]
    for key in ("customer.created", "loyalty.commands.credit"):
        with pytest.raises(BrokerUnavailableError, match=rf"1 of 2 .* no queue takes the routing key {key}"):
            shop.publish([("order.completed", b"3"), (key, b"4")])


def test_messages_of_a_connection_that_is_gone_are_not_acknowledged_on_the_next_one(
    rabbitmq_url: str, opened: Callable[..., Any]
) -> None:
    opened(open_shop_publisher, rabbitmq_url).publish(orders(1))
    gone = open_intake(rabbitmq_url, consumer="one")
    old = receive(gone, 1)
    gone.close()
    intake = opened(open_intake, rabbitmq_url, consumer="one")
    receive(intake, 1)
    with pytest.raises(ValueError, match="another connection"):
        intake.acknowledge(old)


def test_a_queue_deleted_under_the_intake_is_an_error_and_reopening_declares_it_anew(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any]
) -> None:
    intake = opened(open_intake, rabbitmq_url, consumer="one")
    rabbitmq.queue_delete(INTAKE_QUEUE)
    with pytest.raises(BrokerUnavailableError, match="cancelled our consumer"):
        intake.receive(messages_max=10, wait_seconds=60)
    with pytest.raises(BrokerUnavailableError, match="open a new one"):
        intake.receive(messages_max=10, wait_seconds=60)
    reopened = opened(open_intake, rabbitmq_url, consumer="one")
    opened(open_shop_publisher, rabbitmq_url).publish([("order.completed", ORDER)])
    assert bodies(receive(reopened, 1)) == [ORDER]


def test_a_queue_with_other_arguments_is_named_with_the_mend(rabbitmq_url: str, rabbitmq: Any) -> None:
    rabbitmq.queue_declare(INTAKE_QUEUE, durable=True, auto_delete=False)
    for opener in (lambda: open_intake(rabbitmq_url, consumer="one"), lambda: open_shop_publisher(rabbitmq_url)):
        with pytest.raises(BrokerUnavailableError, match=r"rabbitmqctl delete_queue loyalty\.intake"):
            opener()


def test_an_exchange_of_another_kind_is_named_with_the_mend(rabbitmq_url: str, rabbitmq: Any) -> None:
    rabbitmq.exchange_declare(EVENT_EXCHANGE, "fanout", durable=True, auto_delete=False)
    with pytest.raises(BrokerUnavailableError, match=r"rabbitmqadmin delete exchange name=loyalty\.events"):
        open_event_publisher(rabbitmq_url)


def test_an_event_is_persistent_json_under_its_type(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any]
) -> None:
    publisher = opened(open_event_publisher, rabbitmq_url)
    _declare_listener(rabbitmq)
    publisher.publish([("loyalty.tier.changed", '{"name": "Zoë"}')])
    message = rabbitmq.basic_get(LISTENER_QUEUE, no_ack=True)
    assert message.body == '{"name": "Zoë"}'.encode()
    assert message.delivery_info["routing_key"] == "loyalty.tier.changed"
    assert message.properties == {
        "content_type": "application/cloudevents+json",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
    }


def test_an_event_that_a_queue_refuses_is_not_confirmed_and_the_publisher_goes_on(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any]
) -> None:
    publisher = opened(open_event_publisher, rabbitmq_url)
    _declare_listener(rabbitmq, {"x-max-length": 1, "x-overflow": "reject-publish"})
    publisher.publish([("loyalty.balance.changed", "1")])
    with pytest.raises(EventNotConfirmedError, match=r"did not confirm 2 event.*refused"):
        publisher.publish([("loyalty.balance.changed", "2"), ("loyalty.balance.changed", "3")])
    rabbitmq.queue_purge(LISTENER_QUEUE)
    publisher.publish([("loyalty.balance.changed", "2")])
    assert rabbitmq.basic_get(LISTENER_QUEUE, no_ack=True).body == b"2"


def test_publishing_to_an_exchange_that_was_deleted_is_an_error(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any]
) -> None:
    publisher = opened(open_event_publisher, rabbitmq_url)
    rabbitmq.exchange_delete(EVENT_EXCHANGE)
    with pytest.raises(BrokerUnavailableError, match="no exchange"):
        publisher.publish([("loyalty.balance.changed", "{}")])


def test_a_message_that_comes_back_a_hundred_times_is_still_there(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any]
) -> None:
    opened(open_shop_publisher, rabbitmq_url).publish([("order.completed", ORDER)])
    for _ in range(100):
        message = None
        while message is None:
            message = rabbitmq.basic_get(INTAKE_QUEUE)
        rabbitmq.basic_reject(message.delivery_tag, requeue=True)
    assert bodies(receive(opened(open_intake, rabbitmq_url, consumer="one"), 1)) == [ORDER]


def _declare_listener(channel: Any, arguments: dict[str, Any] | None = None) -> None:
    """Do as a consumer of events does: a durable queue bound to the exchange, before the first event."""
    channel.queue_declare(LISTENER_QUEUE, durable=True, auto_delete=False, arguments=arguments)
    channel.queue_bind(LISTENER_QUEUE, EVENT_EXCHANGE, "loyalty.#")
