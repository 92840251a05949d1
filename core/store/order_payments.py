"""What has come back of points that paid orders, by what the orders name as having taken them."""

from collections.abc import Collection
from fractions import Fraction

from sqlalchemy import Connection

from core.domain.value.payments import Payment, PaymentKey, PaymentKind
from core.store import tables
from core.store.engine import Asked, ask, run_bulk
from core.store.locks import LockClass, lock, share_lock
from core.store.rows import Field, Put, Shape, arrays, unnested
from core.store.sessions import Rows

PAYMENTS = Shape(tables.order_payments, Payment, share=Field("share", write=str, read=Fraction))
_KEY = ("kind", "source", "payment_id")
_OF_KEYS = f"""
SELECT {PAYMENTS.select("p")} FROM {unnested(tables.order_payments, _KEY)}
JOIN order_payments p USING (kind, source, payment_id)
"""  # noqa: S608  # our own names
_PUT = Put(PAYMENTS.new())

_AUTHORIZED = f"""
SELECT a.authorization_id FROM {unnested(tables.authorizations, ("authorization_id",))}
JOIN authorizations a USING (authorization_id) WHERE a.kind = 'authorization'
"""  # noqa: S608  # our own names
_COMMANDED = f"""
SELECT c.source, c.command_id FROM {unnested(tables.commands, ("source", "command_id"))}
JOIN commands c USING (source, command_id)
"""  # noqa: S608  # our own names


def hold_payments(connection: Connection, named: Collection[PaymentKey]) -> None:
    """Let no order name as its payment what another transaction is about to take for it, and neither see the other.

    Whoever posts an order that is paid by something unknown has the lock alone; who takes points shares it. What is
    known has an account, under the lock of which both come one after the other. To be called once, after the orders
    are locked and before accounts are.
    """
    if len(_known(connection, named)) < len(named):
        lock(connection, LockClass.PAYMENTS)
    else:
        share_lock(connection, LockClass.PAYMENTS)


def _known(connection: Connection, keys: Collection[PaymentKey]) -> set[PaymentKey]:
    authorizations = [(key.payment_id,) for key in keys if key.kind is PaymentKind.AUTHORIZATION]
    commands = [(key.source, key.payment_id) for key in keys if key.kind is PaymentKind.COMMAND]
    known: set[PaymentKey] = set()
    if authorizations:
        rows = run_bulk(connection, _AUTHORIZED, arrays(authorizations, 1))
        known |= {PaymentKey(PaymentKind.AUTHORIZATION, "", row[0]) for row in rows}
    if commands:
        rows = run_bulk(connection, _COMMANDED, arrays(commands, 2))
        known |= {PaymentKey(PaymentKind.COMMAND, *row) for row in rows}
    return known


def ask_payments(connection: Connection, keys: Collection[PaymentKey]) -> Asked[list[Payment]]:
    """Those of these that orders have named; the caller holds their accounts, or the lock of `hold_payments`."""
    return ask(connection, _OF_KEYS, arrays(keys, 3), _read_payments) if keys else Asked(_read_payments)


def _read_payments(rows: Rows) -> list[Payment]:
    return [PAYMENTS.read(row) for row in rows]


def write_payments(connection: Connection, payments: Collection[Payment]) -> None:
    """Write what has come back by now; of what an order names for the first time, that it does."""
    _PUT.run(connection, payments)
