"""What is known of an account's past when its tier is judged: facts, each with its own time."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from core.domain.orders.posted import PostedOrder, Qualifying, QualifyingStep


class TierHistoryEntry(NamedTuple):
    """From `effective_at` on the account was in `tier_id`."""

    effective_at: datetime
    tier_id: str


class TierHold(NamedTuple):
    """A person has put the account into a tier, and keeps it there."""

    held_at: datetime
    tier_id: str
    until: datetime


class CountedOrder(NamedTuple):
    """What one recorded order of an account counts for the tier, or several together that lie in the same periods."""

    occurred_at: datetime
    qualifying: Qualifying  #: with all refunds known so far
    ordered: Qualifying | None = None  #: before refunds; None: the same
    steps: tuple[QualifyingStep, ...] = ()  #: of one order that has refunds: what it counted when

    @property
    def before_refunds(self) -> Qualifying:
        """What it counted when it was made."""
        return self.qualifying if self.ordered is None else self.ordered

    @property
    def all_steps(self) -> tuple[QualifyingStep, ...]:
        """What it counted when, from the order on; at least one step."""
        return self.steps or (QualifyingStep(self.occurred_at, self.qualifying),)

    def as_of(self, instant: datetime) -> "CountedOrder":
        """As refunds until then left it, as if it had been made so."""
        if not self.steps:
            return self
        *_, last = (step.qualifying for step in self.steps if step.since <= instant)
        return CountedOrder(self.occurred_at, last, self.before_refunds)

    def without(self) -> "CountedOrder":
        """As it counts when nothing of it is kept."""
        return CountedOrder(self.occurred_at, Qualifying(), self.before_refunds)


def counted_order(posted: PostedOrder) -> CountedOrder:
    """What a posted order counts."""
    steps = posted.qualifying_steps
    return CountedOrder(posted.order.occurred_at, posted.qualifying, steps[0].qualifying if steps else None, steps)


def less_of(order: CountedOrder) -> CountedOrder:
    """What takes an order out of a sum that it is in."""
    less, less_ordered = (Qualifying(*(-n for n in each)) for each in (order.qualifying, order.before_refunds))
    return CountedOrder(order.occurred_at, less, less_ordered)


#: Asked with an instant: what the account's orders from then on count, perhaps with some earlier ones.
CountedSince = Callable[[datetime], Iterable[CountedOrder]]


def _occurred_at(order: CountedOrder) -> datetime:
    return order.occurred_at


class OrdersByTime:
    """Orders of one account by their own times."""

    def __init__(self, orders: Iterable[CountedOrder] = ()) -> None:
        """Sort `orders`."""
        self._orders = sorted(orders, key=_occurred_at)

    def __iter__(self) -> Iterator[CountedOrder]:
        """The oldest first."""
        return iter(self._orders)

    def __len__(self) -> int:
        """How many they are."""
        return len(self._orders)

    def since(self, start: datetime) -> list[CountedOrder]:
        """Those from `start` on."""
        place = bisect_left(self._orders, start, key=_occurred_at)
        return self._orders[place:] if place else self._orders

    def __or__(self, others: Iterable[CountedOrder]) -> "OrdersByTime":
        """These, and others."""
        return OrdersByTime([*self._orders, *others])

    def changed(self, before: CountedOrder | None, after: CountedOrder | None) -> "OrdersByTime":
        """With `after` in the place of `before`, which is one of them; None: it is new, or no longer there."""
        changed = OrdersByTime()
        changed._orders = self._orders.copy()
        changed.change(before, after)
        return changed

    def change(self, before: CountedOrder | None, after: CountedOrder | None) -> None:
        """Put `after` into the place of `before`, which is one of them."""
        if before is not None:
            place = bisect_left(self._orders, before.occurred_at, key=_occurred_at)
            while self._orders[place] != before:
                assert self._orders[place].occurred_at == before.occurred_at, "it is one of them"
                place += 1
            del self._orders[place]
        if after is not None:
            if not self._orders or self._orders[-1].occurred_at <= after.occurred_at:
                self._orders.append(after)
            else:
                self._orders.insert(bisect_right(self._orders, after.occurred_at, key=_occurred_at), after)


class TierFacts(NamedTuple):
    """All that an account's tier follows from, beside the program's versions."""

    orders: OrdersByTime
    holds: Sequence[TierHold] = ()

    def orders_as_of(self, instant: datetime) -> OrdersByTime:
        """The orders until an instant, as refunds until then left them, as if they had been made so."""
        return OrdersByTime(order.as_of(instant) for order in self.orders if order.occurred_at <= instant)
