"""Putting program files in force: what speaks against it, and doing it, under one lock."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from core.domain.program import Program
from core.domain.program.registry import BEGINNING, ProgramRegistry, ProgramVersion
from core.store.locks import LockClass, lock
from core.store.programs import append_version, load_registry


class ApplyOutcome(NamedTuple):
    """What came of applying a file. Exactly one of `version` and `problems` is there, or neither: nothing changed."""

    before: ProgramVersion | None  #: the newest version until now
    version: ProgramVersion | None
    problems: tuple[str, ...] = ()


def newest_version(registry: ProgramRegistry, program_id: str) -> ProgramVersion | None:
    """The program's newest version, which may not be in force yet; None for an unknown program."""
    return next((v for v in reversed(registry.versions()) if v.program_id == program_id), None)


def program_problems(registry: ProgramRegistry, program: Program) -> list[str]:
    """What speaks against `program` beside the programs that are there: one sentence each."""
    problems = []
    mine = newest_version(registry, program.program_id)
    if mine is not None and mine.program.currency != program.currency:
        problems.append(
            f"currency: is {program.currency}, but the program has points for {mine.program.currency} already; "
            "apply it as another program, with a program_id of its own"
        )
    for other_id in registry.program_ids():
        newest = newest_version(registry, other_id)
        if other_id == program.program_id or newest is None:
            continue
        other = newest.program
        if program.default and other.default:
            problems.append(f"default: program {other_id} is the default already; write default: false in one of them")
        problems += [
            f"sources: program {other_id} lists {source} already; a source belongs to one program"
            for source in program.sources
            if source in other.sources
        ]
    return problems


def apply_program(
    connection: Connection, program: Program, file_text: str, effective_from: datetime | None
) -> ApplyOutcome:
    """Put `program` in force from `effective_from` (aware; None: now), unless something speaks against it.

    A first version is in force for all orders, however old. The newest version's content again changes nothing.
    """
    # The lock that append_version takes, taken before the checks, so that nobody applies anything between them.
    lock(connection, LockClass.PROGRAMS)
    registry = load_registry(connection)
    before = newest_version(registry, program.program_id)
    if before is not None and before.program == program:
        return ApplyOutcome(before, None)
    problems = program_problems(registry, program) + _instant_problems(connection, before, effective_from)
    if problems:
        return ApplyOutcome(before, None, tuple(problems))
    return ApplyOutcome(before, append_version(connection, program, file_text, effective_from))


def _instant_problems(
    connection: Connection, before: ProgramVersion | None, effective_from: datetime | None
) -> list[str]:
    if before is None:
        if effective_from is None:
            return []
        return ["a program's first version is in force for all orders, however old; give no instant for it"]
    start = effective_from or connection.execute(text("SELECT now()")).scalar_one()
    if before.effective_from == BEGINNING or start >= before.effective_from:
        return []
    begins, newest = (instant.isoformat(timespec="seconds") for instant in (start, before.effective_from))
    problem = f"it would be in force from {begins}, but version {before.version} is from {newest}"
    return [f"{problem}; versions follow each other in time, so give an instant that is not before that"]
