"""The Celery app: nudges and ticks only. Settings with their reasons; docs/operations.md has the measurements."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_process_init, worker_process_shutdown
from sqlalchemy.exc import DBAPIError

from config.queues import POSTING, celery_queues
from config.schedule import beat_schedule
from config.settings import Settings
from core.errors import BrokerUnavailableError, EventNotConfirmedError
from core.store.failures import is_outage
from tasks.registry import TASKS, TaskRow
from tasks.runtime import Runtime
from workers.bootstrap import build_runtime, find_addresses
from workers.brokers.amqp_link import tls_options
from workers.celery_transport import frame_handler, transport_settings
from workers.child_processes import collect_garbage_seldom
from workers.process_logs import log_as_process

#: Redis redelivers what is unacknowledged for longer: more than any task may take.
VISIBILITY_SECONDS = 300

log = structlog.get_logger(__name__)


#: The same with every broker.
_SETTINGS: dict[str, Any] = {
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_pool_limit": 2,
    "broker_heartbeat": 6,  # a RabbitMQ that has gone without a word is noticed after two
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "result_backend": None,
    "task_acks_late": True,
    "task_reject_on_worker_lost": False,  # a lost nudge is sent again by the sweep; True would loop on a poison task
    "task_acks_on_failure_or_timeout": True,
    "task_publish_retry": False,
    "task_default_queue": POSTING,
    "task_default_exchange": "loyalty.tasks",
    "task_create_missing_queues": False,
    "worker_prefetch_multiplier": 1,
    "worker_max_tasks_per_child": 10_000,
    "worker_max_memory_per_child": 300_000,  # KiB
    # A task that outlives its connection is done again at worst; terminating it would look like a crash to posting.
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_enable_prefetch_count_reduction": False,
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "control_queue_exclusive": True,
    "event_queue_exclusive": True,
    "worker_consumer": "workers.roles:BeatingConsumer",
    "beat_max_loop_interval": 1,
    "timezone": "UTC",
    "enable_utc": True,
}


def create_app(settings: Settings) -> Celery:
    """Build the app. Connects to nothing."""
    broker_url = find_addresses(settings).broker_url
    app = Celery("loyalty", set_as_current=False)
    app.conf.update(
        **_SETTINGS,
        **_broker_settings(broker_url, declares=settings.declare),
        # No soft limit: it raises in the middle of posting, where it would look like the fault of a message.
        task_time_limit=settings.task_seconds_max,
        worker_concurrency=settings.worker_processes,
        worker_send_task_events=settings.celery_events,
        task_send_sent_event=settings.celery_events,
        beat_schedule=beat_schedule(),
    )
    runtime = _RuntimeOfProcess(settings, app)
    for row in TASKS:
        # Not shared: or the next app of this process would run ours.
        app.task(name=row.name, queue=row.queue, ignore_result=True, shared=False)(_bound(row, runtime))
    return app


def _broker_settings(broker_url: str, *, declares: bool) -> dict[str, Any]:
    is_amqp = broker_url.startswith("amqp")
    named: dict[str, Any] = {"broker_url": broker_url}
    if is_amqp:
        # Celery knows no TLS options in an AMQP URL; they are ours (workers.brokers.amqp_link).
        address, _, query = broker_url.partition("?")
        named = {"broker_url": address, "broker_use_ssl": tls_options(address, query)}
    return {
        **named,
        **transport_settings(is_amqp=is_amqp),
        "broker_transport_options": _transport_options(is_amqp=is_amqp),
        "task_queues": celery_queues(is_amqp=is_amqp, declares=declares or not is_amqp),
        "task_default_exchange_type": "topic" if is_amqp else "direct",
        "task_default_queue_type": "quorum" if is_amqp else "classic",
        "worker_detect_quorum_queues": is_amqp,
    }


def _transport_options(*, is_amqp: bool) -> dict[str, Any]:
    if is_amqp:
        # No confirms: a broker with a memory or disk alarm takes messages from nobody and goes on delivering, and a
        # nudge that waits for its confirm would stop the very intake and posting that drain it.
        return {"write_timeout": 5, "frame_handler": frame_handler}
    return {
        "visibility_timeout": VISIBILITY_SECONDS,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "health_check_interval": 10,
        "socket_timeout": 5,  # one that has gone without a word costs the worker two of them
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        # Names of our own, so that other Celery apps on the same database do not take our messages for theirs. Not
        # global_keyprefix: a client without it would send loyalty.submit to a list that nobody reads.
        "unacked_key": "loyalty.unacked",
        "unacked_index_key": "loyalty.unacked_index",
        "unacked_mutex_key": "loyalty.unacked_mutex",
    }


class _RuntimeOfProcess:
    """The runtime of this process: built at the first task, since connections must not cross the fork."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        self._build: Callable[[], Runtime] = partial(build_runtime, settings, app)
        self._runtime: Runtime | None = None

    def __call__(self) -> Runtime:
        if self._runtime is None:
            self._runtime = self._build()
            # A child ends without what Python does at an exit.
            worker_process_shutdown.connect(self._send_spans, weak=False)
            collect_garbage_seldom()
        return self._runtime

    def _send_spans(self, **_: Any) -> None:
        if self._runtime is not None:
            self._runtime.spans.close()


def _bound(row: TaskRow, runtime: Callable[[], Runtime]) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        if not row.takes(arguments):
            log.error("task_discarded", action="task_discarded", task=row.name, error="ArgumentsOfAnother")
            return None
        given, began, outcome = runtime(), time.monotonic(), "failed"
        try:
            result = row.function(given, *arguments)
        except Exception as error:
            if not is_outage(error) and not isinstance(error, (BrokerUnavailableError, EventNotConfirmedError)):
                raise
            outcome = "interrupted"
            # One line, where Celery would write a page for each nudge of an outage, with rows in it at worst. The sweep
            # asks again.
            detail = _first_line(error)
            log.warning(
                "task_interrupted",
                action="task_interrupted",
                task=row.name,
                error=type(error).__name__,
                detail=detail,
            )
            return None
        else:
            outcome = "done"
            return result
        finally:
            given.watcher.ran(row.name, outcome, time.monotonic() - began)

    run.__name__ = row.function.__name__
    run.__doc__ = row.function.__doc__
    run.__module__ = row.function.__module__
    return run


def _first_line(error: Exception) -> str:
    """What a server or a client library says; the lines that follow may quote a row."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).partition("\n")[0]


def keep_our_logging(settings: Settings, role: str) -> None:
    """Make Celery leave logging to us, in the parent and in the children."""

    def configure(**_: Any) -> None:
        log_as_process(settings, role)

    setup_logging.connect(configure, weak=False)
    worker_process_init.connect(configure, weak=False)
