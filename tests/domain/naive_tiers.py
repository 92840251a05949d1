"""Tiers, worked out a second time, from all facts at once: nothing is kept from one question to the next.

What counts is added up anew, from all orders, each time that it is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from core.domain.program import Program
from tests.domain.naive_time import DAY, period_of

MICROSECOND = timedelta(microseconds=1)


class Worth(NamedTuple):
    """What is kept of an order."""

    points: int
    spend: int
    orders: int


@dataclass
class Sold:
    """An order, and what was kept of it when: its own instant first, then those of its refunds, in time."""

    at: datetime
    kept: list[tuple[datetime, Worth]]
    before_refunds: Worth | None = None  #: if that is not the first of `kept`

    def worth(self, program: Program, now: datetime) -> int:
        worth = [worth for since, worth in self.kept if since <= now][-1]
        if program.qualification.refunds.value == "never":
            worth = self.before_refunds or self.kept[0][1]
        return int(getattr(worth, program.qualification.measure.value))

    def worth_as_ordered(self, program: Program, now: datetime) -> int:
        """What it is worth to an order of this instant, before the refunds of the same instant."""
        kept = [self.kept[0], *((since, worth) for since, worth in self.kept[1:] if since < now)]
        return Sold(self.at, kept, self.before_refunds).worth(program, now)


class Held(NamedTuple):
    """A hold by hand."""

    at: datetime
    tier: str
    until: datetime


@dataclass
class NaiveTiers:
    """The tiers of one account through time."""

    orders: list[Sold]
    version_at: Callable[[datetime], Program]
    holds: list[Held] = field(default_factory=list)
    begun: datetime | None = None
    tier: str = ""
    first: str = ""
    changes: list[tuple[datetime, str]] = field(default_factory=list)
    reviewed: dict[datetime, int] = field(default_factory=dict)  #: what each review counted, by when it was due
    until: datetime | None = None
    held_until: datetime | None = None
    seen: datetime | None = None  #: the instant up to which time has passed

    def run(self, end: datetime) -> "NaiveTiers":
        """Go through all that happens by `end`."""
        orders = sorted(self.orders, key=lambda sold: sold.at)
        kept = [sold.at for sold in orders if sold.kept[-1][1].orders]
        years_of_members = self.version_at(end).qualification.window.value == "membership_year"
        self.begun = kept[0] if kept and years_of_members else orders[0].at if orders else self.begun
        refunds = [(since, 2, sold) for sold in orders for since, _ in sold.kept[1:]]
        facts = [*((held.at, 0, held) for held in self.holds), *((sold.at, 1, sold) for sold in orders), *refunds]
        facts = sorted((fact for fact in facts if fact[0] <= end), key=lambda fact: fact[:2])
        start = facts[0][0] if facts else end
        self.first = self.tier = self.version_at(start).tiers[0].tier_id
        for at, kind, what in facts:
            self._pass_to(at)
            if kind == 0:
                self._hold(what)
            elif kind == 1:
                self._order(what)
            else:
                self._refund(at)
        self._pass_to(end)
        return self

    def at(self, instant: datetime) -> str:
        """The tier in force then."""
        return [self.first, *(tier for since, tier in self.changes if since <= instant)][-1]

    def counted(self, start: datetime | None, now: datetime) -> int:
        """What orders from `start` on count now."""
        program = self.version_at(now)
        return sum(sold.worth(program, now) for sold in self.orders if start is None or sold.at >= start)

    def told_with(self, reason: str, at: datetime) -> set[int]:
        """What a tier change of this reason and instant may be told with: the one count, but for orders made at once.

        Those come one after another, and which of them came first is not known.
        """
        running, program = self._period(at), self.version_at(at)
        orders = [sold for sold in self.orders if sold.at <= at and (running is None or sold.at >= running[0])]
        if reason == "reviewed" or (reason == "corrected" and at in self.reviewed):
            return {self.reviewed[at]}
        if reason == "qualified":
            before = sum(sold.worth_as_ordered(program, at) for sold in orders if sold.at < at)
            sums = {before}
            for worth in (sold.worth_as_ordered(program, at) for sold in orders if sold.at == at):
                sums |= {each + worth for each in sums}
            return sums - {before}
        if reason == "held":  # which comes before what else happens at its instant
            return {sum(sold.worth(program, at - MICROSECOND) for sold in orders if sold.at < at)}
        return {sum(sold.worth(program, at) for sold in orders)}

    def _pass_to(self, now: datetime) -> None:
        while self.until is not None and self._due() <= now:
            self._review()
        program = self.version_at(now)
        if self.seen is not None and _way(self.version_at(self.seen)) != _way(program):
            if self._period(now) is None:
                self.until = self.until if self.held_until else None
            elif self._window(self.seen) == "lifetime" and self.until is None and self.tier != program.tiers[0].tier_id:
                self.until = self._following(self._period(now)[1], now)
        self.seen = now

    def _due(self) -> datetime:
        assert self.until is not None
        return self.until + timedelta(days=self.version_at(self.until).qualification.grace_days)

    def _review(self) -> None:
        end, due = self.until, self._due()
        assert end is not None
        program = self.version_at(end)
        ended = self._period(end - 2 * DAY, end)
        following = self._period(end + 2 * DAY, end)
        self.seen = max(self.seen or due, due)
        just_before = due - MICROSECOND
        units = sum(
            sold.worth(program, just_before)
            for sold in self.orders
            if sold.at < (end if ended else due) and (ended is None or ended[0] <= sold.at)
        )
        self.reviewed[due] = units
        if following is None and self.held_until is None:
            self.until = None
            return
        self.held_until, self.until = None, following[1] if following else None
        fitting, names = _reached(program, units), [tier.tier_id for tier in program.tiers]
        now = names.index(self.tier) if self.tier in names else None
        lowered = fitting
        if now is not None:
            lowest = {"to_fit": fitting, "one_step": max(fitting, now - 1), "never": now}
            lowered = min(now, lowest[program.qualification.downgrade.value])
        if lowered != now:
            since = max([due, *(since for since, _ in self.changes[-1:])])
            self.reviewed[since] = units
            self._move(names[lowered], since)
        if self.tier == names[0]:
            self.until = None

    def _order(self, sold: Sold) -> None:
        program, names = self.version_at(sold.at), [tier.tier_id for tier in self.version_at(sold.at).tiers]
        if sold.worth_as_ordered(program, sold.at) <= 0:
            return
        period = self._period(sold.at)
        end = period[1] if period else None
        if self.until is None and self.tier != names[0]:
            self.until = end
        units = sum(
            each.worth_as_ordered(program, sold.at)
            for each in self.orders
            if each.at <= sold.at and (period is None or each.at >= period[0])
        )
        now = names.index(self.tier) if self.tier in names else -1
        if _reached(program, units) > now:
            if self.held_until and self.until and end:
                end = max(end, self.until)
            self._move(names[_reached(program, units)], sold.at)
            self.until = end

    def _refund(self, at: datetime) -> None:
        program, names = self.version_at(at), [tier.tier_id for tier in self.version_at(at).tiers]
        if program.qualification.refunds.value != "at_once" or (self.held_until and at < self.held_until):
            return
        as_kept = [
            Sold(sold.at, [(sold.at, [worth for since, worth in sold.kept if since <= at][-1])], sold.kept[0][1])
            for sold in self.orders
            if sold.at <= at
        ]
        holds = [held for held in self.holds if held.at <= at]
        would_be = NaiveTiers(as_kept, self.version_at, holds, self.begun).run(at)
        place = {tier: number for number, tier in enumerate(names)}
        if place.get(would_be.tier, -1) < place.get(self.tier, -1):
            self._move(would_be.tier, at)
            self.until = would_be.until

    def _hold(self, held: Held) -> None:
        period = self._period(held.until - MICROSECOND, held.at)
        self.until, self.held_until = (period[1] if period else held.until), held.until
        if held.tier != self.tier:
            self._move(held.tier, held.at)

    def _move(self, tier: str, at: datetime) -> None:
        self.tier = tier
        self.changes.append((at, tier))

    def _window(self, at: datetime) -> str:
        return self.version_at(at).qualification.window.value

    def _period(self, at: datetime, by: datetime | None = None) -> tuple[datetime, datetime] | None:
        """The period of an instant, as the version has it that is in force at `by`."""
        return period_of(self.version_at(by or at), at, self.begun or at)

    def _following(self, end: datetime, by: datetime) -> datetime:
        period = self._period(end + 2 * DAY, by)
        assert period is not None
        return period[1]


def _way(program: Program) -> tuple[object, ...]:
    terms = program.qualification
    return terms.measure, terms.window, terms.months, terms.refunds.value == "never", program.time_zone


def _reached(program: Program, units: int) -> int:
    """How many tiers above the first the units reach."""
    field_name = {"points": "threshold_points", "spend": "threshold_amount", "orders": "threshold_orders"}
    measure = program.qualification.measure.value
    thresholds = [getattr(tier, field_name[measure]) * (100 if measure == "spend" else 1) for tier in program.tiers]
    return max(place for place, threshold in enumerate(thresholds) if threshold <= units or place == 0)
