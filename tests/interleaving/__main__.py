"""`python -m tests.interleaving`: many seeds, or one with the trace of its schedule."""
# ruff: noqa: T201  # a command prints what it found

import argparse
import os
import signal
import sys
import time
from contextlib import closing

from tests.interleaving.interleaving import Result, Total, be_silent, simulate_all
from tests.interleaving.stage import open_server

_TELL_SECONDS = 10


def main() -> int:
    """Print what came of the seeds; 1 if one failed."""
    given = _arguments()
    be_silent()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # the databases are to be dropped then too
    seeds = (
        [given.seed]
        if given.seed is not None
        else [*given.first, *range(given.from_seed, given.from_seed + given.seeds)]
    )
    started, told_at = time.monotonic(), time.monotonic()
    total, failed = Total(), 0
    with (
        open_server(os.environ.get("LOYALTY_TEST_DATABASE_URL")) as server_url,
        closing(simulate_all(server_url, seeds, given.jobs, given.dies_at)) as results,
    ):
        for result in results:
            total.add(result)
            if given.trace:
                print(*result.trace, sep="\n")
            if result.problems:
                failed += 1
                _tell(result, given.dies_at)
            if failed and not given.keep_going:
                break
            if time.monotonic() - told_at > _TELL_SECONDS:
                told_at = time.monotonic()
                print(f"... {total}", flush=True)
    seconds = time.monotonic() - started
    print(f"{total}; {total.seeds / seconds:.1f} seeds per second; {failed} failed")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.interleaving", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument(
        "--dies-at", help="let the first actor that comes to this place (of a trace) die, and nobody else"
    )
    parser.add_argument("--trace", action="store_true", help="print every step of the schedule")
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds to run (200)")
    parser.add_argument("--from", dest="from_seed", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--first", type=int, nargs="*", default=[], help="seeds to run before the others")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one per core)")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first seed that fails")
    return parser.parse_args()


def _tell(result: Result, dies_at: str | None) -> None:
    at = "" if dies_at is None else f" --dies-at '{dies_at}'"
    print(f"seed {result.seed} failed:", *result.problems, sep="\n  ")
    print(f"  replay it: python -m tests.interleaving --seed {result.seed}{at} --trace", flush=True)
    if result.races:
        print(f"  {result.races} time(s) the server decided who came first, so that it may take several replays")


if __name__ == "__main__":
    sys.exit(main())
