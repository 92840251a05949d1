"""What a simulation found, put into the rows that the terminal, the HTML report and JSON show."""

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from core.domain.program import Program
from core.domain.program.registry import ProgramVersion
from core.messages.program_files.program_file import describe_differences
from core.simulating.comparing import AccountChange, Comparison, Side
from workers.cli.output import count_text, time_text
from workers.cli.version_commands import since_text

_NET = "Points granted less clawed back"
_TOTALS: tuple[tuple[str, Callable[[Side], int]], ...] = (
    ("Orders", lambda side: side.tally.orders),
    ("Orders that earn", lambda side: side.tally.orders_earning),
    ("Orders refused", lambda side: side.tally.orders_refused),
    ("Points granted", lambda side: side.tally.points_granted),
    ("Points clawed back", lambda side: side.tally.points_clawed_back),
    (_NET, lambda side: side.tally.points_net),
    ("Points expired", lambda side: side.tally.points_expired),
    ("Points open at the end", lambda side: side.points_open),
)
_OPEN_BEFORE = "Points open at the start"


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

    in_force: ProgramVersion  #: at its end
    changed: Program
    since: datetime | None
    until: datetime
    point_value: Decimal | None
    comparison: Comparison

    @property
    def title(self) -> str:
        """The program by its name and id."""
        return f"{self.in_force.program.name} ({self.in_force.program_id})"

    @property
    def headline(self) -> str:
        """What would have come of it, in one sentence."""
        one, other = self.comparison.before.tally, self.comparison.after.tally
        if not one.orders and not one.orders_refused:
            return f"No order of {self.title} is recorded in that time, so there is nothing to compare."
        clauses = list(self._changes())
        if not clauses:
            return f"With this file nothing would have been different for the recorded orders of {self.title}."
        if one.points_net == other.points_net:
            clauses.insert(0, f"given the same {other.points_net:,} points after refunds")
        said = f"{', '.join(clauses[:-1])} and {clauses[-1]}" if len(clauses) > 1 else clauses[0]
        return f"With this file {self.title} would have {said}."

    def _changes(self) -> Iterator[str]:
        """What is different, each to be read after "would have"."""
        one, other = self.comparison.before.tally, self.comparison.after.tally
        if one.points_net != other.points_net:
            change = _change_text(one.points_net, other.points_net)
            yield f"given {other.points_net:,} points after refunds instead of {one.points_net:,}{change}"
        if one.points_expired != other.points_expired:
            yield f"let {other.points_expired:,} points expire instead of {one.points_expired:,}"
        if one.orders_refused != other.orders_refused:
            yield f"refused {count_text(other.orders_refused, 'order')} instead of {one.orders_refused:,}"
        moved = sum(count for (before, after), count in self.comparison.tier_moves.items() if before != after)
        if moved:
            total = count_text(len(self.comparison.accounts), "customer")
            yield f"put {moved:,} of {total} into another tier"
        if self.point_value is not None and one.points_owed != other.points_owed:
            costs = [self.cost(side) for side in (self.comparison.before, self.comparison.after)]
            yield f"cost {self.changed.currency} {costs[1]:,} instead of {costs[0]:,}"

    @property
    def differences(self) -> list[str]:
        """What the file changes in the version in force, one line for each value."""
        return describe_differences(self.in_force.program, self.changed)

    @property
    def compared(self) -> str:
        """What the differences are to be read under."""
        version = f"version {self.in_force.version}, {since_text(self.in_force)}"
        if self.differences:
            return f"Compared with {version}, the file changes:"
        return f"The file says the same as {version}."

    @property
    def caption(self) -> str:
        """What was compared with what."""
        start = "all orders" if self.since is None else f"orders from {time_text(self.since)} on"
        said = (
            f"The simulated program judges {start}, up to {time_text(self.until)}. In force: the same orders, run in "
            "the same way, each under the version that judged it. So every difference comes from the program alone."
        )
        earlier = self.comparison.before.tally.orders_of_other_versions
        if earlier:
            orders = count_text(earlier, "order was", "orders were")
            said += f" {orders} judged by another version than that of the order's time, since that was backdated."
        return said

    @property
    def totals(self) -> list[Figures]:
        """The totals of both sides; with the value of a point also what they cost.

        Open at the start, and granted less clawed back, less what expired, make what is open at the end.
        """
        one, other = self.comparison.before, self.comparison.after
        found = [Figures(name, count(one), count(other)) for name, count in _TOTALS]
        if self.since is not None:
            opened = Figures(_OPEN_BEFORE, one.tally.points_open_before, other.tally.points_open_before)
            found.insert([figures.name for figures in found].index("Points granted"), opened)
        if self.point_value is not None:
            found.append(Figures(f"Cost, {self.changed.currency}", self.cost(one), self.cost(other)))
        return found

    def cost(self, side: Side) -> Decimal:
        """What the points cost that were granted, and neither taken back nor expired."""
        assert self.point_value is not None
        return side.tally.points_owed * self.point_value

    @property
    def by_name(self) -> list[tuple[str, int, int]]:
        """Points by rule and promotion after refunds, and what they come to: the points granted less clawed back.

        What refunds did not take back stays with the customers, although no rule gives it any more.
        """
        one, other = self.comparison.before.tally, self.comparison.after.tally
        rows = self.given
        if one.points_not_taken or other.points_not_taken:
            rows = [*rows, ("(refunded, not taken back)", one.points_not_taken, other.points_not_taken)]
        return [*rows, (f"({_NET[0].lower()}{_NET[1:]})", one.points_net, other.points_net)]

    @property
    def given(self) -> list[tuple[str, int, int]]:
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
            "program_id": self.in_force.program_id,
            "program_name": self.in_force.program.name,
            "headline": self.headline,
            "compared_with_version": self.in_force.version,
            "differences": self.differences,
            "since": self.since,
            "until": self.until,
            "point_value": None if self.point_value is None else str(self.point_value),
            "in_force": self._side(self.comparison.before),
            "simulated": self._side(self.comparison.after),
            "by_name": [{"name": name, "in_force": one, "simulated": other} for name, one, other in self.given],
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
            "points_not_taken_back": tally.points_not_taken,
            "points_expired": tally.points_expired,
            "points_open_before": tally.points_open_before,
            "points_open": side.points_open,
            "cost": None if self.point_value is None else str(self.cost(side)),
            "tiers": dict(side.tiers),
            "granted_by_month": dict(sorted(tally.granted_by_month.items())),
        }


def _change_text(before: int, after: int) -> str:
    return f" ({(after - before) / before:+.1%})" if before > 0 else ""
