"""Database engines, and the two ways to reach psycopg where SQLAlchemy has no words for it (COPY, arrays)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import InvalidatePoolError

from core.store.sessions import ImpatientConnection, Parameters, Rows

_Value = TypeVar("_Value")

#: What our statements rely on, whatever a database or a role is set to. (Not default_transaction_read_only: who sets
#: that means it.)
_SESSION_SETTINGS = {
    "synchronous_commit": "on",
    "timezone": "UTC",
    "datestyle": "ISO",
    "default_transaction_isolation": r"read\ committed",
    "jit": "off",  # compiling took a third of a report's time, and whole posting batches where statistics are stale
}
_NETWORK_SETTINGS = {
    "connect_timeout": 3,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds; what was sent and never confirmed keeps keepalive from being tried
}


#: How much longer than a statement may take its answer is waited for.
_ANSWER_GRACE_SECONDS = 5
#: So many statements stay prepared in a session: more than posting and upkeep have together.
_PREPARED_MAX = 500


class SessionLimits(NamedTuple):
    """What PostgreSQL ends by itself. Posting and relay transactions last well under a second."""

    statement_seconds_max: int = 60
    idle_seconds_max: int = 60  #: within a transaction: a client that is lost must not hold locks for ever
    lock_seconds_max: int = 10


def create_database_engine(
    database_url: str,
    *,
    limits: SessionLimits = SessionLimits(),  # noqa: B008  # a tuple
    pool_size: int = 2,
    application_name: str = "loyalty",
    gives_up: bool = False,
    plans_once: bool = False,
    open_session: Callable[..., ImpatientConnection] = ImpatientConnection.connect,
) -> Engine:
    """Build an engine. Nothing is opened until first use: it may be built before a fork, but not used across one.

    With `gives_up` a session that is silent for longer than a statement may take is closed, and so is one that cannot
    write: for the roles: each of them writes, and none raises its own limit. With `plans_once` no
    statement is planned anew for its values: for who runs a few statements for ever, each with one good plan.
    """
    url = make_url(normalized_url(database_url))
    must_write = {"target_session_attrs": "read-write"} if gives_up else {}
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=2,
        pool_use_lifo=True,  # the one that was used last has the most statements prepared
        connect_args={
            **_NETWORK_SETTINGS,
            **must_write,
            "application_name": application_name,
            "prepare_threshold": 0 if gives_up else 5,  # what a role runs it runs again, and planning costs most
            "client_encoding": "UTF8",  # or an SQL_ASCII database would answer in bytes
            "options": _options(url, limits, {"plan_cache_mode": "force_generic_plan"} if plans_once else {}),
        },
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> ImpatientConnection:
        session = open_session(*arguments, **options)
        session.prepared_max = _PREPARED_MAX
        session.idle_seconds_max = limits.idle_seconds_max
        if gives_up:
            session.answer_seconds_max = limits.statement_seconds_max + _ANSWER_GRACE_SECONDS
        return session

    event.listen(engine, "checkout", partial(_refuse_useless, must_write=gives_up))
    return engine


def _options(url: URL, limits: SessionLimits, more: Mapping[str, str]) -> str:
    """Settings for the session, after those of the URL."""
    settings = {
        **_SESSION_SETTINGS,
        **more,
        "statement_timeout": f"{limits.statement_seconds_max}s",
        "idle_in_transaction_session_timeout": f"{limits.idle_seconds_max}s",
        "lock_timeout": f"{limits.lock_seconds_max}s",
    }
    ours = (f"-c {name}={value}" for name, value in settings.items())
    return " ".join([*url.normalized_query.get("options", ()), *ours])


def _refuse_useless(session: ImpatientConnection, _record: Any, _proxy: Any, *, must_write: bool) -> None:
    """Have the pool open another session instead of one that has ended, or has become read-only."""
    if not session.is_alive() or (must_write and session.is_read_only):
        raise InvalidatePoolError


def normalized_url(database_url: str) -> str:
    """Accept `postgres://` and `postgresql://` as people write them; the driver is always psycopg 3."""
    scheme, separator, rest = database_url.partition("://")
    if separator and scheme in {"postgres", "postgresql", "postgresql+psycopg"}:
        return f"postgresql+psycopg://{rest}"
    return database_url


def driver_connection(connection: Connection) -> psycopg.Connection[Any]:
    """The psycopg connection below `connection`, inside the same transaction."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def run_bulk(connection: Connection, statement: str, parameters: Parameters = ()) -> Rows:
    """Run one set-based statement with `%s`/`%b` parameters (lists become arrays); return its rows, if it has any."""
    return ask(connection, statement, parameters, _as_they_are).found


def run_later(connection: Connection, statement: str, parameters: Parameters = ()) -> None:
    """Run a statement whose answer nobody reads. Within `sent_together` it goes with the next one whose answer is."""
    _session(connection).keep(statement.encode(), parameters, _drop)


@contextmanager
def sent_together(connection: Connection) -> Iterator[None]:
    """Wait only for answers that are read. What fails may be told later, but before this ends, and with its own error.

    For transactions of a few rows each in many tables, where waiting is most of what they take.
    """
    with _session(connection).keeping():
        yield


class Asked(Generic[_Value]):
    """What a read finds. Within `sent_together` it goes with others, until one of them is looked at."""

    _rows: Rows | None = None

    def __init__(self, read: Callable[[Rows], _Value], session: ImpatientConnection | None = None) -> None:
        """`read` makes what was wanted of the rows. Without a session there is nothing to ask for, and so no row."""
        self._read, self._session = read, session
        if session is None:
            self._rows = []

    def take(self, rows: Rows) -> None:
        """Have the answer."""
        self._rows = rows

    @property
    def found(self) -> _Value:
        """What was wanted, made of the rows each time."""
        if self._rows is None and self._session is not None:
            self._session.run_kept()
        assert self._rows is not None
        return self._read(self._rows)


def ask(
    connection: Connection, statement: str, parameters: Parameters, read: Callable[[Rows], _Value]
) -> Asked[_Value]:
    """Run a statement, and have `read` make of its rows what is wanted."""
    session = _session(connection)
    asked = Asked(read, session)
    session.keep(statement.encode(), parameters, asked.take)
    return asked


def _as_they_are(rows: Rows) -> Rows:
    return rows


def _drop(_rows: Rows) -> None:
    return


def _session(connection: Connection) -> ImpatientConnection:
    session = connection.connection.driver_connection
    assert isinstance(session, ImpatientConnection)
    return session


def run_alone(engine: Engine, statement: str, parameters: Parameters = ()) -> Rows:
    """Run one statement that is a transaction by itself: one round trip, where begin and commit would make it three."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return run_bulk(connection, statement, parameters)


_ROWS_AT_ONCE = 2_000


def stream_rows(
    connection: Connection, name: str, statement: str, parameters: Mapping[str, Any]
) -> Iterator[tuple[Any, ...]]:
    """Rows of a SELECT, some at a time, however many there are; `name` is of its cursor within the transaction."""
    with closing(driver_connection(connection).cursor(name)) as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        cursor.execute(statement.encode(), parameters)
        yield from cursor


def database_now(connection: Connection) -> datetime:
    """The clock that every worker shares."""
    ((now,),) = run_bulk(connection, "SELECT now()")
    assert isinstance(now, datetime)
    return now


def begin_reading(connection: Connection) -> None:
    """Let the transaction, which has only begun, see one snapshot and change nothing."""
    run_bulk(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
