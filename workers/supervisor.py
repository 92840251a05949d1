"""Keeps the roles of a worker running: restarts what exits and what stops making progress, and stops all in order."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import IO

import structlog
from structlog.typing import FilteringBoundLogger

from workers.child_processes import die_with_parent, has_ended, signal_name
from workers.heartbeat import HEARTBEAT_VARIABLE, RESTARTS_VARIABLE

_STEP_SECONDS = 0.1
_KILL_WAIT_SECONDS = 10.0


@dataclass(frozen=True)
class Role:
    """One process to keep running.

    `environment` is added to ours. `stall_seconds`: how old its heartbeat may become, None to watch its exit only.
    `stop_seconds`: how long it may take to end after TERM.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stall_seconds: float | None = None
    stop_seconds: float = 60


class RoleState(StrEnum):
    """Where a role is: `waiting` has exited and is started again after its delay."""

    RUNNING = "running"
    WAITING = "waiting"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True)
class RoleStatus:
    """A role now: its process id if it has a process, and how often it was started again."""

    pid: int | None
    restarts: int
    state: RoleState


class Supervisor:
    """Runs each role as a process in its own session, which gets TERM should we die.

    A role that exits, with whatever code, is started again after a delay that doubles from `backoff_seconds_min` to
    `backoff_seconds_max` and is forgotten after `healthy_seconds` of running. A role whose heartbeat file
    (`<heartbeat_folder>/<role>.heartbeat`, named to it by LOYALTY_HEARTBEAT_FILE) does not change for its
    `stall_seconds` is killed with its whole group first. Output goes to ours, or to `<log_folder>/<role>.log`.

    Either `run()`, or `start()`, `step()` again and again, and `stop()`: from one thread that lives as long as the
    roles (see `die_with_parent`).
    """

    def __init__(
        self,
        roles: Iterable[Role],
        *,
        heartbeat_folder: Path,
        log_folder: Path | None = None,
        backoff_seconds_min: float = 1.0,
        backoff_seconds_max: float = 30.0,
        healthy_seconds: float = 60.0,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        self._heartbeat_folder = heartbeat_folder
        self._log_folder = log_folder
        self._log: FilteringBoundLogger = log or structlog.get_logger(__name__)
        backoff = _Backoff(backoff_seconds_min, backoff_seconds_max, healthy_seconds)
        self._children = [_Child(role, heartbeat_folder, log_folder, backoff, self._log) for role in roles]
        names = [child.role.name for child in self._children]
        if len(set(names)) != len(names):
            raise ValueError(f"each role needs a name of its own: {names}")
        self._signals_received = 0

    def run(self, each_step: Callable[[], object] | None = None) -> None:
        """Start all roles, keep them running until INT or TERM, then stop them. A second INT or TERM kills them.

        `each_step` is called about ten times a second, for what else must be looked after. Main thread only.
        """
        self._signals_received = 0
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.start()
            while not self._signals_received:
                self.step()
                if each_step is not None:
                    each_step()
                time.sleep(_STEP_SECONDS)
        finally:
            try:
                self.stop()
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler or signal.SIG_DFL)

    def start(self) -> None:
        """Start every role that has no process, in the order given."""
        self._heartbeat_folder.mkdir(parents=True, exist_ok=True)
        if self._log_folder is not None:
            self._log_folder.mkdir(parents=True, exist_ok=True)
        for child in self._children:
            if child.process is None:
                child.start()

    def step(self) -> None:
        """Look at every role once, without waiting: note exits, kill what stalls, start again what is due."""
        for child in self._children:
            child.step()

    def stop(self) -> None:
        """Send TERM in reverse order, wait for each role's `stop_seconds` (together), kill what is left.

        A second call does nothing.
        """
        stopping = [child for child in reversed(self._children) if child.begin_stop()]
        while stopping:
            hurry = self._signals_received > 1
            stopping = [child for child in stopping if not child.finish_stop(hurry=hurry)]
            if stopping:
                time.sleep(_STEP_SECONDS / 2)

    def status(self) -> dict[str, RoleStatus]:
        """Return how each role is now, in the order given."""
        return {child.role.name: child.status() for child in self._children}

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals_received += 1


@dataclass(frozen=True)
class _Backoff:
    seconds_min: float
    seconds_max: float
    healthy_seconds: float

    def after(self, delay_seconds: float, ran_seconds: float) -> float:
        """Return the delay that follows `delay_seconds` (0 before the first)."""
        if ran_seconds >= self.healthy_seconds or not delay_seconds:
            return self.seconds_min
        return min(delay_seconds * 2, self.seconds_max)


class _Child:
    """A role and its process, if it has one now."""

    def __init__(
        self,
        role: Role,
        heartbeat_folder: Path,
        log_folder: Path | None,
        backoff: _Backoff,
        log: FilteringBoundLogger,
    ) -> None:
        self.role = role
        self.process: subprocess.Popen[bytes] | None = None
        self._heartbeat = heartbeat_folder / f"{role.name}.heartbeat"
        self._output = log_folder / f"{role.name}.log" if log_folder else None
        self._backoff = backoff
        self._log = log
        self._state = RoleState.STOPPED
        self._restarts = 0
        self._delay_seconds = 0.0
        # All moments are of the monotonic clock, so that a corrected wall clock neither stalls nor revives a role.
        self._started = self._beaten = self._due = self._deadline = 0.0
        self._mark = 0  # the heartbeat file's last seen mtime_ns
        self._killed = False

    def start(self) -> None:
        self._heartbeat.unlink(missing_ok=True)
        self._mark, self._killed = 0, False
        self._started = self._beaten = time.monotonic()
        told = {HEARTBEAT_VARIABLE: str(self._heartbeat.absolute()), RESTARTS_VARIABLE: str(self._restarts)}
        environment = {**os.environ, **self.role.environment, **told}
        try:
            self.process = self._spawn(environment)
        except OSError as error:  # also a fork that fails for want of memory, which passes
            self._log.error("role_start_failed", role=self.role.name, reason=str(error))
            self._wait_for_restart()
            return
        self._state = RoleState.RUNNING
        self._log.info("role_started", role=self.role.name, process=self.process.pid)

    def step(self) -> None:
        if self._state is RoleState.WAITING and time.monotonic() >= self._due:
            self._restarts += 1
            self.start()
        elif self._state is RoleState.RUNNING and self._reap():
            self._log.warning("role_exited", role=self.role.name, **self._exit_facts())
            self._wait_for_restart()
        elif self._state is RoleState.RUNNING and self._stalls():
            self._log.error("role_stalled", role=self.role.name, stall_seconds=self.role.stall_seconds)
            self._kill()

    def begin_stop(self) -> bool:
        """Send TERM; say whether there is a process to wait for."""
        running = self._state is RoleState.RUNNING
        if running and self.process is not None:
            # Not to the group: a role stops its own children in its own way.
            self.process.send_signal(signal.SIGTERM)
            self._deadline = time.monotonic() + self.role.stop_seconds
        self._state = RoleState.STOPPING if running else RoleState.STOPPED
        return running

    def finish_stop(self, *, hurry: bool) -> bool:
        """Say whether the process has ended; kill it when its time is over, or at once."""
        now = time.monotonic()
        if self._reap():
            self._log.info("role_stopped", role=self.role.name, killed=self._killed, **self._exit_facts())
            self._state, self.process = RoleState.STOPPED, None
            return True
        if self._killed and now > self._deadline:  # not even KILL ends it: the kernel holds it; waiting would not help
            self._log.error("role_not_stopped", role=self.role.name, process=self.process and self.process.pid)
            return True
        if not self._killed and (hurry or now > self._deadline):
            self._log.warning("role_killed", role=self.role.name, stop_seconds=self.role.stop_seconds, hurried=hurry)
            self._kill()
            self._deadline = now + _KILL_WAIT_SECONDS
        return False

    def status(self) -> RoleStatus:
        pid = self.process.pid if self.process is not None else None
        return RoleStatus(pid, self._restarts, self._state)

    def _spawn(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        if self._output is None:
            return self._popen(environment, None)
        with self._output.open("ab") as output:
            return self._popen(environment, output)

    def _popen(self, environment: Mapping[str, str], output: IO[bytes] | None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - a command of our own
            self.role.command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output and subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is ours to pass on, and a kill reaches the whole group
            preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509 - one system call, no lock
        )

    def _stalls(self) -> bool:
        if self.role.stall_seconds is None or self._killed:
            return False
        with suppress(FileNotFoundError):
            mark = self._heartbeat.stat().st_mtime_ns
            if mark != self._mark:
                self._mark, self._beaten = mark, time.monotonic()
        return time.monotonic() - self._beaten > self.role.stall_seconds

    def _reap(self) -> bool:
        """Say whether the process has ended; end what it left running in its group before its id can be reused."""
        process = self.process
        if process is None:
            return True
        if process.returncode is None:
            if not has_ended(process.pid):
                return False
            self._kill_group(process.pid)
            process.wait()
        return True

    def _kill(self) -> None:
        assert self.process is not None
        self._killed = True
        self._kill_group(self.process.pid)

    @staticmethod
    def _kill_group(pid: int) -> None:
        # Some kernels answer EPERM, not ESRCH, when only a dead leader is left in the group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)

    def _exit_facts(self) -> dict[str, object]:
        code = self.process.returncode if self.process is not None else None
        if code is not None and code < 0:
            return {"signal": signal_name(-code)}
        return {"exit_code": code}

    def _wait_for_restart(self) -> None:
        now = time.monotonic()
        self.process = None
        self._state = RoleState.WAITING
        self._delay_seconds = self._backoff.after(self._delay_seconds, now - self._started)
        self._due = now + self._delay_seconds
        self._log.info("role_restarting", role=self.role.name, delay_seconds=self._delay_seconds)
