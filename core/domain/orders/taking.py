"""Which lots the points are taken from that an order no longer earns, and what becomes of what no lot covers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from core.domain.lots import Allocation, Lot, take, taken_from
from core.domain.orders.earning import Grant
from core.domain.program import ClawbackPolicy, Program


class Deduction(NamedTuple):
    """What is taken from lots, and what becomes of the rest."""

    lots: dict[int, Lot]  #: changed
    allocations: tuple[Allocation, ...]
    pending: int  #: how much of what is taken was pending
    excused: int
    uncovered: int


def dues_of(granted: Sequence[Grant], before: Sequence[Grant], target: Sequence[Grant], due: int) -> dict[str, int]:
    """How much of `due` each kind of the order's lots owes, by what earned them."""
    owed_before, owed = _owed(granted, before), _owed(granted, target)
    dues: dict[str, int] = {}
    for earned_by, points in owed.items():
        dues[earned_by] = min(due, max(0, points - owed_before[earned_by]))
        due -= dues[earned_by]
    return dues


def _owed(granted: Sequence[Grant], kept: Sequence[Grant]) -> dict[str, int]:
    """How much of what was `granted` is lost, by what earned it.

    Where refunds make another rule the best one, what that rule gives now is set off against what the others lose.
    """
    left = dict(kept)
    more = sum(max(0, points - dict(granted).get(earned_by, 0)) for earned_by, points in kept)
    owed: dict[str, int] = {}
    for earned_by, points in granted:
        lost = max(0, points - left.get(earned_by, 0))
        owed[earned_by] = lost - min(more, lost)
        more -= min(more, lost)
    return owed


def waits(lot: Lot) -> bool:
    """Whether the lot waits for the fulfilment of its order."""
    return lot.is_pending and lot.available_at is None


def surplus_of(waiting: Sequence[Lot], held: Mapping[str, int], points: int) -> list[tuple[Lot, int]]:
    """Of which of these lots so many points are, at most, that go beyond what is `held`, by what earned them."""
    points = min(points, sum(lot.points_remaining for lot in waiting) - sum(held.values()))
    kept = dict(held)
    parts: list[int] = []
    for lot in waiting:
        of_kind = min(lot.points_remaining, kept.get(lot.earned_by, 0))
        kept[lot.earned_by] = kept.get(lot.earned_by, 0) - of_kind
        parts.append(max(0, min(points, lot.points_remaining - of_kind)))
        points -= parts[-1]
    for place, lot in enumerate(waiting):
        more = max(0, min(points, lot.points_remaining - parts[place]))
        parts[place] += more
        points -= more
    return [(lot, part) for lot, part in zip(waiting, parts, strict=True) if part]


def take_back(
    own: Sequence[Lot],
    others: Iterator[Lot],
    dues: Mapping[str, int],
    program: Program,
    as_of: datetime,
    held: Mapping[str, int] | None = None,
) -> Deduction:
    """Take what is due, as far as it goes: what each of the order's own lots owes, then from any of them, then others.

    `held` points, by what earned them, wait for the rest of an order that is fulfilled in part: what waits beyond that
    is taken first, and they are left alone.

    The others, in spending order, are read no further than needed: an account that all of a shop's walk-in customers
    share has thousands.
    """
    owed = dict(dues)
    changed: dict[int, Lot] = {}
    excused = 0
    beyond: list[tuple[Lot, int]] = []
    if held is not None:
        beyond = surplus_of([lot for lot in own if waits(lot)], held, sum(owed.values()))
        own = [lot for lot in own if not waits(lot)]
        owed = _without(owed, beyond)
    for lot in own:
        part = min(owed.get(lot.earned_by, 0), _expired_points(lot, as_of) - lot.points_excused)
        if part > 0:
            excused += part
            owed[lot.earned_by] -= part
            # From now on it has expired, also for whoever began before us and comes after us.
            changed[lot.lot_number] = lot._replace(points_excused=lot.points_excused + part, expires_with=None)
    is_pending_only = program.clawback.policy is ClawbackPolicy.PENDING_ONLY
    sources = [
        changed.get(lot.lot_number, lot)
        for lot in own
        if not lot.is_due(as_of) and (lot.is_pending or not is_pending_only)
    ]
    found, allocations, uncovered = _take_from_own(sources, owed)
    if not is_pending_only and uncovered:
        more, taken, uncovered = take(others, uncovered)
        found, allocations = found + more, allocations + taken
    found = [*(lot._replace(points_remaining=lot.points_remaining - part) for lot, part in beyond), *found]
    allocations = [*(taken_from(lot, part) for lot, part in beyond), *allocations]
    pending = sum(-part.points for lot, part in zip(found, allocations, strict=True) if lot.is_pending)
    changed |= {lot.lot_number: lot for lot in found}
    return Deduction(changed, tuple(allocations), pending, excused, uncovered)


def _without(owed: Mapping[str, int], taken: Sequence[tuple[Lot, int]]) -> dict[str, int]:
    """What is owed still: each lot's part is set off against what earned it, the rest against whatever is owed."""
    left = dict(owed)
    rest = 0
    for lot, part in taken:
        own = min(part, left.get(lot.earned_by, 0))
        left[lot.earned_by] = left.get(lot.earned_by, 0) - own
        rest += part - own
    for earned_by, points in left.items():
        left[earned_by] = points - min(rest, points)
        rest -= points - left[earned_by]
    return left


def _take_from_own(own: Sequence[Lot], owed: Mapping[str, int]) -> tuple[list[Lot], list[Allocation], int]:
    """Take from each of the order's lots what it owes, then what the others owe and no longer hold."""
    missing = dict(owed)
    parts: list[int] = []
    for lot in own:
        parts.append(min(lot.points_remaining, missing.get(lot.earned_by, 0)))
        missing[lot.earned_by] = missing.get(lot.earned_by, 0) - parts[-1]
    uncovered = sum(missing.values())
    for place, lot in enumerate(own):
        more = min(uncovered, lot.points_remaining - parts[place])
        parts[place] += more
        uncovered -= more
    taken = [(lot, part) for lot, part in zip(own, parts, strict=True) if part]
    return (
        [lot._replace(points_remaining=lot.points_remaining - part) for lot, part in taken],
        [taken_from(lot, part) for lot, part in taken],
        uncovered,
    )


def _expired_points(own: Lot, as_of: datetime) -> int:
    """How much of the lot has expired, even if the expiry run has not come yet."""
    return own.points_expired + (own.points_remaining if own.is_due(as_of) else 0)
