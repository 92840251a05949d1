"""What it costs to be watched: the whole way from queue to published event, with metrics and traces or without.

The roles of every way stand side by side, each way with a database and a part of the broker of its own. In each round
each takes the same messages in turn, while the others have nothing to do, and is compared with the first: messages a
second, and what the roles took of the processors. Rounds are short and many: what a machine gives changes from minute
to minute by more than what is looked for.
While it is measured, the ports are scraped as Prometheus would, each five seconds, and a collector takes the spans.

python -m benchmarks.watching --messages 3000 --rounds 20
"""

import argparse
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.request import urlopen

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, make_url

from benchmarks.end_to_end import Held, Run, held_roles, measure_roles
from benchmarks.load import Message, sample_messages
from benchmarks.servers import FOLDER, PROGRAM_FILE, database_server, fresh_database, running_servers
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
    parser.add_argument("--messages", type=int, default=3_000, help="of each round")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--start-seconds", type=float, default=12.0, help="how long processes get to start")
    parser.add_argument("--database-url", help="another database server than the embedded one")
    arguments = parser.parse_args()
    with database_server(arguments.database_url) as url:
        costs = run_watching(url, arguments.messages, arguments.rounds, arguments.start_seconds)
    print_watching(costs)


def run_watching(database_url: str, messages: int, rounds: int, start_seconds: float) -> dict[str, list[Cost]]:
    """Measure every way in each round, each time another one first; on a Valkey of its own."""
    first, *others = WAYS
    costs: dict[str, list[Cost]] = {name: [] for name in others}
    sent = sample_messages(messages * rounds)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        _, valkey_url = stack.enter_context(running_servers(database_url, None, folder=folder))
        stands = {
            name: stack.enter_context(_standing(database_url, valkey_url, number, way, start_seconds))
            for number, (name, way) in enumerate(WAYS.items())
        }
        for number in range(rounds):
            part = sent[number * messages : (number + 1) * messages]
            turn = number % len(WAYS)
            runs = {name: stands[name].measure(part) for name in ([*WAYS] * 2)[turn : turn + len(WAYS)]}
            plain = runs[first]
            for name in others:
                processor = runs[name].processor_seconds / plain.processor_seconds
                costs[name].append(Cost(runs[name].messages_per_s / plain.messages_per_s, processor))
    return costs


class _Standing(NamedTuple):
    """The running roles of one way."""

    way: Way
    engine: Engine
    broker_url: str
    roles: Held

    def measure(self, messages: list[Message]) -> Run:
        share = self.way.sampled_share
        sent = messages if share is None else traced_messages(messages, share)
        return measure_roles(self.roles, self.engine, self.broker_url, sent)


@contextmanager
def _standing(database_url: str, valkey_url: str, number: int, way: Way, start_seconds: float) -> Iterator[_Standing]:
    port, broker_url = _free_port(), make_url(valkey_url).set(database=str(number)).render_as_string(False)
    with (
        _collector() as collector,
        fresh_database(database_url, f"loyalty_bench_{number}", load_program(PROGRAM_FILE)) as engine,
        _scraped(port if "LOYALTY_METRICS_PORT" in way.settings else None),
    ):
        environment = {
            "LOYALTY_DATABASE_URL": engine.url.render_as_string(hide_password=False),
            "LOYALTY_BROKER_URL": broker_url,
            "LOYALTY_LOG_LEVEL": "warning",
            "LOYALTY_DATA_DIR": str(FOLDER / f"roles-{number}"),
            **{name: value.format(port=port, collector=collector) for name, value in way.settings.items()},
        }
        with held_roles(environment, Path(FOLDER, f"logs-{number}"), start_seconds) as roles:
            yield _Standing(way, engine, broker_url, roles)


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
