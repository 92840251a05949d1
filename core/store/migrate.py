"""Bringing a database to this release's tables, and refusing to work on one that is not fit for it.

Roles go on while the tables change, and a release goes on beside the next one (see migrations/env.py). From which
release on that holds is in the table schema_support, so that an older one, which does not know the newer, can see it.
"""

import ast
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from core.errors import DatabaseEncodingError, DatabaseNotReadyError, DatabaseTooNewError, TablesInUseError
from core.store.engine import driver_connection, run_bulk

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x4C59_0000
_ENCODING = "UTF8"

#: How long a statement may wait for its table: while it waits, everybody who comes after it waits too.
LOCK_SECONDS_MAX = 2.0
#: Between two tries, in which those who had to wait catch up.
_PAUSE_SECONDS = 1.0
_TRIES_MAX = 40


class TablesState(NamedTuple):
    """Which tables the database has, which this release wants, and since which release they are fit for work."""

    found: str | None  #: None: an empty database
    wanted: str
    oldest_revision: str | None  #: releases of these tables and later work on what was found; None: only that one

    @property
    def is_usable(self) -> bool:
        """Whether this release can work here: on its own tables, or on later ones that say so."""
        if self.found == self.wanted:
            return True
        return self.is_newer and self.oldest_revision is not None and self.oldest_revision <= self.wanted

    @property
    def is_newer(self) -> bool:
        """Whether the tables are of a later release; revisions sort by age."""
        return self.found is not None and self.found > self.wanted


def tables_state(engine: Engine) -> TablesState:
    """Look up where the database stands. DatabaseEncodingError where it could not keep what we are sent."""
    with engine.connect() as connection:
        encoding = driver_connection(connection).info.parameter_status("server_encoding")
        if encoding != _ENCODING:
            raise DatabaseEncodingError(encoding=encoding)
        found = _only_value(connection, "alembic_version", "version_num")
        oldest = _only_value(connection, "schema_support", "oldest_revision")
    return TablesState(found, head_revision(), oldest)


def _only_value(connection: Connection, table: str, column: str) -> str | None:
    """What the one row of a table says; None without the table, or the row."""
    if connection.execute(text(f"SELECT to_regclass('{table}')")).scalar() is None:
        return None
    return connection.execute(text(f"SELECT {column} FROM {table}")).scalar_one_or_none()  # noqa: S608  # names of ours


def require_current(engine: Engine) -> None:
    """Raise unless we can work on it: DatabaseEncodingError, DatabaseNotReadyError, DatabaseTooNewError."""
    state = tables_state(engine)
    if state.is_usable:
        return
    if state.is_newer:
        raise _too_new(state)
    raise DatabaseNotReadyError(found=state.found or "none", wanted=state.wanted)


def current_revision(engine: Engine) -> str | None:
    """The database's revision; None for an empty database."""
    return tables_state(engine).found


def head_revision() -> str:
    """This release's revision: that of its last migration, as the names of the files say."""
    return max(path.name.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*_*.py"))


class Migration(NamedTuple):
    """One step from the tables of a release to those of the next."""

    revision: str
    summary: str  #: what its file says that it does


def pending_migrations(found: str | None) -> list[Migration]:
    """What `upgrade` would run on tables of this revision (None: an empty database), in order."""
    files = {path.name.partition("_")[0]: path for path in (_FOLDER / "versions").glob("[0-9]*_*.py")}
    return [
        Migration(revision, (ast.get_docstring(ast.parse(files[revision].read_text("utf-8"))) or "").partition("\n")[0])
        for revision in sorted(files)
        if found is None or revision > found
    ]


def upgrade(engine: Engine, *, tries_max: int = _TRIES_MAX) -> None:
    """Run the migrations that are missing; with none missing, nothing changes. Two at once wait for each other.

    Roles may go on meanwhile: a statement that cannot have its table soon gives way and is tried again, `tries_max`
    times (TablesInUseError), and what was done until then stays done. A database of a later release is left alone, and
    refused if this one cannot work on it (DatabaseTooNewError).
    """
    from alembic import command  # noqa: PLC0415  # a tenth of a second, which every process would take longer to start

    with _migrating(engine) as connection:
        state = tables_state(engine)
        if state.is_newer:
            if not state.is_usable:
                raise _too_new(state)
            return
        config = _config()
        config.attributes["connection"] = connection
        for tried in range(1, tries_max + 1):
            try:
                command.upgrade(config, "head")
            except DBAPIError as error:
                if not isinstance(error.orig, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
                    raise
                connection.rollback()
                if tried == tries_max:
                    seconds = round(tries_max * (LOCK_SECONDS_MAX + _PAUSE_SECONDS))
                    raise TablesInUseError(seconds=seconds, holder=_longest_transaction(connection)) from error
                time.sleep(_PAUSE_SECONDS)
            else:
                connection.commit()
                return


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    """A connection that alone may migrate, with limits of its own: work may take its time, waiting for tables not."""
    with engine.connect() as connection:
        try:
            for setting in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                run_bulk(connection, f"SET {setting} = 0")
            # Asked for again and again: CREATE INDEX CONCURRENTLY would wait for who waits here in a statement.
            while not run_bulk(connection, "SELECT pg_try_advisory_lock(%s, 0)", (_LOCK,))[0][0]:
                driver_connection(connection).commit()
                time.sleep(_PAUSE_SECONDS)
            run_bulk(connection, f"SET lock_timeout = {int(LOCK_SECONDS_MAX * 1000)}")
            connection.commit()
            yield connection
        finally:
            connection.invalidate()  # with the session go its lock and its settings


_LONGEST = """
SELECT format('%%s, process %%s, for %%s s', coalesce(nullif(application_name, ''), 'unnamed'), pid,
              round(extract(epoch FROM now() - xact_start)))
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL ORDER BY xact_start LIMIT 1
"""


def _longest_transaction(connection: Connection) -> str:
    """Who has been at work for the longest: mostly who is in the way."""
    found = run_bulk(connection, _LONGEST)
    return str(found[0][0]) if found else "gone by now"


def _too_new(state: TablesState) -> DatabaseTooNewError:
    return DatabaseTooNewError(found=state.found, wanted=state.wanted, oldest=state.oldest_revision or state.found)


def _config() -> Any:
    from alembic.config import Config  # noqa: PLC0415  # see `upgrade`

    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    return config
