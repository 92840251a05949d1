"""This tree against another checkout of it, in turn: receiving, and posting by one process.

    python -m benchmarks.against ../loyalty-worker-before --rounds 5

The other checkout has a .venv of its own (`make install` there). Each side runs its own code, its own command line and
its own benchmarks.posting, on a fresh database of one server, with the same messages. Rates are messages per second; a
ratio above 1 says that this tree is faster. Processor time is that of the client alone: neighbours on the machine
hardly touch it.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.load import sample_messages
from benchmarks.servers import ROOT, database_server, fresh_database

_MEASURES = ("receiving", "posting", "receiving, processor time", "posting, processor time")

# What each side runs with its own modules. What a process of posting takes to start is measured on the empty inbox.
_MEASURE = """
import json, resource, sys, time
from pathlib import Path
from benchmarks.posting import fill_inbox, measure_posting
from core.store.engine import create_database_engine
from workers.cli import run

def posted():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    rate = measure_posting(engine, 500, processes=1)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return rate, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

for command in (["db", "upgrade"], ["program", "apply", "config/programs/online-retail.yaml"]):
    assert run(command) == 0
engine = create_database_engine(sys.argv[1])
messages = [(json.loads(line)["type"], line) for line in Path(sys.argv[2]).read_bytes().splitlines()]
started = time.process_time()
receiving = fill_inbox(engine, messages, 16)
receiving_seconds = time.process_time() - started
posting, posting_seconds = posted()
_, start_seconds = posted()
count = len(messages)
print(json.dumps([receiving, posting, count / receiving_seconds, count / (posting_seconds - start_seconds)]))
"""


def main() -> None:
    """Measure in turn, print every ratio and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="the folder of the other checkout")
    parser.add_argument("--messages", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database-url", help="another server than the embedded one; it gets databases of its own")
    arguments = parser.parse_args()
    ratios: list[list[float]] = []
    with TemporaryDirectory() as folder, database_server(arguments.database_url) as url:
        file = Path(folder) / "messages.ndjson"
        file.write_bytes(b"\n".join(body for _, body in sample_messages(arguments.messages)))
        for number in range(arguments.rounds):
            # What goes first finds colder caches.
            pair = (ROOT, arguments.checkout) if number % 2 else (arguments.checkout, ROOT)
            rates = {side: _measured(side.absolute(), url, file) for side in pair}
            ours, theirs = rates[ROOT], rates[arguments.checkout]
            ratios.append([our / their for our, their in zip(ours, theirs, strict=True)])
            for measure, our, their in zip(_MEASURES, ours, theirs, strict=True):
                print(f"{measure}: here {our:,.0f}, there {their:,.0f}, ratio {our / their:.2f}", flush=True)
    for measure, of_rounds in zip(_MEASURES, zip(*ratios, strict=True), strict=True):
        print(f"{measure}: {', '.join(f'{ratio:.2f}' for ratio in of_rounds)}; median {median(of_rounds):.2f}")


def _measured(checkout: Path, server_url: str, file: Path) -> list[float]:
    python = sys.executable if checkout == ROOT else str(checkout / ".venv" / "bin" / "python")
    with fresh_database(server_url, "loyalty_bench_against", has_tables=False) as engine:
        url = engine.url.render_as_string(hide_password=False)
        done = subprocess.run(
            [python, "-c", _MEASURE, url, str(file)],
            cwd=checkout,
            env={**os.environ, "LOYALTY_DATABASE_URL": url, "PYTHONPATH": str(checkout)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
