"""Database engines, and the two ways to reach psycopg where SQLAlchemy has no words for it (COPY, arrays)."""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine

_SESSION_SETTINGS = {
    # A lost client must not hold locks for ever; posting and relay transactions last well under a second.
    "idle_in_transaction_session_timeout": "60s",
    "lock_timeout": "10s",
    "synchronous_commit": "on",
    "timezone": "UTC",
}


def create_database_engine(
    database_url: str, *, statement_timeout_seconds: int = 60, pool_size: int = 2, application_name: str = "loyalty"
) -> Engine:
    """Build an engine. Nothing is opened until first use: it may be built before a fork, but not used across one."""
    settings = {**_SESSION_SETTINGS, "statement_timeout": f"{statement_timeout_seconds}s"}
    return create_engine(
        normalized_url(database_url),
        pool_size=pool_size,
        max_overflow=2,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 3,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "application_name": application_name,
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        },
    )


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


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Append `rows` with COPY, in the transaction of `connection`.

    Table and column names are ours, never input. COPY runs every constraint, but knows no ON CONFLICT.
    """
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    with driver_connection(connection).cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in rows:
            copy.write_row(row)


def run_bulk(connection: Connection, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one set-based statement with `%s`/`%b` parameters (lists become arrays); return its rows, if it has any."""
    with driver_connection(connection).cursor() as cursor:
        cursor.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []
