"""Keeping what is owed at the ends of months. A late run keeps what the runs in time would have."""

from time import monotonic
from typing import Any

import structlog

from core.store.engine import database_now
from core.store.programs import load_registry
from core.upkeep.runs import record_run
from core.upkeep.snapshots import keep_month, next_month_due
from tasks.runtime import Runtime

log = structlog.get_logger(__name__)

TASK = "loyalty.keep_liability"


def keep_liability(runtime: Runtime) -> dict[str, Any]:
    """Keep what each program owed at the end of each month that is over."""
    deadline = monotonic() + runtime.run_seconds_max
    with runtime.engine.begin() as connection:
        registry, now = load_registry(connection), database_now(connection)
    months = 0
    is_finished = True
    for program_id in registry.program_ids():
        while is_finished:
            with runtime.engine.begin() as connection:
                month = next_month_due(connection, registry, program_id, now)
                is_kept = month is not None and keep_month(connection, registry, program_id, month)
            if month is None:
                break
            months += bool(is_kept)
            is_finished = is_kept is not None and monotonic() <= deadline
    result = {"months": months, "is_finished": is_finished}
    with runtime.engine.begin() as connection:
        record_run(connection, TASK, now, result)
    if months:
        log.info("upkeep_done", action="upkeep_done", task=TASK, as_of=now.isoformat(), **result)
    return result
