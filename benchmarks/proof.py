"""Proof at scale: what verify, rebuild and the walk along the hash chain cost, against a plain read of all entries.

python -m benchmarks.proof --entries 1000000 [--limits]
python -m benchmarks.proof --commands 50000 200000
python -m benchmarks.proof --growth 1000000 10000000 [--jobs 2]

The other forms show how long each check of verify takes in one ledger after the other, and how many times as long in
the last as in the first: in ledgers of so many posted messages, orders and commands, or filled with so many entries of
orders, without a chain.
"""

import argparse
import resource
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from benchmarks.commanded_ledger import fill_with_commands
from benchmarks.filling import ORDERS_EACH, fill_ledger
from benchmarks.servers import database_server, fresh_database
from core.store.engine import driver_connection
from core.store.proof.chain import walk_chains
from core.store.proof.processes import Processes
from core.store.proof.rebuild import examine
from core.store.proof.scope import slices
from core.store.proof.verify import Step, verify_steps
from workers.child_processes import begin_beside

_KEY = b"a key of at least 32 characters, for benchmarks"


def main() -> int:
    """Fill, measure, print. Exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--limits", action="store_true", help="under a program with caps and a budget")
    parser.add_argument("--database-url", help="another server than the embedded one; it gets a database of its own")
    parser.add_argument("--commands", type=int, nargs="+", help="messages of ledgers of commands, from few to many")
    parser.add_argument("--jobs", type=int, default=1, help="processes of verify, where growth is measured")
    parser.add_argument("--growth", type=int, nargs="+", help="entries of ledgers of orders, from few to many")
    arguments = parser.parse_args()
    with database_server(arguments.database_url) as url:
        if arguments.commands:
            return _measure_growth(url, arguments.commands, fill_with_commands, "messages", arguments.jobs)
        if arguments.growth:
            return _measure_growth(url, arguments.growth, _fill_with_orders, "entries", arguments.jobs)
        with fresh_database(url, "loyalty_bench_proof") as engine:
            return _measure(engine, arguments.entries, is_limited=arguments.limits)


def _fill_with_orders(engine: Engine, entries: int) -> int:
    accounts = max(1, entries // ORDERS_EACH)
    fill_ledger(engine, accounts)
    return accounts * ORDERS_EACH


def _measure_growth(url: str, sizes: list[int], fill: Callable[[Engine, int], int], of: str, jobs: int) -> int:
    seconds: dict[str, list[float]] = {}
    found = 0
    for size in sizes:
        with fresh_database(url, "loyalty_bench_proof") as engine:
            started = time.perf_counter()
            filled = fill(engine, size)
            print(f"filled with {filled:,} {of} in {time.perf_counter() - started:.0f} s", flush=True)
            with engine.begin() as connection:
                for step, taken in _timed_checks(connection, jobs):
                    found += len(step.found)
                    for difference in step.found:
                        print(f"  {step.check.name}: {difference.text}")
                    seconds.setdefault(step.check.name, []).append(taken)
    for name, times in seconds.items():
        print(f"{times[-1] / times[0]:6.1f} times  {' '.join(f'{each:8.2f} s' for each in times)}  {name}")
    sums = [sum(times) for times in zip(*seconds.values(), strict=True)]
    print(f"{sums[-1] / sums[0]:6.1f} times  {' '.join(f'{each:8.2f} s' for each in sums)}  all {len(seconds)} checks")
    others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"peak {_peak_mib()} MiB here, {others} MiB in another process")
    print(f"differences: {found}")
    return 1 if found else 0


def _measure(engine: Engine, entries: int, *, is_limited: bool) -> int:
    started = time.perf_counter()
    fill_ledger(engine, max(1, entries // ORDERS_EACH), _KEY, is_limited=is_limited)
    entries = max(1, entries // ORDERS_EACH) * ORDERS_EACH
    print(f"filled {entries:,} entries in {time.perf_counter() - started:.0f} s", flush=True)
    differences = 0
    plain_seconds: dict[str, float] = {}
    steps: tuple[tuple[str, str | None, Callable[[Connection], int]], ...] = (
        ("read of entries, in the server", None, _read_in_server),
        ("read of entries, to the client", None, _read_to_client),
        ("verify", "read of entries, in the server", _verify),
        ("rebuild, without --apply", "read of entries, in the server", _rebuild),
        ("hash chain", "read of entries, to the client", _walk),
    )
    for name, against, step in steps:
        with engine.begin() as connection:
            started = time.perf_counter()
            differences += step(connection)
            plain_seconds[name] = seconds = time.perf_counter() - started
            memory = f"peak {_peak_mib()} MiB here, {_server_peak_mib(connection)} MiB in the server"
        ratio = f"{seconds / plain_seconds[against]:.1f} times the {against}, " if against else ""
        print(f"{name}: {seconds:.1f} s, {entries / seconds:,.0f} entries a second, {ratio}{memory}", flush=True)
    print(f"differences: {differences}")
    return 1 if differences else 0


def _read_in_server(connection: Connection) -> int:
    connection.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))
    connection.execute(text("SELECT count(*), max(length(e::text)) FROM entries e")).all()
    return 0


def _read_to_client(connection: Connection) -> int:
    with driver_connection(connection).cursor(name="plain") as cursor:
        cursor.itersize = 5_000
        cursor.execute("SELECT * FROM entries")
        return sum(0 for _ in cursor)


def _verify(connection: Connection) -> int:
    found = 0
    for step, seconds in _timed_checks(connection):
        found += len(step.found)
        print(f"  {seconds:6.1f} s  {step.check.name}", flush=True)
    return found


def _timed_checks(connection: Connection, jobs: int = 1) -> Iterator[tuple[Step, float]]:
    seconds: defaultdict[str, float] = defaultdict(float)
    started, running = time.perf_counter(), ""
    for step in verify_steps(connection, Processes(jobs, begin_beside)):
        now = time.perf_counter()
        # Steps are told before a check looks. What is copied for a slice counts for its first check, or the one before.
        seconds[running or step.check.name] += now - started
        started, running = now, step.check.name
        if step.is_done:
            yield step, seconds[step.check.name]


def _rebuild(connection: Connection) -> int:
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL work_mem = '64MB'"))
    return sum(len(examine(connection, scope).repairs) for scope in slices(connection))


def _walk(connection: Connection) -> int:
    return sum(len(step.differences) for step in walk_chains(connection, (_KEY,)))


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _server_peak_mib(connection: Connection) -> int:
    """The most memory that this session's server process has had, with the shared buffers that it has touched."""
    process = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    status = Path(f"/proc/{process}/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    sys.exit(main())
