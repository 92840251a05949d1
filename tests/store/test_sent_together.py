"""Statements that wait for no answer are sent with the next one that does, and mean what they mean one by one."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from core.store.engine import (
    Asked,
    SessionLimits,
    create_database_engine,
    driver_connection,
    run_bulk,
    run_later,
    sent_together,
)
from core.store.sessions import ImpatientConnection

ADD = "INSERT INTO posting_attempts (shard, attempts) VALUES (%s, %s)"
FOUND = "SELECT shard, attempts FROM posting_attempts WHERE shard >= 900 ORDER BY shard"
COPY = b"COPY posting_attempts (shard, attempts) FROM STDIN"
#: A shard that is there already, and one that is no number of a shard.
WRONG = {psycopg.errors.UniqueViolation: (901, 0), psycopg.errors.NumericValueOutOfRange: (10**6, 0)}


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    engine = create_database_engine(database_url, gives_up=True, limits=SessionLimits(idle_seconds_max=1))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def session_of(connection: Connection) -> ImpatientConnection:
    session = driver_connection(connection)
    assert isinstance(session, ImpatientConnection)
    return session


def send(connection: Connection, *statements: tuple[str, tuple[Any, ...]]) -> None:
    with sent_together(connection):
        for statement in statements:
            run_later(connection, *statement)


def test_nothing_is_sent_before_an_answer_is_wanted(connection: Connection) -> None:
    with sent_together(connection):
        run_later(connection, ADD, (901, 1))
        assert session_of(connection).info.transaction_status is psycopg.pq.TransactionStatus.IDLE
        assert run_bulk(connection, FOUND) == [(901, 1)]


def test_outside_it_is_sent_at_once(connection: Connection) -> None:
    run_later(connection, ADD, (901, 1))
    assert session_of(connection).info.transaction_status is psycopg.pq.TransactionStatus.INTRANS
    assert run_bulk(connection, FOUND) == [(901, 1)]


def test_all_that_is_left_is_sent_at_the_end(connection: Connection) -> None:
    with sent_together(connection):
        run_later(connection, ADD, (901, 1))
        run_later(connection, ADD, (902, 2))
    session_of(connection).commit()
    assert run_bulk(connection, FOUND) == [(901, 1), (902, 2)]
    run_bulk(connection, "DELETE FROM posting_attempts WHERE shard >= 900")
    session_of(connection).commit()


@pytest.mark.parametrize("way", ["a statement of SQLAlchemy", "a COPY", "a cursor on the server"])
def test_what_is_kept_comes_before_whatever_is_run_another_way(connection: Connection, way: str) -> None:
    with sent_together(connection):
        run_later(connection, ADD, (901, 1))
        match way:
            case "a statement of SQLAlchemy":
                found = [tuple(row) for row in connection.execute(text(FOUND))]
            case "a COPY":
                with session_of(connection).cursor() as cursor, cursor.copy(COPY) as copy:
                    copy.write_row((902, 2))
                found = run_bulk(connection, FOUND)[:1]
            case _:
                with closing(session_of(connection).cursor("rows")) as cursor:
                    found = cursor.execute(FOUND.encode()).fetchall()
    assert found == [(901, 1)]


@pytest.mark.parametrize("error", WRONG)
@pytest.mark.parametrize("place", ["first", "in the middle", "last"])
def test_an_error_is_that_of_the_first_statement_that_fails(
    connection: Connection, error: type[psycopg.Error], place: str
) -> None:
    before, after = {"first": (0, 2), "in the middle": (1, 1), "last": (2, 0)}[place]
    good = [(ADD, (910 + number, 0)) for number in range(before)]
    worse = [("SELECT 1 / 0", ()), (ADD, (920, 0))] * after
    run_bulk(connection, ADD, (901, 1))
    session_of(connection).commit()
    try:
        with pytest.raises(error):
            send(connection, *good, (ADD, WRONG[error]), *worse)
        session_of(connection).rollback()
        assert run_bulk(connection, FOUND) == [(901, 1)]
    finally:
        session_of(connection).rollback()
        run_bulk(connection, "DELETE FROM posting_attempts WHERE shard >= 900")
        session_of(connection).commit()


def test_after_an_error_the_same_statements_can_be_run_again(connection: Connection) -> None:
    for shard in (901, 902, 901):
        with pytest.raises(psycopg.errors.UniqueViolation):
            send(connection, (ADD, (shard, 1)), (ADD, (shard, 1)), (FOUND, ()))
        session_of(connection).rollback()
    with sent_together(connection):
        run_later(connection, ADD, (901, 1))
        assert run_bulk(connection, FOUND) == [(901, 1)]


def test_a_value_that_cannot_be_sent_fails_as_it_does_alone(connection: Connection) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        send(connection, (ADD, (901, 1)), (ADD, (902, object())))
    session_of(connection).rollback()
    assert run_bulk(connection, FOUND) == []


def test_a_rollback_forgets_what_was_kept(connection: Connection) -> None:
    with sent_together(connection):
        run_later(connection, ADD, (901, 1))
        session_of(connection).rollback()
        assert run_bulk(connection, FOUND) == []


def test_work_that_fails_sends_nothing_more(connection: Connection) -> None:
    def work() -> None:
        with sent_together(connection):
            run_later(connection, ADD, (901, 1))
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        work()
    assert run_bulk(connection, FOUND) == []


def test_what_there_is_nothing_to_ask_for_needs_no_database() -> None:
    assert Asked(len).found == 0


@pytest.mark.parametrize("statements", [2, 40])
def test_a_silent_transaction_is_ended_also_behind_what_was_sent_together(
    connection: Connection, statements: int
) -> None:
    with sent_together(connection):
        for shard in range(statements):
            run_later(connection, ADD, (900 + shard, 1))
        assert len(run_bulk(connection, FOUND)) == statements
        time.sleep(1.4)
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            run_bulk(connection, "SELECT 1")


def test_a_session_that_was_ended_with_statements_kept_says_so(engine: Engine) -> None:
    def work() -> None:
        with engine.begin() as connection, sent_together(connection):
            pid = run_bulk(connection, "SELECT pg_backend_pid()")[0][0]
            run_later(connection, ADD, (901, 1))
            with engine.begin() as other:
                run_bulk(other, "SELECT pg_terminate_backend(%s, 5000)", (pid,))
            run_later(connection, ADD, (902, 1))

    with pytest.raises(psycopg.OperationalError):
        work()
    with engine.begin() as connection:
        assert run_bulk(connection, FOUND) == []
