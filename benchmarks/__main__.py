"""`make bench`: ours, the usual way and the limit, in one run on the embedded servers; a table and build/bench.json."""

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, make_url

from benchmarks.end_to_end import Run, measure_ours, measure_usual_way
from benchmarks.latency import measure_latency, print_latency
from benchmarks.load import Message, recorded_messages, sample_messages
from benchmarks.posted_commands import print_commands, run_commands
from benchmarks.posting import fill_inbox, measure_posting
from benchmarks.reading import print_reading, run_reading
from benchmarks.servers import FOLDER, PROGRAM_FILE, empty_broker, fresh_database, running_servers
from benchmarks.sql_limit import measure_sql_limit
from benchmarks.watching import print_watching, run_watching
from benchmarks.worst import print_intake, run_intake
from benchmarks.worst_accounts import print_accounts, run_accounts
from benchmarks.worst_posting import print_posting, run_posting
from core.messages.program_files.program_file import load_program

_BATCH_MESSAGES = 500
_SHARDS = 16
#: Of the latencies a taste; `python -m benchmarks.latency` has more rates, and both brokers.
_LATENCY_RATES = (10, 50)
#: So often an account is read in each way.
_READING_TIMES = 300
#: Of the worst messages to receive a taste; `python -m benchmarks.worst` has more of each.
_WORST_BYTES, _WORST_BYTES_EACH_MAX = 1_000_000, 1_048_576


def main() -> None:
    """Measure, print and write."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.full:
        messages = recorded_messages(_csv(arguments.csv, parser))
        usual = messages
    else:
        messages = sample_messages(arguments.messages, arguments.lines_max)
        usual = messages[: arguments.usual_messages]
    with running_servers(arguments.database_url, arguments.broker_url) as urls:
        bench = _Bench(*urls, arguments.start_seconds)
        if arguments.soak:
            _print_soak(bench.measure(measure_ours, messages))
            return
        results = bench.run(messages, usual)
        latency = measure_latency(*urls, _LATENCY_RATES, arguments.latency_seconds, arguments.start_seconds)
        commands = run_commands(urls[0], arguments.commands)
        worst = run_intake(*urls, _WORST_BYTES, bytes_each_max=_WORST_BYTES_EACH_MAX)
        heavy = run_posting(urls[0], arguments.worst_lines, arguments.worst_refunds)
        long = run_accounts(urls[0], arguments.worst_orders)
        reads = run_reading(urls[0], arguments.reading_accounts, _READING_TIMES)
        watched = arguments.watched_messages, arguments.watched_rounds
        costs = run_watching(urls[0], *watched, 2 * arguments.start_seconds)
    results["posted_commands"] = {kind: speed._asdict() for kind, speed in commands.items()}
    results["latency"] = latency.document()
    results["worst_intake_ratios"] = {name: round(run.ratio_to(worst["ordinary"]), 1) for name, run in worst.items()}
    results["worst_batch_seconds"] = {name: round(run.longest_seconds, 2) for name, run in heavy.items()}
    results["worst_account_ratios"] = {name: round(run.ratio, 1) for name, run in long.items()}
    results["reading_ratios"] = {name: round(each.ratio, 1) for name, each in reads.items()}
    results["watched_ratios"] = {name: [cost._asdict() for cost in each] for name, each in costs.items()}
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    _print(results)
    print_commands([commands])
    print_latency(latency)
    print_intake(worst)
    print_posting(heavy)
    print_accounts(long, arguments.worst_orders)
    print_reading(reads, arguments.reading_accounts)
    print_watching(costs)
    Console().print(f"written to {arguments.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--messages", type=int, default=12_000, help="messages for ours and for posting alone")
    parser.add_argument("--usual-messages", type=int, default=3_000, help="messages for the usual way")
    parser.add_argument("--full", action="store_true", help="the whole data set for everything")
    parser.add_argument("--csv", type=Path, help="with --full: online_retail_2010_2011.csv.gz")
    parser.add_argument("--database-url", help="another database server than the embedded one")
    parser.add_argument("--broker-url", help="another broker than the embedded Valkey, e.g. a local RabbitMQ")
    parser.add_argument("--lines-max", type=int, help="cut every order to so many lines (they have 20 on average)")
    parser.add_argument("--soak", action="store_true", help="ours end to end only: for long runs that watch the memory")
    parser.add_argument("--start-seconds", type=float, default=6.0, help="how long processes get to start")
    parser.add_argument("--commands", type=int, default=2_000, help="of each kind that is posted beside orders")
    parser.add_argument("--latency-seconds", type=float, default=3.0, help="for each kind of message and rate")
    parser.add_argument("--worst-lines", type=int, default=10_000, help="of the heaviest orders")
    parser.add_argument("--worst-refunds", type=int, default=500, help="of one of them")
    parser.add_argument("--worst-orders", type=int, default=100_000, help="of the account with the longest history")
    parser.add_argument("--reading-accounts", type=int, default=10_000, help="one of which is read")
    parser.add_argument("--watched-messages", type=int, default=2_000, help="with and without metrics, in each round")
    parser.add_argument("--watched-rounds", type=int, default=5, help="of that; benchmarks.watching has more")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"), help="where to write the results")
    return parser


def _csv(csv: Path | None, parser: argparse.ArgumentParser) -> Path:
    folder = os.environ.get("LOYALTY_DATA_FOLDER")
    path = csv or (Path(folder) / "online_retail_2010_2011.csv.gz" if folder else None)
    if path is None or not path.exists():
        parser.error("--full needs the data set: name it with --csv, or its folder with LOYALTY_DATA_FOLDER")
    return path


class _Bench:
    """The measurements, each on a database and a broker emptied for it."""

    def __init__(self, database_url: str, broker_url: str, start_seconds: float) -> None:
        self._server_url = database_url
        self._broker_url = broker_url
        self._start_seconds = start_seconds

    def run(self, messages: list[Message], usual: list[Message]) -> dict[str, Any]:
        console = Console(stderr=True)
        console.print(f"posting alone, {len(messages):,} messages …")
        with self._fresh() as (engine, _):
            fill_inbox(engine, messages, _SHARDS)
            posting_one_process_per_s = measure_posting(engine, _BATCH_MESSAGES, processes=1)
        with self._fresh() as (engine, _):
            intake_per_s = fill_inbox(engine, messages, _SHARDS)
            posting_per_s = measure_posting(engine, _BATCH_MESSAGES, processes=2)
            console.print("the SQL limit, the same rows …")
            sql_limit_per_s = measure_sql_limit(engine, _BATCH_MESSAGES)
        console.print(f"ours end to end, {len(messages):,} messages …")
        ours = self.measure(measure_ours, messages)
        console.print(f"the usual way end to end, {len(usual):,} messages …")
        naive = self.measure(measure_usual_way, usual)
        return {
            "broker": make_url(self._broker_url).drivername,
            "messages": len(messages),
            "naive_messages": len(usual),
            "end_to_end_per_s": round(ours.messages_per_s),
            "naive_per_s": round(naive.messages_per_s),
            "sql_limit_per_s": round(sql_limit_per_s),
            "posting_per_s": round(posting_per_s),
            "posting_one_process_per_s": round(posting_one_process_per_s),
            "receiving_per_s": round(intake_per_s),
            "ratio_naive": round(ours.messages_per_s / naive.messages_per_s, 2),
            "ratio_limit": round(posting_per_s / sql_limit_per_s, 3),
            "ratio_limit_one_process": round(posting_one_process_per_s / sql_limit_per_s, 3),
            "peak_memory_mib": ours.peak_memory_mib,
            "naive_peak_memory_mib": naive.peak_memory_mib,
        }

    def measure(self, way: Callable[..., Run], messages: list[Message]) -> Run:
        """One way, end to end."""
        with self._fresh() as (engine, environment):
            return way(engine, environment, messages, FOLDER / "logs", self._start_seconds)

    @contextmanager
    def _fresh(self) -> Iterator[tuple[Engine, dict[str, str]]]:
        with fresh_database(self._server_url, "loyalty_bench", load_program(PROGRAM_FILE)) as engine:
            empty_broker(self._broker_url)
            yield (
                engine,
                {
                    "LOYALTY_DATABASE_URL": engine.url.render_as_string(hide_password=False),
                    "LOYALTY_BROKER_URL": self._broker_url,
                    "LOYALTY_LOG_LEVEL": "warning",
                    "LOYALTY_SHARDS": str(_SHARDS),
                },
            )


def _print(results: dict[str, Any]) -> None:
    table = Table(title=f"Benchmarks on {results['broker']}, {results['messages']:,} real orders and cancellations")
    table.add_column("what")
    table.add_column("messages per second", justify="right")
    table.add_column("ratio", justify="right")
    ratio = f"{results['ratio_naive']} x the usual way"
    table.add_row("ours, queue to published event", f"{results['end_to_end_per_s']:,}", ratio)
    table.add_row("the usual way, queue to published event", f"{results['naive_per_s']:,}", "1")
    for label, name in (("one worker: two processes", ""), ("one process", "_one_process")):
        rate, part = results[f"posting{name}_per_s"], results[f"ratio_limit{name}"]
        table.add_row(f"posting alone, {label}", f"{rate:,}", f"{part} of the limit")
    table.add_row("the limit: the same rows by SQL alone, one connection", f"{results['sql_limit_per_s']:,}", "1")
    table.add_row("receiving alone, one process", f"{results['receiving_per_s']:,}", "")
    console = Console()
    console.print(table)
    console.print("peak memory, MiB: " + ", ".join(f"{k} {v}" for k, v in results["peak_memory_mib"].items()))


def _print_soak(run: Run) -> None:
    table = Table(title=f"Memory over a long run, {run.messages_per_s:,.0f} messages per second")
    for name in ("process", "MiB after a tenth", "MiB at the end", "MiB at most"):
        table.add_column(name, justify="left" if name == "process" else "right")
    for name, peak in run.peak_memory_mib.items():
        table.add_row(
            name, *(f"{mib}" for mib in (run.memory_at_tenth_mib.get(name), run.memory_at_end_mib[name], peak))
        )
    Console().print(table)


if __name__ == "__main__":
    main()
