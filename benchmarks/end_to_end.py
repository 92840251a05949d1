"""End to end: raw messages waiting in the broker until their events have been published, by real processes.

The processes are started first and then held (SIGSTOP) while the broker is filled, so that neither side's start-up
counts; the clock runs from their release (SIGCONT) until no message is unposted and no event unpublished.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine, text

from benchmarks.load import Message
from benchmarks.usual_way import create_usual_app, prepare
from core.store.outbox import UNPUBLISHED
from workers.brokers import open_shop_publisher

_SECONDS_MAX = 900.0
_POLL_SECONDS = 0.02


class Run(NamedTuple):
    """One measured run."""

    messages_per_s: float
    peak_memory_mib: dict[str, float]  #: by process
    memory_at_tenth_mib: dict[str, float]  #: when a tenth of the messages had been received
    memory_at_end_mib: dict[str, float]
    processor_seconds: float  #: of the processes of the roles and all that they have started, from release to end


def measure_ours(
    engine: Engine, environment: dict[str, str], messages: Sequence[Message], logs: Path, start_seconds: float
) -> Run:
    """Intake, worker (two processes) and beat, as `loyalty up` runs them."""
    with held_roles(environment, logs, start_seconds) as held:
        return measure_roles(held, engine, environment["LOYALTY_BROKER_URL"], messages)


def measure_roles(held: "Held", engine: Engine, broker_url: str, messages: Sequence[Message]) -> Run:
    """Hold the roles, fill their broker, and measure from their release; again and again, if wanted."""
    held.send(signal.SIGSTOP)
    publisher = open_shop_publisher(broker_url)
    for start in range(0, len(messages), 500):
        publisher.publish(messages[start : start + 500])
    publisher.close()
    return held.run(engine, len(messages))


def measure_usual_way(
    engine: Engine, environment: dict[str, str], messages: Sequence[Message], logs: Path, start_seconds: float
) -> Run:
    """One Celery worker with two processes, one task per message."""
    os.environ.update(environment)
    prepare(engine)
    with _started({"usual": ["benchmarks.usual_way"]}, environment, logs, start_seconds) as held:
        held.send(signal.SIGSTOP)
        app, task = create_usual_app()
        with app.connection_for_write() as connection:
            for _, body in messages:
                task.apply_async((body.decode(),), connection=connection)  # type: ignore[attr-defined]  # a Celery task
        app.close()
        return held.run(engine, len(messages))


class Held:
    """Processes that can be held, and wait for their release."""

    def __init__(self, processes: dict[str, subprocess.Popen[bytes]]) -> None:
        self._processes = processes

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of them and what they have started."""
        for process in self._processes.values():
            os.killpg(process.pid, number)

    def run(self, engine: Engine, messages: int) -> Run:
        """Let them go until so many more messages are stored, and all that were are posted and announced."""
        at_tenth: dict[str, float] = {}
        used = self._processor_seconds()
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            stored_before, _ = connection.execute(text(_STATE)).one()
            self.send(signal.SIGCONT)
            started = time.perf_counter()
            while True:
                time.sleep(_POLL_SECONDS)
                stored, is_busy = connection.execute(text(_STATE)).one()
                stored -= stored_before
                seconds = time.perf_counter() - started
                if not at_tenth and stored >= messages // 10:
                    at_tenth = self._memory("VmRSS")
                if stored >= messages and not is_busy:
                    used = self._processor_seconds() - used
                    return Run(messages / seconds, self._memory("VmHWM"), at_tenth, self._memory("VmRSS"), used)
                if seconds > _SECONDS_MAX:
                    raise TimeoutError(f"{stored} of {messages} messages after {seconds:.0f} s")

    def _processor_seconds(self) -> float:
        pids = [pid for process in self._processes.values() for pid in with_children(process.pid)]
        return sum(processor_seconds(pid) for pid in pids)

    def _memory(self, field: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, process in self._processes.items():
            for place, pid in enumerate(with_children(process.pid)):
                label = name if place == 0 else f"{name} child {place}"
                found[label] = status_mib(pid, field)
        return found


# max(inbox_id) would count gaps, so count; the two EXISTS read one index entry each.
_STATE = f"""
SELECT (SELECT count(*) FROM inbox),
       EXISTS (SELECT 1 FROM inbox WHERE state = 'received') OR EXISTS (SELECT 1 FROM {UNPUBLISHED} AS u)
"""


def held_roles(environment: dict[str, str], logs: Path, start_seconds: float) -> AbstractContextManager["Held"]:
    """Intake, worker and beat, each in a process of its own; they are not held yet."""
    roles = {name: ["workers", name] for name in ("intake", "worker", "beat")}
    return _started(roles, environment, logs, start_seconds)


@contextmanager
def _started(
    modules: dict[str, list[str]], environment: dict[str, str], logs: Path, start_seconds: float
) -> Iterator[Held]:
    with started_processes(modules, environment, logs, start_seconds) as processes:
        yield Held(processes)


@contextmanager
def started_processes(
    modules: dict[str, list[str]], environment: dict[str, str], logs: Path, start_seconds: float
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Python modules with their arguments, each in a process of its own, which got so many seconds to start."""
    logs.mkdir(parents=True, exist_ok=True)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, arguments in modules.items():
            with (logs / f"{name}.log").open("ab") as log:
                processes[name] = subprocess.Popen(
                    [sys.executable, "-m", *arguments],
                    env={**os.environ, **environment},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        time.sleep(start_seconds)
        for name, process in processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}; see {logs / name}.log")
        yield processes
    finally:
        for process in processes.values():
            os.killpg(process.pid, signal.SIGCONT)
            process.terminate()
        for process in processes.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def with_children(pid: int) -> list[int]:
    """The process and those that it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(int(child) for child in children)]


def processor_seconds(pid: int) -> float:
    """What a process and those that it has waited for have used."""
    _, _, fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")
    return sum(map(int, fields.split()[11:15])) / os.sysconf("SC_CLK_TCK")


def status_mib(pid: int | str, field: str) -> float:
    """A size that the kernel tells of a process, such as VmHWM, the most memory that it had."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0
