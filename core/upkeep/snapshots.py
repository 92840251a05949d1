"""Keeps what each program owed at the end of each month, and what became of points in it, from what was recorded."""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from core.domain.accounting.months import Month, month_at, month_of
from core.domain.calendar import add_months
from core.domain.program.registry import ProgramRegistry
from core.store.activity import append_activity, load_month_activity
from core.store.liability import append_snapshot, last_kept, load_liability
from core.store.locks import PeriodicTurn, try_periodic_turn

#: A transaction carries the instant of its beginning: so much later those that began in the month have ended.
SETTLED = timedelta(minutes=10)


def next_month_due(connection: Connection, registry: ProgramRegistry, program_id: str, now: datetime) -> Month | None:
    """The oldest month of the program that is over and has not been kept, since it was first applied; None: none is."""
    kept = last_kept(connection, program_id)
    if kept is None:
        month = month_of(registry, program_id, registry.version(program_id, 1).applied_at)
    else:
        month = month_at(registry, program_id, add_months(kept, 1))
    return month if month.ends_at + SETTLED <= now else None


def keep_month(connection: Connection, registry: ProgramRegistry, program_id: str, month: Month) -> bool | None:
    """Keep the month in this transaction; None when another worker keeps one, False if it was kept meanwhile."""
    if not try_periodic_turn(connection, PeriodicTurn.SNAPSHOT):
        return None
    if not append_snapshot(connection, load_liability(connection, registry, program_id, month.ends_at, month)):
        return False
    append_activity(connection, program_id, month, load_month_activity(connection, program_id, month))
    return True
