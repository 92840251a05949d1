"""Least privilege: the whole way works as a role that cannot rewrite the books, and the server refuses it the rest."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from core.errors import NoDatabaseRoleError
from core.mending.dead_letters import RetryLimits, drop_letters, retry_letters
from core.store.budgets import apply_budget_repairs, examine_budgets
from core.store.engine import create_database_engine
from core.store.erasing import WRITTEN
from core.store.grants import ERASER_GRANTS, WORKER_GRANTS, grant_role
from core.store.migrate import require_current
from core.store.personal_data import COLUMNS, PERSONAL
from core.store.proof.rebuild import apply_repairs, examine
from core.store.proof.scope import EVERYTHING
from core.store.shards import ACCOUNT_SHARDS
from core.store.tables import metadata
from tasks.periodic import audit_ledger, expire_lots, release_points, remind, review_tiers, warn_tiers
from tasks.posting import post_inbox, sweep_inbox
from tasks.purge import purge
from tasks.relay import relay_outbox, sweep_outbox
from tests.conftest import OpenDatabase
from tests.database_roles import DatabaseRole, database_role
from tests.factories import PROGRAM_TEXT, cancellation, command, fulfilment, order, refund
from tests.pages import ROOT
from tests.shell import EVENT_SOURCE, LIMITS, Shell, take_by_operator
from tests.store.updated_columns import updated_columns
from tests.tasks.runtimes import make_runtime

PAGE = ROOT / "docs/operations.md"
#: What retention purges, the history of purged letters too.
PURGED = {"inbox", "dead_letter_actions", "outbox", "reminders"}
UPKEEP = "qualification: {window: calendar_year}\nexpiry: {policy: after_months, months: 1}\n"
HELD = """availability: {policy: after_days, days: 5}
expiry: {policy: after_days, days: 300}
reminders: {days_ahead: [200]}
qualification: {window: rolling_months, months: 3, warning_days: 90}
promotions:
  - {promotion_id: more, kind: addition, points: 5, limits: {budget_points: 100, orders_per_customer: 3}}
"""


@pytest.fixture(scope="module")
def owner(open_database: OpenDatabase) -> Iterator[Engine]:
    """A database of its own, as the owner of its tables."""
    with open_database() as url:
        engine = create_database_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def role(owner: Engine) -> Iterator[DatabaseRole]:
    """The worker's role, with what `loyalty db grant` gives it."""
    with database_role(owner.url.render_as_string(hide_password=False), 'Shop\'s "worker" ') as made:
        with owner.begin() as connection:
            grant_role(connection, made.name, read_only=False)
        yield made


@pytest.fixture(scope="module")
def worker(role: DatabaseRole) -> Iterator[Engine]:
    """The database as the worker sees it."""
    engine = create_database_engine(role.url)
    yield engine
    engine.dispose()


def test_the_whole_way_works_as_the_workers_role(worker: Engine, owner: Engine) -> None:
    require_current(worker)
    shell = Shell(worker, shards=1, program_text=PROGRAM_TEXT + UPKEEP)
    now = datetime.now(UTC).isoformat()
    shell.receive(order("o1", "600.00", time="2024-05-01T12:00:00Z"), order("o1"), b"{")
    shell.receive(refund(order_id="new", time=now, net="5.00"), order("new", customer_id="c3", time=now))
    runtime = make_runtime(worker)
    shell.receive(order("o2", customer_id="c2", time="2024-05-01T12:00:00Z"))
    shell.receive(*(order(f"dead-{number}", program_id="nobody's") for number in range(2)))
    sweep_inbox(runtime)
    assert post_inbox(runtime, 0)["posted"] == 4
    dead = [row.inbox_id for row in shell.rows("SELECT inbox_id FROM inbox WHERE subject LIKE 'order dead-%'")]
    limits = RetryLimits(LIMITS, shards=1, event_source=EVENT_SOURCE, waiting_days_max=30)
    assert [mended.state for mended in retry_letters(worker, dead, limits, "kim")] == ["received"] * 2
    post_inbox(runtime, 0)
    assert [mended.state for mended in drop_letters(worker, dead, "no such program", "kim")] == ["dropped"] * 2
    assert expire_lots(runtime, "2026-01-01T00:00:00Z")["accounts"] == 2
    assert review_tiers(runtime, "2026-01-01T00:00:00Z")["accounts"] > 0
    sweep_outbox(runtime)
    assert sum(relay_outbox(runtime, shard)["published"] for shard in range(ACCOUNT_SHARDS)) > 0
    hold_and_release(shell)
    with owner.begin() as connection:
        connection.execute(text("UPDATE reminders SET expires_at = expires_at - interval '10 years'"))
    assert audit_ledger(runtime)["differences"] == []
    assert purge(make_runtime(worker, inbox_retention_days=1e-9, outbox_retention_days=1e-9))["inbox_rows"] > 0
    shell.execute("UPDATE accounts SET balance = balance + 1 WHERE customer_id = 'c3'")
    shell.execute("UPDATE usages SET orders = 3")
    shell.execute("UPDATE budgets SET points = 50")
    with worker.begin() as connection:
        planned = examine(connection, EVERYTHING).repairs
    with worker.begin() as connection:
        subjects = [repair.subject for repair in apply_repairs(connection, planned, "kim")]
        assert subjects == ["account", "usage of more, ever"]
    with worker.begin() as connection:
        assert len(apply_budget_repairs(connection, examine_budgets(connection), "kim")) == 1
    kinds = {row.kind for row in shell.rows("SELECT kind FROM entries")}
    assert (kinds, shell.differences()) == ({"accrual", "clawback", "expiry", "release"}, [])


def hold_and_release(shell: Shell) -> None:
    """Post what is held, limited, fulfilled and cancelled; then the periodic tasks of it."""
    shell.apply_program(PROGRAM_TEXT.replace(": test", ": held").replace("/shops/test", "/held") + HELD)
    day = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    shell.take(
        order("h1", "600.00", source="/held", time=day),
        order("h2", source="/held", time=day),
        fulfilment("h1", source="/held"),
        cancellation("h2", source="/held"),
    )
    runtime = make_runtime(shell.engine)
    later = (datetime.now(UTC) + timedelta(days=200)).isoformat()
    assert release_points(runtime, later)["accounts"] == 1
    assert remind(runtime, later)["accounts"] == 1
    warn_tiers(runtime, later)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET points = 1000000",
        "DELETE FROM entries",
        "TRUNCATE entries CASCADE",
        "ALTER TABLE entries DISABLE TRIGGER ALL",
        "DROP TABLE entries CASCADE",
        "SELECT 1 FROM entries FOR UPDATE",
        "CREATE TRIGGER t BEFORE INSERT ON entries EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "UPDATE allocations SET points = 1",
        "DELETE FROM tier_changes",
        "UPDATE refunds SET points_due = 0",
        "UPDATE orders SET lines = '[]'",
        "UPDATE orders SET occurred_at = now(), customer_id = 'c9'",
        "UPDATE orders SET business_hash = ''",
        "UPDATE lots SET earned_by = 'more'",
        "UPDATE accounts SET customer_id = 'c9'",
        "UPDATE inbox SET body = ''",
        "UPDATE outbox SET body = '{}'",
        "DELETE FROM orders",
        "DELETE FROM accounts",
        "DELETE FROM lots",
        "UPDATE repairs SET found = '{}'",
        "UPDATE liability_lines SET points = 1",
        "UPDATE activity_lines SET points = 1",
        "DELETE FROM liability_snapshots",
        "UPDATE programs SET document = '{}'",
        "UPDATE schema_support SET oldest_revision = '0'",
        "UPDATE alembic_version SET version_num = '0'",
        "UPDATE dead_letter_actions SET detail = ''",
        "CREATE TABLE mine (n integer)",
        "ALTER TABLE inbox ADD COLUMN n integer",
        "SET session_replication_role = replica",
    ],
)
def test_the_server_refuses_the_workers_role_what_would_rewrite_the_books(worker: Engine, statement: str) -> None:
    with pytest.raises(ProgrammingError) as refused, worker.begin() as connection:
        connection.execute(text(statement))
    assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)


def test_the_server_refuses_the_workers_role_every_column_that_nothing_updates(worker: Engine) -> None:
    refused = [
        (table.name, column.name)
        for table in metadata.sorted_tables
        for column in table.columns
        if column.name not in WORKER_GRANTS[table.name].updates
    ]
    assert len(refused) > 100
    for table, column in refused:
        with pytest.raises(ProgrammingError) as error, worker.begin() as connection:
            connection.execute(text(f"UPDATE {table} SET {column} = NULL WHERE false"))
        assert isinstance(error.value.orig, psycopg.errors.InsufficientPrivilege)


def test_every_table_is_thought_of() -> None:
    assert set(WORKER_GRANTS) == {*metadata.tables, "alembic_version", "dated_lots"}
    deletable = {table for table, allowed in WORKER_GRANTS.items() if allowed.deletes}
    linked = {"account_references", "account_members", "members"}
    assert deletable == {"inbox", "outbox", "dead_letter_actions", "reminders"} | linked


def test_the_workers_role_may_update_just_the_columns_that_some_statement_sets() -> None:
    only_locked = {"turns": {"shard"}}
    resealed = {"orders": {"business_hash", "seal"}, "returns": {"business_hash", "seal"}, "repairs": {"seal"}}
    found = updated_columns() | only_locked
    for table, columns in (*((table.name, set(names)) for table, names in WRITTEN.items()), *resealed.items()):
        found[table] = found.get(table, set()) | columns
    granted = {table: set(allowed.updates) for table, allowed in ERASER_GRANTS.items() if allowed.updates}
    assert granted == found


def test_who_erases_may_change_words_and_names_and_no_number() -> None:
    for table, allowed in ERASER_GRANTS.items():
        more = set(allowed.updates) - set(WORKER_GRANTS[table].updates)
        personal = {name for name, holds in COLUMNS.get(table, {}).items() if holds in PERSONAL}
        assert more <= personal | {"seal", "erasures"}, table  # how many were erased is counted


def test_the_workers_role_erases_nobody_and_the_one_that_may_does(database_url: str, engine: Engine) -> None:
    shell = Shell(engine, shards=1)
    take_by_operator(shell, command("credit", "k1", customer_id="gone", points=5))
    for erases, outcome in ((False, ("rejected", "not_allowed")), (True, ("posted", None))):
        with database_role(database_url, f"eraser {erases}") as made:
            with engine.begin() as connection:
                grant_role(connection, made.name, read_only=False, erases=erases)
            their_engine = create_database_engine(made.url)
            theirs = Shell(their_engine, shards=1, program_text=None)
            take_by_operator(theirs, command("customer.erase", f"e{erases}", customer_id="gone"))
            assert theirs.outcome(f"e{erases}") == outcome
            their_engine.dispose()
    assert "gone" not in shell.value("SELECT string_agg(customer_id, ' ') FROM accounts")


def privileges(owner: Engine, role: DatabaseRole) -> list[tuple[str, str, str]]:
    statement = """
        SELECT table_name, privilege_type, '' AS of_column FROM information_schema.role_table_grants
        WHERE grantee = :role
        UNION
        SELECT table_name, privilege_type, column_name FROM information_schema.role_column_grants WHERE grantee = :role
        ORDER BY 1, 2, 3"""
    with owner.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), {"role": role.name})]


def granted(owner: Engine, role: str, *, read_only: bool = False) -> None:
    with owner.begin() as connection:
        grant_role(connection, role, read_only=read_only)


def test_granting_again_changes_nothing_and_takes_away_what_was_there_before(owner: Engine, role: DatabaseRole) -> None:
    before = privileges(owner, role)
    granted(owner, role.name)
    assert privileges(owner, role) == before
    granted(owner, role.name, read_only=True)
    assert {privilege for _, privilege, _ in privileges(owner, role)} == {"SELECT"}
    granted(owner, role.name)
    assert privileges(owner, role) == before


def test_a_reader_sees_everything_and_changes_nothing(owner: Engine) -> None:
    with database_role(owner.url.render_as_string(hide_password=False), "support_") as reader:
        granted(owner, reader.name, read_only=True)
        engine = create_database_engine(reader.url)
        shell = Shell(engine, program_text=None)
        assert shell.differences() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            shell.receive(order())
        engine.dispose()


def test_a_role_that_is_not_there_is_named(owner: Engine) -> None:
    with pytest.raises(NoDatabaseRoleError, match="has no role nobody"):
        granted(owner, "nobody")


def test_the_page_names_what_the_workers_role_may_not_update_and_where_it_deletes_more_than_old_rows() -> None:
    [paragraph] = [
        part for part in PAGE.read_text().split("\n\n") if part.startswith("The worker's database role can add")
    ]
    never, _, rest = paragraph.partition("said. ")
    unchanged = set(re.findall(r"`(\w+)`", never)) - {"UPDATE"}
    assert unchanged <= {table for table, allowed in WORKER_GRANTS.items() if not allowed.updates}
    updates, _, deletes = rest.partition("It may `DELETE`")
    moved = {table for table, allowed in WORKER_GRANTS.items() if allowed.updates == ("account_id",)}
    assert set(re.findall(r"`(\w+)`", updates)) == moved | {"account_id"}
    deleted = {table for table, allowed in WORKER_GRANTS.items() if allowed.deletes} - PURGED
    assert set(re.findall(r"`(\w+)`", deletes.partition("Make the role")[0])) == deleted
