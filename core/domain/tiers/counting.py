"""What is needed of an account's recorded orders to judge its tier: mostly nothing, at times sums, seldom each one."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from core.domain.ledger import Account
from core.domain.orders.posted import PostedOrder
from core.domain.program import Program, RefundEffect
from core.domain.reach import OrderKey, TierInstant
from core.domain.tiers.history import counted_order
from core.domain.tiers.qualification import (
    BEGINNING,
    INSTANT_AFTER,
    ProgramAt,
    period_ended,
    qualification_period,
    recount_order,
    review_due_at,
    way_of_counting,
)
from core.domain.tiers.recounting import is_next
from core.domain.tiers.timeline import has_membership_years, may_fall


class TierNeeds(NamedTuple):
    """What messages need of an account's recorded orders to judge its tier."""

    #: All its orders one by one, and all its tier changes and holds: something is late, or may cost the tier at once.
    everything: bool = False
    since: datetime | None = None  #: else sums of the orders from then on; None: not even these


_NOTHING, _EVERYTHING = TierNeeds(), TierNeeds(everything=True)


def tier_needs(
    account: Account, instants: Sequence[TierInstant], orders: Iterable[PostedOrder], program_at: ProgramAt
) -> TierNeeds:
    """What is needed for what happens at `instants`; `orders` are those of them that are posted."""
    if not instants:
        return _NOTHING
    posted = {each.key: each for each in orders}
    until, may_rise = account, False
    made: dict[OrderKey, datetime] = {}
    happened: list[datetime] = []
    for instant in sorted(instants, key=lambda each: each.place):
        if instant.at is None:
            return _EVERYTHING
        known = posted.get(instant.order)
        if instant.is_new and known is not None:
            continue  # it was there before
        if known is None and not instant.is_new and instant.order not in made:
            continue  # its order is another account's, or not there: it waits, and is asked about again behind that
        ordered_at = made.get(instant.order) if known is None else known.order.occurred_at
        at = instant.at if ordered_at is None else max(instant.at, ordered_at)
        if not is_next(until, at, program_at):
            return _EVERYTHING
        if instant.is_new:
            may_rise = True
            made[instant.order] = at
        elif _is_far_reaching(account, known, at, program_at, may_rise=may_rise):
            return _EVERYTHING
        happened.append(at)
        until = until._replace(counted_until=_counted_until(account, instant, at, program_at))
    return TierNeeds(since=_counted_since(account, happened, program_at)) if happened else _NOTHING


def _counted_until(account: Account, instant: TierInstant, at: datetime, program_at: ProgramAt) -> datetime | None:
    """Until when an account has been counted at least that has met this; None: what comes next counts all anew."""
    if not instant.is_new:
        return at + INSTANT_AFTER
    # If it counts nothing, the order with which the membership begins is still to come.
    return None if at == account.enrolled_at and has_membership_years(program_at(at)) else at


def _is_far_reaching(
    account: Account, posted: PostedOrder | None, at: datetime, program_at: ProgramAt, *, may_rise: bool
) -> bool:
    """Whether a refund of `at` may need the account's tiers worked out anew."""
    program = program_at(at)
    if has_membership_years(program) and (posted is None or posted.order.occurred_at == account.enrolled_at):
        return True
    if program.qualification.refunds is not RefundEffect.AT_ONCE:
        return False
    if may_rise or posted is None:
        return True
    order = counted_order(posted)
    if not account.counted_until or way_of_counting(program_at(account.counted_until)) != way_of_counting(program):
        return True
    least = recount_order(account, order, order.without(), program)
    return may_fall(least, order, at, program, program_at)


def _counted_since(account: Account, happened: Sequence[datetime], program_at: ProgramAt) -> datetime | None:
    """From when on orders are needed for what happens in time; None where they are not."""
    last, until = max(happened), account.counted_until
    assert until is not None
    program = program_at(until)
    if any(program_at(at) is not program for at in happened) or (
        account.tier_until is not None and program_at(account.tier_until) is not program
    ):
        return BEGINNING  # a later version may count from earlier on, and in another way
    since: list[datetime] = []
    due_at = review_due_at(account, program)
    if due_at is not None and due_at <= last:
        since.append(period_ended(account, program).start or BEGINNING)
    for at in (min(happened), last):
        start = qualification_period(program, at, account.enrolled_at).start
        if start is not None and (account.qualifying_from is None or start > account.qualifying_from):
            since.append(start)
    # The period that the first of them is in may end, and be reviewed, before the last one.
    period = qualification_period(program, min(happened), account.enrolled_at)
    if period.end is not None and last >= period.end:
        since.append(period.start or BEGINNING)
    return min(since, default=None)


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
    due_at = review_due_at(account, program)
    reviewed += [] if due_at is None else [due_at]
    bounds: set[datetime | None] = {*reviewed}
    if account.tier_until is not None:
        bounds.add(period_ended(account, program).start)
    instant, last = min([*instants, *reviewed]), max([*instants, *reviewed])
    while True:  # many periods may lie between, and each of these be reviewed
        period = qualification_period(program, instant, account.enrolled_at)
        bounds |= {period.start, period.end}
        if period.end is None or period.end > last:
            return bounds
        instant = period.end
