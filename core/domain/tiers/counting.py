"""Which of an account's recorded orders are needed to judge its tier, and in which sums. Mostly none are."""

from collections.abc import Sequence
from datetime import UTC, datetime

from core.domain.ledger import Account
from core.domain.program import Measure, Program, QualificationWindow
from core.domain.tiers.qualification import period_ended, qualification_period, review_due_at

_BEGINNING = datetime.min.replace(tzinfo=UTC)


def counted_from(account: Account, occurred_at: datetime, current: Program) -> datetime | None:
    """From when on the orders of the account are needed for an order of `occurred_at`; None = no order is."""
    since: list[datetime] = []
    due_at = review_due_at(account, current)
    if due_at is not None and due_at <= occurred_at:
        since.append(period_ended(account, current).start or _BEGINNING)
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


def counted_since(account: Account, ordered_at: Sequence[datetime], current: Program) -> datetime | None:
    """From when on the account's orders are needed for orders of these instants, one after the other."""
    needed = [counted_from(account, instant, current) for instant in ordered_at]
    # A period that one of them is in may end, and be reviewed, before a later one of them.
    period = qualification_period(current, min(ordered_at), account.enrolled_at)
    if period.end is not None and max(ordered_at) >= period.end:
        needed.append(period.start or _BEGINNING)
    return min((instant for instant in needed if instant is not None), default=None)


def counting_bounds(account: Account, instants: Sequence[datetime], current: Program) -> list[datetime]:
    """Where the periods begin and end in which orders are counted for orders, and for reviews, of these instants.

    Between two of these bounds orders may be added up.
    """
    reviewed = [] if account.tier_until is None else [account.tier_until]
    bounds: set[datetime | None] = {*reviewed, *(period_ended(account, current).start for _ in reviewed)}
    instant, last = min([*instants, *reviewed]), max([*instants, *reviewed])
    while True:  # a late order may lie many periods before the next, and each of these be reviewed
        period = qualification_period(current, instant, account.enrolled_at)
        bounds |= {period.start, period.end}
        if period.end is None or period.end > last:
            return sorted(bound for bound in bounds if bound is not None)
        instant = period.end
