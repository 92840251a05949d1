"""The beat table. Every task is "do all that is due", guarded in the database: two beats do no harm, late ones catch up."""

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
    Tick("loyalty.review_tiers", 60),  # periods end at local midnights too
    Tick("loyalty.audit_ledger", 300),  # one account shard each time, the whole ledger in 40 minutes
)


def beat_schedule() -> dict[str, dict[str, Any]]:
    """Celery's form. A tick that nobody took before the next one is due evaporates."""
    return {
        tick.task: {
            "task": tick.task,
            "schedule": tick.every_seconds,
            "options": {"queue": PERIODIC, "expires": max(tick.every_seconds, 5)},
        }
        for tick in TICKS
    }
