"""How the naive model judges an order: its tier, what it is for, and what other orders have left of limits."""

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction

from core.domain.orders.facts import Order
from core.domain.program import Program, SpendRule
from tests.domain.naive_earning import Judged, fits, naive_earned
from tests.domain.naive_sales import Sale, Told, is_reached, limits_of, looks_for, name_of
from tests.domain.naive_tiers import NaiveTiers, Sold


@dataclass
class NaiveOrders:
    """The orders of one account."""

    program: Program  #: in force now
    sales: dict[str, Sale] = field(default_factory=dict)
    changed_at: datetime | None = None  #: when the program in force replaced the first one
    others: list["NaiveOrders"] = field(default_factory=list)  #: of other customers, who use the same budgets
    first_program: Program = field(init=False)

    def __post_init__(self) -> None:
        self.first_program = self.program

    def version_at(self, instant: datetime) -> Program:
        """The version in force then."""
        return self.program if self.changed_at is not None and instant >= self.changed_at else self.first_program

    def tiers(self, end: datetime, *more: Sold) -> NaiveTiers:
        """The tiers through time, to `end`, from all that is known; with `more` orders."""
        sales = [sale.counts() for sale in self.sales.values() if not sale.has_left]
        return NaiveTiers([*sales, *more], self.version_at).run(end)

    def given(self, name: str, limit: str, period: str = "") -> tuple[int, int]:
        """The points that orders of a period have of a rule or promotion, and how many of them have any.

        An order counts for a `limit` that its version has.
        """
        accounts = [self, *self.others] if limit == "budget" else [self]
        points = [
            sale.earned().by_name.get(name, 0)
            for account in accounts
            for sale in account.sales.values()
            if f"{sale.order.occurred_at.astimezone(sale.program.zone):%Y-%m-%d}".startswith(period)
            and limit in limits_of(sale.program, name)
        ]
        return sum(points), sum(each > 0 for each in points)

    def left_over(self, rule_id: str) -> Fraction:
        """The remainder that orders have left for the next one."""
        found = Fraction(0)
        for sale in self.sales.values():
            left_over = sale.earned().left_over
            if rule_id in left_over:
                found += left_over[rule_id] - sale.judged.carried.get(rule_id, 0)
        return found

    def settled(self, told: Told, tier: str) -> tuple[Sale, str]:
        """What an order is at this tier, and the tier that holds from its own time on."""
        is_first = not any(sale.is_counted for sale in self.sales.values())
        order, version = told.first_order, told.program
        judged = self.chosen(self.judged(order, version, tier, is_first=is_first), order, version, tier)
        sale = Sale(told, tier, judged, is_first)
        if told.revision:
            sale.judged = self.judged_anew(sale, told.order)
        return sale, self.tiers(order.occurred_at, sale.counts()).at(order.occurred_at)

    def named(self, tier: str, version: Program) -> str:
        """A tier that the version has."""
        assert tier in [each.tier_id for each in version.tiers], "the versions of these stories have the same tiers"
        return tier

    def judged(self, order: Order, version: Program, tier: str, *, is_first: bool) -> Judged:
        parts = [*version.earning_rules, *version.promotions]
        judged = Judged(
            {name_of(p) for p in parts if not fits(p.when, order, version, tier, is_first=is_first)}, {}, {}
        )
        day = f"{order.occurred_at.astimezone(version.zone):%Y-%m-%d}"
        for rule in version.earning_rules:
            left = [
                max(0, cap - self.given(rule.rule_id, limit, period)[0])
                for limit, period, cap in (
                    ("per_day", day, rule.caps.per_day),
                    ("per_month", day[:7], rule.caps.per_month),
                )
                if cap is not None
            ]
            if left:
                judged.at_most[rule.rule_id] = min(left)
            if isinstance(rule, SpendRule) and rule.carry:
                judged.carried[rule.rule_id] = self.left_over(rule.rule_id)
        for promotion in version.promotions:
            limits, name = promotion.limits, promotion.promotion_id
            points, orders = self.given(name, "budget")
            if (
                is_reached(limits.orders_per_customer, self.given(name, "ever")[1])
                or is_reached(limits.orders_per_customer_and_day, self.given(name, "day", day)[1])
                or is_reached(limits.orders, orders)
                or is_reached(limits.budget_points, points)
            ):
                judged.excluded.add(name)
            elif limits.budget_points is not None:
                judged.at_most[name] = limits.budget_points - points
        return judged

    def chosen(self, judged: Judged, order: Order, version: Program, tier: str) -> Judged:
        """Only the newest promotion gives, of those that would, where the version says so."""
        if version.combine_promotions.value == "newest":
            names = [p.promotion_id for p in version.promotions if p.promotion_id not in judged.excluded]
            for name in names[::-1]:
                alone = judged._replace(excluded=judged.excluded | {other for other in names if other != name})
                if naive_earned(order, [], version, tier, alone).by_name.get(name):
                    return alone
        return judged

    def judged_anew(self, sale: Sale, order: Order) -> Judged:
        """What was judged at first stays. What looks for lines that were not there at first is judged now."""
        parts = [*sale.program.earning_rules, *sale.program.promotions]
        new = {name_of(p) for p in parts if looks_for(p, order.lines) and not looks_for(p, sale.told.first_order.lines)}
        if sale.has_chosen:
            new -= {p.promotion_id for p in sale.program.promotions}
        sales = {key: each for key, each in self.sales.items() if each is not sale}
        others = NaiveOrders(self.program, sales, others=self.others)
        now, old = others.judged(order, sale.program, sale.tier, is_first=sale.was_first), sale.first_judged
        judged = Judged(
            (old.excluded - new) | (now.excluded & new),
            old.at_most | {name: most for name, most in now.at_most.items() if name in new},
            old.carried | {name: rest for name, rest in now.carried.items() if name in new},
        )
        return judged if sale.has_chosen else self.chosen(judged, order, sale.program, sale.tier)
