"""Bringing a database to this release's tables, and refusing to work on one that is not."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from core.errors import DatabaseNotReadyError

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x4C59_0000


def upgrade(engine: Engine) -> None:
    """Run the migrations that are missing; with none missing, nothing changes. Two at once wait for each other."""
    with engine.begin() as connection:
        # Migrations may take their time on a large table, and must not run twice side by side.
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK}, 0)")
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def current_revision(engine: Engine) -> str | None:
    """The database's revision; None for an empty database."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str | None:
    """This release's revision."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def require_current(engine: Engine) -> None:
    """Raise DatabaseNotReadyError unless the database has this release's tables."""
    found, wanted = current_revision(engine), head_revision()
    if found != wanted:
        raise DatabaseNotReadyError(found=found or "none", wanted=wanted)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    return config
