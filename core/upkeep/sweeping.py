"""Messages that wait: woken when their order came after all, parked when it did not in time, announced before that."""

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.outcomes import Parked, Reason
from core.posting.events import EventContext, message_parked
from core.store.appending import append_events
from core.store.engine import database_now
from core.store.inbox import (
    Settlement,
    claim_overdue,
    count_waiting_since,
    oldest_waiting,
    settle,
    wake_waiting,
)


class SweepOutcome(NamedTuple):
    """What one sweep did, and where the next goes on."""

    woken: int
    overdue: int
    after: int


class LongWait(NamedTuple):
    """Messages about orders that have waited so long that somebody must look."""

    messages: int
    oldest_seconds: int


def sweep_waiting(
    connection: Connection, event_source: str, waiting_days_max: int, rows_max: int, *, after: int = 0
) -> SweepOutcome:
    """Wake and park, in this transaction. Safe beside posting: locked rows are skipped.

    However many wait, it looks at the `rows_max` newest, the oldest, and as many above the number `after`. That is
    enough: posting takes along what waits for its orders, and this is for what fell between.
    """
    woken, following = wake_waiting(connection, after, rows_max)
    now = database_now(connection)
    context = EventContext(event_source, now)
    overdue = claim_overdue(connection, waiting_days_max, rows_max)
    parked = Parked(
        Reason.ORDER_NEVER_CAME,
        f"its order has not come in {waiting_days_max} days; send the order and retry, or drop this message",
    )
    settle(connection, [Settlement(m.inbox_id, "dead", parked.reason.value, parked.detail) for m in overdue], now)
    append_events(connection, [message_parked(message, parked, context) for message in overdue])
    return SweepOutcome(woken, len(overdue), following)


def long_wait(connection: Connection, now: datetime, hours_max: float) -> LongWait | None:
    """Say how many messages have waited for longer than `hours_max`; None if none has."""
    since = oldest_waiting(connection)
    limit = now - timedelta(hours=hours_max)
    if since is None or since >= limit:
        return None
    return LongWait(count_waiting_since(connection, limit), int((now - since).total_seconds()))
