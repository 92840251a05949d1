"""When lots become available and expire, worked out anew: from their orders, the rules frozen with those, and facts.

A lot's expiry follows from its order and its availability, and from what moved it since: a person, by a recorded
extension, and under `inactivity` any order of the account, or the moment at which one came to count no more. Which
order that was depends on what was posted when, so any will do; but some order, or some person, must have moved it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.expiry.dates import available_at, available_by_fulfilment, expires_at
from core.domain.program import ExpiryPolicy, Program
from core.domain.program.registry import ProgramRegistry
from core.store.engine import database_now, run_bulk, stream_rows
from core.store.proof.limits_used import days_of
from core.store.proof.scope import Findings, Scope, these_accounts


class _DatedLot(NamedTuple):
    """A lot, and what its dates follow from."""

    account_id: UUID
    lot_number: int
    earned_by: str
    available_at: datetime | None
    expires_at: datetime | None
    program_id: str
    program_version: int
    ordered_at: datetime
    posted_at: datetime
    fulfilled_at: list[datetime] | None  #: from when on the order's fulfilment may count


_UTC_DAYS = """
SELECT DISTINCT o.program_id, o.program_version, l.earned_by, (l.available_at AT TIME ZONE 'UTC')::date
FROM lots l JOIN orders o ON o.account_id = l.account_id AND o.source = l.origin_source AND o.order_id = l.origin_id
  AND l.origin_kind = 'order'
"""
# All but those that are plainly right, most often none: a lot's expiry follows from the day on which it is available.
_LOTS = """
SELECT l.account_id, l.lot_number, l.earned_by, l.available_at, l.expires_at, o.program_id, o.program_version,
       o.occurred_at, e.recorded_at, f.fulfilled_at
FROM dated_lots l
-- Points that a command opened a lot with, or a deadline, came from another lot, whatever their order gives.
JOIN entries e ON e.account_id = l.account_id AND e.sequence = l.opened_by_sequence
                  AND e.command_id IS NULL AND e.kind NOT IN ('void', 'repayment')
JOIN orders o ON o.account_id = l.account_id AND o.source = l.origin_source AND o.order_id = l.origin_id
            AND l.origin_kind = 'order'
LEFT JOIN LATERAL (
    SELECT array_agg(least(greatest(v.occurred_at, o.occurred_at), v.recorded_at)) AS fulfilled_at
    FROM order_events v
    WHERE v.source = o.source AND v.order_id = o.order_id AND v.program_id = o.program_id AND v.kind = 'fulfilled'
      -- What the order earned waits for all of it; a part has lots of its own.
      AND (v.event_key = '' OR e.kind = 'release')
) f ON true
LEFT JOIN unnest(%(programs)s::text[], %(versions)s::integer[], %(earners)s::text[], %(utc)s::date[],
                 %(starts)s::timestamptz[], %(endings)s::timestamptz[], %(expiries)s::timestamptz[],
                 %(policies)s::text[], %(held_days)s::integer[])
          AS d(program_id, version, earned_by, utc, start, ending, expires_at, policy, held_days)
     ON d.program_id = o.program_id AND d.version = o.program_version AND d.earned_by = l.earned_by
        AND d.utc = (l.available_at AT TIME ZONE 'UTC')::date
        AND l.available_at >= d.start AND l.available_at < d.ending
WHERE d.policy IS NULL OR l.expires_at IS DISTINCT FROM d.expires_at
   OR CASE d.policy
      WHEN 'at_once' THEN l.available_at IS DISTINCT FROM least(o.occurred_at, e.recorded_at)
      WHEN 'after_days' THEN l.available_at IS DISTINCT FROM o.occurred_at + make_interval(hours => 24 * d.held_days)
      ELSE (l.available_at - make_interval(hours => 24 * coalesce(d.held_days, 0)) = ANY(f.fulfilled_at))
           IS DISTINCT FROM (f.fulfilled_at IS NOT NULL) END
"""
_LOTS_AT_ONCE = 1_000


class _DatedDay(NamedTuple):
    """When points expire that are available on this part of a day, and what makes them available."""

    program_id: str
    version: int
    earned_by: str
    utc: date
    start: datetime
    end: datetime
    expires_at: datetime | None
    policy: str
    held_days: int | None


_DATED_DAYS = ("programs", "versions", "earners", "utc", "starts", "endings", "expiries", "policies", "held_days")


def lots_otherwise(connection: Connection, registry: ProgramRegistry, scope: Scope) -> Findings:
    """Lots that become available, or expire, at another time than their rules and the facts give."""
    days = list(_dated_days(connection, registry, scope))
    columns: list[list[Any]] = [list(column) for column in zip(*days, strict=True)] or [[] for _ in _DATED_DAYS]
    parameters = {**scope.parameters, **dict(zip(_DATED_DAYS, columns, strict=True))}
    rows = stream_rows(connection, "lots_anew", scope.narrow(_LOTS), parameters)
    moved = _moved(map(_DatedLot._make, rows), registry)
    ends = _Ends(connection, registry)
    while lots := list(islice(moved, _LOTS_AT_ONCE)):
        ends.load({each.lot.account_id for each in lots if each.is_explicable})
        yield from (_difference(each) for each in lots if not _is_explained(each, ends))


def _dated_days(connection: Connection, registry: ProgramRegistry, scope: Scope) -> Iterator[_DatedDay]:
    for program_id, version, earned_by, utc in run_bulk(connection, scope.narrow(_UTC_DAYS), scope.parameters):
        program = _version(registry, program_id, version)
        if program is None or utc is None or earned_by not in program.expiries:
            continue
        held, expiry = program.availability, program.expiries[earned_by]
        for day in days_of(program.time_zone, utc):
            end = expires_at(expiry, program.zone, day.start)
            yield _DatedDay(program_id, version, earned_by, utc, day.start, day.end, end, held.policy.value, held.days)


def _version(registry: ProgramRegistry, program_id: str, version: int) -> Program | None:
    versions = registry.programs(program_id)
    return versions[version - 1] if 1 <= version <= len(versions) else None


class _MovedLot(NamedTuple):
    """A lot that does not expire when its order alone gives, or whose rules are not there."""

    lot: _DatedLot
    text: str
    given: datetime | None = None  #: when its order alone lets it expire
    is_explicable: bool = False  #: by a person or an activity


def _moved(lots: Iterable[_DatedLot], registry: ProgramRegistry) -> Iterator[_MovedLot]:
    for lot in lots:
        program = _version(registry, lot.program_id, lot.program_version)
        if program is None or lot.earned_by not in program.expiries:
            yield _MovedLot(lot, f"has the expiry of {lot.earned_by or 'its program'}, which is not there")
            continue
        available = _available(lot, program)
        if lot.available_at not in available:
            gives = " or ".join(map(_text, available))
            yield _MovedLot(lot, f"is available at {_text(lot.available_at)}, but its order gives {gives}")
            continue
        given = expires_at(program.expiries[lot.earned_by], program.zone, lot.available_at)
        if lot.expires_at != given:
            text = f"expires at {_text(lot.expires_at)}, but its order gives {_text(given)}, and nothing has moved it"
            yield _MovedLot(lot, text, given, is_explicable=given is not None and lot.expires_at is not None)


def _available(lot: _DatedLot, program: Program) -> list[datetime | None]:
    """From when on the lot may be available; None: not yet."""
    held, ordered_at = program.availability, lot.ordered_at
    available = available_at(held, ordered_at, lot.posted_at)
    if not held.is_by_fulfilment or not lot.fulfilled_at:
        return [available]
    return [available_by_fulfilment(held, ordered_at, at, at) for at in sorted(lot.fulfilled_at)]


def _difference(moved: _MovedLot) -> tuple[UUID, str]:
    return moved.lot.account_id, f"lot {moved.lot.lot_number} of account {moved.lot.account_id} {moved.text}"


def _is_explained(moved: _MovedLot, ends: "_Ends") -> bool:
    lot = moved.lot
    if not moved.is_explicable:
        return False
    return lot.expires_at in ends.of(moved)


class _Ends:
    """The instants to which persons and activities may have moved the expiry of lots.

    Of the accounts of the last load: an account of very many lots has several, one after the other.
    """

    def __init__(self, connection: Connection, registry: ProgramRegistry) -> None:
        self._connection = connection
        now = database_now(connection)
        self._begun = {program_id: registry.begun(program_id, now) for program_id in registry.program_ids()}
        self._extensions: dict[UUID, dict[int, list[_Move]]] = {}
        self._activities: dict[UUID, set[datetime]] = {}
        self._turns: dict[UUID, set[datetime]] = {}  #: when orders may have come to count no more
        self._shared: dict[tuple[UUID, str], set[datetime | None]] = {}

    def load(self, account_ids: set[UUID]) -> None:
        """Load what moved lots of these accounts, and forget the others."""
        new = account_ids - self._extensions.keys()
        scope = these_accounts(new)
        extensions, activities = _extensions(self._connection, scope), _instants(self._connection, _ACTIVITIES, scope)
        turns = _instants(self._connection, _TURNS, scope)
        for account_id in self._extensions.keys() - account_ids:
            del self._extensions[account_id], self._activities[account_id], self._turns[account_id]
        for account_id in new:
            self._extensions[account_id] = extensions.get(account_id, {})
            self._activities[account_id] = activities.get(account_id, set())
            self._turns[account_id] = turns.get(account_id, set())
        self._shared = {key: ends for key, ends in self._shared.items() if key[0] in account_ids}

    def of(self, moved: _MovedLot) -> set[datetime | None]:
        """Those for this lot."""
        lot = moved.lot
        versions = _sliding(self._begun.get(lot.program_id, ()), lot.earned_by)
        if not versions:
            end = moved.given
            for step in self._extensions[lot.account_id].get(lot.lot_number, ()):
                end = step.to if step.since == end else end  # a change that is recorded again moves nothing
            return {end}
        key = lot.account_id, lot.earned_by
        if key not in self._shared:
            # All such points of the account expire together, and a person may have extended them.
            ends: set[datetime | None] = set()
            ends.update(step.to for steps in self._extensions[lot.account_id].values() for step in steps)
            ends.update(
                expires_at(program.expiries.get(lot.earned_by, program.expiry), program.zone, active_at)
                for program in versions
                for active_at in self._activities[lot.account_id]
            )
            ends |= self._turns[lot.account_id]
            self._shared[key] = ends
        return self._shared[key]


def _sliding(versions: Iterable[Program], earned_by: str) -> list[Program]:
    """The versions by which activity moves the expiry of such lots."""
    return [
        program
        for program in versions
        if program.expiries.get(earned_by, program.expiry).policy is ExpiryPolicy.INACTIVITY
    ]


class _Move(NamedTuple):
    """A lot was to expire at one instant, and a person has moved it to another."""

    since: datetime | None
    to: datetime


_EXTENSIONS = """
SELECT account_id, substr(subject, 5)::integer, (found->>'expires_at')::timestamptz,
       (rebuilt->>'expires_at')::timestamptz
FROM repairs
WHERE subject ~ '^lot [0-9]+$' AND rebuilt ? 'expires_at' AND {condition} ORDER BY repair_id
"""


def _extensions(connection: Connection, scope: Scope) -> dict[UUID, dict[int, list[_Move]]]:
    """When persons let lots of these accounts expire, oldest change first."""
    found: dict[UUID, dict[int, list[_Move]]] = defaultdict(dict)
    statement = _EXTENSIONS.format(condition=scope.condition)
    for account_id, lot_number, *move in run_bulk(connection, statement, scope.parameters):
        found[account_id].setdefault(lot_number, []).append(_Move._make(move))
    return found


_ACTIVITIES = """
SELECT account_id, occurred_at FROM orders WHERE {condition}
UNION
SELECT account_id, origin_at FROM lots WHERE {condition}
UNION
SELECT account_id, available_at FROM lots WHERE available_at IS NOT NULL AND {condition}
UNION
SELECT account_id, occurred_at FROM entries WHERE command_id IS NOT NULL AND {condition}
"""
#: When something was recorded that may have left nothing of an order.
_TURNS = """
SELECT account_id, recorded_at FROM refunds WHERE {condition}
UNION
SELECT account_id, recorded_at FROM order_events WHERE {condition}
"""


def _instants(connection: Connection, statement: str, scope: Scope) -> dict[UUID, set[datetime]]:
    """What the statement finds of these accounts."""
    found: dict[UUID, set[datetime]] = defaultdict(set)
    statement = statement.format(condition=scope.condition)
    for account_id, occurred_at in run_bulk(connection, statement, scope.parameters):
        found[account_id].add(occurred_at)
    return found


def _text(instant: datetime | None) -> str:
    return "no time" if instant is None else instant.isoformat()
