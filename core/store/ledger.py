"""Loading what a batch touches: accounts, lots, orders and refunds, each with one set-based statement."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account, PostedOrder
from core.domain.lots import Lot
from core.domain.orders import Order, Refund
from core.domain.tiers import TierHistoryEntry
from core.messages.inbound import StoredRefund, read_lines, read_stored_event
from core.store.engine import run_bulk


class OrderRecord(NamedTuple):
    """A row of `orders`."""

    posted: PostedOrder
    business_hash: bytes


class RefundRecord(NamedTuple):
    """A row of `refunds`."""

    program_id: str
    refund: Refund
    business_hash: bytes


ACCOUNT_COLUMNS = Account._fields

_ACCOUNTS = f"""
SELECT {", ".join(ACCOUNT_COLUMNS)} FROM accounts WHERE account_id = ANY(%b) ORDER BY account_id FOR UPDATE
"""  # noqa: S608  # our own column names


def lock_accounts(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, Account]:
    """Load and lock accounts, in the order of their ids: two writers that meet would deadlock otherwise."""
    if not account_ids:
        return {}
    rows = run_bulk(connection, _ACCOUNTS, (sorted(account_ids),))
    return {row[0]: Account(*row) for row in rows}


_MEMBERS = """
SELECT m.program_id, m.customer_id, m.account_id
FROM unnest(%b::text[], %b::text[]) AS k(program_id, customer_id) JOIN members m USING (program_id, customer_id)
"""


def load_members(connection: Connection, customers: Collection[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """The accounts of (program, customer) pairs, as far as there are any."""
    if not customers:
        return {}
    rows = run_bulk(connection, _MEMBERS, _columns(customers))
    return {(program_id, customer_id): account_id for program_id, customer_id, account_id in rows}


_LOTS = """
SELECT l.account_id, l.lot_number, l.opened_by_sequence, l.points_granted, l.points_remaining, l.points_expired,
       l.available_at, l.expires_at
FROM lots l WHERE l.account_id = ANY(%b) AND l.points_remaining > 0
UNION
SELECT l.account_id, l.lot_number, l.opened_by_sequence, l.points_granted, l.points_remaining, l.points_expired,
       l.available_at, l.expires_at
FROM lots l JOIN unnest(%b::uuid[], %b::integer[]) AS k(account_id, lot_number) USING (account_id, lot_number)
"""


def load_lots(
    connection: Connection, account_ids: Collection[UUID], also: Collection[tuple[UUID, int]]
) -> dict[UUID, dict[int, Lot]]:
    """Every lot with points left of these accounts, and the lots in `also` whatever is left in them."""
    found: dict[UUID, dict[int, Lot]] = {account_id: {} for account_id in account_ids}
    if account_ids:
        for account_id, *values in run_bulk(connection, _LOTS, (list(account_ids), *_columns(also, width=2))):
            found[account_id][values[0]] = Lot(*values)
    return found


_ORDERS = """
SELECT o.source, o.order_id, o.customer_id, o.currency, o.occurred_at, o.lines::text, o.points_paid,
       o.program_id, o.program_version, o.tier_id, o.account_id, o.sequence, o.lot_number,
       o.points_entitled, o.points_excused, o.points_shortfall, o.business_hash
FROM (SELECT DISTINCT * FROM unnest(%b::text[], %b::text[]) AS k(source, order_id)) k
     JOIN orders o USING (source, order_id)
ORDER BY o.source, o.order_id, o.program_id FOR UPDATE OF o
"""


def load_orders(connection: Connection, keys: Collection[tuple[str, str]]) -> list[OrderRecord]:
    """Load and lock posted orders of these (source, order_id), of any program, in the order of their keys.

    Two workers meet on an order only while LOYALTY_SHARDS is being changed; without the lock both would claw back from
    the same entitlement then.
    """
    if not keys:
        return []
    return [_order_record(row) for row in run_bulk(connection, _ORDERS, _columns(keys))]


def _order_record(row: tuple[object, ...]) -> OrderRecord:
    source, order_id, customer_id, currency, occurred_at, lines, points_paid = row[:7]
    assert isinstance(source, str)
    assert isinstance(order_id, str)
    assert isinstance(currency, str)
    assert isinstance(occurred_at, datetime)
    assert isinstance(points_paid, Decimal)
    assert customer_id is None or isinstance(customer_id, str)
    assert isinstance(lines, str)
    order = Order(source, order_id, customer_id, currency, occurred_at, read_lines(lines), points_paid)
    return OrderRecord(PostedOrder(order, *row[7:16]), row[16])  # type: ignore[arg-type]  # the columns of _ORDERS


_REFUNDS_OF_ORDERS = """
SELECT r.program_id, r.body, r.business_hash
FROM (SELECT DISTINCT * FROM unnest(%b::text[], %b::text[]) AS k(source, order_id)) k
     JOIN refunds r USING (source, order_id)
UNION ALL
SELECT r.program_id, r.body, r.business_hash
FROM (SELECT DISTINCT * FROM unnest(%b::text[], %b::text[], %b::text[]) AS k(source, refund_id, order_id)) k
     JOIN refunds r ON r.source = k.source AND r.refund_id = k.refund_id AND r.order_id <> k.order_id
"""


def load_refunds(connection: Connection, keys: Sequence[tuple[str, str, str]]) -> list[RefundRecord]:
    """Posted refunds of the orders of these (source, refund_id, order_id), and those with one of the refund ids."""
    if not keys:
        return []
    sources, refund_ids, order_ids = _columns(keys)
    rows = run_bulk(connection, _REFUNDS_OF_ORDERS, (sources, order_ids, sources, refund_ids, order_ids))
    return [RefundRecord(program_id, _refund(body), digest) for program_id, body, digest in rows]


def _refund(body: bytes) -> Refund:
    event = read_stored_event(body)
    assert isinstance(event, StoredRefund)
    return event.refund


_TIER_HISTORY = """
SELECT account_id, effective_at, tier_id FROM tier_changes WHERE account_id = ANY(%b) ORDER BY account_id, change_number
"""


def load_tier_history(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, list[TierHistoryEntry]]:
    """The tier changes of these accounts, oldest first."""
    history: dict[UUID, list[TierHistoryEntry]] = {account_id: [] for account_id in account_ids}
    if account_ids:
        for account_id, effective_at, tier_id in run_bulk(connection, _TIER_HISTORY, (list(account_ids),)):
            history[account_id].append(TierHistoryEntry(effective_at, tier_id))
    return history


def _columns(rows: Iterable[Sequence[object]], width: int = 0) -> list[list[object]]:
    """Rows turned into one list per column, for unnest; `width` empty ones when there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
