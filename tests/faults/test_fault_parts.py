"""The parts that faults are made of: a network that fails as asked, places to be killed at, a clock that is wrong."""

import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults import crash_points
from tests.faults.clock import Clock, build_library
from tests.faults.network import Mode, Network, Proxy

ROOT = Path(__file__).parents[2]
SILENCE_SECONDS = 0.2
ANSWER_SECONDS = 10


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        try:
            while data := self.request.recv(1000):
                self.request.sendall(data)
        except ConnectionError:
            return


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


@pytest.fixture
def proxy(network: Network) -> Iterator[Proxy]:
    """A way to a server that says what it hears."""
    with Server(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield network.open_proxy(server.server_address[1])
        server.shutdown()


def connected(proxy: Proxy) -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", proxy.port), ANSWER_SECONDS))


def answer(client: socket.socket, seconds: float = ANSWER_SECONDS) -> bytes:
    client.settimeout(seconds)
    return client.recv(1000)


def says(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return answer(client)


class TestNetwork:
    def test_what_was_sent_into_a_cut_arrives_when_it_is_mended(self, proxy: Proxy) -> None:
        with connected(proxy) as client:
            assert says(client, b"before") == b"before"
            proxy.set_mode(Mode.HOLD)
            client.sendall(b"during")
            with pytest.raises(TimeoutError):
                answer(client, SILENCE_SECONDS)
            with connected(proxy) as other:
                other.sendall(b"new")
                proxy.set_mode(Mode.PASS)
                assert answer(other) == b"new"
            assert answer(client) == b"during"

    def test_what_was_open_when_the_network_forgot_stays_dead_and_hears_nothing(self, proxy: Proxy) -> None:
        with connected(proxy) as client:
            assert says(client, b"before") == b"before"
            proxy.set_mode(Mode.SWALLOW)
            proxy.set_mode(Mode.PASS)
            client.sendall(b"after")
            with pytest.raises(TimeoutError):
                answer(client, SILENCE_SECONDS)
            with connected(proxy) as other:
                assert says(other, b"new") == b"new"

    def test_refused_means_reset_and_nobody_there_until_it_passes_again(self, proxy: Proxy) -> None:
        with connected(proxy) as client:
            assert says(client, b"before") == b"before"
            proxy.set_mode(Mode.REFUSE)
            with pytest.raises(ConnectionResetError):
                answer(client)
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
        proxy.set_mode(Mode.PASS)
        with connected(proxy) as client:
            assert says(client, b"after") == b"after"

    def test_what_is_open_stays_where_it_is_when_others_are_led_elsewhere(self, proxy: Proxy) -> None:
        with connected(proxy) as client:
            assert says(client, b"before") == b"before"
            proxy.lead_to(1)  # nobody listens there
            with suppress(ConnectionError), connected(proxy) as other:  # it may be refused before it is open
                assert answer(other) == b""
            assert says(client, b"after") == b"after"

    def test_a_reset_ends_what_is_open_and_nothing_else(self, proxy: Proxy) -> None:
        with connected(proxy) as client:
            assert says(client, b"before") == b"before"
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                answer(client)
        with connected(proxy) as client:
            assert says(client, b"after") == b"after"


class Passing(NamedTuple):
    """What the passers-by of an armed point see."""

    armed_for: int
    survived: int
    code: int


PASSERS_BY = """
import pathlib, sys
from tests.faults.crash_points import pass_by
for _ in range(5):
    pass_by(pathlib.Path(sys.argv[1]), "here")
    print(".", end="", flush=True)
"""
PASSINGS = [Passing(1, 0, -signal.SIGKILL), Passing(3, 2, -signal.SIGKILL), Passing(6, 5, 0)]


class TestCrashPoints:
    @pytest.mark.parametrize("passing", PASSINGS, ids=str)
    def test_the_process_is_killed_at_the_passing_that_was_armed_and_only_then(
        self, passing: Passing, tmp_path: Path
    ) -> None:
        crash_points.arm(tmp_path, "here", passing.armed_for)
        crash_points.arm(tmp_path, "elsewhere")
        command = [sys.executable, "-c", PASSERS_BY, str(tmp_path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.stdout, done.returncode) == ("." * passing.survived, passing.code), done.stderr
        assert crash_points.is_armed(tmp_path, "here") == (passing.code == 0)
        assert crash_points.disarm(tmp_path, "elsewhere")
        assert not crash_points.is_armed(tmp_path, "elsewhere")


class TestClock:
    def test_a_step_is_seen_by_a_running_process_and_only_on_the_wall_clock(self, tmp_path: Path) -> None:
        library = build_library(tmp_path)
        if library is None:
            pytest.skip("no C compiler (cc) with glibc to build the clock with")
        clock = Clock(tmp_path, library)
        code = "import time\nwhile input(): print(int(time.time()), int(time.monotonic()), flush=True)"
        environment = {**os.environ, **clock.environment}
        with subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            now = asker(process)
            wall, steady = now()
            clock.step(-3600)
            stepped_wall, stepped_steady = now()
            clock.step(0)
            mended_wall, _ = now()
            process.kill()
        assert wall - 3600 <= stepped_wall < wall - 3000
        assert steady <= stepped_steady < steady + 600
        assert wall <= mended_wall


def asker(process: "subprocess.Popen[str]") -> Callable[[], tuple[int, int]]:
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    def ask() -> tuple[int, int]:
        stdin.write("now\n")
        stdin.flush()
        wall, steady = stdout.readline().split()
        return int(wall), int(steady)

    return ask
