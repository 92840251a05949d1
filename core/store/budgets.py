"""Promotions' budgets put right by what the orders have of them: no account's, so apart from the rest of `rebuild`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.domain.orders.limits import Budget
from core.store.appending import update_budgets
from core.store.engine import run_bulk
from core.store.ledger import lock_budgets
from core.store.programs import load_registry
from core.store.proof.limits_used import budgets_of_orders
from core.store.repairs import Repair, append_repairs


class BudgetRepair(NamedTuple):
    """A budget that is not what the orders have of it."""

    program_id: str
    promotion_id: str
    subject: str  #: budget launch of high-street
    found: dict[str, Any]  #: what the row says, where it differs
    rebuilt: dict[str, Any]  #: what the orders give instead
    missing: Budget  #: what the row lacks; below zero: has too much
    last_repair: int  #: of this budget, when it was looked at


def examine_budgets(connection: Connection) -> list[BudgetRepair]:
    """Compare each budget with what the orders have of it. Changes nothing; to be called in one snapshot."""
    given = budgets_of_orders(connection, load_registry(connection))
    rows = run_bulk(connection, "SELECT program_id, promotion_id, points, orders FROM budgets")
    recorded = {(program_id, name): Budget(points, orders) for program_id, name, points, orders in rows}
    last = _last_repairs(connection)
    repairs = []
    for key in sorted(given.keys() | recorded.keys()):
        old, new = recorded.get(key, Budget()), given.get(key, Budget())
        if old != new:
            missing = Budget(new.points - old.points, new.orders - old.orders)
            repairs.append(_repair(key, old, missing, last.get(_subject(*key), 0)))
    return repairs


def apply_budget_repairs(connection: Connection, planned: Sequence[BudgetRepair]) -> list[BudgetRepair]:
    """Add what each budget lacks; keep each change in `repairs`, and return them as they were made.

    Safe beside workers, and short: a posting adds the same to a budget as to what the orders have of it, so what is
    missing stays the same. A budget that somebody else has put right since the look is left to the next run.
    """
    recorded = lock_budgets(connection, {(repair.program_id, repair.promotion_id) for repair in planned})
    last = _last_repairs(connection)
    done = [
        _repair(repair[:2], recorded[repair.program_id][repair.promotion_id], repair.missing, repair.last_repair)
        for repair in planned
        if last.get(repair.subject, 0) == repair.last_repair
    ]
    changed = [(*repair[:2], recorded[repair.program_id][repair.promotion_id], repair.missing) for repair in done]
    update_budgets(
        connection,
        [(program_id, name, _sum(budget, missing)) for program_id, name, budget, missing in changed],
    )
    append_repairs(connection, [Repair(None, repair.subject, repair.found, repair.rebuilt) for repair in done])
    return done


def _subject(program_id: str, promotion_id: str) -> str:
    return f"budget {promotion_id} of {program_id}"


def _sum(budget: Budget, more: Budget) -> Budget:
    return Budget(budget.points + more.points, budget.orders + more.orders)


def _repair(key: tuple[str, str], old: Budget, missing: Budget, last_repair: int) -> BudgetRepair:
    new = _sum(old, missing)
    names = [name for name in Budget._fields if getattr(missing, name)]
    found, rebuilt = ({name: getattr(side, name) for name in names} for side in (old, new))
    return BudgetRepair(*key, _subject(*key), found, rebuilt, missing, last_repair)


def _last_repairs(connection: Connection) -> dict[str, int]:
    statement = "SELECT subject, max(repair_id) FROM repairs WHERE account_id IS NULL GROUP BY subject"
    return {row[0]: row[1] for row in run_bulk(connection, statement)}
