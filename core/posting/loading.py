"""Opening the books for a batch: everything that its messages touch, with a few set-based statements."""

from collections.abc import Callable, Sequence
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account, PostedOrder
from core.messages.inbound import StoredOrder, StoredRefund
from core.posting.books import Books
from core.store.ledger import load_lots, load_members, load_orders, load_refunds, load_tier_history, lock_accounts
from core.store.programs import ProgramRegistry


def open_books(
    connection: Connection,
    events: Sequence[StoredOrder | StoredRefund],
    registry: ProgramRegistry,
    new_account_id: Callable[[], UUID],
) -> Books:
    """Load and lock the accounts, lots, orders and refunds that `events` touch."""
    books = Books(new_account_id)
    orders = [event for event in events if isinstance(event, StoredOrder)]
    refunds = [event.refund for event in events if isinstance(event, StoredRefund)]
    keys = {(e.order.source, e.order.order_id) for e in orders} | {(r.source, r.order_id) for r in refunds}
    records = load_orders(connection, keys)
    books.put_orders(records)
    books.put_refunds(load_refunds(connection, [(r.source, r.refund_id, r.order_id) for r in refunds]))

    refunded = {(r.source, r.order_id) for r in refunds}
    posted = [r.posted for r in records if (r.posted.order.source, r.posted.order.order_id) in refunded]
    customers = {key: event for event in orders if (key := _customer(event, registry)) is not None}
    members = load_members(connection, customers)
    account_ids = set(members.values()) | {p.account_id for p in posted if p.account_id is not None}
    accounts = lock_accounts(connection, account_ids)
    books.put_accounts(members, accounts)

    debited = {p.account_id for p in posted if p.account_id is not None}
    debited |= {
        members[key]
        for event in orders
        if (event.order.source, event.order.order_id) in refunded
        and (key := _customer(event, registry)) is not None
        and key in members
    }
    books.put_lots(load_lots(connection, debited, _own_lots(posted)))
    late = _late_accounts(orders, registry, members, accounts)
    books.put_history(load_tier_history(connection, late))
    return books


def _customer(event: StoredOrder, registry: ProgramRegistry) -> tuple[str, str] | None:
    program_id = registry.resolve(event.program_id, event.order.source)
    if program_id is None or event.order.customer_id is None:
        return None
    return program_id, event.order.customer_id


def _own_lots(posted: Sequence[PostedOrder]) -> set[tuple[UUID, int]]:
    """The lots that these orders opened, which clawbacks look at even when nothing is left in them."""
    return {(p.account_id, p.lot_number) for p in posted if p.account_id is not None and p.lot_number is not None}


def _late_accounts(
    orders: Sequence[StoredOrder],
    registry: ProgramRegistry,
    members: dict[tuple[str, str], UUID],
    accounts: dict[UUID, Account],
) -> set[UUID]:
    """Accounts with an order from before their last tier change, whose earlier tier the history tells.

    An account that moves within this batch is covered too: it had a history before, or it had none to load.
    """
    late: set[UUID] = set()
    for event in orders:
        key = _customer(event, registry)
        account_id = members.get(key) if key is not None else None
        if account_id is not None and accounts[account_id].tier_changes:
            late.add(account_id)
    return late
