"""Program versions: append-only, each in force from an instant until the next one; one of the future may be changed."""

import json
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.domain.program import Program
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from core.errors import UnknownProgramError
from core.messages.program_files.program_file import program_document, program_from_document
from core.store import tables
from core.store.engine import run_bulk
from core.store.locks import LockClass, lock
from core.store.rows import Append, Shape

#: SQL for a number that grows with whatever changes which version is in force: rows are only ever added.
STAMP = "((SELECT count(*) FROM programs) + (SELECT count(*) FROM program_changes))"
#: SQL for all versions as they stand. One that was withdrawn has the instant that it was last to be in force from.
VERSIONS = """
SELECT p.program_id, p.version, p.document, p.applied_at, coalesce(c.is_withdrawn, false) AS is_withdrawn,
       coalesce(c.effective_from, p.effective_from) AS effective_from
FROM programs p LEFT JOIN (
    SELECT program_id, version, (array_agg(effective_from ORDER BY change_number DESC))[1] IS NULL AS is_withdrawn,
           (array_agg(effective_from ORDER BY change_number DESC) FILTER (WHERE effective_from IS NOT NULL))[1]
               AS effective_from
    FROM program_changes GROUP BY program_id, version
) AS c ON c.program_id = p.program_id AND c.version = p.version
"""
_LOAD = f"""
SELECT program_id, version, document, applied_at, is_withdrawn,
       CASE WHEN effective_from > '-infinity' THEN effective_from END AS effective_from, {STAMP} AS stamp
FROM ({VERSIONS}) AS v ORDER BY program_id, version
"""  # noqa: S608  # our own words


class ProgramChange(NamedTuple):
    """A version of the future was moved to another instant, or withdrawn."""

    program_id: str
    version: int
    change_number: int
    effective_from: datetime | None  #: None: withdrawn
    changed_by: str
    reason: str


class KeptChange(NamedTuple):
    """A change as it was kept."""

    effective_from: datetime | None  #: None: withdrawn
    changed_at: datetime
    changed_by: str
    reason: str


_APPEND_CHANGE = Append(Shape(tables.program_changes, ProgramChange).new())
_KEPT_CHANGES = Shape(tables.program_changes, KeptChange)
_LOAD_CHANGES = f"""
SELECT {_KEPT_CHANGES.select("c")} FROM program_changes c
WHERE program_id = %s AND version = %s ORDER BY change_number
"""  # noqa: S608  # our own names


def require_program(registry: ProgramRegistry, program_id: str) -> None:
    """UnknownProgramError unless there is a program of this id."""
    if program_id not in registry.program_ids():
        raise UnknownProgramError(program_id=program_id, known=", ".join(registry.program_ids()) or "none")


def load_registry(connection: Connection) -> ProgramRegistry:
    """Read all versions, with the stamp that they have."""
    rows = connection.execute(text(_LOAD)).all()
    versions = [
        ProgramVersion(
            row.program_id,
            row.version,
            row.effective_from or BEGINNING,
            program_from_document(row.document),
            row.applied_at,
            row.is_withdrawn,
        )
        for row in rows
    ]
    return ProgramRegistry(versions, stamp=rows[0].stamp if rows else 0)


def append_version(
    connection: Connection,
    program: Program,
    file_text: str,
    effective_from: datetime | None,
    applied_by: str | None = None,
) -> ProgramVersion | None:
    """Apply a program file: the first version holds for all history, a later one from `effective_from` (now if None).

    The same content as the newest version is a no-op and returns None. The caller has checked that `effective_from`
    is not before the newest version's.
    """
    lock(connection, LockClass.PROGRAMS)  # not LOCK TABLE, which a role that may only insert is refused
    registry = load_registry(connection)
    number = registry.next_number(program.program_id)
    if number > 1 and registry.line(program.program_id)[-1].program == program:
        return None
    row = connection.execute(
        text(
            "INSERT INTO programs (program_id, version, effective_from, document, file_text, applied_by)"
            " VALUES (:program_id, :version,"
            " CASE WHEN :first THEN '-infinity'::timestamptz ELSE coalesce(:effective_from, now()) END,"
            " CAST(:document AS jsonb), :file_text, :applied_by)"
            " RETURNING CASE WHEN effective_from = '-infinity' THEN NULL ELSE effective_from END AS since, applied_at"
        ).bindparams(
            program_id=program.program_id,
            version=number,
            first=number == 1,
            effective_from=effective_from,
            document=json.dumps(program_document(program)),
            file_text=file_text,
            applied_by=applied_by,
        )
    ).one()
    return ProgramVersion(program.program_id, number, row.since or BEGINNING, program, row.applied_at)


def append_change(
    connection: Connection, version: ProgramVersion, effective_from: datetime | None, changed_by: str, reason: str
) -> None:
    """Move a version to another instant, or withdraw it (None). The caller has the lock and has checked that it may."""
    number = len(load_changes(connection, version.program_id, version.version)) + 1
    change = ProgramChange(version.program_id, version.version, number, effective_from, changed_by, reason)
    _APPEND_CHANGE.run(connection, [change])


def load_changes(connection: Connection, program_id: str, version: int) -> list[KeptChange]:
    """How the version was moved, and whether it was withdrawn, oldest first."""
    return [_KEPT_CHANGES.read(row) for row in run_bulk(connection, _LOAD_CHANGES, (program_id, version))]
