"""What a source may move, by one command and on one day, as batches hold it to that."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection

from core.domain.decision import Decision
from core.domain.value.daily_limits import DailyPoints, SourceDay, within_command
from core.posting.handlers import Outcome
from core.posting.sequence import ReadMessage
from core.posting.writing import BudgetRaceError
from core.store.inbox import ClaimedMessage
from core.store.source_days import add_moved, load_moved


def load_daily(
    connection: Connection, messages: Sequence[ReadMessage], as_of: datetime, *, is_locked: bool
) -> DailyPoints:
    """What the sources of these messages have moved so far, each on its day."""
    days = {day for each in messages if (day := _source_day(each.claimed, as_of)) is not None}
    return DailyPoints(load_moved(connection, days, is_locked=is_locked))


def within_limits(decision: Decision, message: ClaimedMessage, daily: DailyPoints, as_of: datetime) -> Outcome:
    """Hold a command to what its source may move: by one command, and on one day."""
    outcome: Outcome = decision
    if message.points_per_command_max is not None:
        outcome = within_command(decision, message.points_per_command_max)
    day, points_max = _source_day(message, as_of), message.points_per_day_max
    if day is not None and points_max is not None and isinstance(outcome, Decision):
        outcome = daily.within(day, outcome, points_max)
    return outcome


def _source_day(message: ClaimedMessage, as_of: datetime) -> SourceDay | None:
    """Where a command counts whose source has a limit for a day."""
    if message.points_per_day_max is None:
        return None
    return SourceDay(message.source, message.type, as_of.astimezone(UTC).date())


def add_daily(connection: Connection, daily: DailyPoints) -> None:
    """Add what sources moved. BudgetRaceError where with what others have added meanwhile it is more than they may."""
    for day, points in add_moved(connection, daily.added).items():
        if points > daily.limits[day]:
            raise BudgetRaceError
