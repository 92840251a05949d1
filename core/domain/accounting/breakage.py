"""Breakage: how many of the points that are outstanding will expire unused, by what became of those before them.

Only points whose time is over count: of those it is known what became of them. Of such points that were still there
at some age, counted in months from the one in which they were earned, a share has expired in the end. That share is
what is expected of the points of this age that are outstanding now. What refunds took back counts on neither side.
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

#: How far the history reaches back that the estimate rests on.
HISTORY_MONTHS = 24


class BreakageHistory(NamedTuple):
    """What became of points whose time was over within HISTORY_MONTHS before an instant."""

    points_expired: int = 0
    points_spent: Mapping[int, int] = {}  #: by their age in months when they were spent; below zero: more came back

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to estimate by."""
        return self.points_expired <= 0 and not any(points > 0 for points in self.points_spent.values())

    def rate(self, age_months: int) -> Fraction | None:
        """The share of points of this age that will expire; of those older than all before, all. None: no history."""
        if self.is_empty:
            return None
        spent = sum(points for age, points in self.points_spent.items() if age >= age_months)
        still_there = self.points_expired + max(0, spent)
        return Fraction(max(0, self.points_expired), still_there) if still_there > 0 else Fraction(0)


def months_apart(earlier: tuple[int, int], later: tuple[int, int]) -> int:
    """How many months lie between two months, given as year and month; 0 for the same one, and never below."""
    return max(0, (later[0] - earlier[0]) * 12 + later[1] - earlier[1])
