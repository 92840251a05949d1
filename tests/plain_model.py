"""A slow and plain model of the simple programs that fault runs and simulations use, without the domain's code.

It keeps every single point as an object of its own. What an order earns is worked out by the model of `tests/domain`,
which knows all that programs can say.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from core.domain.orders.facts import Order, Refund
from core.domain.program import Program
from tests.domain.naive_earning import naive_points
from tests.domain.naive_tiers import NaiveTiers, Sold, Worth

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Point:
    """One point of one order."""

    order_id: str
    place: int  #: its order's place among all that were posted
    available_at: datetime
    expires_at: datetime | None
    is_expired: bool = False
    is_gone: bool = False

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass
class NaiveAccount:
    """Points one by one; tiers by lifetime."""

    program: Program
    points: list[Point] = field(default_factory=list)
    debt: int = 0
    earned: dict[str, int] = field(default_factory=dict)
    excused: dict[str, int] = field(default_factory=dict)
    shortfall: dict[str, int] = field(default_factory=dict)
    tier_of: dict[str, str] = field(default_factory=dict)
    refunds: dict[str, list[Refund]] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)

    @property
    def balance(self) -> int:
        return sum(not (point.is_expired or point.is_gone) for point in self.points) - self.debt

    @property
    def tier(self) -> str:
        """The tier after all that is known."""
        return self.tiers(max((instant for sold in self._sold() for instant, _ in sold.kept), default=NEVER)).tier

    def tiers(self, end: datetime) -> NaiveTiers:
        """The tiers through time, to `end`."""
        return NaiveTiers(self._sold(), lambda _: self.program).run(end)

    def _sold(self) -> list[Sold]:
        """What was kept of each order, and when."""
        found = []
        for order_id, order in self.orders.items():
            instants = sorted({max(order.occurred_at, refund.occurred_at) for refund in self.refunds[order_id]})
            kept = [(order.occurred_at, self._worth(order, None))]
            found.append(Sold(order.occurred_at, kept + [(at, self._worth(order, at)) for at in instants]))
        return found

    def _worth(self, order: Order, at: datetime | None) -> Worth:
        """What the order has earned and keeps then; at first without `at`."""
        known = [refund for refund in self.refunds[order.order_id] if at is not None and refund.occurred_at <= at]
        return Worth(naive_points(order, known, self.program, self.tier_of[order.order_id]), 0, 1)

    def complete(self, order: Order, expires_at: datetime | None) -> None:
        tier_id = self.tiers(order.occurred_at).at(order.occurred_at)
        points = naive_points(order, [], self.program, tier_id)
        self.orders[order.order_id] = order
        self.tier_of[order.order_id] = tier_id
        self.earned[order.order_id] = points
        self.excused[order.order_id] = self.shortfall[order.order_id] = 0
        self.refunds[order.order_id] = []
        pays = min(points, self.debt)
        self.debt -= pays
        place = len(self.orders)
        for _ in range(points - pays):
            self.points.append(Point(order.order_id, place, order.occurred_at, expires_at))

    def refund(self, refund: Refund, now: datetime) -> None:
        order_id = refund.order_id
        self.refunds[order_id].append(refund)
        target = naive_points(self.orders[order_id], self.refunds[order_id], self.program, self.tier_of[order_id])
        due = self.earned[order_id] - target
        self.earned[order_id] = target
        own = [point for point in self.points if point.order_id == order_id and not point.is_gone]
        lost = sum(point.is_expired or point.is_over(now) for point in own) - self.excused[order_id]
        self.excused[order_id] += min(due, lost)
        due -= min(due, lost)
        candidates = [point for point in own if not point.is_expired and not point.is_over(now)]
        policy = self.program.clawback.policy.value
        if policy == "pending_only":
            candidates = [point for point in candidates if point.available_at > now]
        else:
            candidates += self._spendable(now, without=order_id)
        for point in candidates[:due]:
            point.is_gone = True
        missing = max(0, due - len(candidates))
        if policy == "allow_negative":
            self.debt += missing
        else:
            self.shortfall[order_id] += missing

    def spend(self, points: int, now: datetime) -> None:
        for point in self._spendable(now)[:points]:
            point.is_gone = True

    def expire(self, now: datetime) -> None:
        for point in self.points:
            if not point.is_gone and point.is_over(now):
                point.is_expired = True

    def _spendable(self, now: datetime, without: str = "") -> list[Point]:
        found = [
            point
            for point in self.points
            if not (point.is_expired or point.is_gone or point.is_over(now))
            and point.available_at <= now
            and point.order_id != without
        ]
        dated = [point for point in found if point.expires_at is not None]
        undated = [point for point in found if point.expires_at is None]
        dated.sort(key=lambda point: (point.expires_at, point.available_at, point.place))
        undated.sort(key=lambda point: (point.available_at, point.place))
        return dated + undated
