"""A release takes over from the one before, role by role and under load; nothing stops, nothing is lost or doubled."""

import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from core.store.engine import create_database_engine
from core.store.migrate import current_revision, head_revision, upgrade
from tests.acceptance.role_processes import ROOT, RoleProcesses, Shop, check_books, posted, wait_through
from tests.acceptance.whole_worker import Consumer, wait_until
from tests.shell import Shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: The last commit before the tables of this release.
PREVIOUS = "f490cbe"


@pytest.fixture
def previous_tree(tmp_path: Path) -> Path:
    """The sources of the release before."""
    try:
        archive = subprocess.run(["git", "archive", PREVIOUS], cwd=ROOT, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no git: the release before is taken from the repository's history")
    if archive.returncode != 0:
        pytest.skip(f"commit {PREVIOUS}, the release before, is not here (a shallow clone?): {archive.stderr.decode()}")
    tree = tmp_path / "previous"
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(tree, filter="data")
    return tree


@pytest.fixture
def processes(tmp_path: Path, empty_database_url: str, stream_broker_url: str) -> Iterator[RoleProcesses]:
    started = RoleProcesses(
        tmp_path,
        {
            "LOYALTY_DATABASE_URL": empty_database_url,
            "LOYALTY_BROKER_URL": stream_broker_url,
            "LOYALTY_INTAKE_IDLE_CLAIM_SECONDS": "2",
        },
    )
    yield started
    started.kill()


@pytest.fixture
def shop(stream_broker_url: str) -> Iterator[Shop]:
    opened = Shop(stream_broker_url)
    yield opened
    opened.close()


def run_previous(tree: Path, database_url: str, *arguments: str) -> None:
    """A command of the release before."""
    done = subprocess.run(
        [sys.executable, "-m", "workers", *arguments],
        cwd=tree,
        env={"PYTHONPATH": str(tree), "LOYALTY_DATABASE_URL": database_url},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_release_before_goes_on_through_the_migrations_and_beside_this_one(
    previous_tree: Path,
    processes: RoleProcesses,
    shop: Shop,
    empty_database_url: str,
    stream_broker_url: str,
) -> None:
    engine = create_database_engine(empty_database_url)

    def sold_on(step: str) -> None:
        """What the shop sells goes on being posted by who is there now, and nobody has ended."""
        goal = posted(engine) + 50
        wait_until(lambda: posted(engine) >= goal or processes.exited() != {}, lambda: f"{step}\n{processes.logs()}")
        assert processes.exited() == {}, f"{step}\n{processes.logs()}"

    run_previous(previous_tree, empty_database_url, "db", "upgrade")
    Shell(engine)  # puts the usual program in force
    assert current_revision(engine) == "0001"
    processes.start("intake-1", "worker-1", "beat-1", tree=previous_tree)
    shop.open()
    sold_on("the release before, alone")
    upgrade(engine)
    assert current_revision(engine) == head_revision()
    sold_on("the release before, on the new tables")
    processes.start("intake-2", "worker-2", "beat-2")
    sold_on("both releases")
    processes.stop("worker-1")
    sold_on("the new worker, with intake and beat of the release before")
    processes.stop("intake-1", "beat-1")
    sold_on("this release, alone")
    shop.close()
    wait_through(engine, len(shop.messages), processes.logs)
    check_books(engine, shop)
    consumer = Consumer()
    consumer.open(stream_broker_url)
    consumer.consume()
    with engine.connect() as connection:
        accounts = connection.exec_driver_sql("SELECT account_id::text, balance FROM accounts").all()
    assert consumer.problems({row.account_id: row.balance for row in accounts}) == []
    engine.dispose()
