"""Database engines, and the two ways to reach psycopg where SQLAlchemy has no words for it (COPY, arrays)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from math import inf
from select import POLLIN, poll
from time import monotonic, thread_time
from typing import Any, Generic, NamedTuple, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus, TransactionStatus
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import InvalidatePoolError

_Value = TypeVar("_Value")
Parameters = Sequence[Any] | Mapping[str, Any]
Rows = list[tuple[Any, ...]]

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


_WAKE_SECONDS = 0.1
#: How much longer than a statement may take its answer is waited for.
_ANSWER_GRACE_SECONDS = 5
#: The server ended a session through our fault if we calculated for that part of the time. A process that was frozen or
#: swapped out has calculated nothing.
_WORKED_SHARE_MIN = 0.1
#: A session that was silent for longer is asked whether it still works: a firewall may have forgotten it.
_TRUSTED_SECONDS = 10.0
#: So many statements stay prepared in a session: more than posting and upkeep have together.
_PREPARED_MAX = 500
#: What the server reports of itself, unasked, whenever it changes.
_READ_ONLY_STATUS = (b"in_hot_standby", b"default_transaction_read_only")


class SessionLimits(NamedTuple):
    """What PostgreSQL ends by itself. Posting and relay transactions last well under a second."""

    statement_seconds_max: int = 60
    idle_seconds_max: int = 60  #: within a transaction: a client that is lost must not hold locks for ever
    lock_seconds_max: int = 10


class DatabaseSilentError(psycopg.OperationalError):
    """The database was silent for {seconds:g} s, longer than any statement may take: the connection is given up."""

    def __init__(self, seconds: float) -> None:
        super().__init__((self.__doc__ or "").format(seconds=seconds))
        self.seconds = seconds


class CalculatedTooLongError(psycopg.OperationalError):
    """The database ended our session: it heard nothing for {seconds:.0f} s of a transaction, while we calculated."""

    def __init__(self, seconds: float) -> None:
        super().__init__((self.__doc__ or "").format(seconds=seconds))
        self.seconds = seconds


class _Together(psycopg.Pipeline):
    """Statements of which none waits for the answer to another. It ends with a Sync.

    psycopg's own ends with a Flush behind that: PostgreSQL, which counts from the Sync on for how long the transaction
    is silent (`idle_in_transaction_session_timeout`), would take it for the next statement, and count no more.
    """

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        # psycopg would log a second error, which may quote a row.
        try:
            with self._lock:
                self._conn.wait(self._exit_gen())
        except psycopg.Error:
            if error is None:
                raise
        finally:
            self._exit(error)

    def _exit_gen(self) -> PQGen[None]:
        self._enqueue_sync()
        failed: psycopg.Error | None = None
        for steps in (self._communicate_gen(), self._fetch_gen(flush=False)):
            try:
                yield from steps
            except psycopg.errors.PipelineAborted:  # a statement before it has failed, and said why
                pass
            except psycopg.Error as error:
                failed = failed or error
        if failed is not None:
            raise failed


class _Kept(NamedTuple):
    """A statement that can wait until an answer is wanted."""

    statement: bytes
    parameters: Parameters
    take: Callable[[Rows], None]


class ImpatientConnection(psycopg.Connection[Any]):
    """A session that is given up when the server is silent for longer than a statement may take, or cannot write.

    PostgreSQL ends what takes too long and says so. Where nothing comes, something between us has forgotten the
    connection, and while it still confirms what is sent to it, neither keepalive nor `tcp_user_timeout` notices.

    A session on a server that has become a standby, or was opened while all were read-only, stays so for ever, while
    the next one would reach who can write.
    """

    answer_seconds_max: float | None = None  #: None: as long as it takes
    idle_seconds_max: float | None = None  #: after which the server ends the session within a transaction
    answered_at = inf  #: by the monotonic clock, the last time; before the first time there is nothing to be late for
    _worked_at = 0.0
    sends_ahead = True  #: False: each statement by itself, for who looks at one after the other
    _is_keeping = False  #: what can wait until an answer is wanted
    _kept: "Sequence[_Kept]" = ()
    _calculated_seconds: float | None = None  #: before what was sent last, if too long

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep what can wait until an answer is wanted, or this ends."""
        self._is_keeping = self.sends_ahead
        try:
            yield
            self.run_kept()
        finally:
            self._is_keeping, self._kept = False, ()

    def keep(self, statement: bytes, parameters: Parameters, take: "Callable[[Rows], None]") -> None:
        """Run a statement and have its rows taken: with the next one whose answer is wanted, or at once."""
        self._kept = [*self._kept, _Kept(statement, parameters, take)]
        if not self._is_keeping:
            self.run_kept()

    def run_kept(self) -> None:
        """Run all that was kept. An error is that of the first statement that fails: none behind it is run.

        They are sent one after the other while the server is at work already, and their answers are waited for once:
        to a server on the same machine a message costs as much as what it asks for, and to another one more. Until all
        are sent PostgreSQL does not count for how long we are silent, so nothing else is done meanwhile.
        """
        kept, self._kept = self._kept, ()
        self._calculated_seconds = self._calculated_too_long()  # an answer may tell of it later than the first
        try:
            cursors = self._sent(kept)
        finally:
            self._calculated_seconds = None
        for each, cursor in zip(kept, cursors, strict=True):
            # Not by `description`, which tells of every column each time: a third of what a small read costs here.
            each.take([] if cursor.rownumber is None else cursor.fetchall())

    def _sent(self, kept: "Sequence[_Kept]") -> list[psycopg.Cursor[Any]]:
        if len(kept) <= 1:
            return [self._execute(each) for each in kept]
        self._pipeline = _Together(self)
        try:
            with self._pipeline:
                return [self._execute(each) for each in kept]
        finally:
            self._pipeline = None

    def _execute(self, kept: "_Kept") -> psycopg.Cursor[Any]:
        return super().cursor().execute(kept.statement, kept.parameters)

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        """A cursor, for what comes behind everything that was kept."""
        self.run_kept()
        return super().cursor(*arguments, **options)

    def wait(self, gen: PQGen[_Value], interval: float = _WAKE_SECONDS, timeout: float | None = None) -> _Value:
        """Wait for an answer as psycopg does, but not for ever.

        Raises DatabaseSilentError, CalculatedTooLongError; the session is closed then, as after ReadOnlySqlTransaction.
        """
        calculated_seconds = self._calculated_too_long() or self._calculated_seconds
        try:
            return super().wait(gen, interval, self.answer_seconds_max if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001  # psycopg raises it for this to be translated
            if timeout is not None or self.answer_seconds_max is None:
                raise
            self.pgconn.finish()
            raise DatabaseSilentError(self.answer_seconds_max) from error
        except psycopg.errors.ReadOnlySqlTransaction:
            self.pgconn.finish()
            raise
        except psycopg.Error as error:
            has_ended = self.closed or isinstance(error, psycopg.errors.IdleInTransactionSessionTimeout)
            if calculated_seconds is None or not has_ended:
                raise
            raise CalculatedTooLongError(calculated_seconds) from error
        finally:
            self.answered_at, self._worked_at = monotonic(), thread_time()

    def rollback(self) -> None:
        """Roll back, also what was kept; the server has done so where the session is closed, and no error is hidden."""
        self._kept = ()
        if not self.closed:
            super().rollback()

    def is_alive(self) -> bool:
        """Whether the server still holds the session, as far as is known here: it is asked only after a long silence.

        A server that ends a session says so, and what it said is here already. To ask before each transaction would
        cost a message that is posted alone a tenth of its time.
        """
        if self.closed or self._has_ended():
            return False
        if monotonic() - self.answered_at < _TRUSTED_SECONDS:
            return True
        try:
            self.execute("SELECT 1")
            self.rollback()
        except psycopg.Error:
            return False
        return True

    def _has_ended(self) -> bool:
        """Take in what the server has said unasked: that a setting has changed, or that this was the end."""
        socket = poll()
        socket.register(self.pgconn.socket, POLLIN)
        try:
            while socket.poll(0):
                self.pgconn.consume_input()
                self.pgconn.is_busy()  # has libpq understand what came
        except psycopg.OperationalError:
            return True
        return self.pgconn.status != ConnStatus.OK

    @property
    def is_read_only(self) -> bool:
        """Whether the server has said last that it takes no changes."""
        return any(self.pgconn.parameter_status(name) == b"on" for name in _READ_ONLY_STATUS)

    def _calculated_too_long(self) -> float | None:
        """For how long we left the server waiting within a transaction, if that is too long and we were at work."""
        if self.idle_seconds_max is None:
            return None
        seconds = monotonic() - self.answered_at
        if seconds < self.idle_seconds_max or self.info.transaction_status is TransactionStatus.IDLE:
            return None
        worked_seconds = thread_time() - self._worked_at
        return seconds if worked_seconds >= _WORKED_SHARE_MIN * self.idle_seconds_max else None


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
    write: for roles, which never lift that limit for themselves, and of which none only reads. With `plans_once` no
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


def database_now_alone(engine: Engine) -> datetime:
    """The same for who has no transaction."""
    ((now,),) = run_alone(engine, "SELECT now()")
    assert isinstance(now, datetime)
    return now


def begin_reading(connection: Connection) -> None:
    """Let the transaction, which has only begun, see one snapshot and change nothing."""
    run_bulk(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
