"""What beat does: sends each tick when it is due, over a connection that it drops as soon as it fails."""

import signal
import time
from contextlib import suppress
from typing import Any

import kombu
import structlog
from celery.apps.beat import Beat
from celery.beat import Scheduler, Service

from workers.heartbeat import beat_heart
from workers.metrics.beside import own_watcher

_LOOK_SECONDS = 1.0
_PAUSE_SECONDS_MIN, _PAUSE_SECONDS_MAX = 0.5, 4.0
#: On RabbitMQ only an answer shows that there still is a broker. Unlike a nudge, a tick may wait for it: beat drains
#: nothing that a full broker could be waiting for. Redis answers to everything.
_TRANSPORT_OPTIONS = {"confirm_publish": True, "read_timeout": 8}

log = structlog.get_logger(__name__)


class TickingBeat(Beat):
    """Celery's beat, but stopped between two ticks.

    Celery's own closes the connection and raises SystemExit wherever the signal finds it. In the middle of a send the
    broker's client then fails at its own cleaning up, its error takes the place of SystemExit, and beat goes on.
    """

    def install_sync_handler(self, service: Service) -> None:
        """Stop at the next tick after TERM or INT: at once, or when a broker that does not answer is given up."""

        def stop(*_: Any) -> None:
            service.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)


class TickScheduler(Scheduler):
    """Celery's scheduler, but on the monotonic clock, without a state on disk, and able to lose the broker.

    Celery's own goes by the wall clock, so that a step back stops it for as long, and it keeps a connection that has
    broken. Every tick means "all that is due", so each is sent once at the start.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._due: dict[str, float] = {}
        self._connection: kombu.Connection | None = None
        self._pause_seconds = 0.0
        self._watcher = own_watcher()

    def tick(self, *_arguments: Any, **_named: Any) -> float:
        """Send what is due, say that we live, and return after how many seconds to come again."""
        beat_heart()
        entries: dict[str, Any] = self.schedule
        for name, entry in entries.items():
            now = time.monotonic()
            if now < self._due.get(name, now):
                continue
            is_sent = self._send(entry)
            self._watcher.ticked(entry.task, is_sent=is_sent)
            if not is_sent:
                return self._pause_seconds
            self._due[name] = now + entry.schedule.seconds
        return min([_LOOK_SECONDS, *(due - time.monotonic() for due in self._due.values())])

    def close(self) -> None:
        """Let go of the broker."""
        self._drop()
        super().close()

    def _send(self, entry: Any) -> bool:
        try:
            if self._connection is None:
                self._connection = self.app.connection_for_write(transport_options=_TRANSPORT_OPTIONS)
                self._connection.ensure_connection(max_retries=0, reraise_as_library_errors=False)
            self.app.send_task(
                entry.task,
                entry.args,
                entry.kwargs,
                connection=self._connection,
                retry=False,
                ignore_result=True,
                **entry.options,
            )
        except Exception as error:  # noqa: BLE001  # whatever the broker client raises, the tick stays due
            self._drop()
            self._pause_seconds = min(max(2 * self._pause_seconds, _PAUSE_SECONDS_MIN), _PAUSE_SECONDS_MAX)
            log.warning("tick_not_sent", action="tick_not_sent", task=entry.task, error=type(error).__name__)
            return False
        self._pause_seconds = 0.0
        return True

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # the goodbye of a broken connection may fail in any way
                connection.collect()
