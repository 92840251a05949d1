"""What a role does for its metrics: takes a folder, starts the process beside it that has the port, and counts.

Nothing of it stops the role: where there is no folder or no port to be had, a record says so, and the work goes on.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import structlog

from config.settings import ROLE_NAMES, Settings
from tasks.watching import UNWATCHED, Watcher
from workers.child_processes import die_with_parent
from workers.heartbeat import HEARTBEAT_VARIABLE

_NAMES_MAX = 64
_AGAIN_SECONDS_MIN, _AGAIN_SECONDS_MAX, _HEALTHY_SECONDS = 1.0, 60.0, 60.0

log = structlog.get_logger(__name__)


class _Taken:
    """The folder of this process and of what it forks; nothing before `open_port`, or without a port."""

    folder: Path | None = None
    lock: IO[bytes] | None = None  #: held for as long as the process lives
    role: str | None = None


def open_port(settings: Settings, role: str) -> None:
    """Serve the metrics and the health of this role, if a port is set. Before anything forks; from the main thread."""
    if settings.metrics_port is None:
        return
    # Imported here: without metrics nobody loads prometheus-client.
    from workers.metrics.counting import FOLDER_VARIABLE, make_room  # noqa: PLC0415

    places = settings.worker_processes if role == "worker" else 1
    try:
        _Taken.folder = _take_folder(settings.data_dir.absolute() / "metrics", role)
        make_room(_Taken.folder, places)
        _name_heartbeat(settings.data_dir, role)
    except OSError as error:
        _Taken.folder = None
        log.warning("metrics_off", action="metrics_off", reason=error.strerror or type(error).__name__)
        return
    _Taken.role = role
    os.environ[FOLDER_VARIABLE] = str(_Taken.folder)
    port = settings.metrics_port + ROLE_NAMES.index(role)
    command = (sys.executable, "-m", "workers.metrics.port", role, str(_Taken.folder), str(port))
    environment = {name: value for name, value in os.environ.items() if name != FOLDER_VARIABLE}
    threading.Thread(target=_keep_running, args=(command, environment), daemon=True).start()


def own_watcher() -> Watcher:
    """What counts in this process; nothing without a port. In each child anew."""
    if _Taken.folder is None or _Taken.role is None:
        return UNWATCHED
    from workers.metrics.counting import Counting  # noqa: PLC0415  # as above
    from workers.metrics.families import COUNTED  # noqa: PLC0415

    return Counting(COUNTED[_Taken.role])


def _take_folder(below: Path, role: str) -> Path:
    """A folder that no other process has, emptied of what the one before has left in it."""
    below.mkdir(parents=True, exist_ok=True)
    for number in range(1, _NAMES_MAX + 1):
        folder = below / (role if number == 1 else f"{role}-{number}")
        lock = (below / f"{folder.name}.lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _Taken.lock = lock
        folder.mkdir(exist_ok=True)
        for file in folder.iterdir():
            file.unlink()
        return folder
    raise FileExistsError(0, f"{_NAMES_MAX} processes count in {below} already")


def _name_heartbeat(data_dir: Path, role: str) -> None:
    """Where no supervisor has named a file for the heartbeat, name one, which is what the port looks at."""
    if HEARTBEAT_VARIABLE not in os.environ:
        file = data_dir.absolute() / "heartbeats" / f"{role}.heartbeat"
        file.parent.mkdir(parents=True, exist_ok=True)
        os.environ[HEARTBEAT_VARIABLE] = str(file)


def _keep_running(command: tuple[str, ...], environment: Mapping[str, str]) -> None:
    """Start the process of the port, again and again: the kernel ends it when this thread has ended, with the role."""
    delay_seconds = _AGAIN_SECONDS_MIN
    while True:
        began = time.monotonic()
        code: int | None = None
        with suppress(OSError):  # a fork that fails for want of memory, which passes
            process = subprocess.Popen(  # noqa: S603 - a command of our own
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one system call, no lock
            )
            code = process.wait()
        is_healthy = time.monotonic() - began > _HEALTHY_SECONDS
        delay_seconds = _AGAIN_SECONDS_MIN if is_healthy else min(2 * delay_seconds, _AGAIN_SECONDS_MAX)
        log.warning("metrics_port_ended", action="metrics_port_ended", exit_code=code, delay_seconds=delay_seconds)
        time.sleep(delay_seconds)
