"""Nudges over a network that forgets connections without a word."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

import kombu
import pytest

import workers.nudging
from config.settings import Settings
from tests.faults.network import Mode, Network
from workers.celery_app import create_app
from workers.nudging import Nudger

pytestmark = pytest.mark.rabbitmq
TASK, QUEUE = "loyalty.post_inbox", "loyalty.posting"


def test_a_forgotten_connection_swallows_nudges_for_a_while_and_is_then_replaced_rabbitmq(
    rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.nudging, "_CONNECTION_SECONDS_MAX", 600)
    url = urlsplit(rabbitmq_url)
    with Network() as network:
        proxy = network.open_proxy(url.port or 5672)
        far_url = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{proxy.port}").geturl()
        app = create_app(Settings(database_url="postgresql://nobody@127.0.0.1:1/none", broker_url=far_url))
        nudger = Nudger(app)
        assert nudger.send(TASK, 9000)
        with kombu.Connection(rabbitmq_url) as near, near.channel() as channel:
            while json.loads(_next(channel).body)[0] != [9000]:
                pass  # what another test left
            proxy.set_mode(Mode.SWALLOW)
            assert nudger.send(TASK, 9001)
            proxy.set_mode(Mode.PASS)
            assert nudger.send(TASK, 9002)
            assert channel.basic_get(QUEUE) is None
            monkeypatch.setattr(workers.nudging, "_CONNECTION_SECONDS_MAX", 0)  # as if that time were over
            assert nudger.send(TASK, 9003)
            assert json.loads(_next(channel).body)[0] == [9003]
            assert channel.basic_get(QUEUE) is None
        nudger.close()
        app.close()


def _next(channel: Any) -> Any:
    """The next message of the queue, as soon as the broker has it."""
    deadline = time.monotonic() + 60
    while (message := channel.basic_get(QUEUE, no_ack=True)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return message
