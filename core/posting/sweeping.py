"""Waiting refunds: woken when their order came after all, parked when it did not come in time."""

from sqlalchemy import Connection

from core.domain.outcomes import Parked, Reason
from core.posting.events import EventContext, message_parked
from core.store.appending import append_events
from core.store.engine import run_bulk
from core.store.inbox import Settlement, claim_overdue, settle, wake_waiting


def sweep_waiting(connection: Connection, event_source: str, waiting_days_max: int, rows_max: int) -> dict[str, int]:
    """Wake and park, at most `rows_max` of each, in this transaction. Safe beside posting: locked rows are skipped."""
    woken = wake_waiting(connection, rows_max)
    ((now,),) = run_bulk(connection, "SELECT now()")
    context = EventContext(event_source, now)
    overdue = claim_overdue(connection, waiting_days_max, rows_max)
    parked = Parked(
        Reason.ORDER_NEVER_CAME,
        f"its order has not come in {waiting_days_max} days; send the order and retry, or drop the refund",
    )
    append_events(connection, [message_parked(message, parked, context) for message in overdue])
    settle(connection, [Settlement(m.inbox_id, "dead", parked.reason.value, parked.detail) for m in overdue])
    return {"woken": woken, "overdue": len(overdue)}
