"""What was kept of what became of points in months, worked out anew from the entries: all months of a program at once.

It takes the sums that reports take of months that were not kept. That these are right is for tests to say, which count
by hand; here it is seen whether what was kept, or what was summed up, has changed since.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime

from sqlalchemy import Connection

from core.domain.accounting.activity import ActivityLine, Cause
from core.domain.accounting.flows import Flow
from core.domain.accounting.months import Month, month_at
from core.domain.program.registry import ProgramRegistry
from core.store.activity import load_activity_lines, load_kept_activity
from core.store.engine import run_bulk
from core.store.proof.scope import Findings, Scope

_MONTHS = "SELECT program_id, month, as_of FROM liability_snapshots ORDER BY program_id, month"


def find_wrong_activity(connection: Connection, registry: ProgramRegistry, _scope: Scope) -> Findings:
    """Each line of a month that was kept of which other points were kept than the entries say; by program and month."""
    ends: dict[str, list[tuple[date, datetime]]] = {}
    for program_id, month, as_of in run_bulk(connection, _MONTHS):
        ends.setdefault(program_id, []).append((month, as_of))
    for program_id, known in ends.items():
        starts_at = month_at(registry, program_id, known[0][0]).starts_at
        months = []
        for day, as_of in known:
            months.append(Month(day, starts_at, as_of))
            starts_at = as_of
        kept = load_kept_activity(connection, program_id, known[0][0], known[-1][0])
        told = _sums(line for of_month in kept.values() for line in of_month.lines)
        there = _sums(load_activity_lines(connection, program_id, months))
        for line in sorted(told.keys() | there.keys(), key=str):
            if told[line] != there[line]:
                month, flow, cause, version = line
                judged = "" if version is None else f", version {version}"
                text = f"program {program_id}, {month}: {flow} by {cause.kind} {cause.name}{judged}"
                yield None, f"{text}: kept are {told[line]} points, and the entries come to {there[line]}"


def _sums(lines: Iterable[ActivityLine]) -> Counter[tuple[str, Flow, Cause, int | None]]:
    found: Counter[tuple[str, Flow, Cause, int | None]] = Counter()
    for line in lines:
        found[line.month, line.flow, line.cause, line.version] += line.points
    return found
