"""Tiers: upgraded at once by the order that crosses a threshold, reviewed when a qualification period ends.

What qualifies is counted in units of the program's measure: points that orders entitle to, hundredths of what was
spent, or orders. Redemption and expiry never change it, refunds do as the program says. `program` is always the version
in force now, not the order's: an old version would not know the account's newer tier. Only a review is made by the
version that its period ended under, so that it does not matter when it is made.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from core.domain.calendar import add_months, day_of_year, local_midnight
from core.domain.decision import AccountChange, Decision, TierChange, TierChangeReason
from core.domain.ledger import Account
from core.domain.orders.posted import Qualifying
from core.domain.program import Downgrade, Measure, Program, QualificationWindow, RefundEffect
from core.domain.tiers.history import CountedOrder, TierHistoryEntry

#: A new program version may bring another time zone, and so move the midnight at which the running year began.
ZONE_CHANGE_MAX = timedelta(days=2)
_JUST_BEFORE = timedelta(microseconds=1)
ProgramAt = Callable[[datetime], Program]  #: the version of a program that is in force at an instant


class Period(NamedTuple):
    """A qualification period: orders of [start, end) count, and at its end it is reviewed. None: for a lifetime."""

    start: datetime | None
    end: datetime | None


def units(qualifying: Qualifying, program: Program) -> int:
    """What an order counts, by the program's measure."""
    match program.qualification.measure:
        case Measure.POINTS:
            return qualifying.points
        case Measure.SPEND:
            return qualifying.spend
        case Measure.ORDERS:
            return qualifying.orders


def units_in(period: Period, counted: Iterable[CountedOrder], program: Program) -> int:
    """What recorded orders of `period` count together."""
    return sum(
        units(order.qualifying, program)
        for order in counted
        if (period.start is None or period.start <= order.occurred_at)
        and (period.end is None or order.occurred_at < period.end)
    )


def qualification_period(program: Program, instant: datetime, enrolled_at: datetime | None) -> Period:
    """The period whose running part `instant` lies in, by the program's local calendar, as UTC instants.

    With rolling months that is the running month and the n before it. A membership year begins on the day of the year
    on which the account was opened.
    """
    zone, day = program.zone, instant.astimezone(program.zone).date()
    match program.qualification.window:
        case QualificationWindow.LIFETIME:
            return Period(None, None)
        case QualificationWindow.CALENDAR_YEAR:
            start, end = date(day.year, 1, 1), date(day.year + 1, 1, 1)
        case QualificationWindow.ROLLING_MONTHS:
            assert program.qualification.months is not None
            first = day.replace(day=1)
            start, end = add_months(first, -program.qualification.months), add_months(first, 1)
        case QualificationWindow.MEMBERSHIP_YEAR:
            begun = (enrolled_at or instant).astimezone(zone).date()
            start = day_of_year(day.year, begun.month, begun.day)
            if day < start:
                start = day_of_year(day.year - 1, begun.month, begun.day)
            end = day_of_year(start.year + 1, begun.month, begun.day)
    return Period(local_midnight(start, zone), local_midnight(end, zone))


def tier_at(account: Account, history: Sequence[TierHistoryEntry], occurred_at: datetime, program: Program) -> str:
    """The tier in force at `occurred_at`; `history` (oldest first) is only needed for times before `tier_since`.

    A tier that this program version no longer has is replaced by the one that the qualifying units reach.
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
    account: Account, added: Qualifying, occurred_at: datetime, program: Program, counted: Sequence[CountedOrder] = ()
) -> tuple[Account, tuple[TierChange, ...]]:
    """Count an order of `occurred_at`; upgrade at once at a threshold.

    An order before the current period does not count for it; a first order of a later period starts that one.
    `counted` are the account's recorded orders, needed only where a period reaches into earlier ones.
    """
    more = units(added, program)
    period = qualification_period(program, occurred_at, account.enrolled_at)
    if not _is_current(account, period):
        overlapped = _overlapped(account, period, occurred_at, program)
        if more <= 0 or (overlapped is None and _is_earlier(account, period)):
            return account, ()
        if overlapped is None:
            account = _begin(account, period, program, counted)
        period = overlapped or period
    account = account._replace(qualifying_points=account.qualifying_points + more)
    if account.tier_until is None and period.end is not None and account.tier_id != program.tiers[0].tier_id:
        account = account._replace(tier_until=period.end)
    reached = program.tier_for(account.qualifying_points)
    if more <= 0 or _rank(program, reached.tier_id) <= _rank(program, account.tier_id):
        return account, ()
    # A late order must not open a tier before the last change: the history is read by effective_at.
    effective_at = max(occurred_at, account.tier_since) if account.tier_since else occurred_at
    return _move(account, reached.tier_id, effective_at, _later(account, period.end), TierChangeReason.QUALIFIED)


def disqualify(
    account: Account,
    history: Sequence[TierHistoryEntry],
    removed: Qualifying,
    ordered_at: datetime,
    refunded_at: datetime,
    program: Program,
) -> tuple[Account, tuple[TierChange, ...]]:
    """Take what a refund (of `refunded_at`) of an order (of `ordered_at`) no longer counts from the account.

    Where refunds count at once, the tier is lost with it that was reached in this very period and no longer fits; a
    tier that came from an earlier period, that is held by hand, or whose review is overdue stays for its review.
    """
    if program.qualification.refunds is RefundEffect.NEVER:
        return account, ()
    period = qualification_period(program, ordered_at, account.enrolled_at)
    if not _is_current(account, period):
        overlapped = _overlapped(account, period, ordered_at, program)
        if overlapped is None:
            return account, ()
        period = overlapped
    left = max(0, account.qualifying_points - units(removed, program))
    account = account._replace(qualifying_points=left)
    if program.qualification.refunds is RefundEffect.AT_ONCE and account.tier_since is not None:
        return _lower(account, account.tier_since, history, period, refunded_at, program)
    return account, ()


def _lower(
    account: Account,
    since: datetime,
    history: Sequence[TierHistoryEntry],
    period: Period,
    refunded_at: datetime,
    program: Program,
) -> tuple[Account, tuple[TierChange, ...]]:
    """Take the tier that a refund has cost the account."""
    is_of_before = period.start is not None and since < period.start
    if is_of_before or _is_held(account, refunded_at) or _is_overdue(account, refunded_at, program):
        return account, ()
    floor = program.tiers[0].tier_id if period.start is None else tier_at(account, history, period.start, program)
    rank = max(program.rank(program.tier_for(account.qualifying_points).tier_id), program.rank(floor))
    if rank >= _rank(program, account.tier_id):
        return account, ()
    until = account.tier_until if rank else None
    return _move(account, program.tiers[rank].tier_id, max(refunded_at, since), until, TierChangeReason.REFUNDED)


def review_due_at(account: Account, program: Program) -> datetime | None:
    """When the account's tier is reviewed: at the end of its period, after the grace; None = never."""
    if account.tier_until is None:
        return None
    return account.tier_until + timedelta(days=program.qualification.grace_days)


def decide_tier_review(account: Account, program: Program, counted: Sequence[CountedOrder] = ()) -> Decision:
    """Review the account at its `tier_until`, with what the `period_ended` then counted.

    Downgrades, as far as the program goes, towards the tier that fits, or keeps the tier for another period. A run that
    is late by several periods is called once for each, and so computes what the runs in time would have. `counted` are
    the account's recorded orders of that period and later; they are not needed while the account still counts it.
    """
    reviewed, changes = _review(account, program, counted)
    return Decision((AccountChange(reviewed, tier_changes=changes),))


def _review(
    account: Account, program: Program, counted: Sequence[CountedOrder]
) -> tuple[Account, tuple[TierChange, ...]]:
    assert account.tier_until is not None
    due_at = review_due_at(account, program)
    assert due_at is not None
    qualified = _qualified(account, program, counted)
    following = qualification_period(program, account.tier_until + ZONE_CHANGE_MAX, account.enrolled_at)
    if following.start is None and account.tier_held_until is None:
        return account._replace(tier_until=None), ()  # by lifetime now: no tier is lost by time alone
    reviewed = account._replace(tier_until=following.end, tier_held_until=None)
    if following.start is not None and not _counts_from(account, following.start):
        # Where periods overlap, and in the days of grace, orders of the following one are recorded already.
        known = units_in(following, counted, program)
        reviewed = reviewed._replace(qualifying_from=following.start, qualifying_points=known)
    tier_id = _after_review(program, account.tier_id, program.tier_for(qualified).tier_id)
    changes: tuple[TierChange, ...] = ()
    if tier_id != account.tier_id:
        reviewed, changes = _move(reviewed, tier_id, due_at, following.end, TierChangeReason.REVIEWED, qualified)
    if reviewed.tier_id == program.tiers[0].tier_id:
        reviewed = reviewed._replace(tier_until=None)
    return reviewed, changes


def _qualified(account: Account, program: Program, counted: Sequence[CountedOrder]) -> int:
    """What the period counts that ends at the account's `tier_until`."""
    ended = period_ended(account, program)
    return account.qualifying_points if _is_current(account, ended) else units_in(ended, counted, program)


def _after_review(program: Program, tier_id: str, fitting_id: str) -> str:
    """The tier after a review. One that the program no longer has is replaced by the fitting one."""
    rank, fits = _rank(program, tier_id), program.rank(fitting_id)
    if rank < 0:
        return fitting_id
    if fits >= rank:
        return tier_id
    match program.qualification.downgrade:
        case Downgrade.TO_FIT:
            return fitting_id
        case Downgrade.ONE_STEP:
            return program.tiers[max(fits, rank - 1)].tier_id
        case Downgrade.NEVER:
            return tier_id


def review_overdue(
    account: Account, occurred_at: datetime, program_at: ProgramAt, counted: Sequence[CountedOrder] = ()
) -> tuple[Account, tuple[TierChange, ...]]:
    """Make the reviews that were due by `occurred_at`, so that an order meets the same tier whether or not they ran.

    Each is made by the version that its period ended under. `counted` are the account's recorded orders of the periods
    that ended.
    """
    changes: tuple[TierChange, ...] = ()
    while account.tier_until is not None and _is_overdue(account, occurred_at, program_at(account.tier_until)):
        account, more = _review(account, program_at(account.tier_until), counted)
        changes += more
    return account, changes


def period_ended(account: Account, program: Program) -> Period:
    """The period that ends at the account's `tier_until`."""
    assert account.tier_until is not None
    start, _ = qualification_period(program, account.tier_until - ZONE_CHANGE_MAX, account.enrolled_at)
    return Period(start, account.tier_until)


def decide_tier_hold(account: Account, program: Program, tier_id: str, until: datetime, as_of: datetime) -> Decision:
    """Put the account into `tier_id` by hand and keep it there at least until `until`; then a review decides.

    Orders may move it further up meanwhile. A second hold replaces the first.
    """
    # Held to the end of a period, it is reviewed at that end, and not a whole period later.
    end = qualification_period(program, until - _JUST_BEFORE, account.enrolled_at).end
    account = account._replace(tier_held_until=until, tier_until=end or until)
    changes: tuple[TierChange, ...] = ()
    if tier_id != account.tier_id:
        effective_at = max(as_of, account.tier_since) if account.tier_since else as_of
        account, changes = _move(account, tier_id, effective_at, account.tier_until, TierChangeReason.HELD)
    return Decision((AccountChange(account, tier_changes=changes),))


class TierAtRisk(NamedTuple):
    """A review is near that would move the account down, as it stands."""

    account: Account  #: marked, so that it is warned once
    tier_id: str
    fitting_tier_id: str
    loses_at: datetime
    units_missing: int  #: to stay


def decide_warning(account: Account, program: Program, counted: Sequence[CountedOrder] = ()) -> TierAtRisk | None:
    """Whether the next review, with what counts so far, would move the account down."""
    due_at = review_due_at(account, program)
    if due_at is None or program.tier(account.tier_id) is None:
        return None
    qualified = _qualified(account, program, counted)
    after = _after_review(program, account.tier_id, program.tier_for(qualified).tier_id)
    rank = program.rank(account.tier_id)
    if program.rank(after) >= rank:
        return None
    marked = account._replace(tier_warned_until=account.tier_until)
    return TierAtRisk(marked, account.tier_id, after, due_at, program.thresholds[rank] - qualified)


def _is_held(account: Account, instant: datetime) -> bool:
    return account.tier_held_until is not None and instant < account.tier_held_until


def _is_overdue(account: Account, instant: datetime, program: Program) -> bool:
    due_at = review_due_at(account, program)
    return due_at is not None and due_at <= instant


def _later(account: Account, end: datetime | None) -> datetime | None:
    """A hold reaches beyond the period in which it is overtaken."""
    if account.tier_held_until is not None and account.tier_until is not None and end is not None:
        return max(account.tier_until, end)
    return end


def _is_current(account: Account, period: Period) -> bool:
    """Whether `period` is the one that the account's qualifying units are of."""
    if account.qualifying_from is None or period.start is None:
        return account.qualifying_from is period.start
    return abs(period.start - account.qualifying_from) < ZONE_CHANGE_MAX


def _overlapped(account: Account, period: Period, instant: datetime, program: Program) -> Period | None:
    """The account's own period, where `instant` lies in it, although `period`, that of `instant`, is an earlier one.

    Rolling months are like that: an order of last month counts for this one's period too.
    """
    begun = account.qualifying_from
    if begun is None or period.start is None or not period.start < begun <= instant:
        return None
    within = begun + ZONE_CHANGE_MAX
    if program.qualification.months is not None:
        day = add_months(within.astimezone(program.zone).date(), program.qualification.months)
        within = local_midnight(day, program.zone)
    return qualification_period(program, within, account.enrolled_at)


def _is_earlier(account: Account, period: Period) -> bool:
    counted, start = account.qualifying_from, period.start
    return counted is not None and start is not None and start < counted


def _counts_from(account: Account, start: datetime) -> bool:
    """Whether the account counts the period of this start already, or a later one."""
    return account.qualifying_from is not None and account.qualifying_from > start - ZONE_CHANGE_MAX


def _begin(account: Account, period: Period, program: Program, counted: Sequence[CountedOrder]) -> Account:
    """Begin to count `period`: with what it shares with earlier ones, or after a change of the window to lifetime."""
    if period.end is None:
        # What was spent, and how many orders there were, is not kept beyond their period; points are.
        is_points = program.qualification.measure is Measure.POINTS
        known = account.lifetime_points if is_points else units_in(period, counted, program)
        return account._replace(qualifying_from=None, qualifying_points=known, tier_until=None)
    if account.qualifying_from is None and account.tier_until is None and account.tier_id != program.tiers[0].tier_id:
        # The window was lifetime: what was before the change may not all be known, so the next whole year decides.
        after = qualification_period(program, period.end + ZONE_CHANGE_MAX, account.enrolled_at)
        account = account._replace(tier_until=after.end)
    return account._replace(qualifying_from=period.start, qualifying_points=units_in(period, counted, program))


def _rank(program: Program, tier_id: str) -> int:
    """The number of tiers below; -1 for a tier that this version no longer has, so that any tier replaces it."""
    return -1 if program.tier(tier_id) is None else program.rank(tier_id)


def _move(
    account: Account,
    tier_id: str,
    effective_at: datetime,
    until: datetime | None,
    reason: TierChangeReason,
    qualified: int | None = None,
) -> tuple[Account, tuple[TierChange, ...]]:
    number = account.tier_changes + 1
    had = account.qualifying_points if qualified is None else qualified
    change = TierChange(account.account_id, number, account.tier_id, tier_id, had, effective_at, reason)
    account = account._replace(tier_id=tier_id, tier_since=effective_at, tier_until=until, tier_changes=number)
    return account, (change,)
