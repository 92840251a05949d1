"""What every session of ours asks of the database, and which of them are given up."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, QueuePool, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError

from core.store.engine import _SESSION_SETTINGS, SessionLimits, create_database_engine, driver_connection, run_bulk
from core.store.failures import is_outage
from core.store.sessions import CalculatedTooLongError, ImpatientConnection
from tests.administration import SESSION_SETTINGS, administrate
from tests.faults.network import Mode, Network
from workers.database_address import checked_database_url

POOL_SESSIONS_MAX = 4  #: that an engine has at a time
WRITE = "INSERT INTO posting_attempts (shard, attempts) VALUES (9999, 0) ON CONFLICT DO NOTHING"


@contextmanager
def opened(url: str, *, gives_up: bool = True, **limits: int) -> Iterator[Engine]:
    engine = create_database_engine(url, gives_up=gives_up, limits=SessionLimits(**limits))
    try:
        yield engine
    finally:
        engine.dispose()


def set_on_database(url: str, change: str) -> None:
    administrate(url, "SET default_transaction_read_only = off", f'ALTER DATABASE "{make_url(url).database}" {change}')


def write(engine: Engine) -> None:
    with engine.begin() as connection:
        run_bulk(connection, WRITE)


def in_transaction(engine: Engine) -> AbstractContextManager[Connection]:
    return engine.begin()


def alone(engine: Engine) -> AbstractContextManager[Connection]:
    """As `run_alone` does it."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def reading(engine: Engine) -> AbstractContextManager[Connection]:
    """As core.reading does it."""
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True).begin()


def lose(begun: AbstractContextManager[Connection], other: Engine, *, is_seen_at_once: bool) -> None:
    with begun as connection:
        ((pid,),) = run_bulk(connection, "SELECT pg_backend_pid()")
        with other.begin() as killing:
            run_bulk(killing, "SELECT pg_terminate_backend(%s, 5000)", (pid,))
        if is_seen_at_once:
            driver_connection(connection).close()
        run_bulk(connection, "SELECT 1")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("synchronous_commit", "off"),
        ("timezone", "'America/Lima'"),
        ("datestyle", "'German, DMY'"),
        ("default_transaction_isolation", "serializable"),
        ("jit", "on"),
        ("client_encoding", "LATIN1"),
    ],
)
def test_what_our_statements_rely_on_holds_whatever_the_database_is_set_to(
    own_database_url: str, monkeypatch: pytest.MonkeyPatch, name: str, wrong: str
) -> None:
    for setting, value in SESSION_SETTINGS.items():
        monkeypatch.setitem(_SESSION_SETTINGS, setting, value)  # for this run they are others
    shown = []
    for _ in range(2):
        with opened(own_database_url) as engine, engine.begin() as connection:
            shown.append(connection.execute(text(f"SHOW {name}")).scalar_one())
        set_on_database(own_database_url, f"SET {name} = {wrong}")
    assert shown[0] == shown[1]


def test_options_of_the_address_hold_beside_ours(own_database_url: str) -> None:
    url = make_url(own_database_url).update_query_dict({"options": "-c search_path=loyalty"})
    with opened(url.render_as_string(hide_password=False)) as engine, engine.begin() as connection:
        assert connection.execute(text("SHOW search_path")).scalar_one() == "loyalty"
        assert connection.execute(text("SHOW timezone")).scalar_one() == "UTC"


def test_an_address_may_name_several_servers(database_url: str) -> None:
    url = make_url(database_url)
    places = ("127.0.0.1:1", f"{url.host}:{url.port}")  # nobody listens at the first
    several = url.set(host=None, port=None).update_query_dict({"host": places})
    with opened(checked_database_url(several.render_as_string(hide_password=False))) as engine:
        write(engine)


class TestReadOnly:
    def test_a_database_is_an_outage_and_roles_go_on_when_it_is_over(self, own_database_url: str) -> None:
        set_on_database(own_database_url, "SET default_transaction_read_only = on")
        with opened(own_database_url) as engine:
            for _ in range(2):
                with pytest.raises(OperationalError, match="session is read-only") as refused:
                    write(engine)
                assert is_outage(refused.value)
            set_on_database(own_database_url, "RESET default_transaction_read_only")
            write(engine)

    def test_sessions_are_not_kept_by_commands_either(self, own_database_url: str) -> None:
        set_on_database(own_database_url, "SET default_transaction_read_only = on")
        with opened(own_database_url, gives_up=False) as engine:
            with engine.begin() as connection:
                assert run_bulk(connection, "SELECT 1") == [(1,)], "reading is for everybody"
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as refused:
                write(engine)
            assert is_outage(refused.value)
            set_on_database(own_database_url, "RESET default_transaction_read_only")
            write(engine)

    def test_sessions_that_became_so_are_given_up_before_they_are_used(self, database_url: str) -> None:
        with opened(database_url) as engine:
            with engine.begin() as connection:
                ((before,),) = run_bulk(connection, "SELECT pg_backend_pid()")
                run_bulk(connection, "SET default_transaction_read_only = on")
            with engine.connect() as connection:
                assert run_bulk(connection, "SELECT pg_backend_pid()") != [(before,)]
                assert run_bulk(connection, "SHOW transaction_read_only") == [("off",)]


class TestEndedSessions:
    """A session is handed out only if it works: nothing fails because the database was restarted meanwhile."""

    def test_one_that_the_server_has_ended_is_replaced_unasked(self, database_url: str) -> None:
        with opened(database_url) as engine, opened(database_url) as other:
            before = backend_pid(engine)
            with other.begin() as connection:
                run_bulk(connection, "SELECT pg_terminate_backend(%s, 5000)", (before,))
            assert backend_pid(engine) != before

    def test_all_that_a_restart_has_ended_are_replaced(self, database_url: str) -> None:
        with opened(database_url) as engine, opened(database_url) as other:
            with engine.connect() as one, engine.connect() as two:
                pids = [run_bulk(each, "SELECT pg_backend_pid()")[0][0] for each in (one, two)]
            with other.begin() as connection:
                run_bulk(connection, "SELECT pg_terminate_backend(p, 5000) FROM unnest(%b::integer[]) p", (pids,))
            with engine.connect() as one, engine.connect() as two:
                assert not {run_bulk(each, "SELECT pg_backend_pid()")[0][0] for each in (one, two)} & {*pids}

    @pytest.mark.parametrize("is_seen_at_once", [False, True], ids=["by the server", "and closed"])
    @pytest.mark.parametrize("begin", [in_transaction, alone, reading], ids=lambda each: each.__name__)
    def test_one_that_is_lost_while_it_is_used_keeps_no_place_of_the_pool(
        self, database_url: str, begin: Callable[[Engine], AbstractContextManager[Connection]], is_seen_at_once: bool
    ) -> None:
        with opened(database_url) as engine, opened(database_url) as other:
            for _ in range(2 * POOL_SESSIONS_MAX):
                with pytest.raises((psycopg.Error, DBAPIError)):
                    lose(begin(engine), other, is_seen_at_once=is_seen_at_once)
            pool = engine.pool
            assert isinstance(pool, QueuePool)
            assert pool.checkedout() == 0
            with begin(engine) as connection:
                assert run_bulk(connection, "SELECT 1") == [(1,)]

    def test_one_that_works_is_kept_and_is_not_asked(self, database_url: str) -> None:
        with opened(database_url) as engine:
            before = backend_pid(engine)
            with engine.connect() as connection:
                assert driver_connection(connection).info.transaction_status is TransactionStatus.IDLE
            assert backend_pid(engine) == before

    @pytest.mark.parametrize(("silent_seconds", "is_replaced"), [(11, True), (1, False)], ids=["long", "a moment"])
    def test_one_that_was_forgotten_on_the_way_is_found_out_after_a_long_silence(
        self, database_url: str, silent_seconds: float, is_replaced: bool
    ) -> None:
        with Network() as network:
            proxy = network.open_proxy(make_url(database_url).port or 5432)
            far = make_url(database_url).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
            with opened(far) as engine:
                with engine.connect() as connection:
                    session = driver_connection(connection)
                    assert isinstance(session, ImpatientConnection)
                    run_bulk(connection, "SELECT 1")
                session.answer_seconds_max = 0.3
                session.answered_at -= silent_seconds
                proxy.set_mode(Mode.SWALLOW)
                assert session.is_alive() is not is_replaced
                proxy.set_mode(Mode.PASS)
                if is_replaced:
                    write(engine)


def backend_pid(engine: Engine) -> int:
    with engine.begin() as connection:
        ((pid,),) = run_bulk(connection, "SELECT pg_backend_pid()")
    return int(pid)


def test_intake_and_posting_plan_a_statement_once(database_url: str) -> None:
    engine = create_database_engine(database_url, plans_once=True)
    with engine.begin() as connection:
        assert run_bulk(connection, "SHOW plan_cache_mode") == [("force_generic_plan",)]
    engine.dispose()


def calculate(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(1000))


@pytest.mark.parametrize(
    ("busy_with", "error", "is_ours"),
    [(calculate, CalculatedTooLongError, True), (time.sleep, psycopg.errors.IdleInTransactionSessionTimeout, False)],
    ids=["calculating", "stopped"],
)
def test_a_session_that_idled_too_long_is_our_fault_only_if_we_were_at_work(
    database_url: str, busy_with: Callable[[float], None], error: type[Exception], is_ours: bool
) -> None:
    with opened(database_url, idle_seconds_max=1) as engine:

        def work() -> None:
            with engine.begin() as connection:
                run_bulk(connection, "SELECT 1")
                busy_with(1.3)
                run_bulk(connection, "SELECT 1")

        with pytest.raises(error) as ended:
            work()
        assert is_outage(ended.value) is not is_ours
        write(engine)
