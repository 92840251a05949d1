"""What a message may bring to a task: shards, where the task is done for some, and nothing else."""

from typing import Any

import pytest
from celery import Celery
from pydantic import SecretStr
from structlog.testing import capture_logs

from config.schedule import TICKS
from config.settings import Settings
from tasks.registry import TASKS, TASKS_BY_NAME
from workers.celery_app import create_app

PERIODIC = [TASKS_BY_NAME[tick.task] for tick in TICKS]
FUTURE = "2031-01-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def app() -> Celery:
    """The worker's app, whose servers nobody asks."""
    nobody = "127.0.0.1:1"
    return create_app(
        Settings(database_url=SecretStr(f"postgresql://{nobody}/none"), broker_url=SecretStr(f"redis://{nobody}/0"))
    )


@pytest.mark.parametrize("row", PERIODIC, ids=lambda row: row.name)
def test_no_message_can_bring_a_periodic_task_an_instant(app: Celery, row: Any) -> None:
    with capture_logs() as lines:
        assert app.tasks[row.name](FUTURE) is None
    assert [line["event"] for line in lines] == ["task_discarded"]
    with pytest.raises(TypeError):
        app.tasks[row.name](as_of=FUTURE)


@pytest.mark.parametrize("row", [row for row in TASKS if row.has_shards], ids=lambda row: row.name)
@pytest.mark.parametrize(
    "arguments", [[], [1, -1], [-1], [1024], [True], [1.0], ["1"], [None], [[1]], [10**30], [1] * 1025]
)
def test_a_task_of_shards_takes_their_numbers_and_nothing_else(app: Celery, row: Any, arguments: list[Any]) -> None:
    assert row.takes([7])
    assert row.takes([7, 0, 1023])
    assert not row.takes(arguments)
    with capture_logs() as lines:
        assert app.tasks[row.name](*arguments) is None
    assert [line["event"] for line in lines] == ["task_discarded"]
