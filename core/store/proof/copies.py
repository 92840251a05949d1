"""The rows of one slice in tables of the session's own, which hide the ledger's of the same names.

A ledger grows in the order of time, so the rows of a slice's accounts lie among those of all others. Each check would
fetch them anew, and with ten times the accounts, from ten times as many pages for each slice. Copied once, they are
read by every check from where they lie together.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from core.store.engine import run_bulk
from core.store.proof.scope import OF_ACCOUNTS, Scope

#: Of everybody unless somebody took it away; a standby makes no tables at all.
_CAN_COPY = "SELECT NOT pg_is_in_recovery() AND has_database_privilege(current_database(), 'TEMP')"
_SCHEMA = "SELECT quote_ident(current_schema())"


class _Copies:
    """The tables, empty until a slice is copied."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection, self._schema = connection, schema
        for table in OF_ACCOUNTS:
            run_bulk(connection, f"CREATE TEMP TABLE {table} (LIKE {schema}.{table}) ON COMMIT DROP")
            run_bulk(connection, f"CREATE INDEX ON pg_temp.{table} (account_id)")

    def of(self, scope: Scope) -> Scope:
        run_bulk(self._connection, f"TRUNCATE {', '.join(f'pg_temp.{table}' for table in OF_ACCOUNTS)}")
        for table in OF_ACCOUNTS:
            rows = f"SELECT * FROM {self._schema}.{table} WHERE {scope.condition}"  # noqa: S608  # our own words
            run_bulk(self._connection, f"INSERT INTO pg_temp.{table} {rows}", scope.parameters)
            run_bulk(self._connection, f"ANALYZE pg_temp.{table}")
        return scope._replace(is_copied=True)

    def drop(self) -> None:
        for table in OF_ACCOUNTS:
            run_bulk(self._connection, f"DROP TABLE pg_temp.{table}")


@contextmanager
def opened_copies(connection: Connection, *, is_wanted: bool) -> Iterator[Callable[[Scope], Scope]]:
    """What copies a slice in place of the one before; it leaves all as it is where this is not wanted or allowed.

    Until this ends, the names of the tables mean the copies.
    """
    if not is_wanted or not run_bulk(connection, _CAN_COPY)[0][0]:
        yield lambda scope: scope
        return
    ((schema,),) = run_bulk(connection, _SCHEMA)
    copies = _Copies(connection, schema)
    yield copies.of
    copies.drop()  # not after an error: the transaction is over then, and they are gone with it


@contextmanager
def changing_nothing(connection: Connection) -> Iterator[None]:
    """Let the database refuse every change until this ends."""
    run_bulk(connection, "SAVEPOINT changing_nothing")
    run_bulk(connection, "SET TRANSACTION READ ONLY")
    yield
    run_bulk(connection, "RELEASE SAVEPOINT changing_nothing")
