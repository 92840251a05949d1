"""A password in a URL is taken as it is meant, or the URL is refused: and nothing of it is ever quoted."""

from collections.abc import Callable
from urllib.parse import quote, unquote

import kombu
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis.connection import parse_url
from sqlalchemy import make_url

from core.errors import BrokerUrlError, DatabaseUrlError, UserError
from core.store.engine import normalized_url
from workers.bootstrap import checked_broker_url
from workers.database_address import checked_database_url

#: How each client reads the password of a URL, and what checks the URL before that client gets it.
CLIENTS: dict[str, tuple[Callable[[str], str], Callable[[str], str | None]]] = {
    "postgresql": (checked_database_url, lambda url: make_url(normalized_url(url)).password),
    "amqp": (checked_broker_url, lambda url: kombu.Connection(url).password),
    "redis": (checked_broker_url, lambda url: parse_url(url).get("password")),  # type: ignore[no-untyped-call]
}
SPECIAL = st.text(st.sampled_from("@/?#:;[]%&= +\\\"'aZ09é"), min_size=1, max_size=12)


@pytest.mark.parametrize("scheme", CLIENTS)
@given(password=SPECIAL | st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_an_encoded_password_reaches_the_client_as_it_is(scheme: str, password: str) -> None:
    check, read = CLIENTS[scheme]
    assert read(check(f"{scheme}://shop:{quote(password, safe='')}@host:1234/0")) == password


@pytest.mark.parametrize("scheme", CLIENTS)
@given(password=SPECIAL)
@example("p@ss")
@example("1?tail")
@example("a/b")
@example("zq?xv=1&yk")
def test_a_password_that_is_not_encoded_is_understood_or_refused_and_never_quoted(scheme: str, password: str) -> None:
    check, read = CLIENTS[scheme]
    secret = f"SECRET{password}SECRET"
    refusal = ""
    try:
        # What happens to be written as an encoded character means that one.
        assert read(check(f"{scheme}://shop:{secret}@host:1234/0")) == unquote(secret)
    except UserError as error:
        refusal = str(error)
    assert "SECRET" not in refusal


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://loyalty@host",
        "postgresql://loyalty:a%40b@host:5432/points?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql:///points?host=one&host=two&target_session_attrs=read-write",
        "postgresql://[::1]:5432/points",
        "postgresql://host/points?options=-c%20search_path%3Dloyalty",
    ],
)
def test_an_address_of_a_database_is_taken(url: str) -> None:
    assert checked_database_url(url) == url


@pytest.mark.parametrize(
    "url",
    ["amqp://host//", "amqps://a:b@host:5671/shop?ssl_ca_certs=/ca.pem", "amqp://a@one;amqp://b@two", "redis://:p@h/1"],
)
def test_an_address_of_a_broker_is_taken(url: str) -> None:
    assert checked_broker_url(url) == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql://host:54x2/points", "its port is not a number"),
        ("postgresql://host:99999/points", "its port is not a number"),
        ("postgresql://one,two/points", "several hosts"),
        ("postgresql://host/po ints", "after the host"),
        ("mysql://host/points", "does not begin with postgresql://"),
        ("loyalty:secret@host", "does not begin with postgresql://"),
    ],
)
def test_another_address_of_a_database_is_refused_with_the_reason(url: str, problem: str) -> None:
    with pytest.raises(DatabaseUrlError, match=problem):
        checked_database_url(url)


@pytest.mark.parametrize("url", ["amqps://host/?ssl_ca_cert=/ca.pem", "redis://host/0?sll_cert_reqs=none"])
def test_an_option_that_the_client_does_not_know_is_refused_before_a_process_starts(url: str) -> None:
    with pytest.raises(BrokerUrlError, match=r"ssl_ca_cert|sll_cert_reqs"):
        checked_broker_url(url)
