"""A database whose clock a test sets: the product's own statements write, judge and expire by it.

PostgreSQL finds functions by the search path, on which its own stand first unless it says otherwise. Here those of the
test stand before them, so that `now()` of statements and of columns' defaults is the instant that was set last.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import Engine, make_url, text

from core.store.engine import create_database_engine, normalized_url
from core.store.migrate import upgrade
from tests.administration import administrate, drop_database

_CLOCK = """
CREATE SCHEMA set_clock;
CREATE TABLE set_clock.instants AS SELECT '-infinity'::timestamptz AS instant;
CREATE FUNCTION now() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT instant FROM set_clock.instants';
CREATE FUNCTION clock_timestamp() RETURNS timestamptz STABLE LANGUAGE sql AS 'SELECT instant FROM set_clock.instants'
"""


@contextmanager
def open_with_set_clock(server_url: str, instant: datetime) -> Iterator["SetClock"]:
    """Make a migrated database of one's own, whose clock stands at this instant; it is dropped at the end."""
    name = f"loyalty_set_clock_{uuid.uuid4().hex[:12]}"
    administrate(server_url, f"CREATE DATABASE {name}")
    try:
        administrate(server_url, f"ALTER DATABASE {name} SET search_path = public, pg_catalog")
        url = make_url(normalized_url(server_url)).set(database=name).render_as_string(hide_password=False)
        clock = SetClock(create_database_engine(url), instant)
        upgrade(clock.engine)
        yield clock
        clock.engine.dispose()
    finally:
        drop_database(server_url, name)


class SetClock:
    """The clock of one database, which must be empty."""

    def __init__(self, engine: Engine, instant: datetime) -> None:
        self.engine = engine
        self.instant = instant
        with engine.begin() as connection:
            for statement in _CLOCK.split(";\n"):
                connection.execute(text(statement))
        self.set(instant)

    def set(self, instant: datetime) -> None:
        """Let it be this instant, which may not be earlier than the one before."""
        assert instant >= self.instant
        self.instant = instant
        with self.engine.begin() as connection:
            connection.execute(text("UPDATE set_clock.instants SET instant = :instant"), {"instant": instant})

    def go_on(self, minutes: float = 7) -> datetime:
        """Let so many minutes pass. Returns what time it is then."""
        self.set(self.instant + timedelta(minutes=minutes))
        return self.instant
