"""`python -m tests.protections`: take each protection out of a copy of the tree and see that something goes red."""
# ruff: noqa: T201  # a command prints what it found

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import NamedTuple

from tests.interleaving.interleaving import be_silent
from tests.protections.protection import Protection, pytest_command, simulation_command
from tests.protections.table import PROTECTIONS
from workers.embedded import EmbeddedServers, remove_data

ROOT = Path(__file__).parents[2]
_PARTS = ("core", "config", "tasks", "workers", "clients", "tests", "pyproject.toml")
RABBITMQ = "LOYALTY_TEST_RABBITMQ_URL"
_SECONDS_MAX = 500
_SEEDS, _CONTROL_SEEDS = 200, 20
_RABBITMQ = Lock()  #: there is one, and its queues have fixed names
_FAILED = 1  #: of pytest and of the simulation: something was tried and failed; other codes say that nothing was


class Run(NamedTuple):
    """What a detector did."""

    code: int | None  #: 0: green; 1: red; None: it could not say
    said: str  #: first line of the failure


class Verdict(NamedTuple):
    """What became of the detector once the protection was gone."""

    protection: Protection
    run: Run
    seconds: float


def main() -> int:
    """Print a table; 1 if a protection can be taken out and nobody notices."""
    given = _arguments()
    be_silent()
    chosen = [row for row in PROTECTIONS if given.only in row.name]
    with TemporaryDirectory(prefix="loyalty-protections-") as folder, _servers(Path(folder)) as environment:
        tried = [row for row in chosen if not row.needs_rabbitmq or RABBITMQ in environment]
        with ThreadPoolExecutor(given.jobs) as pool:
            for run in list(pool.map(lambda detector: _run_in_copy(detector, environment), _controls(tried))):
                if run.code != 0:
                    print(f"With all protections in place something is red already: {run.said}")
                    return 1
            verdicts = pool.map(lambda row: _try(row, environment), tried)
            survived = [verdict.protection.name for verdict in verdicts if not _tell(verdict)]
    for row in chosen:
        if row not in tried:
            print(f"{row.name}: not tried, since {RABBITMQ} is not set")
    print(f"{len(tried)} protections taken out, {len(survived)} of them unnoticed")
    return 1 if survived else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.protections", description=__doc__)
    parser.add_argument("--only", default="", help="part of a protection's name")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time (one per core)")
    return parser.parse_args()


@contextmanager
def _servers(folder: Path) -> Iterator[dict[str, str]]:
    """One set of servers for all, as an environment; what is named in ours already is taken."""
    names = ("LOYALTY_TEST_DATABASE_URL", "LOYALTY_TEST_BROKER_URL")
    environment = dict(os.environ)
    servers = EmbeddedServers(folder, postgres=names[0] not in environment, valkey=names[1] not in environment)
    started = servers.start()
    try:
        for name, url in zip(names, (started.database_url, started.broker_url), strict=True):
            environment.setdefault(name, url or "")
        yield environment
    finally:
        servers.stop()
        remove_data(folder)


def _controls(rows: Sequence[Protection]) -> list[tuple[str, ...]]:
    """What must be green while nothing is taken out, or a red detector would mean nothing."""
    seeds = [seed for row in rows if not row.tests for seed in row.seeds]
    tests = sorted({test for row in rows for test in row.tests})
    simulation = simulation_command(seeds, _CONTROL_SEEDS)
    return [command for command, wanted in ((simulation, seeds or not tests), (pytest_command(tests), tests)) if wanted]


def _try(protection: Protection, environment: dict[str, str]) -> Verdict:
    started = time.monotonic()
    detector = pytest_command(protection.tests) if protection.tests else simulation_command(protection.seeds, _SEEDS)
    with _RABBITMQ if protection.needs_rabbitmq else nullcontext():
        run = _run_in_copy(detector, environment, protection)
    return Verdict(protection, run, time.monotonic() - started)


def _run_in_copy(detector: Sequence[str], environment: dict[str, str], without: Protection | None = None) -> Run:
    with TemporaryDirectory(prefix="loyalty-without-") as folder:
        copy = Path(folder)
        _copy_tree(copy)
        if without is not None:
            _take_out(without, copy)
        of_copy = {**environment, "PYTHONPATH": f"{copy}:{copy}/clients/python", "PYTHONDONTWRITEBYTECODE": "1"}
        with subprocess.Popen(
            [sys.executable, *detector],
            cwd=copy,
            env=of_copy,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.terminate()  # not killed: it has databases to drop
                process.communicate()
                return Run(None, f"nothing in {_SECONDS_MAX} seconds")
    failure = _first_failure(output)
    if process.returncode and not failure:
        return Run(None, output.strip()[-300:])  # the detector itself failed, though with the same code
    return Run(process.returncode, failure)


def _copy_tree(copy: Path) -> None:
    for name in _PARTS:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)


def _take_out(protection: Protection, copy: Path) -> None:
    for edit in protection.edits:
        path = copy / edit.file
        text = path.read_text()
        if text.count(edit.text) != 1:
            raise SystemExit(f"{protection.name}: its text stands {text.count(edit.text)} times in {edit.file}")
        changed = text.replace(edit.text, edit.replacement)
        compile(changed, str(path), "exec")  # a file that cannot be read would turn everything red
        path.write_text(changed)


def _first_failure(output: str) -> str:
    """The first problem that the simulation tells, or the first error line of pytest."""
    lines = output.splitlines()
    for n, line in enumerate(lines):
        if line.startswith("seed ") and line.endswith(" failed:"):
            return f"{line} {lines[n + 1].strip()}"
        if line.startswith("E  "):
            return line.removeprefix("E").strip()
    return ""


def _tell(verdict: Verdict) -> bool:
    protection, run = verdict.protection, verdict.run
    is_noticed = run.code == _FAILED
    by = " ".join(protection.tests) or "the simulation"
    print(f"{protection.name}: {'noticed' if is_noticed else 'NOT NOTICED'} in {verdict.seconds:.0f} s")
    print(f"  promise: {protection.promise}", f"  by:      {by}", f"  said:    {run.said[:200]}", sep="\n", flush=True)
    return is_noticed


if __name__ == "__main__":
    sys.exit(main())
