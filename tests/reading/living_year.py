"""What a worker does beside posting while a year goes by: periodic tasks, and months that are kept."""

from datetime import datetime

from core.store.programs import load_registry
from core.upkeep.snapshots import keep_month, next_month_due
from tests.reading.set_clock import SetClock
from tests.reading.year_messages import PROGRAM_IDS
from tests.shell import Shell


def do_what_is_due(shell: Shell, clock: SetClock) -> None:
    """Run what beat asks for, but the keeping of months."""
    as_of = clock.go_on().isoformat()
    for task in (shell.release, shell.expire, shell.void, shell.review):
        task(as_of)
    shell.sweep()
    shell.post()


def keep_months(shell: Shell, now: datetime) -> None:
    """Keep every month of every program that is over and was not kept."""
    for program_id in PROGRAM_IDS:
        is_kept: bool | None = True
        while is_kept:
            with shell.engine.begin() as connection:
                registry = load_registry(connection)
                month = next_month_due(connection, registry, program_id, now)
                is_kept = month is not None and keep_month(connection, registry, program_id, month)
