"""When lots expire, and what their expiry does to the account."""

from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from core.domain.ledger import Account, Decision, Entry, EntryKind, debit
from core.domain.lots import Allocation, Lot
from core.domain.program import ExpiryPolicy, Program

_MONTHS = 12


def expires_at(program: Program, available_at: datetime) -> datetime | None:
    """The first instant at which points that are available from `available_at` cannot be spent; None = never.

    After n months the points are good for the whole of that day (31 January + 1 month: to the end of February) and
    expire at the local midnight that ends it.
    """
    if program.expiry.policy is ExpiryPolicy.NEVER:
        return None
    assert program.expiry.months is not None
    last_day = add_months(available_at.astimezone(program.zone).date(), program.expiry.months)
    return local_midnight(last_day + timedelta(days=1), program.zone)


def add_months(day: date, months: int) -> date:
    """The same day of the month `months` later, or that month's last day when it is shorter."""
    years, month = divmod(day.month - 1 + months, _MONTHS)
    year = day.year + years
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def local_midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which `day` begins in `zone`, in UTC."""
    return datetime.combine(day, time(), tzinfo=zone).astimezone(UTC)


def decide_expiry(account: Account, lots: Iterable[Lot], as_of: datetime) -> Decision:
    """Expire what is left in the lots that are due at `as_of`: one entry per instant of expiry.

    A run that is late posts the same entries as the runs in time would have. A second run finds nothing.
    """
    due = sorted(
        (lot for lot in lots if lot.is_due(as_of) and lot.points_remaining > 0),
        key=lambda lot: (lot.expires_at, lot.lot_number),
    )
    entries: list[Entry] = []
    changed: list[Lot] = []
    for instant, group in groupby(due, key=lambda lot: lot.expires_at):
        assert instant is not None
        expiring = list(group)
        points = sum(lot.points_remaining for lot in expiring)
        account = debit(account, points, uncovered=0)
        entries.append(
            Entry(
                account_id=account.account_id,
                sequence=account.sequence,
                kind=EntryKind.EXPIRY,
                points=-points,
                balance_after=account.balance,
                lifetime_points_after=account.lifetime_points,
                deficit_change=0,
                occurred_at=instant,
                allocations=tuple(Allocation(x.lot_number, -x.points_remaining, x.expires_at) for x in expiring),
                source=None,
                order_id=None,
                refund_id=None,
                corrects_sequence=None,
                why={"lots": [lot.lot_number for lot in expiring]},
            )
        )
        changed += [
            lot._replace(points_remaining=0, points_expired=lot.points_expired + lot.points_remaining)
            for lot in expiring
        ]
    return Decision(account=account, entries=tuple(entries), lots=tuple(changed)) if entries else Decision()
