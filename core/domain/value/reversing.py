"""Commands that are undone: what they took comes back, and what they gave is taken again, once and for ever."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange, Answer, Decision
from core.domain.expiry.dates import expires_at
from core.domain.expiry.due import release
from core.domain.ledger import POINTS_MAX, Account, AccountStatus, Entry, EntryKind, LotTerms, debit, entry_between
from core.domain.lots import Allocation, AllocationKind, Origin, OriginKind, take
from core.domain.message import Message
from core.domain.movements import Movement
from core.domain.nameless import is_erased
from core.domain.outcomes import Rejected, RejectionCode, Replayed
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, CommandKey, LotsWanted, Reach
from core.domain.value.commands import Command
from core.domain.value.crediting import too_many, why_of
from core.domain.value.payments import PaymentKey, PaymentKind
from core.domain.value.restoring import NewLot, Taken, expire_restored, restore, taken_last
from core.domain.value.situations import (
    Situation,
    completed,
    customer_erased,
    known_already,
    released_if_owing,
    unit_problem,
)

#: What is undone by a reversal. An authorization is voided instead, and a reversal stands.
REVERSIBLE = frozenset(
    {
        EntryKind.CREDIT,
        EntryKind.DEBIT,
        EntryKind.ADJUSTMENT,
        EntryKind.TRANSFER,
        EntryKind.REDEMPTION,
        EntryKind.CONVERSION,
    }
)


class ReverseTerms(NamedTuple):
    """Undo a command."""

    command: CommandKey
    points: int | None = None  #: so many of its points; None: all
    reason: str | None = None  #: for people
    allow_negative_balance: bool = False  #: what it gave and is spent by now becomes a deficit


def reverse_reach(message: Message[Command[ReverseTerms]], _rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What a reversal asks of the books: what its command did, and of its accounts what may be taken of them."""
    terms = message.fact.terms
    parts = AccountParts(LotsWanted.TO_TAKE, points_to_take=terms.points or POINTS_MAX, expiries=True)
    known = frozenset({(message.fact.source, message.event_id)})
    return Reach(movements={terms.command: parts}, commands=known, offered=frozenset({_payment_key(terms)}))


def _payment_key(terms: ReverseTerms) -> PaymentKey:
    """By which an order may name the command as having paid it."""
    return PaymentKey(PaymentKind.COMMAND, *terms.command)


def decide_reversal(
    books: Books, message: Message[Command[ReverseTerms]], rules: ProgramRegistry, as_of: datetime
) -> Decision | Rejected | Replayed:
    """Undo a credit, debit, redemption, adjustment or transfer, all of it or a part, or a whole conversion, once.

    What it took comes back to the lots that it came from, what was taken last first. What it gave is taken from the
    lots that it opened, the last one first, then from what expires soonest; where that is spent, nothing is done unless
    the account may owe it. A transfer and a conversion are undone on both sides, or not at all. Frozen and closed
    accounts take part.
    """
    known = known_already(books, message)
    if known is not None:
        return known
    command, terms = message.fact, message.fact.terms
    movements = books.movements(terms.command)
    accounts = [books.account(each.account_id) for each in movements]
    if not movements or message.program_id not in (None, accounts[0].program_id):
        return Rejected(
            RejectionCode.UNKNOWN_COMMAND,
            "no accepted command of this source and id has moved points",
            "check data.command_id, and data.command_source where another source sent it",
        )
    version = rules.at(accounts[0].program_id, as_of)
    program, number = version.program, version.version
    situation = Situation(books, command, message.event_id, accounts[0], None, program, number, as_of, rules)
    payment = books.payment(_payment_key(terms))
    points_back = 0 if payment is None else payment.points_back
    problem = _kind_problem(movements) or _merged(accounts) or _erased(accounts)
    problem = problem or _problem(movements, terms, points_back) or unit_problem(situation)
    if problem is not None:
        return problem
    points = terms.points or _moved(movements) - points_back
    changes: list[AccountChange] = []
    for movement, account in zip(movements, accounts, strict=True):
        # Of a conversion each side has its own number of points, and its own program.
        of_side = _points_of(movement) if movement.kind is EntryKind.CONVERSION else points
        own = rules.at(account.program_id, as_of)
        of_account = situation._replace(account=account, program=own.program, program_version=own.version)
        is_given = movement.points + movement.pending_change > 0
        if is_given:
            change = _take_again(of_account, movement, of_side)
        else:
            change = _give_back(of_account, movement, of_side, points_back)
        if isinstance(change, Rejected):
            return change
        changes.append(change)
    answer = Answer(changes[0].account, {"points": points})
    return completed(Decision(tuple(changes), answer=answer), situation)


def _merged(accounts: Sequence[Account]) -> Rejected | None:
    if all(each.merged_into is None for each in accounts):
        return None
    return Rejected(
        RejectionCode.ALREADY_MERGED,
        "the command's account has been merged into another one, where its lots are no longer those that it moved",
        "correct the points of that account by an adjustment, or undo the merge first by account.unmerge",
    )


def _erased(accounts: Sequence[Account]) -> Rejected | None:
    """Nothing comes back to an account that ended with its customer."""
    ended = (each.status is AccountStatus.CLOSED and is_erased(each.customer_id) for each in accounts)
    return customer_erased() if any(ended) else None


def _moved(movements: Sequence[Movement]) -> int:
    """How many points a command moved; of a conversion those that it took."""
    conversions = [each for each in movements if each.kind is EntryKind.CONVERSION and each.points < 0]
    return max(_points_of(each) for each in conversions or movements)


def _points_of(movement: Movement) -> int:
    return abs(movement.points + movement.pending_change)


def _kind_problem(movements: Sequence[Movement]) -> Rejected | None:
    kinds = {each.kind for each in movements}
    if kinds <= REVERSIBLE:
        return None
    what = ", ".join(sorted(kind.value for kind in kinds))
    advice = "send the command that is right"
    if EntryKind.AUTHORIZATION in kinds:
        advice = "void an authorization instead"
    elif EntryKind.CAPTURE in kinds:
        advice = "captured points are gone for good: give back what has to be by a credit"
    elif EntryKind.MERGE in kinds:
        advice = "undo a merge by account.unmerge, and that by another account.merge"
    return Rejected(RejectionCode.NOT_REVERSIBLE, f"a command of kind {what} cannot be reversed", advice)


def _problem(movements: Sequence[Movement], terms: ReverseTerms, points_back: int) -> Rejected | None:
    """`points_back` of the command have come back with refunds of the order that it paid."""
    kinds = {each.kind for each in movements}
    if any(each.is_reversed for each in movements):
        return Rejected(
            RejectionCode.ALREADY_REVERSED,
            "the command has been reversed, all of it or a part",
            "a command is reversed once: correct what is left by an adjustment",
        )
    if EntryKind.CONVERSION in kinds and terms.points not in (None, _moved(movements)):
        return Rejected(
            RejectionCode.NOT_REVERSIBLE,
            f"data.points is {terms.points:,}, and a conversion is reversed as a whole: it took {_moved(movements):,}",
            "leave data.points out; convert anew what is to stay converted",
        )
    if points_back and (terms.points or 1) > _moved(movements) - points_back:
        return _come_back_already(_moved(movements), points_back)
    if terms.points is not None and terms.points > _moved(movements):
        return Rejected(
            RejectionCode.EXCEEDS_COMMAND,
            f"data.points is {terms.points:,}, and the command moved {_moved(movements):,}",
            "reverse no more than it moved; leave data.points out to reverse all",
        )
    return None


def _come_back_already(moved: int, points_back: int) -> Rejected:
    if points_back == moved:
        return Rejected(
            RejectionCode.ALREADY_REVERSED,
            f"all {moved:,} points of the command have come back with refunds of the order that it paid",
            "nothing is left to be reversed: see the order's refunds",
        )
    return Rejected(
        RejectionCode.EXCEEDS_COMMAND,
        f"of {moved:,} points that the command took, {points_back:,} have come back with refunds of the order that it"
        " paid",
        f"reverse no more than the other {moved - points_back:,}; leave data.points out to reverse them all",
    )


def _take_again(situation: Situation, movement: Movement, points: int) -> AccountChange | Rejected:
    """Take points that a command gave: from its own lots first, the last one first, and never what has expired."""
    books, as_of, terms = situation.books, situation.as_of, situation.command.terms
    account = books.account(movement.account_id)
    released = release(account, books.lots_to_release(account, as_of), as_of)
    before = released.account
    changed = {lot.lot_number: lot for lot in released.lots}
    # What was moved last goes back first, as `_give_back` has it: both sides of a transfer move the same lots back.
    numbers = [each.lot_number for each in reversed(movement.allocations) if each.kind is AllocationKind.OPENED]
    own = [changed.get(number) or books.lot(account, number) for number in numbers]
    lots, allocations, missing = take((lot for lot in own if not lot.is_due(as_of)), points)
    if missing and not before.deficit:
        others, more, missing = take(books.lots_to_take(account, as_of, changed, numbers), missing)
        lots, allocations = lots + others, allocations + more
    if missing and not terms.allow_negative_balance:
        return Rejected(
            RejectionCode.INSUFFICIENT_POINTS,
            f"of {points:,} points that the command gave, {missing:,} are spent or have expired",
            "reverse no more than is left (data.points), or set data.allow_negative_balance",
        )
    if before.deficit + missing > POINTS_MAX:
        return too_many(points)
    pending = sum(-part.points for lot, part in zip(lots, allocations, strict=True) if lot.is_pending)
    after = debit(before, points - pending, uncovered=missing, pending=pending)
    changed |= {lot.lot_number: lot for lot in lots}
    entry = _entry(situation, movement, before, after, allocations)
    return AccountChange(after, (*released.entries, entry), tuple(changed.values()))


def _give_back(situation: Situation, movement: Movement, points: int, points_back: int) -> AccountChange | Rejected:
    """Give back points that a command took, to their lots; what it took beyond all lots was taken last.

    Of what it took the last `points_back` are back already.
    """
    books, as_of, program, command = situation.books, situation.as_of, situation.program, situation.command
    account = books.account(movement.account_id)
    if account.balance + account.pending + account.reserved + points > POINTS_MAX:
        return too_many(points)
    taken = [
        Taken(books.lot(account, each.lot_number), -each.points)
        for each in movement.allocations
        if each.kind is AllocationKind.TAKEN
    ]
    if movement.deficit_change > 0:
        taken.append(Taken(None, movement.deficit_change))
    terms = LotTerms(points, as_of, expires_at(program.expiry, program.zone, as_of))
    origin = Origin(OriginKind.COMMAND, command.source, situation.command_id, command.occurred_at)
    returns = taken_last(taken_last(taken, points + points_back)[::-1], points)[::-1]
    released = released_if_owing(books, account, as_of)
    restored = restore(released.account, returns, as_of, program, otherwise=NewLot(origin, terms))
    entry = _entry(situation, movement, released.account, restored.account, restored.allocations)
    after = expire_restored(restored, as_of)
    return after._replace(entries=(*released.entries, entry, *after.entries), lots=(*released.lots, *after.lots))


def _entry(
    situation: Situation, movement: Movement, before: Account, after: Account, allocations: Sequence[Allocation]
) -> Entry:
    source, command_id = situation.command.terms.command
    reversed_one: dict[str, Any] = {"reversed_source": source, "reversed_command_id": command_id}
    return entry_between(
        before,
        after,
        EntryKind.REVERSAL,
        situation.command.occurred_at,
        allocations,
        why_of(situation, **reversed_one),
        source=situation.command.source,
        command_id=situation.command_id,
        corrects_sequence=movement.sequence,
    )
