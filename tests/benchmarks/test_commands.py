"""Every command of the benchmarks, and the targets of make that try promises by force, in a form of a few seconds."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.store.proof.invariants import CHECKS
from tests.conftest import Servers
from tests.pages import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SAMPLE = "workers/demo/online_retail_sample.ndjson.gz"
PROGRAM = "config/programs/online-retail.yaml"
#: Two orders, one of a guest, what was cancelled of the other, and what fits no sale.
RETAIL_ROWS = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,A,,2,2011-01-01 10:00:00,1.00,7,United Kingdom
2,A,,1,2011-01-02 10:00:00,1.00,,United Kingdom
C3,A,,-1,2011-01-03 10:00:00,1.00,7,United Kingdom
C4,B,,-1,2011-01-04 10:00:00,1.00,7,United Kingdom
"""
#: Commands of benchmarks/, each with what makes it small; {csv}, {folder} and servers are filled in.
SMALL = {
    "python -m benchmarks.online_retail": "{csv} --out {folder}/retail.ndjson",
    "python -m benchmarks.make_demo_sample": "{csv} --folder {folder} --guests 1 --unknown 1",
    "python -m benchmarks.check_replay": f"{SAMPLE} --program {PROGRAM} --limit 100 --expected-only",
    "python -m benchmarks.capacity": "--accounts 1000 --entries 100000",
    "python -m benchmarks.expiry": "--lots 2000 --database-url {database}",
    "python -m benchmarks.proof": "--entries 2000 --limits --database-url {database}",
    "python -m benchmarks.sizes": "--orders 200 --database-url {database}",
    "python -m benchmarks.reports": "--entries 2000 --database-url {database}",
    "python -m benchmarks.simulating": "--orders 1000 --rounds 1 --database-url {database}",
    "python -m benchmarks.worst": (
        "--megabytes 0.1 --message-megabytes-max 1 --lines 50 --refunds 20 --orders 50 "
        "--database-url {database} --broker-url {broker}"
    ),
    "python -m benchmarks.latency": (
        "--rates 10 --seconds 1 --start-seconds 3 --only-named --database-url {database} --broker-url {broker}"
    ),
    "python -m benchmarks.posted_commands": "--messages 100 --rounds 1 --database-url {database}",
    "python -m benchmarks.watching": "--messages 200 --rounds 1 --start-seconds 8 --database-url {database}",
    "python -m benchmarks.importing": "--accounts 300 --database-url {database}",
    "python -m benchmarks.reading": "--accounts 300 --times 20 --database-url {database}",
    "python -m benchmarks.many_rules": "--messages 200 --rounds 1 --processes 1 --database-url {database}",
}
#: Those that other tests of this file run.
OTHERS = {"benchmarks", "benchmarks.usual_way", "benchmarks.no_op", "benchmarks.replay", "benchmarks.against"}


def run(*command: str, **environment: str) -> str:
    """Run a command at the root of this tree; it must end with 0. What it printed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def make(target: str, *arguments: str, folder: Path = ROOT, **environment: str) -> str:
    """Run a target of the Makefile with the Python of this test, and install nothing."""
    python = ("-o", f"{sys.prefix}/.ready", f"VENV={sys.prefix}")
    return run("make", "-C", str(folder), "-f", str(ROOT / "Makefile"), *python, target, *arguments, **environment)


@pytest.fixture
def of_tests(servers: Servers) -> dict[str, str]:
    """The servers of the tests, for commands that start tests or simulations."""
    return {"LOYALTY_TEST_DATABASE_URL": servers.database_url, "LOYALTY_TEST_BROKER_URL": servers.broker_url}


def test_every_command_of_the_benchmarks_is_run_here() -> None:
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for path in ROOT.glob("benchmarks/*.py")
        if 'if __name__ == "__main__":' in path.read_text()
    }
    assert found == OTHERS | {command.removeprefix("python -m ") for command in SMALL}


@pytest.mark.parametrize("command", SMALL)
def test_a_benchmark_ends_well(command: str, servers: Servers, stream_broker_url: str, tmp_path: Path) -> None:
    csv = tmp_path / "retail.csv.gz"
    csv.write_bytes(gzip.compress(RETAIL_ROWS.encode()))
    urls = {"database": servers.database_url, "broker": stream_broker_url}
    arguments = SMALL[command].format(csv=csv, folder=tmp_path, **urls)
    run(sys.executable, *command.split()[1:], *arguments.split())


@pytest.mark.parametrize("sizes", [("--commands", "60", "120"), ("--growth", "100", "300")])
def test_each_check_of_verify_is_timed_in_ledgers_of_two_sizes(servers: Servers, sizes: tuple[str, ...]) -> None:
    printed = run(sys.executable, "-m", "benchmarks.proof", *sizes, "--database-url", servers.database_url)
    assert f"all {len(CHECKS)} checks" in printed
    assert "differences: 0" in printed


def test_the_replay_proves_itself_on_a_part_of_the_sample(
    servers: Servers, stream_broker_url: str, tmp_path: Path
) -> None:
    urls = ("--database-url", servers.database_url, "--broker-url", stream_broker_url)
    command = (
        sys.executable,
        "-m",
        "benchmarks.replay",
        SAMPLE,
        "--limit",
        "100",
        "--data-dir",
        str(tmp_path / "data"),
    )
    assert "changed tables: none" in run(*command, *urls)


def test_make_bench_prints_every_ratio(servers: Servers, stream_broker_url: str, tmp_path: Path) -> None:
    """It runs benchmarks.usual_way, benchmarks.no_op and benchmarks.worst too."""
    sizes = "--messages 200 --usual-messages 20 --start-seconds 1.5"
    sizes += " --commands 50 --latency-seconds 0.5 --watched-messages 100 --watched-rounds 1"
    sizes += " --worst-lines 20 --worst-refunds 10 --worst-orders 200 --reading-accounts 50"
    urls = f"--database-url {servers.database_url} --broker-url {stream_broker_url}"
    printed = make("bench", f"BENCH_ARGUMENTS={sizes} {urls} --out {tmp_path}/bench.json")
    assert len(re.findall(r"x the usual way|of the limit", printed)) == 3
    worst = json.loads((tmp_path / "bench.json").read_text())["worst_intake_ratios"]
    assert {name for name in worst if name not in printed} == set()
    assert (worst["ordinary"], len(worst) > 10) == (1, True)
    assert "into the ledger" in printed
    assert [printed.count(words) for words in ("order to event", "command to answer", "a bare no-op")] == [2, 2, 2]
    assert "An account of 200 orders" in printed
    assert printed.count("all that is shown") == 7


def test_make_simulate_runs_seeds(of_tests: dict[str, str]) -> None:
    assert "0 failed" in make("simulate", "SEEDS=2", **of_tests)


def test_make_stories_tells_stories() -> None:
    assert "20 stories" in (printed := make("stories", "STORIES=20"))
    assert "0 failed" in printed


def test_make_protections_takes_one_out_which_is_noticed(of_tests: dict[str, str]) -> None:
    printed = make("protections", "ONLY=one refund", **of_tests)
    assert "1 protections taken out, 0 of them unnoticed" in printed


def test_make_writes_what_is_generated_where_it_is(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    make("schemas", folder=tmp_path)
    make("docs", folder=tmp_path)
    shutil.copytree(ROOT / "clients", tmp_path / "clients", ignore=shutil.ignore_patterns("__pycache__"))
    make("client", folder=tmp_path)
    assert _written(tmp_path) == _written(ROOT)
    assert len(list(tmp_path.glob("build/loyalty_client-*.whl"))) == 1


def _written(root: Path) -> dict[Path, bytes]:
    files = [*root.glob("docs/**/*.*"), *root.glob("clients/**/*.py")]
    return {path.relative_to(root): path.read_bytes() for path in files if path.suffix != ".pyc"}


def test_two_checkouts_are_measured_in_turn(servers: Servers) -> None:
    """This tree against itself."""
    sizes = ("--messages", "200", "--rounds", "1", "--database-url", servers.database_url)
    printed = run(sys.executable, "-m", "benchmarks.against", ".", *sizes)
    assert [line.split(":")[0] for line in printed.splitlines()[-4:]] == [
        "receiving",
        "posting",
        "receiving, processor time",
        "posting, processor time",
    ]
