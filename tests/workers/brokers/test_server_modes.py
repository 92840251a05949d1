"""What of Redis and Valkey suits us: one server, over TLS too. A cluster and a Sentinel are refused in words."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from broker_steps import ORDER, bodies, receive
from redis import Redis
from stream_server import PROGRAMS, program_named, running

from core.errors import BrokerModeError, BrokerUnavailableError
from tests.workers.cli.command_line import CommandLine
from tests.workers.tls_peer import Authority, make_authority
from workers.brokers import open_event_publisher, open_event_tail, open_intake, open_shop_publisher, reach_broker

#: Lines of a configuration, further options, and what a person is told.
REFUSED = {
    "cluster": (
        ("port {port}", "cluster-port {spare_port}", "cluster-enabled yes"),
        (),
        "a node of a Redis Cluster",
        "cluster-enabled no",
    ),
    "sentinel": (("port {port}",), ("--sentinel",), "a Sentinel", "the primary itself"),
}
OPENERS: tuple[Callable[[str], Any], ...] = (
    lambda url: open_intake(url, consumer="one"),
    open_event_publisher,
    open_shop_publisher,
    open_event_tail,
    reach_broker,
)


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Path:
    return program_named(request.param)


@pytest.fixture(params=REFUSED)
def refused(request: pytest.FixtureRequest, program: Path, tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """The URL of a server that does not suit us, what it is, and what to name in its place."""
    settings, options, what, mend = REFUSED[request.param]
    with running(program, tmp_path / "server", settings, *options) as port:
        yield f"redis://127.0.0.1:{port}/0", what, mend


def test_a_cluster_and_a_sentinel_are_refused_by_everything_that_connects(refused: tuple[str, str, str]) -> None:
    url, what, mend = refused
    for opener in OPENERS:
        with pytest.raises(BrokerModeError) as told:
            opener(url)
        assert f"is {what}" in str(told.value)
        assert mend in str(told.value).partition("Let LOYALTY_BROKER_URL name ")[2]


@pytest.mark.parametrize("command", ["up", "intake", "worker", "beat"])
def test_no_role_starts_on_one_and_its_record_says_why(
    refused: tuple[str, str, str],
    command: str,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    url, what, _ = refused
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOYALTY_DATABASE_URL", database_url)
    monkeypatch.setenv("LOYALTY_BROKER_URL", url)
    ended = CommandLine(capsys)(command)
    assert ended.code == 2
    assert what in ended.err


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


def test_a_server_that_speaks_tls_alone_is_read_and_written(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis as Debian builds it; the Valkey of the wheel is built without TLS."""
    settings = (
        "port 0",
        "tls-port {port}",
        "tls-auth-clients no",
        f"tls-cert-file {authority.certificate}",
        f"tls-key-file {authority.key}",
        f"tls-ca-cert-file {authority.ca}",
        "requirepass secret",
    )
    with running(program_named("redis-server"), tmp_path / "server", settings) as port:
        address = f"rediss://default:secret@localhost:{port}/0"
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with pytest.raises(BrokerUnavailableError, match="certificate verify failed"):
            open_shop_publisher(address)
        for url in (f"{address}?ssl_ca_certs={authority.ca}", address):
            with closing(open_shop_publisher(url)) as shop, closing(open_intake(url, consumer="one")) as intake:
                shop.publish([("order.completed", ORDER)])
                received = receive(intake, 1)
                assert bodies(received) == [ORDER]
                intake.acknowledge(received)
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))  # now the system believes the authority, too


def test_a_user_with_the_rights_of_the_docs_may_be_told_the_mode(program: Path, tmp_path: Path) -> None:
    """INFO and CLUSTER are dangerous to Redis, and taken from our roles; HELLO is not."""
    rights = "user worker on >secret ~shop.events ~loyalty.* ~_kombu.* +@all -@admin -@dangerous"
    with running(program, tmp_path / "server", ("port {port}", rights)) as port:
        url = f"redis://worker:secret@127.0.0.1:{port}/0"
        reach_broker(url)
        with closing(open_intake(url, consumer="one")) as intake:
            assert intake.receive(messages_max=1, wait_seconds=0) == []
        with Redis.from_url(url) as client, pytest.raises(Exception, match=r"(?i)no permissions"):
            client.info()
