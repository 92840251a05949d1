"""A release takes over from the one before, role by role and under load; nothing stops, nothing is lost or doubled."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.store.engine import create_database_engine
from core.store.migrate import current_revision, head_revision, upgrade
from tests.acceptance.role_processes import ROOT, RoleProcesses, Shop, check_books, posted, wait_through
from tests.acceptance.whole_worker import Consumer, wait_until
from tests.shell import Shell
from tests.store.made_up_release import REVISION, copy_release

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def later_tree(tmp_path: Path) -> Path:
    """The sources of the release after this one."""
    return copy_release(tmp_path)


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


def run_at(tree: Path, database_url: str, *arguments: str) -> int:
    """A command of the release in `tree`: its exit code, which is 0 or 1."""
    done = subprocess.run(
        [sys.executable, "-m", "workers", *arguments],
        cwd=tree,
        env={"PYTHONPATH": str(tree), "LOYALTY_DATABASE_URL": database_url},
        capture_output=True,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode


def test_this_release_goes_on_through_the_migrations_and_beside_the_next_one(
    later_tree: Path,
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

    upgrade(engine)
    Shell(engine)  # puts the usual program in force
    assert current_revision(engine) == head_revision()
    processes.start("intake-1", "worker-1", "beat-1")
    shop.open()
    sold_on("this release, alone")
    assert run_at(later_tree, empty_database_url, "db", "upgrade", "--check") == 1
    assert run_at(later_tree, empty_database_url, "db", "upgrade") == 0
    assert current_revision(engine) == REVISION
    assert run_at(later_tree, empty_database_url, "db", "upgrade", "--check") == 0
    assert run_at(ROOT, empty_database_url, "db", "upgrade", "--check") == 1, "to this release the tables are newer"
    assert run_at(ROOT, empty_database_url, "db", "current") == 0, "and it can work on them all the same"
    sold_on("this release, on the later tables")
    processes.start("intake-2", "worker-2", "beat-2", tree=later_tree)
    sold_on("both releases")
    processes.stop("worker-1")
    sold_on("the later worker, with intake and beat of this release")
    processes.stop("intake-1", "beat-1")
    sold_on("the later release, alone")
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
