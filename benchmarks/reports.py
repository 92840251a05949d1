"""Reports at scale: what finance asks, against a plain read of all entries, and the memory that it takes here.

python -m benchmarks.reports --entries 1000000
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, text

from benchmarks.filling import ORDERS_EACH, fill_ledger
from benchmarks.servers import database_server, fresh_database
from core.domain.accounting.months import Month, month_of
from core.domain.program.registry import ProgramRegistry
from core.reading.finance.activity import load_activity
from core.reading.finance.journal import load_journal
from core.reading.finance.promotion import load_promotion
from core.store.liability import append_snapshot, load_liability, load_snapshot
from core.store.programs import load_registry

_PROGRAM = "bench"


def main() -> int:
    """Fill, measure, print. Exit code 1 if what is owed is not what the entries come to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--database-url", help="another server than the embedded one; it gets a database of its own")
    arguments = parser.parse_args()
    with (
        database_server(arguments.database_url) as url,
        fresh_database(url, "loyalty_bench_reports") as engine,
    ):
        return _measure(engine, arguments.entries)


def _measure(engine: Engine, entries: int) -> int:
    started = time.perf_counter()
    fill_ledger(engine, max(1, entries // ORDERS_EACH), has_messages=False)
    print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)
    with engine.begin() as connection:
        registry = load_registry(connection)
    as_of = datetime.now(UTC)
    month = Month(as_of.date().replace(day=1), month_of(registry, _PROGRAM, as_of).starts_at, as_of)
    plain = _seconds(engine, "read of entries, in the server", _read, None)
    for name, ask in _reports(registry, month, as_of).items():
        _seconds(engine, name, ask, plain)
    with engine.begin() as connection:
        owed = load_liability(connection, registry, _PROGRAM, as_of).by_entries
        held = connection.execute(text("SELECT sum(balance + pending + reserved) FROM accounts")).scalar_one()
    print(f"{owed:,} points by the report, {held:,} in the accounts", flush=True)
    return int(owed != held)


def _reports(registry: ProgramRegistry, month: Month, as_of: datetime) -> dict[str, Callable[[Connection], object]]:
    def keep(connection: Connection) -> object:
        return append_snapshot(connection, load_liability(connection, registry, _PROGRAM, as_of, month))

    return {
        "liability": lambda connection: load_liability(connection, registry, _PROGRAM, as_of),
        "liability, kept as a month": keep,
        "liability, of a month that was kept": lambda connection: load_snapshot(connection, registry, _PROGRAM, month),
        "activity": lambda connection: load_activity(connection, registry, _PROGRAM, [month]),
        "promotion": lambda connection: load_promotion(connection, registry, _PROGRAM, "none"),
        "journal": lambda connection: load_journal(connection, registry, _PROGRAM, month),
    }


def _seconds(engine: Engine, name: str, ask: Callable[[Connection], object], plain: float | None) -> float:
    with engine.begin() as connection:
        started = time.perf_counter()
        ask(connection)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    ratio = "" if plain is None else f"{seconds / plain:.1f} times a read of entries, "
    print(f"{name}: {ratio}{seconds:.2f} s, peak {peak} MiB here", flush=True)
    return seconds


def _read(connection: Connection) -> object:
    return connection.execute(text("SELECT count(*), sum(length(e::text)) FROM entries e")).all()


if __name__ == "__main__":
    sys.exit(main())
