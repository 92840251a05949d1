"""The worst messages that may come in, beside ordinary ones of as many bytes: `python -m benchmarks.worst`.

Then the worst to post (benchmarks/worst_posting.py), and accounts of many orders (benchmarks/worst_accounts.py).

What each case takes of time and memory from the queue into the inbox, in this process, which does nothing else. Its
ratio is its time for a byte, divided by that of ordinary orders. Memory is the most that was taken, messages included.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import redis
import structlog
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from benchmarks.end_to_end import status_mib
from benchmarks.load import sample_messages
from benchmarks.servers import fresh_database, running_servers
from benchmarks.worst_accounts import print_accounts, run_accounts
from benchmarks.worst_posting import print_posting, run_posting
from core.messages.inbound.reading import MessageLimits
from workers.brokers import open_intake, open_shop_publisher
from workers.intake import Intake, IntakeLimits

_LIMITS = IntakeLimits(
    MessageLimits(1_048_576, 1_000, 86_400),
    batch_messages=500,
    wait_seconds=0.05,
    nudge_interval_seconds=60,
    shards=16,
)
_MESSAGE_BYTES = 900_000
_EVENT = {"source": "/bench", "type": "order.completed", "time": "2026-01-01T00:00:00Z"}
_NUMBERS = count()
_LINE = {"line_id": "1", "quantity": 1, "amount": "1.00"}
_DATA = {"order_id": "o", "currency": "EUR", "lines": [_LINE]}
#: Unknown names that look a little like one that is missing.
_NEARLY_CURRENCY = {f"curenc{a}{b}": 1 for a in "abcdefg" for b in "abcdefg"}


_TABLE_CHARACTERS = 100


class IntakeRun(NamedTuple):
    """What it took to get a case from the queue into the inbox."""

    messages: int
    size_bytes: int
    seconds: float
    memory_mib: float

    def ratio_to(self, other: "IntakeRun") -> float:
        """How many times as long it took for as many bytes."""
        return self.seconds / self.size_bytes / (other.seconds / other.size_bytes)


def intake_cases(size_bytes: int) -> dict[str, Callable[[], list[bytes]]]:
    """Name makers of messages of about so many bytes; ordinary ones first. Huge ones are more."""
    arrays: dict[str, Iterator[dict[str, Any]]] = {
        "arrays: needed fields missing": (_NEARLY_CURRENCY for _ in count()),
        "arrays: ever other misspelt fields": ({f"curenc{n}{k}": 1 for k in range(50)} for n in count()),
        "arrays: 300 empty lines each": ({**_DATA, "lines": [{}] * 300} for _ in count()),
        "arrays: ever other currencies": ({**_DATA, "currency": f"EU{n}R"} for n in count()),
    }
    events: dict[str, dict[str, Any]] = {
        "orders of 10,000 lines of one id": {**_DATA, "lines": [_LINE] * 10_000},
        "an id of a megabyte": {**_DATA, "order_id": "x" * _MESSAGE_BYTES},
        "numbers of 4,000 digits": {**_DATA, "points_paid": [10**4_000] * 200},
    }
    messages = max(1, size_bytes // _MESSAGE_BYTES)
    bodies: dict[str, Callable[[int], bytes]] = {
        **{name: partial(_array, data) for name, data in arrays.items()},
        **{name: partial(_event, data) for name, data in events.items()},
        "arrays: 1,000 numbers": lambda n: json.dumps(list(range(n * 1_000, n * 1_000 + 1_000))).encode(),
        "arrays: 1,000 empty events": lambda n: json.dumps([{"n": n, "k": k} for k in range(1_000)]).encode(),
        "nested without end": lambda n: b'{"a":' * (_MESSAGE_BYTES // 5) + b"%d" % n,
    }
    huge = 2 + messages // 4
    return {
        "ordinary": lambda: _up_to(size_bytes, (body for _, body in sample_messages(size_bytes // 1_000))),
        **{name: partial(_bodies, make, messages) for name, make in bodies.items()},
        "15 MB each": partial(_bodies, lambda n: b"%d" % n + b"x" * 15_000_000, huge),
        "60 MB each": partial(_bodies, lambda n: b"%d" % n + b"x" * 60_000_000, huge),
    }


def run_intake(
    database_url: str, broker_url: str, size_bytes: int, *, bytes_each_max: int | None = None
) -> dict[str, IntakeRun]:
    """Measure each case; without those of larger messages than `bytes_each_max`, which some brokers do not take.

    What waits at the broker is lost.
    """
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    runs = {}
    with fresh_database(database_url, "loyalty_bench_worst") as engine:
        for name, make in intake_cases(size_bytes).items():
            messages = make()
            if bytes_each_max is None or len(messages[0]) <= bytes_each_max:
                _publish(broker_url, messages)
                number, size_bytes = len(messages), sum(len(body) for body in messages)
                messages.clear()
                runs[name] = _drained(engine, broker_url, number)._replace(size_bytes=size_bytes)
    return runs


def print_intake(runs: dict[str, IntakeRun]) -> None:
    """Show the cases beside the first one, which is the ordinary one."""
    ordinary = runs["ordinary"]
    table = Table(title="The worst messages, from the queue into the inbox")
    table.add_column("what", no_wrap=True)
    for name in ("messages", "MB", "messages/s", "MB/s", "ratio", "MiB"):
        table.add_column(name, justify="right")
    for name, run in runs.items():
        megabytes = run.size_bytes / 1e6
        rates = (f"{run.messages / run.seconds:,.0f}", f"{megabytes / run.seconds:,.1f}")
        table.add_row(
            name,
            f"{run.messages:,}",
            f"{megabytes:,.1f}",
            *rates,
            f"{run.ratio_to(ordinary):.1f}",
            f"{run.memory_mib:,.0f}",
        )
    console = Console()
    console.width = max(console.width, _TABLE_CHARACTERS)
    console.print(table)


def _publish(broker_url: str, messages: Sequence[bytes]) -> None:
    if broker_url.startswith("redis"):
        with redis.Redis.from_url(broker_url) as client:
            client.delete("shop.events")
    publisher = open_shop_publisher(broker_url)
    for start in range(0, len(messages), 20):
        publisher.publish([("order.completed", body) for body in messages[start : start + 20]])
    publisher.close()


def _drained(engine: Engine, broker_url: str, messages: int) -> IntakeRun:
    """Take all that waits, so many; an intake of its own, which has learned nothing of the sizes before."""
    source = open_intake(broker_url, consumer="worst", prefetch_messages=2 * _LIMITS.batch_messages)
    intake = Intake(engine, lambda: source, lambda *_: True, _LIMITS, event_source="/bench")
    with suppress(OSError):  # where the kernel cannot forget it, what an earlier case took is shown
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before_mib = status_mib("self", "VmRSS")
    started = time.perf_counter()
    left = messages
    while left > 0:
        left -= intake.step(source)
    seconds = time.perf_counter() - started
    source.close()
    return IntakeRun(messages, 0, seconds, status_mib("self", "VmHWM") - before_mib)


def _up_to(size_bytes: int, bodies: Iterator[bytes]) -> list[bytes]:
    taken: list[bytes] = []
    left = size_bytes
    for body in bodies:
        taken.append(body)
        left -= len(body)
        if left <= 0:
            break
    return taken


def _bodies(make: Callable[[int], bytes], messages: int) -> list[bytes]:
    return [make(number) for number in range(messages)]


def _array(data: Iterator[dict[str, Any]], _number: int) -> bytes:
    """An array of up to 1,000 events, as many as a message may have bytes for."""
    events = (_event(each, n) for n, each in enumerate(islice(data, 1_000)))
    return b"[" + b",".join(_up_to(_MESSAGE_BYTES, events)) + b"]"


def _event(data: dict[str, Any], number: int) -> bytes:
    return json.dumps({**_EVENT, "id": f"{number} {next(_NUMBERS)}", "data": data}).encode()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worst", description=__doc__)
    parser.add_argument("--megabytes", type=float, default=16, help="of messages for each case")
    parser.add_argument("--message-megabytes-max", type=float, help="leave out cases of larger messages")
    parser.add_argument("--lines", type=int, default=10_000, help="of an order that is posted")
    parser.add_argument("--refunds", type=int, default=500, help="of one order")
    parser.add_argument("--orders", type=int, default=100_000, help="of one account")
    parser.add_argument("--database-url", help="another server than the embedded one; it gets databases of its own")
    parser.add_argument("--broker-url", help="another broker than the embedded Valkey; what waits in it is lost")
    arguments = parser.parse_args()
    largest = arguments.message_megabytes_max
    with running_servers(arguments.database_url, arguments.broker_url) as urls:
        bytes_each_max = None if largest is None else int(largest * 1e6)
        print_intake(run_intake(*urls, int(arguments.megabytes * 1e6), bytes_each_max=bytes_each_max))
        print_posting(run_posting(urls[0], arguments.lines, arguments.refunds))
        print_accounts(run_accounts(urls[0], arguments.orders), arguments.orders)


if __name__ == "__main__":
    main()
