"""What the worker's children do while the database or the broker is away: little, and they say so in a line."""

import pytest
from celery import Celery
from pydantic import SecretStr
from structlog.testing import capture_logs

from config.settings import Settings
from workers.celery_app import create_app
from workers.nudging import QuietNudger

NOBODY = "127.0.0.1:1"


@pytest.fixture
def app() -> Celery:
    """A worker's app whose servers do not answer."""
    return create_app(
        Settings(database_url=SecretStr(f"postgresql://{NOBODY}/nowhere"), broker_url=SecretStr(f"redis://{NOBODY}/0"))
    )


def test_a_task_that_finds_no_database_says_so_and_is_left_to_the_sweep(app: Celery) -> None:
    with capture_logs() as lines:
        assert app.tasks["loyalty.post_inbox"](3) is None
    assert [line["event"] for line in lines] == ["attempt_not_forgotten", "task_interrupted"]
    assert lines[-1]["detail"].startswith("connection failed")
    assert "\n" not in lines[-1]["detail"]
    assert [line for line in lines if "exc_info" in line] == []


def test_after_a_lost_nudge_the_next_ones_wait_for_no_broker(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.nudging._QUIET_SECONDS", 600)
    app.conf.broker_connection_timeout = 0.1
    nudge = QuietNudger(app)
    with capture_logs() as lines:
        for shard in range(8):
            nudge("loyalty.relay_outbox", shard)
    assert [line["event"] for line in lines] == ["nudge_lost"]
