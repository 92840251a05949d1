"""Loading what a batch touches: accounts, lots, orders and refunds, each with one set-based statement."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account, PostedOrder, Qualifying
from core.domain.lots import Lot
from core.domain.orders.facts import Order, Refund
from core.domain.orders.limits import Budget, Usage
from core.domain.program import UsageKey
from core.domain.tiers.qualification import Counted, TierHistoryEntry
from core.messages.inbound.reading import StoredRefund, read_attributes, read_lines, read_stored_event, read_tags
from core.store.engine import run_bulk
from core.store.frozen import read_frozen


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


_LOT = ", ".join(f"l.{name}" for name in Lot._fields)
_LOTS = f"""
SELECT l.account_id, {_LOT} FROM lots l WHERE l.account_id = ANY(%b) AND (l.points_remaining > 0 OR l.is_pending)
UNION
SELECT l.account_id, {_LOT}
FROM unnest(%b::uuid[], %b::bigint[]) AS k(account_id, sequence)
JOIN allocations n USING (account_id, sequence) JOIN lots l USING (account_id, lot_number)
"""  # noqa: S608  # our own column names


def load_lots(
    connection: Connection, account_ids: Collection[UUID], also: Collection[tuple[UUID, int]]
) -> dict[UUID, dict[int, Lot]]:
    """Every lot with points left of these accounts, and those that the entries (account, sequence) in `also` opened."""
    found: dict[UUID, dict[int, Lot]] = {account_id: {} for account_id in account_ids}
    if account_ids:
        for account_id, *values in run_bulk(connection, _LOTS, (list(account_ids), *_columns(also, width=2))):
            found[account_id][values[0]] = Lot(*values)
    return found


_ORDERS = """
SELECT o.source, o.order_id, o.customer_id, o.currency, o.occurred_at, o.lines::text, o.points_paid,
       o.program_id, o.program_version, o.tier_id, o.account_id, o.sequence, o.lot_number,
       o.points_entitled, o.points_excused, o.points_shortfall, o.business_hash,
       o.attributes::text, o.customer_tags::text, o.frozen::text,
       coalesce(o.qualifying_points, o.points_entitled), coalesce(o.qualifying_spend, 0),
       coalesce(o.qualifying_orders, (o.points_entitled > 0)::integer), o.fulfilled_at, o.cancelled_at
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


def _order_record(row: tuple[Any, ...]) -> OrderRecord:
    source, order_id, customer_id, currency, occurred_at, lines, points_paid = row[:7]
    business_hash, attributes, tags, frozen, points, spend, orders, fulfilled_at, cancelled_at = row[16:]
    order = Order(
        source, order_id, customer_id, currency, occurred_at, read_lines(lines), points_paid,
        read_attributes(attributes), read_tags(tags),
    )  # fmt: skip
    program_id, version, tier_id, account_id, sequence, lot_number, entitled, excused, shortfall = row[7:16]
    posted = PostedOrder(
        order, program_id, version, tier_id, account_id, sequence, lot_number, entitled, excused, shortfall,
        read_frozen(frozen), Qualifying(points, spend, orders), fulfilled_at, cancelled_at,
    )  # fmt: skip
    return OrderRecord(posted, business_hash)


class OrderEventRecord(NamedTuple):
    """A row of `order_events`."""

    source: str
    order_id: str
    program_id: str
    kind: str  #: fulfilled or cancelled
    business_hash: bytes


_ORDER_EVENTS = """
SELECT source, order_id, program_id, kind, business_hash
FROM (SELECT DISTINCT * FROM unnest(%b::text[], %b::text[]) AS k(source, order_id)) k
     JOIN order_events USING (source, order_id)
"""


def load_order_events(connection: Connection, keys: Collection[tuple[str, str]]) -> list[OrderEventRecord]:
    """What is posted of fulfilments and cancellations of these (source, order_id)."""
    if not keys:
        return []
    return [OrderEventRecord(*row) for row in run_bulk(connection, _ORDER_EVENTS, _columns(keys))]


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


_COUNTED = """
SELECT k.account_id, o.occurred_at, coalesce(o.qualifying_points, o.points_entitled), coalesce(o.qualifying_spend, 0),
       coalesce(o.qualifying_orders, (o.points_entitled > 0)::integer)
FROM unnest(%b::uuid[], %b::timestamptz[]) AS k(account_id, since)
     JOIN orders o ON o.account_id = k.account_id AND o.occurred_at >= k.since
"""


def load_counted(connection: Connection, since: Mapping[UUID, datetime]) -> dict[UUID, list[Counted]]:
    """What each of these accounts' orders from its instant on count for the tier."""
    counted: dict[UUID, list[Counted]] = {account_id: [] for account_id in since}
    if since:
        for account_id, occurred_at, *values in run_bulk(connection, _COUNTED, (list(since), list(since.values()))):
            counted[account_id].append(Counted(occurred_at, Qualifying(*values)))
    return counted


_USAGES = """
SELECT k.account_id, k.name, k.period, u.points, u.orders, u.carried
FROM unnest(%b::uuid[], %b::text[], %b::text[]) AS k(account_id, name, period)
     JOIN usages u USING (account_id, name, period)
"""


def load_usages(connection: Connection, keys: Collection[tuple[UUID, UsageKey]]) -> dict[UUID, dict[UsageKey, Usage]]:
    """What these accounts, which the caller has locked, have had of rules and promotions in these periods."""
    found: dict[UUID, dict[UsageKey, Usage]] = {}
    if keys:
        rows = run_bulk(connection, _USAGES, _columns([(account_id, *key) for account_id, key in keys]))
        for account_id, name, period, points, orders, carried in rows:
            usages = found.setdefault(account_id, {})
            usages[UsageKey(name, period)] = Usage(points, orders, Fraction(carried))
    return found


_OPEN_BUDGETS = """
INSERT INTO budgets (program_id, promotion_id) SELECT * FROM unnest(%b::text[], %b::text[]) ON CONFLICT DO NOTHING
"""
_BUDGETS = """
SELECT b.program_id, b.promotion_id, b.points, b.orders
FROM unnest(%b::text[], %b::text[]) AS k(program_id, promotion_id) JOIN budgets b USING (program_id, promotion_id)
"""
_LOCKED_BUDGETS = f"{_BUDGETS} ORDER BY b.program_id, b.promotion_id FOR UPDATE OF b"


def load_budgets(connection: Connection, keys: Collection[tuple[str, str]]) -> dict[str, dict[str, Budget]]:
    """What all customers have had of these (program, promotion), by program, as far as it is committed."""
    return _budgets(run_bulk(connection, _BUDGETS, _columns(sorted(keys)))) if keys else {}


def lock_budgets(connection: Connection, keys: Collection[tuple[str, str]]) -> dict[str, dict[str, Budget]]:
    """The same, locked, after the accounts; of every one there is a row then.

    Whoever adds to a budget waits here for the others: that is what makes it hold.
    """
    if not keys:
        return {}
    columns = _columns(sorted(keys))
    run_bulk(connection, _OPEN_BUDGETS, columns)
    return _budgets(run_bulk(connection, _LOCKED_BUDGETS, columns))


def _budgets(rows: Iterable[Sequence[Any]]) -> dict[str, dict[str, Budget]]:
    found: dict[str, dict[str, Budget]] = {}
    for program_id, promotion_id, points, orders in rows:
        found.setdefault(program_id, {})[promotion_id] = Budget(points, orders)
    return found


def _columns(rows: Iterable[Sequence[object]], width: int = 0) -> list[list[object]]:
    """Rows turned into one list per column, for unnest; `width` empty ones when there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(width)]
