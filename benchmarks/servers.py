"""Where the benchmarks measure: embedded servers unless others are named, and databases made for one measurement."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis
from kombu import Connection as BrokerConnection
from kombu import Queue
from sqlalchemy import Engine, create_engine, make_url, text

from core.domain.program import Program
from core.store.engine import create_database_engine, normalized_url
from core.store.migrate import upgrade
from core.store.programs import append_version
from workers.embedded import EmbeddedServers, remove_data

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".loyalty-bench"
PROGRAM_FILE = ROOT / "config" / "programs" / "online-retail.yaml"

# Not WITH (FORCE), which fails on an autovacuum worker that is at work there: only a superuser may end it.
_END_SESSIONS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name AND usename = current_user
"""


@contextmanager
def running_servers(
    database_url: str | None, broker_url: str | None, *, folder: Path = FOLDER
) -> Iterator[tuple[str, str]]:
    """Start what is not named (None), in a folder emptied for it; the URLs of the database server and the broker."""
    if database_url and broker_url:
        yield database_url, broker_url
        return
    remove_data(folder)
    with EmbeddedServers(folder, postgres=database_url is None, valkey=broker_url is None) as started:
        yield database_url or started.database_url or "", broker_url or started.broker_url or ""


@contextmanager
def database_server(database_url: str | None) -> Iterator[str]:
    """Start a database server unless one is named; its URL."""
    with running_servers(database_url, "no broker is needed") as (url, _):
        yield url


@contextmanager
def fresh_database(
    server_url: str, name: str, program: Program | None = None, *, has_tables: bool = True
) -> Iterator[Engine]:
    """A database with our tables, or none, and at most a program in it, dropped at the end."""
    admin = create_engine(normalized_url(server_url), isolation_level="AUTOCOMMIT")
    drop = f"DROP DATABASE IF EXISTS {name}"
    with admin.connect() as connection:
        connection.execute(text(_END_SESSIONS), {"name": name})
        connection.execute(text(drop))
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = make_url(normalized_url(server_url)).set(database=name).render_as_string(hide_password=False)
    engine = create_database_engine(url)
    try:
        if has_tables:
            upgrade(engine)
        if program is not None:
            with engine.begin() as connection:
                append_version(connection, program, "", None)
        yield engine
    finally:
        engine.dispose()
        with admin.connect() as connection:
            connection.execute(text(_END_SESSIONS), {"name": name})
            connection.execute(text(drop))
        admin.dispose()


def empty_broker(broker_url: str) -> None:
    """Take away what waits there of earlier measurements."""
    if broker_url.startswith("redis"):
        client = redis.Redis.from_url(broker_url)
        client.flushdb()
        client.close()
        return
    with BrokerConnection(broker_url) as connection:
        for queue in ("loyalty.intake", "loyalty.posting", "loyalty.relay", "loyalty.periodic", "loyalty.submit"):
            with suppress(Exception):
                Queue(queue).bind(connection.default_channel).purge()
