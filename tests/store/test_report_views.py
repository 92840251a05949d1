"""The views for reporting tools: they show what is documented, and their role sees nothing else."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from core.domain.accounting.liability import Bucket
from core.domain.accounting.months import Month
from core.errors import DatabaseRoleTooStrongError, NoDatabaseRoleError, NotOwnerError
from core.store.engine import create_database_engine
from core.store.grants import WORKER_GRANTS, grant_role, grant_views
from core.store.liability import load_snapshot
from core.store.programs import load_registry
from core.store.report_views import REPORT_PREFIX, REPORT_VIEWS
from core.store.tables import metadata
from tasks.liability import keep_liability
from tests.database_roles import DatabaseRole, database_role
from tests.factories import PROGRAM_TEXT, command, order, refund
from tests.reading.everything import with_everything
from tests.shell import Shell, take_by_operator
from tests.tasks.runtimes import make_runtime


@pytest.fixture
def books(engine: Engine) -> Shell:
    """Orders, a refund, a credit with a reason, an authorization and a tier change, of one customer."""
    shell = Shell(engine)
    shell.take(order("o1", "600.00"), refund("r1", "o1", net="20.00"), order("guest", customer_id=None))
    take_by_operator(
        shell,
        command("credit", "g1", points=30, expires_at="2090-01-01T00:00:00Z", reason="Ann Smith was ill"),
        command("authorize", "a1", points=15, authorization_id="basket-9"),
    )
    return shell


@pytest.fixture
def role(engine: Engine) -> Iterator[DatabaseRole]:
    with database_role(engine.url.render_as_string(hide_password=False), "tableau_") as made:
        yield made


@pytest.fixture
def tool(books: Shell, role: DatabaseRole) -> Iterator[Engine]:
    """The database as a reporting tool sees it."""
    with books.engine.begin() as connection:
        grant_views(connection, role.name)
    engine = create_database_engine(role.url)
    yield engine
    engine.dispose()


def seen(tool: Engine, view: str) -> list[Any]:
    with tool.begin() as connection:
        return list(connection.execute(text(f"SELECT * FROM {view} ORDER BY 1, 2")))


def test_every_view_has_just_the_columns_that_are_documented(engine: Engine) -> None:
    with engine.begin() as connection:
        rows = connection.execute(
            text(
                "SELECT c.table_name, c.column_name FROM information_schema.columns c"
                " JOIN information_schema.views v USING (table_schema, table_name)"
                " WHERE table_schema = current_schema() AND starts_with(table_name, :prefix)"
                " ORDER BY c.table_name, c.ordinal_position"
            ),
            {"prefix": REPORT_PREFIX},
        )
        found: dict[str, list[str]] = {}
        for view, column in rows:
            found.setdefault(view, []).append(column)
    assert found == {view: list(columns) for view, (_, columns) in REPORT_VIEWS.items()}


def test_no_table_has_the_prefix_of_the_views() -> None:
    assert [name for name in (*metadata.tables, *WORKER_GRANTS) if name.startswith(REPORT_PREFIX)] == []


def test_the_views_show_the_books_and_come_to_the_same_sums(tool: Engine, books: Shell) -> None:
    [account] = seen(tool, "loyalty_accounts")
    assert (account.customer_id, account.balance, account.reserved, account.lifetime_points) == ("c1", 595, 15, 580)
    assert (account.tier_id, account.status, account.entries) == ("silver", "active", 4)
    entries = seen(tool, "loyalty_entries")
    assert [(row.kind, row.points, row.program_id) for row in entries] == [
        ("accrual", 600, "test"),
        ("clawback", -20, "test"),
        ("credit", 30, "test"),
        ("authorization", -15, "test"),
    ]
    assert sum(row.points for row in entries) == account.balance == entries[-1].balance_after
    lots = seen(tool, "loyalty_lots")
    assert [(row.origin_kind, row.origin_id, row.points_remaining) for row in lots] == [
        ("order", "o1", 580),
        ("command", "g1", 15),
    ]
    assert [(row.order_id, row.account_id is None, row.points_entitled) for row in seen(tool, "loyalty_orders")] == [
        ("guest", True, 0),
        ("o1", False, 580),
    ]
    [held] = seen(tool, "loyalty_authorizations")
    assert (held.authorization_id, held.points_held, held.state) == ("basket-9", 15, "open")
    [moved] = seen(tool, "loyalty_tier_changes")
    assert (moved.previous_tier_id, moved.tier_id, moved.reason) == ("bronze", "silver", "qualified")
    [program] = seen(tool, "loyalty_programs")
    assert (program.program_id, program.version, program.name) == ("test", 1, "Test Rewards")
    assert (program.unit, program.currency, program.time_zone) == ("points", "EUR", "Europe/Berlin")
    assert (program.effective_from, program.is_withdrawn) == (None, False)
    assert books.differences() == []


@pytest.mark.usefixtures("months_settle_at_once")
def test_months_that_were_kept_are_shown_as_finance_was_told(engine: Engine, role: DatabaseRole) -> None:
    shell = Shell(engine, program_text=None)
    with_everything(shell)
    keep_liability(make_runtime(engine))
    with engine.begin() as connection:
        grant_views(connection, role.name)
        registry = load_registry(connection)
        told = {}
        for row in connection.execute(text("SELECT program_id, month, as_of FROM liability_snapshots")).all():
            found = load_snapshot(connection, registry, row.program_id, Month(row.month, row.as_of, row.as_of))
            assert found is not None
            told[row.program_id, row.month] = found
    tool = create_database_engine(role.url)
    months, lines = seen(tool, "loyalty_liability_snapshots"), seen(tool, "loyalty_liability_lines")
    activity = seen(tool, "loyalty_activity_lines")
    tool.dispose()
    assert len(months) == len(told) == 4
    for month in months:
        kept = told[month.program_id, month.month]
        shown = [line for line in lines if (line.program_id, line.month) == (month.program_id, month.month)]
        assert month.points_outstanding == kept.outstanding
        for bucket in Bucket:
            assert getattr(month, f"points_{bucket}") == kept.by_bucket[bucket], bucket
        assert [tuple(line)[3:] for line in shown] == [tuple(line) for line in kept.lines]
        assert (month.unit, month.currency, month.kept_at) == (kept.valuation.unit, "EUR", kept.kept_at)
        assert month.point_value == (None if month.program_id == "money" else kept.valuation.point_value)
        until = [line.points for line in activity if line.program_id == month.program_id and line.month <= month.month]
        assert sum(until) == kept.by_entries
    assert sum(month.points_deficit for month in months) < 0


def test_points_that_expire_together_have_their_shared_end(engine: Engine, role: DatabaseRole) -> None:
    shell = Shell(engine, program_text=PROGRAM_TEXT + "expiry: {policy: inactivity, months: 600}\n")
    shell.take(order("o1", "10.00"))
    with engine.begin() as connection:
        grant_views(connection, role.name)
    tool = create_database_engine(role.url)
    [lot] = seen(tool, "loyalty_lots")
    tool.dispose()
    assert shell.value("SELECT expires_at FROM lots") is None
    assert lot.expires_at == shell.value("SELECT expires_at FROM shared_expiries")


@pytest.mark.parametrize(
    "statement",
    [
        *(f"SELECT * FROM {table}" for table in (*metadata.tables, "dated_lots", "alembic_version")),
        "SELECT body FROM inbox",
        "SELECT why FROM entries",
        "SELECT customer_id FROM accounts",
        "DELETE FROM loyalty_accounts",
        "DELETE FROM loyalty_orders",
        "UPDATE loyalty_accounts SET balance = 1000000",
        "UPDATE loyalty_orders SET points_entitled = 0",
        "INSERT INTO loyalty_accounts (customer_id) VALUES ('c9')",
        "CREATE TABLE mine (n integer)",
        "CREATE OR REPLACE VIEW loyalty_accounts AS SELECT 1",
        "DROP VIEW loyalty_accounts",
    ],
)
def test_the_role_of_a_tool_reads_no_table_and_changes_nothing(tool: Engine, statement: str) -> None:
    with pytest.raises(ProgrammingError) as refused, tool.begin() as connection:
        connection.execute(text(statement))
    assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


@pytest.mark.parametrize("view", REPORT_VIEWS)
def test_the_role_of_a_tool_may_only_read_a_view(tool: Engine, role: DatabaseRole, view: str) -> None:
    statement = text(
        "SELECT privilege FROM unnest(CAST(:privileges AS text[])) AS privilege"
        " WHERE has_table_privilege(:role, CAST(:view AS text), privilege)"
    )
    every = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
    with tool.begin() as connection:
        found = connection.execute(statement, {"role": role.name, "view": view, "privileges": every})
        assert [row.privilege for row in found] == ["SELECT"]


def test_no_view_shows_what_people_wrote_or_what_was_received(tool: Engine) -> None:
    shown = " ".join(str(row) for view in REPORT_VIEWS for row in seen(tool, view))
    assert "o1" in shown
    assert "Ann Smith" not in shown
    hidden = {"why", "body", "settled", "metadata", "tags", "lines", "attributes", "customer_tags", "reference"}
    assert [view for view, (_, columns) in REPORT_VIEWS.items() if hidden & set(columns)] == []


def test_what_the_role_had_before_is_taken_away_and_the_workers_role_gets_no_view(
    books: Shell, role: DatabaseRole
) -> None:
    engine = create_database_engine(role.url)
    with books.engine.begin() as connection:
        grant_role(connection, role.name, read_only=False)
    assert len(seen(engine, "entries")) == 4
    with books.engine.begin() as connection:
        grant_views(connection, role.name)
    with pytest.raises(ProgrammingError):
        seen(engine, "entries")
    assert len(seen(engine, "loyalty_entries")) == 4
    with books.engine.begin() as connection:
        grant_role(connection, role.name, read_only=True)
    with pytest.raises(ProgrammingError):
        seen(engine, "loyalty_entries")
    engine.dispose()


def test_a_role_that_reads_a_table_as_everybody_does_is_refused(books: Shell, role: DatabaseRole) -> None:
    books.execute("GRANT SELECT ON inbox TO PUBLIC")
    try:
        with books.engine.begin() as connection, pytest.raises(DatabaseRoleTooStrongError, match="as everybody may"):
            grant_views(connection, role.name)
    finally:
        books.execute("REVOKE SELECT ON inbox FROM PUBLIC")


def test_a_role_that_is_not_there_and_a_stranger_are_refused(books: Shell, role: DatabaseRole) -> None:
    with books.engine.begin() as connection, pytest.raises(NoDatabaseRoleError, match="has no role nobody"):
        grant_views(connection, "nobody")
    with books.engine.begin() as connection:
        grant_role(connection, role.name, read_only=True)
    engine = create_database_engine(role.url)
    with engine.begin() as connection, pytest.raises(NotOwnerError):
        grant_views(connection, role.name)
    engine.dispose()
