"""How long one message takes under a steady rate: an order to its event, a command to its answer, beside a bare no-op.

    python -m benchmarks.latency --broker-url amqp://guest:guest@127.0.0.1:5672//

Whole roles run: intake, a worker with two processes, beat; and a Celery worker with a task that does nothing, whose
time ends when it runs. At each rate all three are sent, one kind after the other. At the end of the wait, and before
the first message, stands what the idle roles take of a processor. Measured on the embedded Valkey, and on every broker
that is named.
"""

import argparse
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.end_to_end import started_processes, with_children
from benchmarks.load import Message
from benchmarks.no_op import create_no_op_app
from benchmarks.servers import FOLDER, PROGRAM_FILE, empty_broker, fresh_database, running_servers
from benchmarks.shop_link import ShopLink, open_shop_link
from core.messages.program_files.program_file import load_program
from workers.brokers import open_shop_publisher, url_without_password

_RATES = (1, 10, 50, 200)
_SOURCE = "/shops/online-retail"  # of the program
_SOURCES_FILE = f"sources: [{{source: {_SOURCE}, commands: [{{command: authorize}}]}}]\n"
_CUSTOMERS = 200
_ANSWER_SECONDS_MAX = 60.0
_PERCENTILES = (50, 90, 99)
_NO_OP, _ORDER, _COMMAND = "a bare no-op", "order to event", "command to answer"


class Latency(NamedTuple):
    """Of one kind of message at one rate."""

    kind: str
    rate_per_s: int
    messages: int
    milliseconds: dict[int, float]  #: by percentile


class Latencies(NamedTuple):
    """What was measured on one broker."""

    broker: str
    found: list[Latency]
    idle_percent: dict[str, float]  #: of a processor, by role

    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "broker": self.broker,
            "milliseconds": [each._asdict() for each in self.found],
            "idle_percent": self.idle_percent,
        }

    def ratio(self, latency: Latency, percentile: int) -> float:
        """How many times as long as the no-op at the same rate."""
        (base,) = (each for each in self.found if (each.kind, each.rate_per_s) == (_NO_OP, latency.rate_per_s))
        return latency.milliseconds[percentile] / base.milliseconds[percentile]


def main() -> None:
    """Measure, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=int, nargs="+", default=_RATES, help="messages per second")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each kind of message and rate")
    parser.add_argument("--start-seconds", type=float, default=6.0, help="how long processes get to start")
    parser.add_argument("--database-url", help="another database server than the embedded one")
    parser.add_argument("--broker-url", action="append", default=[], help="a broker beside the embedded Valkey")
    parser.add_argument("--only-named", action="store_true", help="only the brokers that --broker-url names")
    parser.add_argument("--out", type=Path, help="where to write the results as JSON")
    arguments = parser.parse_args()
    brokers: list[str | None] = [*([] if arguments.only_named else [None]), *arguments.broker_url]
    documents = []
    for broker_url in brokers:
        with running_servers(arguments.database_url, broker_url) as urls:
            latencies = measure_latency(*urls, arguments.rates, arguments.seconds, arguments.start_seconds)
        print_latency(latencies)
        documents.append(latencies.document())
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(documents, indent=2) + "\n", encoding="utf-8")


def measure_latency(
    database_url: str, broker_url: str, rates: Sequence[int], seconds: float, start_seconds: float
) -> Latencies:
    """Measure each kind at each rate for so many seconds; what waits at the broker is lost."""
    empty_broker(broker_url)
    no_ops = _NoOps(broker_url)
    with (
        TemporaryDirectory() as folder,
        fresh_database(database_url, "loyalty_bench_latency", load_program(PROGRAM_FILE)) as engine,
    ):
        sources = Path(folder) / "sources.yaml"
        sources.write_text(_SOURCES_FILE, encoding="utf-8")
        no_ops.file = Path(folder) / "no_ops"
        no_ops.file.touch()
        environment = {
            "LOYALTY_DATABASE_URL": engine.url.render_as_string(hide_password=False),
            "LOYALTY_BROKER_URL": broker_url,
            "LOYALTY_LOG_LEVEL": "warning",
            "LOYALTY_SOURCES_FILE": str(sources),
            "NO_OP_FILE": str(no_ops.file),
        }
        open_shop_publisher(broker_url).close()  # or events would have no exchange yet that a queue can be bound to
        modules = {role: ["workers", role] for role in ("intake", "worker", "beat")}
        with (
            started_processes(
                {**modules, "no_op": ["benchmarks.no_op"]}, environment, FOLDER / "logs", start_seconds
            ) as processes,
            _opened(broker_url) as link,
        ):
            _measure(link, [_order(f"first-{n}", n, "10000.00") for n in range(_CUSTOMERS)], 200)
            _measure(link, [_command(f"warming-{n}", n) for n in range(_CUSTOMERS)], 200)
            no_ops.measure(20, 10)
            idle = _idle_percent({role: processes[role].pid for role in modules}, seconds)
            found = [latency for rate in rates for latency in _at_rate(link, no_ops, rate, seconds)]
    return Latencies(url_without_password(broker_url).partition(":")[0], found, idle)


def _at_rate(link: ShopLink, no_ops: "_NoOps", rate: int, seconds: float) -> Iterator[Latency]:
    count = max(2, round(rate * seconds))
    name = f"{rate}-{time.monotonic_ns()}"
    yield _latency(_NO_OP, rate, no_ops.measure(count, rate))
    yield _latency(_ORDER, rate, _measure(link, [_order(f"order-{name}-{n}", n, "20.00") for n in range(count)], rate))
    yield _latency(_COMMAND, rate, _measure(link, [_command(f"command-{name}-{n}", n) for n in range(count)], rate))


def _latency(kind: str, rate: int, seconds: Sequence[float]) -> Latency:
    ordered = sorted(seconds)
    places = {each: math.ceil(len(ordered) * each / 100) - 1 for each in _PERCENTILES}
    milliseconds = {percentile: round(ordered[place] * 1000, 1) for percentile, place in places.items()}
    return Latency(kind, rate, len(ordered), milliseconds)


def _measure(link: ShopLink, messages: Sequence[tuple[str, Message]], rate: int) -> list[float]:
    """Send at that rate, and wait for what answers each."""
    sent: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def send(number: int) -> None:
        key, message = messages[number]
        sent[key] = time.monotonic()
        link.send(*message)

    keys = {key for key, _ in messages}
    until = time.monotonic() + len(messages) / rate + _ANSWER_SECONDS_MAX
    sender = threading.Thread(target=_at_pace, args=(send, len(messages), rate), daemon=True)
    sender.start()
    while len(seconds) < len(messages):
        came = [key for key in link.receive() if key in keys]
        now = time.monotonic()
        for key in came:
            seconds.setdefault(key, now - sent[key])
        if now > until:
            raise TimeoutError(f"{len(seconds)} of {len(messages)} messages were answered")
    sender.join()
    return list(seconds.values())


def _at_pace(send: Callable[[int], None], count: int, rate: int) -> None:
    started = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        send(number)


class _NoOps:
    """Sends the tasks that do nothing, and reads how long each took to run."""

    file: Path

    def __init__(self, broker_url: str) -> None:
        self._app, self._task = create_no_op_app(broker_url)

    def measure(self, count: int, rate: int) -> list[float]:
        self.file.write_text("", encoding="ascii")
        with self._app.connection_for_write() as connection:
            task: Any = self._task
            _at_pace(lambda _: task.apply_async((time.monotonic(),), connection=connection), count, rate)
        until = time.monotonic() + _ANSWER_SECONDS_MAX
        while len(lines := self.file.read_text(encoding="ascii").splitlines()) < count:
            if time.monotonic() > until:
                raise TimeoutError(f"{len(lines)} of {count} tasks have run")
            time.sleep(0.05)
        return [float(line) for line in lines]


@contextmanager
def _opened(broker_url: str) -> Iterator[ShopLink]:
    link = open_shop_link(broker_url)
    try:
        yield link
    finally:
        link.close()


def _order(order_id: str, number: int, amount: str) -> tuple[str, Message]:
    data = {
        "order_id": order_id,
        "customer_id": f"latency-{number % _CUSTOMERS}",
        "currency": "GBP",
        "lines": [{"line_id": "1", "sku": "A", "quantity": 1, "amount": amount}],
    }
    return order_id, _message("order.completed", order_id, data)


def _command(command_id: str, number: int) -> tuple[str, Message]:
    data = {"customer_id": f"latency-{number % _CUSTOMERS}", "points": 1}
    return command_id, _message("loyalty.command.authorize", command_id, data)


def _message(message_type: str, event_id: str, data: dict[str, Any]) -> Message:
    event = {"id": event_id, "source": _SOURCE, "type": message_type, "time": datetime.now(UTC).isoformat()}
    return message_type, json.dumps({**event, "specversion": "1.0", "data": data}).encode()


def _idle_percent(pids: dict[str, int], seconds: float) -> dict[str, float]:
    before = {role: _processor_seconds(pid) for role, pid in pids.items()}
    time.sleep(seconds)
    return {role: round(100 * (_processor_seconds(pid) - before[role]) / seconds, 1) for role, pid in pids.items()}


def _processor_seconds(pid: int) -> float:
    """What the process and its children have taken so far."""
    ticks = 0
    for each in with_children(pid):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


def print_latency(latencies: Latencies) -> None:
    """Show each percentile, and how many times as long that is as the no-op takes."""
    table = Table(title=f"Latency on {latencies.broker}, in milliseconds (times the no-op)")
    for name in ("per second", "what", "messages", *(f"p{percentile}" for percentile in _PERCENTILES)):
        table.add_column(name, justify="left" if name == "what" else "right", no_wrap=name == "what")
    for each in latencies.found:
        cells = (f"{each.milliseconds[p]:,.1f} ({latencies.ratio(each, p):.1f})" for p in _PERCENTILES)
        table.add_row(f"{each.rate_per_s}", each.kind, f"{each.messages:,}", *cells)
    console = Console()
    console.print(table)
    parts = ", ".join(f"{role} {percent} %" for role, percent in latencies.idle_percent.items())
    console.print(f"idle, of one processor: {parts}")


if __name__ == "__main__":
    main()
