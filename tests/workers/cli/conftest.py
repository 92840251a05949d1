"""The command line with and without a database, and a worker on the same one."""

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy import Engine

from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine


@pytest.fixture
def loyalty_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line in an empty folder, without any servers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOYALTY_DATA_DIR", str(tmp_path / ".loyalty"))
    monkeypatch.setenv("COLUMNS", "120")
    return CommandLine(capsys)


@pytest.fixture
def loyalty(loyalty_alone: CommandLine, database_url: str, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line on a fresh migrated database, without a broker."""
    monkeypatch.setenv("LOYALTY_DATABASE_URL", database_url)
    return loyalty_alone


@pytest.fixture
def as_process(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:  # it must outlive us
    """Let a command take this process's output and hooks, as if it had it to itself, and take them back."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    owned = [(sys, name) for name in ("stdout", "stderr", "excepthook", "unraisablehook")] + [(threading, "excepthook")]
    found = [(owner, name, getattr(owner, name)) for owner, name in owned]
    ends = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for owner, name, value in found:
        setattr(owner, name, value)
    for number, handler in ends.items():
        signal.signal(number, handler)
    logging.captureWarnings(False)
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """A worker of everything on the same database, with the usual program."""
    return Shell(engine, shards=16)
