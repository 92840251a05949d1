"""What PostgreSQL and Valkey have in common when we run them ourselves."""

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import structlog

from core.errors import DataFolderUnusableError, ServerStartError
from workers.child_processes import Ladder, die_with_parent, end_child, end_processes, find_processes, read_pid
from workers.servers.executables import Wheel, find_programs
from workers.servers.folder import Passwords
from workers.servers.places import Home, as_user

# Nothing of ours: a PGDATA or a locale of the caller's must not change the servers.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_READY_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.03
_LOG_BYTES_MAX = 10_000_000
_REASON_LINES = 6

_log = structlog.get_logger(__name__)


class NotReadyError(Exception):
    """The server does not answer yet; the text says why."""


class RefusedError(Exception):
    """The server answers, and will not have us; waiting does not help."""


class Server(ABC):
    """One server: a direct child process of ours on a port of 127.0.0.1, with its data in its home."""

    name: ClassVar[str]
    home_name: ClassVar[str]  #: of the home in the data folder
    working_folder_name: ClassVar[str]  #: of the folder in the home that the running server works in
    wheel: ClassVar[Wheel]
    program: ClassVar[str]
    pid_file: ClassVar[str]  #: relative to the working folder
    stop_ladder: ClassVar[Ladder]
    death_signal: ClassVar[signal.Signals]  #: what it gets when we die

    def __init__(self, home: Home, log_path: Path, shared_root: Path, passwords: Passwords) -> None:
        """Find the programs; nothing is started."""
        self.home = home
        self.log_path = log_path
        self._passwords = passwords
        self._programs = find_programs(self.wheel, home.user, shared_root)
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._log_start = 0

    @property
    def working_folder(self) -> Path:
        """The folder that the running server works in, which distinguishes it from others."""
        return self.home.folder / self.working_folder_name

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect, with the password; once it was started."""

    @abstractmethod
    def _prepare(self) -> None:
        """Make the data on first start."""

    @abstractmethod
    def _arguments(self) -> list[str]: ...

    def _input(self) -> bytes:
        """Return what the server reads from its standard input."""
        return b""

    @abstractmethod
    def _probe(self) -> None:
        """Connect once. Raises NotReadyError or RefusedError."""

    @abstractmethod
    def _complete(self) -> None:
        """Make what clients need; the server is ready. Called at every start."""

    def start(self, port: int) -> None:
        """Start on a port and wait until it answers, 60 s at most; stop first what an earlier run left running here.

        Raises ServerStartError with the last lines of the log; nothing runs then.
        """
        self._turn_log()
        self.stop_left_behind()
        self._prepare()
        self._port = port
        self._process = self._spawn()
        try:
            self._await_ready()
            self._complete()
        except BaseException:
            self.stop()
            raise
        _log.info("server_started", server=self.name, port=port, process=self._process.pid)

    def restart(self) -> None:
        """Start it again where it was, after it exited by itself."""
        self.start(self._port)

    def stop(self) -> None:
        """Stop it cleanly, or by force when that takes too long. A second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        took = end_child(process, self.stop_ladder)
        _log.info("server_stopped", server=self.name, signal=took and took.name, exit_code=process.returncode)

    def has_exited(self) -> bool:
        """Say whether it was started and has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def stop_left_behind(self) -> None:
        """Stop the server of an earlier run on these data, one that outlived its parent or is still on its way down."""
        stop_left_behind(type(self), self.home.folder)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            process = subprocess.Popen(  # noqa: S603 - the program of the wheel
                [self._programs / self.program, *self._arguments()],
                cwd=self.working_folder,
                env=ENVIRONMENT,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for us: we stop the servers last
                preexec_fn=die_with_parent(self.death_signal),  # noqa: PLW1509 - one system call, no lock
                **as_user(self.home.user),
            )
        assert process.stdin is not None
        try:
            with process.stdin as stdin:
                stdin.write(self._input())
        except BrokenPipeError:  # it has ended already; the wait for it says why
            pass
        return process

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while True:
            if self.has_exited():
                raise self.start_error(self._last_lines() or "it ended without a word")
            try:
                return self._probe()
            except RefusedError as refusal:
                raise self.start_error(str(refusal)) from None
            except NotReadyError as reason:
                if time.monotonic() > deadline:
                    raise self.start_error(f"not ready in {_READY_SECONDS_MAX:.0f} s ({reason})") from None
            time.sleep(_POLL_SECONDS)

    def start_error(self, reason: str) -> ServerStartError:
        """Return the error that names this server and its log."""
        return ServerStartError(server=self.name, reason=reason, log=self.log_path)

    def _last_lines(self) -> str:
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_REASON_LINES:])

    def _turn_log(self) -> None:
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_BYTES_MAX:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        self.log_path.touch(mode=0o600)  # a statement that fails is in it, values included


def stop_left_behind(kind: type[Server], home: Path) -> None:
    """Stop the server of that kind that works on the data of a home, whoever started it.

    Raises DataFolderUnusableError if it cannot be stopped: two servers on the same data would destroy them.
    """
    working_folder = home / kind.working_folder_name
    if not working_folder.is_dir():
        return
    pid_file = working_folder / kind.pid_file

    def find() -> set[int]:
        return find_processes(kind.program, working_folder, pid_file)

    found = find()
    if not found:
        return
    _log.warning("server_left_behind", server=kind.name, processes=sorted(found))
    if not end_processes(find, read_pid(pid_file), kind.stop_ladder):
        reason = f"a {kind.name} of an earlier run cannot be stopped (processes {sorted(find())})"
        raise DataFolderUnusableError(folder=home, reason=reason)
