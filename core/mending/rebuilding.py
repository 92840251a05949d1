"""Derived numbers worked out again, each look in one snapshot, and put right in bounded transactions."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection, Engine

from core.store.budgets import BudgetRepair, apply_budget_repairs, examine_budgets
from core.store.engine import begin_reading, run_bulk
from core.store.proof.rebuild import Contradiction, Examination, Repair, apply_repairs, examine
from core.store.proof.scope import Scope, slices, these_accounts

__all__ = [
    "BudgetRepair",
    "Contradiction",
    "Examination",
    "Repair",
    "Scope",
    "examine_all_budgets",
    "examine_scope",
    "repair_accounts",
    "repair_budgets",
    "scopes_of",
]

#: Accounts that are locked and written at once.
_ACCOUNTS_AT_ONCE = 200


def scopes_of(connection: Connection, account_ids: Collection[UUID] | None) -> list[Scope]:
    """What is looked at one after the other: these accounts at once, or slices of all of them."""
    return slices(connection) if account_ids is None else [these_accounts(account_ids)]


def examine_scope(engine: Engine, scope: Scope) -> Examination:
    """What differs in the accounts of `scope`. Changes nothing."""
    with engine.begin() as connection:
        _begin_examining(connection)
        return examine(connection, scope)


def examine_all_budgets(engine: Engine) -> list[BudgetRepair]:
    """What differs in the budgets of all promotions. Changes nothing."""
    with engine.begin() as connection:
        _begin_examining(connection)
        return examine_budgets(connection)


def repair_accounts(engine: Engine, planned: list[Repair], applied_by: str) -> list[Repair]:
    """Put right so many accounts at a time, each time in a transaction of its own; returns what was still to do."""
    account_ids = list(dict.fromkeys(repair.account_id for repair in planned))
    applied: list[Repair] = []
    for start in range(0, len(account_ids), _ACCOUNTS_AT_ONCE):
        chosen = set(account_ids[start : start + _ACCOUNTS_AT_ONCE])
        with engine.begin() as connection:
            of_chosen = [repair for repair in planned if repair.account_id in chosen]
            applied += apply_repairs(connection, of_chosen, applied_by)
    return applied


def repair_budgets(engine: Engine, planned: list[BudgetRepair], applied_by: str) -> list[BudgetRepair]:
    """Put budgets right, in one transaction; returns what was still to do."""
    if not planned:
        return []
    with engine.begin() as connection:
        return apply_budget_repairs(connection, planned, applied_by)


def _begin_examining(connection: Connection) -> None:
    """Let the transaction see one snapshot, for as long as it takes."""
    begin_reading(connection)  # or a message that is posted between two statements would look like a difference
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    run_bulk(connection, "SET LOCAL work_mem = '64MB'")
