"""The Python client adds to streams, and says what was not taken; so it does where there is no broker."""

from typing import Any

import pytest
import redis

from loyalty_client import BrokerUrlError, LoyaltyClient, NotPublishedError, UnsupportedBrokerError
from tests.clients.client_messages import KEY, fulfilled
from workers.brokers.topology import EVENT_FIELD, SHOP_STREAM, SIGNATURE_FIELD


def test_a_message_is_an_entry_with_its_signature_beside_it(stream_broker_url: str) -> None:
    with LoyaltyClient(stream_broker_url, signing_key=KEY) as client:
        client.publish(*(fulfilled(number) for number in range(1_100)))
    with redis.Redis.from_url(stream_broker_url) as server:
        entries: Any = server.xrange(SHOP_STREAM)
    assert len(entries) == 1_100
    body = fulfilled(0).to_json().encode()
    assert entries[0][1] == {EVENT_FIELD.encode(): body, SIGNATURE_FIELD.encode(): KEY.signature(body).encode()}


def test_a_connection_that_has_ended_meanwhile_is_made_again(stream_broker_url: str) -> None:
    with redis.Redis.from_url(stream_broker_url) as server, LoyaltyClient(stream_broker_url) as client:
        client.publish(fulfilled(1))
        server.client_kill_filter(_type="normal", skipme=True)
        client.publish(fulfilled(2))
        assert server.xlen(SHOP_STREAM) == 2


def test_a_server_that_takes_nothing_says_why(stream_broker_url: str) -> None:
    with redis.Redis.from_url(stream_broker_url) as server, LoyaltyClient(stream_broker_url) as client:
        server.set(SHOP_STREAM, "no stream")
        with pytest.raises(NotPublishedError, match="WRONGTYPE"):
            client.publish(fulfilled())


@pytest.mark.parametrize("url", ["amqp://shop:hidden@127.0.0.1:1//", "redis://:hidden@127.0.0.1:1/0"])
def test_a_broker_that_is_not_there_is_an_error_that_names_no_secret(url: str) -> None:
    with LoyaltyClient(url, seconds_max=1) as client, pytest.raises(NotPublishedError) as refused:
        client.publish(fulfilled())
    assert "hidden" not in str(refused.value)
    assert "Publish the same again" in str(refused.value)


@pytest.mark.parametrize("url", ["kafka://localhost", "localhost:6379", ""])
def test_a_broker_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(UnsupportedBrokerError, match="begins with amqp://"):
        LoyaltyClient(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hid#den@127.0.0.1:6379/0x",
        "amqp://shop:hid[den@127.0.0.1//",
        "redis://127.0.0.1:nine/0",
        "amqps://127.0.0.1:0//",
        "amqps://127.0.0.1//?ssl_cert_reqs=maybe",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(BrokerUrlError) as refused:
        LoyaltyClient(url)
    assert "hid" not in str(refused.value)


def test_a_key_does_not_show_its_secret() -> None:
    assert "secret" not in f"{KEY} {KEY!r} {[KEY]}"
