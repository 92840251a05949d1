"""Program versions: append-only, each in force from an instant until the next one."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.domain.program import Program
from core.errors import UnknownProgramError
from core.messages.program_files.program_file import program_document, program_from_document
from core.store.locks import LockClass, lock


class ProgramVersion(NamedTuple):
    """One applied program file."""

    program_id: str
    version: int
    effective_from: datetime
    program: Program


#: Stands for PostgreSQL's -infinity, from which a first version is in force.
BEGINNING = datetime.min.replace(tzinfo=UTC)


class ProgramRegistry:
    """All program versions, as posting needs them. `stamp` tells whether a newer set exists."""

    def __init__(self, versions: Iterable[ProgramVersion], stamp: int) -> None:
        """Index `versions`, given in ascending order of version."""
        self.stamp = stamp
        self._versions: dict[str, list[ProgramVersion]] = {}
        for version in versions:
            self._versions.setdefault(version.program_id, []).append(version)
        newest = [known[-1].program for known in self._versions.values()]
        self._by_source = {source: program.program_id for program in newest for source in program.sources}
        self._default = next((program.program_id for program in newest if program.default), None)

    def resolve(self, named: str | None, source: str) -> str | None:
        """The program of a message: the one it names, else the one that lists its source, else the default."""
        if named is not None:
            return named if named in self._versions else None
        return self._by_source.get(source, self._default)

    def at(self, program_id: str, instant: datetime) -> ProgramVersion:
        """The version in force at `instant`; before the first one's start, the first."""
        known = self._versions[program_id]
        return next((v for v in reversed(known) if v.effective_from <= instant), known[0])

    def version(self, program_id: str, version: int) -> ProgramVersion:
        """That very version."""
        return self._versions[program_id][version - 1]

    def require(self, program_id: str) -> None:
        """UnknownProgramError unless there is a program of this id."""
        if program_id not in self.program_ids():
            raise UnknownProgramError(program_id=program_id, known=", ".join(self.program_ids()) or "none")

    def program_ids(self) -> list[str]:
        """All known programs."""
        return sorted(self._versions)

    def versions(self) -> list[ProgramVersion]:
        """Every version, by program and version."""
        return [version for program_id in self.program_ids() for version in self._versions[program_id]]


_LOAD = """
SELECT program_id, version,
       CASE WHEN effective_from = '-infinity' THEN NULL ELSE effective_from END AS effective_from, document
FROM programs ORDER BY program_id, version
"""


def load_registry(connection: Connection) -> ProgramRegistry:
    """Read all versions. `stamp` is their number: rows are only ever added."""
    rows = connection.execute(text(_LOAD)).all()
    versions = [
        ProgramVersion(
            row.program_id, row.version, row.effective_from or BEGINNING, program_from_document(row.document)
        )
        for row in rows
    ]
    return ProgramRegistry(versions, stamp=len(versions))


def append_version(
    connection: Connection, program: Program, file_text: str, effective_from: datetime | None
) -> ProgramVersion | None:
    """Apply a program file: the first version holds for all history, a later one from `effective_from` (now if None).

    The same content as the newest version is a no-op and returns None. The caller has checked that `effective_from`
    is not before the newest version's.
    """
    lock(connection, LockClass.PROGRAMS)  # not LOCK TABLE, which a role that may only insert is refused
    registry = load_registry(connection)
    known = [v for v in registry.versions() if v.program_id == program.program_id]
    if known and known[-1].program == program:
        return None
    row = connection.execute(
        text(
            "INSERT INTO programs (program_id, version, effective_from, document, file_text, is_default)"
            " VALUES (:program_id, :version,"
            " CASE WHEN :first THEN '-infinity'::timestamptz ELSE coalesce(:effective_from, now()) END,"
            " CAST(:document AS jsonb), :file_text, :is_default)"
            " RETURNING CASE WHEN effective_from = '-infinity' THEN NULL ELSE effective_from END"
        ).bindparams(
            program_id=program.program_id,
            version=len(known) + 1,
            first=not known,
            effective_from=effective_from,
            document=json.dumps(program_document(program)),
            file_text=file_text,
            is_default=program.default,
        )
    ).scalar_one()
    return ProgramVersion(program.program_id, len(known) + 1, row or BEGINNING, program)
