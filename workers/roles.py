"""The three roles, one process each: intake, worker and beat. Each touches its heartbeat while it makes progress."""

import socket
from typing import Any

from celery import Celery, bootsteps
from celery.beat import Scheduler
from celery.worker.state import reserved_requests
from uuid6 import uuid7

from config.settings import Settings
from core.store.engine import create_database_engine
from core.store.migrate import require_current
from workers.bootstrap import find_addresses, message_limits, send_nudge, set_up_logging
from workers.brokers import open_intake
from workers.celery_app import create_app, keep_our_logging
from workers.heartbeat import beat_heart
from workers.intake import Intake, IntakeLimits, consumer_name, stop_on_signals

_HEARTBEAT_SECONDS = 2.0
_LOOKS_BLOCKED_MAX = 3


def run_intake(settings: Settings) -> None:
    """Take messages until TERM or INT."""
    set_up_logging(settings)
    addresses = find_addresses(settings)
    engine = create_database_engine(addresses.database_url, application_name="loyalty-intake")
    require_current(engine)
    app = create_app(settings)
    intake = Intake(
        engine,
        lambda: open_intake(
            addresses.broker_url,
            consumer=consumer_name(),
            idle_claim_seconds=settings.intake_idle_claim_seconds,
            prefetch_messages=settings.intake_batch_messages * 2,
        ),
        lambda task, shard: send_nudge(app, task, shard),
        IntakeLimits(
            message_limits(settings),
            settings.intake_batch_messages,
            settings.intake_wait_seconds,
            settings.nudge_interval_seconds,
            settings.shards,
        ),
        event_source=settings.event_source,
    )
    stop_on_signals(intake)
    intake.run()
    engine.dispose()


def run_worker(settings: Settings, queues: str | None = None) -> None:
    """Run tasks until TERM (finish what runs) or QUIT. `queues`: only these, comma-separated."""
    app = _app(settings)
    app.steps["consumer"].add(_WorkerHeartbeat)
    arguments = [
        "--quiet", "worker", "--pool=prefork", "--without-gossip", "--without-mingle", "--without-heartbeat",
        f"--hostname=worker-{uuid7().hex[-8:]}@{socket.gethostname()}", "--loglevel=WARNING",
    ]  # fmt: skip
    if queues:
        arguments.append(f"--queues={queues}")
    app.worker_main(arguments)


def run_beat(settings: Settings) -> None:
    """Send ticks until TERM. Several may run."""
    app = _app(settings)
    app.Beat(scheduler_cls="workers.roles:BeatingScheduler", loglevel="WARNING", pidfile=None, quiet=True).run()


def _app(settings: Settings) -> Celery:
    set_up_logging(settings)
    keep_our_logging(settings)
    engine = create_database_engine(find_addresses(settings).database_url)
    require_current(engine)
    engine.dispose()  # nothing of it may cross the fork
    return create_app(settings)


class _WorkerHeartbeat(bootsteps.StartStopStep):
    """Beats from the worker's own loop, so it stands still when the loop does, and keeps the loop taking messages.

    A step of the consumer: Celery drops all timers when it has lost the broker, and starts the consumer's steps anew.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:
        """Begin with every connection."""
        beat_heart()
        self._looks_blocked = 0
        parent.timer.call_repeatedly(_HEARTBEAT_SECONDS, self._look, (parent,))

    def _look(self, consumer: Any) -> None:
        """Beat, or connect again if messages hold places that no task will ever free."""
        self._looks_blocked = self._looks_blocked + 1 if _unfreed_messages(consumer) else 0
        if self._looks_blocked == _LOOKS_BLOCKED_MAX:
            # An error of the connection, for Celery: it closes it, opens another, and starts with empty books.
            raise ConnectionResetError("acknowledgements were lost with an earlier connection")
        beat_heart()


def _unfreed_messages(consumer: Any) -> int:
    """Count messages that kombu takes for unacknowledged while no task is under way for them.

    On Redis kombu counts them itself. If the broker goes while a task runs, and no other command notices it, the
    task's acknowledgement fails, Celery only logs that, and the place stays taken; once all are, nothing is received.
    """
    qos = getattr(consumer.task_consumer.channel, "qos", None)
    if qos is None:
        return 0
    return max(0, len(qos._delivered) - len(qos._dirty) - len(reserved_requests))  # noqa: SLF001  # kombu tells nowhere


class BeatingScheduler(Scheduler):
    """Keeps no state on disk, since every tick means "all that is due", and beats as it goes round."""

    def tick(self, *arguments: Any, **named: Any) -> Any:
        """Send what is due, and say that we live."""
        beat_heart()
        return super().tick(*arguments, **named)
