"""What the libraries log, without what strangers wrote.

Celery quotes the whole body of a message that it does not take, and the text of a task's error, in which the database
quotes the row: both hold customers' data, and nobody has looked at them yet.
"""

import re
from logging import LogRecord
from typing import Any, Final

from core.store.failures import frames

#: How Celery's templates begin that quote a message. Written out, since importing them costs every command its time.
QUOTE_MESSAGES: Final = (
    "Received and deleted unknown message",
    "Received unregistered task of type",
    "Received invalid task message",
    "Can't decode message body",
)
#: Loggers whose errors quote arguments of tasks or what their errors say.
_QUOTE_TASKS: Final = frozenset({"celery.app.trace", "celery.worker.request", "celery.worker.strategy"})

_TASK: Final = re.compile(r"Task loyalty\.\w+")


def without_contents(_logger: Any, _method: str, event: Any) -> Any:
    """Structlog processor for records of libraries: what they quote is left out, what kind of error it was stays."""
    record: LogRecord = event["_record"]
    if record.name not in _QUOTE_TASKS and not str(record.msg).startswith(QUOTE_MESSAGES):
        return event
    event["event"] = _named(str(record.msg), str(event["event"]))
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    event.pop("exc_info", None)
    if error is not None:
        event["error"] = type(error).__name__
        event["frames"] = frames(error)
    return event


def _named(template: str, text: str) -> str:
    """Say what happened, without the values: the words of the template before the first one, and the task's name."""
    task = _TASK.match(text)
    return task[0] if task else template.strip().partition("%")[0].partition("\n")[0].rstrip(" :[")
