"""Program versions: append-only, each in force from an instant until the next one."""

import json
from datetime import datetime

from sqlalchemy import Connection, text

from core.domain.program import Program
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from core.errors import UnknownProgramError
from core.messages.program_files.program_file import program_document, program_from_document
from core.store.locks import LockClass, lock


def require_program(registry: ProgramRegistry, program_id: str) -> None:
    """UnknownProgramError unless there is a program of this id."""
    if program_id not in registry.program_ids():
        raise UnknownProgramError(program_id=program_id, known=", ".join(registry.program_ids()) or "none")


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
