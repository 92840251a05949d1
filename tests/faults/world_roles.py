"""The roles of a world under the product's Supervisor, which a thread of their own starts and steps."""

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import structlog

from tests.faults.crash_points import FOLDER_VARIABLE
from tests.faults.processes import children_of, send
from workers.supervisor import Role, Supervisor

_ROOT = Path(__file__).parents[2]
_STEP_SECONDS = 0.05
_JOB_SECONDS_MAX = 120.0
_STOP_SECONDS = 45.0
#: Longer than what the roles may wait for by themselves, as in the product, but all of it shorter.
_STALL_SECONDS = 20.0

_PROCESSORS = (
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.JSONRenderer(),
)

T = TypeVar("T")


class RoleProcess(NamedTuple):
    """A role by the name of its process: the second intake is "intake-2"."""

    name: str
    role: str


class Roles:
    """Every role that shall run, started, stopped and looked after from one thread that lives as long as they do."""

    def __init__(self, folder: Path, processes: Sequence[RoleProcess], environment: Mapping[str, str]) -> None:
        self.log_folder = folder / "logs"
        self.crash_folder = folder / "crash"
        self._folder = folder
        self._processes = tuple(processes)
        root = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self._environment = {**environment, "PYTHONPATH": root, FOLDER_VARIABLE: str(self.crash_folder)}
        self.log_folder.mkdir(parents=True, exist_ok=True)
        self._log_file = (self.log_folder / "supervisor.log").open("a", buffering=1, encoding="utf-8")
        self._log = structlog.wrap_logger(
            structlog.PrintLogger(self._log_file),
            processors=_PROCESSORS,
            wrapper_class=structlog.make_filtering_bound_logger(0),  # whatever this process shows of its own
        )
        self._supervisor: Supervisor | None = None
        self._restarts_before: dict[str, int] = {}
        self._jobs: queue.Queue[tuple[Callable[[], Any], Future[Any]]] = queue.Queue()
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="faults-roles", daemon=True)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, whether they run or not."""
        return tuple(process.name for process in self._processes)

    def start(self, order: Sequence[str] | None = None) -> None:
        """Start all, in this order of their names; they may still be starting when it returns."""
        if not self._thread.is_alive():
            self._thread.start()
        self._do(lambda: self._start(order or self.names))

    def stop(self) -> None:
        """Stop all in order, as an operator would."""
        self._do(self._stop)

    def close(self) -> None:
        """Stop all and end the thread. A second call does nothing."""
        if self._thread.is_alive():
            send(self.pids().values(), signal.SIGCONT)  # a fault that was broken off may have left one frozen
            self.stop()
            self._is_closing = True
            self._thread.join(_JOB_SECONDS_MAX)
        self._log_file.close()

    def pids(self) -> dict[str, int]:
        """Process ids by name, those of the workers' children as "worker-child-0" and so on; only what runs."""
        supervisor = self._supervisor
        found: dict[str, int] = {}
        for name, status in supervisor.status().items() if supervisor is not None else ():
            if status.pid is not None:
                found[name] = status.pid
                if name.startswith("worker"):
                    found |= {f"{name}-child-{index}": pid for index, pid in enumerate(children_of(status.pid))}
        return found

    def restarts(self) -> dict[str, int]:
        """How often the supervisor started each again."""
        supervisor = self._supervisor
        now = {name: status.restarts for name, status in supervisor.status().items()} if supervisor else {}
        return {name: self._restarts_before.get(name, 0) + now.get(name, 0) for name in self.names}

    def hearts(self) -> dict[str, bool]:
        """Whether each has begun to work since it was last started."""
        return {name: (self._folder / "heartbeats" / f"{name}.heartbeat").exists() for name in self.names}

    def _start(self, order: Sequence[str]) -> None:
        by_name = {process.name: process for process in self._processes}
        self._supervisor = Supervisor(
            [self._role(by_name[name]) for name in order],
            heartbeat_folder=self._folder / "heartbeats",
            log_folder=self.log_folder,
            log=self._log,
            backoff_seconds_min=0.2,
            backoff_seconds_max=2.0,
            healthy_seconds=10.0,
        )
        self._supervisor.start()

    def _role(self, process: RoleProcess) -> Role:
        environment = {**self._environment, "LOYALTY_INTAKE_NAME": process.name}
        command = (sys.executable, "-m", "tests.faults.role", process.role)
        return Role(process.name, command, environment, _STALL_SECONDS, _STOP_SECONDS)

    def _stop(self) -> None:
        if self._supervisor is not None:
            self._supervisor.stop()
            self._restarts_before = self.restarts()
            self._supervisor = None

    def _do(self, job: Callable[[], T]) -> T:
        done: Future[T] = Future()
        self._jobs.put((job, done))
        return done.result(_JOB_SECONDS_MAX)

    def _run(self) -> None:
        while not self._is_closing:
            try:
                job, done = self._jobs.get(timeout=_STEP_SECONDS)
            except queue.Empty:
                if self._supervisor is not None:
                    self._supervisor.step()
                continue
            try:
                done.set_result(job())
            except BaseException as error:  # noqa: BLE001  # it is the caller's
                done.set_exception(error)
