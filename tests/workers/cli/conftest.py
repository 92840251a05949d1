"""The command line with and without a database, and a worker on the same one."""

from pathlib import Path

import pytest
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
def shell(engine: Engine) -> Shell:
    """A worker of everything on the same database, with the usual program."""
    return Shell(engine, shards=16)
