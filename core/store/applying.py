"""Putting program files in force, and moving or withdrawing what is not in force yet: all under one lock."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.program import Program
from core.domain.program.registry import BEGINNING, Collision, ProgramRegistry, ProgramVersion
from core.errors import NoVersionToComeError, UnknownVersionError, VersionStaysError, WhichVersionError
from core.messages.outbound.event_json import instant_text
from core.store.engine import database_now, run_bulk
from core.store.locks import LockClass, lock
from core.store.programs import append_change, append_version, load_registry, require_program


class ApplyOutcome(NamedTuple):
    """What came of applying a file. At most one of `version` and `problems` is there; neither: nothing changed."""

    before: ProgramVersion | None  #: the newest version until now
    version: ProgramVersion | None
    problems: tuple[str, ...] = ()
    orders_kept: int = 0  #: recorded since the version's instant: they stay as they were judged


class ChangeOutcome(NamedTuple):
    """What came of moving or withdrawing a version; both the same: nothing changed."""

    before: ProgramVersion
    after: ProgramVersion
    registry: ProgramRegistry  #: with what is there after


def newest_version(registry: ProgramRegistry, program_id: str) -> ProgramVersion | None:
    """The last version that is or comes into force; None for an unknown program."""
    return registry.line(program_id)[-1] if program_id in registry.program_ids() else None


def program_problems(registry: ProgramRegistry, program: Program, effective_from: datetime) -> list[str]:
    """What speaks against `program` from then on beside the programs that are there: one sentence each."""
    problems = []
    mine = newest_version(registry, program.program_id)
    if mine is not None and mine.program.currency != program.currency:
        problems.append(
            f"currency: is {program.currency}, but the program has points for {mine.program.currency} already; "
            "apply it as another program, with a program_id of its own"
        )
    if mine is not None and mine.program.unit != program.unit:
        problems.append(
            f"unit: is {program.unit}, but the program's accounts count {mine.program.unit} already; "
            "apply it as another program, with a program_id of its own"
        )
    known = registry.program_ids()
    problems += [
        f"conversions[{place}].to_program: there is no program {conversion.to_program}; apply that one first"
        for place, conversion in enumerate(program.conversions)
        if conversion.to_program not in known
    ]
    new = _new_version(registry, program, effective_from)
    return problems + _collision_texts(registry.changed(new), new)


def apply_program(
    connection: Connection,
    program: Program,
    file_text: str,
    effective_from: datetime | None,
    *,
    applied_by: str | None = None,
    is_backdated: bool = False,
    is_dry_run: bool = False,
) -> ApplyOutcome:
    """Put `program` in force from `effective_from` (aware; None: now), unless something speaks against it.

    A first version is in force for all orders, however old. The newest version's content again changes nothing. An
    instant of the past is refused unless `is_backdated`. With `is_dry_run` nothing is written.
    """
    # The lock that append_version takes, taken before the checks, so that nobody applies anything between them.
    lock(connection, LockClass.PROGRAMS)
    registry, now = load_registry(connection), database_now(connection)
    before = newest_version(registry, program.program_id)
    if before is not None and before.program == program:
        return ApplyOutcome(before, None, tuple(_same_content_problems(before, effective_from, now)))
    start = effective_from or now
    problems = program_problems(registry, program, start)
    if before is not None:
        problems += _order_problems(before, registry.at(program.program_id, now), program, start, now)
    elif effective_from is not None:
        problems.append("a program's first version is in force for all orders, however old; give no instant for it")
    orders_kept = 0
    if before is not None and start < now and not problems:
        orders_kept = _orders_since(connection, program.program_id, start)
        problems += [] if is_backdated else [_backdated_text(start, orders_kept)]
    if problems:
        return ApplyOutcome(before, None, tuple(problems), orders_kept)
    if is_dry_run:
        return ApplyOutcome(before, _new_version(registry, program, start), orders_kept=orders_kept)
    version = append_version(connection, program, file_text, effective_from, applied_by)
    return ApplyOutcome(before, version, orders_kept=orders_kept)


def withdraw_version(
    connection: Connection,
    program_id: str,
    version: int | None,
    *,
    changed_by: str,
    reason: str,
    is_dry_run: bool = False,
) -> ChangeOutcome:
    """Take back a version that is still to come (the only one if None), so that it never is in force.

    A second call changes nothing. UnknownProgramError, UnknownVersionError, NoVersionToComeError, WhichVersionError;
    VersionStaysError if it is in force, or two programs would claim the same without it.
    """
    registry, now = _locked(connection, program_id)
    chosen = _chosen(registry, program_id, version, now)
    if chosen.is_withdrawn:
        return ChangeOutcome(chosen, chosen, registry)
    after = chosen._replace(is_withdrawn=True)
    return _change(connection, registry, chosen, after, now, changed_by, reason, is_dry_run=is_dry_run)


def move_version(
    connection: Connection,
    program_id: str,
    version: int | None,
    effective_from: datetime | None,
    *,
    changed_by: str,
    reason: str,
    is_dry_run: bool = False,
) -> ChangeOutcome:
    """Let a version that is still to come (the only one if None) come into force at another instant; None: now.

    The same instant again changes nothing. Errors as `withdraw_version`, VersionStaysError also for an instant of the
    past and for one beyond the versions beside it.
    """
    registry, now = _locked(connection, program_id)
    chosen, start = _chosen(registry, program_id, version, now), effective_from or now
    if chosen.is_withdrawn:
        raise _stays(chosen, "moved", "it was withdrawn; apply its file again")
    if start == chosen.effective_from:
        return ChangeOutcome(chosen, chosen, registry)
    if start < now:
        why = f"{instant_text(start)} is past; withdraw it, and apply its file with --from and --backdate"
        raise _stays(chosen, "moved", why)
    line = registry.line(program_id)
    place = line.index(chosen)
    for other in line[place - 1 : place] + line[place + 1 : place + 2]:
        if (start < other.effective_from) == (other.version < chosen.version) and start != other.effective_from:
            why = f"version {other.version} is from {instant_text(other.effective_from)}, and versions keep their order"
            raise _stays(chosen, "moved", why)
    after = chosen._replace(effective_from=start)
    return _change(connection, registry, chosen, after, now, changed_by, reason, is_dry_run=is_dry_run)


def orders_of_earlier_versions(connection: Connection, registry: ProgramRegistry, version: ProgramVersion) -> int:
    """How many orders of the version's own time were judged by an earlier one, since they were recorded before it."""
    if version.effective_from >= version.applied_at or version.effective_from == BEGINNING or version.is_withdrawn:
        return 0
    later = [each.effective_from for each in registry.line(version.program_id) if each.version > version.version]
    statement = """
    SELECT count(*) FROM orders
    WHERE program_id = %s AND occurred_at >= %s AND occurred_at < coalesce(%s::timestamptz, 'infinity')
      AND program_version < %s
    """
    values = (version.program_id, version.effective_from, min(later, default=None), version.version)
    return _counted(connection, statement, values)


def _new_version(registry: ProgramRegistry, program: Program, effective_from: datetime) -> ProgramVersion:
    number = registry.next_number(program.program_id)
    return ProgramVersion(program.program_id, number, BEGINNING if number == 1 else effective_from, program)


def _collision_texts(registry: ProgramRegistry, version: ProgramVersion) -> list[str]:
    return [_collision_text(collision, version) for collision in registry.collisions(version.program_id)]


def _collision_text(collision: Collision, version: ProgramVersion) -> str:
    other_id, source, since, until = collision
    when = f" from {instant_text(since)} on" if since > version.effective_from else ""
    when += f" until {instant_text(until)}" if until is not None else ""
    mend = ""
    if until is not None and since == version.effective_from == BEGINNING:
        mend = (
            "; a first version is for all orders, however old: apply the file without it, "
            f"then with it and --from {instant_text(until)}"
        )
    if source is None:
        mend = mend or "; write default: false in one of them"
        return f"default: program {other_id} is the default{when or ' already'}{mend}"
    return f"sources: program {other_id} lists {source}{when or ' already'}; a source belongs to one program{mend}"


def _same_content_problems(before: ProgramVersion, effective_from: datetime | None, now: datetime) -> list[str]:
    """The newest version says the same: what speaks against calling that done."""
    since = before.effective_from
    if before.effective_from <= now:
        if effective_from is None or effective_from >= since:
            return []
        why = f"is in force since {instant_text(since)}; what is in force is not moved"
        return [f"version {before.version} says the same, and {why}"]
    if effective_from == since:
        return []
    start = "now" if effective_from is None else instant_text(effective_from)
    return [
        (
            f"version {before.version} says the same, and is to be in force from {instant_text(since)}. To move it: "
            f"loyalty program move {before.program_id} --version {before.version} --from {start} --reason TEXT"
        )
    ]


def _order_problems(
    before: ProgramVersion, current: ProgramVersion, program: Program, start: datetime, now: datetime
) -> list[str]:
    """What speaks against `start` after the newest version `before`; `current` is the one in force."""
    if start >= before.effective_from:
        return []
    newest = f"version {before.version}"
    from_then = "now" if start == now else f"from {instant_text(start)}"
    when = f"it would be in force {from_then}, but {newest}"
    if before.effective_from <= now:
        return [f"{when} is in force since {instant_text(before.effective_from)}; give an instant that is not earlier"]
    command = f"loyalty program withdraw {before.program_id} --version {before.version} --reason TEXT"
    if current.program == program:
        mend = f"Version {current.version}, which is in force now, says the same; to keep it: {command}"
    else:
        mend = f"To put this file first: {command}; then apply this one, and that one again"
    return [f"{when} follows from {instant_text(before.effective_from)}, and versions keep their order. {mend}"]


def _backdated_text(start: datetime, orders: int) -> str:
    kept = "no order of the time since is recorded"
    if orders:
        kept = f"{orders:,} recorded orders since stay as they were judged"
        if orders == 1:
            kept = "1 recorded order since stays as it was judged"
    return (
        f"{instant_text(start)} is past: {kept}, and only orders that come from now on are judged by this file. "
        "If that is meant, add --backdate"
    )


def _orders_since(connection: Connection, program_id: str, since: datetime) -> int:
    statement = "SELECT count(*) FROM orders WHERE program_id = %s AND occurred_at >= %s"
    return _counted(connection, statement, (program_id, since))


def _counted(connection: Connection, statement: str, values: tuple[object, ...]) -> int:
    run_bulk(connection, "SET LOCAL statement_timeout = 0")  # no index leads by program and time: it reads all orders
    ((count,),) = run_bulk(connection, statement, values)
    return int(count)


def _locked(connection: Connection, program_id: str) -> tuple[ProgramRegistry, datetime]:
    lock(connection, LockClass.PROGRAMS)
    registry = load_registry(connection)
    require_program(registry, program_id)
    return registry, database_now(connection)


def _chosen(registry: ProgramRegistry, program_id: str, number: int | None, now: datetime) -> ProgramVersion:
    to_come = [version for version in registry.line(program_id) if version.effective_from > now]
    if number is None:
        if not to_come:
            raise NoVersionToComeError(program_id=program_id, version=registry.at(program_id, now).version)
        if len(to_come) > 1:
            known = ", ".join(f"{each.version} from {instant_text(each.effective_from)}" for each in to_come)
            raise WhichVersionError(program_id=program_id, known=known)
        return to_come[0]
    newest = registry.next_number(program_id) - 1
    if number > newest:
        raise UnknownVersionError(program_id=program_id, version=number, newest=newest)
    chosen = registry.version(program_id, number)
    if not chosen.is_withdrawn and chosen not in to_come:
        raise _stays(chosen, "changed", "it has been in force already; apply a file that puts right what is wrong")
    return chosen


def _change(
    connection: Connection,
    registry: ProgramRegistry,
    before: ProgramVersion,
    after: ProgramVersion,
    now: datetime,
    changed_by: str,
    reason: str,
    *,
    is_dry_run: bool,
) -> ChangeOutcome:
    done = "withdrawn" if after.is_withdrawn else "moved"
    # Shops' clocks may be ahead of ours: orders of a time to come are judged by the version of that time.
    statement = "SELECT count(*) FROM orders WHERE program_id = %s AND occurred_at >= %s AND program_version = %s"
    orders = _counted(connection, statement, (before.program_id, now, before.version))
    if orders:
        raise _stays(before, done, f"it has judged orders already ({orders:,}), whose time is ahead of our clock")
    changed = registry.changed(after)
    if problems := _collision_texts(changed, after):
        raise _stays(before, done, "; ".join(problems))
    if not is_dry_run:
        append_change(connection, before, None if after.is_withdrawn else after.effective_from, changed_by, reason)
    return ChangeOutcome(before, after, changed)


def _stays(version: ProgramVersion, done: str, why: str) -> VersionStaysError:
    return VersionStaysError(program_id=version.program_id, version=version.version, done=done, why=why)
