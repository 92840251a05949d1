"""Promotions' budgets put right by what the orders have of them: no account's, so apart from the rest of `rebuild`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from core.domain.orders.posted import Budget, BudgetChange
from core.store.appending import update_budgets
from core.store.engine import run_bulk
from core.store.ledger import BUDGETS, lock_budgets
from core.store.programs import load_registry
from core.store.proof.limits_used import budgets_had
from core.store.repairs import Repair, append_repairs


class BudgetRepair(NamedTuple):
    """A budget that is not what the orders have of it."""

    program_id: str
    name: str
    subject: str  #: budget launch of high-street
    found: dict[str, Any]  #: what the row says, where it differs
    rebuilt: dict[str, Any]  #: what the orders give instead
    missing: BudgetChange  #: what the row lacks; below zero: has too much
    last_repair: int  #: of this budget, when it was looked at


_RECORDED = f"SELECT {BUDGETS.select('b')} FROM budgets b"  # noqa: S608  # our own names


def examine_budgets(connection: Connection) -> list[BudgetRepair]:
    """Compare each budget with what the orders have of it. Changes nothing; to be called in one snapshot."""
    given = budgets_had(connection, load_registry(connection))
    rows = map(BUDGETS.read, run_bulk(connection, _RECORDED))
    recorded = {(program_id, name): budget for program_id, name, budget in rows}
    last = _last_repairs(connection)
    repairs = []
    for key in sorted(given.keys() | recorded.keys()):
        old, new = recorded.get(key, Budget()), given.get(key, Budget())
        if old != new:
            repairs.append(_repair(old, BudgetChange(*key, new.points - old.points, new.orders - old.orders), last))
    return repairs


def apply_budget_repairs(
    connection: Connection, planned: Sequence[BudgetRepair], applied_by: str
) -> list[BudgetRepair]:
    """Add what each budget lacks; keep each change in `repairs`, and return them as they were made.

    Safe beside workers, and short: a posting adds the same to a budget as to what the orders have of it, so what is
    missing stays the same. A budget that somebody else has put right since the look is left to the next run.
    """
    recorded = lock_budgets(connection, {(repair.program_id, repair.name) for repair in planned})
    last = _last_repairs(connection)
    done: list[BudgetRepair] = []
    written: list[tuple[str, str, Budget]] = []
    for repair in planned:
        if last.get(repair.subject, 0) == repair.last_repair:
            old = recorded[repair.program_id][repair.name]
            done.append(_repair(old, repair.missing, last))
            written.append((repair.program_id, repair.name, old.plus(repair.missing)))
    update_budgets(connection, written)
    append_repairs(
        connection, [Repair(None, repair.subject, repair.found, repair.rebuilt, applied_by) for repair in done]
    )
    return done


def _repair(old: Budget, missing: BudgetChange, last: Mapping[str, int]) -> BudgetRepair:
    new, subject = old.plus(missing), f"budget {missing.name} of {missing.program_id}"
    names = [name for name in Budget._fields if getattr(old, name) != getattr(new, name)]
    found, rebuilt = ({name: getattr(side, name) for name in names} for side in (old, new))
    return BudgetRepair(missing.program_id, missing.name, subject, found, rebuilt, missing, last.get(subject, 0))


def _last_repairs(connection: Connection) -> dict[str, int]:
    statement = "SELECT subject, max(repair_id) FROM repairs WHERE account_id IS NULL GROUP BY subject"
    return {subject: last for subject, last in run_bulk(connection, statement)}  # noqa: C416  # says what the pairs are
