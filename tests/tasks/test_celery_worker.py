"""Real processes: intake, a Celery worker and two beats, on a real broker and a real database."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis
from celery import Celery

from config.queues import QUEUE_NAMES
from core.store.engine import create_database_engine
from tests.factories import as_bytes, order, refund
from tests.published import COUNT_UNPUBLISHED
from tests.shell import Shell

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ROLES = ("intake", "worker", "beat", "beat")


class Running(NamedTuple):
    """What a test of the running processes needs."""

    shell: Shell  #: only looks
    broker: "redis.Redis[bytes]"
    broker_url: str

    def publish(self, *messages: bytes) -> None:
        """Publish as a shop does."""
        for message in messages:
            self.broker.xadd("shop.events", {"event": message})

    def events(self) -> list[dict[str, Any]]:
        """What consumers have seen so far, in order."""
        entries: Any = self.broker.xrange("loyalty.events")
        return [json.loads(fields[b"event"]) for _, fields in entries]

    def events_about(self, customer_id: str) -> list[str]:
        """Types of the events about a customer."""
        return [event["type"] for event in self.events() if event["data"].get("customer_id") == customer_id]


def eventually(condition: Callable[[], bool], seconds_max: float = 60) -> None:
    until = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < until, "it did not come about in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def running(
    open_database: Callable[[], AbstractContextManager[str]],
    open_stream_broker: Callable[[], AbstractContextManager[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Running]:
    """All roles; stopped as an operator stops them, which must end well."""
    folder = tmp_path_factory.mktemp("processes")
    with ExitStack() as stack:
        database_url = stack.enter_context(open_database())
        broker_url = stack.enter_context(open_stream_broker())
        broker = stack.enter_context(redis.Redis.from_url(broker_url, protocol=2))
        shell = Shell(create_database_engine(database_url))
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "LOYALTY_DATABASE_URL": database_url,
            "LOYALTY_BROKER_URL": broker_url,
            "LOYALTY_LOG_LEVEL": "warning",
        }
        log = stack.enter_context((folder / "log").open("w+b"))
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "workers", role],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
            for role in ROLES
        ]
        yield Running(shell, broker, broker_url)
        for process in processes:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(60) for process in processes]  # a worker may need half a minute
        shell.engine.dispose()
        log.seek(0)
        lines = log.read().decode().splitlines()
        assert codes == [0] * len(ROLES), lines
        assert [line for line in lines if "Traceback" in line or '"level": "error"' in line] == []


def test_an_order_on_the_stream_comes_out_as_events(running: Running) -> None:
    running.publish(as_bytes(order("s1", customer_id="stream")))
    eventually(lambda: len(running.events_about("stream")) == 2)
    assert running.events_about("stream") == ["loyalty.account.created", "loyalty.balance.changed"]
    assert running.shell.balance("stream") == 100


def test_a_refund_that_was_first_waits_for_its_order_and_both_come_out(running: Running) -> None:
    running.publish(as_bytes(refund("w1", "w1", net="30.00")))
    eventually(lambda: running.shell.value("SELECT count(*) FROM inbox WHERE event_id = 'refunded-w1'") == 1)
    running.publish(as_bytes(order("w1", customer_id="waited")))
    eventually(lambda: len(running.events_about("waited")) == 3)
    assert running.shell.balance("waited") == 70


def test_orders_may_be_submitted_as_a_celery_task(running: Running) -> None:
    events = [order(f"t{n}", customer_id="celery") for n in range(3)]
    with Celery("shop", broker=running.broker_url, set_as_current=False) as shop:
        shop.send_task("loyalty.submit", args=(events,), queue="loyalty.submit")
    eventually(lambda: len(running.events_about("celery")) == 4)
    assert running.shell.balance("celery") == 300


def test_a_lost_nudge_costs_a_sweep_and_no_point(running: Running) -> None:
    # Stored behind the back of the processes: nobody has nudged anybody.
    running.shell.receive(order("n1", customer_id="unnudged"))
    eventually(lambda: len(running.events_about("unnudged")) == 2)


def test_what_is_no_event_is_parked_byte_for_byte_and_told(running: Running) -> None:
    foreign = b'{"task": "somebody.elses", "id": "7", "args": []}'
    running.publish(foreign)
    eventually(lambda: any(event["type"] == "loyalty.message.parked" for event in running.events()))
    [row] = running.shell.rows("SELECT body, reason FROM inbox WHERE state = 'dead'")
    assert (row.body, row.reason) == (foreign, "bad_envelope")


def test_shops_messages_and_celerys_never_share_a_key(running: Running) -> None:
    running.publish(as_bytes(order("k1", customer_id="keys")))
    eventually(lambda: len(running.events_about("keys")) == 2)
    keys = {key.decode() for key in running.broker.scan_iter()}
    ours = {"shop.events", "loyalty.events"}
    assert ours <= keys
    assert {key for key in keys - ours if not key.startswith(("loyalty.", "_kombu."))} == set()
    for queue in QUEUE_NAMES:
        waiting: Any = running.broker.lrange(queue, 0, -1)
        assert not any(b"order.completed" in message for message in waiting)


def test_two_beats_and_every_way_in_left_a_clean_ledger_and_each_event_once(running: Running) -> None:
    running.publish(*(as_bytes(order(f"b{n}", customer_id=f"b{n % 5}")) for n in range(50)))
    eventually(lambda: running.shell.value("SELECT count(*) FROM orders WHERE order_id LIKE 'b%'") == 50)
    eventually(lambda: running.shell.value(COUNT_UNPUBLISHED) == 0)
    ids = [event["id"] for event in running.events()]
    assert len(ids) == len(set(ids)) == running.shell.value("SELECT count(*) FROM outbox")
    assert running.shell.differences() == []
