"""Writing what was decided: appends with COPY, changes of balances, lots and orders with one UPDATE each."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account, Entry, PostedOrder, PostedRefund, TierChange
from core.domain.lots import Lot
from core.domain.orders.limits import Budget, Usage
from core.domain.program import UsageKey
from core.store.engine import copy_rows, run_bulk
from core.store.frozen import frozen_json
from core.store.ledger import ACCOUNT_COLUMNS
from core.store.proof.chain import chain_hashes
from core.store.shards import account_shard


class NewOrder(NamedTuple):
    """An order to record, with what the ledger needs beside the decision."""

    posted: PostedOrder
    shard: int
    inbox_id: int
    business_hash: bytes
    lines_json: str
    attributes_json: str | None
    tags_json: str | None


class NewRefund(NamedTuple):
    """A refund to record."""

    posted: PostedRefund
    program_id: str
    inbox_id: int
    business_hash: bytes
    body: bytes


class NewOrderEvent(NamedTuple):
    """A fulfilment or cancellation to record."""

    source: str
    order_id: str
    program_id: str
    kind: str  #: fulfilled or cancelled
    inbox_id: int
    business_hash: bytes
    occurred_at: datetime
    points_due: int = 0
    points_taken: int = 0
    points_excused: int = 0
    points_shortfall: int = 0


class OutboxEvent(NamedTuple):
    """An event to publish. `account_shard` decides the relay that keeps its order."""

    account_shard: int
    account_id: UUID | None  #: None for an event that is about no account
    event_id: str
    type: str
    body: str


def append_accounts(connection: Connection, accounts: Collection[Account]) -> None:
    """Open accounts and make their customers members.

    Fails if another transaction was first; the batch is then done again.
    """
    if accounts:
        columns = (*ACCOUNT_COLUMNS, "account_shard")
        copy_rows(
            connection, "accounts", columns, ((*account, account_shard(account.account_id)) for account in accounts)
        )
        members = ((account.program_id, account.customer_id, account.account_id) for account in accounts)
        copy_rows(connection, "members", ("program_id", "customer_id", "account_id"), members)


#: What changes of an account, in the order of its fields, and its types.
_ACCOUNT_TYPES = {
    "tier_id": "text", "sequence": "bigint", "lots_opened": "integer", "balance": "bigint", "pending": "bigint",
    "deficit": "bigint", "lifetime_points": "bigint", "qualifying_points": "bigint", "qualifying_from": "timestamptz",
    "tier_since": "timestamptz", "tier_until": "timestamptz", "tier_changes": "integer", "orders_posted": "integer",
    "enrolled_at": "timestamptz", "tier_held_until": "timestamptz", "tier_warned_until": "timestamptz",
}  # fmt: skip
_UPDATE_ACCOUNTS = f"""
UPDATE accounts a SET {", ".join(f"{name} = c.{name}" for name in _ACCOUNT_TYPES)}, updated_at = now()
FROM unnest(%b::uuid[], {", ".join(f"%b::{kind}[]" for kind in _ACCOUNT_TYPES.values())})
     AS c(account_id, {", ".join(_ACCOUNT_TYPES)})
WHERE a.account_id = c.account_id
"""  # noqa: S608  # our own column names


def update_accounts(connection: Connection, accounts: Collection[Account]) -> None:
    """Write the new state of accounts that the caller has locked."""
    if accounts:
        rows = ((a.account_id, *a[3:]) for a in accounts)
        run_bulk(connection, _UPDATE_ACCOUNTS, _columns(rows))


def append_entries(
    connection: Connection, entries: Sequence[Entry], whys: Sequence[str], chain_key: bytes | None = None
) -> None:
    """Append entries, each with the text of its calculation; the key (account, sequence) refuses a number twice.

    With `chain_key` each carries a hash over itself and the one before it.
    """
    if not entries:
        return
    hashes = [None] * len(entries) if chain_key is None else chain_hashes(connection, entries, whys, chain_key)
    columns = (
        "account_id", "sequence", "kind", "points", "balance_after", "lifetime_points_after", "deficit_change",
        "occurred_at", "source", "order_id", "refund_id", "corrects_sequence", "why",
        "pending_change", "pending_after", "chain_hash",
    )  # fmt: skip
    rows = (
        (
            e.account_id, e.sequence, e.kind.value, e.points, e.balance_after, e.lifetime_points_after,
            e.deficit_change, e.occurred_at, e.source, e.order_id, e.refund_id, e.corrects_sequence, why,
            e.pending_change, e.pending_after, chain_hash,
        )
        for e, why, chain_hash in zip(entries, whys, hashes, strict=True)
    )  # fmt: skip
    copy_rows(connection, "entries", columns, rows)


def append_lots(connection: Connection, lots: Collection[tuple[UUID, Lot]]) -> None:
    """Append the lots that entries of this transaction opened."""
    if lots:
        columns = ("account_id", "account_shard", *Lot._fields)
        copy_rows(
            connection, "lots", columns, ((account_id, account_shard(account_id), *lot) for account_id, lot in lots)
        )


_UPDATE_LOTS = """
UPDATE lots l SET points_remaining = c.points_remaining, points_expired = c.points_expired,
                  available_at = c.available_at, expires_at = c.expires_at, is_pending = c.is_pending,
                  points_excused = c.points_excused
FROM unnest(%b::uuid[], %b::integer[], %b::bigint[], %b::bigint[], %b::timestamptz[], %b::timestamptz[], %b::boolean[],
            %b::bigint[])
     AS c(account_id, lot_number, points_remaining, points_expired, available_at, expires_at, is_pending,
          points_excused)
WHERE l.account_id = c.account_id AND l.lot_number = c.lot_number
"""


def update_lots(connection: Connection, lots: Collection[tuple[UUID, Lot]]) -> None:
    """Write what became of lots of accounts that the caller has locked."""
    if lots:
        rows = (
            (
                account_id, lot.lot_number, lot.points_remaining, lot.points_expired, lot.available_at, lot.expires_at,
                lot.is_pending, lot.points_excused,
            )
            for account_id, lot in lots
        )  # fmt: skip
        run_bulk(connection, _UPDATE_LOTS, _columns(rows))


def append_allocations(connection: Connection, entries: Iterable[Entry]) -> None:
    """Append which lots each entry gave to or took from."""
    rows = [
        (entry.account_id, entry.sequence, part.lot_number, part.points)
        for entry in entries
        for part in entry.allocations
    ]
    if rows:
        copy_rows(connection, "allocations", ("account_id", "sequence", "lot_number", "points"), rows)


def append_tier_changes(connection: Connection, changes: Sequence[TierChange]) -> None:
    """Append tier changes."""
    if changes:
        columns = (
            "account_id", "change_number", "previous_tier_id", "tier_id", "qualifying_points", "effective_at", "reason",
        )  # fmt: skip
        copy_rows(connection, "tier_changes", columns, ((*c[:6], c.reason.value) for c in changes))


def append_orders(connection: Connection, orders: Sequence[NewOrder]) -> None:
    """Record orders; the key (source, order, program) refuses a second one."""
    if not orders:
        return
    columns = (
        "source", "order_id", "program_id", "account_id", "customer_id", "shard", "inbox_id", "business_hash",
        "currency", "occurred_at", "lines", "points_paid", "program_version", "tier_id", "sequence", "lot_number",
        "points_entitled", "points_excused", "points_shortfall", "attributes", "customer_tags", "frozen",
        "qualifying_points", "qualifying_spend", "qualifying_orders", "fulfilled_at", "cancelled_at",
    )  # fmt: skip
    rows = (
        (
            p.order.source, p.order.order_id, p.program_id, p.account_id, p.order.customer_id, new.shard, new.inbox_id,
            new.business_hash, p.order.currency, p.order.occurred_at, new.lines_json, p.order.points_paid,
            p.program_version, p.tier_id, p.sequence, p.lot_number,
            p.points_entitled, p.points_excused, p.points_shortfall, new.attributes_json, new.tags_json,
            frozen_json(p.frozen), *_qualifying(p), p.fulfilled_at, p.cancelled_at,
        )
        for new in orders
        for p in (new.posted,)
    )  # fmt: skip
    copy_rows(connection, "orders", columns, rows)


def _qualifying(posted: PostedOrder) -> tuple[int | None, int, int]:
    """What the order counts for the tier. Points only where they are not what it is entitled to, as with most."""
    points, spend, orders = posted.qualifying
    return None if points == posted.points_entitled else points, spend, orders


_UPDATE_ORDERS = """
UPDATE orders o SET points_entitled = c.points_entitled, points_excused = c.points_excused,
                    points_shortfall = c.points_shortfall, qualifying_points = c.qualifying_points,
                    qualifying_spend = c.qualifying_spend, qualifying_orders = c.qualifying_orders,
                    fulfilled_at = c.fulfilled_at, cancelled_at = c.cancelled_at
FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[],
            %b::smallint[], %b::timestamptz[], %b::timestamptz[])
     AS c(source, order_id, program_id, points_entitled, points_excused, points_shortfall, qualifying_points,
          qualifying_spend, qualifying_orders, fulfilled_at, cancelled_at)
WHERE o.source = c.source AND o.order_id = c.order_id AND o.program_id = c.program_id
"""


def update_orders(connection: Connection, orders: Collection[PostedOrder]) -> None:
    """Write what refunds, fulfilments and cancellations made of orders."""
    if orders:
        rows = (
            (
                p.order.source, p.order.order_id, p.program_id, p.points_entitled, p.points_excused,
                p.points_shortfall, *_qualifying(p), p.fulfilled_at, p.cancelled_at,
            )
            for p in orders
        )  # fmt: skip
        run_bulk(connection, _UPDATE_ORDERS, _columns(rows))


def append_order_events(connection: Connection, events: Sequence[NewOrderEvent]) -> None:
    """Record fulfilments and cancellations; the key (source, order, program, kind) refuses a second one."""
    if events:
        copy_rows(connection, "order_events", NewOrderEvent._fields, events)


_WRITE_USAGES = """
INSERT INTO usages (account_id, name, period, points, orders, carried)
SELECT * FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::bigint[], %b::integer[], %b::text[])
ON CONFLICT (account_id, name, period) DO UPDATE SET
    points = excluded.points, orders = excluded.orders, carried = excluded.carried
"""


def write_usages(connection: Connection, usages: Collection[tuple[UUID, UsageKey, Usage]]) -> None:
    """Write what accounts that the caller has locked have had of rules and promotions."""
    if usages:
        rows = ((account_id, *key, usage.points, usage.orders, str(usage.carried)) for account_id, key, usage in usages)
        run_bulk(connection, _WRITE_USAGES, _columns(rows))


_UPDATE_BUDGETS = """
UPDATE budgets b SET points = c.points, orders = c.orders
FROM unnest(%b::text[], %b::text[], %b::bigint[], %b::bigint[]) AS c(program_id, promotion_id, points, orders)
WHERE b.program_id = c.program_id AND b.promotion_id = c.promotion_id
"""


def update_budgets(connection: Connection, budgets: Collection[tuple[str, str, Budget]]) -> None:
    """Write what is spent of budgets that the caller has locked."""
    if budgets:
        run_bulk(connection, _UPDATE_BUDGETS, _columns((*key, *budget) for *key, budget in budgets))


def append_refunds(connection: Connection, refunds: Sequence[NewRefund]) -> None:
    """Record refunds; the key (source, refund, program) refuses a second one."""
    if not refunds:
        return
    columns = (
        "source", "refund_id", "program_id", "order_id", "inbox_id", "business_hash", "occurred_at", "body",
        "points_due", "points_taken", "points_excused", "points_shortfall",
    )  # fmt: skip
    rows = (
        (
            r.refund.source, r.refund.refund_id, new.program_id, r.refund.order_id, new.inbox_id, new.business_hash,
            r.refund.occurred_at, new.body, r.points_due, r.points_taken, r.points_excused, r.points_shortfall,
        )
        for new in refunds
        for r in (new.posted,)
    )  # fmt: skip
    copy_rows(connection, "refunds", columns, rows)


_DRAW_NUMBERS = """
UPDATE numbers SET next_number = next_number + %s WHERE name = 'outbox' RETURNING next_number - %s
"""


def append_events(connection: Connection, events: Sequence[OutboxEvent]) -> None:
    """Append events in the order given: outbox ids are drawn in it, under the accounts' locks.

    To be the last that a transaction does: whoever else has events waits from here to the commit.
    """
    if events:
        ((first,),) = run_bulk(connection, _DRAW_NUMBERS, (len(events), len(events)))
        rows = ((number, *event) for number, event in enumerate(events, first))
        copy_rows(connection, "outbox", ("outbox_id", *OutboxEvent._fields), rows)


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
