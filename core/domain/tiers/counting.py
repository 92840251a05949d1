"""Which of an account's recorded orders are needed to judge its tier, and in which sums. Mostly none are."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from core.domain.ledger import Account
from core.domain.program import Measure, Program, QualificationWindow, RefundEffect
from core.domain.tiers.qualification import ProgramAt, period_ended, qualification_period, review_due_at

_BEGINNING = datetime.min.replace(tzinfo=UTC)


def counted_from(account: Account, occurred_at: datetime, current: Program, program_at: ProgramAt) -> datetime | None:
    """From when on the orders of the account are needed for an order of `occurred_at`; None = no order is."""
    since: list[datetime] = []
    if account.tier_until is not None:
        reviewing = program_at(account.tier_until)
        due_at = review_due_at(account, reviewing)
        if due_at is not None and due_at <= occurred_at:
            # Where several versions review one after the other, a later one may count from earlier on.
            start = period_ended(account, reviewing).start if reviewing is current else None
            since.append(start or _BEGINNING)
    match current.qualification.window:
        case QualificationWindow.LIFETIME:
            is_points = current.qualification.measure is Measure.POINTS
            if account.qualifying_from is not None and not is_points:  # the window was another one before
                since.append(_BEGINNING)
        case _:
            period = qualification_period(current, occurred_at, account.enrolled_at)
            begun = account.qualifying_from
            if begun is None or (period.start is not None and period.start > begun):
                # It begins to count that period. Where the window was another one before, orders of it are there.
                since.append(period.start or _BEGINNING)
    return min(since, default=None)


def counted_since(
    account: Account, ordered_at: Sequence[datetime], current: Program, program_at: ProgramAt
) -> datetime | None:
    """From when on the account's orders are needed for orders of these instants, one after the other."""
    needed = [counted_from(account, instant, current, program_at) for instant in ordered_at]
    # A period that one of them is in may end, and be reviewed, before a later one of them.
    period = qualification_period(current, min(ordered_at), account.enrolled_at)
    if period.end is not None and max(ordered_at) >= period.end:
        start = period.start if program_at(period.end) is current else None
        needed.append(start or _BEGINNING)
    return min((instant for instant in needed if instant is not None), default=None)


def history_since(account: Account, ordered_at: Sequence[datetime], current: Program) -> datetime:
    """From when on the account's tier changes are needed for orders of these instants, and for refunds of them.

    The last change before that is needed too.
    """
    needed = [*ordered_at]
    if current.qualification.refunds is RefundEffect.AT_ONCE:
        starts = (qualification_period(current, instant, account.enrolled_at).start for instant in ordered_at)
        needed += [start for start in starts if start is not None]
    return min(needed, default=_BEGINNING)


def counting_bounds(account: Account, instants: Sequence[datetime], programs: Iterable[Program]) -> list[datetime]:
    """Where the periods begin and end in which orders are counted for orders, and for reviews, of these instants.

    Between two of these bounds orders may be added up. `programs` are the version in force and those that review.
    """
    bounds: set[datetime | None] = set()
    for program in programs:
        bounds |= _bounds(account, instants, program)
    return sorted(bound for bound in bounds if bound is not None)


def _bounds(account: Account, instants: Sequence[datetime], program: Program) -> set[datetime | None]:
    reviewed = [] if account.tier_until is None else [account.tier_until]
    bounds: set[datetime | None] = {*reviewed, *(period_ended(account, program).start for _ in reviewed)}
    instant, last = min([*instants, *reviewed]), max([*instants, *reviewed])
    while True:  # a late order may lie many periods before the next, and each of these be reviewed
        period = qualification_period(program, instant, account.enrolled_at)
        bounds |= {period.start, period.end}
        if period.end is None or period.end > last:
            return bounds
        instant = period.end
