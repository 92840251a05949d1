"""Reminders of points that are about to expire: sent ahead, and corrected when the points are spent or last longer."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple


class Reminder(NamedTuple):
    """The account was reminded that so many points expire at that instant. 0 points: the reminder was withdrawn."""

    expires_at: datetime
    points: int
    days_ahead: int  #: how long before the end it was sent
    number: int = 1  #: 1, 2, 3, … of this instant; a correction is the next one


def due_reminders(
    expiring: Mapping[datetime, int], sent: Sequence[Reminder], days_ahead: Sequence[int], as_of: datetime
) -> list[Reminder]:
    """What is to be sent at `as_of`, the soonest first: new reminders, corrections and withdrawals.

    `expiring` are the account's available points by the instants after `as_of` at which they expire, `sent` its last
    reminders of each instant. Points that expired before a reminder was sent need none. A second call, with what the
    first returned among `sent`, finds nothing.
    """
    last = {reminder.expires_at: reminder for reminder in sent}
    due: list[Reminder] = []
    for expires_at in sorted({*expiring, *(instant for instant in last if instant > as_of)}):
        points, before = expiring.get(expires_at, 0), last.get(expires_at)
        reached = [days for days in days_ahead if expires_at - timedelta(days=days) <= as_of]
        nearest = min(reached, default=None)
        if before is None:
            if nearest is not None and points:
                due.append(Reminder(expires_at, points, nearest))
        elif points != before.points or (nearest is not None and nearest < before.days_ahead and points):
            ahead = before.days_ahead if nearest is None else min(nearest, before.days_ahead)
            due.append(Reminder(expires_at, points, ahead, before.number + 1))
    return due
