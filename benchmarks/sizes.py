"""What an order takes of the disk: bytes in each table and its indexes, and of the write-ahead log.

python -m benchmarks.sizes --orders 5000 --lines 3

Orders of at most so many lines are received, posted and relayed as roles do it, in their batches, and nothing is
purged. A table's bytes count its pages, so a few hundred orders say little of small tables.
"""

import argparse
import json
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, text
from uuid6 import uuid7

from benchmarks.load import sample_messages
from benchmarks.posting import fill_inbox
from benchmarks.servers import PROGRAM_FILE, database_server, fresh_database
from core.messages.program_files.program_file import load_program
from core.posting.batch import Poster
from core.store.locks import Task, take_turns
from core.store.outbox import ask_unpublished, mark_published, shards_with_unpublished
from core.store.posting_turns import shards_with_work
from core.store.tables import metadata

_SHARDS = 16
_BATCH_MESSAGES, _BATCH_EVENTS = 500, 1_000
#: Bounded by how long they are kept; all else is for ever.
_QUEUES = ("inbox", "outbox")
_OF_ACCOUNT = ("accounts", "members", "tier_changes")

_SIZES = """
SELECT c.relname, pg_table_size(c.oid) AS table_bytes, pg_indexes_size(c.oid) AS index_bytes
FROM pg_class c WHERE c.relkind = 'r' AND c.relname = ANY(:names)
"""


class Size(NamedTuple):
    """What one table takes for an order."""

    table_bytes: float
    index_bytes: float


class Sizes(NamedTuple):
    """What an order takes."""

    lines: float  #: of an order on average
    accounts: float  #: that an order opens on average
    tables: dict[str, Size]
    wal_bytes: dict[str, float]  #: by stage

    @property
    def bytes(self) -> float:
        """In all tables and indexes."""
        return sum(map(sum, self.tables.values()))

    @property
    def bytes_of_account(self) -> float:
        """What an account takes before its orders."""
        return sum(sum(self.tables.get(name, (0,))) for name in _OF_ACCOUNT) / self.accounts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--lines", type=int, default=3, help="of each order, at most")
    parser.add_argument("--database-url", help="another server than the embedded one; it gets a database of its own")
    arguments = parser.parse_args()
    with database_server(arguments.database_url) as url:
        sizes = run_sizes(url, arguments.orders, arguments.lines)
    print_sizes(sizes)


def run_sizes(server_url: str, orders: int, lines: int) -> Sizes:
    """Take orders all the way, and look what they have left."""
    messages = sample_messages(orders, lines)
    with fresh_database(server_url, "loyalty_bench_sizes", load_program(PROGRAM_FILE)) as engine:
        empty = _sizes(engine)
        at = [_wal_bytes(engine)]
        fill_inbox(engine, messages, _SHARDS)
        at.append(_wal_bytes(engine))
        _post(engine)
        at.append(_wal_bytes(engine))
        _relay(engine)
        at.append(_wal_bytes(engine))
        full = _sizes(engine)
        with engine.connect() as connection:
            accounts = connection.execute(text("SELECT count(*) FROM accounts")).scalar_one()
    tables = {
        name: Size(*((after - before) / orders for after, before in zip(full[name], empty[name], strict=True)))
        for name in full
    }
    wal_bytes = {
        stage: (after - before) / orders
        for stage, before, after in zip(("received", "posted", "relayed"), at, at[1:], strict=False)
    }
    lines_each = sum(len(json.loads(body)["data"]["lines"]) for _, body in messages) / orders
    kept = {name: size for name, size in tables.items() if sum(size) >= 1}
    return Sizes(lines_each, accounts / orders, kept, wal_bytes)


def _post(engine: Engine) -> None:
    poster = Poster(engine, event_source="/bench", new_account_id=uuid7)
    while True:
        with engine.connect() as connection:
            shards = shards_with_work(connection)
        if not shards:
            return
        for shard in shards:
            poster.post_batch(shard, _BATCH_MESSAGES)


def _relay(engine: Engine) -> None:
    while True:
        with engine.connect() as connection:
            shards = shards_with_unpublished(connection)
        if not shards:
            return
        with engine.begin() as connection:
            events = take_turns(
                connection, Task.RELAY, shards, lambda: ask_unpublished(connection, _BATCH_EVENTS)
            )  # called at once
            if events:
                mark_published(connection, events)


def _sizes(engine: Engine) -> dict[str, Size]:
    with engine.connect() as connection:
        rows = connection.execute(text(_SIZES), {"names": [*metadata.tables]}).all()
    return {row.relname: Size(row.table_bytes, row.index_bytes) for row in rows}


def _wal_bytes(engine: Engine) -> float:
    with engine.connect() as connection:
        return float(connection.execute(text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).scalar_one())


def print_sizes(sizes: Sizes) -> None:
    """A table of what stands where, the largest first."""
    table = Table(title=f"Bytes for an order of {sizes.lines:.1f} lines on average")
    for name in ("where", "table", "indexes", "together"):
        table.add_column(name, justify="left" if name == "where" else "right")
    for name, size in sorted(sizes.tables.items(), key=lambda item: -sum(item[1])):
        table.add_row(name, f"{size.table_bytes:,.0f}", f"{size.index_bytes:,.0f}", f"{sum(size):,.0f}")
    kept = sum(sum(size) for name, size in sizes.tables.items() if name not in _QUEUES)
    table.add_row("all", "", "", f"{sizes.bytes:,.0f}")
    table.add_row("for ever", "", "", f"{kept:,.0f}")
    table.add_row(f"an account ({1 / sizes.accounts:.1f} orders each)", "", "", f"{sizes.bytes_of_account:,.0f}")
    for stage, wal_bytes in sizes.wal_bytes.items():
        table.add_row(f"write-ahead log, {stage}", "", "", f"{wal_bytes:,.0f}")
    table.add_row("write-ahead log", "", "", f"{sum(sizes.wal_bytes.values()):,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
