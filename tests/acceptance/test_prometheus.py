"""A real Prometheus reads a running stack, and each alarm rings by a fault, and falls silent when it is mended."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from core.store.locks import Task
from core.store.outbox import UNPUBLISHED
from core.store.shards import ACCOUNT_SHARDS
from tasks.periodic import audit_ledger
from tests.acceptance.prometheus_server import INSTALLED, Prometheus, free_ports, scraping
from tests.acceptance.whole_worker import WholeWorker, wait_until
from tests.factories import PROGRAM_TEXT, as_bytes, order, refund
from tests.published import COUNT_UNPUBLISHED
from tests.tasks.runtimes import make_runtime
from tests.test_monitoring import RULES, dashboard_expressions
from tests.turns import has_turn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not INSTALLED, reason="no Prometheus: install Debian's package prometheus"),
]
ALARMS = {rule["alert"]: rule["expr"] for rule in RULES}
SHARDS = 16
#: Panels of what has not happened here: no command was given, and nothing was parked, lost or repeated.
EMPTY = {
    "Commands", "Dead letters", "Messages parked", "Runs that did not end well", "annotation Alarms",
}  # fmt: skip


class Stack(NamedTuple):
    """A whole worker, and what Prometheus knows of it."""

    worker: WholeWorker
    prometheus: Prometheus

    def rings(self, alarm: str) -> bool:
        return bool(self.prometheus.query(ALARMS[alarm]))

    def wait(self, alarm: str, *, is_ringing: bool) -> None:
        wait_until(lambda: self.rings(alarm) is is_ringing, lambda: (alarm, self.told()), seconds_max=120)

    def told(self) -> list[tuple[Any, ...]]:
        found = self.prometheus.query('{__name__=~"loyalty_.*_(lag|timestamp|working|live|messages).*"}')
        return [(each["metric"], each["value"][1]) for each in found]


#: What the orders and refunds of the beginning come to, before anything is killed and counts anew.
BEGINNING = {
    'sum(loyalty_messages_received_total{outcome="stored"})': 25,
    'sum(loyalty_messages_posted_total{outcome="posted", type="order.completed"})': 20,
    'sum(loyalty_points_total{kind="accrual", direction="credited", program="test"})': 2000,
    'sum(loyalty_points_total{kind="clawback", direction="debited"})': 50,
    'sum(loyalty_events_published_total{type="loyalty.balance.changed"})': 25,
    "loyalty_inbox_lag_messages": 0,
    'sum(loyalty_role_live{role=~"intake|worker|beat"})': 3,
}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("prometheus")
    first = free_ports(3)
    settings = {
        "LOYALTY_METRICS_PORT": str(first),
        "LOYALTY_SHARDS": str(SHARDS),
        "LOYALTY_CELERY_EVENTS": "true",
    }
    worker = WholeWorker(folder / "data", None, settings)
    try:
        worker.start()
        worker.apply_program(PROGRAM_TEXT)
        with scraping(folder, range(first, first + 3)) as prometheus:
            found = Stack(worker, prometheus)
            wait_until(lambda: prometheus.targets_up() == 3, worker.log, seconds_max=120)
            worker.publish(*(as_bytes(order(f"o{n}", customer_id=f"c{n}")) for n in range(20)))
            worker.publish(*(as_bytes(refund(f"r{n}", f"o{n}", net="10.00")) for n in range(5)))
            worker.wait_through(25)
            for expression, value in BEGINNING.items():
                wait_until(
                    lambda e=expression, v=value: prometheus.value(e) == v,  # type: ignore[misc]
                    lambda e=expression: (e, prometheus.query(e)),  # type: ignore[misc]
                )
            yield found
    finally:
        worker.remove()
    assert worker.stray_lines() == []


def test_prometheus_reads_what_was_posted_as_the_books_have_it_and_no_alarm_rings(stack: Stack) -> None:
    """The fixture has seen that it does, since what other tests kill begins to count anew."""
    for alarm in ALARMS.keys() - {"LoyaltyRoleRestarts"}:
        stack.wait(alarm, is_ringing=False)


def test_every_panel_has_something_to_show(stack: Stack) -> None:
    def is_shown(expression: str) -> bool:
        return bool(stack.prometheus.query(expression.replace("$__rate_interval", "15m")))

    shown = set()
    for where, expression in dashboard_expressions():
        if where.removeprefix("panel ") not in EMPTY:
            wait_until(lambda expression=expression: is_shown(expression), lambda where=where: where)  # type: ignore[misc]
            shown.add(where)
        else:
            is_shown(expression)  # Prometheus takes it
    assert len(shown) > 20


@contextmanager
def dead_letter(worker: WholeWorker) -> Iterator[None]:
    worker.publish(b'{"id": "broken')
    yield
    worker.loyalty("dead", "drop", "--parked-as", "not_json", "--reason", "a test", "--yes")


@contextmanager
def message_that_waits(worker: WholeWorker) -> Iterator[None]:
    worker.publish(as_bytes(refund("early", "late")))
    wait_until(lambda: worker.value("SELECT count(*) FROM inbox WHERE state = 'waiting'") == 1, worker.log)
    moved(worker, "inbox", "received_at", "state = 'waiting'", timedelta(days=2))
    yield
    worker.publish(as_bytes(order("late")))
    worker.wait_through()


@contextmanager
def wrong_balance(worker: WholeWorker) -> Iterator[None]:
    changed(worker, "UPDATE accounts SET balance = balance + 1 WHERE customer_id = 'c7'")
    audit(worker)
    yield
    changed(worker, "UPDATE accounts SET balance = balance - 1 WHERE customer_id = 'c7'")
    audit(worker)


def audit(worker: WholeWorker) -> None:
    for shard in range(ACCOUNT_SHARDS):
        audit_ledger(make_runtime(worker.engine), shard)


@contextmanager
def task_that_does_not_run(worker: WholeWorker) -> Iterator[None]:
    moved(worker, "periodic_runs", "finished_at", "task = 'loyalty.warn_tiers'", timedelta(hours=11))
    yield
    moved(worker, "periodic_runs", "finished_at", "task = 'loyalty.warn_tiers'", -timedelta(hours=11))


@contextmanager
def workers_that_die(worker: WholeWorker) -> Iterator[None]:
    shard = SHARDS + 1  # which nobody posts, so that it stays
    changed(worker, f"INSERT INTO posting_attempts (shard, attempts) VALUES ({shard}, 3)")
    yield
    changed(worker, f"UPDATE posting_attempts SET attempts = 0 WHERE shard = {shard}")


@contextmanager
def inbox_that_somebody_holds(worker: WholeWorker) -> Iterator[None]:
    with held(worker, Task.POSTING, SHARDS):
        worker.publish(as_bytes(order("held", customer_id="held")))
        wait_until(lambda: worker.value("SELECT count(*) FROM inbox WHERE state = 'received'") == 1, worker.log)
        moved(worker, "inbox", "received_at", "state = 'received'", timedelta(minutes=5))
        yield


@contextmanager
def outbox_that_somebody_holds(worker: WholeWorker) -> Iterator[None]:
    with held(worker, Task.RELAY, ACCOUNT_SHARDS):
        worker.publish(as_bytes(order("told", customer_id="told")))
        wait_until(lambda: worker.value(COUNT_UNPUBLISHED) > 0, worker.log)
        moved(
            worker,
            "outbox",
            "created_at",
            f"outbox_id IN (SELECT outbox_id FROM {UNPUBLISHED} AS u)",
            timedelta(minutes=5),
        )
        yield


@contextmanager
def held(worker: WholeWorker, task: Task, shards: int) -> Iterator[None]:
    """Hold the turns of all shards, as a session does that somebody has left open."""
    with worker.engine.connect() as connection:
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        for shard in range(shards):
            wait_until(lambda shard=shard: has_turn(connection, task, shard), worker.log)  # type: ignore[misc]
        yield


@contextmanager
def intake_that_is_stopped(worker: WholeWorker) -> Iterator[None]:
    with supervisor_asleep(worker):
        pid = worker.pid_of("intake")
        os.kill(pid, signal.SIGSTOP)
        worker.publish(as_bytes(order("stopped", customer_id="stopped")))
        moved(worker, "inbox", "received_at", "true", timedelta(minutes=5))
        yield
        os.kill(pid, signal.SIGCONT)
    worker.wait_through()


@contextmanager
def role_that_is_killed(worker: WholeWorker, role: str) -> Iterator[None]:
    with supervisor_asleep(worker):
        os.kill(worker.pid_of(role), signal.SIGKILL)
        yield


@contextmanager
def supervisor_asleep(worker: WholeWorker) -> Iterator[None]:
    assert worker._up is not None  # noqa: SLF001  # the process of `loyalty up`
    os.kill(worker._up.pid, signal.SIGSTOP)  # noqa: SLF001
    try:
        yield
    finally:
        os.kill(worker._up.pid, signal.SIGCONT)  # noqa: SLF001


def changed(worker: WholeWorker, statement: str) -> None:
    with worker.engine.begin() as connection:
        connection.execute(text(statement))


def moved(worker: WholeWorker, table: str, column: str, rows: str, back: timedelta) -> None:
    """As if these rows were so much older."""
    with worker.engine.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET {column} = {column} - :back WHERE {rows}"), {"back": back})


#: At once, in this order, since each takes as long as the state is read and scraped: the last is mended first.
OF_STATE = {
    "LoyaltyDeadLetters": dead_letter,
    "LoyaltyMessageWaitsLong": message_that_waits,
    "LoyaltyLedgerDifference": wrong_balance,
    "LoyaltyPeriodicTaskOverdue": task_that_does_not_run,
    "LoyaltyPostingCrashes": workers_that_die,
    "LoyaltyEventsNotPublished": outbox_that_somebody_holds,
    "LoyaltyInboxLag": inbox_that_somebody_holds,
}
OF_ROLES = {
    "LoyaltyIntakeStuck": intake_that_is_stopped,
    "LoyaltyIntakeDown": lambda worker: role_that_is_killed(worker, "intake"),
    "LoyaltyWorkerDown": lambda worker: role_that_is_killed(worker, "worker"),
    "LoyaltyBeatDown": lambda worker: role_that_is_killed(worker, "beat"),
    "LoyaltyStateUnknown": lambda worker: role_that_is_killed(worker, "beat"),
}


def test_every_alarm_has_its_fault() -> None:
    assert OF_STATE.keys() | OF_ROLES.keys() | {"LoyaltyRoleRestarts"} == ALARMS.keys()


def test_alarms_of_the_state_ring_by_its_faults_and_fall_silent_when_they_are_mended(stack: Stack) -> None:
    with ExitStack() as faults:
        for alarm, fault in OF_STATE.items():
            stack.wait(alarm, is_ringing=False)
            faults.enter_context(fault(stack.worker))
        for alarm in OF_STATE:
            stack.wait(alarm, is_ringing=True)
    for alarm in OF_STATE:
        stack.wait(alarm, is_ringing=False)


@pytest.mark.parametrize("alarm", OF_ROLES)
def test_an_alarm_of_the_roles_rings_by_its_fault_and_falls_silent_when_it_is_mended(stack: Stack, alarm: str) -> None:
    stack.wait(alarm, is_ringing=False)
    fault: AbstractContextManager[None] = OF_ROLES[alarm](stack.worker)
    with fault:
        stack.wait(alarm, is_ringing=True)
    stack.wait(alarm, is_ringing=False)


def test_a_role_that_dies_again_and_again_rings(stack: Stack) -> None:
    restarts = 'loyalty_role_restarts_total{role="beat"}'
    wait_until(lambda: stack.prometheus.value(restarts) is not None, stack.told, seconds_max=120)
    for _ in range(3):
        before = stack.prometheus.value(restarts)
        assert before is not None
        os.kill(stack.worker.pid_of("beat"), signal.SIGKILL)
        wait_until(lambda before=before: stack.prometheus.value(restarts) == before + 1, stack.told, seconds_max=120)  # type: ignore[misc]
    stack.wait("LoyaltyRoleRestarts", is_ringing=True)


def test_no_label_of_what_was_scraped_names_a_customer_or_an_order(stack: Stack) -> None:
    def texts() -> set[str]:
        found = stack.prometheus.query('{__name__=~".+"}')
        return {value for each in found for value in each["metric"].values()}

    wait_until(lambda: texts() >= {"intake", "order.completed", "test"}, stack.told)
    assert {f"{name}{number}" for name in "cor" for number in range(20)} & texts() == set()


def test_the_folder_of_counts_is_emptied_when_a_role_starts(stack: Stack, tmp_path: Path) -> None:
    folder = stack.worker.folder / "metrics"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"intake", "worker", "beat"}
    assert len(list((folder / "worker").iterdir())) == 4, "of two children, whichever they are by now"
