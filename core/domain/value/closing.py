"""Closing accounts for good: what becomes of the points that are left."""

from collections.abc import Sequence
from datetime import datetime

from core.domain.decision import AccountChange, Answer, Decision, NoticeKind
from core.domain.expiry.due import release
from core.domain.ledger import FORFEITED, POINTS_MAX, Account, AccountStatus, EntryKind, debit, entry_between
from core.domain.lots import Allocation, Lot, in_spending_order, take
from core.domain.message import Message
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, Reach, union
from core.domain.value.account_terms import CloseTerms
from core.domain.value.administering import notice_of, unchanged
from core.domain.value.commands import Command
from core.domain.value.crediting import too_many, why_of
from core.domain.value.situations import Flow, Situation, reach_of, status_problem
from core.domain.value.transferring import give, moved_entry, receiver_of, receiver_reach


def close_reach(message: Message[Command[CloseTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What closing asks of the books: all lots of the account, and the one that gets what is left."""
    own = reach_of(message, rules, as_of, AccountParts(LotsWanted.ALL, expiries=True))
    to = message.fact.terms.to
    return own if to is None else union((own, receiver_reach(message, to, rules, as_of)))


def decide_close(situation: Situation) -> Decision | Rejected:
    """Close the account for good: from now on only what was done before is corrected. A closed one stays as it is.

    Points that are left stand in the way, unless they are forfeited, by a debit, or go to another account of the
    program, with the dates that they have. What has expired is left to its run. Authorizations, and points that wait
    for the fulfilment of their orders, have to be settled first.
    """
    account, terms = situation.account, situation.command.terms
    if account.status is AccountStatus.CLOSED:
        return unchanged(situation)
    if account.reserved:
        return _authorizations_open(account.reserved)
    # What is due to be released is so first, whether or not its run has come.
    released = release(account, situation.books.lots_to_release(account, situation.as_of), situation.as_of)
    lots = {lot.lot_number: lot for lot in (*situation.books.open_lots(account), *released.lots)}
    left = in_spending_order(lot for lot in lots.values() if lot.points_remaining and not lot.is_due(situation.as_of))
    points = sum(lot.points_remaining for lot in left)
    waiting = sum(lot.points_remaining for lot in left if lot.available_at is None)
    if waiting:
        return _points_wait(waiting)
    if points and not terms.forfeit and terms.to is None:
        return _points_left(points)
    emptied = situation._replace(account=released.account)
    changes = _emptied(emptied, left) if points else (AccountChange(released.account),)
    if isinstance(changes, Rejected):
        return changes
    closed = changes[0].account._replace(status=AccountStatus.CLOSED)
    change = changes[0]._replace(
        account=closed,
        entries=(*released.entries, *changes[0].entries),
        lots=tuple({lot.lot_number: lot for lot in (*released.lots, *changes[0].lots)}.values()),
        notice=notice_of(situation, NoticeKind.CLOSED),
    )
    told: dict[str, str | int] = {"points": points} if points else {}
    if len(changes) > 1:
        told["to_account_id"] = str(changes[1].account.account_id)
    return Decision((change, *changes[1:]), answer=Answer(closed, told))


def _emptied(situation: Situation, left: Sequence[Lot]) -> tuple[AccountChange, ...] | Rejected:
    """The account without what is left, and the one that gets it."""
    return _forfeited(situation, left) if situation.command.terms.to is None else _transferred(situation, left)


def _forfeited(situation: Situation, left: Sequence[Lot]) -> tuple[AccountChange, ...]:
    after, lots, allocations = _without(situation, left)
    command, points = situation.command, sum(lot.points_remaining for lot in left)
    entry = entry_between(
        situation.account,
        after,
        EntryKind.DEBIT,
        command.occurred_at,
        allocations,
        {**why_of(situation, points=points), FORFEITED: True},
        source=command.source,
        command_id=situation.command_id,
    )
    return (AccountChange(after, (entry,), lots),)


def _transferred(situation: Situation, left: Sequence[Lot]) -> tuple[AccountChange, ...] | Rejected:
    # What is frozen is not to be had by closing.
    problem = status_problem(situation.account, Flow.OUT)
    if problem is not None:
        return problem
    if situation.account.deficit:
        return _owes(situation.account.deficit)
    receiver = receiver_of(situation, situation.command.terms.to)
    if isinstance(receiver, Rejected):
        return receiver
    moved = [(lot, lot.points_remaining) for lot in left]
    points, getting = sum(points for _, points in moved), receiver.account
    if getting.balance + getting.pending + getting.reserved + points > POINTS_MAX:
        return too_many(points)
    after, lots, allocations = _without(situation, left)
    to = str(getting.account_id)
    entry = moved_entry(situation, situation.account, after, allocations, points, to_account_id=to)
    return AccountChange(after, (entry,), lots), give(situation, receiver, moved)


def _without(situation: Situation, left: Sequence[Lot]) -> tuple[Account, tuple[Lot, ...], list[Allocation]]:
    points = sum(lot.points_remaining for lot in left if not lot.is_pending)
    pending = sum(lot.points_remaining for lot in left if lot.is_pending)
    lots, allocations, _ = take(left, points + pending)
    return debit(situation.account, points, uncovered=0, pending=pending), tuple(lots), allocations


def _points_left(points: int) -> Rejected:
    return Rejected(
        RejectionCode.POINTS_LEFT,
        f"{points:,} points are left in the account",
        'give them up by data.points_left: "forfeit", or say by "transfer" which account gets them',
    )


def _owes(points: int) -> Rejected:
    return Rejected(
        RejectionCode.INSUFFICIENT_POINTS,
        f"the account owes {points:,} points, which its pending points pay off once they are available",
        'close it when they are available, or give them up by data.points_left: "forfeit"',
    )


def _points_wait(points: int) -> Rejected:
    return Rejected(
        RejectionCode.POINTS_LEFT,
        f"{points:,} points wait for the fulfilment of their orders",
        "have these orders fulfilled or cancelled, and close the account then",
    )


def _authorizations_open(points: int) -> Rejected:
    return Rejected(
        RejectionCode.AUTHORIZATIONS_OPEN,
        f"authorizations hold {points:,} points of the account",
        "capture or void them, and close the account then",
    )
