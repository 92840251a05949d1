"""A Redis or Valkey of our own in whatever way it can be run: over TLS, as a node of a cluster, as a Sentinel."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.faults.network import free_port
from workers.child_processes import die_with_parent, end_child
from workers.servers.executables import find_programs
from workers.servers.valkey import Valkey

PROGRAMS = ("valkey-server", "redis-server")
_READY_SECONDS_MAX = 30.0
_STOP_LADDER = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))


def program_named(name: str) -> Path:
    """The Valkey of our wheel, or the Redis of this machine; skips the test where that is not installed."""
    if name == "valkey-server":
        return find_programs(Valkey.wheel, None, Path("/nowhere")) / name
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return Path(found)


@contextmanager
def running(program: Path, folder: Path, settings: Sequence[str], *options: str) -> Iterator[int]:
    """Run it with these lines in its configuration, where `{port}` stands for the port that is returned."""
    port, spare_port = free_port(), free_port()
    folder.mkdir(exist_ok=True)
    lines = [
        "bind 127.0.0.1",
        f"dir {folder}",
        "daemonize no",
        *(line.format(port=port, spare_port=spare_port) for line in settings),
    ]
    file = folder / "server.conf"
    file.write_text("".join(f"{line}\n" for line in lines))
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(file), *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call, no lock
        )
    try:
        _wait_for(port, process, folder / "server.log")
        yield port
    finally:
        end_child(process, _STOP_LADDER)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS_MAX
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
