"""Invariants 4 and 9, of limits: what customers and everybody have had of them."""

from typing import Any

from sqlalchemy import Connection

from core.domain.program.registry import ProgramRegistry
from core.store.proof.invariants.check import Check
from core.store.proof.limits_used import budgets_had
from core.store.proof.scope import Scope
from core.store.proof.usages_had import USAGES_HAD, load_usages_had


def _budgets(connection: Connection, registry: ProgramRegistry, _scope: Scope) -> dict[str, Any]:
    found = budgets_had(connection, registry)
    rows = [(*key, *budget) for key, budget in found.items()]
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    return dict(zip(("had_programs", "had_names", "had_points", "had_orders"), columns, strict=True))


LIMITS = (
    Check(
        4,
        "what a customer has had of a limit is what orders and commands have",
        f"""
        SELECT account_id, format('account %s: usage of %s, %s: %s points, %s orders, remainder %s, but its orders'
                                  ' have %s points, %s orders, remainder %s', account_id, name, period,
                                  coalesce(u.points, 0), coalesce(u.orders, 0), coalesce(u.carried, 0),
                                  coalesce(o.points, 0), coalesce(o.orders, 0), coalesce(o.carried, 0))
        FROM usages u FULL JOIN ({USAGES_HAD}) AS o USING (account_id, name, period)
        WHERE coalesce(u.points, 0) <> coalesce(o.points, 0) OR coalesce(u.orders, 0) <> coalesce(o.orders, 0)
           OR coalesce(u.carried, 0) <> coalesce(o.carried, 0)
        """,  # noqa: S608  # our own words
        load=load_usages_had,
    ),
    Check(
        9,
        "what is spent of a budget, or of a reward's stock, is what orders and commands have",
        """
        SELECT NULL::uuid, format('%s of program %s: %s points and %s times are spent, but orders and commands have %s'
                                  ' points, %s times', name, program_id, coalesce(b.points, 0), coalesce(b.orders, 0),
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
