"""Writing what was decided: appends with COPY, changes of balances, lots and orders with one UPDATE each."""

from collections.abc import Collection, Iterable, Sequence
from itertools import count
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.decision import TierChange
from core.domain.ledger import Account, Entry
from core.domain.lots import Allocation, Lot, SharedExpiry
from core.domain.orders.posted import Budget, PostedOrder, PostedOrderEvent, PostedRefund, PostedReturn, Usage
from core.domain.program import UsageKey
from core.store import tables
from core.store.amendments import amendment_json
from core.store.engine import run_bulk
from core.store.judgements import judgement_json, steps_json
from core.store.ledger import (
    ACCOUNTS,
    BUDGETS,
    EXPIRIES,
    LOTS_WRITTEN,
    ORDERS,
    USAGES,
    AccountExpiry,
    AccountLot,
    AccountUsage,
    SharedBudget,
    refund_lines_json,
)
from core.store.proof.chain import chain_hashes
from core.store.proof.seals import Sealer, seal_again
from core.store.rows import Append, Field, Put, Shape, Update, arrays


class NewOrder(NamedTuple):
    """An order to record, with what the ledger needs beside the decision."""

    posted: PostedOrder
    shard: int
    inbox_id: int
    lines_json: str
    attributes_json: str | None
    tags_json: str | None
    seal: bytes | None = None


class NewReturn(NamedTuple):
    """A return without a receipt to record, with what the ledger needs beside the decision."""

    posted: PostedReturn
    inbox_id: int
    lines_json: str
    seal: bytes | None = None


class OutboxEvent(NamedTuple):
    """An event to publish. `account_shard` decides the relay that keeps its order."""

    account_shard: int
    account_id: UUID | None  #: None for an event that is about no account
    event_key: str  #: its id, or what follows in that behind the account's
    type: str
    body: str
    reply_to: str | None = None  #: the queue or stream of who asked for it: it goes there too
    correlation_id: str | None = None  #: by which they know what they asked; at most 255 bytes, as `reply_to`
    traceparent: str | None = None  #: of the trace that goes on beside it
    tracestate: str | None = None


class _NewEntry(NamedTuple):
    entry: Entry
    why_json: str
    chain_hash: bytes | None


class _EntryAllocation(NamedTuple):
    account_id: UUID
    sequence: int
    allocation: Allocation


class _NewRefund(NamedTuple):
    posted: PostedRefund
    inbox_id: int


class NewOrderEvent(NamedTuple):
    """What happened to an order, to record, with what the ledger needs beside the decision."""

    posted: PostedOrderEvent
    inbox_id: int
    content_json: str | None


class _NumberedEvent(NamedTuple):
    outbox_id: int
    event: OutboxEvent


_APPEND_ACCOUNTS = Append(ACCOUNTS.new())
_OF_ACCOUNTS_FOR_GOOD = {
    "account_id", "program_id", "customer_id", "own_account_id", "is_enrolment_given", "lifetime_points_given",
}  # fmt: skip
_UPDATE_ACCOUNTS = Update(ACCOUNTS.changed(*(name for name in Account._fields if name not in _OF_ACCOUNTS_FOR_GOOD)))


def append_accounts(connection: Connection, accounts: Collection[Account]) -> None:
    """Open accounts. To which of them orders come is written by `core.store.members`."""
    _APPEND_ACCOUNTS.run(connection, accounts)


def update_accounts(connection: Connection, accounts: Collection[Account]) -> None:
    """Write the new state of accounts that the caller has locked."""
    _UPDATE_ACCOUNTS.run(connection, accounts)


_APPEND_ENTRIES = Append(Shape(tables.entries, _NewEntry, why="why_json").new())


def append_entries(
    connection: Connection, entries: Sequence[Entry], whys: Sequence[str], chain_key: bytes | None
) -> None:
    """Append entries, each with the text of its calculation; the key (account, sequence) refuses a number twice.

    With `chain_key` each carries a hash over itself and the one before it.
    """
    hashes = [None] * len(entries) if chain_key is None else chain_hashes(connection, entries, whys, chain_key)
    _APPEND_ENTRIES.run(connection, list(map(_NewEntry, entries, whys, hashes)))


_APPEND_EXPIRIES = Append(EXPIRIES.new())
_UPDATE_EXPIRIES = Update(EXPIRIES.changed("expires_at", "extended_to", "is_kept"))


def append_expiries(connection: Connection, expiries: Collection[tuple[UUID, SharedExpiry]]) -> None:
    """Append shared expiries that began."""
    _APPEND_EXPIRIES.run(connection, [AccountExpiry(*pair) for pair in expiries])


def update_expiries(connection: Connection, expiries: Collection[tuple[UUID, SharedExpiry]]) -> None:
    """Write the new instants of shared expiries, of accounts that the caller has locked."""
    _UPDATE_EXPIRIES.run(connection, [AccountExpiry(*pair) for pair in expiries])


_APPEND_LOTS = Append(LOTS_WRITTEN.new())
_UPDATE_LOTS = Update(
    LOTS_WRITTEN.changed(
        "points_remaining", "points_expired", "available_at", "expires_at", "is_pending", "points_excused",
        "expires_with",
    )
)  # fmt: skip


def append_lots(connection: Connection, lots: Collection[tuple[UUID, Lot]]) -> None:
    """Append the lots that entries of this transaction opened."""
    _APPEND_LOTS.run(connection, [AccountLot(*pair) for pair in lots])


def update_lots(connection: Connection, lots: Collection[tuple[UUID, Lot]]) -> None:
    """Write what became of lots of accounts that the caller has locked."""
    _UPDATE_LOTS.run(connection, [AccountLot(*pair) for pair in lots])


_APPEND_ALLOCATIONS = Append(Shape(tables.allocations, _EntryAllocation).new())


def append_allocations(connection: Connection, entries: Iterable[Entry]) -> None:
    """Append what each entry did to which lots."""
    rows = [_EntryAllocation(e.account_id, e.sequence, allocation) for e in entries for allocation in e.allocations]
    _APPEND_ALLOCATIONS.run(connection, rows)


_APPEND_TIER_CHANGES = Append(Shape(tables.tier_changes, TierChange).new())


def append_tier_changes(connection: Connection, changes: Sequence[TierChange]) -> None:
    """Append tier changes."""
    _APPEND_TIER_CHANGES.run(connection, changes)


_NEW_ORDERS = Shape(
    tables.orders,
    NewOrder,
    business_hash="posted.digest",
    lines="lines_json",
    attributes="attributes_json",
    customer_tags="tags_json",
    judgement=Field("posted.judgement", judgement_json),
    amendment=Field("posted.amendment", amendment_json),
    qualifying_steps=Field("posted.qualifying_steps", steps_json),
)
_APPEND_ORDERS = Append(_NEW_ORDERS.new())
_ORDER_SEALER = Sealer(_NEW_ORDERS)
_UPDATE_ORDERS = Update(
    ORDERS.changed(
        "points_entitled", "points_excused", "points_shortfall", "qualifying_points", "qualifying_spend",
        "qualifying_orders", "qualifying_steps", "is_counted", "fulfilled_at", "cancelled_at", "amendment",
    )
)  # fmt: skip


class ClaimedOrder(NamedTuple):
    """An order that was posted and is another account's now, and the shard where its messages are posted."""

    posted: PostedOrder
    shard: int


_CLAIM_ORDERS = Update(
    Shape(
        tables.orders,
        ClaimedOrder,
        business_hash="posted.digest",
        judgement=Field("posted.judgement", judgement_json),
        amendment=Field("posted.amendment", amendment_json),
        qualifying_steps=Field("posted.qualifying_steps", steps_json),
    ).changed("account_id", "shard", "tier_id", "sequence", "judgement")
)


_ADOPT = """
UPDATE {table} t SET account_id = k.account_id
FROM unnest(%b::text[], %b::text[], %b::text[], %b::uuid[]) AS k(source, order_id, program_id, account_id)
WHERE t.account_id IS NULL AND (t.{source}, t.order_id, t.program_id) = (k.source, k.order_id, k.program_id)
"""
_ADOPT_REFUNDS = _ADOPT.format(table="refunds", source="order_source")
_ADOPT_ORDER_EVENTS = _ADOPT.format(table="order_events", source="source")


def adopt_reports(connection: Connection, orders: Sequence[ClaimedOrder]) -> None:
    """Let what was reported of guests' orders be of the accounts to which the orders came."""
    if orders:
        rows = [(*each.posted.key, each.posted.program_id, each.posted.account_id) for each in orders]
        for statement in (_ADOPT_REFUNDS, _ADOPT_ORDER_EVENTS):
            run_bulk(connection, statement, arrays(rows, 4))


def claim_orders(connection: Connection, orders: Sequence[ClaimedOrder], chain_key: bytes | None) -> None:
    """Let orders be of the accounts whose they are now. With `chain_key` they are sealed anew."""
    _CLAIM_ORDERS.run(connection, orders)
    if chain_key is not None and orders:
        seal_again(
            connection, chain_key, tables.orders, [(*each.posted.key, each.posted.program_id) for each in orders]
        )


_MOVE_ORDERS = Update(ORDERS.changed("account_id", "sequence"))


def move_orders(connection: Connection, orders: Sequence[PostedOrder], chain_key: bytes | None) -> None:
    """Let orders be of the accounts to which merges have moved them. With `chain_key` they are sealed anew."""
    _MOVE_ORDERS.run(connection, orders)
    if chain_key is not None and orders:
        seal_again(connection, chain_key, tables.orders, [(*each.key, each.program_id) for each in orders])


def append_orders(connection: Connection, orders: Sequence[NewOrder], chain_key: bytes | None) -> None:
    """Record orders; the key (source, order, program) refuses a second one. With `chain_key` each carries a seal."""
    if chain_key is not None:
        orders = [order._replace(seal=_ORDER_SEALER.seal(chain_key, order)) for order in orders]
    _APPEND_ORDERS.run(connection, orders)


def update_orders(connection: Connection, orders: Collection[PostedOrder]) -> None:
    """Write what has become of orders."""
    _UPDATE_ORDERS.run(connection, orders)


_APPEND_REFUNDS = Append(
    Shape(
        tables.refunds,
        _NewRefund,
        business_hash="posted.digest",
        order_source=lambda new: new.posted.refund.order_key[0],
        is_full="posted.refund.full",
        lines=Field("posted.refund.lines", refund_lines_json),
    ).new()
)


def append_refunds(connection: Connection, refunds: Sequence[tuple[PostedRefund, int]]) -> None:
    """Record refunds, each with its message; the key (source, refund, program) refuses a second one."""
    _APPEND_REFUNDS.run(connection, [_NewRefund(*pair) for pair in refunds])


_APPEND_ORDER_EVENTS = Append(
    Shape(tables.order_events, NewOrderEvent, business_hash="posted.digest", content="content_json").new()
)


def append_order_events(connection: Connection, events: Sequence[NewOrderEvent]) -> None:
    """Record what happened to orders, each with its message; the key refuses the same a second time."""
    _APPEND_ORDER_EVENTS.run(connection, events)


_NEW_RETURNS = Shape(tables.returns, NewReturn, business_hash="posted.digest", lines="lines_json")
_APPEND_RETURNS = Append(_NEW_RETURNS.new())
_RETURN_SEALER = Sealer(_NEW_RETURNS)


def append_returns(connection: Connection, returns: Sequence[NewReturn], chain_key: bytes | None) -> None:
    """Record returns; the key (source, return, program) refuses a second one. With `chain_key` each carries a seal."""
    if chain_key is not None:
        returns = [new._replace(seal=_RETURN_SEALER.seal(chain_key, new)) for new in returns]
    _APPEND_RETURNS.run(connection, returns)


_PUT_USAGES = Put(USAGES.new())
_UPDATE_BUDGETS = Update(BUDGETS.changed("points", "orders"))


def write_usages(connection: Connection, usages: Collection[tuple[UUID, UsageKey, Usage]]) -> None:
    """Write what accounts that the caller has locked have had of rules and promotions."""
    _PUT_USAGES.run(connection, [AccountUsage(*usage) for usage in usages])


def update_budgets(connection: Connection, budgets: Collection[tuple[str, str, Budget]]) -> None:
    """Write what is spent of budgets that the caller has locked."""
    _UPDATE_BUDGETS.run(connection, [SharedBudget(*budget) for budget in budgets])


_APPEND_EVENTS = Append(Shape(tables.outbox, _NumberedEvent).new())
_DRAW_NUMBERS = """
UPDATE numbers SET next_number = next_number + %s WHERE name = 'outbox' RETURNING next_number - %s
"""


def append_events(connection: Connection, events: Sequence[OutboxEvent]) -> None:
    """Append events in the order given: outbox ids are drawn in it, under the accounts' locks.

    To be the last that a transaction does: whoever else has events waits from here to the commit.
    """
    if events:
        ((first,),) = run_bulk(connection, _DRAW_NUMBERS, (len(events), len(events)))
        _APPEND_EVENTS.run(connection, list(map(_NumberedEvent, count(first), events)))
