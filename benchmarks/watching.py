"""What it costs to be watched: the whole way from queue to published event, with metrics and traces or without.

Each round measures every way once, on a database and a broker emptied for it, and compares them with the first:
messages a second, and what the roles and all that they have started took of the processors, which a busy machine
disturbs less.
While it is measured, the ports are scraped as Prometheus would, each five seconds, and a collector takes the spans.

python -m benchmarks.watching --messages 12000 --rounds 5
"""

import argparse
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from statistics import median
from typing import NamedTuple
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table

from benchmarks.end_to_end import Run, measure_ours
from benchmarks.load import Message, sample_messages
from benchmarks.servers import FOLDER, PROGRAM_FILE, empty_broker, fresh_database, running_servers
from core.messages.program_files.program_file import load_program

_SCRAPE_SECONDS = 5.0
_ROLES = 3

_METRICS: Mapping[str, str] = {"LOYALTY_METRICS_PORT": "{port}"}
_SPANS: Mapping[str, str] = {"OTEL_EXPORTER_OTLP_ENDPOINT": "{collector}"}


class Way(NamedTuple):
    """How the roles are watched, and what the messages say."""

    settings: Mapping[str, str]
    sampled_share: float | None = None  #: of the messages' traces; None: they have no trace


#: The first is what the others are compared with.
WAYS: Mapping[str, Way] = {
    "unwatched": Way({}),
    "metrics": Way(_METRICS),
    "metrics, traces of which 1 % are sampled": Way({**_METRICS, **_SPANS}, 0.01),
    "metrics, traces that are all sampled": Way({**_METRICS, **_SPANS}, 1.0),
    "traces that go on without spans": Way({}, 1.0),
}


class Cost(NamedTuple):
    """One way compared with the first in the same round; 1 is the same."""

    throughput: float
    processor: float


def main() -> None:
    """Measure in turn, print every ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--start-seconds", type=float, default=12.0, help="how long processes get to start")
    parser.add_argument("--database-url", help="another database server than the embedded one")
    parser.add_argument("--broker-url", help="another broker than the embedded Valkey")
    arguments = parser.parse_args()
    with running_servers(arguments.database_url, arguments.broker_url) as urls:
        messages = sample_messages(arguments.messages)
        costs = run_watching(*urls, messages, arguments.rounds, arguments.start_seconds)
    print_watching(costs)


def run_watching(
    database_url: str, broker_url: str, messages: list[Message], rounds: int, start_seconds: float
) -> dict[str, list[Cost]]:
    """Measure every way in each round, in another order each time, since what goes first finds colder caches."""
    first, *others = WAYS
    costs: dict[str, list[Cost]] = {name: [] for name in others}
    for number in range(rounds):
        runs: dict[str, Run] = {}
        names = [*WAYS]
        for name in names if number % 2 else reversed(names):
            way = WAYS[name]
            sent = messages if way.sampled_share is None else traced_messages(messages, way.sampled_share)
            runs[name] = _measure(database_url, broker_url, sent, way.settings, start_seconds)
            rate, used = runs[name].messages_per_s, runs[name].processor_seconds
            Console(stderr=True).print(f"{name}: {rate:,.0f} messages a second, {used:.1f} s of the processors")
        plain = runs[first]
        for name in others:
            run = runs[name]
            processor = run.processor_seconds / plain.processor_seconds
            costs[name].append(Cost(run.messages_per_s / plain.messages_per_s, processor))
    return costs


def _measure(
    database_url: str, broker_url: str, messages: list[Message], settings: Mapping[str, str], start_seconds: float
) -> Run:
    port = _free_port()
    with (
        _collector() as collector,
        fresh_database(database_url, "loyalty_bench", load_program(PROGRAM_FILE)) as engine,
        _scraped(port if "LOYALTY_METRICS_PORT" in settings else None),
    ):
        empty_broker(broker_url)
        environment = {
            "LOYALTY_DATABASE_URL": engine.url.render_as_string(hide_password=False),
            "LOYALTY_BROKER_URL": broker_url,
            "LOYALTY_LOG_LEVEL": "warning",
            "LOYALTY_DATA_DIR": str(FOLDER / "roles"),
            **{name: value.format(port=port, collector=collector) for name, value in settings.items()},
        }
        return measure_ours(engine, environment, messages, Path(FOLDER, "logs"), start_seconds)


def traced_messages(messages: Sequence[Message], sampled_share: float) -> list[Message]:
    """The messages, each in a trace of its own, of which so many are sampled."""
    chance = Random(1)
    return [(kind, _traced(body, chance, sampled_share)) for kind, body in messages]


def _traced(body: bytes, chance: Random, sampled_share: float) -> bytes:
    ids = f"{chance.randrange(1, 2**128):032x}-{chance.randrange(1, 2**64):016x}"
    traceparent = f"00-{ids}-{int(chance.random() < sampled_share):02x}"
    return b'{"traceparent":"' + traceparent.encode() + b'",' + body[1:]


@contextmanager
def _collector() -> Iterator[str]:
    """Where spans go: it takes them, and does nothing with them."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _scraped(port: int | None) -> Iterator[None]:
    """Read the metrics of all roles again and again."""
    is_over = threading.Event()

    def scrape() -> None:
        while port is not None and not is_over.wait(_SCRAPE_SECONDS):
            for number in range(_ROLES):
                url = f"http://127.0.0.1:{port + number}/metrics"
                with suppress(OSError), urlopen(url, timeout=2) as response:
                    response.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return min(int(server.getsockname()[1]), 65_000)


def print_watching(costs: Mapping[str, Sequence[Cost]]) -> None:
    """A table of every ratio."""
    table = Table(title="What it costs to be watched, from queue to published event, times that of being unwatched")
    for name in ("way", "messages a second", "median", "processor time", "median"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for name, found in costs.items():
        throughput, processor = [each.throughput for each in found], [each.processor for each in found]
        table.add_row(name, _texts(throughput), _text(median(throughput)), _texts(processor), _text(median(processor)))
    Console().print(table)


def _texts(ratios: Sequence[float]) -> str:
    return ", ".join(map(_text, ratios))


def _text(ratio: float) -> str:
    return f"{ratio:.3f}"


if __name__ == "__main__":
    main()
