"""An import of many accounts by the real command: rows per second, memory, and what a second run costs.

python -m benchmarks.importing --accounts 200000

Each account has a lot with its dates and a card, which makes three messages of it, and each tenth has a tier. The
command runs as a process of its own on a fresh database, without workers. Its memory, with that of the processes that
post beside it, is looked at when a tenth and a half of the accounts are there, and at its peak: between them stands
what grows with the file.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Engine, text

from benchmarks.servers import PROGRAM_FILE, database_server, fresh_database
from core.messages.program_files.program_file import load_program
from core.store.proof.verify import verify_ledger

_HEADER = "customer_id,account_id,enrolled_at,points,earned_at,expires_at,card,tier,tier_until\n"
_POLL_SECONDS = 1.0
_TENTH, _HALF = 10, 2


class Run(NamedTuple):
    """One run of the command."""

    seconds: float
    at_tenth_mib: float  #: memory, when a tenth of the accounts was there
    at_half_mib: float
    peak_mib: float


def main() -> int:
    """Import, verify, import again, print. Exit code 1 if anything differs from the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=200_000)
    parser.add_argument("--database-url", help="another server than the embedded one; it gets a database of its own")
    arguments = parser.parse_args()
    program = load_program(PROGRAM_FILE)
    with (
        database_server(arguments.database_url) as url,
        fresh_database(url, "loyalty_bench_import", program) as engine,
        tempfile.TemporaryDirectory() as folder,
    ):
        file = Path(folder, "bench.csv")
        tier_id = program.tiers[-1].tier_id
        points = _write(file, arguments.accounts, tier_id)
        first = _imported(engine, file, arguments.accounts)
        again = _imported(engine, file, arguments.accounts)
        rate, rate_again = arguments.accounts / first.seconds, arguments.accounts / again.seconds
        print(
            f"{arguments.accounts:,} accounts: {rate:,.0f} per second; again, all known: {rate_again:,.0f} per second"
        )
        print(
            f"memory: {first.at_tenth_mib:,.0f} MiB at a tenth, {first.at_half_mib:,.0f} MiB at a half,"
            f" {first.peak_mib:,.0f} MiB at most",
            flush=True,
        )
        with engine.begin() as connection:
            found = connection.execute(text("SELECT count(*), sum(balance) FROM accounts")).one()
        with engine.connect() as connection:
            differences = verify_ledger(connection)
    is_right = tuple(found) == (arguments.accounts, points)
    print(f"as the file says: {is_right}; differences in the books: {len(differences)}")
    return 0 if is_right and not differences else 1


def _write(file: Path, accounts: int, tier_id: str) -> int:
    """A file of so many accounts. Returns the sum of their points."""
    points = 0
    with file.open("w") as rows:
        rows.write(_HEADER)
        for number in range(accounts):
            tier = f"{tier_id},2090-01-01" if number % _TENTH == 0 else ","
            lot = number % 900 + 1
            points += lot
            rows.write(f"C-{number},bench-{number},2021-05-03,{lot},2026-02-01,2090-12-31,{number:012d},{tier}\n")
    return points


def _imported(engine: Engine, file: Path, accounts: int) -> Run:
    url = engine.url.render_as_string(hide_password=False)
    environment = {**os.environ, "LOYALTY_DATABASE_URL": url, "LOYALTY_DATA_DIR": str(file.parent)}
    started = time.monotonic()
    command = [sys.executable, "-m", "workers", "import", "accounts", str(file)]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    at: dict[int, float] = {}
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, memory := _memory_mib(process.pid))
        with engine.begin() as connection:
            count = connection.execute(text("SELECT count(*) FROM accounts")).scalar_one() if _HALF not in at else 0
        for share in (_TENTH, _HALF):
            if count * share >= accounts:
                at.setdefault(share, memory)
        time.sleep(_POLL_SECONDS)
    if process.returncode:
        raise SystemExit(process.returncode)
    return Run(time.monotonic() - started, at.get(_TENTH, peak), at.get(_HALF, peak), peak)


def _memory_mib(pid: int) -> float:
    """What the process and its children hold, what they share counted once; those that have just ended hold nothing."""
    held = 0.0
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        held += sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return held
    return held + sum(_memory_mib(int(child)) for child in children)


if __name__ == "__main__":
    sys.exit(main())
