"""From which lots the clawbacks of an order took, and what of that has not come back."""

from collections.abc import Iterable
from typing import NamedTuple

from core.domain.lots import Allocation, AllocationKind


class Take(NamedTuple):
    """So many points of a lot were taken and have not come back."""

    lot_number: int
    points: int


def note_takes(takes: list[Take], allocations: Iterable[Allocation]) -> None:
    """Carry on what an order's clawbacks have taken with the allocations of one more of its entries."""
    for allocation in allocations:
        if allocation.kind is AllocationKind.TAKEN:
            takes.append(Take(allocation.lot_number, -allocation.points))
        elif allocation.kind is AllocationKind.RETURNED:
            _less(takes, allocation.lot_number, allocation.points)


def _less(takes: list[Take], lot_number: int, points: int) -> None:
    """What came back was taken last."""
    for place in reversed(range(len(takes))):
        take = takes[place]
        if take.lot_number == lot_number and points:
            part = min(points, take.points)
            takes[place] = take._replace(points=take.points - part)
            points -= part
