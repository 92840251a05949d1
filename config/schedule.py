"""The beat table. Every task is "do all that is due", guarded in the database.

So two beats do no harm, and a late one catches up.
"""

from typing import Any, NamedTuple

from config.queues import PERIODIC


class Tick(NamedTuple):
    """One periodic task and how often it is due."""

    task: str
    every_seconds: float


TICKS = (
    Tick("loyalty.sweep_inbox", 1),  # finds what a lost nudge left, so a lost nudge costs a second
    Tick("loyalty.sweep_outbox", 1),  # the same for events
    Tick("loyalty.expire_lots", 60),  # lots expire at local midnights; spending never waits for this
    Tick("loyalty.release_points", 60),  # held points become available at any time of the day
    Tick("loyalty.void_authorizations", 60),  # deadlines are at any time of the day; captures never wait for this
    Tick("loyalty.remind_authorizations", 60),  # programs tell of them hours ahead
    Tick("loyalty.review_tiers", 60),  # periods end at local midnights too
    Tick("loyalty.purge", 60),  # bounded batches, so that a day's rows go evenly
    Tick("loyalty.remind", 3600),  # reminders are of days
    Tick("loyalty.warn_tiers", 3600),
    Tick("loyalty.keep_liability", 300),  # months end at local midnights, and are kept ten minutes later
    Tick("loyalty.audit_ledger", 300),  # one account shard each time; how long it is round: docs/scaling.md
)

#: A tick or nudge that nobody took for so long evaporates, so that no pile waits for the first worker. Not shorter:
#: the sender's clock writes the end and the worker's clock reads it, and ticks must survive clocks that differ.
NUDGE_SECONDS_MAX = 300


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Celery's form of the table."""
    return {
        tick.task: {
            "task": tick.task,
            "schedule": tick.every_seconds,
            "options": {"queue": PERIODIC, "expires": NUDGE_SECONDS_MAX},
        }
        for tick in TICKS
    }
