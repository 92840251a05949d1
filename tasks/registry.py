"""The map of the tasks: name, function, queue. `workers.celery_app` turns each row into a Celery task."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tasks.periodic import audit_ledger, expire_lots, release_points, remind, review_tiers, warn_tiers
from tasks.posting import post_inbox, sweep_inbox
from tasks.purge import purge
from tasks.relay import relay_outbox, sweep_outbox
from tasks.submitting import submit


class TaskRow(NamedTuple):
    """One task. `function` takes the Runtime and the message's arguments."""

    name: str
    function: Callable[..., Any]
    queue: str
    is_kept: bool = False  #: its message is the only copy: it goes back to the queue when it could not be done


TASKS = (
    TaskRow("loyalty.post_inbox", post_inbox, "loyalty.posting"),
    TaskRow("loyalty.relay_outbox", relay_outbox, "loyalty.relay"),
    TaskRow("loyalty.sweep_inbox", sweep_inbox, "loyalty.periodic"),
    TaskRow("loyalty.sweep_outbox", sweep_outbox, "loyalty.periodic"),
    TaskRow("loyalty.expire_lots", expire_lots, "loyalty.periodic"),
    TaskRow("loyalty.release_points", release_points, "loyalty.periodic"),
    TaskRow("loyalty.remind", remind, "loyalty.periodic"),
    TaskRow("loyalty.warn_tiers", warn_tiers, "loyalty.periodic"),
    TaskRow("loyalty.review_tiers", review_tiers, "loyalty.periodic"),
    TaskRow("loyalty.audit_ledger", audit_ledger, "loyalty.periodic"),
    TaskRow("loyalty.purge", purge, "loyalty.periodic"),
    TaskRow("loyalty.submit", submit, "loyalty.submit", is_kept=True),
)

_QUEUES = {row.name: row.queue for row in TASKS}


def queue_of(task: str) -> str:
    """The queue of a task; KeyError for a name that does not exist, so that a typo cannot pass silently."""
    return _QUEUES[task]
