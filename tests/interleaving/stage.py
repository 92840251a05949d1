"""The stage: one real database, and for each actor an engine whose sessions pause where its process could end."""

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from sqlalchemy import Engine, event, make_url, text

from core.messages.program_files.program_file import parse_program
from core.store.engine import create_database_engine, driver_connection, normalized_url
from core.store.migrate import upgrade
from core.store.programs import append_version
from core.store.sessions import ImpatientConnection
from core.store.tables import metadata
from tests.administration import administrate, drop_database
from tests.interleaving.histories import PROGRAMS
from tests.interleaving.scheduler import Actor, Died, Fault
from workers.embedded import EmbeddedServers, remove_data

_KEPT = {"programs", "schema_support", "numbers"}
# A refund takes any message of its order that is found. So that the same one is found each time, these tables are made
# anew, and no autovacuum comes between; for all tables that would take most of the time.
_TRUNCATED = ("inbox", "dead_letter_actions", "orders", "refunds", "order_events", "order_payments")
_GONE = "server closed the connection unexpectedly"
_BOUNDARY = (Fault.DEATH, Fault.LOSS)


class Seat:
    """Whose engine it is at present; nobody's before and after a simulation."""

    actor: Actor | None = None


class ActorCursor(psycopg.Cursor[Any]):
    """Pauses before statements; a cancelled one of a deadlock's victim looks as the database would have it."""

    def execute(self, *arguments: Any, **options: Any) -> Any:
        with self._speaking():
            return super().execute(*arguments, **options)

    @contextmanager
    def copy(self, *arguments: Any, **options: Any) -> Iterator[psycopg.Copy]:
        with self._speaking(), super().copy(*arguments, **options) as copy:
            yield copy

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        session = self.connection
        assert isinstance(session, ActorConnection)
        actor = session.seat.actor
        if actor is not None and session.autocommit:
            with session.alone(actor):
                yield
            return
        if actor is None or not session.is_in_transaction:
            yield
            return
        if actor.pause_at_statement() is Fault.LOSS:
            session.lose()
        actor.speak_to(session.info.backend_pid)
        try:
            yield
        except psycopg.errors.QueryCanceled as error:
            if not actor.is_victim:
                raise
            actor.is_victim = False
            raise psycopg.errors.DeadlockDetected("deadlock detected") from error


class ActorConnection(ImpatientConnection):
    """A session that can end before and after each of its commits."""

    seat: Seat
    is_in_transaction = False
    sends_ahead = False  # others come between any two statements

    def begin(self) -> None:
        """A transaction of the actor is about to begin."""
        if self.seat.actor is not None:
            self.seat.actor.pause_at_boundary("begin", Fault.DEATH)
            self.is_in_transaction = True

    @contextmanager
    def alone(self, actor: Actor) -> Iterator[None]:
        """The actor runs a statement that is a transaction by itself."""
        if actor.pause_at_boundary("before what is one statement", *_BOUNDARY) is Fault.LOSS:
            self.lose()
        actor.speak_to(self.info.backend_pid)
        yield
        actor.tell_locks_freed()
        if actor.pause_at_boundary("after what is one statement", *_BOUNDARY) is Fault.LOSS:
            self.lose()

    def commit(self) -> None:
        actor = self.seat.actor
        if actor is None or not self.is_in_transaction:
            super().commit()
            return
        try:
            fault = actor.pause_at_boundary("before COMMIT", *_BOUNDARY)
        except Died:
            self.rollback()
            raise
        if fault is Fault.LOSS:
            self.lose()
        actor.speak_to(self.info.backend_pid)
        super().commit()
        self.is_in_transaction = False
        actor.tell_locks_freed()
        if actor.pause_at_boundary("after COMMIT", *_BOUNDARY) is Fault.LOSS:
            self.lose()

    def rollback(self) -> None:
        super().rollback()
        self.is_in_transaction = False
        if self.seat.actor is not None:
            self.seat.actor.tell_locks_freed()

    def close(self) -> None:
        # By a statement, since the server notices a closed socket at a time of its own.
        if not self.closed and self.is_in_transaction:
            self.rollback()
        super().close()

    def lose(self) -> None:
        """Lose the connection: what was not committed is undone, and the caller learns of it by an error."""
        self.close()
        raise psycopg.OperationalError(_GONE)


class Stage:
    """Kept from one simulation to the next, since connecting and migrating would take most of the time."""

    def __init__(self, database_url: str) -> None:
        """Take a migrated database that nobody else uses, and put the programs in force."""
        self._url = database_url
        self._seats: dict[str, tuple[Seat, Engine]] = {}
        self.engine = create_database_engine(database_url)  #: that never pauses
        self._own = psycopg.connect(_driver_url(database_url), autocommit=True, options="-c synchronous_commit=off")
        deleted = [t.name for t in reversed(metadata.sorted_tables) if t.name not in {*_KEPT, *_TRUNCATED}]
        self._empty = "; ".join(
            [
                f"TRUNCATE {', '.join(_TRUNCATED)} RESTART IDENTITY",
                *(f"DELETE FROM {name}" for name in deleted),
                "UPDATE numbers SET next_number = 1",
            ]
        )
        for name in _TRUNCATED:
            self._own.execute(f"ALTER TABLE {name} SET (autovacuum_enabled = false)".encode())
        with self.engine.begin() as connection:
            for program_text in PROGRAMS:
                append_version(connection, parse_program(program_text, path="simulation.yaml"), program_text, None)

    def empty(self) -> None:
        """Delete everything but the programs."""
        self._own.execute(self._empty.encode())

    def engine_of(self, actor: Actor) -> Engine:
        """The engine of this actor, built as the product builds it."""
        if actor.name not in self._seats:
            self._seats[actor.name] = self._open_engine()
        seat, engine = self._seats[actor.name]
        seat.actor = actor
        return engine

    def leave(self) -> None:
        """End the simulation: no engine pauses any more."""
        for seat, _ in self._seats.values():
            seat.actor = None

    def rows(self, statement: str) -> list[dict[str, Any]]:
        """What a SELECT finds."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(statement)).mappings()]

    def bodies(self) -> dict[int, Any]:
        """The stored messages by their number, as JSON where they are JSON."""
        return {row["inbox_id"]: _json(bytes(row["body"])) for row in self.rows("SELECT inbox_id, body FROM inbox")}

    def blockers(self, backend_pids: Sequence[int]) -> dict[int, list[int]]:
        """See `Locks.blockers`."""
        statement = b"SELECT pid, pg_blocking_pids(pid) FROM unnest(%s::integer[]) AS pid"
        return dict(self._own.execute(statement, (list(backend_pids),)).fetchall())

    def cancel(self, backend_pid: int) -> None:
        """See `Locks.cancel`."""
        self._own.execute("SELECT pg_cancel_backend(%s)", (backend_pid,))

    def close(self) -> None:
        """Let go of the database."""
        for _, engine in self._seats.values():
            engine.dispose()
        self.engine.dispose()
        self._own.close()

    def _open_engine(self) -> tuple[Seat, Engine]:
        seat = Seat()

        def open_session(*arguments: Any, **options: Any) -> ActorConnection:
            # Crashes of the server are not simulated here, and a flush to disk per commit would be most of the time.
            options["options"] += " -c synchronous_commit=off"
            session = ActorConnection.connect(*arguments, **options, cursor_factory=ActorCursor)
            session.seat = seat
            return session

        engine = create_database_engine(self._url, open_session=open_session)

        @event.listens_for(engine, "begin")
        def begin(connection: Any) -> None:
            session = driver_connection(connection)
            assert isinstance(session, ActorConnection)
            session.begin()

        with engine.connect():
            pass  # what SQLAlchemy asks at its first connect is no part of an actor's life
        return seat, engine


@contextmanager
def open_server(server_url: str | None) -> Iterator[str]:
    """A PostgreSQL to make databases on: the given one, or an embedded one of our own."""
    if server_url is not None:
        yield server_url
        return
    with TemporaryDirectory(prefix="loyalty-simulation-") as folder:
        servers = EmbeddedServers(Path(folder), valkey=False)
        try:
            yield servers.start().database_url or ""
        finally:
            servers.stop()
            remove_data(Path(folder))


@contextmanager
def open_database(server_url: str) -> Iterator[str]:
    """A migrated database of our own, which is dropped afterwards."""
    name = f"loyalty_simulation_{uuid.uuid4().hex[:12]}"
    administrate(server_url, f"CREATE DATABASE {name}")
    try:
        url = make_url(normalized_url(server_url)).set(database=name).render_as_string(hide_password=False)
        engine = create_database_engine(url)
        upgrade(engine)
        engine.dispose()
        yield url
    finally:
        drop_database(server_url, name)


def _driver_url(database_url: str) -> str:
    return make_url(normalized_url(database_url)).set(drivername="postgresql").render_as_string(hide_password=False)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body
