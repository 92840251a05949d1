"""Runs `loyalty` commands as the installed command does, and keeps what they print."""

import json
from typing import Any, NamedTuple

import pytest

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
        code = run([str(argument) for argument in arguments])
        return Printed(code, *self._capsys.readouterr())
