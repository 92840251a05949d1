"""What became of a program's points month by month: as it was kept of months that are over, else from the entries."""

from collections.abc import Sequence
from datetime import date
from itertools import groupby

from sqlalchemy import Connection

from core.domain.accounting.activity import Activity, ActivityLine, ActivityMonth
from core.domain.accounting.months import Month, month_of
from core.domain.program.registry import ProgramRegistry
from core.store.activity import (
    first_kept,
    first_recorded,
    load_activity_lines,
    load_kept_activity,
    points_outstanding,
)
from core.store.engine import database_now, run_bulk
from core.store.liability import value_of_point


def load_activity(
    connection: Connection, registry: ProgramRegistry, program_id: str, months: Sequence[Month]
) -> Activity:
    """What was recorded in these months, of which there must be one, without a gap, in the order of time.

    The last may still be open. Of months that were kept no entry is read. `connection` must see one snapshot. KeyError
    for an unknown program.
    """
    assert months
    _take_time(connection)
    kept = load_kept_activity(connection, program_id, months[0].first_day, months[-1].first_day)
    lines: list[ActivityLine] = []
    for is_kept, some in groupby(months, lambda month: month.first_day in kept):
        if is_kept:
            lines += (line for month in some for line in kept[month.first_day].lines)
        else:
            lines += load_activity_lines(connection, program_id, list(some))
    outstanding = points_outstanding(connection, program_id, months[0].starts_at)
    now = database_now(connection)
    found = []
    for month in months:
        before = outstanding
        outstanding += sum(line.points for line in lines if line.month == month.text)
        kept_at = kept[month.first_day].kept_at if month.first_day in kept else None
        found.append(ActivityMonth(month, before, outstanding, now < month.ends_at, kept_at))
    versions = {version.version: version.program for version in registry.versions() if version.program_id == program_id}
    program = registry.at(program_id, now).program
    return Activity(
        program_id,
        program.currency,
        program.unit,
        tuple(found),
        tuple(lines),
        {number: value_of_point(program) for number, program in versions.items()},
        value_of_point(program),
    )


def first_month(connection: Connection, registry: ProgramRegistry, program_id: str) -> date | None:
    """The first day of the first month in which points of the program moved; None: none ever did."""
    kept = first_kept(connection, program_id)
    if kept is not None:
        return kept
    _take_time(connection)
    recorded = first_recorded(connection, program_id)
    return None if recorded is None else month_of(registry, program_id, recorded).first_day


def _take_time(connection: Connection) -> None:
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    run_bulk(connection, "SET LOCAL work_mem = '64MB'")  # for sums and joins, so that fewer are put on disk
