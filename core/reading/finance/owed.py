"""What a program owes: at the end of a month as it was kept then, or worked out for any instant."""

from datetime import datetime

from sqlalchemy import Connection

from core.domain.accounting.liability import Liability
from core.domain.accounting.months import Month
from core.domain.program.registry import ProgramRegistry
from core.store.engine import run_bulk
from core.store.liability import load_liability, load_snapshot


def load_owed(connection: Connection, registry: ProgramRegistry, program_id: str, at: Month | datetime) -> Liability:
    """What was owed at the end of a month that is over, or by what was recorded before an instant that is past.

    Of a month that was not kept it is worked out now. `connection` should see one snapshot. KeyError for an unknown
    program.
    """
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    if isinstance(at, datetime):
        return load_liability(connection, registry, program_id, at, is_in_one=True)
    kept = load_snapshot(connection, registry, program_id, at)
    return load_liability(connection, registry, program_id, at.ends_at, at, is_in_one=True) if kept is None else kept
