"""Celery's consumer, made to survive what stands in its queues: it takes our own nudges and ticks, and nothing else.

On a message that is nearly one of its own (a task without an id, a body that is no triple) Celery 5.6 raises out of the
worker's loop: the worker ends, the broker hands the message out again, and the next worker ends too.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import structlog
from celery.worker.consumer import Consumer

from core.store.failures import frames
from tasks.registry import TASKS_BY_NAME

log = structlog.get_logger(__name__)


_DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class SurvivingConsumer(Consumer):
    """Gives Celery what a nudge or a tick of ours would be; discards the rest, whose contents are not logged.

    Messages come here rewritten by `workers.celery_transport`: two headers at most, and a body.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc,valid-type]  # to its types a variable
        """Celery's steps but one: beside quorum queues it would declare some sixty queues and exchanges for delays.

        No task of ours has a countdown, and a user without the right to configure could not declare them.
        """

        default_steps = tuple(step for step in Consumer.Blueprint.default_steps if step != _DELAYED_DELIVERY)

    def create_task_handler(self, *arguments: Any, **named: Any) -> Callable[[Any], Any]:
        """Wrap Celery's handler of one message."""
        handle = super().create_task_handler(*arguments, **named)
        consumer: Any = self
        # A lost connection and full memory are no message's fault. A KeyError is, whatever kombu says of Redis.
        lost = {*consumer.connection_errors, *consumer.connection.channel_errors, OSError, MemoryError} - {KeyError}
        passed_on = tuple(lost)

        def handle_or_discard(message: Any) -> Any:
            try:
                if not _made_ours(message):
                    return message.ack_log_error(log, consumer.connection_errors)
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


class NotOurTaskError(Exception):
    """The message is neither a nudge nor a tick of ours."""


def _made_ours(message: Any) -> bool:
    """Make of the message what our own would be, with a new id; False for one that has expired."""
    row = TASKS_BY_NAME.get(message.headers.get("task", ""))
    body = message.body
    arguments, named, _ = json.loads(body if isinstance(body, str) else bytes(body))
    if row is None or named or not isinstance(arguments, list) or not row.takes(arguments):
        raise NotOurTaskError
    expires = message.headers.get("expires")
    if expires is not None and datetime.fromisoformat(expires) < datetime.now(UTC):
        return False
    task_id = str(uuid4())
    message.headers = {"lang": "py", "task": row.name, "id": task_id, "root_id": task_id}
    message.properties = {"correlation_id": task_id}
    message.body = json.dumps([arguments, {}, {}])
    return True
