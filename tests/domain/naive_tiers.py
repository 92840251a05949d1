"""Tiers, worked out a second time. What counts is added up anew, from all orders, each time that it is asked."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from core.domain.program import Program
from tests.domain.naive_time import DAY, months_later, period_of

Units = list[tuple[datetime, int]]  #: when each order occurred, and what it counts


@dataclass
class NaiveTiers:
    """The tier of one account, as it follows from what was posted so far."""

    tier: str
    changes: list[tuple[datetime, str]] = field(default_factory=list)
    until: datetime | None = None
    counted_from: datetime | None = None
    enrolled_at: datetime | None = None

    def copy(self) -> "NaiveTiers":
        return NaiveTiers(self.tier, [*self.changes], self.until, self.counted_from, self.enrolled_at)

    @property
    def since(self) -> datetime | None:
        return self.changes[-1][0] if self.changes else None

    def at(self, instant: datetime, program: Program) -> str:
        """The tier in force then."""
        found = program.tiers[0].tier_id
        for since, tier in self.changes:
            if since <= instant:
                found = tier
        return found

    def counted(self, orders: Units) -> int:
        """What counts in the current period."""
        return sum(units for at, units in orders if self.counted_from is None or at >= self.counted_from)

    def review(self, now: datetime, program: Program, orders: Units) -> None:
        """Make the reviews that are due."""
        grace = timedelta(days=program.qualification.grace_days)
        while self.until is not None and self.until + grace <= now:
            end = self.until
            ended, following = (self._period(program, at) for at in (end - timedelta(microseconds=1), end))
            assert ended is not None
            assert following is not None
            units = sum(units for at, units in orders if ended[0] <= at < end)
            if self.counted_from is None or self.counted_from < following[0]:
                self.counted_from = following[0]
            self.until = following[1]
            self._lower(_reached(program, units), end + grace, program)
            if self.tier == program.tiers[0].tier_id:
                self.until = None

    def _lower(self, fitting: int, at: datetime, program: Program) -> None:
        names = [tier.tier_id for tier in program.tiers]
        now = names.index(self.tier)
        if fitting < now and program.qualification.downgrade.value != "never":
            lowered = now - 1 if program.qualification.downgrade.value == "one_step" else fitting
            self.tier = names[lowered]
            self.changes.append((at, self.tier))

    def order(self, at: datetime, units: int, program: Program, others: Units) -> bool:
        """Count an order; whether it moved the account up."""
        if self.enrolled_at is None:
            self.enrolled_at = at
        period = self._period(program, at)
        if units <= 0:
            return False
        end = None
        if period is not None:
            end = period[1]
            if self.counted_from is None or period[0] > self.counted_from:
                self.counted_from = period[0]
            elif at < self.counted_from:
                return False
            elif period[0] < self.counted_from:  # rolling months: a late one, of an earlier month of the same period
                begun = (self.counted_from + DAY).astimezone(program.zone).date()
                in_last = months_later(begun, program.qualification.months or 0)
                found = self._period(program, datetime(*in_last.timetuple()[:3], tzinfo=program.zone))
                assert found is not None
                end = found[1]
        names = [tier.tier_id for tier in program.tiers]
        reached = _reached(program, self.counted([*others, (at, units)]))
        if reached <= names.index(self.tier):
            return False
        self.tier = names[reached]
        self.changes.append((max(at, self.since or at), self.tier))
        self.until = end
        return True

    def refund(self, ordered_at: datetime, refunded_at: datetime, program: Program, orders: Units) -> None:
        """See what a refund does to the tier. `orders` are as the refund leaves them."""
        period = self._period(program, ordered_at)
        if program.qualification.refunds.value != "at_once" or self.since is None:
            return
        if self.until is not None and self.until + timedelta(days=program.qualification.grace_days) <= refunded_at:
            return
        floor = 0
        names = [tier.tier_id for tier in program.tiers]
        if period is not None:
            start = self.counted_from
            if start is None or ordered_at < start or period[0] > start or self.since < start:
                return
            floor = names.index(self.at(start, program))
        fitting = max(floor, _reached(program, self.counted(orders)))
        if fitting < names.index(self.tier):
            self.tier = names[fitting]
            self.changes.append((max(refunded_at, self.since), self.tier))
            if fitting == 0:
                self.until = None

    def _period(self, program: Program, at: datetime) -> tuple[datetime, datetime] | None:
        return period_of(program, at, self.enrolled_at or at)


def _reached(program: Program, units: int) -> int:
    """How many tiers above the first the units reach."""
    field_name = {"points": "threshold_points", "spend": "threshold_amount", "orders": "threshold_orders"}
    measure = program.qualification.measure.value
    thresholds = [getattr(tier, field_name[measure]) * (100 if measure == "spend" else 1) for tier in program.tiers]
    return max(place for place, threshold in enumerate(thresholds) if threshold <= units or place == 0)
