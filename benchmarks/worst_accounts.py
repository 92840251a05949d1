"""Accounts with a long history, beside others with a short one; a part of `python -m benchmarks.worst`.

What a message costs must not grow with what its account has been through. Each case is one account with so many orders,
each of which has opened a lot; what comes then is timed on it, one transaction at a time.
"""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table as ShownTable
from sqlalchemy import Connection, Engine, Table, text
from uuid6 import uuid7

from benchmarks.posting import fill_inbox
from benchmarks.servers import fresh_database
from core.domain.expiry.due import LOTS_OF_ENTRY_MAX
from core.messages.program_files.program_file import parse_program
from core.posting.batch import Poster
from core.posting.events import EventContext
from core.reading.snapshot import snapshot_of
from core.reading.standing import load_account_history
from core.reading.storefront import find_standings
from core.store import tables
from core.store.programs import load_registry
from core.upkeep.due_batches import expire_batch, remind_batch

#: The orders of an account with a short history: enough that no case ends before its work begins.
FEW_ORDERS = 2_000
_TIMES = 5
_SOURCE = "/bench"
_PROGRAM = """
program_id: worst
name: Worst
currency: EUR
time_zone: Europe/Berlin
default: true
earning_rules: [{rule_id: spend, kind: spend, per_amount: "1.00", points: {bronze: "1", gold: "2"}}]
reminders: {days_ahead: [400]}
tiers: [{tier_id: bronze, threshold_points: 0}, {tier_id: gold, threshold_points: 900000000}]
"""
_KINDS = {
    "points of a year": "expiry: {policy: after_months, months: 12}",
    "points that last": "expiry: {policy: never}\nqualification: {window: rolling_months, months: 12}",
    "inactivity": "expiry: {policy: inactivity, days: 365}",
    "held for delivery": "expiry: {policy: inactivity, days: 365}\navailability: {policy: on_fulfilled}",
}


class AccountRun(NamedTuple):
    """What it took to do something once, by the orders that the account had; for an expired lot, in parts of it."""

    few_seconds: float
    many_seconds: float

    @property
    def ratio(self) -> float:
        """How many times as long it took with a long history."""
        return self.many_seconds / self.few_seconds


def run_accounts(database_url: str, orders: int) -> dict[str, AccountRun]:
    """Measure every case on accounts of `FEW_ORDERS` and of `orders` orders, each in a database of its own."""
    found: dict[str, list[float]] = {}
    for kind, more in _KINDS.items():
        program = parse_program(_PROGRAM + more, path="worst.yaml")
        for number in sorted({min(FEW_ORDERS, orders), orders}):
            with fresh_database(database_url, "loyalty_bench_worst", program) as engine:
                for name, seconds in _Account(engine, number).measured(is_held="held" in kind):
                    found.setdefault(f"{kind}: {name}", []).append(seconds)
    return {name: AccountRun(seconds[0], seconds[-1]) for name, seconds in found.items()}


def print_accounts(runs: dict[str, AccountRun], orders: int) -> None:
    """Show what took how long, and how many times as long on the account with the long history."""
    table = ShownTable(title=f"An account of {orders:,} orders, beside one of {min(FEW_ORDERS, orders):,}")
    table.add_column("what", no_wrap=True)
    for name in ("few", "many", "ratio"):
        table.add_column(name, justify="right")
    for name, run in runs.items():
        table.add_row(name, *(f"{seconds * 1000:,.2f} ms" for seconds in run), f"{run.ratio:.1f}")
    console = Console()
    console.width = max(console.width, 100)
    console.print(table)


class _Account:
    """One account with so many orders, and all that a worker needs for it."""

    def __init__(self, engine: Engine, orders: int) -> None:
        self._engine = engine
        self._poster = Poster(engine, event_source=_SOURCE, new_account_id=uuid7)
        self._now = datetime.now(UTC)
        self._numbers = count(orders + 1)
        self._orders = orders
        self._post(_order(1, self._now - timedelta(days=1)))
        self._multiply(orders)

    def measured(self, *, is_held: bool) -> Iterator[tuple[str, float]]:
        """What is done to the account, and the seconds that it takes once."""
        numbers = iter(range(self._orders - 1, 0, -1))
        yield "an order", self._median(lambda: self._post(_order(next(self._numbers), self._now)))
        yield "a refund", self._median(lambda: self._post(_about("refunded", next(numbers), self._now)))
        if is_held:
            yield "a fulfilment", self._median(lambda: self._post(_about("fulfilled", next(numbers), self._now)))
            return
        self._spend(taken := [next(numbers) for _ in range(_TIMES)])
        yield "a refund of spent points", self._median(lambda: self._post(_about("refunded", taken.pop(), self._now)))
        yield "a cancellation", self._median(lambda: self._post(_about("cancelled", next(numbers), self._now)))
        yield "account history", self._median(self._show)
        yield "reminders", self._timed(self._remind)
        if lots := self._expire():
            yield "expiry, of each lot", lots

    def _post(self, message: bytes) -> float:
        fill_inbox(self._engine, [("order", message)], shards=1)
        started = time.perf_counter()
        result = self._poster.post_batch(0, 500)
        seconds = time.perf_counter() - started
        if result.posted != 1:
            raise RuntimeError("the message was not posted")
        return seconds

    def _show(self) -> float:
        started = time.perf_counter()
        with self._engine.begin() as connection:
            found = find_standings(snapshot_of(connection), "c1")
            load_account_history(connection, found.registry, found.standings[0], 20)
        return time.perf_counter() - started

    def _remind(self) -> None:
        with self._engine.begin() as connection:
            context = EventContext(_SOURCE, self._now)
            remind_batch(connection, self._shard(connection), self._now, 500, load_registry(connection), context)

    def _expire(self) -> float:
        """Expire all that expires; the seconds for each lot."""
        as_of, context = self._now + timedelta(days=500), EventContext(_SOURCE, self._now)
        before, started = self._lots_left(), time.perf_counter()
        is_left = True
        while is_left:
            with self._engine.begin() as connection:
                shard = self._shard(connection)
                done = expire_batch(connection, shard, as_of, LOTS_OF_ENTRY_MAX, context, None)
                is_left = done is not None and done.changed > 0
        expired = before - self._lots_left()
        return (time.perf_counter() - started) / expired if expired else 0

    def _lots_left(self) -> int:
        with self._engine.connect() as connection:
            found = connection.execute(text("SELECT count(*) FROM lots WHERE points_remaining > 0"))
            return int(found.scalar_one())

    @staticmethod
    def _shard(connection: Connection) -> int:
        return int(connection.execute(text("SELECT account_shard FROM accounts")).scalar_one())

    @staticmethod
    def _timed(do: Callable[[], object]) -> float:
        started = time.perf_counter()
        do()
        return time.perf_counter() - started

    @staticmethod
    def _median(do: Callable[[], float]) -> float:
        return median(do() for _ in range(_TIMES))

    def _spend(self, numbers: list[int]) -> None:
        """Empty the lots of these orders, as if they had been spent."""
        with self._engine.begin() as connection:
            connection.execute(text("UPDATE lots SET points_remaining = 0 WHERE lot_number = ANY(:n)"), {"n": numbers})

    def _multiply(self, orders: int) -> None:
        """Make so many orders of the one that is posted, each with its message, entry, lot and event."""
        summed = ("balance", "pending", "lifetime_points", "qualifying_points")
        counted = ("sequence", "lots_opened", "orders_posted", "orders_counted")
        totals = ", ".join(
            [*(f"{name} = {name} * {orders}" for name in summed), *(f"{name} = {orders}" for name in counted)]
        )
        after = {name: f"t.{name} * k" for name in ("balance_after", "pending_after", "lifetime_points_after")}
        with self._engine.begin() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            for statement in (
                _copies(tables.inbox, orders, inbox_id="k", event_id="'completed-' || k", subject="'order o' || k"),
                _copies(tables.orders, orders, order_id="'o' || k", inbox_id="k", sequence="k"),
                _copies(tables.entries, orders, sequence="k", order_id="'o' || k", **after),
                _copies(tables.lots, orders, lot_number="k", opened_by_sequence="k", origin_id="'o' || k"),
                _copies(tables.allocations, orders, lot_number="k", sequence="k"),
                f"UPDATE accounts SET {totals}",  # our own names
                f"UPDATE numbers SET next_number = {orders + 10}",  # a number
            ):
                connection.execute(text(statement))
        with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("SET statement_timeout = 0"))
            connection.execute(text("VACUUM"))


def _copies(table: Table, orders: int, **changed: str) -> str:
    """Copy the one row of a table, under the numbers k from 2 on."""
    names = [column.name for column in table.columns]
    values = (changed.get(name, f"t.{name}") for name in names)
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT {', '.join(values)}"  # our own names
        f" FROM {table.name} t, generate_series(2, {orders}) AS k"
    )


def _order(number: int, at: datetime) -> bytes:
    lines = [{"line_id": "1", "sku": "s", "quantity": 1, "amount": "10.00"}]
    return _event("completed", number, at, {"customer_id": "c1", "currency": "EUR", "lines": lines})


def _about(what: str, number: int, at: datetime) -> bytes:
    return _event(what, number, at, {"refund_id": f"r{number}", "full": True} if what == "refunded" else {})


def _event(what: str, number: int, at: datetime, data: dict[str, Any]) -> bytes:
    event = {"id": f"{what}-{number}", "source": _SOURCE, "type": f"order.{what}", "time": at.isoformat()}
    return json.dumps({**event, "data": {"order_id": f"o{number}", **data}}).encode()
