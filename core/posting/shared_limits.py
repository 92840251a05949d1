"""What all customers share, budgets of promotions and stocks of rewards, as batches load it."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.books import Books
from core.domain.orders.limits import budgets_of
from core.domain.orders.posted import Budget
from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import Reach
from core.domain.value.authorizations import Authorization
from core.domain.value.rewards import counted_name, issued_offer, reward_of
from core.store.ledger import load_budgets, lock_budgets


class BudgetLimit(NamedTuple):
    """What all customers may have of a promotion, or of a reward's stock; None without a limit."""

    points: int | None
    orders: int | None


class LoadedBudget(NamedTuple):
    """What was spent of a budget when it was read, and the least limit of the versions that may spend it."""

    spent: Budget
    limit: BudgetLimit


BudgetKey = tuple[str, str]  #: program_id, name
Limits = tuple[tuple[Program, datetime], ...]  #: those of orders of these instants


def budgets_of_these_orders(wanted: Iterable[Limits]) -> Iterator[tuple[BudgetKey, BudgetLimit]]:
    """The budgets that may pay for orders of these instants."""
    for limits_of in wanted:
        for program, occurred_at in limits_of:
            for limit in budgets_of(program, occurred_at):
                yield (program.program_id, limit.name), BudgetLimit(limit.budget_points, limit.orders)


def stocks_asked_of(
    books: Books, reach: Reach, rules: ProgramRegistry, as_of: datetime
) -> Iterator[tuple[BudgetKey, BudgetLimit]]:
    """The stocks of the rewards that are asked for. Where an account is still to be opened, those of any program."""
    asked: list[tuple[Sequence[str], frozenset[str]]]
    asked = [([program_id], parts.rewards) for (program_id, _), parts in reach.customers.items()]
    for reference, parts in reach.references.items():
        account = books.account_by(reference) if parts.rewards else None
        asked.append((rules.program_ids() if account is None else [account.program_id], parts.rewards))
    for program_ids, reward_ids in asked:
        for program_id in program_ids if reward_ids else ():
            program = rules.at(program_id, as_of).program
            for reward in (reward_of(program, reward_id) for reward_id in reward_ids):
                if reward is not None and reward.stock is not None:
                    yield (program_id, counted_name(reward.reward_id)), BudgetLimit(None, reward.stock)


def stocks_of(
    books: Books, authorizations: Iterable[Authorization], rules: ProgramRegistry
) -> Iterator[tuple[BudgetKey, BudgetLimit]]:
    """The stocks to which issued rewards go back; nothing limits that."""
    for each in authorizations:
        if each.reward_id is not None:
            (movement,) = books.movements_of(each)
            program_id = books.account(each.account_id).program_id
            if issued_offer(rules, program_id, movement.program_version, each.reward_id).reward.stock is not None:
                yield (program_id, counted_name(each.reward_id)), BudgetLimit(None, None)


def load_limits(
    connection: Connection, books: Books, wanted: Iterable[tuple[BudgetKey, BudgetLimit]], *, is_contended: bool
) -> dict[BudgetKey, LoadedBudget]:
    """Load what is spent of these budgets and stocks; with `is_contended` they are locked."""
    limits: dict[BudgetKey, BudgetLimit] = {}
    for key, limit in wanted:
        had = limits.get(key, limit)
        limits[key] = BudgetLimit(_least(had.points, limit.points), _least(had.orders, limit.orders))
    found = (lock_budgets if is_contended else load_budgets)(connection, limits)
    spent = {(program_id, name): found.get(program_id, {}).get(name, Budget()) for program_id, name in limits}
    books.put_budgets(spent)
    return {key: LoadedBudget(spent[key], limit) for key, limit in limits.items()}


def _least(one: int | None, other: int | None) -> int | None:
    return min((limit for limit in (one, other) if limit is not None), default=None)
