"""What orders, accounts and entries cost, and how to measure it anew; benchmarks.capacity calculates with it.

All on one machine with two cores, most of it beside other work: so costs are processor time, bytes and blocks, which
neighbours hardly change. Bytes are of PostgreSQL 18, and of 5,000 orders of at most 3 and at most 20 lines.
"""

from typing import NamedTuple

_SIZES = "python -m benchmarks.sizes --orders 5000 --lines 3, and --lines 20"
_BATCHES = "python -m benchmarks.against, which tells messages per second of the client's processor time"
_SERVER = "the processor time of PostgreSQL's processes during python -m benchmarks.against"
_ALONE = "the processor time of each process during python -m benchmarks.latency --rates 50"
_REPORTS = "python -m benchmarks.reports --entries 10000000"


class Measured(NamedTuple):
    """One cost; its name has the unit."""

    value: float
    measured_by: str


class RowBytes(NamedTuple):
    """What the rows of some tables take for one order, entry or account."""

    of_table: float
    of_line: float
    of_indexes: float
    measured_by: str = _SIZES

    def in_tables(self, lines: float) -> float:
        """Without indexes; of an order of so many lines."""
        return self.of_table + self.of_line * lines

    def in_all(self, lines: float) -> float:
        """With indexes."""
        return self.in_tables(lines) + self.of_indexes


class RoleCost(NamedTuple):
    """Processor time in milliseconds that an order takes of a role: in full batches, and when it comes alone."""

    in_batches_ms: float
    alone_ms: float
    measured_by: str = f"in batches: {_BATCHES}; alone: {_ALONE}"


#: accounts, members, tier_changes.
ACCOUNT_BYTES = RowBytes(358, 0, 177)
#: orders.
ORDER_BYTES = RowBytes(296, 24, 149)
#: entries and allocations.
ENTRY_BYTES = RowBytes(400, 0, 120)
#: lots.
LOT_BYTES = RowBytes(167, 0, 120)
INBOX_BYTES = RowBytes(586, 126, 260)
#: An order has one event, and a fourth of these opened an account, which is another.
OUTBOX_BYTES = RowBytes(945, 4, 150)
#: Of an order on its whole way, without what full page images add after each checkpoint.
WAL_BYTES = Measured(4_207, _SIZES)
WAL_BYTES_PER_LINE = Measured(151, _SIZES)

INTAKE = RoleCost(0.13, 3.2)
#: Posting 0.39, publishing 0.02 (by hand, 7,370 events to Valkey).
WORKER_CHILD = RoleCost(0.41, 8.3)
#: Celery's main process hands out tasks, of which full batches need few.
WORKER_MAIN = RoleCost(0.0, 2.7)
#: Posting 0.18, receiving 0.05.
POSTGRESQL = RoleCost(0.23, 5.2, f"in batches: {_SERVER}; alone: {_ALONE}")
#: Valkey; in full batches it was not measured by itself. RabbitMQ was not measured.
BROKER = RoleCost(0.0, 1.2, f"alone: {_ALONE}")

VERIFY_SECONDS_PER_ENTRY = Measured(120e-6, "python -m benchmarks.proof --growth 500000")
LIABILITY_SECONDS_PER_ENTRY = Measured(1.7e-6, _REPORTS)
ACTIVITY_SECONDS_PER_ENTRY = Measured(4.9e-6, _REPORTS)
PROMOTION_SECONDS_PER_ENTRY = Measured(4.7e-6, _REPORTS)
#: How many times as long posting takes when indexes no longer fit in memory: 10,000,000 entries against 1,000,000.
POSTING_TIMES_WITHOUT_MEMORY = Measured(2.0, "no command: by hand, on ledgers that were filled in the order of time")
