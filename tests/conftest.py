"""Servers and databases for the tests: embedded ones unless LOYALTY_TEST_DATABASE_URL / _BROKER_URL name others.

How many examples the property tests try: few by default; HYPOTHESIS_PROFILE=ci tries many, =long even more.

`make test` runs in two processes, each with embedded servers and databases of its own. How the tests are divided among
them: see `ByFile`.
"""

import fcntl
import os
import signal
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
import structlog
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, create_engine, make_url
from xdist.scheduler import LoadScopeScheduling

from core.store.engine import _SESSION_SETTINGS, create_database_engine, normalized_url
from core.store.migrate import upgrade
from core.store.tables import metadata, numbers, schema_support
from core.upkeep import snapshots
from tests.administration import administrate, drop_database
from workers.child_processes import read_pid
from workers.embedded import EmbeddedServers, remove_data
from workers.servers.folder import Passwords
from workers.servers.postgres import _FIXED_SETTINGS, SUPERUSER, Postgres

for name in [name for name in os.environ if name.startswith("LOYALTY_") and not name.startswith("LOYALTY_TEST_")]:
    # An operator's settings must not reach into the tests, nor the tests into an operator's servers.
    del os.environ[name]

# A flush to disk for each commit would be a large part of the run. The processes that tests start flush as ever, to
# servers of their own.
_SESSION_SETTINGS["synchronous_commit"] = "off"
# They compile each module once, whatever this process was told.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No deadline: how long an example takes says something about the machine, nothing about the code.
settings.register_profile("quick", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples each time: a rare one is to be found by the long profile, not by somebody else's change.
settings.register_profile("ci", parent=settings.get_profile("quick"), max_examples=300, derandomize=True)
settings.register_profile("long", parent=settings.get_profile("quick"), max_examples=4_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

# The default renderer draws tracebacks with all local variables, which takes a second each.
structlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.KeyValueRenderer()])


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Begin with the slow files when there are several processes: the last one would run alone."""
    unnamed = [item.nodeid for item in items if item.get_closest_marker("rabbitmq") and "rabbitmq" not in item.nodeid]
    if unnamed:
        raise pytest.UsageError(f"tests that use the RabbitMQ must have `rabbitmq` in their ids: {unnamed}")
    yield
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)  # keeps the random order otherwise


class ByFile(LoadScopeScheduling):
    """Deals whole files to the processes, whose fixtures are then set up once, and all tests of the RabbitMQ to one."""

    def _split_scope(self, nodeid: str) -> str:
        # Its queues have fixed names: two tests at once would take each other's messages. Only the id is known here.
        return "rabbitmq" if "rabbitmq" in nodeid else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


OpenDatabase = Callable[[], AbstractContextManager[str]]
OpenBroker = Callable[[], AbstractContextManager[str]]


class Servers(NamedTuple):
    """Where the servers of the tests answer."""

    database_url: str
    broker_url: str
    superuser_url: str  #: of PostgreSQL; where the tests were given a server, as they were given it


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One PostgreSQL and one broker for the whole run."""
    database_url = os.environ.get("LOYALTY_TEST_DATABASE_URL")
    broker_url = os.environ.get("LOYALTY_TEST_BROKER_URL")
    folder = tmp_path_factory.mktemp("servers")
    embedded = EmbeddedServers(folder, postgres=database_url is None, valkey=broker_url is None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_FIXED_SETTINGS, "fsync", "off")  # what is lost with the machine is of no use
        started = embedded.start()
    url = make_url(database_url or started.database_url or "")
    superuser = url if database_url else url.set(username=SUPERUSER, password=Passwords.load_or_make(folder).superuser)
    yield Servers(
        database_url or started.database_url or "",
        broker_url or started.broker_url or "",
        superuser.render_as_string(hide_password=False),
    )
    postmaster = read_pid(folder / Postgres.home_name / Postgres.working_folder_name / Postgres.pid_file)
    if postmaster is not None:
        os.kill(postmaster, signal.SIGQUIT)  # at once, or it would first write to disk what the tests have left
    embedded.stop()
    remove_data(folder)  # for root they are not in the folder itself


@pytest.fixture(scope="session")
def template_database(servers: Servers) -> Iterator[str]:
    """A migrated, empty database that others are copied from."""
    name = f"loyalty_template_{uuid.uuid4().hex[:8]}"
    administrate(servers.database_url, f"CREATE DATABASE {name}")
    engine = create_database_engine(_named(servers.database_url, name))
    upgrade(engine)
    engine.dispose()
    yield name
    drop_database(servers.database_url, name)


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
    kept = (numbers, schema_support)
    tables = [table.name for table in reversed(metadata.sorted_tables) if table not in kept]
    identities = [table for table in metadata.sorted_tables if table.primary_key.columns[0].identity is not None]
    end_other_sessions = """
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"""
    deletes = [f"DELETE FROM {name}" for name in tables]
    restarts = [f"ALTER TABLE {t.name} ALTER COLUMN {t.primary_key.columns[0].name} RESTART" for t in identities]
    engine = create_engine(shared_database_url, pool_pre_ping=True)

    def empty() -> None:
        with engine.begin() as connection:
            begin_at_one = "UPDATE numbers SET next_number = 1"
            connection.exec_driver_sql("; ".join([end_other_sessions, *deletes, *restarts, begin_at_one]))

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
def months_settle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a month that tests count on would not be kept yet in the first minutes of the next one."""
    monkeypatch.setattr(snapshots, "SETTLED", timedelta(0))


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
    administrate(servers.database_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield _named(servers.database_url, name)
    drop_database(servers.database_url, name)


def _named(url: str, database: str) -> str:
    return make_url(normalized_url(url)).set(database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def open_stream_broker(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> OpenBroker:
    """Have the Redis or Valkey to oneself, emptied: `with open_stream_broker() as url:`."""
    folder = tmp_path_factory.getbasetemp()
    if "LOYALTY_TEST_BROKER_URL" in os.environ and "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all processes of this run, which share the broker
    return partial(_stream_broker, servers.broker_url, folder / "stream-broker.lock")


@pytest.fixture
def stream_broker_url(open_stream_broker: OpenBroker) -> Iterator[str]:
    """The Redis or Valkey, emptied."""
    with open_stream_broker() as url:
        yield url


@contextmanager
def _stream_broker(url: str, lock_path: Path) -> Iterator[str]:
    with lock_path.open("w") as lock, redis.Redis.from_url(url) as client:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client.flushdb()
        yield url


@pytest.fixture
def rabbitmq_url() -> str:
    """A RabbitMQ, if there is one for the tests."""
    url = os.environ.get("LOYALTY_TEST_RABBITMQ_URL")
    if url is None:
        if os.environ.get("LOYALTY_TEST_REQUIRE_RABBITMQ"):
            pytest.fail("LOYALTY_TEST_RABBITMQ_URL is not set, but RabbitMQ tests are required")
        pytest.skip("no RabbitMQ: set LOYALTY_TEST_RABBITMQ_URL to run this test")
    return url
