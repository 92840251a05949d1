"""The Python client takes the options of TLS that the worker takes: the right authority is believed, others are not."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import kombu
import pytest

from loyalty_client import BrokerAwayError, Consumer, LoyaltyClient, NotPublishedError, SqlProgress
from tests.clients.client_messages import fulfilled
from tests.workers.tls_peer import Authority, TlsPeer, make_authority
from workers.brokers import open_shop_publisher

NAME = "test.tls"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> list[Authority]:
    return [make_authority(tmp_path_factory.mktemp("authority")) for _ in "12"]


@pytest.fixture(params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def plain_url(request: pytest.FixtureRequest) -> Iterator[str]:
    url: str = request.getfixturevalue("stream_broker_url" if request.param == "valkey" else "rabbitmq_url")
    open_shop_publisher(url).close()
    yield url
    if request.param == "rabbitmq":
        with kombu.Connection(url) as connection:
            connection.channel().queue_delete(NAME)


def over_tls(plain_url: str, peer: TlsPeer, query: str, host: str = "localhost") -> str:
    parts = urlsplit(plain_url)
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    return f"{parts.scheme}s://{login}{host}:{peer.port}{parts.path}?{query}"


def consume(url: str) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        consumer = Consumer(url, NAME, SqlProgress(database), seconds_max=2, away_seconds_max=0)
        list(consumer.consume(lambda _: None, idle_seconds_max=0.2))


def test_a_broker_is_believed_by_its_authority_and_its_name(plain_url: str, authorities: list[Authority]) -> None:
    ours, _ = authorities
    parts = urlsplit(plain_url)
    by_ours, by_others = (f"ssl_ca_certs={each.ca}" for each in authorities)
    with TlsPeer(ours, parts.hostname or "127.0.0.1", parts.port or 5672) as peer:
        for query in (by_ours, f"{by_ours}&ssl_cert_reqs=required", "ssl_cert_reqs=none"):
            with LoyaltyClient(over_tls(plain_url, peer, query)) as client:
                client.publish(fulfilled())
            consume(over_tls(plain_url, peer, query))
        for query, host in (("", "localhost"), (by_others, "localhost"), (by_ours, "127.0.0.1")):
            url = over_tls(plain_url, peer, query, host)
            with LoyaltyClient(url, seconds_max=2) as client, pytest.raises(NotPublishedError, match="certificate"):
                client.publish(fulfilled())
            with pytest.raises(BrokerAwayError, match="certificate"):
                consume(url)
