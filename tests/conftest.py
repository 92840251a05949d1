"""Servers and databases for the tests: embedded ones unless LOYALTY_TEST_DATABASE_URL / _BROKER_URL name others."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import NamedTuple

import pytest
import redis
import structlog
from sqlalchemy import Engine, create_engine, make_url, text

from core.store.engine import create_database_engine, normalized_url
from core.store.migrate import upgrade
from core.store.tables import metadata
from workers.embedded import EmbeddedServers, remove_data

for name in [name for name in os.environ if name.startswith("LOYALTY_") and not name.startswith("LOYALTY_TEST_")]:
    # An operator's settings must not reach into the tests, nor the tests into an operator's servers.
    del os.environ[name]


# The default renderer draws tracebacks with all local variables, which takes a second each.
structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.KeyValueRenderer()])


OpenDatabase = Callable[[], AbstractContextManager[str]]


class Servers(NamedTuple):
    """Where the servers of the tests answer."""

    database_url: str
    broker_url: str


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One PostgreSQL and one broker for the whole run."""
    database_url = os.environ.get("LOYALTY_TEST_DATABASE_URL")
    broker_url = os.environ.get("LOYALTY_TEST_BROKER_URL")
    folder = tmp_path_factory.mktemp("servers")
    embedded = EmbeddedServers(folder, postgres=database_url is None, valkey=broker_url is None)
    started = embedded.start()
    yield Servers(database_url or started.database_url or "", broker_url or started.broker_url or "")
    embedded.stop()
    remove_data(folder)  # for root they are not in the folder itself


@pytest.fixture(scope="session")
def template_database(servers: Servers) -> Iterator[str]:
    """A migrated, empty database that others are copied from."""
    name = f"loyalty_template_{uuid.uuid4().hex[:8]}"
    _administrate(servers.database_url, f"CREATE DATABASE {name}")
    engine = create_database_engine(_named(servers.database_url, name))
    upgrade(engine)
    engine.dispose()
    yield name
    _administrate(servers.database_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def open_database(servers: Servers, template_database: str) -> OpenDatabase:
    """Make migrated databases: `with open_database() as url:`."""
    return partial(_database, servers, template_database)


@pytest.fixture(scope="session")
def shared_database_url(open_database: OpenDatabase) -> Iterator[str]:
    """The database of all tests that leave its tables as they are."""
    with open_database() as url:
        yield url


@pytest.fixture(scope="session")
def empty_shared_database(shared_database_url: str) -> Iterator[Callable[[], None]]:
    """End all other sessions of the shared database and delete its rows."""
    # Deleted, since a database per test would cost most of the run: making and dropping one writes it all to disk.
    tables = [table.name for table in reversed(metadata.sorted_tables)]
    identities = [table for table in metadata.sorted_tables if table.primary_key.columns[0].identity is not None]
    end_other_sessions = """
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"""
    deletes = [f"DELETE FROM {name}" for name in tables]
    restarts = [f"ALTER TABLE {t.name} ALTER COLUMN {t.primary_key.columns[0].name} RESTART" for t in identities]
    engine = create_engine(shared_database_url, pool_pre_ping=True)

    def empty() -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("; ".join([end_other_sessions, *deletes, *restarts]))

    yield empty
    engine.dispose()


@pytest.fixture
def database_url(shared_database_url: str, empty_shared_database: Callable[[], None]) -> str:
    """A migrated database without rows or other sessions. Tests that change tables take `own_database_url`."""
    empty_shared_database()
    return shared_database_url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a migrated database without rows."""
    engine = create_database_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def own_database_url(open_database: OpenDatabase) -> Iterator[str]:
    """A migrated database that the test may change as it likes."""
    with open_database() as url:
        yield url


@pytest.fixture
def own_engine(own_database_url: str) -> Iterator[Engine]:
    """An engine on a database that the test may change as it likes."""
    engine = create_database_engine(own_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def empty_database_url(servers: Servers) -> Iterator[str]:
    """A database without tables."""
    with _database(servers, "template0") as url:
        yield url


@contextmanager
def _database(servers: Servers, template: str) -> Iterator[str]:
    name = f"loyalty_test_{uuid.uuid4().hex[:12]}"
    _administrate(servers.database_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _named(servers.database_url, name)
    _administrate(servers.database_url, f"DROP DATABASE {name} WITH (FORCE)")


def _named(url: str, database: str) -> str:
    return make_url(normalized_url(url)).set(database=database).render_as_string(hide_password=False)


def _administrate(url: str, statement: str) -> None:
    engine = create_engine(normalized_url(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def stream_broker_url(servers: Servers) -> str:
    """The Redis or Valkey, emptied."""
    with redis.Redis.from_url(servers.broker_url) as client:
        client.flushdb()
    return servers.broker_url


@pytest.fixture
def rabbitmq_url() -> str:
    """A RabbitMQ, if there is one for the tests."""
    url = os.environ.get("LOYALTY_TEST_RABBITMQ_URL")
    if url is None:
        if os.environ.get("LOYALTY_TEST_REQUIRE_RABBITMQ"):
            pytest.fail("LOYALTY_TEST_RABBITMQ_URL is not set, but RabbitMQ tests are required")
        pytest.skip("no RabbitMQ: set LOYALTY_TEST_RABBITMQ_URL to run this test")
    return url
