"""A command whose output nobody reads any more ends as SIGPIPE ends others: it has found no problem."""

import os
import subprocess
import sys

import pytest

from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("verify",),
        ("verify", "--json"),
        ("account", "show", "C-0"),
        ("program", "list"),
        ("export", "journal"),
        ("submit", "missing.ndjson"),
    ],
)
def test_a_closed_pipe_is_no_problem_found(loyalty: CommandLine, shell: Shell, arguments: tuple[str, ...]) -> None:
    expected = loyalty(*arguments)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "workers", *arguments]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == ((141, "") if expected.out else (expected.code, expected.err))
