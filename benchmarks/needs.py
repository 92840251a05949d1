"""What an installation needs, as pure functions of its plan: plan times measured cost, each figure by its own formula.

Nothing is measured here: benchmarks.measured_costs has what is.
"""

import math
from typing import NamedTuple

from benchmarks.measured_costs import (
    ACCOUNT_BYTES,
    ACTIVITY_SECONDS_PER_ENTRY,
    BROKER,
    ENTRY_BYTES,
    INBOX_BYTES,
    INTAKE,
    LIABILITY_SECONDS_PER_ENTRY,
    LOT_BYTES,
    ORDER_BYTES,
    OUTBOX_BYTES,
    POSTGRESQL,
    POSTING_TIMES_WITHOUT_MEMORY,
    PROMOTION_SECONDS_PER_ENTRY,
    VERIFY_SECONDS_PER_ENTRY,
    WAL_BYTES,
    WAL_BYTES_PER_LINE,
    WORKER_CHILD,
    WORKER_MAIN,
    Measured,
    RoleCost,
)
from config.schedule import TICKS
from config.settings import Settings
from core.store.proof.scope import SLICE_ENTRIES_MAX, SLICE_ENTRIES_MIN, SLICES
from core.store.shards import ACCOUNT_SHARDS
from workers.bootstrap import RUNS_PER_TASK_LIMIT
from workers.intake import IntakeLimits

DAY_SECONDS, HOUR_SECONDS = 86_400, 3_600
_YEAR_DAYS = 365.25
GB, MB = 1e9, 1e6
#: That a restore or a verify may take, by our judgement.
_HOURS_MAX = 24.0


class Plan(NamedTuple):
    """What the operator knows."""

    accounts: int = 100_000
    entries: int = 10_000_000
    lines: float = 3
    orders_per_day: float = 3_000
    peak_orders_per_second: float | None = None
    inbox_days: float = Settings.model_fields["inbox_retention_days"].default
    outbox_days: float = Settings.model_fields["outbox_retention_days"].default
    consumers: int = 1
    shards: int = Settings.model_fields["shards"].default
    worker_processes: int | None = None
    jobs: int = 4
    server_cores: int = 32
    server_memory_gb: float = 256
    server_disk_gb: float = 8_000
    backup_mb_per_second: float = 200

    @property
    def peak_per_second(self) -> float:
        """Ten times the average, unless something else is given."""
        return self.peak_orders_per_second or 10 * self.orders_per_day / DAY_SECONDS


class Bytes(NamedTuple):
    """In tables alone, and with their indexes."""

    tables: float
    all: float

    def __add__(self, other: object) -> "Bytes":
        assert isinstance(other, Bytes)
        return Bytes(self.tables + other.tables, self.all + other.all)


class Disk(NamedTuple):
    """What PostgreSQL holds."""

    accounts: Bytes
    orders: Bytes
    entries: Bytes
    lots: Bytes
    inbox: Bytes
    outbox: Bytes

    @property
    def for_ever(self) -> Bytes:
        """What nothing deletes."""
        return self.accounts + self.orders + self.entries + self.lots

    @property
    def bounded(self) -> Bytes:
        """What retention deletes."""
        return self.inbox + self.outbox

    @property
    def together(self) -> Bytes:
        """For ever and bounded."""
        return self.for_ever + self.bounded

    @property
    def hot_bytes(self) -> float:
        """All indexes of the ledger, and the accounts: posting reaches any place in these, whoever orders next."""
        return self.for_ever.all - self.for_ever.tables + self.accounts.tables


class Wal(NamedTuple):
    """Bytes of the write-ahead log, without full page images and without what purging writes."""

    peak_bytes_per_second: float
    bytes_per_day: float


class Cores(NamedTuple):
    """Processor cores of one role at peak."""

    in_batches: float  #: in full batches, when a queue stands before it: the least
    as_it_comes: float  #: while what comes is posted at once


class Processors(NamedTuple):
    """Processor cores of each role at peak, and how many processes that makes."""

    intake: Cores
    worker_children: Cores
    worker_main: Cores
    postgresql: Cores
    broker: Cores
    worker_processes: int
    idle_worker_processes: int  #: as there are not so many shards
    orders_per_second_max: float  #: in full batches, with all cores of the PostgreSQL server and no other bound
    wal_bytes_per_second_max: float  #: which that writes


class Broker(NamedTuple):
    """Messages per second at peak."""

    orders_in: float
    nudges_max: float
    events_out: float
    events_delivered: float


class Hours(NamedTuple):
    """How long what reads everything takes."""

    verify: float
    liability: float
    activity: float
    promotion: float
    dump: float
    restore: float
    audit: float  #: until the task loyalty.audit_ledger has gone round all accounts
    verify_temporary_bytes: float


class Limit(NamedTuple):
    """One thing of which one PostgreSQL server has only so much."""

    of: str
    unit: str
    needed: float
    there: float
    beyond: str  #: what happens then

    @property
    def is_beyond(self) -> bool:
        """Whether this server is not enough."""
        return self.needed > self.there

    def __str__(self) -> str:
        amounts = f"{self.of}, {self.unit}: needs {amount_text(self.needed)}, has {amount_text(self.there)}"
        return f"{amounts}. Not enough: {self.beyond}" if self.is_beyond else f"{amounts}. Enough"


class Needs(NamedTuple):
    """All that an installation needs."""

    years: float  #: until there are so many entries
    disk: Disk
    wal: Wal
    processors: Processors
    broker: Broker
    hours: Hours


def needs_of(plan: Plan) -> Needs:
    """Calculate everything."""
    disk = disk_of(plan)
    return Needs(
        plan.entries / plan.orders_per_day / _YEAR_DAYS,
        disk,
        wal_of(plan),
        processors_of(plan),
        broker_of(plan),
        hours_of(plan, disk),
    )


def disk_of(plan: Plan) -> Disk:
    """Rows times what a row takes; a queue holds the days of its retention."""
    lines, per_day = plan.lines, plan.orders_per_day
    parts = (
        (ACCOUNT_BYTES, plan.accounts),
        (ORDER_BYTES, plan.entries),
        (ENTRY_BYTES, plan.entries),
        (LOT_BYTES, plan.entries),
        (INBOX_BYTES, per_day * plan.inbox_days),
        (OUTBOX_BYTES, per_day * plan.outbox_days),
    )
    return Disk(*(Bytes(rows * cost.in_tables(lines), rows * cost.in_all(lines)) for cost, rows in parts))


def wal_bytes_of_order(plan: Plan) -> float:
    """On its whole way."""
    return WAL_BYTES.value + WAL_BYTES_PER_LINE.value * plan.lines


def wal_of(plan: Plan) -> Wal:
    """Orders times what an order writes."""
    of_order = wal_bytes_of_order(plan)
    return Wal(plan.peak_per_second * of_order, plan.orders_per_day * of_order)


def wakes_per_second(plan: Plan) -> float:
    """How often intake wakes a shard: for each order, but at most as often as its limits say."""
    interval_seconds: float = Settings.model_fields["nudge_interval_seconds"].default
    at_once: float = IntakeLimits.nudges_at_once_per_second
    return min(plan.peak_per_second, max(at_once, plan.shards / interval_seconds))


def cores_of(cost: RoleCost, orders_per_second: float, wakes: float) -> Cores:
    """Each order takes its part of a full batch; each wake takes besides what is the same for any size of a batch."""
    in_batches = orders_per_second * cost.in_batches_ms / 1_000
    return Cores(in_batches, in_batches + wakes * (cost.alone_ms - cost.in_batches_ms) / 1_000)


def processors_of(plan: Plan) -> Processors:
    """What the peak takes. A process has one core; one process at a time works on a shard."""
    wakes = wakes_per_second(plan)

    def cores(cost: RoleCost) -> Cores:
        return cores_of(cost, plan.peak_per_second, wakes)

    children = cores(WORKER_CHILD)
    processes = max(1, math.ceil(children.as_it_comes))
    orders_per_second_max = plan.server_cores * 1_000 / POSTGRESQL.in_batches_ms
    return Processors(
        intake=cores(INTAKE),
        worker_children=children,
        worker_main=cores(WORKER_MAIN),
        postgresql=cores(POSTGRESQL),
        broker=cores(BROKER),
        worker_processes=processes,
        idle_worker_processes=max(0, (plan.worker_processes or processes) - plan.shards),
        orders_per_second_max=orders_per_second_max,
        wal_bytes_per_second_max=orders_per_second_max * wal_bytes_of_order(plan),
    )


def broker_of(plan: Plan) -> Broker:
    """An order has one event, an account one more; sweeps wake each shard that has work once a second."""
    events = plan.peak_per_second * (1 + plan.accounts / plan.entries)
    nudges = wakes_per_second(plan) + plan.shards + ACCOUNT_SHARDS
    return Broker(plan.peak_per_second, nudges, events, events * plan.consumers)


def hours_of(plan: Plan, disk: Disk) -> Hours:
    """Entries times what an entry takes; a dump reads tables, a restore makes indexes too."""

    def hours(cost: Measured) -> float:
        return plan.entries * cost.value / HOUR_SECONDS

    backup_bytes_per_hour = plan.backup_mb_per_second * MB * HOUR_SECONDS
    return Hours(
        verify=hours(VERIFY_SECONDS_PER_ENTRY) / plan.jobs,
        liability=hours(LIABILITY_SECONDS_PER_ENTRY),
        activity=hours(ACTIVITY_SECONDS_PER_ENTRY),
        promotion=hours(PROMOTION_SECONDS_PER_ENTRY),
        dump=disk.together.tables / backup_bytes_per_hour,
        restore=disk.together.all / backup_bytes_per_hour,
        audit=audit_hours(hours(VERIFY_SECONDS_PER_ENTRY)),
        verify_temporary_bytes=plan.jobs * slice_bytes(plan, disk),
    )


def audit_hours(work_hours: float) -> float:
    """Until all accounts were looked at: it works for some seconds each time, and on one account shard at a time."""
    (tick,) = (each for each in TICKS if each.task == "loyalty.audit_ledger")
    works_seconds: float = Settings.model_fields["task_seconds_max"].default / RUNS_PER_TASK_LIMIT
    return max(work_hours / works_seconds, ACCOUNT_SHARDS / HOUR_SECONDS) * tick.every_seconds


def slice_bytes(plan: Plan, disk: Disk) -> float:
    """Of the copy of one slice of the ledger and the outbox; a ledger of one slice is not copied."""
    if plan.entries <= SLICE_ENTRIES_MIN:
        return 0
    entries = min(max(plan.entries / SLICES, SLICE_ENTRIES_MIN), SLICE_ENTRIES_MAX)
    return (disk.for_ever.tables + disk.outbox.tables) * entries / plan.entries


def limits_of(plan: Plan, needs: Needs) -> list[Limit]:
    """Where one PostgreSQL server ends."""
    disk, hours, cores = needs.disk, needs.hours, needs.processors.postgresql
    later = "orders wait at peak, and are posted in larger batches, which take less"
    never = "a queue grows as long as the peak lasts"
    times = POSTING_TIMES_WITHOUT_MEMORY.value
    slower = f"posting reads from the disk, and takes {times:.0f} times as long or more"
    return [
        Limit("processors", "cores", cores.as_it_comes, plan.server_cores,
              later if cores.in_batches <= plan.server_cores else never),
        Limit("memory", "GB", disk.hot_bytes / GB, plan.server_memory_gb, slower),
        Limit("disk", "GB", disk.together.all / GB, plan.server_disk_gb, "the ledger does not fit"),
        Limit("restore", "hours", hours.restore, _HOURS_MAX, "who waits so long for a restore needs a standby"),
        Limit("verify", "hours", hours.verify, _HOURS_MAX, "its snapshot holds vacuum up for too long; use a standby"),
    ]  # fmt: skip


def amount_text(value: float) -> str:
    """An integer as it is, anything else with two or three figures that count."""
    if isinstance(value, int):
        return f"{value:,}"
    if value >= 1_000:
        return f"{round(value, 2 - math.floor(math.log10(value))):,.0f}"
    if value >= 10 or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 0.1 else f"{value:.2f}" if value >= 0.01 else "below 0.01"
