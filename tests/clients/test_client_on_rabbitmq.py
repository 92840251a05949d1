"""The Python client publishes to RabbitMQ with confirms, and says what was not taken."""

import json
from collections.abc import Iterator
from typing import Any

import kombu
import pytest

from loyalty_client import LoyaltyClient, NotPublishedError
from tests.clients.client_messages import KEY, fulfilled
from workers.brokers.topology import INTAKE_QUEUE, SHOP_EXCHANGE, SIGNATURE_HEADER

pytestmark = pytest.mark.rabbitmq


@pytest.fixture
def rabbitmq(rabbitmq_url: str) -> Iterator[Any]:
    """A channel, on a RabbitMQ without the exchange and the queue of intake."""
    with kombu.Connection(rabbitmq_url) as connection:
        channel: Any = connection.channel()
        channel.queue_delete(INTAKE_QUEUE)
        channel.exchange_delete(SHOP_EXCHANGE)
        yield channel
        channel.queue_delete(INTAKE_QUEUE)
        channel.exchange_delete(SHOP_EXCHANGE)


def declare_queue(channel: Any, **arguments: Any) -> None:
    channel.exchange_declare(SHOP_EXCHANGE, "topic", durable=True, auto_delete=False)
    channel.queue_declare(INTAKE_QUEUE, durable=True, auto_delete=False, arguments=arguments)
    channel.queue_bind(INTAKE_QUEUE, SHOP_EXCHANGE, "order.#")


def test_a_message_is_persistent_json_with_its_type_as_routing_key(rabbitmq_url: str, rabbitmq: Any) -> None:
    declare_queue(rabbitmq)
    with LoyaltyClient(rabbitmq_url, signing_key=KEY) as client:
        client.publish(fulfilled(1), fulfilled(2))
    first, second = (rabbitmq.basic_get(INTAKE_QUEUE, no_ack=True) for _ in "12")
    assert first.delivery_info["routing_key"] == "order.fulfilled"
    assert (first.properties["delivery_mode"], first.properties["content_type"]) == (2, "application/json")
    assert first.body in {fulfilled().to_json(), fulfilled().to_json().encode()}
    assert first.headers[SIGNATURE_HEADER] == KEY.signature(fulfilled().to_json().encode())
    assert json.loads(second.body)["data"] == {"order_id": "2"}


def test_where_no_intake_has_been_that_is_said(rabbitmq_url: str, rabbitmq: Any) -> None:
    with LoyaltyClient(rabbitmq_url) as client:
        with pytest.raises(NotPublishedError, match="start an intake first"):
            client.publish(fulfilled())
        rabbitmq.exchange_declare(SHOP_EXCHANGE, "topic", durable=True, auto_delete=False)
        with pytest.raises(NotPublishedError, match=r"no queue takes order\.fulfilled"):
            client.publish(fulfilled())
        declare_queue(rabbitmq)
        client.publish(fulfilled())
    assert rabbitmq.basic_get(INTAKE_QUEUE, no_ack=True) is not None


def test_what_a_full_queue_refuses_is_not_published(rabbitmq_url: str, rabbitmq: Any) -> None:
    declare_queue(rabbitmq, **{"x-max-length": 1, "x-overflow": "reject-publish"})
    with LoyaltyClient(rabbitmq_url) as client:
        client.publish(fulfilled(1))
        with pytest.raises(NotPublishedError, match="a queue refused it"):
            client.publish(fulfilled(2))


def test_a_connection_that_has_ended_meanwhile_is_made_again(rabbitmq_url: str, rabbitmq: Any) -> None:
    declare_queue(rabbitmq)
    with LoyaltyClient(rabbitmq_url) as client:
        client.publish(fulfilled(1))
        client._link._connection.connection.transport.sock.close()  # type: ignore[attr-defined]  # noqa: SLF001
        client.publish(fulfilled(2))
    assert rabbitmq.queue_declare(INTAKE_QUEUE, passive=True).message_count == 2
