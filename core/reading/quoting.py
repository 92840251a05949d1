"""What an order would earn now: decided as posting would decide it, on rows that are read and not locked."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.books import Books
from core.domain.decision import Decision
from core.domain.ledger import Account, AccountStatus
from core.domain.lots import Lot
from core.domain.message import Message
from core.domain.orders.accrual import decide_order, order_reach
from core.domain.orders.claiming import inactive
from core.domain.orders.facts import Order
from core.domain.orders.limits import budgets_of
from core.domain.orders.posted import Budget, PostedOrder
from core.domain.outcomes import Parked, Reason
from core.domain.program import Enrol, Program
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, CustomerKey, ReferenceKey
from core.posting.loading import load_parts
from core.reading.accounts import load_accounts, load_accounts_by_id
from core.store.account_names import ask_references
from core.store.engine import run_bulk

_NOBODY = UUID(int=0)


class Quote(NamedTuple):
    """What one order would do."""

    program: Program
    version: int
    account_before: Account
    account_after: Account
    is_new_customer: bool
    needs_account: bool  #: posted now it would earn nothing: the customer has no account, and only a command opens one
    is_posted_already: bool  #: an order of this id is in the ledger: this one would change nothing, or be parked
    tier_id: str  #: that it earns in
    points: int
    why: dict[str, Any]  #: the calculation, as an entry keeps it
    lots: tuple[Lot, ...]  #: that it would open; less than its points where a deficit is paid off
    points_paid_off: int  #: of the deficit


def quote(connection: Connection, message: Message[Order], rules: ProgramRegistry, as_of: datetime) -> Quote | Parked:
    """Decide the order as if it were posted at `as_of`; Parked if it would be. Writes and locks nothing.

    The account of `order.customer_id` counts with its tier, limits and open points, as far as there is one; budgets
    count for everybody. Without a customer it is decided for a new one, while posting gives a guest nothing. Who has
    no account is taken to have one by then, also where only a command opens it.
    """
    if message.fact.whom is None:
        message = message._replace(fact=message.fact._replace(customer_id=""))
    enrolled = ProgramRegistry([version.for_the_enrolled() for version in rules.versions()], rules.stamp)
    books = _books(connection, message, enrolled, as_of)
    outcome = decide_order(books, message, enrolled, as_of)
    if not isinstance(outcome, Decision):
        assert isinstance(outcome, Parked)  # for these books the order is not posted
        return outcome
    (posted,) = outcome.facts
    assert isinstance(posted, PostedOrder)
    if not outcome.changes:
        is_closed = any(account.status is AccountStatus.CLOSED for account in books.accounts.values())
        return _closed() if is_closed else inactive(posted.program_id)
    (change,) = outcome.changes
    assert posted.tier_id is not None
    before = change.opened or books.account(change.account.account_id)
    entry = change.entries[-1] if posted.sequence is not None else None
    program = rules.version(posted.program_id, posted.program_version).program
    return Quote(
        program,
        posted.program_version,
        before,
        change.account,
        change.opened is not None,
        change.opened is not None and program.enrol is Enrol.COMMAND,
        _is_posted(connection, posted.order, posted.program_id),
        posted.tier_id,
        posted.points_entitled,
        entry.why if entry is not None else {},
        tuple(lot for lot in change.lots if lot.opened_by_sequence == posted.sequence),
        -entry.deficit_change if entry is not None else 0,
    )


def _closed() -> Parked:
    return Parked(
        Reason.ACCOUNT_CLOSED, "the customer's account is closed: the order would be recorded, and earn nothing"
    )


def _books(connection: Connection, message: Message[Order], rules: ProgramRegistry, as_of: datetime) -> Books:
    """What the order reaches, as if no order of its id were posted."""
    reach = order_reach(message, rules, as_of)
    books = Books(lambda: _NOBODY)
    books.put_orders(reach.orders, ())
    wanted: list[tuple[CustomerKey | ReferenceKey, AccountParts]] = [
        *reach.customers.items(),
        *reach.references.items(),
    ]
    for whose, parts in wanted:
        accounts = _accounts(connection, books, whose)
        books.put_accounts(accounts)
        load_parts(connection, books, dict.fromkeys(accounts, parts), rules, as_of)
        program_id = next((program.program_id for program, _ in parts.limits_of), "")
        spent = _load_budgets(connection, program_id)
        names = [limit.name for program, instant in parts.limits_of for limit in budgets_of(program, instant)]
        books.put_budgets({(program_id, name): spent.get(name, Budget()) for name in names})
    return books


def _accounts(connection: Connection, books: Books, whose: CustomerKey | ReferenceKey) -> dict[UUID, Account]:
    """The account that this leads to, which the books then know, as far as there is one."""
    if isinstance(whose, ReferenceKey):
        found = ask_references(connection, [whose]).found
        books.put_references({whose: found.get(whose)})
        return load_accounts_by_id(connection, list(found.values()))
    program_id, customer_id = whose
    accounts = {account.account_id: account for account in load_accounts(connection, customer_id, program_id)}
    books.put_primaries({whose: next(iter(accounts), None)})
    return accounts


def _load_budgets(connection: Connection, program_id: str) -> dict[str, Budget]:
    """What all customers have had of the program's promotions, by promotion; another order may come in between."""
    rows = run_bulk(connection, "SELECT name, points, orders FROM budgets WHERE program_id = %s", (program_id,))
    return {name: Budget(points, orders) for name, points, orders in rows}


def _is_posted(connection: Connection, order: Order, program_id: str) -> bool:
    """Whether an order of this source and id is in the ledger of the program."""
    statement = "SELECT 1 FROM orders WHERE source = %s AND order_id = %s AND program_id = %s"
    return bool(run_bulk(connection, statement, (order.source, order.order_id, program_id)))
