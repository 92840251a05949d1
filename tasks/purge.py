"""Purging: settled inbox rows, published outbox rows and reminders go when they are old enough."""

from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import structlog

from core.store.engine import database_now
from core.upkeep.retention import INBOX, OUTBOX, KeptTable, load_walk, purge_batch, purge_reminders
from core.upkeep.runs import record_run
from tasks.runtime import Runtime

log = structlog.get_logger(__name__)

TASK = "loyalty.purge"
#: After so long the walks begin at the low end again, to find what was settled behind them: a dead letter that was
#: dropped, an event that was published late.
ANEW_SECONDS = 3600


def purge(runtime: Runtime) -> dict[str, Any]:
    """Delete settled inbox rows, published events and reminders past their retention; what is open or dead stays."""
    with runtime.engine.begin() as connection:
        now = database_now(connection)
        walk = load_walk(connection, TASK, now, ANEW_SECONDS)
    inbox = _purge(runtime, INBOX, now - timedelta(days=runtime.inbox_retention_days), walk.inbox_after)
    outbox = _purge(runtime, OUTBOX, now - timedelta(days=runtime.outbox_retention_days), walk.outbox_after)
    reminders = _purge_reminders(runtime, now) if walk.began_at == now else 0
    result = {
        "reminders": reminders,
        "inbox_rows": inbox[0],
        "outbox_rows": outbox[0],
        "is_finished": inbox[2] and outbox[2],
        "inbox_after": inbox[1],
        "outbox_after": outbox[1],
        "walk_began_at": walk.began_at.isoformat(),
    }
    with runtime.engine.begin() as connection:
        record_run(connection, TASK, now, result)
    if inbox[0] or outbox[0] or reminders:
        log.info("upkeep_done", action="upkeep_done", task=TASK, as_of=now.isoformat(), **result)
    return result


def _purge_reminders(runtime: Runtime, now: datetime) -> int:
    """Forget the reminders whose events have gone too."""
    before, deadline, deleted = now - timedelta(days=runtime.outbox_retention_days), monotonic(), 0
    deadline += runtime.run_seconds_max
    while monotonic() < deadline:
        with runtime.engine.begin() as connection:
            count = purge_reminders(connection, before, runtime.upkeep_batch_rows)
        deleted += count or 0
        if not count:
            break
    return deleted


def _purge(runtime: Runtime, table: KeptTable, before: datetime, after: int) -> tuple[int, int, bool]:
    """Take one batch per transaction until all is gone or the time is up: rows deleted, where to go on, whether all."""
    deadline = monotonic() + runtime.run_seconds_max * 2
    deleted = 0
    while True:
        with runtime.engine.begin() as connection:
            step = purge_batch(connection, table, before, after, runtime.upkeep_batch_rows, runtime.chain_key)
        if step is None:
            return deleted, after, False
        deleted, after = deleted + step.deleted, step.after
        if step.is_finished or monotonic() > deadline:
            return deleted, after, step.is_finished
