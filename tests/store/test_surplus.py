"""A role is refused that could come to more than it is granted, by whatever way; what is proposed takes that away."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from core.errors import DatabaseRoleTooStrongError
from core.store.engine import create_database_engine
from core.store.grants import grant_role, grant_views
from core.store.report_views import REPORT_VIEWS
from tests.conftest import OpenDatabase, Servers
from tests.database_roles import DatabaseRole, database_role

Execute = Callable[..., None]

#: What makes a role too strong, and the words that say so. {group} and {other} are roles that may not log in.
WAYS = {
    "a column for everybody": (["GRANT UPDATE (points) ON entries TO PUBLIC"], "may UPDATE points of table entries"),
    "two columns for everybody": (
        ["GRANT INSERT (points), UPDATE (points, why) ON entries TO PUBLIC"],
        "may UPDATE points, why of table entries",
    ),
    "a table for everybody": (["GRANT ALL ON entries, lots TO PUBLIC"], "UPDATE on table entries"),
    "triggers for everybody": (["GRANT TRIGGER ON entries TO PUBLIC"], "TRIGGER on table entries"),
    "the schema for everybody": (["GRANT CREATE ON SCHEMA public TO PUBLIC"], "CREATE on schema public"),
    "the database for everybody": (["GRANT CREATE ON DATABASE {database} TO PUBLIC"], "CREATE on database"),
    "a sequence for everybody": (
        ["GRANT UPDATE ON SEQUENCE repairs_repair_id_seq TO PUBLIC"],
        "UPDATE on sequence repairs_repair_id_seq",
    ),
    "a view that writes as its owner": (
        [
            "CREATE VIEW through AS SELECT * FROM entries",
            "CREATE VIEW twice AS SELECT * FROM through",
            "ALTER VIEW through OWNER TO {owner}",
            "GRANT UPDATE ON twice TO PUBLIC",
        ],
        "UPDATE on table twice",
    ),
    "a function that runs as its owner": (
        ["CREATE FUNCTION mend() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM entries'"],
        "EXECUTE on function mend\\(\\)",
    ),
    "a setting that switches constraints off": (
        ["GRANT SET ON PARAMETER session_replication_role TO {role}"],
        "SET on parameter session_replication_role",
    ),
    "a member of who may write everything": (
        ["GRANT pg_write_all_data TO {role}"],
        "is a member of pg_write_all_data, and so could DELETE on table .* more; INSERT",
    ),
    "one that does not inherit": (
        ["ALTER ROLE {role} NOINHERIT", "GRANT pg_write_all_data TO {role}"],
        "is a member of pg_write_all_data",
    ),
    "a member of a member": (
        ["GRANT {other} TO {group}", "GRANT {group} TO {role}", "GRANT DELETE ON lots TO {other}"],
        "is a member of group_.*, and so could DELETE on table lots",
    ),
    "a member of the owner": (["GRANT {owner} TO {role}"], "could .*own the "),
    "a member of a superuser": (
        ["ALTER ROLE {group} SUPERUSER", "GRANT {group} TO {role}"],
        "do anything, as a superuser",
    ),
    "a member of who may run programs": (
        ["GRANT pg_execute_server_program TO {role}"],
        "and so could run programs as the server",
    ),
    "what another role has granted": (
        [
            "GRANT DELETE ON entries TO {group} WITH GRANT OPTION",
            "SET ROLE {group}",
            "GRANT DELETE ON entries TO {role}",
            "RESET ROLE",
        ],
        "DELETE on table entries, as another role has granted",
    ),
    "who makes roles": (["ALTER ROLE {role} CREATEROLE"], "may make roles, and before PostgreSQL 16"),
    "who is held by no row security": (["ALTER ROLE {role} BYPASSRLS"], "is not held by row security"),
    "who copies the server": (["ALTER ROLE {role} REPLICATION"], "can copy the whole server"),
    "a superuser": (["ALTER ROLE {role} SUPERUSER"], "is a superuser"),
}


@pytest.fixture(scope="module")
def owner(open_database: OpenDatabase) -> Iterator[Engine]:
    """A database of its own, as the owner of its tables."""
    with open_database() as url:
        engine = create_database_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def superuser(owner: Engine, servers: Servers) -> Iterator[Engine]:
    """The same database as a superuser."""
    url = make_url(servers.superuser_url).set(drivername="postgresql+psycopg", database=owner.url.database)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        if connection.execute(text("SHOW is_superuser")).scalar_one() != "on":
            pytest.skip("the tests were given a server without its superuser")
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def roles(superuser: Engine) -> Iterator[dict[str, DatabaseRole]]:
    """Roles with nothing but what a test gives them, by the part that they play."""
    url = superuser.url.render_as_string(hide_password=False)
    with ExitStack() as stack:
        yield {part: stack.enter_context(database_role(url, f"{part}_")) for part in ("group", "other")}


@pytest.fixture
def role(superuser: Engine) -> Iterator[DatabaseRole]:
    with database_role(superuser.url.render_as_string(hide_password=False), "worker_") as made:
        yield made


@pytest.fixture
def execute(superuser: Engine, owner: Engine, roles: dict[str, DatabaseRole], role: DatabaseRole) -> Execute:
    """Run statements as the superuser, in one session."""
    names = {part: made.name for part, made in roles.items()}
    names |= {"role": role.name, "owner": owner.url.username or "", "database": owner.url.database or ""}

    def run(*statements: str) -> None:
        with superuser.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement.format(**names))

    return run


def refused(owner: Engine, role: str, *, read_only: bool = False) -> DatabaseRoleTooStrongError:
    with pytest.raises(DatabaseRoleTooStrongError) as error, owner.begin() as connection:
        grant_role(connection, role, read_only=read_only)
    return error.value


@pytest.mark.parametrize("way", WAYS)
def test_a_role_that_could_do_more_is_refused_with_what_and_is_taken_when_that_is_mended(
    owner: Engine, role: DatabaseRole, execute: Execute, way: str
) -> None:
    statements, words = WAYS[way]
    execute(*statements)
    try:
        with pytest.raises(DatabaseRoleTooStrongError, match=words), owner.begin() as connection:
            grant_role(connection, role.name, read_only=False)
        mends = [line.strip() for line in str(refused(owner, role.name)).splitlines() if line.startswith("      ")]
        execute(*(f"SET ROLE {{group}}; {mend}" if "another role" in words else mend for mend in mends))
        with owner.begin() as connection:
            grant_role(connection, role.name, read_only=False)
    finally:
        execute(
            "RESET ROLE",
            "DROP VIEW IF EXISTS through CASCADE",
            "DROP FUNCTION IF EXISTS mend",
            "ALTER ROLE {group} NOSUPERUSER",
            "DROP OWNED BY {group}, {other}, {role}",
            "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC",
            "REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            "REVOKE CREATE ON DATABASE {database} FROM PUBLIC",
        )


def test_the_owner_is_refused_since_grants_would_not_limit_it(owner: Engine) -> None:
    assert owner.url.username is not None
    assert re.search("It (owns the database, |is a superuser)", str(refused(owner, owner.url.username)))


def test_a_reader_may_not_even_add(owner: Engine, role: DatabaseRole, execute: Execute) -> None:
    execute("GRANT INSERT ON inbox TO PUBLIC")
    try:
        with owner.begin() as connection:
            grant_role(connection, role.name, read_only=False)
        assert "INSERT on table inbox, as everybody may" in str(refused(owner, role.name, read_only=True))
    finally:
        execute("REVOKE INSERT ON inbox FROM PUBLIC")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("GRANT SELECT ON inbox, entries TO PUBLIC", "may SELECT on table entries, inbox, as everybody may"),
        ("GRANT SELECT (body) ON inbox TO PUBLIC", "may SELECT on table inbox, as everybody may"),
        ("GRANT pg_read_all_data TO {role}", "is a member of pg_read_all_data, and so could SELECT on table .* more"),
        (
            "GRANT {other} TO {group}; GRANT {group} TO {role}; GRANT SELECT ON inbox TO {other}",
            "is a member of group_.*, and so could SELECT on table inbox",
        ),
        ("GRANT DELETE ON loyalty_accounts TO PUBLIC", "may DELETE on table loyalty_accounts, as everybody may"),
    ],
)
def test_a_role_that_is_to_read_the_views_may_read_no_table(
    owner: Engine, role: DatabaseRole, execute: Execute, statement: str, words: str
) -> None:
    execute(statement)
    try:
        with pytest.raises(DatabaseRoleTooStrongError, match=words) as error, owner.begin() as connection:
            grant_views(connection, role.name)
        execute(*(line.strip() for line in str(error.value).splitlines() if line.startswith("      ")))
        with owner.begin() as connection:
            assert [grant.table for grant in grant_views(connection, role.name)] == [*REPORT_VIEWS]
    finally:
        execute("DROP OWNED BY {group}, {other}, {role}", "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC")


def test_what_monitoring_needs_is_no_surplus(owner: Engine, role: DatabaseRole, execute: Execute) -> None:
    execute("GRANT pg_monitor, pg_signal_backend, pg_read_all_data TO {role}", "ALTER ROLE {role} CREATEDB")
    with owner.begin() as connection:
        assert grant_role(connection, role.name, read_only=True)
