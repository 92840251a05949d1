"""Random faults against the real processes, judged by an independent model: `python -m tests.faults --help`."""

import argparse
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import structlog

from tests.faults.run import MESSAGES, fault_names, run_all, run_soak, write
from tests.faults.soak import table

BROKERS = ("valkey", "rabbitmq")
FIGURES = Path("build/chaos.json")
SOAK_FIGURES = Path("build/soak.json")
_ROW = "{:<10} {:<32} {:>6} {:>5} {:>8} {:>6} {:>8} {:>6}"


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="runs on each broker")
    parser.add_argument("--seed", type=int, default=None, help="repeats runs; drawn and printed by default")
    parser.add_argument("--broker", choices=[*BROKERS, "both"], default="both")
    parser.add_argument("--faults", type=fault_names, help="draw from these only, comma-separated")
    parser.add_argument("--strikes", type=fault_names, help="strike exactly these in each run; none for no fault")
    parser.add_argument("--messages", type=int, default=MESSAGES, help="messages of a run")
    parser.add_argument("--soak", type=int, default=0, metavar="MESSAGES", help="one long run of so many messages")
    parser.add_argument("--keep", action="store_true", help="leave the world up after a run that found a difference")
    parser.add_argument("--figures", type=Path, help="where the figures are written as JSON")
    options = parser.parse_args(arguments)
    options.figures = options.figures or (SOAK_FIGURES if options.soak else FIGURES)
    if options.seed is None:
        options.seed = random.randrange(10**6)
    return options


def main() -> int:
    """Exit code 1 when any run found a difference."""
    options = parsed()
    for name in [name for name in os.environ if name.startswith("LOYALTY_")]:
        del os.environ[name]  # an operator's settings must not reach into the worlds
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the worlds are taken down
    # Both tell of what the faults break.
    logging.getLogger("sqlalchemy.pool").disabled = True
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    say(f"seed {options.seed}")
    documents = _beside_each_other(options) if options.broker == "both" else {options.broker: _alone(options)}
    write(options.figures, documents)
    if options.soak:
        for broker, document in documents.items():
            for line in table(broker, document):
                say(line)
        return 1 if any(document["differences"] for document in documents.values()) else 0
    _print_table(documents)
    return 1 if any(document["failed"] or not document["runs"] for document in documents.values()) else 0


def _alone(options: argparse.Namespace) -> dict[str, Any]:
    def say_of_broker(text: str) -> None:
        say(f"{options.broker:<9}{text}")

    if options.soak:
        return run_soak(options.broker, options, say_of_broker)
    return run_all(options.broker, options, say_of_broker).document()


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _beside_each_other(options: argparse.Namespace) -> dict[str, Any]:
    """One process for each broker."""
    names = ("runs", "seed", "messages", "soak")
    with_values = {f"--{name}": getattr(options, name) for name in names}
    for name in ("faults", "strikes"):
        if getattr(options, name) is not None:
            with_values[f"--{name}"] = ",".join(getattr(options, name)) or "none"
    arguments = [str(part) for pair in with_values.items() for part in pair]
    parts = {broker: options.figures.with_suffix(f".{broker}.json") for broker in BROKERS}
    processes = {}
    for broker, path in parts.items():
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.faults", "--broker", broker, "--figures", str(path), *arguments]
        processes[broker] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    readers = [threading.Thread(target=_pass_on, args=pair) for pair in processes.items()]
    for reader in readers:
        reader.start()
    try:
        for reader in readers:
            reader.join()
    except BaseException:
        for process in processes.values():
            process.terminate()
        for reader in readers:  # until their worlds are down, of which they tell us
            reader.join()
        raise
    documents: dict[str, Any] = {}
    for broker, path in parts.items():
        exit_code = processes[broker].wait()
        if path.exists():
            documents |= json.loads(path.read_text())
            path.unlink()
        else:
            raise SystemExit(f"the process of {broker} ended with exit code {exit_code} and left no figures")
    return documents


def _pass_on(broker: str, process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(f"{broker:<9}"):  # the rest is its table, which comes again with the other's
            say(line.rstrip())


def _print_table(documents: dict[str, Any]) -> None:
    say(_ROW.format("broker", "fault", "struck", "lost", "doubled", "wrong", "median s", "max s"))
    for broker, document in documents.items():
        for name, figures in document["faults"].items():
            median, slowest = figures["recovery_seconds_median"], figures["recovery_seconds_max"]
            say(
                _ROW.format(
                    broker, name, figures["struck"], figures["lost"], figures["doubled"], figures["wrong"],
                    "-" if median is None else f"{median:.1f}", "-" if slowest is None else f"{slowest:.1f}",
                )
            )  # fmt: skip
    for broker, document in documents.items():
        failed = [f"{failure.get('seed')} ({', '.join(failure.get('faults', ()))})" for failure in document["failed"]]
        say(
            f"{broker}: {document['runs']} runs, {document.get('messages', 0):,} messages, "
            f"{document.get('seconds_per_run')} s per run, load {document['load_average_max']}, "
            f"{len(failed)} with differences {'; '.join(failed)}".rstrip()
        )


if __name__ == "__main__":
    sys.exit(main())
