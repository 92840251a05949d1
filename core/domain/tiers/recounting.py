"""One more fact, and what it makes of an account's tier: step by step while facts come in time, else all anew.

Both ways end alike: the steps are those that `core.domain.tiers.timeline` makes. An account keeps until when its facts
have been gone through (`counted_until`).
"""

from datetime import datetime
from functools import partial
from typing import NamedTuple

from core.domain.books import Books
from core.domain.decision import TierChange
from core.domain.ledger import Account
from core.domain.program import Program, QualificationWindow
from core.domain.tiers.history import CountedOrder, TierFacts
from core.domain.tiers.qualification import (
    BEGINNING,
    INSTANT_AFTER,
    ProgramAt,
    catch_up,
    qualify,
    recount_order,
    tier_at,
    units,
)
from core.domain.tiers.timeline import corrections, has_membership_years, may_fall, timeline


class Met(NamedTuple):
    """What a new order meets."""

    account: Account  #: after the reviews that come before the order
    changes: tuple[TierChange, ...]
    tier_id: str  #: in force at the order's own time, before it


class Recount(NamedTuple):
    """An account after a fact has been counted for its tier."""

    account: Account
    changes: tuple[TierChange, ...]
    reached_id: str  #: the tier at the instant from which on the fact counts, with it


def meet(books: Books, account: Account, occurred_at: datetime, program: Program, program_at: ProgramAt) -> Met:
    """Find the tier that an order of `occurred_at` earns in; `program` is the version in force then."""
    if is_next(account, occurred_at, program_at):
        account, changes = catch_up(account, occurred_at, program_at, partial(books.counted, account))
        return Met(account, changes, tier_at(account, (), occurred_at, program))
    return Met(account, (), tier_at(account, books.history(account), occurred_at, program))


def recount(
    books: Books,
    account: Account,
    before: CountedOrder | None,
    after: CountedOrder | None,
    program_at: ProgramAt,
) -> Recount:
    """Count an order of the account that until now counted `before` as `after`, wherever in time that is.

    None before: the order is new, or came to this account; None after: it left it. `books` still count `before`. The
    same once more (`before` equals `after`) changes nothing.
    """
    at = _counts_otherwise_from(before, after)
    if at is None:
        return Recount(account, (), account.tier_id)
    is_one_step = after is not None and not (before is None and after.steps)
    is_step = is_next(account, at, program_at) or (before is not None and _is_beside(account, at, program_at(at)))
    if is_one_step and after is not None and is_step:
        counted = partial(books.counted, account)
        program = program_at(at)
        caught_up, changes = catch_up(account, at, program_at, counted)
        if before is None:
            added, more = qualify(caught_up, after, program, counted)
            if added.counted_until != at:
                added = added._replace(counted_until=at)  # an order that counts nothing has its time too
            if has_membership_years(program) and at == account.enrolled_at and not after.qualifying.orders:
                added = added._replace(counted_until=None)  # the first order of which a part is kept is still to come
            return Recount(added, (*changes, *more), added.tier_id)
        reduced = recount_order(caught_up, before, after, program)
        is_less = after.steps[: len(before.all_steps)] == before.all_steps and units(after, program) <= units(
            before, program
        )
        is_first = before.occurred_at == account.enrolled_at and not after.qualifying.orders
        is_first &= has_membership_years(program)
        if is_less and not is_first and not may_fall(reduced, before, at, program, program_at):
            return Recount(reduced._replace(counted_until=at + INSTANT_AFTER), changes, reduced.tier_id)
    return _anew(books, account, before, after, at, program_at)


def is_next(account: Account, instant: datetime, program_at: ProgramAt) -> bool:
    """Whether nothing that the account has counted is after `instant`, and no version since begins its years anew."""
    until = account.counted_until
    if until is None or instant < until:
        return False
    program = program_at(instant)
    return not has_membership_years(program) or has_membership_years(program_at(until))


def _is_beside(account: Account, instant: datetime, program: Program) -> bool:
    """Whether the last that the account has counted may be a refund of this very instant, and no tier hangs on it.

    One credit note is often several refunds: of one instant it does not matter which is counted first. An order or a
    hold of the microsecond behind it looks alike, but for what that did to the tier; a review is none of a lifetime's.
    """
    return (
        account.counted_until == instant + INSTANT_AFTER
        and program.qualification.window is QualificationWindow.LIFETIME
        and account.tier_held_until is None
        and (account.tier_since is None or account.tier_since <= instant)
    )


def _counts_otherwise_from(before: CountedOrder | None, after: CountedOrder | None) -> datetime | None:
    """The first instant at which both do not count alike."""
    if before is None or after is None:
        either = before or after
        return None if either is None else either.occurred_at
    steps, changed = before.all_steps, after.all_steps
    if before.occurred_at != after.occurred_at:
        return min(before.occurred_at, after.occurred_at)
    place = next((n for n, (one, other) in enumerate(zip(steps, changed, strict=False)) if one != other), None)
    if place is None:
        place = min(len(steps), len(changed))
    instants = [each[place].since for each in (steps, changed) if place < len(each)]
    return min(instants, default=None)


def _anew(
    books: Books,
    account: Account,
    before: CountedOrder | None,
    after: CountedOrder | None,
    at: datetime,
    program_at: ProgramAt,
) -> Recount:
    facts = books.tier_facts(account)
    return recount_all(books, account, facts._replace(orders=facts.orders.changed(before, after)), at, program_at)


def recount_all(books: Books, account: Account, facts: TierFacts, at: datetime, program_at: ProgramAt) -> Recount:
    """Work out the account's tier anew from these facts, of which none that is new is before the instant `at`."""
    through = max(account.counted_until or at, at, _last_instant(facts))
    right = timeline(account, facts, program_at, through)
    changes = corrections(account, books.history(account), right, facts, program_at)
    since = changes[-1].effective_at if changes else account.tier_since
    is_begun = any(order.qualifying.orders for order in facts.orders)
    counted = right.account._replace(
        tier_changes=account.tier_changes + len(changes),
        tier_since=since,
        counted_until=through if is_begun or not has_membership_years(program_at(through)) else None,
    )
    return Recount(counted, changes, right.tier_at(at))


def _last_instant(facts: TierFacts) -> datetime:
    """Until when something happened; what comes after a refund of the same instant is late."""
    instants = [hold.held_at for hold in facts.holds]
    for order in facts.orders:
        instants.append(order.occurred_at)
        instants += [step.since + INSTANT_AFTER for step in order.steps[1:]]
    return max(instants, default=BEGINNING)
