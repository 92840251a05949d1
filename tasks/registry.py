"""The map of the tasks: name, function, queue. `workers.celery_app` turns each row into a Celery task."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tasks.liability import keep_liability
from tasks.periodic import (
    audit_ledger,
    expire_lots,
    release_points,
    remind,
    remind_authorizations,
    review_tiers,
    void_authorizations,
    warn_tiers,
)
from tasks.posting import post_inbox, sweep_inbox
from tasks.purge import purge
from tasks.relay import relay_outbox, sweep_outbox

_SHARDS_MAX = 1_024  #: of messages; there are fewer of accounts


class TaskRow(NamedTuple):
    """One task. `function` takes the Runtime, and shards if the task is done for some."""

    name: str
    function: Callable[..., Any]
    queue: str
    has_shards: bool = False

    def takes(self, arguments: Sequence[object]) -> bool:
        """Whether a message may bring these arguments. None may bring an instant: what is due is due now."""
        if not self.has_shards:
            return not arguments
        return 1 <= len(arguments) <= _SHARDS_MAX and all(
            type(each) is int and 0 <= each < _SHARDS_MAX for each in arguments
        )


TASKS = (
    TaskRow("loyalty.post_inbox", post_inbox, "loyalty.posting", has_shards=True),
    TaskRow("loyalty.relay_outbox", relay_outbox, "loyalty.relay", has_shards=True),
    TaskRow("loyalty.sweep_inbox", sweep_inbox, "loyalty.periodic"),
    TaskRow("loyalty.sweep_outbox", sweep_outbox, "loyalty.periodic"),
    TaskRow("loyalty.expire_lots", expire_lots, "loyalty.periodic"),
    TaskRow("loyalty.release_points", release_points, "loyalty.periodic"),
    TaskRow("loyalty.void_authorizations", void_authorizations, "loyalty.periodic"),
    TaskRow("loyalty.remind_authorizations", remind_authorizations, "loyalty.periodic"),
    TaskRow("loyalty.remind", remind, "loyalty.periodic"),
    TaskRow("loyalty.warn_tiers", warn_tiers, "loyalty.periodic"),
    TaskRow("loyalty.review_tiers", review_tiers, "loyalty.periodic"),
    TaskRow("loyalty.audit_ledger", audit_ledger, "loyalty.periodic"),
    TaskRow("loyalty.keep_liability", keep_liability, "loyalty.periodic"),
    TaskRow("loyalty.purge", purge, "loyalty.periodic"),
)

TASKS_BY_NAME = {row.name: row for row in TASKS}


def queue_of(task: str) -> str:
    """The queue of a task; KeyError for a name that does not exist, so that a typo cannot pass silently."""
    return TASKS_BY_NAME[task].queue
