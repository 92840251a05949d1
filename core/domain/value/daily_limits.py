"""What sources may move by one command, and by all of a kind on one day, whatever accounts it is about."""

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from core.domain.decision import Decision
from core.domain.outcomes import Rejected, RejectionCode


class SourceDay(NamedTuple):
    """The commands of one kind that a source has done on one day."""

    source: str
    type: str
    day: date  #: in UTC


def within_command(decision: Decision, points_max: int) -> Decision | Rejected:
    """Reject a command that moves more points than its source may by one: all that is held, say, or was done before."""
    points = _points_of(decision)
    if points <= points_max:
        return decision
    return Rejected(
        RejectionCode.SOURCE_LIMIT_REACHED,
        f"one command of this kind from this source may move {points_max:,} points, and this one would move {points:,}",
        "name fewer in data.points where the command takes them, or have points_per_command_max raised in the file of "
        "sources",
    )


def _points_of(decision: Decision) -> int:
    assert decision.answer is not None
    points = decision.answer.told.get("points", 0)
    assert isinstance(points, int)
    return points


class DailyPoints:
    """What sources have moved so far; it counts on as commands are decided."""

    def __init__(self, moved: Mapping[SourceDay, int]) -> None:
        """`moved` is what was posted before; absent: nothing."""
        self._moved = dict(moved)
        self.added: dict[SourceDay, int] = {}  #: by what was decided since
        self.limits: dict[SourceDay, int] = {}  #: the largest under which something was added

    def within(self, key: SourceDay, decision: Decision, points_max: int) -> Decision | Rejected:
        """Count the points that a command moves, or reject it where they would be more than its source may move."""
        points = _points_of(decision)
        moved = self._moved.get(key, 0) + self.added.get(key, 0)
        if moved + points > points_max:
            return Rejected(
                RejectionCode.SOURCE_LIMIT_REACHED,
                f"commands of this kind from this source may move {points_max:,} points on one day in UTC; "
                f"{moved:,} are moved, and this one would move {points:,}",
                "send it tomorrow under a new id, or have points_per_day_max raised in the file of sources",
            )
        if points:
            self.added[key] = self.added.get(key, 0) + points
            self.limits[key] = max(self.limits.get(key, 0), points_max)
        return decision
