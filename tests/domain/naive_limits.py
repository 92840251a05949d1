"""How many points of one customer commands have moved, for the naive model: written without the domain's code."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.domain.program import Program


@dataclass
class Moved:
    """Points that a command has moved, and that count on its own day and in its month."""

    limit: str  #: what they are held against: redeem, transfer, convert or credit
    at: datetime
    points: int
    program: Program  #: the version that decided it
    undone: int = 0

    def periods(self) -> list[str]:
        """The day and the month in which it counts, as far as its version limits them."""
        limits = getattr(self.program.limits, self.limit)
        day = (self.at + (self.at.astimezone(self.program.zone).utcoffset() or timedelta(0))).date().isoformat()
        return [day] * (limits.per_day is not None) + [day[:7]] * (limits.per_month is not None)


@dataclass
class NaiveLimits:
    """All that commands have moved of one account."""

    moved: list[Moved] = field(default_factory=list)

    def takes(self, more: Moved) -> bool:
        """Whether the customer may do that too, by the limits of the version that decides it."""
        limits, used = getattr(more.program.limits, more.limit), self.used()
        for period in more.periods():
            most = limits.per_day if len(period) == len("2026-01-31") else limits.per_month
            if used[more.limit, period] + more.points > most:
                return False
        return True

    def used(self) -> Counter[tuple[str, str]]:
        """How many points count, by limit and period."""
        found: Counter[tuple[str, str]] = Counter()
        for each in self.moved:
            for period in each.periods():
                found[each.limit, period] += each.points - each.undone
        return found
