"""The port of a role: what it answers, whatever the servers do and whoever asks."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from config.settings import Settings
from core.errors import NoServersError
from tests.scraped import Scraped
from tests.workers.test_health import NOWHERE_BROKER, NOWHERE_DATABASE
from workers.heartbeat import RESTARTS_VARIABLE, progress_file
from workers.metrics.counting import make_room
from workers.metrics.port import REQUESTS_MAX, Health, PortServer, answers_of, open_server, own_registry
from workers.metrics.state import StateCollector, StateReader

Get = Callable[[str], tuple[int, str]]


@pytest.fixture
def heart(tmp_path: Path) -> Path:
    file = tmp_path / "heartbeats" / "intake.heartbeat"
    file.parent.mkdir()
    file.touch()
    return file


@pytest.fixture
def server(tmp_path: Path, heart: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PortServer]:
    monkeypatch.setenv(RESTARTS_VARIABLE, "3")
    make_room(tmp_path, 1)
    health = Health(heart)
    registry = own_registry(Settings(data_dir=tmp_path), "intake", tmp_path, health, os.getpid())
    server = open_server("127.0.0.1", 0, answers_of(registry, health))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def get(server: PortServer) -> Get:
    def ask(path: str) -> tuple[int, str]:
        request = Request(f"http://127.0.0.1:{server.server_port}{path}")  # of our own
        try:
            with urlopen(request, timeout=60) as response:  # noqa: S310
                return response.status, response.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return ask


def bare(server: PortServer, *sent: bytes) -> bytes:
    """What comes back to these bytes, until the port hangs up."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as client:
        for part in sent:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while part := client.recv(65536):
            received += part
        return received


class TestHealth:
    def test_a_role_that_gives_signs_is_live_and_one_that_has_stopped_giving_them_is_not(
        self, get: Get, heart: Path
    ) -> None:
        status, body = get("/live")
        assert (status, json.loads(body)["is_well"]) == (200, True)
        os.utime(heart, (0, 0))
        status, body = get("/live")
        document = json.loads(body)
        assert (status, document["is_well"]) == (503, False)
        assert [found["subject"] for found in document["findings"] if found["problem"]] == ["role intake"]
        assert Scraped(get("/metrics")[1]).value("loyalty_role_live", role="intake") == 0

    def test_an_intake_that_is_alive_and_stores_nothing_is_not_working(self, get: Get, heart: Path) -> None:
        assert Scraped(get("/metrics")[1]).value("loyalty_role_working", role="intake") == 1
        progress_file(heart).touch()
        os.utime(progress_file(heart), (0, 0))
        found = Scraped(get("/metrics")[1])
        assert found.value("loyalty_role_working", role="intake") == 0
        assert found.value("loyalty_role_live", role="intake") == 1

    def test_ready_names_the_servers_that_are_away(self, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOYALTY_DATABASE_URL", NOWHERE_DATABASE)
        monkeypatch.setenv("LOYALTY_BROKER_URL", NOWHERE_BROKER)
        status, body = get("/ready")
        wrong = [found["subject"] for found in json.loads(body)["findings"] if found["problem"]]
        assert (status, sorted(wrong)) == (503, ["broker", "database"])
        assert get("/live")[0] == 200, "what is away is no reason to start a role again"

    def test_ready_with_servers_that_answer(
        self, get: Get, monkeypatch: pytest.MonkeyPatch, shared_database_url: str, stream_broker_url: str
    ) -> None:
        monkeypatch.setenv("LOYALTY_DATABASE_URL", shared_database_url)
        monkeypatch.setenv("LOYALTY_BROKER_URL", stream_broker_url)
        assert get("/ready")[0] == 200

    def test_all_three_answer_while_a_server_takes_connections_and_says_nothing(
        self, get: Get, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            address = f"127.0.0.1:{mute.getsockname()[1]}"
            monkeypatch.setenv("LOYALTY_DATABASE_URL", f"postgresql://loyalty@{address}/loyalty")
            monkeypatch.setenv("LOYALTY_BROKER_URL", f"redis://{address}/0")
            results: dict[str, tuple[int, str]] = {}
            asking = threading.Thread(target=lambda: results.update(ready=get("/ready")))
            asking.start()
            assert (get("/live")[0], get("/metrics")[0]) == (200, 200)
            asking.join()
        assert results["ready"][0] == 503
        found = json.loads(results["ready"][1])["findings"]
        assert sorted(each["subject"] for each in found if each["problem"]) == ["broker", "database"]


class TestRequests:
    @pytest.mark.parametrize(
        ("sent", "answered"),
        [
            (b"GET /nothing HTTP/1.1\r\n\r\n", b"404"),
            (b"GET /live?and=more HTTP/1.0\r\n\r\n", b"200"),
            (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200"),
            (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"501"),
            (b"\x16\x03\x01\x00\xff\x00\r\n", b"400"),
            (b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n", b"414"),
            (b"GET /live HTTP/1.1\r\n" + b"a: b\r\n" * 1_000 + b"\r\n", b"431"),
            (b"GET /live HTTP/9.9\r\n\r\n", b"505"),
            (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", b"404"),
            (b"", b""),
        ],
    )
    def test_whatever_is_asked_the_port_goes_on(
        self, server: PortServer, get: Get, sent: bytes, answered: bytes
    ) -> None:
        try:
            received = bare(server, sent)
        except OSError:  # it hung up before it had read all of a request that is too long
            received = b""
        assert answered in received[:200] or not received
        assert get("/live")[0] == 200

    def test_a_head_has_no_body_and_the_port_names_no_version_of_anything(self, server: PortServer) -> None:
        head, _, body = bare(server, b"HEAD /metrics HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
        assert body == b""
        assert b"Python" not in head

    def test_who_takes_all_places_is_hung_up_on_in_the_end_and_one_too_many_at_once(
        self, server: PortServer, get: Get, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clients = [socket.create_connection(("127.0.0.1", server.server_port), 60) for _ in range(REQUESTS_MAX + 1)]
        try:
            assert clients[-1].recv(1) == b""
            monkeypatch.setattr("workers.metrics.port.REQUEST_SECONDS_MAX", 0.0)
            assert [client.recv(1) for client in clients[:-1]] == [b""] * REQUESTS_MAX
            monkeypatch.undo()
        finally:
            for client in clients:
                client.close()
        while True:
            try:
                assert get("/live")[0] == 200
            except OSError:  # the last of them has not let go yet
                continue
            break

    def test_who_sends_a_byte_now_and_then_is_hung_up_on_too(
        self, server: PortServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.metrics.port.REQUEST_SECONDS_MAX", 0.5)
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=0.05) as client:
            for _ in range(400):
                try:
                    client.sendall(b"G")
                    assert client.recv(1) == b""
                except TimeoutError:
                    continue
                except OSError:
                    break
                break
            else:
                pytest.fail("it may go on for ever")

    def test_metrics_come_as_prometheus_asks_for_them(self, server: PortServer) -> None:
        plain = bare(server, b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"Content-Type: text/plain; version=" in plain
        accept = b"Accept: application/openmetrics-text; version=1.0.0\r\n"
        assert bare(server, b"GET /metrics HTTP/1.1\r\n" + accept + b"\r\n").endswith(b"# EOF\n")

    def test_how_often_the_supervisor_has_started_the_role_again_is_told(self, get: Get) -> None:
        assert Scraped(get("/metrics")[1]).value("loyalty_role_restarts_total", role="intake") == 3

    def test_a_file_that_cannot_be_read_costs_the_scrape_alone(self, get: Get, tmp_path: Path) -> None:
        file = tmp_path / "counter_0.db"
        sound = file.read_bytes()
        file.write_bytes(b"\xff\x7f\x00\x00" + bytes(4) + b"\xff" * 64)
        with capture_logs() as logs:
            assert get("/metrics")[0] == 500
            assert get("/live")[0] == 200
        assert {line["action"] for line in logs} == {"metrics_not_told"}
        file.write_bytes(sound)
        assert get("/metrics")[0] == 200


def test_a_port_that_is_taken_is_waited_for_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.metrics.port._BIND_AGAIN_SECONDS", 0.01)
    opened: list[PortServer] = []
    with capture_logs() as logs:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            waiting = threading.Thread(target=lambda: opened.append(open_server("127.0.0.1", port, {})))
            waiting.start()
            while not logs:
                waiting.join(0.01)
            waiting.join(0.2)
            assert opened == []
        waiting.join()
    assert opened[0].server_port == port
    opened[0].server_close()
    assert [(line["action"], line["address"]) for line in logs] == [("metrics_port_taken", f"127.0.0.1:{port}")]


class TestState:
    def test_no_scrape_waits_for_a_reading_that_hangs(self) -> None:
        go_on = threading.Event()

        def read() -> dict[str, dict[str, float]]:
            assert go_on.wait(120)
            return {"loyalty_inbox_lag_messages": {"": 7.0}}

        reader = StateReader(read, 0.01)
        reader.start()
        registry = CollectorRegistry()
        registry.register(StateCollector((reader,)))
        told: list[float | None] = []
        scraping = threading.Thread(
            target=lambda: told.append(registry.get_sample_value("loyalty_inbox_lag_messages")), daemon=True
        )
        scraping.start()
        scraping.join(60)
        assert told == [None]
        go_on.set()
        while registry.get_sample_value("loyalty_inbox_lag_messages") is None:
            scraping.join(0.01)
        assert registry.get_sample_value("loyalty_inbox_lag_messages") == 7

    def test_the_database_is_not_asked_by_scrapes(self) -> None:
        asked: list[int] = []
        reader = StateReader(lambda: asked.append(1) or {"loyalty_inbox_lag_messages": {"": 1.0}}, 600)  # type: ignore[func-returns-value]
        reader.start()
        while not reader.samples():
            pass
        registry = CollectorRegistry()
        registry.register(StateCollector((reader,)))
        assert [registry.get_sample_value("loyalty_inbox_lag_messages") for _ in range(50)] == [1.0] * 50
        assert asked == [1]

    @pytest.mark.parametrize("error", [NoServersError(), OSError("no such file"), KeyError("standing")], ids=repr)
    def test_a_reading_that_fails_for_whatever_reason_is_followed_by_the_next(self, error: Exception) -> None:
        errors = [error]
        is_read_again = threading.Event()

        def read() -> dict[str, dict[str, float]]:
            if errors:
                raise errors.pop()
            is_read_again.set()
            return {"loyalty_inbox_lag_messages": {"": 1.0}}

        with capture_logs() as logs:
            StateReader(read, 0.01).start()
            assert is_read_again.wait(30)
        assert (logs[0]["action"], logs[0]["error"]) == ("metrics_not_read", type(error).__name__)

    def test_what_was_read_too_long_ago_is_told_no_more(self) -> None:
        reader = StateReader(lambda: {"loyalty_inbox_lag_messages": {"": 1.0}}, 600)
        reader.start()
        while not reader.samples():
            pass
        reader._latest = reader._latest._replace(good_until=0.0)  # noqa: SLF001  # as if an hour had gone
        assert reader.samples() == {}
