"""From the shop's message to the consumer's event, through the real processes, whatever happens to them on the way."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from celery import Celery
from pydantic import SecretStr

from config.settings import ROLE_NAMES, Settings
from core.errors import BrokerUnavailableError
from tests.acceptance.whole_worker import CONFIRMED, WholeWorker, kill, wait_until
from tests.factories import as_bytes, line, order, refund
from workers.bootstrap import Addresses
from workers.child_processes import is_alive
from workers.stack import supervisor_of

pytestmark = pytest.mark.slow


def told(worker: WholeWorker, customer_id: str) -> list[tuple[str, Any]]:
    """What the consumer has heard of a customer's points: kind and points of each entry, new tiers."""
    worker.consumer.consume()
    heard = []
    for event in worker.consumer.events.values():
        data = event["data"]
        if data.get("customer_id") == customer_id:
            heard.append((data.get("kind") or event["type"].split(".")[1], data.get("points", data["tier"])))
    return heard


def take(worker: WholeWorker, *events: Any) -> None:
    """Publish events that are new to the worker, and wait until they are through."""
    before, _ = worker.inbox()
    worker.publish(*map(as_bytes, events))
    worker.wait_through(before + len(events))


def test_an_order_and_its_refunds_are_told_in_their_order(worker: WholeWorker) -> None:
    lines = [line("1", "60.00", quantity=3), line("2", "40.00")]
    take(
        worker,
        order("way-1", customer_id="way", lines=lines),
        refund("way-line", "way-1", lines=[{"line_id": "1", "quantity": 1}]),
        refund("way-amount", "way-1", net="20.00"),
        refund("way-full", "way-1"),
    )
    changes = [("accrual", 100), ("clawback", -20), ("clawback", -20), ("clawback", -60)]
    assert told(worker, "way") == [("account", "bronze"), *changes]
    assert worker.balance("way") == 0


def test_a_refund_that_is_first_waits_and_follows_its_order(worker: WholeWorker) -> None:
    take(worker, refund("early", "late-1", net="30.00"))
    assert [letter["order_id"] for letter in worker.loyalty("dead", "list", "--waiting", "--json")["messages"]] == [
        "late-1"
    ]
    take(worker, order("late-1", customer_id="late"))
    assert told(worker, "late") == [("account", "bronze"), ("accrual", 100), ("clawback", -30)]


def test_a_guests_order_earns_nothing_and_its_refund_takes_nothing(worker: WholeWorker) -> None:
    take(worker, order("guest-1", customer_id=None), refund("guest-refund", "guest-1"))
    states = worker.rows("SELECT state FROM inbox WHERE subject = 'order guest-1'")
    assert [row.state for row in states] == ["posted", "posted"]
    assert worker.value("SELECT count(*) FROM entries WHERE order_id = 'guest-1'") == 0


def test_an_order_that_reaches_a_threshold_moves_the_customer_up(worker: WholeWorker) -> None:
    take(worker, order("tier-1", "500.00", customer_id="tier"), order("tier-2", "10.00", customer_id="tier"))
    assert told(worker, "tier") == [("account", "bronze"), ("accrual", 500), ("tier", "silver"), ("accrual", 15)]


def test_repeats_change_nothing_and_tell_nothing(worker: WholeWorker) -> None:
    event = order("twice-1", customer_id="twice")
    take(worker, event)
    repeats = worker.value("SELECT sum(deliveries - 1) FROM inbox")
    worker.publish(as_bytes(event), as_bytes([event, event]))
    worker.wait_through(repeats=repeats + 3)
    take(worker, order("twice-1", customer_id="twice", event_id="another-event"))
    assert told(worker, "twice") == [("account", "bronze"), ("accrual", 100)]
    states = worker.rows("SELECT state FROM inbox WHERE subject = 'order twice-1' ORDER BY inbox_id")
    assert [row.state for row in states] == ["posted", "replayed"]


def celery_of_a_shop(worker: WholeWorker) -> Celery:
    shop = Celery("shop", broker=worker.broker_url, set_as_current=False)
    shop.conf.broker_transport_options = CONFIRMED if worker.broker_url.startswith("amqp") else {}
    return shop


def test_a_producer_that_speaks_celery_needs_only_the_tasks_name_and_queue(worker: WholeWorker) -> None:
    before, _ = worker.inbox()
    with celery_of_a_shop(worker) as shop:
        for events in (order("celery-1", customer_id="celery"), [order("celery-2", customer_id="celery")]):
            shop.send_task("loyalty.submit", args=[events], queue="loyalty.submit")
        shop.send_task("loyalty.submit", kwargs={"event": order("celery-3")}, queue="loyalty.submit")
    worker.wait_through(before + 3)
    assert told(worker, "celery") == [("account", "bronze"), ("accrual", 100), ("accrual", 100)]
    wrongly_called = worker.rows("SELECT detail FROM inbox WHERE reason = 'unusable_task'")
    assert [row.detail.partition(";")[0] for row in wrongly_called] == [
        "the task has the argument event, whose name is events"
    ]


class Load:
    """A shop that goes on selling whatever breaks: orders of one point, of which every tenth is given back."""

    def __init__(self, worker: WholeWorker, name: str, orders: int = 600, customers: int = 30) -> None:
        self._worker = worker
        self._name = name
        self.points: dict[str, int] = {}
        self.messages: list[bytes] = []
        for number in range(orders):
            order_id, customer_id = f"{name}-{number}", f"{name}-{number % customers}"
            self.messages.append(as_bytes(order(order_id, "1.00", customer_id=customer_id)))
            self.points[customer_id] = self.points.get(customer_id, 0) + 1
            if number % 10 == 9:
                self.messages.append(as_bytes(refund(order_id, order_id)))
                self.points[customer_id] -= 1
        self._before, _ = worker.inbox()
        self._seller = threading.Thread(target=self._sell)
        self._seller.start()

    def wait_stored(self, share: float) -> None:
        """Until this share of it is in the inbox: the middle of the work."""
        wanted = self._before + int(len(self.messages) * share)
        wait_until(lambda: self._worker.inbox()[0] >= wanted, self._worker.log)

    def check(self) -> None:
        """All of it is posted, exactly once, and told without a gap."""
        self._seller.join()
        worker = self._worker
        worker.wait_through(self._before + len(self.messages))
        pattern = f"{self._name}-%"
        states = worker.rows("SELECT state FROM inbox WHERE subject LIKE 'order ' || :p", p=pattern)
        assert Counter(row.state for row in states) == {"posted": len(self.messages)}
        rows = worker.rows("SELECT account_id, customer_id, balance FROM accounts WHERE customer_id LIKE :p", p=pattern)
        assert {row.customer_id: row.balance for row in rows} == self.points
        worker.consumer.consume()
        assert worker.consumer.problems({str(row.account_id): row.balance for row in rows}) == []
        assert worker.differences() == []

    def _sell(self) -> None:
        left = self.messages
        while left:
            try:
                self._worker.publish(*left[:20])
            except BrokerUnavailableError:
                threading.Event().wait(0.1)  # as a shop: again, all of what was not confirmed
            else:
                left = left[20:]


@pytest.fixture
def second_of_each(worker: WholeWorker) -> Iterator[None]:
    processes = worker.run_beside("intake", "worker", "beat", LOYALTY_INTAKE_NAME="second")
    yield
    for process in processes:
        process.terminate()


def test_two_of_each_process_do_no_harm(worker: WholeWorker, second_of_each: None) -> None:
    load = Load(worker, "two")
    load.check()


def test_processes_that_are_killed_are_started_again_and_lose_nothing(worker: WholeWorker) -> None:
    wait_until(lambda: len(worker.children_of("worker")) == 2, worker.log)
    load = Load(worker, "killed", orders=1500)
    load.wait_stored(0.1)
    kill(worker.children_of("worker")[0])
    load.wait_stored(0.3)
    roles = {role: worker.pid_of(role) for role in ROLE_NAMES}
    kill(*roles.values())
    load.check()
    wait_until(lambda: all(worker.pid_of(role) != pid for role, pid in roles.items()), worker.log)


def test_a_stalled_process_is_replaced(worker: WholeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    if not worker.broker_url.startswith("redis"):
        pytest.skip("one broker will do: what it does with a dead consumer's messages is asked above")
    monkeypatch.setenv("LOYALTY_INTAKE_NAME", "stalling")
    database_url = worker.engine.url.render_as_string(hide_password=False)
    settings = Settings(
        data_dir=worker.folder / "stalling",
        database_url=SecretStr(database_url),
        broker_url=SecretStr(worker.broker_url),
    )
    addresses = Addresses(database_url, worker.broker_url)
    supervisor = supervisor_of(settings, addresses, ("intake",), log_folder=worker.folder / "stalling")
    heartbeat = worker.folder / "stalling" / "heartbeats" / "intake.heartbeat"

    def has_begun() -> bool:
        supervisor.step()
        return heartbeat.exists()

    def is_restarted() -> bool:
        supervisor.step()
        return supervisor.status()["intake"].restarts > restarts

    supervisor.start()
    try:
        wait_until(has_begun, supervisor.status)
        stalled, restarts = supervisor.status()["intake"].pid, supervisor.status()["intake"].restarts
        assert stalled is not None
        (child,) = supervisor._children  # noqa: SLF001  # a start may take as long as it likes, the stall is to be short
        child.role = replace(child.role, stall_seconds=1)
        kill(stalled, number=signal.SIGSTOP)
        load = Load(worker, "stalled", orders=100)
        wait_until(is_restarted, supervisor.status)
        load.check()
        assert not is_alive(stalled)
    finally:
        supervisor.stop()


def test_a_killed_broker_is_revived_and_loses_nothing(worker: WholeWorker) -> None:
    if not worker.broker_url.startswith("redis"):
        pytest.skip("this RabbitMQ is not ours to kill")
    load = Load(worker, "broker")
    load.wait_stored(0.3)
    kill(worker.pid_of_server("Valkey"))
    load.check()


def test_a_killed_database_is_revived_and_loses_nothing(worker: WholeWorker) -> None:
    load = Load(worker, "database")
    load.wait_stored(0.3)
    kill(worker.pid_of_server("PostgreSQL"))
    with celery_of_a_shop(worker) as shop:
        shop.send_task("loyalty.submit", args=[order("away-1", customer_id="away")], queue="loyalty.submit")
    load.check()
    wait_until(lambda: worker.rows("SELECT 1 FROM orders WHERE order_id = 'away-1'") != [], worker.log)


def test_what_is_stopped_in_the_middle_goes_on_after_the_next_start(worker: WholeWorker) -> None:
    load = Load(worker, "stopped")
    load.wait_stored(0.3)
    assert worker.stop() == 0
    worker.start()
    load.check()
