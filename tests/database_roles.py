"""Database roles for the tests, each with a name and a password of its own."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import create_engine, make_url, text


class DatabaseRole(NamedTuple):
    """A role that may log in and nothing else yet."""

    name: str
    url: str


@contextmanager
def database_role(database_url: str, prefix: str) -> Iterator[DatabaseRole]:
    """Make a role on the server of `database_url`, the owner's; drop it with all that it was given in that database."""
    name, password = prefix + uuid.uuid4().hex[:8], uuid.uuid4().hex
    quoted = '"' + name.replace('"', '""') + '"'
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")

    def execute(statement: str) -> Any:
        with engine.connect() as connection:
            connection.execute(text(statement))

    execute(f"CREATE ROLE {quoted} LOGIN PASSWORD '{password}'")
    try:
        url = make_url(database_url).set(username=name, password=password)
        yield DatabaseRole(name, url.render_as_string(hide_password=False))
    finally:
        execute(f"GRANT {quoted} TO CURRENT_USER")  # who made a role is not by that one who may act for it
        execute(f"DROP OWNED BY {quoted}")
        execute(f"DROP ROLE {quoted}")
        engine.dispose()
