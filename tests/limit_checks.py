"""What must hold of limits over orders, whoever was first: no more is given than they allow, and all is counted."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.orders.basket import Basket
from core.domain.orders.facts import Order, Refund
from core.domain.orders.goods import Goods
from core.domain.orders.units import UNITS
from core.domain.program import Program
from core.store.engine import run_bulk

UsageKey = tuple[str, str, str]  #: customer, name of the rule or promotion, period


class Limits(NamedTuple):
    """What the database says of the program with limits."""

    given: dict[UsageKey, int]  #: what orders have of each rule, as the last entry about each explains
    launched: int  #: and what they have of the promotion with a budget
    spent: int  #: of that budget
    usages: dict[UsageKey, tuple[int, Fraction]]  #: points and the remainder


_GIVEN = """
SELECT customer_id, occurred_at, coalesce(part->>'rule_id', part->>'promotion_id'), (part->>'points')::integer
FROM (SELECT DISTINCT ON (o.source, o.order_id) o.customer_id, o.occurred_at, e.why::jsonb AS why
      FROM orders o JOIN entries e USING (account_id, source, order_id)
      WHERE o.program_id = %s AND e.kind <> 'release' ORDER BY o.source, o.order_id, e.sequence DESC) AS last,
     jsonb_array_elements(why->'rules' || coalesce(why->'promotions', '[]')) AS part
"""
_USAGES = "SELECT customer_id, name, period, points, carried FROM usages JOIN accounts USING (account_id)"


def load_limits(connection: Connection, program: Program) -> Limits:
    """Read what orders have, and what is counted of it.

    The program has a rule `capped` by the day, a rule `steps` that carries on, and a promotion `launch` with a budget.
    """
    given: dict[UsageKey, int] = defaultdict(int)
    launched = 0
    for customer_id, occurred_at, name, points in run_bulk(connection, _GIVEN, (program.program_id,)):
        if name == "launch":
            launched += points
        elif name == "capped":
            given[customer_id, name, f"{occurred_at.astimezone(program.zone):%Y-%m-%d}"] += points
        else:
            given[customer_id, name, "ever"] += points
    spent = sum(row[0] for row in run_bulk(connection, "SELECT points FROM budgets"))
    usages = {(row[0], row[1], row[2]): (row[3], Fraction(row[4])) for row in run_bulk(connection, _USAGES)}
    return Limits(given, launched, spent, usages)


def limit_problems(
    limits: Limits, *, budget_points: int, cap_per_day: int, step: int, kept: Mapping[str, Fraction]
) -> Iterator[str]:
    """Where budgets, caps and remainders are not what the orders have, or more than the program allows.

    `kept`: for how much each customer bought and kept.
    """
    if not limits.launched == limits.spent <= budget_points:
        yield f"the budget of {budget_points} says {limits.spent}, and the orders have {limits.launched} of it"
    for key in limits.usages.keys() | limits.given.keys():
        points, has = limits.usages.get(key, (0, 0))[0], limits.given.get(key, 0)
        if has != points:
            yield f"{key} says {points}, and the orders have {has}"
        if key[1] == "capped" and points > cap_per_day:
            yield f"{key} says {points}, above the cap"
    for customer_id, amount in kept.items():
        points, left = limits.usages.get((customer_id, "steps", "ever"), (0, Fraction(0)))
        if points * step + left != amount:
            yield f"{customer_id} has {points} steps and {left} left of the {amount} that was kept"


def kept_amount(order: Order, refunds: Sequence[Refund], program: Program) -> Fraction:
    """For how much of what counts nothing was given back."""
    return Fraction(Basket(Goods(order, program.basis)).after(refunds).amount, UNITS)
