"""Whom the commands of `loyalty account` and `lots` work for: readers can explain, the worker's role can change."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.database_roles import DatabaseRole, database_role
from tests.factories import PROGRAM_TEXT, order, refund
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

HOLD = ("account", "hold-tier", "c1", "--tier", "gold", "--until", "2090-01-01T00:00:00Z", "--reason", "as promised")
EXTEND = ("lots", "extend", "--customer", "c1", "--days", "1", "--reason", "why")


@pytest.fixture
def role(database_url: str) -> Iterator[DatabaseRole]:
    with database_role(database_url, "cli_") as made:
        yield made


@pytest.fixture
def account(engine: Engine) -> Shell:
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + "expiry: {policy: after_months, months: 900}\n")
    shell.take(order("o1"), refund("r1", "o1", net="40.00"))
    return shell


def test_readers_can_explain_and_plan_and_change_nothing(
    loyalty: CommandLine, account: Shell, role: DatabaseRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loyalty("db", "grant", role.name, "--read-only").code == 0
    now = account.value("SELECT now()").isoformat()
    monkeypatch.setenv("LOYALTY_DATABASE_URL", role.url)
    for arguments in (("show",), ("history",), ("explain",), ("explain", "--order", "o1")):
        command, *rest = arguments
        for as_of in ((), ("--as-of", now)):
            assert loyalty("account", command, "c1", *rest, *as_of).code == 0
    told = loyalty("points", "credit", "c1", 5, "--reason", "x")
    assert (told.code, "permission denied" in told.err, "loyalty db grant ROLE" in told.err) == (1, True, True)
    for change in (HOLD, EXTEND):
        assert loyalty(*change).code == 0
        refused = loyalty(*change, "--apply")
        assert (refused.code, "permission denied" in refused.err) == (1, True)


def test_the_workers_role_can_hold_tiers_and_extend_lots(
    loyalty: CommandLine, account: Shell, role: DatabaseRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loyalty("db", "grant", role.name).code == 0
    monkeypatch.setenv("LOYALTY_DATABASE_URL", role.url)
    for change in (HOLD, EXTEND):
        assert loyalty(*change, "--apply").code == 0
    assert len(account.rows("SELECT * FROM repairs")) == 2
    assert account.differences() == []
