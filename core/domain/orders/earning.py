"""What an order has earned: a function of the order, all refunds known for it, and what was judged when it was posted.

The ledger posts the difference between this and what it holds, so that repeats, splits and arrival order of refunds
cannot matter: n partial refunds end where one big refund ends, and where buying only the kept goods would have.

Arithmetic is exact until the result of a rule is rounded, but for shares: what a refund leaves of a line's amount is
rounded to a trillionth. More refunds never mean more points, but for the rounding where a rule rounds by line and some
lines are below zero. Calling off a line below zero, which is what was given back in exchange, means more points: the
order earns as if that line had never been.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from core.domain.orders.basket import Basket
from core.domain.orders.facts import Order, Refund
from core.domain.orders.goods import Goods
from core.domain.orders.posted import Judgement, Qualifying
from core.domain.orders.rates import exchange_rate
from core.domain.orders.reckoning import Reckoning, beginning, points_for, scope_of
from core.domain.orders.units import UNITS, to_millionth
from core.domain.program import SPEND_UNITS, Combine, CountedOrders, Places, Program

_SPEND_MAX = 10**18  #: what the largest order comes to; at a mistaken rate it could be more than a column holds
_NO_REMAINDERS: Mapping[str, Decimal] = MappingProxyType({})


class Grant(NamedTuple):
    """Points of one order that end together."""

    earned_by: str  #: the rule or promotion whose own expiry they have; '' = the program's
    points: int


class Entitlement(NamedTuple):
    """Points, and the calculation that led to them."""

    points: int
    grants: tuple[Grant, ...]  #: the same points by when they end; none without points
    given: Mapping[str, int]  #: the same points by rule and promotion; those that gave something
    qualifying: Qualifying
    is_counted: bool  #: as an order of its customer: as the first one, and as activity
    explain: Callable[[], dict[str, Any]]  #: the calculation; made on demand, since most callers want numbers alone
    left_over: Mapping[str, Decimal] = _NO_REMAINDERS  #: the remainder that a rule with `carry` leaves, if it applied

    @property
    def why(self) -> dict[str, Any]:
        """The calculation, rule by rule, as entries keep it; made anew at each call."""
        return self.explain()


class Earning:
    """What one order earns in one tier under one version of a program, as it was judged when it was posted.

    Asked again after every refund; what does not depend on refunds is worked out once, and the rest from the refund
    before.
    """

    def __init__(
        self,
        order: Order,
        program: Program,
        tier_id: str,
        judgement: Judgement = Judgement(),  # noqa: B008  # a tuple
        places: Places | None = None,
    ) -> None:
        """`judgement` is what was judged when the order was posted.

        `places` is `program.rule_index.places` of the order, where the caller has it.
        """
        self._program, self._tier_id = program, tier_id
        self.ordered = Basket(Goods(order, program.basis, exchange_rate(order, program)))
        if not program.is_plain:
            self._scope = scope_of(order, self.ordered, program, tier_id, judgement, places)

    @property
    def is_counted(self) -> bool:
        """Whether the use of any rule or promotion that it is for is counted."""
        return not self._program.is_plain and self._scope.is_counted

    def after(self, refunds: Sequence[Refund]) -> Entitlement:
        """Points after these refunds, in whatever order they are given."""
        return self.of(self.ordered.after(refunds))

    def of(self, kept: Basket) -> Entitlement:
        """Points for what is kept of `ordered`.

        Exact to the millionth of a point; one rounding per rule per order, or per line where the rule says so. Never
        negative.
        """
        program = self._program
        if program.is_plain:
            return _plain(kept, program, self._tier_id)
        reckoning = Reckoning(self._scope, kept, program)
        given = reckoning.given
        points = sum(given.values())
        return Entitlement(
            points,
            _grants(program, given),
            given,
            *_counts(kept, points, program.counted_orders),
            reckoning.explanation,
            reckoning.left_over,
        )


def entitlement(
    order: Order,
    refunds: Sequence[Refund],
    program: Program,
    tier_id: str,
    judgement: Judgement = Judgement(),  # noqa: B008  # a tuple
) -> Entitlement:
    """Points that `order` earns in `tier_id` under `program`, after `refunds`: see `Earning`."""
    return Earning(order, program, tier_id, judgement).after(refunds)


def _plain(basket: Basket, program: Program, tier_id: str) -> Entitlement:
    """Rates on the whole amount and nothing else, which is what most programs are: worked out without detours."""
    amount = max(0, basket.amount)
    best = ""
    of_rules: dict[str, int] = {}
    for terms in program.terms[tier_id]:
        granted = points_for(amount, terms)
        of_rules[terms.rule_id] = granted
        if not best or granted > of_rules[best]:
            best = terms.rule_id
    given = {best: of_rules[best]} if best and program.combine is Combine.BEST else of_rules
    points = sum(given.values())
    if 0 in given.values():
        given = {name: granted for name, granted in given.items() if granted}

    def explain() -> dict[str, Any]:
        rules = [{**terms.explanation, "points": of_rules[terms.rule_id]} for terms in program.terms[tier_id]]
        return {**beginning(tier_id, basket, program), "rules": rules}

    counts = _counts(basket, points, program.counted_orders)
    return Entitlement(points, _grants(program, given), given, *counts, explain)


def _grants(program: Program, given: Mapping[str, int]) -> tuple[Grant, ...]:
    """The points by when they end: those with the program's expiry first."""
    if len(program.expiries) == 1:
        points = sum(given.values())
        return (Grant("", points),) if points else ()
    by_expiry: dict[str, int] = {}
    for name, points in given.items():
        earned_by = name if name in program.expiries else ""
        by_expiry[earned_by] = by_expiry.get(earned_by, 0) + points
    return tuple(Grant(earned_by, points) for earned_by, points in sorted(by_expiry.items()) if points)


def _counts(basket: Basket, points: int, counted: CountedOrders) -> tuple[Qualifying, bool]:
    """What an order counts for the tier, and whether it counts as an order of its customer.

    One of which nothing is kept counts for nothing, whatever its rules leave it.
    """
    amount = max(0, basket.amount)
    spend = min(to_millionth(amount) * SPEND_UNITS // UNITS, _SPEND_MAX)
    if basket.is_empty or not (amount > 0 or counted is CountedOrders.ALL or _cost_something(basket)):
        return Qualifying(points, spend, 0), False
    return Qualifying(points, spend, 1), points > 0 or counted is not CountedOrders.EARNING


def _cost_something(basket: Basket) -> bool:
    """Whether any of the kept lines was not free, if only because it was paid with points or its price given back."""
    lines = basket.goods.order.lines
    return any(lines[place].amount > 0 for place in basket.places_of(basket.goods.all))
