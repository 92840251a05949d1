"""Beat's ticks: sent at the start and again when due, and again after the broker was away, however it went."""

import os
import signal
from collections.abc import Iterator
from typing import Any, NoReturn

import kombu
import pytest
from celery.beat import Service
from pydantic import SecretStr
from sqlalchemy import make_url

from config.queues import PERIODIC
from config.schedule import TICKS
from config.settings import Settings
from tests.faults.network import Mode, Network, Proxy
from workers.celery_app import create_app
from workers.ticking import TickingBeat, TickScheduler

BROKERS = ["stream_broker_url", pytest.param("rabbitmq_url", marks=pytest.mark.rabbitmq)]
ALL_TASKS = sorted(tick.task for tick in TICKS)


class Beat:
    """A scheduler that reaches its broker through a network of ours, and the queue that it fills."""

    def __init__(self, broker_url: str, proxy: Proxy) -> None:
        self.proxy = proxy
        through = make_url(broker_url).set(port=proxy.port).render_as_string(hide_password=False)
        settings = Settings(database_url=SecretStr("postgresql://nowhere"), broker_url=SecretStr(through))
        self._direct = create_app(settings.model_copy(update={"broker_url": SecretStr(broker_url)}))
        self.scheduler = TickScheduler(create_app(settings))

    def sent(self) -> list[str]:
        """The tasks that came into the queue since the last call."""
        found: list[str] = []
        with self._direct.connection_for_read() as connection, connection.channel() as channel:
            [declared] = [queue for queue in self._direct.conf.task_queues if queue.name == PERIODIC]
            queue: Any = declared(channel)
            queue.declare()
            while (message := queue.get(no_ack=True)) is not None:
                found.append(message.headers["task"])
        return sorted(found)

    def forget_when_they_were_sent(self) -> None:
        self.scheduler._due.clear()  # noqa: SLF001  # instead of waiting


@pytest.fixture(params=BROKERS)
def beat(request: pytest.FixtureRequest) -> Iterator[Beat]:
    broker_url: str = request.getfixturevalue(request.param)
    with kombu.Connection(broker_url) as connection:
        port = connection.port  # also where the URL leaves it to the usual one
    assert port is not None
    with Network() as network:
        beat = Beat(broker_url, network.open_proxy(port))
        beat.sent()
        yield beat
        beat.scheduler.close()


def test_every_tick_is_sent_at_the_start_and_not_again_before_it_is_due(beat: Beat) -> None:
    beat.scheduler.tick()
    beat.scheduler._due.update(dict.fromkeys(ALL_TASKS, float("inf")))  # noqa: SLF001
    beat.scheduler.tick()
    assert beat.sent() == ALL_TASKS


def test_ticks_come_again_after_the_connection_was_reset(beat: Beat) -> None:
    beat.scheduler.tick()
    beat.proxy.reset()
    beat.sent()
    for _ in range(2):  # on RabbitMQ the first one finds out
        beat.forget_when_they_were_sent()
        beat.scheduler.tick()
    assert set(beat.sent()) == set(ALL_TASKS)


def test_a_tick_that_found_no_broker_stays_due_until_there_is_one(beat: Beat) -> None:
    beat.proxy.set_mode(Mode.REFUSE)
    pauses = [beat.scheduler.tick() for _ in range(5)]
    assert sorted(pauses) == pauses
    assert 0 < pauses[0] < pauses[-1]
    beat.proxy.set_mode(Mode.PASS)
    beat.scheduler.tick()
    assert beat.sent() == ALL_TASKS


@pytest.fixture
def own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_that_comes_while_a_send_fails_is_not_lost(
    stream_broker_url: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def send(*_: Any, **__: Any) -> NoReturn:
        try:
            os.kill(os.getpid(), number)
        finally:
            raise ValueError("the client fails at its own cleaning up")

    settings = Settings(database_url=SecretStr("postgresql://nowhere"), broker_url=SecretStr(stream_broker_url))
    app = create_app(settings)
    monkeypatch.setattr(app, "send_task", send)
    service = Service(app, scheduler_cls=TickScheduler)
    TickingBeat(app=app, quiet=True).install_sync_handler(service)
    service.start()  # and return
