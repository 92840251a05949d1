"""Messages that wait: woken when their order came after all, parked when it did not in time, announced before that."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.outcomes import Parked, Reason
from core.messages.reasons import never_came_advice
from core.posting.events import EventContext, message_parked
from core.store.appending import append_events
from core.store.engine import database_now
from core.store.inbox import (
    ClaimedMessage,
    Settlement,
    settle,
)
from core.store.orders_elsewhere import orders_elsewhere
from core.store.programs import load_registry
from core.store.waiting import claim_overdue, count_waiting_since, oldest_waiting, wake_waiting


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
    details = _details(connection, overdue, waiting_days_max)
    reason = Reason.ORDER_NEVER_CAME
    settle(connection, [Settlement(m.inbox_id, "dead", reason.value, details[m.inbox_id]) for m in overdue], now)
    append_events(
        connection, [message_parked(message, Parked(reason, details[message.inbox_id]), context) for message in overdue]
    )
    return SweepOutcome(woken, len(overdue), following)


def _details(connection: Connection, overdue: Sequence[ClaimedMessage], waiting_days_max: int) -> dict[int, str]:
    """What is wrong with each message, and how to mend it."""
    if not overdue:
        return {}
    came_not = f"its order has not come in {waiting_days_max} days"
    details = {m.inbox_id: f"{came_not}; {never_came_advice(m.type)}" for m in overdue}
    for message in overdue:
        if message.awaits is not None:
            what = f"its refund has not come in {waiting_days_max} days"
            details[message.inbox_id] = f"{what}; send the refund and retry, or drop this message"
    for order in orders_elsewhere(connection, load_registry(connection), list(details)):
        ((name, value),) = order.to_add.items()
        owner = "source" if name == "order_source" else "program"
        details[order.inbox_id] = (
            f"{came_not}, but {owner} {value} has one of this id; if that is meant, send this message in a new event "
            f'with "{name}": "{value}" in its data, and drop this one'
        )
    return details


def long_wait(connection: Connection, now: datetime, hours_max: float) -> LongWait | None:
    """Say how many messages have waited for longer than `hours_max`; None if none has."""
    since = oldest_waiting(connection)
    limit = now - timedelta(hours=hours_max)
    if since is None or since >= limit:
        return None
    return LongWait(count_waiting_since(connection, limit), int((now - since).total_seconds()))
