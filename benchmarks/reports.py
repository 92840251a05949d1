"""Reports at scale: what finance asks, against a plain read of all entries, and the memory that it takes here.

python -m benchmarks.reports --entries 1000000
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from datetime import datetime
from os import getloadavg

from sqlalchemy import Connection, Engine, text

from benchmarks.filling import ORDERS_EACH, PROMOTED, fill_ledger
from benchmarks.servers import database_server, fresh_database
from core.domain.accounting.months import Month, month_of, months_between
from core.domain.program.registry import ProgramRegistry
from core.reading.finance.activity import load_activity
from core.reading.finance.journal import load_journal
from core.reading.finance.owed import load_owed
from core.reading.finance.promotion import load_promotion
from core.store.activity import append_activity, load_month_activity
from core.store.engine import database_now, run_bulk
from core.store.liability import append_snapshot, load_snapshot
from core.store.programs import load_registry
from core.store.proof.kept_activity import find_wrong_activity
from core.store.proof.scope import EVERYTHING, Findings
from core.upkeep.snapshots import keep_month

_PROGRAM = "bench"
DAYS_BETWEEN = 30  #: between two orders of an account


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
    accounts = max(1, entries // ORDERS_EACH)
    ordered_days_ago = DAYS_BETWEEN * ORDERS_EACH + 1  # the last ones yesterday
    fill_ledger(
        engine, accounts, has_messages=False, ordered_days_ago=ordered_days_ago, days_between=DAYS_BETWEEN,
        is_recorded_then=True, is_promoted=True,
    )  # fmt: skip
    with engine.begin() as connection:
        connection.execute(text("UPDATE programs SET applied_at = (SELECT min(recorded_at) FROM entries)"))
        registry = load_registry(connection)
        now = database_now(connection)
    print(f"filled in {time.perf_counter() - started:.0f} s", flush=True)
    plain = _seconds(engine, "read of entries, in the server", _read, None)
    for name, ask in _reports(registry, now).items():
        _seconds(engine, name, ask, plain)
    with engine.begin() as connection:
        owed = load_owed(connection, registry, _PROGRAM, now).by_entries
        told = load_activity(connection, registry, _PROGRAM, _months(registry, now)).months[-1].points_after
        held = connection.execute(text("SELECT sum(balance + pending + reserved) FROM accounts")).scalar_one()
    print(f"{owed:,} points by what is owed, {told:,} by what became of them, {held:,} in the accounts", flush=True)
    return int(not owed == told == held)


def _months(registry: ProgramRegistry, now: datetime) -> list[Month]:
    first = month_of(registry, _PROGRAM, registry.version(_PROGRAM, 1).applied_at)
    return months_between(registry, _PROGRAM, first.first_day, month_of(registry, _PROGRAM, now).first_day)


def _reports(registry: ProgramRegistry, now: datetime) -> dict[str, Callable[[Connection], object]]:
    months = _months(registry, now)

    def keep(connection: Connection) -> object:
        return keep_month(connection, registry, _PROGRAM, months[-2])

    def keep_others(connection: Connection) -> None:
        """What was owed then is not asked for here, and would take most of the time."""
        owed = load_snapshot(connection, registry, _PROGRAM, months[-2])
        assert owed is not None
        for month in months[:-2]:
            owed.month, owed.day, owed.as_of = month.text, month.first_day, month.ends_at
            append_snapshot(connection, owed)
            append_activity(connection, _PROGRAM, month, load_month_activity(connection, _PROGRAM, month))

    return {
        "liability": lambda connection: load_owed(connection, registry, _PROGRAM, now),
        "liability of a past instant, half of all since": lambda connection: load_owed(
            connection, registry, _PROGRAM, months[len(months) // 2].starts_at
        ),
        "activity of all months, from the entries": lambda connection: load_activity(
            connection, registry, _PROGRAM, months
        ),
        "the last month kept": keep,
        f"the activity of {len(months) - 2} months kept": keep_others,
        "liability of a month that was kept": lambda connection: load_snapshot(
            connection, registry, _PROGRAM, months[-2]
        ),
        "activity of all months that were kept": lambda connection: load_activity(
            connection, registry, _PROGRAM, months[:-1]
        ),
        "activity of all months, of which the last is open": lambda connection: load_activity(
            connection, registry, _PROGRAM, months
        ),
        "what verify asks of kept activity": lambda connection: _none(
            find_wrong_activity(connection, registry, EVERYTHING)
        ),
        "promotion": lambda connection: load_promotion(connection, registry, _PROGRAM, PROMOTED),
        "journal of a month": lambda connection: load_journal(connection, registry, _PROGRAM, months[-2]),
    }


def _none(findings: Findings) -> None:
    assert list(findings) == []


def _seconds(engine: Engine, name: str, ask: Callable[[Connection], object], plain: float | None) -> float:
    with engine.begin() as connection:
        run_bulk(connection, "SET LOCAL statement_timeout = 0")
        started = time.perf_counter()
        ask(connection)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    ratio = "" if plain is None else f"{seconds / plain:.1f} times a read of entries, "
    load = getloadavg()[0]
    print(f"{name}: {ratio}{seconds:.2f} s, peak {peak} MiB here, load {load:.1f}", flush=True)
    return seconds


def _read(connection: Connection) -> object:
    return connection.execute(text("SELECT count(*), sum(length(e::text)) FROM entries e")).all()


if __name__ == "__main__":
    sys.exit(main())
