"""The tier of an account at every instant: a function of facts and program versions, each with its own time.

An order counts from its own time on, what refunds leave of it from theirs, a hold by hand from when it was made. These
are gone through in time; a review that is due comes before what happens at the same instant, then holds, orders, and
refunds. Everything is judged by the version in force at its own instant.

- Refunds `at_review`: a review counts what was kept just before it was due. Until then a tier that was reached stays.
- `at_once`: at a refund's instant the account falls to the tier in which it would be if all orders had been from the
  start as they are kept then. A refund never raises.
- `never`: what orders counted before refunds.

How and when facts came is not asked, so it cannot matter.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import NamedTuple

from core.domain.decision import TierChange, TierChangeReason
from core.domain.ledger import Account
from core.domain.program import Program, QualificationWindow, RefundEffect
from core.domain.tiers.history import CountedOrder, OrdersByTime, TierFacts, TierHistoryEntry, TierHold
from core.domain.tiers.qualification import (
    INSTANT_AFTER,
    ProgramAt,
    catch_up,
    counted_at,
    hold_tier,
    is_held,
    move_tier,
    qualify,
    rank_of,
    recount_order,
    review_due_at,
    reviewed_units,
)


class Timeline(NamedTuple):
    """An account's tiers through time."""

    first_tier_id: str  #: before the first change
    changes: tuple[TierChange, ...]  #: by time, numbered from 1
    account: Account  #: at the end; what is no matter of tiers is as it was
    reviewed: Mapping[datetime, int]  #: what each review counted, by the instant at which it was due

    def tier_at(self, instant: datetime) -> str:
        """The tier at an instant, after all that happened at it."""
        return _at(self.first_tier_id, _stretches(self.changes), instant)


class _Kind(IntEnum):
    """What comes first of one instant."""

    HOLD = 0
    ORDER = 1
    STEP = 2


class _Event(NamedTuple):
    at: datetime
    kind: _Kind
    hold: TierHold | None = None
    before: CountedOrder | None = None
    after: CountedOrder | None = None


def timeline(account: Account, facts: TierFacts, program_at: ProgramAt, through: datetime) -> Timeline:
    """Work out the tiers of an account from all facts, to the instant `through`, which none of them is after.

    Of `account` only who it is and what is no matter of tiers is used.
    """
    events = sorted(_events(facts), key=lambda event: event[:2])
    start = events[0].at if events else through
    first = program_at(start).tiers[0].tier_id
    begun_at = enrolled_at(account, facts, program_at(through))
    state = account._replace(
        tier_id=first, tier_since=None, tier_until=None, tier_held_until=None, tier_changes=0,
        qualifying_points=0, qualifying_from=None, counted_until=start, enrolled_at=begun_at,
    )  # fmt: skip
    known = OrdersByTime()
    changes: list[TierChange] = []
    reviewed: dict[datetime, int] = {}
    for event in events:
        state, reviews = _pass_to(event.at, state, program_at, known, reviewed)
        state, more = _happen(state, event, facts, known, program_at)
        changes += [*reviews, *more]
    state, reviews = _pass_to(through, state, program_at, known, reviewed)
    return Timeline(first, (*changes, *reviews), state, reviewed)


def _pass_to(
    instant: datetime, account: Account, program_at: ProgramAt, known: OrdersByTime, reviewed: dict[datetime, int]
) -> tuple[Account, list[TierChange]]:
    """Let time pass to `instant`, one review after another, and note in `reviewed` what each of them counts."""
    changes: list[TierChange] = []
    while account.tier_until is not None:
        due_at = review_due_at(account, program_at(account.tier_until))
        if due_at is None or due_at > instant:
            break
        reviewed[due_at] = reviewed_units(account, program_at, known.since)
        account, more = catch_up(account, due_at, program_at, known.since)
        changes += more
    account, more = catch_up(account, instant, program_at, known.since)
    return account, [*changes, *more]


def _events(facts: TierFacts) -> Iterator[_Event]:
    for hold in facts.holds:
        yield _Event(hold.held_at, _Kind.HOLD, hold=hold)
    for order in facts.orders:
        first, *later = order.all_steps
        before = CountedOrder(order.occurred_at, first.qualifying, order.before_refunds)
        yield _Event(order.occurred_at, _Kind.ORDER, after=before)
        for step in later:
            after = CountedOrder(order.occurred_at, step.qualifying, order.before_refunds)
            yield _Event(step.since, _Kind.STEP, before=before, after=after)
            before = after


def _happen(
    account: Account, event: _Event, facts: TierFacts, known: OrdersByTime, program_at: ProgramAt
) -> tuple[Account, tuple[TierChange, ...]]:
    program = program_at(event.at)
    match event.kind:
        case _Kind.HOLD:
            assert event.hold is not None
            return hold_tier(account, event.hold, program, known)
        case _Kind.ORDER:
            assert event.after is not None
            account, changes = qualify(account, event.after, program, known.since)
            known.change(None, event.after)
            return account, changes
        case _Kind.STEP:
            assert event.before is not None
            assert event.after is not None
            known.change(event.before, event.after)
            account = recount_order(account, event.before, event.after, program)
            if may_fall(account, event.before, event.at, program, program_at):
                return _fall(account, facts, event.at, program_at)
            return account, ()


def may_fall(
    account: Account, order: CountedOrder, refunded_at: datetime, program: Program, program_at: ProgramAt
) -> bool:
    """Whether a refund of this order may have cost the account its tier at once.

    `account` counts what the refund left; `program` is the version in force at the refund's instant.
    """
    if program.qualification.refunds is not RefundEffect.AT_ONCE or is_held(account, refunded_at):
        return False
    rank = rank_of(program, account.tier_id)
    if rank == 0:
        return False
    # Where nothing but the orders of the running period can have decided, what they come to says it.
    is_simple = (
        program.qualification.window not in {QualificationWindow.ROLLING_MONTHS, QualificationWindow.MEMBERSHIP_YEAR}
        and not program.qualification.grace_days
        and account.enrolled_at is not None
        and not account.is_enrolment_given
        and program_at(account.enrolled_at) is program
        and (account.qualifying_from is None or order.occurred_at >= account.qualifying_from)
        # A hold may have put the account lower than its orders come to: then it is up again by this order alone.
        and account.tier_since != order.occurred_at
    )
    return not (is_simple and program.rank(program.tier_for(account.qualifying_points).tier_id) >= rank >= 0)


def _fall(
    account: Account, facts: TierFacts, refunded_at: datetime, program_at: ProgramAt
) -> tuple[Account, tuple[TierChange, ...]]:
    """Lose at once what refunds have cost: the tier would be another had the orders been as they are kept now."""
    orders = facts.orders_as_of(refunded_at)
    holds = [hold for hold in facts.holds if hold.held_at <= refunded_at]
    would_be = timeline(account, TierFacts(orders, holds), program_at, refunded_at).account
    program = program_at(refunded_at)
    if rank_of(program, would_be.tier_id) >= rank_of(program, account.tier_id):
        return account, ()
    left = counted_at(refunded_at, orders, program, account.enrolled_at)
    return move_tier(account, would_be.tier_id, refunded_at, would_be.tier_until, TierChangeReason.REFUNDED, left)


def enrolled_at(account: Account, facts: TierFacts, program: Program) -> datetime | None:
    """When the membership began: with the first order; where its years count, with the first of which a part is kept.

    What a command said stays, whatever orders come. `program` is the version in force at the end.
    """
    if account.is_enrolment_given:
        return account.enrolled_at
    first = next((order.occurred_at for order in facts.orders), account.enrolled_at)
    if not has_membership_years(program):
        return first
    return next((order.occurred_at for order in facts.orders if order.qualifying.orders), first)


def has_membership_years(program: Program) -> bool:
    """Whether its years begin on a day of each account's own."""
    return program.qualification.window is QualificationWindow.MEMBERSHIP_YEAR


def corrections(
    account: Account, history: Sequence[TierHistoryEntry], right: Timeline, facts: TierFacts, program_at: ProgramAt
) -> tuple[TierChange, ...]:
    """What is to be announced of `account` so that its tier changes tell the right tiers of all instants.

    `history` are all that were announced. Of those the last one that is effective by an instant tells the tier then; so
    from the first instant on at which it tells a wrong one, everything is told anew. `right` is what `facts` make.
    """
    told = _stretches(history)
    known = _stretches(right.changes)
    first = right.first_tier_id if account.tier_changes else account.tier_id
    for instant in sorted({at for at, _ in (*told, *known)}):
        was, tier_id = _at(first, told, instant), _at(right.first_tier_id, known, instant)
        if was != tier_id:
            break
    else:
        return ()
    before = _at(right.first_tier_id, known, instant - INSTANT_AFTER)
    changes: list[TierChange] = []
    if not any(at == instant for at, _ in known):
        units_then = _units_at(instant, right, facts, program_at)
        changes.append(TierChange(account.account_id, 0, was, tier_id, units_then, instant, TierChangeReason.CORRECTED))
        before = tier_id
    last_of = {change.effective_at: change for change in right.changes}
    for at, tier_id in known:
        if at >= instant and (tier_id != before or at == instant):
            previous = before if before != tier_id else was
            changes.append(last_of[at]._replace(previous_tier_id=previous))
            before = tier_id
    return tuple(
        change._replace(change_number=account.tier_changes + number) for number, change in enumerate(changes, start=1)
    )


def _units_at(instant: datetime, right: Timeline, facts: TierFacts, program_at: ProgramAt) -> int:
    """What decides the tier at an instant at which nothing changes it: what a review of then counts, else all of then.

    Never what an earlier change was told with: others may have counted since, and what it counted may have gone.
    """
    known = facts.orders_as_of(instant)
    running = counted_at(instant, known, program_at(instant), right.account.enrolled_at)
    return right.reviewed.get(instant, running)


def settled(changes: Sequence[TierChange]) -> list[TierChange]:
    """The tier changes that hold, by time, of all that were ever told of an account; these are in their order.

    What is told anew takes the place of all from its own instant on. A correction that only takes back what was told
    moves the account nowhere, and is none of them.
    """
    found: list[TierChange] = []
    for change in changes:
        while found and not _follows(found[-1], change):
            found.pop()
        found.append(change)
    tier_id, moves = changes[0].previous_tier_id if changes else "", []
    for change in found:
        if change.tier_id != tier_id:
            moves.append(change._replace(previous_tier_id=tier_id))
        tier_id = change.tier_id
    return moves


def _follows(before: TierChange, change: TierChange) -> bool:
    """Whether a change comes behind one that was told before it, and does not take its place."""
    if before.effective_at != change.effective_at:
        return before.effective_at < change.effective_at
    return before.tier_id == change.previous_tier_id and change.reason is not TierChangeReason.CORRECTED


def _stretches(changes: Sequence[TierChange] | Sequence[TierHistoryEntry]) -> list[tuple[datetime, str]]:
    """From when on which tier is told, by time: a later change stands for all from its own instant on."""
    found: list[tuple[datetime, str]] = []
    for change in changes:
        while found and found[-1][0] >= change.effective_at:
            found.pop()
        found.append((change.effective_at, change.tier_id))
    return found


def _at(first_tier_id: str, stretches: Sequence[tuple[datetime, str]], instant: datetime) -> str:
    return next((tier_id for at, tier_id in reversed(stretches) if at <= instant), first_tier_id)
