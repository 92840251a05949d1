"""A broker that cannot be used says so, and never shows a password."""

from collections.abc import Callable
from typing import Any

import pytest

from core.errors import BrokerUnavailableError, UnsupportedBrokerError
from workers.bootstrap import checked_broker_url
from workers.brokers import (
    open_event_publisher,
    open_event_tail,
    open_intake,
    open_shop_publisher,
    url_without_password,
)

CLOSED_PORT = 1  #: that nobody listens on; one that was free a moment ago another test may have by now


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "redis", "rediss"])
@pytest.mark.parametrize(
    "opener",
    [lambda url: open_intake(url, consumer="one"), open_event_publisher, open_shop_publisher, open_event_tail],
    ids=["intake", "event publisher", "shop publisher", "tail"],
)
def test_a_broker_that_is_down_is_named_without_its_password(scheme: str, opener: Callable[[str], Any]) -> None:
    with pytest.raises(BrokerUnavailableError) as caught:
        opener(f"{scheme}://shop:s3cr3t@127.0.0.1:{CLOSED_PORT}/0")
    assert f"{scheme}://shop@127.0.0.1:{CLOSED_PORT}/0" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("url", ["kafka://host", "AMQP://host", "localhost:5672", ""])
def test_another_scheme_is_refused(url: str) -> None:
    with pytest.raises(UnsupportedBrokerError, match="amqp://, amqps://, redis:// or rediss://"):
        open_intake(url, consumer="one")


@pytest.mark.parametrize("url", ["amqps://host/?ssl_ca_cert=/ca.pem", "redis://host/0?sll_cert_reqs=none"])
def test_a_misspelt_option_is_named(url: str) -> None:
    with pytest.raises(BrokerUnavailableError, match=r"ssl_ca_cert|sll_cert_reqs"):
        open_intake(url, consumer="one")


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_password_that_is_not_encoded_is_not_quoted(scheme: str) -> None:
    with pytest.raises(BrokerUnavailableError) as caught:
        open_intake(f"{scheme}://shop:zq#xv/w@yk@127.0.0.1/0", consumer="one")
    assert not any(piece in str(caught.value) for piece in ("zq", "xv", "yk"))


@pytest.mark.parametrize("scheme", ["amqp", "redis"])
def test_a_password_that_looks_like_an_option_is_not_quoted(scheme: str) -> None:
    with pytest.raises(BrokerUnavailableError) as caught:
        open_intake(f"{scheme}://shop:zq?xv=1&yk@127.0.0.1/0", consumer="one")
    assert not any(piece in str(caught.value) for piece in ("zq", "xv", "yk"))


def test_an_address_without_a_scheme_is_refused_without_quoting_it() -> None:
    for wrong in ("shop:s3cr3t@host:5672", "shop]:s3cr3t@host?x://y"):
        with pytest.raises(UnsupportedBrokerError) as caught:
            checked_broker_url(wrong)
        assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("amqp://shop:s3cr3t@host:5672/vhost", "amqp://shop@host:5672/vhost"),
        ("redis://:s3cr3t@host/0", "redis://@host/0"),
        ("redis://host/0?password=s3cr3t", "redis://host/0"),
        ("amqp://a:s3;cr@3t@one;amqp://b:s3cr3t@two//", "amqp://a@one;amqp://b@two//"),
        ("s3cr3t@host", "s3cr3t@host"),
        ("sh]op:s3cr3t@host?x://y", "sh]op@host"),
        ("redis://host:6379", "redis://host:6379"),
    ],
)
def test_a_url_is_shown_without_its_password_and_options(url: str, shown: str) -> None:
    assert url_without_password(url) == shown
