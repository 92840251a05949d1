"""`loyalty up` waits for a database that is not there yet, as the roles do: alive meanwhile, and ended by a TERM."""

import json
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url

from config.settings import Settings
from core.errors import DatabaseNotReadyError
from tests.administration import administrate, drop_database
from tests.conftest import Servers
from tests.workers.cli.command_line import CommandLine
from workers.health import Finding, check_live
from workers.stack import running_servers

While = Callable[[Callable[[], object]], None]

BROKER_URL = "redis://127.0.0.1:1/0"


@pytest.fixture
def missing_database(servers: Servers) -> Iterator[str]:
    """The name of a database that does not exist, as far as the test does not make it."""
    name = f"loyalty_later_{uuid.uuid4().hex[:8]}"
    yield name
    drop_database(servers.database_url, name)


@pytest.fixture
def settings(servers: Servers, missing_database: str, tmp_path: Path) -> Settings:
    url = make_url(servers.database_url).set(database=missing_database)
    return Settings(
        database_url=SecretStr(url.render_as_string(hide_password=False)),
        broker_url=SecretStr(BROKER_URL),
        data_dir=tmp_path / "data",
    )


@pytest.fixture
def while_waiting(monkeypatch: pytest.MonkeyPatch) -> While:
    """Let something happen, once, in the pause before the next try; others of this process may pause meanwhile."""
    pause, waiting = time.sleep, threading.current_thread()

    def happens(event: Callable[[], object]) -> None:
        events = [event]

        def sleep(seconds: float) -> None:
            if events and threading.current_thread() is waiting:
                events.pop()()
            else:
                pause(seconds)

        monkeypatch.setattr("workers.roles.time.sleep", sleep)

    return happens


def test_it_goes_on_when_the_database_is_there_and_was_alive_meanwhile(
    servers: Servers, template_database: str, missing_database: str, settings: Settings, while_waiting: While
) -> None:
    alive: list[Finding] = []

    def create() -> None:
        alive.extend(check_live(settings.data_dir, ["intake", "beat"]))
        administrate(servers.database_url, f"CREATE DATABASE {missing_database} TEMPLATE {template_database}")

    while_waiting(create)
    with running_servers(settings, ["intake", "beat"]) as stack:
        assert stack.addresses.broker_url == BROKER_URL
    assert alive == [("role intake", None), ("role beat", None)]


def test_a_database_that_comes_without_tables_is_refused(
    servers: Servers, missing_database: str, settings: Settings, while_waiting: While
) -> None:
    while_waiting(lambda: administrate(servers.database_url, f"CREATE DATABASE {missing_database} TEMPLATE template0"))
    with pytest.raises(DatabaseNotReadyError), running_servers(settings, ["intake"]):
        pass


def test_it_says_what_it_waits_for_and_ends_when_it_is_told_to(
    settings: Settings,
    loyalty_alone: CommandLine,
    as_process: None,
    while_waiting: While,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings.database_url is not None
    monkeypatch.setenv("LOYALTY_DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("LOYALTY_BROKER_URL", BROKER_URL)
    while_waiting(lambda: os.kill(os.getpid(), signal.SIGTERM))
    printed = loyalty_alone("up")
    (record,) = [json.loads(line) for line in printed.err.splitlines()]
    assert printed.code == 0
    assert (record["event"], record["role"]) == ("database_awaited", "supervisor")
    assert "does not exist" in record["detail"]
