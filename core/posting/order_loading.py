"""The orders of a batch, all that is reported of them, and what it reaches with what took the points that paid them."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import Connection

from core.domain.books import Books
from core.domain.ledger import POINTS_MAX
from core.domain.orders.posted import PostedOrder
from core.domain.reach import AccountParts, LotsWanted, Reach, ReferenceKey
from core.domain.value.authorizations import AUTHORIZATION
from core.domain.value.payments import PaymentKind
from core.store.ledger import ask_orders, load_order_events, load_refunds
from core.store.merges import load_orders_of
from core.store.order_payments import hold_payments
from core.store.returns import load_returns

_NO_PARTS = AccountParts()
#: Of accounts to which points come back that paid an order, and of those from which they are taken again.
_GIVEN_BACK = AccountParts(LotsWanted.IF_OWING, expiries=True)
_TAKEN_AGAIN = AccountParts(LotsWanted.TO_TAKE, points_to_take=POINTS_MAX, expiries=True)


def with_payments(connection: Connection, reach: Reach, orders: Iterable[PostedOrder]) -> Reach:
    """What the batch reaches with what paid these orders, and those that it reports, by points.

    Such points are only taken again, from whatever lots, where the order can also be worth more than before.
    """
    named = {key: set(of_orders) for key, of_orders in reach.payments.items()}
    for posted in orders:
        paid_by = posted.current.paid_by
        if paid_by is not None and reach.orders[posted.key].refunds:
            named.setdefault(paid_by, set()).add(posted.key)
    if not named and not reach.offered:
        return reach
    hold_payments(connection, named.keys() - reach.offered)
    references, movements = dict(reach.references), dict(reach.movements)
    for key, of_orders in named.items():
        is_taken_again = any(reach.orders[order].takes for order in of_orders)
        parts = _TAKEN_AGAIN if is_taken_again else _GIVEN_BACK
        if key.kind is PaymentKind.AUTHORIZATION:
            reference = ReferenceKey(AUTHORIZATION, key.payment_id)
            references[reference] = references.get(reference, _NO_PARTS).union(parts)
        else:
            command = key.source, key.payment_id
            movements[command] = movements.get(command, _NO_PARTS).union(parts)
    payments = {key: frozenset(of_orders) for key, of_orders in named.items()}
    return reach._replace(references=references, movements=movements, payments=payments)


def load_reported(connection: Connection, books: Books, reach: Reach, orders: Sequence[PostedOrder]) -> None:
    """Take in the orders, which are locked, and load what is reported of them, and returns."""
    books.put_orders(reach.orders, orders)
    with_refunds = [key for key, parts in reach.orders.items() if parts.refunds]
    if with_refunds or reach.refunds:
        books.put_refunds(with_refunds, reach.refunds, load_refunds(connection, with_refunds, reach.refunds))
    with_events = [key for key, parts in reach.orders.items() if parts.events]
    if with_events:
        books.put_order_events(with_events, load_order_events(connection, with_events))
    books.put_returns(reach.returns, load_returns(connection, reach.returns))


def load_all_orders_of(connection: Connection, books: Books, account_ids: Sequence[UUID]) -> list[PostedOrder]:
    """Load all orders of these accounts, with all that is reported of them."""
    keys_of = load_orders_of(connection, account_ids)
    keys = sorted({key for of_account in keys_of.values() for key in of_account})
    orders = ask_orders(connection, keys).found
    books.put_orders(keys, orders)
    for account_id, of_account in keys_of.items():
        books.put_orders_of(account_id, of_account)
    books.put_refunds(keys, (), load_refunds(connection, keys, ()))
    books.put_order_events(keys, load_order_events(connection, keys))
    return orders
