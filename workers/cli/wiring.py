"""What commands are given that need the database: options that several have, and the database itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from getpass import getuser
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from sqlalchemy import Engine

from config.settings import Settings
from core.domain.calendar import YEAR_MAX, YEAR_MIN, is_nameable, local_midnight
from core.reading.snapshot import Reader, Snapshot
from core.store.engine import create_database_engine
from core.store.migrate import require_current
from workers.cli.command_errors import InstantError, NoDatabaseError, StartError
from workers.cli.output import printable
from workers.database_address import known_database_url

CustomerId = Annotated[str, typer.Argument(metavar="CUSTOMER", help="The shop's own id of the customer.")]
ProgramId = Annotated[str | None, typer.Option("--program", help="Only the account in this program.")]

#: Who does it, of commands that change something by hand.
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who does it; your user name by default.")]


@contextmanager
def opened_database(settings: Settings, *, must_be_current: bool = True) -> Iterator[Engine]:
    """Give an engine for the time of a command; refuse a database that has not this release's tables."""
    url = known_database_url(settings)
    if url is None:
        raise NoDatabaseError
    engine = create_database_engine(url, application_name="loyalty-cli")
    try:
        if must_be_current:
            require_current(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def opened_snapshot(settings: Settings) -> Iterator[Snapshot]:
    """Give one state of the database for the time of a command that only reads."""
    with opened_database(settings) as engine, Reader(engine).snapshot() as now:
        yield now


def has_database(settings: Settings) -> bool:
    """Whether a database is known, here or in the settings."""
    return known_database_url(settings) is not None


def read_instant(text: str, option: str) -> datetime:
    """Read the value of a command-line option; InstantError unless it is a date and time with its offset."""
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None and is_nameable(instant):
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InstantError(option=option, text=printable(text), first=YEAR_MIN, last=YEAR_MAX)


def read_start(text: str, option: str, zone: ZoneInfo) -> datetime:
    """Read when something begins: a day stands for its midnight in `zone`. StartError unless it is either."""
    try:
        try:
            instant = local_midnight(date.fromisoformat(text), zone)
        except ValueError:
            instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None and is_nameable(instant):
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise StartError(option=option, text=printable(text), time_zone=zone.key, first=YEAR_MIN, last=YEAR_MAX)


def acting(by: str | None) -> str:
    """Who does what is done by hand: as `--by` says, else this user of the operating system."""
    if by is not None and by.strip():
        return by.strip()
    try:
        return getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return f"user {os.getuid()}"
