"""Which orders count for an account's qualifying points, as far as programs and accounts alone show.

Only of programs whose versions all have the same measure, window and time zone, and count refunds or do not: else it
depends on which version an account has counted by. Nor of those whose years begin on a day of each account's own.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.domain.calendar import add_months, local_midnight
from core.domain.program import Program, QualificationWindow, RefundEffect
from core.domain.program.registry import BEGINNING, ProgramRegistry
from core.domain.tiers.qualification import ZONE_CHANGE_MAX, qualification_period, way_of_counting
from core.store.engine import database_now, run_bulk
from core.store.proof.scope import Scope

_END = datetime.max.replace(tzinfo=UTC)


class CountedPeriod(NamedTuple):
    """Accounts of the program with this `qualifying_from` count the orders of [first, end)."""

    program_id: str
    qualifying_from: datetime | None
    first: datetime
    end: datetime
    measure: str


#: What an order `o` counts in a period `k`; where refunds never count, that is what it did when it was made.
UNITS_OF_ORDER = """CASE k.measure
    WHEN 'spend' THEN o.qualifying_spend WHEN 'orders' THEN o.qualifying_orders WHEN 'points' THEN o.qualifying_points
    WHEN 'spend before refunds' THEN coalesce((o.qualifying_steps->0->>2)::bigint, o.qualifying_spend)
    WHEN 'orders before refunds' THEN coalesce((o.qualifying_steps->0->>3)::bigint, o.qualifying_orders)
    ELSE coalesce((o.qualifying_steps->0->>1)::bigint, o.qualifying_points) END"""
_STARTS = """
SELECT DISTINCT program_id, qualifying_from FROM accounts
WHERE program_id = ANY(%(steady)s) AND qualifying_from IS NOT NULL
"""


def load_periods(connection: Connection, registry: ProgramRegistry, scope: Scope) -> dict[str, Any]:
    """Parameters of the queries that ask for qualifying points: one array per column of `CountedPeriod`.

    Only periods that accounts in `scope` have begun.
    """
    steady = list(_steady_programs(registry, database_now(connection)))
    parameters = {**scope.parameters, "steady": [program.program_id for program in steady]}
    starts = run_bulk(connection, scope.narrow(_STARTS), parameters)
    periods = [period for program in steady for period in _periods(program, starts)]
    columns: list[list[Any]] = [list(column) for column in zip(*periods, strict=True)] or [[], [], [], [], []]
    names = ("period_programs", "period_starts", "period_firsts", "period_ends", "period_measures")
    return dict(zip(names, columns, strict=True))


def _steady_programs(registry: ProgramRegistry, as_of: datetime) -> Iterator[Program]:
    """What a version of the future will count otherwise is nothing yet."""
    for program_id in registry.program_ids():
        programs = registry.begun(program_id, as_of)
        newest = programs[-1]
        ways = {way_of_counting(program) for program in programs}
        if len(ways) == 1 and newest.qualification.window is not QualificationWindow.MEMBERSHIP_YEAR:
            yield newest


def _periods(program: Program, starts: list[tuple[Any, ...]]) -> Iterator[CountedPeriod]:
    measure = program.qualification.measure.value
    if program.qualification.refunds is RefundEffect.NEVER:
        measure += " before refunds"
    if program.qualification.window is QualificationWindow.LIFETIME:
        yield CountedPeriod(program.program_id, None, BEGINNING, _END, measure)
        return
    yield CountedPeriod(program.program_id, None, _END, _END, measure)  # nothing has been counted yet
    months = program.qualification.months or 0
    for start in (start for program_id, start in starts if program_id == program.program_id):
        begun = (start + ZONE_CHANGE_MAX).astimezone(program.zone).date()
        running = local_midnight(add_months(begun, months), program.zone)
        period = qualification_period(program, running, None)
        if period.start == start and period.end is not None:
            yield CountedPeriod(program.program_id, start, start, period.end, measure)
