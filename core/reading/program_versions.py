"""The versions of a program for people: the file as it was applied, and what became of it since."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.program.registry import ProgramVersion
from core.errors import UnknownVersionError
from core.reading.snapshot import Snapshot
from core.store.applying import orders_of_earlier_versions
from core.store.engine import run_bulk
from core.store.programs import KeptChange, load_changes, require_program


class KeptProgramFile(NamedTuple):
    """The text of one program version as it was applied."""

    file_text: str
    applied_at: datetime
    applied_by: str | None


class ShownVersion(NamedTuple):
    """One version, and what is known of it."""

    chosen: ProgramVersion
    versions: list[ProgramVersion]  #: all of the program
    is_in_force: bool
    file: KeptProgramFile
    changes: list[KeptChange]
    earlier: int  #: orders of its time that an earlier version judged


def load_version(now: Snapshot, program_id: str, number: int | None = None) -> ShownVersion:
    """A version of a program, the one in force by default. UnknownProgramError, UnknownVersionError."""
    registry = now.registry
    require_program(registry, program_id)
    versions = [version for version in registry.versions() if version.program_id == program_id]
    if number is not None and not 1 <= number <= len(versions):
        raise UnknownVersionError(program_id=program_id, version=number, newest=len(versions))
    in_force = registry.at(program_id, now.as_of)
    chosen = in_force if number is None else registry.version(program_id, number)
    return ShownVersion(
        chosen,
        versions,
        chosen == in_force,
        _load_file(now.connection, program_id, chosen.version),
        load_changes(now.connection, program_id, chosen.version),
        orders_of_earlier_versions(now.connection, registry, chosen),
    )


def _load_file(connection: Connection, program_id: str, version: int) -> KeptProgramFile:
    """The file of a version that is known to exist."""
    statement = "SELECT file_text, applied_at, applied_by FROM programs WHERE program_id = %s AND version = %s"
    (row,) = run_bulk(connection, statement, (program_id, version))
    return KeptProgramFile(*row)


def last_change(connection: Connection, program_id: str, version: int) -> KeptChange:
    """How a version that was moved or withdrawn was changed last."""
    return load_changes(connection, program_id, version)[-1]
