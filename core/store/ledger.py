"""Loading what a batch touches: accounts, lots, orders and refunds, each with one set-based statement."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from pydantic_core import from_json, to_json
from sqlalchemy import Connection

from core.domain.ledger import Account
from core.domain.lots import Allocation, AllocationKind, Lot, OriginKind, SharedExpiry
from core.domain.orders.facts import LinePart, Order, Refund, RefundLine
from core.domain.orders.posted import (
    Budget,
    PostedOrder,
    PostedOrderEvent,
    PostedRefund,
    Usage,
)
from core.domain.program import UsageKey
from core.messages.inbound.order_facts import parts_of
from core.messages.inbound.reading import read_attributes, read_lines, read_tags
from core.store import tables
from core.store.amendments import amendment_json, read_amendment
from core.store.engine import Asked, ask, run_bulk
from core.store.judgements import judgement_json, read_judgement, read_steps, steps_json
from core.store.rows import Field, Shape, arrays, unnested
from core.store.sessions import Rows
from core.store.shards import account_shard


class AccountLot(NamedTuple):
    """A lot, and whose it is."""

    account_id: UUID
    lot: Lot


class AccountExpiry(NamedTuple):
    """A shared expiry, and whose it is."""

    account_id: UUID
    expiry: SharedExpiry


class AccountUsage(NamedTuple):
    """What an account has had of a rule or promotion in a period."""

    account_id: UUID
    key: UsageKey
    usage: Usage


class SharedBudget(NamedTuple):
    """What everybody has had of a promotion, or of a reward."""

    program_id: str
    name: str
    budget: Budget


def refund_lines_json(lines: Iterable[RefundLine]) -> str | None:
    """The lines of a refund as its column keeps them, and its message had them when settled; None without lines."""
    written = [_settled(line) for line in lines]
    return to_json(written).decode() if written else None


def _settled(line: RefundLine) -> dict[str, str | int]:
    settled: dict[str, str | int] = {"line_id": line.line_id}
    if line.quantity is not None:
        settled["quantity"] = int(line.quantity) if line.quantity % 1 == 0 else f"{line.quantity:f}"
    for name, money in (("paid", line.paid), ("net", line.net)):
        if money is not None:
            settled[name] = f"{money:f}"
    return settled


def read_refund_lines(text: str | None) -> tuple[RefundLine, ...]:
    """What `refund_lines_json` wrote."""
    return tuple(
        RefundLine(line["line_id"], *(_decimal(line.get(name)) for name in ("quantity", "paid", "net")))
        for line in (from_json(text) if text is not None else ())
    )


def read_parts(content: str | None) -> tuple[LinePart, ...]:
    """Of what part of its order an event is, of the content that is kept of it; none: all of it."""
    data = {} if content is None else from_json(content)
    return parts_of(data) if isinstance(data.get("lines"), list) else ()  # an amendment has columns of whole lines


def _decimal(value: str | int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


_OF_ORDER = {
    "lines": Field("lines", read=read_lines),
    "attributes": Field("attributes", read=read_attributes),
    "customer_tags": Field("customer_tags", read=read_tags),
}
_AMENDMENT = Field("amendment", amendment_json, read_amendment)
ACCOUNTS = Shape(tables.accounts, Account, account_shard=lambda account: account_shard(account.account_id))
LOTS = Shape(tables.lots, AccountLot, account_shard=lambda owned: account_shard(owned.account_id))
#: What is written of a lot: an instant that it shares stands once, with the shared expiry.
LOTS_WRITTEN = Shape(
    tables.lots,
    AccountLot,
    account_shard=lambda owned: account_shard(owned.account_id),
    expires_at=lambda owned: owned.lot.expires_at if owned.lot.expires_with is None else None,
)
EXPIRIES = Shape(tables.shared_expiries, AccountExpiry, account_shard=lambda owned: account_shard(owned.account_id))
ORDER_FACTS = Shape(tables.orders, Order, **_OF_ORDER)
ORDERS = Shape(
    tables.orders,
    PostedOrder,
    business_hash="digest",
    judgement=Field("judgement", judgement_json, read_judgement),
    amendment=_AMENDMENT,
    qualifying_steps=Field("qualifying_steps", steps_json, read_steps),
    **{name: field._replace(path=f"order.{name}") for name, field in _OF_ORDER.items()},
)
REFUND_FACTS = Shape(tables.refunds, Refund, is_full="full", lines=Field("lines", read=read_refund_lines))
REFUNDS = Shape(
    tables.refunds,
    PostedRefund,
    business_hash="digest",
    is_full="refund.full",
    lines=Field("refund.lines", read=read_refund_lines),
)
ORDER_EVENTS = Shape(
    tables.order_events, PostedOrderEvent, business_hash="digest", content=Field("lines", read=read_parts)
)
USAGES = Shape(tables.usages, AccountUsage)
BUDGETS = Shape(tables.budgets, SharedBudget)


_LOCK_ACCOUNTS = (
    f"SELECT {ACCOUNTS.select('a')} FROM accounts a WHERE a.account_id = ANY(%b) ORDER BY a.account_id FOR UPDATE"  # noqa: S608  # our own names
)


def lock_accounts(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, Account]:
    """Load and lock accounts, in the order of their ids: two writers that meet would deadlock otherwise."""
    if not account_ids:
        return {}
    rows = run_bulk(connection, _LOCK_ACCOUNTS, (sorted(account_ids),))
    return {account.account_id: account for account in map(ACCOUNTS.read, rows)}


def lock_free_accounts(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, Account]:
    """Load and lock those of these accounts that nobody else holds; the others are for the next time."""
    if not account_ids:
        return {}
    rows = run_bulk(connection, f"{_LOCK_ACCOUNTS} SKIP LOCKED", (sorted(account_ids),))
    return {account.account_id: account for account in map(ACCOUNTS.read, rows)}


_PRIMARIES = f"""
SELECT m.program_id, m.customer_id, m.account_id
FROM {unnested(tables.members, ("program_id", "customer_id"))} JOIN members m USING (program_id, customer_id)
"""  # noqa: S608  # our own names


def ask_primaries(connection: Connection, keys: Collection[tuple[str, str]]) -> Asked[dict[tuple[str, str], UUID]]:
    """The accounts to which orders of these (program, customer) come, as far as there are any."""

    def read(rows: Rows) -> dict[tuple[str, str], UUID]:
        return {(program_id, customer_id): account_id for program_id, customer_id, account_id in rows}

    return ask(connection, _PRIMARIES, arrays(keys, 2), read) if keys else Asked(read)


_OF_ORIGIN = ("account_id", "origin_kind", "origin_source", "origin_id")
#: What lots `l` are taken, and expire, in: within a line, that is among those that share their expiry, or among the
#: others. An index has the same words, but for the first lots of an account: that costs most customers' orders nothing,
#: and those lots are looked through instead.
LINE = "coalesce(l.expires_with, 0)"
EXPIRES_AT = "coalesce(l.expires_at, 'infinity')"
IN_LINE = f"{EXPIRES_AT}, l.available_at, l.lot_number"
_CAN_BE_TAKEN = f"l.points_remaining > 0 AND NOT l.is_pending AND {EXPIRES_AT} > w.as_of"
_IN_LINE_OF_W = f"l.account_id = w.account_id AND l.lot_number > {tables.FIRST_LOTS} AND {LINE} = w.expires_with"
# Each line is walked through lot by lot until it covers the points.
_LOTS = f"""
WITH wanted AS (
    SELECT account_id, points, %b::timestamptz AS as_of FROM unnest(%b::uuid[], %b::bigint[]) AS k(account_id, points)
), lines AS (
    SELECT account_id, points, as_of, 0 AS expires_with FROM wanted WHERE points > 0
    UNION ALL
    SELECT account_id, w.points, w.as_of, x.expires_with FROM wanted w JOIN shared_expiries x USING (account_id)
    WHERE w.points > 0 AND NOT x.is_over AND x.expires_at > w.as_of
), found AS (
    SELECT account_id, l.lot_number FROM {unnested(tables.lots, _OF_ORIGIN)}
           JOIN lots l USING ({", ".join(_OF_ORIGIN)})
    UNION
    SELECT account_id, l.lot_number FROM wanted w JOIN lots l USING (account_id)
    WHERE l.is_pending AND l.points_remaining > 0 AND l.available_at <= w.as_of
    UNION
    SELECT account_id, l.lot_number FROM wanted w JOIN dated_lots l USING (account_id)
    WHERE l.lot_number <= {tables.FIRST_LOTS} AND w.points > 0 AND {_CAN_BE_TAKEN}
    UNION
    SELECT w.account_id, t.lot_number FROM lines w CROSS JOIN LATERAL (
        WITH RECURSIVE walk AS (
            (SELECT l.lot_number, {EXPIRES_AT} AS expires_at, l.available_at, l.points_remaining AS together
             FROM lots l WHERE {_IN_LINE_OF_W} AND {_CAN_BE_TAKEN} ORDER BY {IN_LINE} LIMIT 1)
            UNION ALL
            SELECT following.* FROM walk CROSS JOIN LATERAL (
                SELECT l.lot_number, {EXPIRES_AT}, l.available_at, walk.together + l.points_remaining
                FROM lots l WHERE {_IN_LINE_OF_W} AND {_CAN_BE_TAKEN}
                  AND ({IN_LINE}) > (walk.expires_at, walk.available_at, walk.lot_number)
                ORDER BY {IN_LINE} LIMIT 1
            ) AS following WHERE walk.together < w.points
        )
        SELECT lot_number FROM walk
    ) AS t
)
SELECT {LOTS.select("l")} FROM found JOIN dated_lots l USING (account_id, lot_number)
"""  # noqa: S608  # our own names


def ask_lots(
    connection: Connection,
    origins: Collection[tuple[UUID, OriginKind, str, str]],
    to_take: Mapping[UUID, int],
    as_of: datetime,
) -> Asked[dict[UUID, list[Lot]]]:
    """Every lot of these (account, origin), whatever is left of it.

    Of the accounts in `to_take` also those with points left that are due to be released by `as_of`, and of what can be
    spent then, line by line in spending order, at least as many as cover so many points, as far as it goes.
    """

    def read(rows: Rows) -> dict[UUID, list[Lot]]:
        found: dict[UUID, list[Lot]] = {}
        for account_id, lot in map(LOTS.read, rows):
            found.setdefault(account_id, []).append(lot)
        return found

    if not origins and not to_take:
        return Asked(read)
    keys = arrays(((account_id, kind.value, source, of) for account_id, kind, source, of in origins), 4)
    return ask(connection, _LOTS, (as_of, list(to_take), list(to_take.values()), *keys), read)


_ALL_OPEN = f"""
SELECT {LOTS.select("l")} FROM dated_lots l WHERE l.account_id = ANY(%b) AND l.points_remaining > 0
"""  # noqa: S608  # our own names


def load_all_open_lots(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, list[Lot]]:
    """All lots of these accounts that have points left."""
    found: dict[UUID, list[Lot]] = {account_id: [] for account_id in account_ids}
    if account_ids:
        for account_id, lot in map(LOTS.read, run_bulk(connection, _ALL_OPEN, (list(account_ids),))):
            found[account_id].append(lot)
    return found


_OPEN_EXPIRIES = f"""
SELECT {EXPIRIES.select("x")} FROM shared_expiries x WHERE x.account_id = ANY(%b) AND NOT x.is_over
"""  # noqa: S608  # our own names


def ask_expiries(connection: Connection, account_ids: Collection[UUID]) -> Asked[dict[UUID, list[SharedExpiry]]]:
    """The shared expiries of these accounts that have not been carried out."""

    def read(rows: Rows) -> dict[UUID, list[SharedExpiry]]:
        found: dict[UUID, list[SharedExpiry]] = {account_id: [] for account_id in account_ids}
        for account_id, expiry in map(EXPIRIES.read, rows):
            found[account_id].append(expiry)
        return found

    return ask(connection, _OPEN_EXPIRIES, (list(account_ids),), read) if account_ids else Asked(read)


_NUMBERED = f"""
SELECT {LOTS.select("l")} FROM {unnested(tables.lots, ("account_id", "lot_number"))}
JOIN dated_lots l USING (account_id, lot_number)
"""  # noqa: S608  # our own names


def load_numbered_lots(connection: Connection, numbers: Collection[tuple[UUID, int]]) -> dict[UUID, list[Lot]]:
    """The lots of these (account, number)."""
    found: dict[UUID, list[Lot]] = {}
    if numbers:
        for account_id, lot in map(LOTS.read, run_bulk(connection, _NUMBERED, arrays(numbers, 2))):
            found.setdefault(account_id, []).append(lot)
    return found


_OF_ORDERS = ("source", "order_id")
_ORDERS_OF_REFUNDS = ("order_source", "order_id")
# By the entries that reports name: entries have no index by order.
_TAKES = f"""
WITH reports AS (
    SELECT account_id, order_source AS source, order_id, r.sequence
    FROM {unnested(tables.refunds, _ORDERS_OF_REFUNDS)} JOIN refunds r USING (order_source, order_id)
    UNION ALL
    SELECT account_id, source, order_id, e.sequence
    FROM {unnested(tables.order_events, _OF_ORDERS)} JOIN order_events e USING (source, order_id)
)
SELECT account_id, source, order_id, a.lot_number, a.kind, a.points
FROM reports JOIN allocations a USING (account_id, sequence) WHERE a.kind IN ('taken', 'returned') ORDER BY sequence
"""  # noqa: S608  # our own names


def load_takes(
    connection: Connection, keys: Collection[tuple[str, str]]
) -> dict[tuple[UUID, tuple[str, str]], list[Allocation]]:
    """What was taken from lots, and came back to them, for these (source, order_id), by account, oldest first."""
    found: dict[tuple[UUID, tuple[str, str]], list[Allocation]] = {}
    if keys:
        orders = arrays(set(keys), 2)
        for account_id, source, order_id, number, kind, points in run_bulk(connection, _TAKES, (*orders, *orders)):
            allocation = Allocation(number, AllocationKind(kind), points, None)
            found.setdefault((account_id, (source, order_id)), []).append(allocation)
    return found


_ORDERS = f"""
SELECT {ORDERS.select("o")} FROM {unnested(tables.orders, _OF_ORDERS)} JOIN orders o USING (source, order_id)
ORDER BY o.source, o.order_id, o.program_id FOR UPDATE OF o
"""  # noqa: S608  # our own names


def ask_orders(connection: Connection, keys: Collection[tuple[str, str]]) -> Asked[list[PostedOrder]]:
    """Load and lock posted orders of these (source, order_id), of any program, in the order of their keys.

    Two workers meet on an order only while LOYALTY_SHARDS is being changed; without the lock both would claw back from
    the same entitlement then.
    """
    return ask(connection, _ORDERS, arrays(set(keys), 2), _read_orders) if keys else Asked(_read_orders)


def _read_orders(rows: Rows) -> list[PostedOrder]:
    return [ORDERS.read(row) for row in rows]


_ORDER_EVENTS = f"""
SELECT {ORDER_EVENTS.select("e")}
FROM {unnested(tables.order_events, _OF_ORDERS)} JOIN order_events e USING (source, order_id)
"""  # noqa: S608  # our own names


def load_order_events(connection: Connection, keys: Collection[tuple[str, str]]) -> list[PostedOrderEvent]:
    """All that is posted of what happened to these (source, order_id)."""
    return [ORDER_EVENTS.read(row) for row in run_bulk(connection, _ORDER_EVENTS, arrays(set(keys), 2))] if keys else []


_REFUNDS = f"""
SELECT {REFUNDS.select("r")}
FROM {unnested(tables.refunds, _ORDERS_OF_REFUNDS)} JOIN refunds r USING (order_source, order_id)
UNION ALL
SELECT {REFUNDS.select("r")}
FROM {unnested(tables.refunds, ("source", "refund_id"))} JOIN refunds r USING (source, refund_id)
"""  # noqa: S608  # our own names


def load_refunds(
    connection: Connection, order_keys: Collection[tuple[str, str]], refund_keys: Collection[tuple[str, str]]
) -> list[PostedRefund]:
    """The posted refunds of these (source, order_id), and those with one of these (source, refund_id)."""
    if not order_keys and not refund_keys:
        return []
    rows = run_bulk(connection, _REFUNDS, (*arrays(set(order_keys), 2), *arrays(set(refund_keys), 2)))
    found = {}
    for posted in map(REFUNDS.read, rows):
        refund = posted.refund
        if refund.order_source == refund.source:
            posted = posted._replace(refund=refund._replace(order_source=None))  # noqa: PLW2901  # as it was reported
        found[refund.source, refund.refund_id, posted.program_id] = posted  # twice if asked for in both ways
    return list(found.values())


_USAGES = f"""
SELECT {USAGES.select("u")}
FROM {unnested(tables.usages, ("account_id", "name", "period"))} JOIN usages u USING (account_id, name, period)
"""  # noqa: S608  # our own names


def load_usages(connection: Connection, keys: Collection[tuple[UUID, UsageKey]]) -> dict[UUID, dict[UsageKey, Usage]]:
    """What these accounts, which the caller has locked, have had of rules and promotions in these periods."""
    found: dict[UUID, dict[UsageKey, Usage]] = {}
    if keys:
        rows = run_bulk(connection, _USAGES, arrays(((account_id, *key) for account_id, key in keys), 3))
        for account_id, key, usage in map(USAGES.read, rows):
            found.setdefault(account_id, {})[key] = usage
    return found


_OF_BUDGETS = ("program_id", "name")
_OPEN_BUDGETS = f"""
INSERT INTO budgets ({", ".join(_OF_BUDGETS)}) SELECT * FROM {unnested(tables.budgets, _OF_BUDGETS)}
ON CONFLICT DO NOTHING
"""  # noqa: S608  # our own names
_BUDGETS = f"""
SELECT {BUDGETS.select("b")}
FROM {unnested(tables.budgets, _OF_BUDGETS)} JOIN budgets b USING ({", ".join(_OF_BUDGETS)})
"""  # noqa: S608  # our own names
_LOCKED_BUDGETS = f"{_BUDGETS} ORDER BY b.program_id, b.name FOR UPDATE OF b"


def load_budgets(connection: Connection, keys: Collection[tuple[str, str]]) -> dict[str, dict[str, Budget]]:
    """What all customers have had of these (program, name), by program, as far as it is committed."""
    return _budgets(connection, _BUDGETS, keys) if keys else {}


def lock_budgets(connection: Connection, keys: Collection[tuple[str, str]]) -> dict[str, dict[str, Budget]]:
    """The same, locked, after the accounts; of every one there is a row then.

    Whoever adds to a budget waits here for the others: that is what makes it hold.
    """
    if not keys:
        return {}
    run_bulk(connection, _OPEN_BUDGETS, arrays(sorted(keys), 2))
    return _budgets(connection, _LOCKED_BUDGETS, keys)


def _budgets(connection: Connection, statement: str, keys: Collection[tuple[str, str]]) -> dict[str, dict[str, Budget]]:
    found: dict[str, dict[str, Budget]] = {}
    for program_id, name, budget in map(BUDGETS.read, run_bulk(connection, statement, arrays(sorted(keys), 2))):
        found.setdefault(program_id, {})[name] = budget
    return found
