"""Celery's events, by which Flower and exporters see tasks and workers, where a setting switches them on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.events import EventReceiver
from pydantic import SecretStr

from config.settings import Settings
from tests.acceptance.conftest import BROKERS, started
from tests.acceptance.whole_worker import WholeWorker
from tests.factories import as_bytes, order
from workers.celery_app import create_app

pytestmark = pytest.mark.slow

WANTED = {"task-sent", "task-received", "task-started", "task-succeeded", "worker-heartbeat"}
URLS = {"database_url": "postgresql://nowhere/loyalty", "broker_url": "redis://nowhere/0"}


@pytest.fixture(params=BROKERS)
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WholeWorker]:
    with started(request, tmp_path, {"LOYALTY_CELERY_EVENTS": "true"}) as whole:
        yield whole


def test_who_listens_hears_of_tasks_and_of_the_worker_and_of_nothing_that_shops_send(watched: WholeWorker) -> None:
    heard: dict[str, dict[str, Any]] = {}
    watched.publish(as_bytes(order("told", customer_id="kim")))

    def hear(event: dict[str, Any]) -> None:
        heard[event["type"]] = event
        if heard.keys() >= WANTED:
            receiver.should_stop = True

    with Celery(broker=watched.broker_url, set_as_current=False) as app, app.connection_for_read() as connection:
        receiver: EventReceiver = app.events.Receiver(connection, handlers={"*": hear})
        receiver.capture(limit=None, timeout=60, wakeup=False)
    assert heard["task-received"]["name"].startswith("loyalty.")
    assert not [each for event in heard.values() for each in ("kim", "told") if each in str(event)]


@pytest.mark.parametrize("setting", [True, False])
def test_they_are_sent_by_the_setting_alone(setting: bool, tmp_path: Path) -> None:
    urls = {name: SecretStr(url) for name, url in URLS.items()}
    conf = create_app(Settings(data_dir=tmp_path, celery_events=setting, **urls)).conf
    assert (conf.worker_send_task_events, conf.task_send_sent_event) == (setting, setting)
    assert create_app(Settings(data_dir=tmp_path, **urls)).conf.worker_send_task_events is False
