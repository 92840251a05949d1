"""Backup beside running workers, and restore, with the very commands of docs/operations.md."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, make_url, text

from core.store.engine import create_database_engine, driver_connection
from core.store.grants import grant_role, grant_views
from tests.acceptance.role_processes import RoleProcesses, Shop, check_books, posted, wait_through
from tests.acceptance.whole_worker import Consumer, wait_until
from tests.database_roles import DatabaseRole, database_role
from tests.factories import PROGRAM_TEXT, as_bytes, order
from tests.pages import ROOT, section_commands
from tests.shell import Shell
from workers.brokers.topology import EVENT_STREAM
from workers.servers.executables import find_programs
from workers.servers.postgres import Postgres

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BACKUP, RESTORE, UPGRADE, GRANT, VERIFY, APPLY, REPLAY, VERIFY_AGAIN = section_commands(
    ROOT / "docs/operations.md", "## Backup and restore", "## Upgrade"
)
#: A program that was applied after the backup, and an order of its time, which was posted then too.
APPLIED_LATER = PROGRAM_TEXT.replace('bronze: "1"', 'bronze: "2"')
IN_FORCE_FROM, LATER = "2026-04-01T00:00:00+02:00", "2026-04-02T12:00:00+02:00"


@contextmanager
def engine_on(url: str) -> Iterator[Engine]:
    engine = create_database_engine(url)
    yield engine
    engine.dispose()


def client_programs(engine: Engine, folder: Path) -> Path:
    """Where pg_dump and pg_restore of the server's own version are."""
    with engine.connect() as connection:
        major = driver_connection(connection).info.server_version // 10_000
    wheel = find_programs(Postgres.wheel, None, folder)
    found = shutil.which("pg_dump")
    for programs in (wheel, *([Path(found).parent] if found else [])):
        version = subprocess.run([programs / "pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
        if f" {major}." in version:
            return programs
    pytest.skip(f"no pg_dump of PostgreSQL {major}")


class Terminal:
    """A shell in which the commands of the page work: an operator's."""

    def __init__(self, folder: Path, programs: Path, broker_url: str, roles: Mapping[str, DatabaseRole]) -> None:
        self._folder = folder
        self._roles = roles
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "LOYALTY_BROKER_URL": broker_url}

    def type(self, command: str, database_url: str, **variables: str) -> None:
        """Run a command as the owner of the tables of a database."""
        owner_url = database_url.replace("postgresql+psycopg", "postgresql", 1)
        for name, role in self._roles.items():
            command = command.replace(name, role.name)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._folder,
            env={**self.environment, "OWNER_DATABASE_URL": owner_url, "LOYALTY_DATABASE_URL": owner_url, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


class Follower(Consumer):
    """A consumer that keeps its place in the stream of events."""

    def __init__(self, broker_url: str) -> None:
        super().__init__()
        self.open(broker_url)
        self._client = redis.Redis.from_url(broker_url, protocol=2)
        self._place: Any = b"-"

    def _streamed(self) -> list[bytes]:
        entries: Any = self._client.xrange(EVENT_STREAM, min=self._place)
        if entries:
            self._place = b"(" + entries[-1][0]
        return [fields[b"event"] for _, fields in entries]

    def forget(self, since: str) -> None:
        """What the page tells consumers to do."""
        self.events = {event_id: event for event_id, event in self.events.items() if event["time"] < since}

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def roles(own_database_url: str, empty_database_url: str) -> Iterator[dict[str, DatabaseRole]]:
    """The roles that the page names, on a database that will be lost; they have nothing on the empty one yet."""
    with ExitStack() as stack:
        made = {
            name: stack.enter_context(database_role(own_database_url, f"{name[:4]}_"))
            for name in ("loyalty_worker", "tableau", "support")
        }
        with engine_on(own_database_url) as owner, owner.begin() as connection:
            grant_role(connection, made["loyalty_worker"].name, read_only=False)
            grant_views(connection, made["tableau"].name)
            grant_role(connection, made["support"].name, read_only=True)
        yield made
        with engine_on(empty_database_url) as owner, owner.begin() as connection:
            for role in made.values():
                connection.execute(text(f"GRANT {role.name} TO CURRENT_USER"))
                connection.execute(text(f"DROP OWNED BY {role.name}"))


@pytest.fixture
def shop(stream_broker_url: str) -> Iterator[Shop]:
    opened = Shop(stream_broker_url)
    yield opened
    opened.close()


@pytest.fixture
def processes(tmp_path: Path, stream_broker_url: str) -> Iterator[RoleProcesses]:
    started = RoleProcesses(
        tmp_path, {"LOYALTY_BROKER_URL": stream_broker_url, "LOYALTY_INTAKE_IDLE_CLAIM_SECONDS": "2"}
    )
    yield started
    started.kill()


@pytest.fixture
def follower(stream_broker_url: str) -> Iterator[Follower]:
    follower = Follower(stream_broker_url)
    yield follower
    follower.close()


def wait_posted(engine: Engine, processes: RoleProcesses) -> None:
    """Until the workers have posted some more."""
    goal = posted(engine) + 50
    wait_until(lambda: posted(engine) > goal or processes.exited() != {}, processes.logs)
    assert processes.exited() == {}, processes.logs()


def sell_later(shop: Shop) -> list[bytes]:
    """An order that earns two points by the program that was applied after the backup, and one by that before."""
    shop.messages.append(as_bytes(order("later", "1.00", customer_id="c0", time=LATER)))
    shop.points["c0"] += 2
    return shop.messages[-1:]


def may_read(role: DatabaseRole, database_url: str, relation: str) -> bool:
    with engine_on(database_url) as owner, owner.connect() as connection:
        asked = text("SELECT has_table_privilege(:role, :relation, 'SELECT')")
        return bool(connection.execute(asked, {"role": role.name, "relation": relation}).scalar_one())


def check_readers(roles: dict[str, DatabaseRole], database_url: str) -> None:
    assert may_read(roles["tableau"], database_url, "loyalty_accounts")
    assert may_read(roles["support"], database_url, "accounts")


def check_consumer(follower: Follower, restored: Engine) -> None:
    with restored.connect() as connection:
        accounts = connection.execute(text("SELECT account_id::text, balance FROM accounts")).all()
    assert follower.problems({row.account_id: row.balance for row in accounts}) == []
    subjects = {event["subject"] for event in follower.of_type("loyalty.balance.changed")}
    assert subjects == {row.account_id for row in accounts}


def test_what_a_backup_misses_comes_again_from_the_shop_and_consumers_find_back(
    own_database_url: str,
    empty_database_url: str,
    stream_broker_url: str,
    roles: dict[str, DatabaseRole],
    processes: RoleProcesses,
    shop: Shop,
    follower: Follower,
    tmp_path: Path,
) -> None:
    (tmp_path / "high-street.yaml").write_text(APPLIED_LATER)
    applied = {"program": str(tmp_path / "high-street.yaml"), "in_force_from": IN_FORCE_FROM}

    def worker_url(database_url: str) -> str:
        as_worker = make_url(roles["loyalty_worker"].url)
        return as_worker.set(database=make_url(database_url).database).render_as_string(hide_password=False)

    with engine_on(own_database_url) as lost:
        terminal = Terminal(tmp_path, client_programs(lost, tmp_path), stream_broker_url, roles)
        Shell(lost)
        processes.start("intake-1", "worker-1", "beat-1", LOYALTY_DATABASE_URL=worker_url(own_database_url))
        shop.publish(shop.sell(100))
        wait_through(lost, len(shop.messages), processes.logs)
        with lost.connect() as connection:
            since = connection.execute(text("SELECT now()")).scalar_one().isoformat().replace("+00:00", "Z")
        shop.open()
        wait_posted(lost, processes)
        terminal.type(BACKUP, own_database_url)
        terminal.type(APPLY, own_database_url, **applied)
        wait_posted(lost, processes)
    processes.kill()
    follower.consume()
    shop.close()
    shop.publish([*shop.sell(50), *sell_later(shop)])

    follower.forget(since)
    for command in (RESTORE, UPGRADE, GRANT, VERIFY):
        terminal.type(command, empty_database_url)
    terminal.type(APPLY, empty_database_url, **applied)
    check_readers(roles, empty_database_url)
    with engine_on(empty_database_url) as restored:
        assert 100 < posted(restored) < len(shop.messages)
        processes.start("intake-1", "worker-1", "beat-1", LOYALTY_DATABASE_URL=worker_url(empty_database_url))
        shop.publish(shop.messages[100:])
        wait_through(restored, len(shop.messages), processes.logs)
        terminal.type(REPLAY, empty_database_url, since=since)
        terminal.type(VERIFY_AGAIN, empty_database_url)
        check_books(restored, shop)
        follower.consume()
        check_consumer(follower, restored)
