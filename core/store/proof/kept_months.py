"""How what was owed at the months' ends that were kept is split, worked out anew by adding up what was recorded before.

Reports work it out the other way, from what is there now less what was recorded since, so neither hides a fault of the
other. Each lot is looked at once, for all months. Where inactivity ends points their ends move without an entry: there
what had ended is not told apart, and the last month is not asked for.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import accumulate, pairwise
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from core.domain.program.registry import ProgramRegistry
from core.store.engine import run_bulk
from core.store.proof.scope import Findings, Scope, slices

# Whatever was recorded has a place: so many of its program's ends had been by then. It counts for the ends from that
# number on, which begin with 0.
_ENDS = "(SELECT program_id, array_agg(as_of ORDER BY month) AS ends FROM liability_snapshots GROUP BY program_id) AS p"
_LOTS = f"""
SELECT p.program_id, l.account_id, a.tier_id, l.origin_at, l.expires_at, l.is_pending, n.places, n.points,
       width_bucket(r.released_at, p.ends), r.has_waited, x.places, x.ends
FROM {_ENDS} JOIN accounts a USING (program_id) JOIN dated_lots l USING (account_id)
JOIN (SELECT account_id, n.lot_number, array_agg(width_bucket(e.recorded_at, p.ends)) AS places,
             array_agg(n.points) AS points
      FROM allocations n JOIN entries e USING (account_id, sequence) JOIN accounts a USING (account_id)
           JOIN {_ENDS} USING (program_id)
      GROUP BY account_id, n.lot_number) AS n USING (account_id, lot_number)
LEFT JOIN (SELECT e.account_id, named.lot_number::integer AS lot_number, min(e.recorded_at) AS released_at,
                  bool_or(e.order_id IS NOT NULL) AS has_waited
           FROM entries e CROSS JOIN LATERAL json_array_elements_text(e.why->'lots') AS named(lot_number)
           WHERE e.kind = 'release' GROUP BY e.account_id, named.lot_number) AS r USING (account_id, lot_number)
LEFT JOIN (SELECT account_id, r.subject, array_agg(width_bucket(r.applied_at, p.ends) ORDER BY r.repair_id) AS places,
                  array_agg((r.found->>'expires_at')::timestamptz ORDER BY r.repair_id) AS ends
           FROM repairs r JOIN accounts a USING (account_id) JOIN {_ENDS} USING (program_id)
           WHERE r.found ? 'expires_at' GROUP BY account_id, r.subject) AS x
     ON x.account_id = l.account_id AND x.subject = 'lot ' || l.lot_number
"""  # noqa: S608  # our own words
# What is in no lot.
_HELD = f"""
SELECT p.program_id, account_id, a.tier_id, array_agg(width_bucket(e.recorded_at, p.ends)),
       array_agg(e.reserved_change), array_agg(-e.deficit_change)
FROM {_ENDS} JOIN accounts a USING (program_id) JOIN entries e USING (account_id)
WHERE e.reserved_change <> 0 OR e.deficit_change <> 0 GROUP BY p.program_id, account_id, a.tier_id
"""  # noqa: S608  # our own words
_TIERS = f"""
SELECT account_id, (array_agg(t.previous_tier_id ORDER BY t.change_number))[1],
       array_agg(width_bucket(t.recorded_at, p.ends) ORDER BY t.change_number),
       array_agg(t.tier_id ORDER BY t.change_number)
FROM {_ENDS} JOIN accounts a USING (program_id) JOIN tier_changes t USING (account_id) GROUP BY account_id
"""  # noqa: S608  # our own words
_KEPT = """
SELECT program_id, month, bucket, tier_id, earned_month, last_month, points FROM liability_lines
"""
_MONTHS = "SELECT program_id, month, as_of FROM liability_snapshots ORDER BY program_id, month"


class Split(NamedTuple):
    """What points of a month's end have in common."""

    bucket: str
    tier_id: str
    earned_month: date | None
    last_month: date | None

    def __str__(self) -> str:
        earned = "" if self.earned_month is None else f", earned in {self.earned_month:%Y-%m}"
        last = "" if self.last_month is None else f", good until {self.last_month:%Y-%m}"
        return f"of {self.tier_id}, {self.bucket}{earned}{last}"


class _Tiers(NamedTuple):
    first: str
    places: Sequence[int] = ()
    tier_ids: Sequence[str] = ()

    def at(self, end: int) -> str:
        known = [tier_id for place, tier_id in zip(self.places, self.tier_ids, strict=True) if place <= end]
        return known[-1] if known else self.first


class _Lot(NamedTuple):
    origin_at: datetime
    expires_at: datetime | None
    is_pending: bool
    places: Sequence[int]
    points: Sequence[int]
    released: int | None
    has_waited: bool | None
    extended: Sequence[int] | None
    ends_before: Sequence[datetime | None] | None


class _Program:
    """The months of one program, and what its points at their ends come to."""

    def __init__(self, *, is_sliding: bool) -> None:
        self.is_sliding = is_sliding
        self.months: list[date] = []
        self.ends: list[datetime] = []
        self.zones: list[ZoneInfo] = []
        #: By split, how many points more than at the end before, for each end.
        self._changes: dict[Split, list[int]] = defaultdict(lambda: [0] * (len(self.ends) + 1))

    def stretches(self, *places: Iterable[int]) -> Iterator[tuple[int, int]]:
        """From which end to before which nothing changes, where it changes at these places."""
        zones = (place for place, (one, other) in enumerate(pairwise(self.zones), start=1) if one is not other)
        marks = {0, *zones, *(place for each in places for place in each)}
        yield from pairwise([*sorted(mark for mark in marks if mark < len(self.ends)), len(self.ends)])

    def add(self, split: Split, points: int, begin: int, following: int) -> None:
        """Add points that are there at these ends."""
        if points:
            self._changes[split][begin] += points
            self._changes[split][following] -= points

    def add_lot(self, lot: _Lot, tiers: _Tiers) -> None:
        """Add what a lot had at each end. It is pending if it is now, or was released since.

        One that waited for the fulfilment of its order had no end then; one that was extended by hand, the end before.
        """
        known = [end for end in (lot.expires_at, *(lot.ends_before or ())) if end is not None]
        over = [bisect_left(self.ends, end) for end in known]
        released = [] if lot.released is None else [lot.released]
        for begin, following in self.stretches(lot.places, tiers.places, released, lot.extended or (), over):
            points = sum(points for place, points in zip(lot.places, lot.points, strict=True) if place <= begin)
            if points:
                self.add(self._split(lot, tiers.at(begin), begin), points, begin, following)

    def _split(self, lot: _Lot, tier_id: str, end: int) -> Split:
        is_released_since = lot.released is not None and lot.released > end
        expires_at = lot.expires_at
        for place, before in zip(lot.extended or (), lot.ends_before or (), strict=True):
            if place > end:
                expires_at = before or expires_at
                break
        if is_released_since and lot.has_waited:
            expires_at = None
        bucket = "pending" if lot.is_pending or is_released_since else "available"
        if self.is_sliding:
            expires_at = None
        elif expires_at is not None and expires_at <= self.ends[end]:
            bucket = "ended"
        zone = self.zones[end]
        last = None if expires_at is None else _month(expires_at - timedelta(microseconds=1), zone)
        return Split(bucket, tier_id, _month(lot.origin_at, zone), last)

    def splits(self) -> Iterator[tuple[date, Split, int]]:
        """All that there was, by month."""
        for split, changes in self._changes.items():
            for month, points in zip(self.months, accumulate(changes), strict=False):
                yield month, split, points

    def kept(self, split: Split) -> Split:
        """How it is told where ends move."""
        if not self.is_sliding:
            return split
        return split._replace(last_month=None, bucket="available" if split.bucket == "ended" else split.bucket)


def find_wrong_splits(connection: Connection, registry: ProgramRegistry, _scope: Scope) -> Findings:
    """Each part of a month's end of which other points were kept than were there; by program and month."""
    programs: dict[str, _Program] = {}
    for program_id, month, as_of in run_bulk(connection, _MONTHS):
        is_sliding = any(program.has_inactivity for program in registry.programs(program_id))
        program = programs.setdefault(program_id, _Program(is_sliding=is_sliding))
        program.months.append(month)
        program.ends.append(as_of)
        program.zones.append(registry.at(program_id, as_of).program.zone)
    for scope in slices(connection) if programs else ():
        _add_slice(connection, scope, programs)
    wrong: Counter[tuple[str, date, Split]] = Counter()
    for program_id, month, *values, points in run_bulk(connection, _KEPT):
        wrong[program_id, month, programs[program_id].kept(Split(*values))] += points
    kept = dict(wrong)
    for program_id, program in programs.items():
        for month, split, points in program.splits():
            wrong[program_id, month, split] -= points
    for key in sorted((key for key, points in wrong.items() if points), key=str):
        program_id, month, split = key
        here = kept.get(key, 0)
        told = f"program {program_id}, {month:%Y-%m}: {split}"
        yield None, f"{told}: kept are {here} points, and there were {here - wrong[key]}"


def _add_slice(connection: Connection, scope: Scope, programs: dict[str, _Program]) -> None:
    def rows(query: str) -> list[tuple[Any, ...]]:
        return run_bulk(connection, scope.narrow(query), scope.parameters)

    changed: dict[UUID, _Tiers] = {account_id: _Tiers(*values) for account_id, *values in rows(_TIERS)}
    for program_id, account_id, tier_id, *values in rows(_LOTS):
        programs[program_id].add_lot(_Lot(*values), changed.get(account_id) or _Tiers(tier_id))
    for program_id, account_id, tier_id, places, reserved, deficits in rows(_HELD):
        program, tiers = programs[program_id], changed.get(account_id) or _Tiers(tier_id)
        for begin, following in program.stretches(places, tiers.places):
            for bucket, points in (("reserved", reserved), ("deficit", deficits)):
                there = sum(change for place, change in zip(places, points, strict=True) if place <= begin)
                program.add(Split(bucket, tiers.at(begin), None, None), there, begin, following)


def _month(instant: datetime, zone: ZoneInfo) -> date:
    return instant.astimezone(zone).date().replace(day=1)
