"""Tiers: upgraded at once by the order that crosses a threshold, reviewed when a qualification period ends.

Qualifying points are entitlements of the period's orders: redemption and expiry never change them, refunds do.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from core.domain.ledger import Account, Decision, TierChange, TierChangeReason
from core.domain.program import Program, QualificationWindow

#: A new program version may bring another time zone, and so move the midnight at which the running year began.
ZONE_CHANGE_MAX = timedelta(days=2)


class Period(NamedTuple):
    """A qualification period, [start, end); both None for a lifetime."""

    start: datetime | None
    end: datetime | None


class TierHistoryEntry(NamedTuple):
    """From `effective_at` on the account was in `tier_id`."""

    effective_at: datetime
    tier_id: str


def qualification_period(program: Program, instant: datetime) -> Period:
    """The period that `instant` lies in, by the program's local calendar, as UTC instants."""
    if program.qualification.window is QualificationWindow.LIFETIME:
        return Period(None, None)
    year = instant.astimezone(program.zone).year
    start, end = (datetime(y, 1, 1, tzinfo=program.zone).astimezone(UTC) for y in (year, year + 1))
    return Period(start, end)


def tier_at(account: Account, history: Sequence[TierHistoryEntry], occurred_at: datetime, program: Program) -> str:
    """The tier in force at `occurred_at`; `history` (oldest first) is only needed for times before `tier_since`.

    A tier that this program version no longer has is replaced by the one that the qualifying points reach.
    """
    tier_id = account.tier_id
    if account.tier_since is not None and occurred_at < account.tier_since:
        tier_id = program.tiers[0].tier_id
        for change in history:
            if change.effective_at <= occurred_at:
                tier_id = change.tier_id
    if program.tier(tier_id) is None:
        tier_id = program.tier_for(account.qualifying_points).tier_id
    return tier_id


def qualify(
    account: Account, points: int, occurred_at: datetime, program: Program
) -> tuple[Account, tuple[TierChange, ...]]:
    """Count `points` of an order of `occurred_at` (negative: of its refund); upgrade at once at a threshold.

    `program` is the version in force now, not the order's: an old version would not know the account's newer tier.
    An order of an earlier period does not count for the current one; a first order of a later period starts it.
    A refund never downgrades: that is left to the review.
    """
    period = qualification_period(program, occurred_at)
    if not _is_current(account, period):
        if points <= 0 or _is_earlier(account, period):
            return account, ()
        account = _begin(account, period, program)
    account = account._replace(qualifying_points=max(0, account.qualifying_points + points))
    if account.tier_until is None and period.end is not None and account.tier_id != program.tiers[0].tier_id:
        account = account._replace(tier_until=period.end)
    reached = program.tier_for(account.qualifying_points)
    if points <= 0 or _rank(program, reached.tier_id) <= _rank(program, account.tier_id):
        return account, ()
    # A late order must not open a tier before the last change: the history is read by effective_at.
    effective_at = max(occurred_at, account.tier_since) if account.tier_since else occurred_at
    points = account.qualifying_points
    return _move(account, reached.tier_id, points, effective_at, period.end, TierChangeReason.QUALIFIED)


def decide_tier_review(account: Account, program: Program, qualifying_points: int) -> Decision:
    """Review the account at its `tier_until`, with the points that qualified in the `period_ended` then.

    Downgrades to the tier that those points reach, or keeps the tier for another period. A run that is late by several
    periods is called once for each, and so computes what the runs in time would have.
    """
    assert account.tier_until is not None
    following = qualification_period(program, account.tier_until + ZONE_CHANGE_MAX)
    if following.start is None:  # the window is lifetime by now: no tier is lost by time alone
        return Decision(account=account._replace(tier_until=None))
    fitting = program.tier_for(qualifying_points)
    reviewed = account._replace(qualifying_from=following.start, qualifying_points=0, tier_until=following.end)
    changes: tuple[TierChange, ...] = ()
    if not _rank(program, fitting.tier_id) >= _rank(program, account.tier_id) >= 0:
        boundary = account.tier_until
        reviewed, changes = _move(
            reviewed, fitting.tier_id, qualifying_points, boundary, following.end, TierChangeReason.REVIEWED
        )
    if reviewed.tier_id == program.tiers[0].tier_id:
        reviewed = reviewed._replace(tier_until=None)
    return Decision(account=reviewed, tier_changes=changes)


def review_overdue(account: Account, occurred_at: datetime, program: Program) -> tuple[Account, tuple[TierChange, ...]]:
    """Make the reviews that were due by `occurred_at`, so that an order meets the same tier whether or not they ran."""
    changes: tuple[TierChange, ...] = ()
    while account.tier_until is not None and account.tier_until <= occurred_at:
        # No order of a later period is counted yet: it would have come through here.
        is_counted = _is_current(account, period_ended(account, program))
        decision = decide_tier_review(account, program, account.qualifying_points if is_counted else 0)
        assert decision.account is not None
        account, changes = decision.account, changes + decision.tier_changes
    return account, changes


def period_ended(account: Account, program: Program) -> Period:
    """The period that ends at the account's `tier_until`."""
    assert account.tier_until is not None
    start, _ = qualification_period(program, account.tier_until - ZONE_CHANGE_MAX)
    return Period(start, account.tier_until)


def _is_current(account: Account, period: Period) -> bool:
    """Whether `period` is the one that the account's qualifying points are of."""
    if account.qualifying_from is None or period.start is None:
        return account.qualifying_from is period.start
    return abs(period.start - account.qualifying_from) < ZONE_CHANGE_MAX


def _is_earlier(account: Account, period: Period) -> bool:
    counted, start = account.qualifying_from, period.start
    return counted is not None and start is not None and start < counted


def _begin(account: Account, period: Period, program: Program) -> Account:
    """Count from zero in `period`; by lifetime, after a change of the window, from all that was earned."""
    if period.end is None:
        return account._replace(qualifying_from=None, qualifying_points=account.lifetime_points, tier_until=None)
    if account.qualifying_from is None and account.tier_id != program.tiers[0].tier_id:
        # The window was lifetime: what this year brought before the change is not known, so the next whole one decides.
        account = account._replace(tier_until=qualification_period(program, period.end + ZONE_CHANGE_MAX).end)
    return account._replace(qualifying_from=period.start, qualifying_points=0)


def _rank(program: Program, tier_id: str) -> int:
    """The number of tiers below; -1 for a tier that this version no longer has, so that any tier replaces it."""
    return -1 if program.tier(tier_id) is None else program.rank(tier_id)


def _move(
    account: Account,
    tier_id: str,
    qualifying_points: int,
    effective_at: datetime,
    until: datetime | None,
    reason: TierChangeReason,
) -> tuple[Account, tuple[TierChange, ...]]:
    number = account.tier_changes + 1
    change = TierChange(account.account_id, number, account.tier_id, tier_id, qualifying_points, effective_at, reason)
    account = account._replace(tier_id=tier_id, tier_since=effective_at, tier_until=until, tier_changes=number)
    return account, (change,)
