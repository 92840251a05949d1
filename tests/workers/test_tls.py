"""TLS, with the options that the docs name: the right authority is believed, every other is refused in words."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from config.settings import Settings
from core.errors import BrokerUnavailableError
from core.store.engine import create_database_engine, normalized_url
from tests.workers.cli.command_line import CommandLine
from tests.workers.tls_peer import Authority, TlsPeer, make_authority
from workers.brokers import open_intake, open_shop_publisher
from workers.celery_app import create_app
from workers.nudging import Nudger

MESSAGE = b'{"type": "order.completed", "id": "tls"}'


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("stranger"))


class TestPostgres:
    @pytest.fixture
    def peer(self, database_url: str, authority: Authority) -> Iterator[TlsPeer]:
        url = make_url(database_url)
        with TlsPeer(authority, url.host or "127.0.0.1", url.port or 5432, speaks_postgres=True) as peer:
            yield peer

    def url(self, database_url: str, peer: TlsPeer, ca: Authority, host: str = "localhost") -> str:
        options = {"sslmode": "verify-full", "sslrootcert": str(ca.ca)}
        url = make_url(normalized_url(database_url)).set(host=host, port=peer.port).update_query_dict(options)
        return url.render_as_string(hide_password=False)

    def test_the_right_authority_is_believed(self, database_url: str, peer: TlsPeer, authority: Authority) -> None:
        engine = create_database_engine(self.url(database_url, peer, authority))
        with engine.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar() == 1
        engine.dispose()
        assert peer.handshakes == 1

    def test_another_authority_and_another_name_are_refused(
        self, database_url: str, peer: TlsPeer, authority: Authority, stranger: Authority
    ) -> None:
        wrong_name = self.url(database_url, peer, authority, host="127.0.0.1")
        for url, words in (
            (self.url(database_url, peer, stranger), "certificate verify failed"),
            (wrong_name, "host name"),
        ):
            engine = create_database_engine(url)
            with pytest.raises(OperationalError, match=words):
                engine.connect()
            engine.dispose()

    def test_a_person_is_told_in_one_line(
        self,
        database_url: str,
        peer: TlsPeer,
        stranger: Authority,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("LOYALTY_DATABASE_URL", self.url(database_url, peer, stranger))
        printed = CommandLine(capsys)("dead", "list")
        assert printed.code == 1
        assert "loyalty: The database cannot be reached: " in printed.err
        assert "certificate verify failed" in printed.err
        assert len(printed.err.splitlines()) == 1


@pytest.fixture(params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def plain_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("stream_broker_url" if request.param == "valkey" else "rabbitmq_url")
    return url


def over_tls(plain_url: str, peer: TlsPeer, host: str = "localhost", **options: object) -> str:
    parts = urlsplit(plain_url)
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    query = "&".join(f"ssl_{name}={value}" for name, value in options.items())
    return f"{parts.scheme}s://{login}{host}:{peer.port}{parts.path}?{query}"


def listening(plain_url: str, authority: Authority, **options: Any) -> TlsPeer:
    parts = urlsplit(plain_url)
    return TlsPeer(authority, parts.hostname or "127.0.0.1", parts.port or 5672, **options)


def there_and_back(url: str) -> bytes:
    """Publish a message, and take what is there until it comes."""
    intake, shop = open_intake(url, consumer="tls"), open_shop_publisher(url)
    try:
        shop.publish([("order.completed", MESSAGE)])
        raw = b""
        while raw != MESSAGE:
            [received] = intake.receive(messages_max=1, wait_seconds=60)
            intake.acknowledge([received])
            raw = received.raw
    finally:
        shop.close()
        intake.close()
    return raw


def test_messages_and_nudges_go_to_a_broker_of_the_right_authority(plain_url: str, authority: Authority) -> None:
    with listening(plain_url, authority) as peer:
        url = over_tls(plain_url, peer, ca_certs=authority.ca, cert_reqs="required")
        assert there_and_back(url) == MESSAGE
        before = peer.handshakes
        app = create_app(Settings(database_url=SecretStr("postgresql://nowhere"), broker_url=SecretStr(url)))
        nudger = Nudger(app)
        assert nudger.send("loyalty.post_inbox", 0)
        nudger.close()
        app.close()
        assert 2 <= before < peer.handshakes


def test_a_certificate_of_our_own_is_shown_to_a_broker_that_asks(plain_url: str, authority: Authority) -> None:
    ours = {"certfile": authority.certificate, "keyfile": authority.key}
    with listening(plain_url, authority, asks_certificate=True) as peer:
        assert there_and_back(over_tls(plain_url, peer, ca_certs=authority.ca, **ours)) == MESSAGE
        with pytest.raises(BrokerUnavailableError):
            there_and_back(over_tls(plain_url, peer, ca_certs=authority.ca))


def test_another_authority_and_another_name_are_refused(
    plain_url: str, authority: Authority, stranger: Authority
) -> None:
    with listening(plain_url, authority) as peer:
        for url, words in (
            (over_tls(plain_url, peer, ca_certs=stranger.ca), "certificate verify failed"),
            (over_tls(plain_url, peer, cert_reqs="required"), "certificate verify failed"),
            (
                over_tls(plain_url, peer, host="127.0.0.1", ca_certs=authority.ca),
                "certificate verify failed: .*127.0.0.1",
            ),
        ):
            with pytest.raises(BrokerUnavailableError, match=words):
                open_intake(url, consumer="tls")
        assert there_and_back(over_tls(plain_url, peer, cert_reqs="none")) == MESSAGE, "only when told to believe all"
