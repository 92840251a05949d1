"""What a simulation found, put into the rows that the terminal, the HTML report and JSON show."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from core.domain.program import Program
from core.simulating.comparing import AccountChange, Comparison, Side
from workers.cli.output import time_text

_TOTALS: tuple[tuple[str, Callable[[Side], int]], ...] = (
    ("Orders", lambda side: side.tally.orders),
    ("Orders that earn", lambda side: side.tally.orders_earning),
    ("Orders refused", lambda side: side.tally.orders_refused),
    ("Points granted", lambda side: side.tally.points_granted),
    ("Points clawed back", lambda side: side.tally.points_clawed_back),
    ("Points granted less clawed back", lambda side: side.tally.points_net),
    ("Points expired", lambda side: side.tally.points_expired),
    ("Points open at the end", lambda side: side.points_open),
)


class Figures(NamedTuple):
    """One row of the totals."""

    name: str
    before: int | Decimal
    after: int | Decimal

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """The row as text."""
        return self.name, f"{self.before:,}", f"{self.after:,}", f"{self.after - self.before:+,}"


class Simulation(NamedTuple):
    """A comparison, and what it was made of."""

    program_id: str
    changed: Program
    since: datetime | None
    until: datetime
    point_value: Decimal | None
    comparison: Comparison

    @property
    def caption(self) -> str:
        """What was compared with what, in two sentences."""
        start = "all orders" if self.since is None else f"orders from {time_text(self.since)} on"
        tally = self.comparison.before.tally
        none = "" if tally.orders or tally.orders_refused else " No order is recorded in that time."
        return (
            f"The simulated program judges {start}, up to {time_text(self.until)}. In force: the versions of "
            f"{self.program_id} that were applied, run over the same orders in the same way, so that every difference "
            f"comes from the program alone.{none}"
        )

    @property
    def totals(self) -> list[Figures]:
        """The totals of both sides; with the value of a point also what they cost."""
        one, other = self.comparison.before, self.comparison.after
        found = [Figures(name, count(one), count(other)) for name, count in _TOTALS]
        if self.point_value is not None:
            costs = [side.tally.points_net * self.point_value for side in (one, other)]
            found.append(Figures(f"Cost, {self.changed.currency}", *costs))
        return found

    @property
    def by_name(self) -> list[tuple[str, int, int]]:
        """Points by rule and promotion: those of the simulated program first, then those that it has no more."""
        one, other = self.comparison.before.tally.by_name, self.comparison.after.tally.by_name
        names = [rule.rule_id for rule in self.changed.earning_rules]
        names += [promotion.promotion_id for promotion in self.changed.promotions]
        names += sorted((one.keys() | other.keys()) - set(names))
        return [(name, one[name], other[name]) for name in names]

    @property
    def tiers(self) -> list[str]:
        """Every tier in which an account is on either side; those of the simulated program in its order."""
        known = [tier.tier_id for tier in self.changed.tiers]
        found = self.comparison.before.tiers.keys() | self.comparison.after.tiers.keys()
        found |= {tier for move in self.comparison.tier_moves for tier in move}
        return known + sorted(found - set(known))

    @property
    def matrix(self) -> list[tuple[str, ...]]:
        """How many accounts are in which tier before (rows) and after (columns)."""
        moves = self.comparison.tier_moves
        return [(tier, *(f"{moves[tier, other]:,}" for other in self.tiers)) for tier in self.tiers]

    def most_affected(self, accounts_max: int) -> list[AccountChange]:
        """The accounts that change at all, the largest difference first."""
        changed = [a for a in self.comparison.accounts if a.difference or a.tier_before != a.tier_after]
        return changed[:accounts_max]

    def document(self, accounts_max: int) -> dict[str, Any]:
        """Give all of it for JSON."""
        accounts = self.comparison.accounts
        return {
            "program_id": self.program_id,
            "since": self.since,
            "until": self.until,
            "point_value": None if self.point_value is None else str(self.point_value),
            "in_force": self._side(self.comparison.before),
            "simulated": self._side(self.comparison.after),
            "by_name": [{"name": name, "in_force": one, "simulated": other} for name, one, other in self.by_name],
            "tier_moves": [
                {"in_force": one, "simulated": other, "accounts": count}
                for (one, other), count in sorted(self.comparison.tier_moves.items())
            ],
            "accounts": len(accounts),
            "accounts_with_more_points": sum(change.difference > 0 for change in accounts),
            "accounts_with_fewer_points": sum(change.difference < 0 for change in accounts),
            "accounts_most_affected": self.most_affected(accounts_max),
        }

    def _side(self, side: Side) -> dict[str, Any]:
        tally = side.tally
        return {
            "orders": tally.orders,
            "orders_earning": tally.orders_earning,
            "orders_refused": tally.orders_refused,
            "points_granted": tally.points_granted,
            "points_clawed_back": tally.points_clawed_back,
            "points_expired": tally.points_expired,
            "points_open": side.points_open,
            "cost": None if self.point_value is None else str(tally.points_net * self.point_value),
            "tiers": dict(side.tiers),
            "granted_by_month": dict(sorted(tally.granted_by_month.items())),
        }
