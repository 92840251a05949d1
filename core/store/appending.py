"""Writing what was decided: appends with COPY, changes of balances, lots and orders with one UPDATE each."""

import json
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account, Entry, PostedOrder, PostedRefund, TierChange
from core.domain.lots import Lot
from core.store.engine import copy_rows, run_bulk
from core.store.ledger import ACCOUNT_COLUMNS
from core.store.shards import account_shard


class NewOrder(NamedTuple):
    """An order to record, with what the ledger needs beside the decision."""

    posted: PostedOrder
    shard: int
    inbox_id: int
    business_hash: bytes
    lines_json: str


class NewRefund(NamedTuple):
    """A refund to record."""

    posted: PostedRefund
    program_id: str
    inbox_id: int
    business_hash: bytes
    body: bytes


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


_UPDATE_ACCOUNTS = """
UPDATE accounts a SET
    sequence = c.sequence, lots_opened = c.lots_opened, balance = c.balance, pending = c.pending, deficit = c.deficit,
    lifetime_points = c.lifetime_points, qualifying_points = c.qualifying_points, qualifying_from = c.qualifying_from,
    tier_id = c.tier_id, tier_since = c.tier_since, tier_until = c.tier_until, tier_changes = c.tier_changes,
    updated_at = now()
FROM unnest(%b::uuid[], %b::text[], %b::bigint[], %b::integer[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[],
            %b::bigint[], %b::timestamptz[], %b::timestamptz[], %b::timestamptz[], %b::integer[])
     AS c(account_id, tier_id, sequence, lots_opened, balance, pending, deficit, lifetime_points,
          qualifying_points, qualifying_from, tier_since, tier_until, tier_changes)
WHERE a.account_id = c.account_id
"""


def update_accounts(connection: Connection, accounts: Collection[Account]) -> None:
    """Write the new state of accounts that the caller has locked."""
    if accounts:
        rows = ((a.account_id, *a[3:]) for a in accounts)
        run_bulk(connection, _UPDATE_ACCOUNTS, _columns(rows))


def append_entries(connection: Connection, entries: Sequence[Entry]) -> None:
    """Append entries; the key (account, sequence) refuses a second one of the same number."""
    if not entries:
        return
    columns = (
        "account_id", "sequence", "kind", "points", "balance_after", "lifetime_points_after", "deficit_change",
        "occurred_at", "source", "order_id", "refund_id", "corrects_sequence", "why",
    )  # fmt: skip
    rows = (
        (
            e.account_id, e.sequence, e.kind.value, e.points, e.balance_after, e.lifetime_points_after,
            e.deficit_change, e.occurred_at, e.source, e.order_id, e.refund_id, e.corrects_sequence, json.dumps(e.why),
        )
        for e in entries
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
UPDATE lots l SET points_remaining = c.points_remaining, points_expired = c.points_expired
FROM unnest(%b::uuid[], %b::integer[], %b::bigint[], %b::bigint[])
     AS c(account_id, lot_number, points_remaining, points_expired)
WHERE l.account_id = c.account_id AND l.lot_number = c.lot_number
"""


def update_lots(connection: Connection, lots: Collection[tuple[UUID, Lot]]) -> None:
    """Write what is left in lots of accounts that the caller has locked."""
    if lots:
        rows = ((account_id, lot.lot_number, lot.points_remaining, lot.points_expired) for account_id, lot in lots)
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
        "points_entitled", "points_excused", "points_shortfall",
    )  # fmt: skip
    rows = (
        (
            p.order.source, p.order.order_id, p.program_id, p.account_id, p.order.customer_id, new.shard, new.inbox_id,
            new.business_hash, p.order.currency, p.order.occurred_at, new.lines_json, p.order.points_paid,
            p.program_version, p.tier_id, p.sequence, p.lot_number,
            p.points_entitled, p.points_excused, p.points_shortfall,
        )
        for new in orders
        for p in (new.posted,)
    )  # fmt: skip
    copy_rows(connection, "orders", columns, rows)


_UPDATE_ORDERS = """
UPDATE orders o SET points_entitled = c.points_entitled, points_excused = c.points_excused,
                    points_shortfall = c.points_shortfall
FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[])
     AS c(source, order_id, program_id, points_entitled, points_excused, points_shortfall)
WHERE o.source = c.source AND o.order_id = c.order_id AND o.program_id = c.program_id
"""


def update_orders(connection: Connection, orders: Collection[PostedOrder]) -> None:
    """Write what refunds made of orders."""
    if orders:
        rows = (
            (p.order.source, p.order.order_id, p.program_id, p.points_entitled, p.points_excused, p.points_shortfall)
            for p in orders
        )
        run_bulk(connection, _UPDATE_ORDERS, _columns(rows))


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


def append_events(connection: Connection, events: Sequence[OutboxEvent]) -> None:
    """Append events in the order given: outbox ids are drawn in it, under the accounts' locks."""
    if events:
        copy_rows(connection, "outbox", OutboxEvent._fields, events)


def _columns(rows: Iterable[Sequence[object]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
