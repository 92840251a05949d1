"""Real processes under load: stopped in the middle of it, and with a database that is too slow for what comes in."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import kombu
import psutil
import pytest
import redis

from config.queues import QUEUE_NAMES
from core.store.engine import create_database_engine
from tests.factories import as_bytes, order
from tests.shell import Shell
from workers.brokers import open_shop_publisher
from workers.brokers.topology import EVENT_EXCHANGE, INTAKE_QUEUE, SHOP_EXCHANGE
from workers.heartbeat import HEARTBEAT_VARIABLE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60
BATCH = 50
BODY_BYTES = 20_000


def eventually(condition: Callable[[], Any], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


@pytest.fixture(params=["valkey", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A broker without messages of ours, before and after."""
    if request.param == "valkey":
        yield request.getfixturevalue("stream_broker_url")
        return
    url: str = request.getfixturevalue("rabbitmq_url")
    _forget(url)
    yield url
    _forget(url)


def _forget(url: str) -> None:
    with kombu.Connection(url) as connection:
        channel: Any = connection.channel()
        for queue in (INTAKE_QUEUE, *QUEUE_NAMES):
            channel.queue_delete(queue)
        for exchange in (SHOP_EXCHANGE, EVENT_EXCHANGE, "loyalty.tasks"):
            channel.exchange_delete(exchange)


class Load:
    """A shop's messages, the roles that take them, and what became of them."""

    def __init__(self, broker_url: str, database_url: str, folder: Path) -> None:
        self.broker_url = broker_url
        self.shell = Shell(create_database_engine(database_url), shards=16)
        self._folder = folder
        self._environment = os.environ | {
            "LOYALTY_DATABASE_URL": database_url,
            "LOYALTY_BROKER_URL": broker_url,
            "LOYALTY_INTAKE_BATCH_MESSAGES": str(BATCH),
            "LOYALTY_POSTING_BATCH_MESSAGES": "20",
        }
        self.roles: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        for name in names:
            with (self._folder / f"{name}.log").open("ab") as log:
                self.roles[name] = subprocess.Popen(
                    [sys.executable, "-m", "workers", name],
                    cwd=ROOT,
                    env=self._environment | {HEARTBEAT_VARIABLE: str(self.heart(name))},
                    stdout=log,
                    stderr=log,
                )

    def stop(self, *names: str) -> list[int]:
        """TERM to all of these at once; their exit codes."""
        for name in names:
            self.roles[name].send_signal(signal.SIGTERM)
        return [self.roles[name].wait(SECONDS_MAX) for name in names]

    def slow_down(self, seconds: float, *tables: str) -> None:
        """Let each statement that writes to these tables take longer, until `speed_up`."""
        self.shell.execute("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
                           f"$$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$")  # fmt: skip
        for table in tables:
            self.shell.execute(
                f"CREATE TRIGGER slow AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION slow()"
            )

    def speed_up(self) -> None:
        self.shell.execute("DROP FUNCTION slow CASCADE")

    def heart(self, name: str) -> Path:
        return self._folder / f"{name}.heartbeat"

    def publish(self, messages: int, **over: Any) -> None:
        publisher = open_shop_publisher(self.broker_url)
        bodies = [as_bytes(order(f"o{n}", customer_id=f"c{n % 50}", **over)) for n in range(messages)]
        publisher.publish([("order.completed", body) for body in bodies])
        publisher.close()

    def count(self, state: str = "%") -> int:
        found: int = self.shell.value("SELECT count(*) FROM inbox WHERE state LIKE :state", state=state)
        return found

    def log(self) -> str:
        return "".join(path.read_text(errors="replace")[-2000:] for path in self._folder.glob("*.log"))

    def end(self) -> None:
        for process in self.roles.values():
            process.kill()
            process.wait()
        self.shell.engine.dispose()


@pytest.fixture
def load(broker_url: str, open_database: Callable[[], AbstractContextManager[str]], tmp_path: Path) -> Iterator[Load]:
    with open_database() as database_url:
        load = Load(broker_url, database_url, tmp_path)
        yield load
        load.end()


def test_what_is_stopped_under_load_ends_well_and_nothing_is_delivered_again(load: Load) -> None:
    messages = 1500
    load.slow_down(0.3, "inbox", "entries")  # so that nobody is through when the others have just begun
    load.publish(messages)
    load.start("worker")
    eventually(load.heart("worker").exists, load.log)
    load.start("intake")
    eventually(lambda: load.count("posted"), load.log)
    assert load.stop("intake", "worker") == [0, 0], load.log()
    assert 0 < load.count("posted") < load.count() < messages, "the middle of the work of both"
    load.speed_up()
    load.start("intake")
    eventually(lambda: load.count() == messages, load.log)
    assert load.stop("intake") == [0], load.log()
    load.shell.post()
    assert load.count("posted") == messages
    assert load.shell.value("SELECT max(deliveries) FROM inbox") == 1
    assert load.shell.differences() == []
    assert "Traceback" not in load.log()


def test_a_slow_database_holds_intake_back_which_keeps_little_in_memory_goes_on_beating_and_catches_up(
    load: Load,
) -> None:
    messages = 1500  # of 30 MB together
    load.slow_down(0.3, "inbox")
    load.publish(messages, note="x" * BODY_BYTES)
    load.start("intake")
    eventually(lambda: load.count() > BATCH, load.log)
    intake = psutil.Process(load.roles["intake"].pid)
    at_first_bytes = intake.memory_info().rss
    beats: set[int] = set()
    looks = 0
    while load.count() < 10 * BATCH:
        beats.add(load.heart("intake").stat().st_mtime_ns)
        stored, waiting = load.count(), ready(load.broker_url)
        if load.count() == stored:  # nothing was stored between the two looks
            looks += 1
            assert messages - stored - waiting <= 3 * BATCH, "the rest stays with the broker"
    assert len(beats) > 3
    assert looks > 3
    assert intake.memory_info().rss - at_first_bytes < 10_000_000
    assert load.count() < messages
    load.speed_up()
    eventually(lambda: load.count() == messages, load.log)
    assert load.stop("intake") == [0]
    assert load.shell.value("SELECT max(deliveries) FROM inbox") == 1


def ready(broker_url: str) -> int:
    """Messages that wait at the broker and are not under way to anybody."""
    if broker_url.startswith("redis"):
        with redis.Redis.from_url(broker_url, protocol=2) as client:
            pending: Any = client.xpending("shop.events", "loyalty")
            return int(client.xlen("shop.events")) - int(pending["pending"])
    with kombu.Connection(broker_url) as connection:
        channel: Any = connection.channel()
        return int(channel.queue_declare(INTAKE_QUEUE, passive=True).message_count)
