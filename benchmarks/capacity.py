"""Capacity: what an installation of so many accounts, entries and orders needs, calculated from measured costs.

python -m benchmarks.capacity --accounts 10000000 --entries 1000000000 --orders-per-day 300000

Nothing is started and nothing is measured: costs stand in benchmarks.measured_costs, each with the command that
measures it. Every entry counts as one of an order. That of a refund costs about as much, that of an expiry less. A GB
has 10^9 bytes, an MB 10^6.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.needs import DAY_SECONDS, GB, HOUR_SECONDS, MB, Needs, Plan, amount_text, limits_of, needs_of

#: What each option means; its name is that of the field.
_HELP = {
    "accounts": "accounts in the end",
    "entries": "entries in the ledger in the end: orders, refunds and expiries of all the years",
    "lines": "of an order on average",
    "orders_per_day": "orders and refunds on an average day",
    "peak_orders_per_second": "default: ten times the average",
    "inbox_days": "LOYALTY_INBOX_RETENTION_DAYS",
    "outbox_days": "LOYALTY_OUTBOX_RETENTION_DAYS",
    "consumers": "that read every event",
    "shards": "LOYALTY_SHARDS",
    "worker_processes": "of all workers together; default: as many as the peak needs",
    "jobs": "processes of loyalty verify",
    "server_cores": "of the PostgreSQL server",
    "server_memory_gb": "of the PostgreSQL server",
    "server_disk_gb": "of the PostgreSQL server",
    "backup_mb_per_second": "what dump and restore read and write",
}


class Row(NamedTuple):
    """One line of the table."""

    name: str
    text: str


def rows_of(plan: Plan, needs: Needs) -> Iterator[Row]:
    """Every figure under a name that has its unit."""
    disk, processors, broker, hours = needs.disk, needs.processors, needs.broker, needs.hours
    for name, value in {
        "years until the ledger has all entries": needs.years,
        "orders per second at peak": plan.peak_per_second,
        "accounts, GB for ever": disk.accounts.all / GB,
        "orders, GB for ever": disk.orders.all / GB,
        "entries and allocations, GB for ever": disk.entries.all / GB,
        "lots, GB for ever": disk.lots.all / GB,
        "together, GB for ever": disk.for_ever.all / GB,
        "inbox, GB": disk.inbox.all / GB,
        "outbox, GB": disk.outbox.all / GB,
        "indexes and accounts, GB to keep in memory": disk.hot_bytes / GB,
        "write-ahead log at peak, MB per second": needs.wal.peak_bytes_per_second / MB,
        "write-ahead log, GB per day": needs.wal.bytes_per_day / GB,
    }.items():
        yield Row(name, amount_text(value))
    for role, cores in {
        "intake": processors.intake,
        "worker processes": processors.worker_children,
        "Celery's main processes": processors.worker_main,
        "PostgreSQL": processors.postgresql,
        "Valkey": processors.broker,
    }.items():
        yield Row(f"{role}, cores at peak", f"{amount_text(cores.in_batches)} to {amount_text(cores.as_it_comes)}")
    for name, value in {
        "worker processes at peak, at least": processors.worker_processes,
        "message shards (`LOYALTY_SHARDS`)": plan.shards,
        "worker processes that idle, as shards are fewer": processors.idle_worker_processes,
        "orders per second with all cores of PostgreSQL, at most": processors.orders_per_second_max,
        "write-ahead log then, MB per second": processors.wal_bytes_per_second_max / MB,
        "messages in at peak, per second": broker.orders_in,
        "nudges at peak, per second at most": broker.nudges_max,
        "events out at peak, per second": broker.events_out,
        "events to consumers at peak, per second": broker.events_delivered,
        f"`loyalty verify --jobs {plan.jobs}`, hours": hours.verify,
        "its temporary tables, GB": hours.verify_temporary_bytes / GB,
        "until `loyalty.audit_ledger` has seen every account, days": hours.audit * HOUR_SECONDS / DAY_SECONDS,
        "`loyalty report liability`, minutes": hours.liability * 60,
        "`loyalty report activity` of months not kept, minutes": hours.activity * 60,
        "`loyalty report promotion`, minutes": hours.promotion * 60,
        "dump, hours": hours.dump,
        "restore, hours": hours.restore,
    }.items():
        yield Row(name, amount_text(value))


def parse_plan(arguments: Sequence[str]) -> tuple[Plan, bool]:
    """The plan of a command line, and whether it wants JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in Plan._field_defaults.items():
        kind = int if Plan.__annotations__[name] in {int, int | None} else float
        shown = _HELP[name] if default is None else f"{_HELP[name]} (default: {default:,})"
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=shown)
    parser.add_argument("--json", action="store_true", help="print inputs and needs, unrounded, in bytes and hours")
    options = vars(parser.parse_args(arguments))
    is_json: bool = options.pop("json")
    if wrong := [name for name, value in options.items() if value is not None and value <= 0]:
        parser.error(f"--{wrong[0].replace('_', '-')} must be above 0")
    return Plan(**options), is_json


def main() -> None:
    """Calculate and print."""
    plan, is_json = parse_plan(sys.argv[1:])
    needs = needs_of(plan)
    if is_json:
        print(json.dumps(_document({"plan": plan, "needs": needs, "limits": limits_of(plan, needs)}), indent=2))
        return
    table = Table(
        title=f"{plan.accounts:,} accounts, {plan.entries:,} entries, {plan.orders_per_day:,.0f} orders a day"
    )
    table.add_column("what")
    table.add_column("needs", justify="right")
    for row in rows_of(plan, needs):
        table.add_row(row.name.replace("`", ""), row.text)
    Console().print(table)
    print("One PostgreSQL server:")
    for limit in limits_of(plan, needs):
        print(f"  {limit}")


def _document(value: object) -> object:
    """Named tuples as objects of JSON."""
    if isinstance(value, dict):
        return {name: _document(each) for name, each in value.items()}
    if hasattr(value, "_asdict"):
        return _document(value._asdict())
    return [_document(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
