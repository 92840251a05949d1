"""Runs `loyalty` commands as the installed command does, and keeps what they print."""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import structlog

from workers.cli import run


class Printed(NamedTuple):
    """What one command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class CommandLine:
    """`loyalty(...)` runs one command."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Printed:
        self._capsys.readouterr()
        with _process_as_it_was():
            code = run([str(argument) for argument in arguments])
        return Printed(code, *self._capsys.readouterr())


@contextmanager
def _process_as_it_was() -> Iterator[None]:
    """Undo what a command does to the process that it takes for its own: a role takes over all that is printed."""
    logging_then, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    kept = sys.stdout, sys.stderr, sys.excepthook, sys.unraisablehook, threading.excepthook
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.excepthook, sys.unraisablehook, threading.excepthook = kept
        structlog.configure(**logging_then)
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
