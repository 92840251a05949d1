"""What a role does for its metrics: whatever becomes of the port and of the folder, the role goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.acceptance.prometheus_server import free_ports
from tests.acceptance.whole_worker import wait_until
from tests.scraped import Scraped
from workers.child_processes import is_alive

pytestmark = pytest.mark.slow

#: A role that does nothing but say that it goes on, and counts what it is told to on standard input.
ROLE = """
import sys
from config.settings import Settings
from workers.heartbeat import beat_heart
from workers.metrics.beside import open_port, own_watcher
from workers.process_logs import log_as_process
settings = Settings()
log_as_process(settings, "intake")
open_port(settings, "intake")
watcher = own_watcher()
for line in sys.stdin:
    beat_heart()
    watcher.overdue(int(line))
    sys.stdout.real.write("on\\n")
    sys.stdout.real.flush()
"""


class Role:
    """A process with a port beside it."""

    def __init__(self, data_dir: Path, port: int, log: Path) -> None:
        self.port = port
        self._log = log
        environment = {"LOYALTY_DATA_DIR": str(data_dir), "LOYALTY_METRICS_PORT": str(port)}
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", ROLE],
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def goes_on(self, counts: int = 0) -> bool:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{counts}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "on\n"

    def scraped(self) -> Scraped | None:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as response:  # of our own
                return Scraped(response.read().decode())
        except OSError:
            return None

    def counted(self) -> float | None:
        scraped = self.scraped()
        return None if scraped is None else scraped.value("loyalty_messages_parked_total", reason="order_never_came")

    def beside(self) -> list[int]:
        """The processes that it has started."""
        pid = self.process.pid
        folders = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for folder in folders for child in (folder / "children").read_text().split()]

    def records(self, event: str) -> list[dict[str, Any]]:
        return [record for line in self._log.read_text().splitlines() if (record := json.loads(line))["event"] == event]

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


Start = Callable[..., Role]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Role] = []

    def begin(port: int | None = None, data_dir: Path = tmp_path / "data") -> Role:
        number = len(started)
        started.append(Role(data_dir, free_ports(3) if port is None else port, tmp_path / f"{number}.log"))
        return started[-1]

    yield begin
    for role in started:
        role.end()


def wait_open(role: Role) -> None:
    wait_until(lambda: role.counted() is not None, role.process.poll, seconds_max=90)


def test_what_the_role_counts_is_told_beside_it_and_ends_with_the_role(start: Start) -> None:
    role = start()
    wait_open(role)
    assert role.goes_on(2)
    assert role.goes_on(3)
    assert role.counted() == 5
    (port,) = role.beside()
    role.end()
    wait_until(lambda: not is_alive(port), lambda: port)


def test_a_port_whose_process_ends_is_opened_again_and_tells_on(start: Start) -> None:
    role = start()
    wait_open(role)
    assert role.goes_on(4)
    (port,) = role.beside()
    os.kill(port, signal.SIGKILL)
    wait_until(lambda: role.beside() not in ([port], []), lambda: role.records("metrics_port_ended"))
    wait_open(role)
    assert role.goes_on(1)
    assert role.counted() == 5
    assert [record["exit_code"] for record in role.records("metrics_port_ended")] == [-signal.SIGKILL]


def test_a_role_whose_port_is_taken_works_and_has_it_when_it_is_free(start: Start) -> None:
    first = start()
    wait_open(first)
    second = start(first.port)
    assert second.goes_on(7)
    wait_until(lambda: bool(second.records("metrics_port_taken")), second.process.poll, seconds_max=90)
    assert second.goes_on(1)
    assert first.counted() == 0
    first.end()
    wait_until(lambda: second.counted() == 8, second.counted, seconds_max=90)


def test_roles_of_one_kind_and_folder_count_each_for_itself_and_begin_with_nothing(
    start: Start, tmp_path: Path
) -> None:
    first, second = start(), start()
    wait_open(first)
    wait_open(second)
    assert first.goes_on(1)
    assert second.goes_on(2)
    assert {first.counted(), second.counted()} == {1, 2}
    folders = [path for path in (tmp_path / "data" / "metrics").iterdir() if path.is_dir()]
    assert sorted(folder.name for folder in folders) == ["intake", "intake-2"]
    first.end()
    second.end()
    third = start()
    wait_open(third)
    assert third.counted() == 0


def test_a_role_that_can_have_no_folder_says_so_and_works_without(start: Start, tmp_path: Path) -> None:
    blocked = tmp_path / "data" / "metrics"
    blocked.parent.mkdir()
    blocked.write_text("a file where the folder would be")
    role = start()
    assert role.goes_on(1)
    assert [record["level"] for record in role.records("metrics_off")] == ["warning"]
    assert role.beside() == []
