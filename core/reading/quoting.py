"""What an order would earn now: decided as posting would decide it, on rows that are read and not locked."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account, Decision
from core.domain.lots import Lot
from core.domain.orders.accrual import Known, accrual_problem, decide_accrual
from core.domain.orders.facts import Order
from core.domain.orders.limits import Budget, usage_keys
from core.domain.outcomes import Parked
from core.domain.program import Program
from core.domain.tiers.counting import counted_from
from core.messages.inbound.reading import StoredOrder
from core.posting.deciding import unknown_program, wrong_currency
from core.reading.accounts import load_accounts, load_open_lots
from core.store.engine import run_bulk
from core.store.ledger import load_counted, load_tier_history, load_usages
from core.store.programs import ProgramRegistry, ProgramVersion

_NOBODY = UUID(int=0)


class Quote(NamedTuple):
    """What one order would do."""

    program: Program
    version: int
    account_before: Account
    account_after: Account
    is_new_customer: bool
    is_posted_already: bool  #: an order of this id is in the ledger: this one would change nothing, or be parked
    tier_id: str  #: that it earns in
    points: int
    why: dict[str, Any]  #: the calculation, as an entry keeps it
    lots: tuple[Lot, ...]  #: that it would open; less than its points where a deficit is paid off
    points_paid_off: int  #: of the deficit


def quote(connection: Connection, event: StoredOrder, registry: ProgramRegistry, as_of: datetime) -> Quote | Parked:
    """Decide the order as if it were posted at `as_of`; Parked if it would be. Writes and locks nothing.

    The account of `order.customer_id` counts with its tier, limits and open points, as far as there is one; budgets
    count for everybody. Without a customer it is decided for a new one, while posting gives a guest nothing.
    """
    order = event.order
    program_id = registry.resolve(event.program_id, order.source)
    if program_id is None:
        return unknown_program(event.program_id, registry)
    frozen, current = registry.at(program_id, order.occurred_at), registry.at(program_id, as_of).program
    refused = wrong_currency(order, frozen.program)
    if refused is not None:
        return refused
    found = load_accounts(connection, order.customer_id, program_id) if order.customer_id is not None else []
    account = found[0] if found else _new_account(order, current)
    known = _known(connection, account, order, frozen.program, current, is_new=not found)
    decision = decide_accrual(account, known, order, frozen.program, frozen.version, current, as_of=as_of)
    problem = accrual_problem(decision)
    if problem is not None:
        return problem
    return _quote(account, decision, frozen, not found, _is_posted(connection, order, program_id))


def _new_account(order: Order, current: Program) -> Account:
    return Account(
        _NOBODY,
        current.program_id,
        order.customer_id or "",
        current.tiers[0].tier_id,
        enrolled_at=order.occurred_at,
    )


def _known(
    connection: Connection, account: Account, order: Order, program: Program, current: Program, *, is_new: bool
) -> Known:
    budgets = _load_budgets(connection, program.program_id)
    if is_new:
        return Known(budgets=budgets)
    account_id = account.account_id
    since = counted_from(account, order.occurred_at, current)
    counted = load_counted(connection, {account_id: since}) if since is not None else {}
    usages = load_usages(connection, {(account_id, key) for key in usage_keys(program, order.occurred_at)})
    return Known(
        load_tier_history(connection, [account_id])[account_id],
        counted.get(account_id, ()),
        load_open_lots(connection, account_id),
        usages.get(account_id, {}),
        budgets,
    )


def _quote(account: Account, decision: Decision, frozen: ProgramVersion, is_new: bool, is_posted: bool) -> Quote:
    posted, after = decision.order, decision.account
    assert posted is not None
    assert posted.tier_id is not None
    entry = decision.entries[-1] if decision.entries else None
    opened = entry.sequence if entry is not None else None
    return Quote(
        frozen.program,
        frozen.version,
        account,
        after or account,
        is_new,
        is_posted,
        posted.tier_id,
        posted.points_entitled,
        entry.why if entry is not None else {},
        tuple(lot for lot in decision.lots if lot.opened_by_sequence == opened),
        -entry.deficit_change if entry is not None else 0,
    )


def _load_budgets(connection: Connection, program_id: str) -> dict[str, Budget]:
    """What all customers have had of the program's promotions, by promotion; another order may come in between."""
    rows = run_bulk(connection, "SELECT promotion_id, points, orders FROM budgets WHERE program_id = %s", (program_id,))
    return {promotion_id: Budget(points, orders) for promotion_id, points, orders in rows}


def _is_posted(connection: Connection, order: Order, program_id: str) -> bool:
    """Whether an order of this source and id is in the ledger of the program."""
    statement = "SELECT 1 FROM orders WHERE source = %s AND order_id = %s AND program_id = %s"
    return bool(run_bulk(connection, statement, (order.source, order.order_id, program_id)))
