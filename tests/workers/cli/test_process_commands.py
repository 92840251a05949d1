"""`loyalty addresses`, and what `up` and `demo` refuse before they start anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.workers.cli.command_line import CommandLine
from workers.embedded import EmbeddedServers
from workers.stack import own_command

BROKER_URL = "redis://default:secret@broker.example:6379/0"


def test_addresses_are_those_that_the_settings_name(
    loyalty_alone: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", "postgresql+psycopg://loyalty:secret@db.example/points")
    monkeypatch.setenv("LOYALTY_BROKER_URL", BROKER_URL)
    assert loyalty_alone("addresses", "broker").out == f"{BROKER_URL}\n"
    assert loyalty_alone("addresses", "database").out == "postgresql://loyalty:secret@db.example/points\n"
    assert loyalty_alone("addresses", "--json").json == {
        "database_url": "postgresql://loyalty:secret@db.example/points",
        "broker_url": BROKER_URL,
    }


def test_one_address_is_enough_where_only_one_is_known(
    loyalty_alone: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_BROKER_URL", BROKER_URL)
    assert loyalty_alone("addresses").out == f"  broker  {BROKER_URL}\n"
    refused = loyalty_alone("addresses", "database")
    assert (refused.code, refused.out) == (2, "")
    assert "LOYALTY_DATABASE_URL" in refused.err


def test_without_any_servers_addresses_say_how_to_have_some(loyalty_alone: CommandLine) -> None:
    for arguments in ((), ("broker",), ("--json",)):
        refused = loyalty_alone("addresses", *arguments)
        assert (refused.code, refused.out) == (2, "")
        assert "Run `loyalty up` in this folder" in refused.err


def test_addresses_of_the_embedded_servers_are_found_in_the_data_folder(
    loyalty_alone: CommandLine, tmp_path: Path
) -> None:
    with EmbeddedServers(tmp_path / ".loyalty", postgres=False) as started:
        assert started.broker_url is not None
        url = loyalty_alone("addresses", "broker").out.strip()
        assert make_url(url) == make_url(started.broker_url).set(username="default")
        if shutil.which("redis-cli"):
            asked = subprocess.run(["redis-cli", "-u", url, "PING"], capture_output=True, text=True, check=True)
            assert asked.stdout == "PONG\n"


def test_a_broker_without_a_user_is_given_the_servers_own_name_for_none(
    loyalty_alone: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-cli would log in with an empty name, and be refused."""
    for url, printed in (
        ("redis://:a%40b@h:1/2", "redis://default:a%40b@h:1/2"),
        ("rediss://:p@h", "rediss://default:p@h"),
        ("redis://kim:p@h/0", "redis://kim:p@h/0"),
        ("redis://h/0", "redis://h/0"),
        ("amqp://:p@h//", "amqp://:p@h//"),
    ):
        monkeypatch.setenv("LOYALTY_BROKER_URL", url)
        assert loyalty_alone("addresses", "broker").out == f"{printed}\n"


def test_the_demo_empties_no_folder_of_something_else(loyalty_alone: CommandLine, tmp_path: Path) -> None:
    points = tmp_path / ".loyalty" / "points"
    points.parent.mkdir()
    points.write_text("dear")
    refused = loyalty_alone("demo", "--data-dir", points.parent)
    assert refused.code == 2
    assert "Name another --data-dir" in refused.err
    assert points.read_text() == "dear"


def test_up_knows_its_roles(loyalty_alone: CommandLine) -> None:
    refused = loyalty_alone("up", "--role", "cashier")
    assert refused.code == 2
    assert "intake, worker and beat" in refused.err


def test_a_reader_is_told_the_command_that_works_for_him(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / ".venv" / "bin" / "loyalty"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.setenv("PATH", "/usr/bin")
    assert own_command() == ".venv/bin/loyalty"
    monkeypatch.setenv("PATH", str(script.parent))
    assert own_command() == "loyalty"
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "workers" / "__main__.py")])
    assert own_command() == f"{sys.executable} -m workers"
