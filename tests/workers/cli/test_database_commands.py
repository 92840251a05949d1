"""`loyalty db`: where the tables stand, bringing them up to date, and who may do what to them."""

import pytest

from core.store.grants import WORKER_GRANTS
from core.store.migrate import head_revision
from core.store.report_views import REPORT_VIEWS
from tests.database_roles import database_role
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

HEAD = head_revision()


@pytest.mark.parametrize(
    ("revision", "oldest", "code", "text"),
    [
        (HEAD, "0001", 0, f"at {HEAD}, as this release wants it. It suits releases of tables 0001 and later."),
        ("9999", "0001", 0, f"tables 0001 and later, so this one, which has {HEAD}."),
        ("9999", "9998", 1, f"tables 9998 and later, but not this one, which has {HEAD}."),
        ("0000", "0000", 1, f"The database is at 0000, this release wants {HEAD}. Run: loyalty db upgrade"),
    ],
)
def test_current_says_where_the_tables_stand_and_whether_this_release_can_work_there(
    loyalty: CommandLine, shell: Shell, revision: str, oldest: str, code: int, text: str
) -> None:
    shell.execute("UPDATE alembic_version SET version_num = :revision", revision=revision)
    shell.execute("UPDATE schema_support SET oldest_revision = :oldest", oldest=oldest)
    try:
        printed, document = loyalty("db", "current"), loyalty("db", "current", "--json")
        assert (printed.code, document.code) == (code, code)
        assert text in " ".join(printed.out.split())
        assert (document.json["is_usable"], document.json["oldest_supported"]) == (code == 0, oldest)
        assert loyalty("status", "--json").code == (0 if code == 0 else 2)
    finally:
        shell.execute("UPDATE alembic_version SET version_num = :revision", revision=HEAD)
        shell.execute("UPDATE schema_support SET oldest_revision = '0001'")


@pytest.mark.parametrize(
    ("revision", "oldest", "code", "text"),
    [
        (HEAD, "0001", 0, f"Nothing to do: the database is at {HEAD}."),
        ("0000", "0000", 1, f"An upgrade would bring the database from 0000 to {HEAD}: 0001 The first tables: ledger"),
        ("9999", "0001", 1, "An upgrade would do nothing. The database is at 9999, of a later release. It suits"),
        ("9999", "9998", 1, f"but not this one, which has {HEAD}."),
    ],
)
def test_a_check_says_what_an_upgrade_would_do_and_changes_nothing(
    loyalty: CommandLine, shell: Shell, revision: str, oldest: str, code: int, text: str
) -> None:
    shell.execute("UPDATE alembic_version SET version_num = :revision", revision=revision)
    shell.execute("UPDATE schema_support SET oldest_revision = :oldest", oldest=oldest)
    try:
        for _ in range(2):
            printed = loyalty("db", "upgrade", "--check")
            assert printed.code == code
            assert text in " ".join(printed.out.split())
        assert loyalty("db", "current", "--json").json["current"] == revision
    finally:
        shell.execute("UPDATE alembic_version SET version_num = :revision", revision=HEAD)
        shell.execute("UPDATE schema_support SET oldest_revision = '0001'")


def test_a_check_of_an_empty_database_names_every_migration(
    loyalty_alone: CommandLine, empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", empty_database_url)
    printed = loyalty_alone("db", "upgrade", "--check")
    assert (printed.code, "from empty to" in printed.out) == (1, True)
    assert loyalty_alone("db", "upgrade").code == 0
    assert loyalty_alone("db", "upgrade", "--check").code == 0


def test_a_check_grants_nothing_and_needs_no_right_but_to_read(
    loyalty: CommandLine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = loyalty("db", "upgrade", "--check", "--grant", "anybody")
    assert (refused.code, "--check changes nothing" in refused.err) == (2, True)
    with database_role(database_url, "worker_") as role:
        loyalty("db", "grant", role.name)
        monkeypatch.setenv("LOYALTY_DATABASE_URL", role.url)
        assert loyalty("db", "upgrade", "--check").code == 0


def test_grant_says_what_it_gave_and_upgrade_does_it_on_the_way(
    loyalty: CommandLine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database_role(database_url, "worker_") as role:
        monkeypatch.setenv("LOYALTY_DATABASE_URL", role.url)
        assert "permission denied" in loyalty("status").err
        monkeypatch.setenv("LOYALTY_DATABASE_URL", database_url)
        assert f"{role.name} has what the worker needs" in loyalty("db", "upgrade", "--grant", role.name).out
        monkeypatch.setenv("LOYALTY_DATABASE_URL", role.url)
        assert loyalty("status", "--json").code == 0
        assert "the owner of the tables" in " ".join(loyalty("db", "grant", role.name).err.split())
        monkeypatch.setenv("LOYALTY_DATABASE_URL", database_url)
        (entries,) = [row for row in loyalty("db", "grant", role.name).out.splitlines() if row.startswith("entries")]
        assert entries.split(maxsplit=1)[1] == "SELECT, INSERT"
        document = loyalty("db", "grant", role.name, "--read-only", "--json").json
        assert [grant["table"] for grant in document["grants"]] == list(WORKER_GRANTS)
        assert {tuple(grant["privileges"]) for grant in document["grants"]} == {("SELECT",)}


def test_a_role_that_is_not_there_is_refused_before_anything_is_done(loyalty: CommandLine, shell: Shell) -> None:
    for command in (
        ("db", "grant", "nobody"),
        ("db", "grant", "nobody", "--views"),
        ("db", "upgrade", "--grant", "nobody"),
        ("db", "upgrade", "--grant-read", "nobody"),
    ):
        printed = loyalty(*command)
        assert (printed.code, printed.out) == (2, "")
        assert 'Create it first: CREATE ROLE "nobody" LOGIN' in " ".join(printed.err.split())


def test_a_reporting_tool_gets_the_views_alone_by_grant_or_on_the_way(
    loyalty: CommandLine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database_role(database_url, "tool_") as role:
        printed = loyalty("db", "upgrade", "--grant-read", role.name)
        assert f"{role.name} may read the views for reporting tools, and nothing else." in printed.out
        document = loyalty("db", "grant", role.name, "--views", "--json").json
        assert [grant["table"] for grant in document["grants"]] == list(REPORT_VIEWS)
        assert {tuple(grant["privileges"]) for grant in document["grants"]} == {("SELECT",)}
        assert "loyalty_accounts" in loyalty("db", "grant", role.name, "--views").out
        both = loyalty("db", "grant", role.name, "--views", "--read-only")
        assert (both.code, "Give one alone" in both.err) == (2, True)
        monkeypatch.setenv("LOYALTY_DATABASE_URL", role.url)
        assert "permission denied" in loyalty("status").err


def test_an_upgrade_grants_all_roles_in_one_command(loyalty: CommandLine, database_url: str) -> None:
    with database_role(database_url, "worker_") as worker, database_role(database_url, "tool_") as tool:
        printed = loyalty("db", "upgrade", "--grant", worker.name, "--grant-read", tool.name).out
        assert f"{worker.name} has what the worker needs, and nothing else." in printed
        assert f"{tool.name} may read the views for reporting tools, and nothing else." in printed


def test_a_role_may_erase_only_where_that_is_said(loyalty: CommandLine, database_url: str) -> None:
    def may(*words: str) -> list[str]:
        assert loyalty(*words).code == 0
        document = loyalty("db", "grant", role.name, *({"--may-erase"} & {*words}), "--json").json
        return next(grant["privileges"] for grant in document["grants"] if grant["table"] == "entries")

    with database_role(database_url, "eraser_") as role:
        printed = loyalty("db", "upgrade", "--grant-erasing", role.name)
        assert "has what the worker needs, also to erase customers, and nothing else." in printed.out
        assert may("db", "grant", role.name, "--may-erase") == ["SELECT", "INSERT", "UPDATE (why)"]
        assert may("db", "grant", role.name) == ["SELECT", "INSERT"]


@pytest.mark.parametrize(
    ("command", "back_by"),
    [
        ("db upgrade --grant", "--grant-erasing"),
        ("db upgrade --grant-read", "--grant-erasing"),
        ("db upgrade --grant-erasing", None),
        ("db grant", "--may-erase"),
        ("db grant --json", "--may-erase"),
        ("db grant --read-only", "--may-erase"),
        ("db grant --views", "--may-erase"),
        ("db grant --may-erase", None),
    ],
)
def test_a_grant_that_takes_the_right_to_erase_away_says_so_once(
    loyalty: CommandLine, database_url: str, command: str, back_by: str | None
) -> None:
    with database_role(database_url, "eraser_") as role:
        assert loyalty("db", "grant", role.name, "--may-erase").err == ""
        told = "" if back_by is None else f"{role.name} may no longer erase customers: give it that by {back_by}\n"
        printed = loyalty(*command.split(), role.name)
        assert (printed.code, printed.err) == (0, told)
        assert loyalty(*command.split(), role.name).err == ""


def test_an_empty_name_of_a_role_is_refused_as_such(loyalty: CommandLine) -> None:
    for arguments in (("grant", ""), ("upgrade", "--grant", "")):
        refused = loyalty("db", *arguments)
        assert (refused.code, "CREATE ROLE" in refused.err) == (2, False)
        assert "The name of the database role is empty." in refused.err
