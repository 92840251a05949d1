"""The three roles, one process each: intake, worker and beat. Each touches its heartbeat while it makes progress.

A role that waits for its database or its broker to come back is alive, and goes on beating.
"""

import socket
import time
from collections.abc import Callable
from typing import Any

import structlog
from billiard import pool
from celery import Celery, bootsteps
from celery.apps import worker as celery_worker
from celery.worker.state import reserved_requests
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from uuid6 import uuid7

from config.settings import Settings
from core.errors import BrokerUnavailableError
from core.store.migrate import require_current
from workers.bootstrap import find_addresses, message_limits, open_engine
from workers.brokers import check_celery_queues, open_intake, refuse_server_mode
from workers.celery_app import create_app, keep_our_logging
from workers.celery_consumer import SurvivingConsumer
from workers.heartbeat import beat_heart
from workers.intake import Intake, IntakeLimits, consumer_name, stop_on_signals
from workers.metrics.beside import open_port, own_watcher
from workers.nudging import Nudger
from workers.process_logs import log_as_process, speaks_records
from workers.ticking import TickingBeat
from workers.tracing_setup import open_spans

_HEARTBEAT_SECONDS = 2.0
_LOOKS_BLOCKED_MAX = 3
#: After a task's time limit the parent kills its child and starts another; this is time for that.
_KILL_SECONDS = 30
_RETRY_SECONDS = 2.0

log = structlog.get_logger(__name__)


def run_intake(settings: Settings) -> None:
    """Take messages until TERM or INT."""
    log_as_process(settings, "intake")
    limits = message_limits(settings)
    addresses = find_addresses(settings)
    engine = open_engine(settings, application_name="loyalty-intake", plans_once=True)
    await_database(engine)
    open_port(settings, "intake")
    app = create_app(settings)
    intake = Intake(
        engine,
        lambda: open_intake(
            addresses.broker_url,
            consumer=consumer_name(),
            idle_claim_seconds=settings.intake_idle_claim_seconds,
            prefetch_messages=settings.intake_batch_messages * 2,
            declares=settings.declare,
        ),
        Nudger(app).send,
        IntakeLimits(
            limits,
            settings.intake_batch_messages,
            settings.intake_wait_seconds,
            settings.nudge_interval_seconds,
            settings.shards,
        ),
        event_source=settings.event_source,
        watcher=own_watcher(),
        spans=(spans := open_spans("intake", is_amqp=addresses.broker_url.startswith("amqp"))),
    )
    stop_on_signals(intake)
    try:
        intake.run()
    finally:
        engine.dispose()
        spans.close()


def run_worker(settings: Settings, queues: str | None = None) -> None:
    """Run tasks until TERM (finish what runs) or QUIT. `queues`: only these, comma-separated."""
    app = _app(settings, "worker")
    app.steps["consumer"].add(_WorkerHeartbeat)
    hasten_children()
    if speaks_records():
        # Celery prints that it stops, from within the handler of a signal, where no record may be written: what the
        # signal has interrupted may hold the lock of the log. The supervisor's records say the same.
        setattr(celery_worker, "safe_say", _say_nothing)  # noqa: B010  # its types know nothing of it
    arguments = [
        "--quiet", "worker", "--pool=prefork", "--without-gossip", "--without-mingle",
        *(() if settings.celery_events else ("--without-heartbeat",)),
        f"--hostname=worker-{uuid7().hex[-8:]}@{socket.gethostname()}", "--loglevel=WARNING",
    ]  # fmt: skip
    if queues:
        arguments.append(f"--queues={queues}")
    app.worker_main(arguments)


def _say_nothing(*_arguments: Any) -> None:
    return


def hasten_children() -> None:
    """Let a child that ends wait two seconds at most, not thirty, until the parent has read its results.

    The parent has stopped reading if the child was given a task in the moment of TERM. That result would be all that is
    lost: the task's message was not acknowledged, and comes again.
    """
    pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = 20  # of 0.1 s


def run_beat(settings: Settings) -> None:
    """Send ticks until TERM. Several may run."""
    app = _app(settings, "beat")
    TickingBeat(
        app=app, scheduler_cls="workers.ticking:TickScheduler", loglevel="WARNING", pidfile=None, quiet=True
    ).run()


def _app(settings: Settings, role: str) -> Celery:
    log_as_process(settings, role)
    keep_our_logging(settings, role)
    open_port(settings, role)
    engine = open_engine(settings)
    await_database(engine)
    engine.dispose()  # nothing of it may cross the fork
    broker_url = find_addresses(settings).broker_url
    refuse_server_mode(broker_url)
    if not settings.declare:
        _await_queues(broker_url)
    return create_app(settings)


def _await_queues(broker_url: str) -> None:
    """Wait for what an administrator declares: a worker of Celery would end itself, again and again."""
    while True:
        try:
            return check_celery_queues(broker_url)
        except BrokerUnavailableError as error:
            reason = str(error)  # of the server and of names of ours: nothing has been sent yet
            log.warning("broker_awaited", action="broker_awaited", detail=reason)
        beat_heart()
        time.sleep(_RETRY_SECONDS)


def await_database(engine: Engine, beat: Callable[[], None] = beat_heart) -> None:
    """Wait for the database, and raise if this release cannot work on its tables. `beat` shows that we are alive."""
    while True:
        try:
            return require_current(engine)
        except OperationalError as error:
            detail = " ".join(str(error.orig).split())  # of a connection, so there is no row in it
            log.warning("database_awaited", action="database_awaited", detail=detail)
        beat()
        time.sleep(_RETRY_SECONDS)


class BeatingConsumer(SurvivingConsumer):
    """Beats while it waits for the broker: the timer of the step below stands still with the loop."""

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, for as long as it takes."""
        connect = conn.ensure_connection

        def connect_beating(errback: Any, retries_max: Any, callback: Callable[[], None]) -> Any:
            def each_second() -> None:
                beat_heart()
                callback()

            # Not up to half a minute between two tries, as Celery: orders wait.
            return connect(
                errback, retries_max, interval_start=0.5, interval_step=0.5, interval_max=4, callback=each_second
            )

        conn.ensure_connection = connect_beating
        try:
            return super().ensure_connected(conn)
        finally:
            del conn.ensure_connection


class _WorkerHeartbeat(bootsteps.StartStopStep):
    """Beats from the worker's own loop, so it stands still when the loop does, and keeps the loop taking messages.

    It stands still too when a child process neither ends its task nor is ended at the task's time limit: one that hangs
    before it has begun gets no limit from Celery. A step of the consumer: Celery drops all timers when it has lost the
    broker, and starts the consumer's steps anew.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)
    _timer: Any = None  #: None before the first connection

    def start(self, parent: Any) -> None:
        """Begin with every connection."""
        beat_heart()
        self._looks_blocked = 0
        self._held_since: dict[str, float] = {}
        self._timer = parent.timer.call_repeatedly(_HEARTBEAT_SECONDS, self._look, (parent,))

    def stop(self, parent: Any) -> None:  # noqa: ARG002  # Celery's contract
        """Look no more: while the last tasks end, Celery fires timers, but no longer frees messages as it did."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, consumer: Any) -> None:
        """Beat, or connect again if messages hold places that no task will ever free."""
        self._looks_blocked = self._looks_blocked + 1 if _unfreed_messages(consumer) else 0
        if self._looks_blocked == _LOOKS_BLOCKED_MAX:
            # An error of the connection, for Celery: it closes it, opens another, and starts with empty books.
            raise ConnectionResetError("acknowledgements were lost with an earlier connection")
        if not self._is_any_held_too_long(consumer.app.conf.task_time_limit + _KILL_SECONDS):
            beat_heart()

    def _is_any_held_too_long(self, seconds_max: float) -> bool:
        """Whether a task was given to a child so long ago that the child must hang; the supervisor then ends us all."""
        now = time.monotonic()
        self._held_since = {request.id: self._held_since.get(request.id, now) for request in reserved_requests}
        held_seconds = max((now - since for since in self._held_since.values()), default=0)
        if held_seconds > seconds_max:
            log.error("task_hangs", action="task_hangs", held_seconds=int(held_seconds), tasks=len(self._held_since))
        return held_seconds > seconds_max


def _unfreed_messages(consumer: Any) -> int:
    """Count messages that kombu takes for unacknowledged while no task is under way for them.

    On Redis kombu counts them itself. If the broker goes while a task runs, and no other command notices it, the
    task's acknowledgement fails, Celery only logs that, and the place stays taken; once all are, nothing is received.
    """
    qos = getattr(consumer.task_consumer.channel, "qos", None)
    if qos is None:
        return 0
    return max(0, len(qos._delivered) - len(qos._dirty) - len(reserved_requests))  # noqa: SLF001  # kombu says it nowhere
