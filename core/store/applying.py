"""Putting program files in force: what speaks against it, and doing it, under one lock."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.program import Program
from core.domain.program.registry import BEGINNING, Collision, ProgramRegistry, ProgramVersion
from core.messages.outbound.event_json import instant_text
from core.store.engine import database_now
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


def program_problems(registry: ProgramRegistry, program: Program, effective_from: datetime) -> list[str]:
    """What speaks against `program` from then on beside the programs that are there: one sentence each."""
    problems = []
    mine = newest_version(registry, program.program_id)
    if mine is not None and mine.program.currency != program.currency:
        problems.append(
            f"currency: is {program.currency}, but the program has points for {mine.program.currency} already; "
            "apply it as another program, with a program_id of its own"
        )
    start = BEGINNING if mine is None else effective_from
    new = ProgramVersion(program.program_id, 1 if mine is None else mine.version + 1, start, program)
    beside = ProgramRegistry([*registry.versions(), new], registry.stamp)
    return problems + [_collision_text(collision, new) for collision in beside.collisions(program.program_id)]


def _collision_text(collision: Collision, new: ProgramVersion) -> str:
    other_id, source, since, until = collision
    when = f" from {instant_text(since)} on" if since > new.effective_from else ""
    when += f" until {instant_text(until)}" if until is not None else ""
    mend = ""
    if until is not None and since == new.effective_from == BEGINNING:
        mend = (
            "; a first version is for all orders, however old: apply the file without it, "
            f"then with it and --from {instant_text(until)}"
        )
    if source is None:
        mend = mend or "; write default: false in one of them"
        return f"default: program {other_id} is the default{when or ' already'}{mend}"
    return f"sources: program {other_id} lists {source}{when or ' already'}; a source belongs to one program{mend}"


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
    start = effective_from or database_now(connection)
    problems = program_problems(registry, program, start)
    problems += _instant_problems(before, start, is_given=effective_from is not None)
    if problems:
        return ApplyOutcome(before, None, tuple(problems))
    return ApplyOutcome(before, append_version(connection, program, file_text, effective_from))


def _instant_problems(before: ProgramVersion | None, start: datetime, *, is_given: bool) -> list[str]:
    if before is None:
        if not is_given:
            return []
        return ["a program's first version is in force for all orders, however old; give no instant for it"]
    if before.effective_from == BEGINNING or start >= before.effective_from:
        return []
    begins, newest = (instant.isoformat(timespec="seconds") for instant in (start, before.effective_from))
    problem = f"it would be in force from {begins}, but version {before.version} is from {newest}"
    return [f"{problem}; versions follow each other in time, so give an instant that is not before that"]
