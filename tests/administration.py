"""Making and dropping databases, as a role that is no superuser."""

from sqlalchemy import create_engine, text

from core.store.engine import _SESSION_SETTINGS, normalized_url

SESSION_SETTINGS = dict(_SESSION_SETTINGS)  #: as the product has them, before the tests change them for themselves


def administrate(server_url: str, *statements: str) -> None:
    """Execute statements, each in a transaction of its own."""
    engine = create_engine(normalized_url(server_url), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def drop_database(server_url: str, name: str) -> None:
    """Drop a database, also one with sessions that a test has left open; one that does not exist is fine."""
    # Not WITH (FORCE), which fails on an autovacuum worker that happens to be there: it is not ours to end. Without it
    # the server ends autovacuum by itself.
    end_sessions = f"""
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = '{name}' AND usename = current_user"""
    administrate(server_url, end_sessions, f"DROP DATABASE IF EXISTS {name}")
