"""Roles that are a line of Python, and what a test of their supervisor watches."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from structlog.testing import CapturingLogger

from workers.child_processes import is_alive
from workers.supervisor import Role, Supervisor

IMPORT = "import os, pathlib, signal, subprocess, sys, time\n"
SLEEP = "time.sleep(60)"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", IMPORT + code)


def role(name: str, code: str, stall_seconds: float | None = None, stop_seconds: float = 20) -> Role:
    return Role(name, python(code), {}, stall_seconds, stop_seconds)


class Log:
    """What a supervisor logged."""

    def __init__(self) -> None:
        self._logger = CapturingLogger()
        self.bound: Any = structlog.wrap_logger(self._logger, processors=[self._keep])
        self.lines: list[dict[str, Any]] = []

    def _keep(self, _logger: object, level: str, line: Any) -> Any:
        self.lines.append({"level": level, **line})
        raise structlog.DropEvent

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]


def step_until(supervisor: Supervisor, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        supervisor.step()
        time.sleep(0.01)


def step_for(supervisor: Supervisor, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        supervisor.step()
        time.sleep(0.01)


class Clock:
    """The supervisor's monotonic clock, which stands still until it is moved on."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether it exists and is more than a dead entry that nobody has read."""
    if not is_alive(pid):
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
