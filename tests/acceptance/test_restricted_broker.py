"""A hosted RabbitMQ: TLS, a virtual host, and a user who may configure nothing. A node of our own stands for it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest
from sqlalchemy import Engine

from core.errors import BrokerTopologyError, BrokerUnavailableError
from core.store.engine import create_database_engine
from core.store.migrate import upgrade
from tests.acceptance.role_processes import RoleProcesses, Shop, check_books, posted, wait_through
from tests.acceptance.whole_worker import Consumer, wait_until
from tests.factories import as_bytes, order
from tests.faults.network import free_port
from tests.faults.rabbit_node import RabbitMissingError, RabbitNode
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from tests.workers.tls_peer import Authority, make_authority
from workers.brokers import open_event_publisher, open_intake, open_shop_publisher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Hosted(NamedTuple):
    """A node that speaks TLS at one port, and in the clear at another, for tests that only want to look."""

    node: RabbitNode
    tls_port: int
    ca: Path

    def admin_url(self, vhost: str) -> str:
        """In the clear, as the user who may do everything."""
        return f"amqp://guest:guest@127.0.0.1:{self.node.port}/{vhost}"

    def url(self, vhost: str, user: str = "loyalty") -> str:
        """As the services' own consoles write it, and with our authority."""
        return f"amqps://{user}:secret@localhost:{self.tls_port}/{vhost}?ssl_ca_certs={self.ca}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Hosted]:
    tls_port = free_port()
    configuration = [
        f"listeners.ssl.local = 127.0.0.1:{tls_port}",
        f"ssl_options.cacertfile = {authority.ca}",
        f"ssl_options.certfile = {authority.certificate}",
        f"ssl_options.keyfile = {authority.key}",
    ]
    try:
        node = RabbitNode(tmp_path_factory.mktemp("node"), configuration)
    except RabbitMissingError as error:
        pytest.skip(str(error))
    try:
        node.start()
        wait_until(lambda: node.control("await_startup"), node.log_tail)
        assert node.control("add_user", "loyalty", "secret")
        yield Hosted(node, tls_port, authority.ca)
    finally:
        node.close()


@pytest.fixture
def vhost(hosted: Hosted) -> Iterator[str]:
    """A virtual host in which nothing is declared, and our user may configure nothing."""
    name = uuid4().hex
    assert hosted.node.control("add_vhost", name)
    assert hosted.node.control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    assert hosted.node.control("set_permissions", "-p", name, "loyalty", "^$", ".*", ".*")
    yield name
    assert hosted.node.control("delete_vhost", name)


@pytest.fixture
def loyalty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    return CommandLine(capsys)


@pytest.fixture
def engine(empty_database_url: str) -> Iterator[Engine]:
    made = create_database_engine(empty_database_url)
    upgrade(made)
    Shell(made)  # puts the usual program in force
    yield made
    made.dispose()


def everything_at(hosted: Hosted, vhost: str) -> list[list[str]]:
    """What is declared in a virtual host, as the server tells it."""
    questions = (
        ("list_exchanges", "name", "type", "durable"),
        ("list_queues", "name", "type", "durable", "arguments"),
        ("list_bindings", "source_name", "destination_name", "routing_key"),
    )
    return [hosted.node.told("-p", vhost, *question) for question in questions]


def test_an_administrator_declares_once_and_roles_that_may_configure_nothing_do_all_their_work(
    hosted: Hosted,
    vhost: str,
    loyalty: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    empty_database_url: str,
    engine: Engine,
) -> None:
    monkeypatch.setenv("LOYALTY_BROKER_URL", hosted.admin_url(vhost))
    assert "queue loyalty.intake" in loyalty("broker", "declare").out
    declared = everything_at(hosted, vhost)
    grant_as_printed(hosted, loyalty, vhost, tmp_path)
    roles = RoleProcesses(
        tmp_path,
        {
            "LOYALTY_DATABASE_URL": empty_database_url,
            "LOYALTY_BROKER_URL": hosted.url(vhost),
            "LOYALTY_DECLARE": "false",
        },
    )
    consumer, shop = Consumer(), Shop(hosted.admin_url(vhost))
    consumer.open(hosted.admin_url(vhost))
    try:
        roles.start("intake-1", "worker-1", "beat-1")
        shop.publish(shop.sell(100))
        wait_through(engine, len(shop.messages), roles.logs)
        assert roles.exited() == {}
        roles.stop("intake-1", "worker-1", "beat-1")
        check_books(engine, shop)
        consumer.consume()
        assert len(consumer.of_type("loyalty.balance.changed")) == len(shop.messages)
        assert roles.logs().count("refused") == 0
    finally:
        roles.kill()
        consumer.close()
    assert everything_at(hosted, vhost) == declared, "the roles have added nothing"


def grant_as_printed(hosted: Hosted, loyalty: CommandLine, vhost: str, folder: Path) -> None:
    """Give our user what `loyalty broker definitions --user` says that it needs."""
    file = folder / "definitions.json"
    file.write_text(loyalty("broker", "definitions", "--vhost", vhost, "--user", "loyalty").out)
    assert hosted.node.control("import_definitions", str(file))
    assert hosted.node.told("list_user_permissions", "loyalty")


def test_the_printed_definitions_make_the_same_as_the_command_and_again_change_nothing(
    hosted: Hosted, vhost: str, loyalty: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    grant_as_printed(hosted, loyalty, vhost, tmp_path)
    imported = everything_at(hosted, vhost)
    monkeypatch.setenv("LOYALTY_BROKER_URL", hosted.admin_url(vhost))
    assert loyalty("broker", "declare", "--json").code == 0
    grant_as_printed(hosted, loyalty, vhost, tmp_path)
    assert everything_at(hosted, vhost) == imported
    names = {name for line in imported[0] + imported[1] for name in line.split("\t")[:1]}
    assert {"shop.events", "loyalty.events", "loyalty.intake", "loyalty.submit", "loyalty.posting"} <= names


def test_what_an_administrator_has_not_declared_is_named_with_the_command_that_does(hosted: Hosted, vhost: str) -> None:
    url = hosted.url(vhost)
    for opener in (
        lambda: open_intake(url, consumer="one", declares=False),
        lambda: open_shop_publisher(url, declares=False),
        lambda: open_event_publisher(url, declares=False),
    ):
        with pytest.raises(BrokerTopologyError, match=r"there is no exchange .*`loyalty broker declare`"):
            opener()


def test_a_user_who_may_not_declare_is_told_of_the_setting(hosted: Hosted, vhost: str) -> None:
    for opener in (
        lambda: open_intake(hosted.url(vhost), consumer="one"),
        lambda: open_event_publisher(hosted.url(vhost)),
    ):
        with pytest.raises(BrokerTopologyError, match=r"may not declare the exchange .*LOYALTY_DECLARE=false"):
            opener()


def test_worker_and_beat_wait_for_what_is_not_declared_yet_and_then_begin(
    hosted: Hosted,
    vhost: str,
    loyalty: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    empty_database_url: str,
    engine: Engine,
) -> None:
    assert hosted.node.control("set_permissions", "-p", vhost, "loyalty", "^$", ".*", ".*")
    environment = {
        "LOYALTY_DATABASE_URL": empty_database_url,
        "LOYALTY_BROKER_URL": hosted.url(vhost),
        "LOYALTY_DECLARE": "false",
    }
    roles = RoleProcesses(tmp_path, environment)
    try:
        roles.start("worker-1", "beat-1")  # each beats while it waits
        wait_until(lambda: roles.logs().count("broker_awaited") >= 2, roles.logs)
        assert "there is no exchange loyalty.tasks" in roles.logs()
        monkeypatch.setenv("LOYALTY_BROKER_URL", hosted.admin_url(vhost))
        monkeypatch.setenv("LOYALTY_DATABASE_URL", empty_database_url)
        assert loyalty("broker", "declare").code == 0
        (tmp_path / "orders.ndjson").write_bytes(as_bytes(order("o1", "1.00")))
        assert loyalty("submit", "orders.ndjson").code == 0
        wait_until(lambda: posted(engine) == 1, roles.logs)
        assert roles.exited() == {}
    finally:
        roles.kill()


def test_a_certificate_of_a_public_authority_needs_no_file_of_ours(
    hosted: Hosted, vhost: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system believes is believed; the variable of OpenSSL stands for the system here."""
    url = hosted.url(vhost).partition("?")[0]
    with pytest.raises(BrokerUnavailableError, match="certificate verify failed"):
        open_shop_publisher(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    with pytest.raises(BrokerTopologyError, match="may not declare"):  # it got as far as that
        open_shop_publisher(url)


def test_definitions_are_for_the_virtual_host_that_is_named(loyalty: CommandLine) -> None:
    document = json.loads(loyalty("broker", "definitions").out)
    assert {each["vhost"] for kind in document.values() for each in kind} == {"/"}
    assert "permissions" not in document
