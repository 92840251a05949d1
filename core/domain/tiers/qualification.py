"""Tiers: upgraded at once by the order that crosses a threshold, reviewed when a qualification period ends.

What qualifies is counted in units of the program's measure: points that orders entitle to, hundredths of what was
spent, or orders. Redemption and expiry never change it, refunds do as the program says. Each step here is the next one
in time of an account, by the version in force then; `core.domain.tiers.timeline` makes them all, from the facts alone.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from core.domain.calendar import add_months, day_of_year, local_midnight
from core.domain.decision import AccountChange, Decision, TierChange, TierChangeReason
from core.domain.ledger import Account
from core.domain.program import Downgrade, Measure, Program, QualificationWindow, RefundEffect
from core.domain.tiers.history import CountedOrder, CountedSince, TierHistoryEntry, TierHold

#: A new program version may bring another time zone, and so move the midnight at which the running year began.
ZONE_CHANGE_MAX = timedelta(days=2)
INSTANT_AFTER = timedelta(microseconds=1)  #: as exact as instants are kept
BEGINNING = datetime.min.replace(tzinfo=UTC)
ProgramAt = Callable[[datetime], Program]  #: the version of a program that is in force at an instant


class Period(NamedTuple):
    """A qualification period: orders of [start, end) count, and at its end it is reviewed. None: for a lifetime."""

    start: datetime | None
    end: datetime | None


def units(order: CountedOrder, program: Program) -> int:
    """What an order counts, by the program's measure, and before refunds where these never count."""
    is_before_refunds = program.qualification.refunds is RefundEffect.NEVER
    qualifying = order.before_refunds if is_before_refunds else order.qualifying
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
        units(order, program)
        for order in counted
        if (period.start is None or period.start <= order.occurred_at)
        and (period.end is None or order.occurred_at < period.end)
    )


def counted_at(instant: datetime, known: Iterable[CountedOrder], program: Program, enrolled_at: datetime | None) -> int:
    """What the orders of the period count that runs at `instant`. `known` are as they are then, and none is later.

    `program` is the version in force then.
    """
    return units_in(qualification_period(program, instant, enrolled_at), known, program)


def way_of_counting(program: Program) -> tuple[object, ...]:
    """What two versions have in common that count the same orders in the same units."""
    terms = program.qualification
    return terms.measure, terms.window, terms.months, terms.refunds is RefundEffect.NEVER, program.time_zone


def _count_alike(one: Program, other: Program) -> bool:
    return one is other or way_of_counting(one) == way_of_counting(other)


_LIFETIME = Period(None, None)


def qualification_period(program: Program, instant: datetime, enrolled_at: datetime | None) -> Period:
    """The period whose running part `instant` lies in, by the program's local calendar, as UTC instants.

    With rolling months that is the running month and the n before it. A membership year begins on the day of the year
    on which the account was opened.
    """
    if program.qualification.window is QualificationWindow.LIFETIME:
        return _LIFETIME
    zone, day = program.zone, instant.astimezone(program.zone).date()
    match program.qualification.window:
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


def catch_up(
    account: Account, instant: datetime, program_at: ProgramAt, counted: CountedSince
) -> tuple[Account, tuple[TierChange, ...]]:
    """Make the reviews that were due by `instant`, and count on in the way of the version in force then.

    `instant` is not before what the account has counted. Each review is made by the version that its period ended
    under.
    """
    changes: tuple[TierChange, ...] = ()
    while account.tier_until is not None and _is_overdue(account, instant, program_at(account.tier_until)):
        account, more = _review(account, program_at, counted)
        changes += more
    if account.counted_until is not None and account.counted_until < instant:
        program = program_at(instant)
        if not _count_alike(program_at(account.counted_until), program):
            period = qualification_period(program, instant, account.enrolled_at)
            account = _begin(account, period, program, counted)._replace(counted_until=instant)
    return account, changes


def qualify(
    account: Account, order: CountedOrder, program: Program, counted: CountedSince
) -> tuple[Account, tuple[TierChange, ...]]:
    """Count an order, the latest so far; upgrade at once at a threshold.

    A first order of a later period begins that one, with what it shares with earlier ones.
    """
    more = units(order, program)
    if more <= 0:
        return account, ()
    period = qualification_period(program, order.occurred_at, account.enrolled_at)
    if not _is_current(account, period):
        account = _begin(account, period, program, counted)
    account = account._replace(qualifying_points=account.qualifying_points + more, counted_until=order.occurred_at)
    if account.tier_until is None and period.end is not None and account.tier_id != program.tiers[0].tier_id:
        account = account._replace(tier_until=period.end)
    reached = program.tier_for(account.qualifying_points)
    if rank_of(program, reached.tier_id) <= rank_of(program, account.tier_id):
        return account, ()
    return move_tier(
        account, reached.tier_id, order.occurred_at, _later(account, period.end), TierChangeReason.QUALIFIED
    )


def recount_order(account: Account, before: CountedOrder, after: CountedOrder, program: Program) -> Account:
    """Count an order otherwise from now on; `program` is the version in force. The tier stays."""
    begun = account.qualifying_from
    is_lifetime = program.qualification.window is QualificationWindow.LIFETIME
    if is_lifetime if begun is None else before.occurred_at >= begun:
        left = account.qualifying_points + units(after, program) - units(before, program)
        account = account._replace(qualifying_points=max(0, left))
    return account


def decide_tier_review(account: Account, program_at: ProgramAt, counted: CountedSince) -> Decision:
    """Review the tier at the end of its period, `tier_until`, and after the grace.

    Ask the version that was in force then: who no longer qualifies moves down as the program says. A change is
    effective when it was due, whenever the review is made.
    """
    account, changes = _review(account, program_at, counted)
    return Decision((AccountChange(account, tier_changes=changes),))


def review_due_at(account: Account, program: Program) -> datetime | None:
    """When the account's tier is to be reviewed by `program`, the version in force at its `tier_until`."""
    if account.tier_until is None:
        return None
    return account.tier_until + timedelta(days=program.qualification.grace_days)


def _review(account: Account, program_at: ProgramAt, counted: CountedSince) -> tuple[Account, tuple[TierChange, ...]]:
    assert account.tier_until is not None
    program = program_at(account.tier_until)
    due_at = review_due_at(account, program)
    assert due_at is not None
    now = program_at(due_at)
    so_far = now if account.counted_until is None else program_at(account.counted_until)
    qualified = reviewed_units(account, program_at, counted)
    following = qualification_period(program, account.tier_until + ZONE_CHANGE_MAX, account.enrolled_at)
    counted_until = due_at if account.counted_until is None else max(account.counted_until, due_at)
    reviewed = account._replace(counted_until=counted_until)
    running = qualification_period(now, due_at, account.enrolled_at)
    if not _count_alike(so_far, now) or (running.start is not None and not _counts_from(account, running.start)):
        # Where periods overlap, and in the days of grace, orders of the running one are recorded already.
        known = units_in(running, counted(running.start or BEGINNING), now)
        reviewed = reviewed._replace(qualifying_from=running.start, qualifying_points=known)
    if following.start is None and account.tier_held_until is None:
        return reviewed._replace(tier_until=None), ()  # by lifetime now: no tier is lost by time alone
    reviewed = reviewed._replace(tier_until=following.end, tier_held_until=None)
    tier_id = _after_review(program, account.tier_id, program.tier_for(qualified).tier_id)
    changes: tuple[TierChange, ...] = ()
    if tier_id != account.tier_id:
        # A version with less grace may have its first review due before the last one of the version before.
        effective_at = due_at if account.tier_since is None else max(due_at, account.tier_since)
        reviewed, changes = move_tier(
            reviewed, tier_id, effective_at, following.end, TierChangeReason.REVIEWED, qualified
        )
    if reviewed.tier_id == program.tiers[0].tier_id:
        reviewed = reviewed._replace(tier_until=None)
    return reviewed, changes


def reviewed_units(account: Account, program_at: ProgramAt, counted: CountedSince) -> int:
    """What the account's next review counts: all of the period that it is about, as it is known when it is due."""
    assert account.tier_until is not None
    program = program_at(account.tier_until)
    last = account.counted_until or review_due_at(account, program)
    assert last is not None
    return _qualified(account, program, counted, is_counted_so=_count_alike(program_at(last), program))


def _qualified(account: Account, program: Program, counted: CountedSince, *, is_counted_so: bool = True) -> int:
    """What the period counts that ends at the account's `tier_until`."""
    ended = period_ended(account, program)
    if is_counted_so and _is_current(account, ended):
        return account.qualifying_points
    return units_in(ended, counted(ended.start or BEGINNING), program)


def _after_review(program: Program, tier_id: str, fitting_id: str) -> str:
    """The tier after a review. One that the program no longer has is replaced by the fitting one."""
    rank, fits = rank_of(program, tier_id), program.rank(fitting_id)
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


def period_ended(account: Account, program: Program) -> Period:
    """The period that ends at the account's `tier_until`."""
    assert account.tier_until is not None
    start, _ = qualification_period(program, account.tier_until - ZONE_CHANGE_MAX, account.enrolled_at)
    return Period(start, account.tier_until)


def decide_tier_hold(
    account: Account,
    program: Program,
    tier_id: str,
    until: datetime,
    as_of: datetime,
    orders: Iterable[CountedOrder],
) -> Decision:
    """Put the account into `tier_id` by hand and keep it there at least until `until`; then a review decides.

    Orders may move it further up meanwhile. A second hold replaces the first. `orders` are all that are recorded of it.
    """
    counted_until = account.counted_until
    held_at = as_of if counted_until is None or counted_until < as_of else counted_until + INSTANT_AFTER
    hold = TierHold(held_at, tier_id, until)
    account, changes = hold_tier(account, hold, program, orders)
    account = account._replace(counted_until=counted_until and held_at)
    return Decision((AccountChange(account, tier_changes=changes, holds=(hold,)),))


def hold_tier(
    account: Account, hold: TierHold, program: Program, known: Iterable[CountedOrder]
) -> tuple[Account, tuple[TierChange, ...]]:
    """Do what a person decided; `program` is the version in force then, and `known` are all orders until then."""
    # Held to the end of a period, it is reviewed at that end, and not a whole period later.
    end = qualification_period(program, hold.until - INSTANT_AFTER, account.enrolled_at).end
    account = account._replace(tier_held_until=hold.until, tier_until=end or hold.until)
    if hold.tier_id == account.tier_id:
        return account, ()
    # What the account counts may be of a period that is over, or counted in the way of an earlier version.
    had = counted_at(hold.held_at, known, program, account.enrolled_at)
    return move_tier(account, hold.tier_id, hold.held_at, account.tier_until, TierChangeReason.HELD, had)


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
    qualified = _qualified(account, program, lambda _: counted)
    after = _after_review(program, account.tier_id, program.tier_for(qualified).tier_id)
    rank = program.rank(account.tier_id)
    if program.rank(after) >= rank:
        return None
    marked = account._replace(tier_warned_until=account.tier_until)
    return TierAtRisk(marked, account.tier_id, after, due_at, program.thresholds[rank] - qualified)


def is_held(account: Account, instant: datetime) -> bool:
    """Whether a person keeps the account in its tier then."""
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


def _counts_from(account: Account, start: datetime) -> bool:
    """Whether the account counts the period of this start already, or a later one."""
    return account.qualifying_from is not None and account.qualifying_from > start - ZONE_CHANGE_MAX


def _begin(account: Account, period: Period, program: Program, counted: CountedSince) -> Account:
    """Begin to count `period`, with what is recorded of it: what it shares with earlier ones, or was counted else."""
    known = units_in(period, counted(period.start or BEGINNING), program)
    is_new = period.end is not None and account.qualifying_from is None and account.tier_until is None
    if period.end is None:
        account = account._replace(tier_until=account.tier_until if account.tier_held_until else None)
    elif is_new and account.tier_id != program.tiers[0].tier_id:
        # The window was lifetime: what was before the change may not all be known, so the next whole year decides.
        after = qualification_period(program, period.end + ZONE_CHANGE_MAX, account.enrolled_at)
        account = account._replace(tier_until=after.end)
    return account._replace(qualifying_from=period.start, qualifying_points=known)


def rank_of(program: Program, tier_id: str) -> int:
    """The number of tiers below; -1 for a tier that this version no longer has, so that any tier replaces it."""
    return -1 if program.tier(tier_id) is None else program.rank(tier_id)


def move_tier(
    account: Account,
    tier_id: str,
    effective_at: datetime,
    until: datetime | None,
    reason: TierChangeReason,
    qualified: int | None = None,
) -> tuple[Account, tuple[TierChange, ...]]:
    """Put the account into a tier, which is next reviewed at the end of the period that ends at `until`."""
    number = account.tier_changes + 1
    had = account.qualifying_points if qualified is None else qualified
    change = TierChange(account.account_id, number, account.tier_id, tier_id, had, effective_at, reason)
    account = account._replace(tier_id=tier_id, tier_since=effective_at, tier_until=until, tier_changes=number)
    return account, (change,)
