"""The Celery app: nudges and ticks only. Settings with their reasons; docs/operations.md has the measurements."""

from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_process_init

from config.queues import POSTING, celery_queues
from config.schedule import beat_schedule
from config.settings import Settings
from tasks.registry import TASKS, TaskRow
from tasks.runtime import Runtime
from workers.bootstrap import build_runtime, find_addresses, set_up_logging

#: Longest that a task may run. Redis redelivers what is unacknowledged for longer than the visibility timeout.
TASK_SECONDS_MAX = 60
VISIBILITY_SECONDS = 300


def create_app(settings: Settings) -> Celery:
    """Build the app. Connects to nothing."""
    broker_url = find_addresses(settings).broker_url
    is_amqp = broker_url.startswith("amqp")
    app = Celery("loyalty", set_as_current=False)
    app.conf.update(
        broker_url=broker_url,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_limit=2,
        broker_heartbeat=30,
        broker_transport_options=_transport_options(is_amqp=is_amqp),
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend=None,
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # a lost nudge is sent again by the sweep; True would loop on a poison task
        task_acks_on_failure_or_timeout=True,
        task_time_limit=TASK_SECONDS_MAX,
        task_soft_time_limit=TASK_SECONDS_MAX - 15,
        task_publish_retry=False,
        task_queues=celery_queues(is_amqp=is_amqp),
        task_default_queue=POSTING,
        task_default_exchange="loyalty.tasks",
        task_default_exchange_type="topic" if is_amqp else "direct",
        task_default_queue_type="quorum" if is_amqp else "classic",
        task_create_missing_queues=False,
        worker_detect_quorum_queues=is_amqp,
        worker_concurrency=settings.worker_processes,
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=10_000,
        worker_max_memory_per_child=300_000,  # KiB
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        control_queue_exclusive=True,
        event_queue_exclusive=True,
        beat_schedule=beat_schedule(),
        beat_max_loop_interval=1,
        timezone="UTC",
        enable_utc=True,
    )
    runtime = _RuntimeOfProcess(settings, app)
    for row in TASKS:
        app.task(name=row.name, queue=row.queue, ignore_result=True)(_bound(row, runtime))
    return app


def _transport_options(*, is_amqp: bool) -> dict[str, Any]:
    if is_amqp:
        return {"confirm_publish": True}
    return {
        "visibility_timeout": VISIBILITY_SECONDS,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "health_check_interval": 10,
        "socket_timeout": 10,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "global_keyprefix": "loyalty:",
    }


class _RuntimeOfProcess:
    """The runtime of this process: built at the first task, since connections must not cross the fork."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        self._build: Callable[[], Runtime] = partial(build_runtime, settings, app)
        self._runtime: Runtime | None = None

    def __call__(self) -> Runtime:
        if self._runtime is None:
            self._runtime = self._build()
        return self._runtime


def _bound(row: TaskRow, runtime: Callable[[], Runtime]) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        return row.function(runtime(), *arguments, **named)

    run.__name__ = row.function.__name__
    run.__doc__ = row.function.__doc__
    run.__module__ = row.function.__module__
    return run


def keep_our_logging(settings: Settings) -> None:
    """Make Celery leave logging to us, in the parent and in the children."""

    def configure(**_: Any) -> None:
        set_up_logging(settings)

    setup_logging.connect(configure, weak=False)
    worker_process_init.connect(configure, weak=False)
