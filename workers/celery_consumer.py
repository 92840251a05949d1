"""Celery's consumer, made to survive what stands in its queues.

On a message that is nearly one of its own (a task without an id, a body that is no triple) Celery 5.6 raises out of the
worker's loop: the worker ends, the broker hands the message out again, and the next worker ends too.
"""

from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer import Consumer

from core.store.failures import frames

log = structlog.get_logger(__name__)


class SurvivingConsumer(Consumer):
    """Discards a message that Celery cannot even refuse. What it holds is not logged: nobody has looked at it yet."""

    def create_task_handler(self, *arguments: Any, **named: Any) -> Callable[[Any], Any]:
        """Wrap Celery's handler of one message."""
        handle = super().create_task_handler(*arguments, **named)
        consumer: Any = self
        # A lost connection and full memory are no message's fault. A KeyError is, whatever kombu says of Redis.
        lost = {*consumer.connection_errors, *consumer.connection.channel_errors, OSError, MemoryError} - {KeyError}
        passed_on = tuple(lost)

        def handle_or_discard(message: Any) -> Any:
            try:
                return handle(message)
            except passed_on:
                raise
            except Exception as error:  # noqa: BLE001  # whatever it trips over, the next message must be taken
                log.error(  # noqa: TRY400  # the text of the error may quote the message
                    "task_discarded",
                    action="task_discarded",
                    error=type(error).__name__,
                    frames=frames(error),
                )
                if not message.acknowledged:
                    message.reject_log_error(log, consumer.connection_errors)
                return None

        return handle_or_discard
