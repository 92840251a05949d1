"""How many points of one customer commands may move on a day and in a month of the program's calendar.

A command counts on its own day, whenever it comes, under the version that decides it. What undoes it (a void, a
deadline, a reversal) gives its part back to the day on which it counted.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from core.domain.books import COMMAND_LIMIT, Books
from core.domain.calendar import local_midnight
from core.domain.decision import Decision
from core.domain.ledger import Entry, EntryKind
from core.domain.movements import Movement
from core.domain.orders.posted import UsageChange
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program import CustomerLimit, Program, UsageKey, ValueLimits
from core.domain.program.registry import ProgramRegistry

#: What a customer may do, by the limit of the program's file.
_MAY = {
    "redeem": "a customer may redeem",
    "transfer": "a customer may transfer",
    "convert": "a customer may convert",
    "credit": "commands may credit a customer with",
}
_UNDOING = frozenset({EntryKind.VOID, EntryKind.REVERSAL})
_ANY_DAY_OF_NEXT_MONTH = timedelta(days=32)


class _Period(NamedTuple):
    key: UsageKey
    points_max: int
    text: str
    end: datetime  #: from when on it is another one


def counted_name(limit: str) -> str:
    """Under what a limit is counted."""
    return f"{COMMAND_LIMIT}{limit}"


def limit_keys(program: Program, occurred_at: datetime) -> list[UsageKey]:
    """All that a command of this instant has to be held against."""
    if program.limits == ValueLimits():
        return []
    return [period.key for limit in _MAY for period in _periods(program, limit, occurred_at)]


def keys_of(movement: Movement, program_id: str, rules: ProgramRegistry) -> list[UsageKey]:
    """Where an entry of a command is counted."""
    limit = _limit_of(movement.kind, movement.points + movement.pending_change)
    if limit is None:
        return []
    program = rules.version(program_id, movement.program_version).program
    return [period.key for period in _periods(program, limit, movement.occurred_at)]


def held_to_limits(
    decision: Decision, books: Books, program: Program, occurred_at: datetime, rules: ProgramRegistry
) -> Decision | Rejected:
    """Count what a command moves, or reject it where that would be more than its customer may."""
    changes = []
    for change in decision.changes:
        more: list[UsageChange] = []
        for entry in change.entries:
            if entry.command_id is None:
                continue
            points = abs(entry.points + entry.pending_change)
            limit = _limit_of(entry.kind, entry.points + entry.pending_change)
            reached: list[tuple[int, _Period]] = []
            for period in () if limit is None else _periods(program, limit, occurred_at):
                used = books.usages(change.account, [period.key])[period.key].points
                if used + points > period.points_max:
                    reached.append((max(0, period.points_max - used), period))
                more.append(_change(entry, period.key, points))
            if reached:
                # Who asks for no more than that is not refused for the other period.
                return _reached(
                    _MAY[limit or ""], points, *min(reached, key=lambda each: (each[0], -each[1].end.timestamp()))
                )
            more += given_back(books, entry, change.account.program_id, rules)
        changes.append(change._replace(usages=(*change.usages, *more)) if more else change)
    return decision._replace(changes=tuple(changes))


def given_back(books: Books, entry: Entry, program_id: str, rules: ProgramRegistry) -> list[UsageChange]:
    """What an entry that undoes another one gives back of limits."""
    if entry.kind not in _UNDOING or entry.corrects_sequence is None:
        return []
    undone = books.movement((entry.account_id, entry.corrects_sequence))
    points = -abs(entry.points + entry.pending_change)
    return [_change(entry, key, points) for key in keys_of(undone, program_id, rules)]


def _limit_of(kind: EntryKind, change: int) -> str | None:
    """The limit that an entry counts for, by its kind and whether it gives or takes points."""
    match kind:
        case EntryKind.REDEMPTION | EntryKind.AUTHORIZATION:
            return "redeem"
        case EntryKind.TRANSFER if change < 0:
            return "transfer"
        case EntryKind.CONVERSION if change < 0:
            return "convert"
        case EntryKind.CREDIT:
            return "credit"
    return None


def _periods(program: Program, limit: str, occurred_at: datetime) -> Iterator[_Period]:
    limits: CustomerLimit = getattr(program.limits, limit)
    day = occurred_at.astimezone(program.zone).date()
    name = counted_name(limit)
    if limits.per_day is not None:
        end = local_midnight(day + timedelta(days=1), program.zone)
        yield _Period(UsageKey(name, day.isoformat()), limits.per_day, "on one day", end)
    if limits.per_month is not None:
        first = (day.replace(day=1) + _ANY_DAY_OF_NEXT_MONTH).replace(day=1)
        end = local_midnight(first, program.zone)
        yield _Period(UsageKey(name, f"{day:%Y-%m}"), limits.per_month, "in one month", end)


def _change(entry: Entry, key: UsageKey, points: int) -> UsageChange:
    return UsageChange(entry.account_id, key.name, key.period, points, 0, Decimal(0))


def _reached(may: str, points: int, left: int, period: _Period) -> Rejected:
    return Rejected(
        RejectionCode.LIMIT_REACHED,
        f"{may} at most {period.points_max:,} points {period.text} of the program's calendar: {left:,} are left until"
        f" {period.end.isoformat()}, and {points:,} are asked for",
        "ask for no more than is left, or send it from that instant on, under a new id",
    )
