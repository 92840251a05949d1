"""Since when orders count for tiers now: the same for all accounts of most programs, so asked of each program once."""

import json
from datetime import datetime
from typing import NamedTuple

from core.domain.program import QualificationWindow, RefundEffect
from core.domain.program.registry import ProgramRegistry
from core.domain.tiers.qualification import Period, qualification_period

_OF_CALENDAR = {QualificationWindow.CALENDAR_YEAR, QualificationWindow.ROLLING_MONTHS}


class Periods(NamedTuple):
    """The periods that run, of the programs in which they are those of the calendar."""

    since: datetime  #: they are known to be right from then
    until: datetime | None  #: until then; None: for good
    by_program: dict[str, Period]
    json: str  #: the same for a statement: by program, start and end


class RunningPeriods:
    """Knows them for one state of the programs, and works them out again only when one ends. Threads may share it."""

    def __init__(self, registry: ProgramRegistry) -> None:
        """Works out nothing yet."""
        self._registry = registry
        self._known: Periods | None = None

    def at(self, as_of: datetime) -> Periods:
        """Those that run at `as_of`. Programs with membership years, or that count what was refunded, have none."""
        known = self._known
        if known is None or as_of < known.since or (known.until is not None and as_of >= known.until):
            self._known = known = _periods(self._registry, as_of)
        return known


def _periods(registry: ProgramRegistry, as_of: datetime) -> Periods:
    found: dict[str, Period] = {}
    ends = [registry.next_turn(as_of)]
    for program_id in registry.program_ids():
        program = registry.at(program_id, as_of).program
        terms = program.qualification
        if terms.window in _OF_CALENDAR and terms.refunds is not RefundEffect.NEVER:
            period = qualification_period(program, as_of, None)
            found[program_id] = period
            ends.append(period.end)
    text = json.dumps({program_id: [str(start), str(end)] for program_id, (start, end) in found.items()})
    return Periods(as_of, min((end for end in ends if end is not None), default=None), found, text)
