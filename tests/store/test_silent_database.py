"""A connection that something in between has forgotten: what is sent is taken, and nothing ever comes back."""

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from core.store.engine import SessionLimits, create_database_engine, driver_connection
from core.store.sessions import DatabaseSilentError, ImpatientConnection
from tests.faults.network import Mode, Network


def test_a_silent_database_is_given_up_and_the_next_connection_works(engine: Engine) -> None:
    with Network() as network:
        proxy = network.open_proxy(engine.url.port or 5432)
        url = engine.url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        far = create_database_engine(url)
        with far.connect() as connection:
            session = driver_connection(connection)
            assert isinstance(session, ImpatientConnection)
            session.answer_seconds_max = 60
            connection.execute(text("SELECT pg_sleep(0.1)"))
            session.answer_seconds_max = 0.3
            proxy.set_mode(Mode.SWALLOW)
            with pytest.raises(OperationalError, match=r"silent for 0\.3 s") as silent:
                connection.execute(text("SELECT 1"))
            assert isinstance(silent.value.orig, DatabaseSilentError)
            assert session.closed
            proxy.set_mode(Mode.PASS)
        with far.connect() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
        far.dispose()


def test_the_database_is_waited_for_a_little_longer_than_it_lets_a_statement_take(engine: Engine) -> None:
    near = create_database_engine(
        engine.url.render_as_string(hide_password=False), limits=SessionLimits(statement_seconds_max=7), gives_up=True
    )
    with near.connect() as connection:
        session = driver_connection(connection)
        assert isinstance(session, ImpatientConnection)
        assert session.answer_seconds_max == 12
    near.dispose()
