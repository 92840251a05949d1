"""Sessions of psycopg that do not wait for ever, and send together what nobody waits for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf
from select import POLLIN, poll
from time import monotonic, thread_time
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus, TransactionStatus

_Value = TypeVar("_Value")
Parameters = Sequence[Any] | Mapping[str, Any]
Rows = list[tuple[Any, ...]]

_WAKE_SECONDS = 0.1
#: The server ended a session through our fault if we calculated for that part of the time. A process that was frozen or
#: swapped out has calculated nothing.
_WORKED_SHARE_MIN = 0.1
#: A session that was silent for longer is asked whether it still works: a firewall may have forgotten it.
_TRUSTED_SECONDS = 10.0
#: What the server reports of itself, unasked, whenever it changes.
_READ_ONLY_STATUS = (b"in_hot_standby", b"default_transaction_read_only")


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

    # SQLAlchemy puts these back before it gives a session back to the pool, whatever has become of it. If that fails,
    # the pool counts the session as handed out for ever: after four losses there would be none left for this process.

    def set_autocommit(self, value: bool) -> None:
        """As psycopg does; of a session that has ended there is nothing to set."""
        if not self.closed:
            super().set_autocommit(value)

    def set_isolation_level(self, value: psycopg.IsolationLevel | None) -> None:
        """As psycopg does; of a session that has ended there is nothing to set."""
        if not self.closed:
            super().set_isolation_level(value)

    def set_read_only(self, value: bool | None) -> None:
        """As psycopg does; of a session that has ended there is nothing to set."""
        if not self.closed:
            super().set_read_only(value)

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
