"""Nudges: hints that a shard has work. One that is lost costs a second, until the sweep finds what it was about."""

from contextlib import suppress
from time import monotonic

import kombu
import structlog
from celery import Celery

from config.schedule import NUDGE_SECONDS_MAX
from tasks.registry import queue_of

#: A nudge waits for no answer from RabbitMQ, since a full broker confirms nothing and the intake and posting that drain
#: it must not wait. So a connection that was forgotten without a word takes nudges for ever: it is not kept for long.
_CONNECTION_SECONDS_MAX = 10.0
#: How long a broker that did not take a nudge is spared the next ones.
_QUIET_SECONDS = 2.0

log = structlog.get_logger(__name__)


class Nudger:
    """Sends nudges over a connection of its own. For one thread."""

    def __init__(self, app: Celery) -> None:
        """Connects to nothing yet."""
        self._app = app
        self._connection: kombu.Connection | None = None
        self._opened_at = 0.0

    def send(self, task: str, *shards: int) -> bool:
        """Ask for a run of `task` on these shards. False if the broker did not take it: the sweep finds the work."""
        try:
            if monotonic() - self._opened_at > _CONNECTION_SECONDS_MAX:
                self.close()
            if self._connection is None:
                self._connection = self._app.connection_for_write()
                self._connection.ensure_connection(max_retries=0, reraise_as_library_errors=False)
                self._opened_at = monotonic()
            self._app.send_task(
                task,
                args=shards,
                queue=queue_of(task),
                expires=NUDGE_SECONDS_MAX,
                ignore_result=True,
                retry=False,
                connection=self._connection,
            )
        except Exception as error:  # noqa: BLE001  # whatever the broker client raises, a nudge is only a hint
            log.warning("nudge_lost", action="nudge_lost", task=task, shards=[*shards], error=type(error).__name__)
            self.close()
            return False
        return True

    def close(self) -> None:
        """Let go of the broker. The next nudge connects again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # the goodbye of a broken connection may fail in any way
                connection.collect()


class QuietNudger:
    """Nudges for tasks, but is quiet for a moment after one was lost.

    A task has a nudge for each shard, each try can cost the broker's timeout, and together they cost the task its life.
    """

    def __init__(self, app: Celery) -> None:
        """Connects to nothing yet."""
        self._nudger = Nudger(app)
        self._quiet_until = 0.0

    def __call__(self, task: str, *shards: int) -> None:
        """Ask for a run of `task` on these shards, unless one was just lost."""
        if monotonic() >= self._quiet_until and not self._nudger.send(task, *shards):
            self._quiet_until = monotonic() + _QUIET_SECONDS
