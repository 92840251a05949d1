"""Expiry at scale: due lots by the million, expired by the real task in bounded batches; time and memory.

python -m benchmarks.expiry --lots 1000000
"""

import argparse
import resource
import sys
import time

from sqlalchemy import Engine, text
from uuid6 import uuid7

from benchmarks.filling import ORDERS_EACH, fill_ledger
from benchmarks.servers import database_server, fresh_database
from core.posting.batch import Poster
from core.store.proof.verify import verify_ledger
from tasks.periodic import expire_lots
from tasks.runtime import EventPublisher, Runtime


class _NoPublisher:
    """Expiry publishes nothing; the relay would."""

    def publish(self, events: object, replies: object = (), traces: object = ()) -> None:
        """Take nothing."""

    def close(self) -> None:
        """Close nothing."""


def main() -> int:
    """Fill, expire, verify, print. Exit code 1 if a lot is left or the books differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lots", type=int, default=1_000_000)
    parser.add_argument("--database-url", help="another server than the embedded one; it gets a database of its own")
    arguments = parser.parse_args()
    with (
        database_server(arguments.database_url) as url,
        fresh_database(url, "loyalty_bench_expiry") as engine,
    ):
        return _measure(engine, arguments.lots)


def _measure(engine: Engine, lots: int) -> int:
    fill_ledger(engine, max(1, lots // ORDERS_EACH))
    runtime = _runtime(engine)
    expire_lots(runtime, "2000-01-01T00:00:00+00:00")  # opens what a worker has open before its first batch
    before_mib, started, runs = _peak_mib(), time.perf_counter(), 0
    while True:
        runs += 1
        result = expire_lots(runtime)
        print(f"run {runs}: {result['accounts']:,} accounts, peak {_peak_mib()} MiB", flush=True)
        if result["is_finished"]:
            break
    seconds, after_mib = time.perf_counter() - started, _peak_mib()
    with engine.begin() as connection:
        left = connection.execute(text("SELECT count(*) FROM lots WHERE points_remaining > 0")).scalar_one()
    with engine.begin() as connection:
        differences = verify_ledger(connection)
    print(f"{lots:,} lots in {seconds:.0f} s, {lots / seconds:,.0f} a second, {runs} runs of the task")
    print(f"peak memory {before_mib} MiB before, {after_mib} MiB after; {left} lots left")
    print(f"verify: {differences or 'clean'}")
    return 1 if left or differences else 0


def _runtime(engine: Engine) -> Runtime:
    def open_publisher() -> EventPublisher:
        return _NoPublisher()

    return Runtime(
        engine=engine,
        poster=Poster(engine, event_source="/bench", new_account_id=uuid7),
        open_publisher=open_publisher,
        nudge=lambda *_: None,
        event_source="/bench",
        posting_batch_messages=500,
        relay_batch_events=1000,
        upkeep_batch_rows=500,
        waiting_days_max=30,
        waiting_alarm_hours=24,
        inbox_retention_days=90,
        outbox_retention_days=90,
    )


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
