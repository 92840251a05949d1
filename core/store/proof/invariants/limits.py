"""Invariants 4 and 9, of limits: what customers and everybody have had of them."""

from typing import Any

from sqlalchemy import Connection

from core.domain.program.registry import ProgramRegistry
from core.store.proof.invariants.check import Check
from core.store.proof.limits_used import USAGES_OF_ORDERS, budgets_of_orders, usages_of_orders
from core.store.proof.scope import Scope


def _budgets(connection: Connection, registry: ProgramRegistry, _scope: Scope) -> dict[str, Any]:
    found = budgets_of_orders(connection, registry)
    rows = [(*key, *budget) for key, budget in found.items()]
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    return dict(zip(("had_programs", "had_names", "had_points", "had_orders"), columns, strict=True))


LIMITS = (
    Check(
        4,
        "what a customer has had of a limit is what the orders have",
        f"""
        SELECT account_id, format('account %s: usage of %s, %s: %s points, %s orders, remainder %s, but its orders'
                                  ' have %s points, %s orders, remainder %s', account_id, name, period,
                                  coalesce(u.points, 0), coalesce(u.orders, 0), coalesce(u.carried, 0),
                                  coalesce(o.points, 0), coalesce(o.orders, 0), coalesce(o.carried, 0))
        FROM usages u FULL JOIN ({USAGES_OF_ORDERS}) AS o USING (account_id, name, period)
        WHERE coalesce(u.points, 0) <> coalesce(o.points, 0) OR coalesce(u.orders, 0) <> coalesce(o.orders, 0)
           OR coalesce(u.carried, 0) <> coalesce(o.carried, 0)
        """,  # noqa: S608  # our own words
        load=usages_of_orders,
    ),
    Check(
        9,
        "a promotion's budget is what the orders have of it",
        """
        SELECT NULL::uuid, format('promotion %s of program %s: budget %s points, %s orders, but orders have %s points,'
                                  ' %s orders', name, program_id, coalesce(b.points, 0), coalesce(b.orders, 0),
                                  coalesce(o.points, 0), coalesce(o.orders, 0))
        FROM budgets b
        FULL JOIN unnest(%(had_programs)s::text[], %(had_names)s::text[], %(had_points)s::bigint[],
                         %(had_orders)s::bigint[]) AS o(program_id, name, points, orders)
             USING (program_id, name)
        WHERE coalesce(b.points, 0) <> coalesce(o.points, 0) OR coalesce(b.orders, 0) <> coalesce(o.orders, 0)
        """,
        is_global=True,
        load=_budgets,
    ),
)
