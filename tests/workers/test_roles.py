"""The worker's heartbeat: it stops with the loop, and sees places that no acknowledgement will ever free."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kombu
import pytest
from billiard import pool
from kombu.asynchronous.timer import Timer

from workers import roles
from workers.heartbeat import HEARTBEAT_VARIABLE
from workers.roles import _LOOKS_BLOCKED_MAX, _WorkerHeartbeat

QUEUE = "loyalty.test"


@pytest.fixture
def consumer(stream_broker_url: str) -> Iterator[Any]:
    """What the step sees of a Celery worker that consumes from Valkey: its kombu consumer and its timer."""
    with kombu.Connection(stream_broker_url) as connection:
        messages: list[Any] = []
        task_consumer = kombu.Consumer(
            connection.channel(), [kombu.Queue(QUEUE, routing_key=QUEUE)], on_message=messages.append
        )
        with task_consumer:
            yield SimpleNamespace(
                task_consumer=task_consumer,
                timer=Timer(),
                connection=connection,
                messages=messages,
                app=SimpleNamespace(conf=SimpleNamespace(task_time_limit=60)),
            )


@pytest.fixture
def heart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HEARTBEAT_VARIABLE, str(tmp_path / "heart"))
    return tmp_path / "heart"


def started(consumer: Any) -> _WorkerHeartbeat:
    step = _WorkerHeartbeat(consumer)
    step.start(consumer)
    return step


def look(step: _WorkerHeartbeat, consumer: Any, times: int = 1) -> None:
    for _ in range(times):
        step._look(consumer)  # noqa: SLF001  # what its timer calls


def receive(consumer: Any) -> Any:
    """A message that is under way, as far as kombu knows."""
    kombu.Producer(consumer.connection.channel()).publish({}, routing_key=QUEUE, exchange="")
    consumer.connection.drain_events(timeout=60)
    return consumer.messages[-1]


def test_the_heart_beats_again_after_every_start_of_the_consumer(consumer: Any, heart: Path) -> None:
    step = started(consumer)
    assert heart.exists()
    consumer.timer.clear()  # as Celery does when it has lost the broker
    heart.unlink()
    step.start(consumer)
    assert heart.exists()
    assert len(consumer.timer) == 1


def test_a_worker_whose_messages_are_all_acknowledged_goes_on_beating(consumer: Any, heart: Path) -> None:
    step = started(consumer)
    receive(consumer).ack()
    for _ in range(2 * _LOOKS_BLOCKED_MAX):
        heart.unlink(missing_ok=True)
        look(step, consumer)
        assert heart.exists()


def test_a_place_that_no_task_will_free_makes_the_worker_connect_again(consumer: Any, heart: Path) -> None:
    step = started(consumer)
    receive(consumer)
    look(step, consumer, times=_LOOKS_BLOCKED_MAX - 1)
    with pytest.raises(ConnectionResetError):
        look(step, consumer)


def test_a_message_that_is_acknowledged_late_is_no_reason_to_connect_again(consumer: Any, heart: Path) -> None:
    step = started(consumer)
    message = receive(consumer)
    look(step, consumer, times=_LOOKS_BLOCKED_MAX - 1)
    message.ack()
    look(step, consumer, times=_LOOKS_BLOCKED_MAX)


def test_the_heart_stands_still_while_a_child_neither_ends_a_task_nor_is_ended_itself(
    consumer: Any, heart: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that hangs before it has begun, for which Celery knows no time limit."""
    tasks = [SimpleNamespace(id="a"), SimpleNamespace(id="b")]
    now = [1000.0]
    monkeypatch.setattr(roles, "reserved_requests", tasks)
    monkeypatch.setattr(roles, "time", SimpleNamespace(monotonic=lambda: now[0]))
    step = started(consumer)

    def beats_after(seconds: float) -> bool:
        now[0] += seconds
        heart.unlink(missing_ok=True)
        look(step, consumer)
        return heart.exists()

    assert beats_after(0)
    assert beats_after(80), "the time limit and what the parent needs to kill a child are not over"
    tasks[0].id = "c"
    assert not beats_after(20), "b is the one that hangs"
    tasks[1].id = "d"
    assert beats_after(0), "it goes on when the task has ended after all"


def test_a_child_whose_last_result_nobody_reads_ends_soon_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Celery's children wait half a minute for that; this is what they ask before they exit."""
    slept: list[float] = []
    monkeypatch.setattr(pool, "GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT", 300)
    monkeypatch.setattr(pool, "time", SimpleNamespace(sleep=slept.append))
    roles.hasten_children()
    child = SimpleNamespace(on_ready_counter=SimpleNamespace(value=6))
    assert pool.Worker._ensure_messages_consumed(child, completed=7) is False  # noqa: SLF001
    assert 0 < sum(slept) <= 2.01
