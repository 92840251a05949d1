"""Points that go from one account to another of the same program, with the dates and the origin that they have."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from core.domain.decision import AccountChange, Answer, Decision
from core.domain.ledger import POINTS_MAX, Account, Credit, Entry, EntryKind, debit, entry_between
from core.domain.lots import Allocation, Lot
from core.domain.message import Message
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program import Enrol
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, Reach, union
from core.domain.value.commands import CUSTOMER, Command, Whom
from core.domain.value.crediting import too_many, why_of
from core.domain.value.situations import (
    Flow,
    Situation,
    command_reach,
    released_if_owing,
    status_problem,
    unknown_account,
)
from core.domain.value.spending import Spending, insufficient, spend
from core.domain.whose import reference_key


class TransferTerms(NamedTuple):
    """Take points from an account and give them to another one."""

    points: int
    to: Whom
    reason: str | None = None  #: for people
    order_id: str | None = None  #: what it is for, for people
    allow_remainder: bool = False  #: take what there is, where that is less


def transfer_reach(message: Message[Command[TransferTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What a transfer asks of the books: the account that gives, as a debit, and the one that gets."""
    receiver = receiver_reach(message, message.fact.terms.to, rules, as_of)
    return union((command_reach(message, rules, as_of), receiver))


_TO_RECEIVE = AccountParts(LotsWanted.IF_OWING)


def receiver_reach(
    message: Message[Command[Any]],
    to: Whom,
    rules: ProgramRegistry,
    as_of: datetime,
    parts: AccountParts = _TO_RECEIVE,
) -> Reach:
    """What is asked of the account that gets points."""
    command = message.fact
    if to.kind != CUSTOMER:
        return Reach(references={reference_key(to): parts})
    resolved = rules.resolve(message.program_id, command.source, as_of)
    # Of which program an account is that is named itself shows only once it is loaded.
    is_known = command.whom.kind == CUSTOMER or message.program_id is not None
    program_ids = [each for each in rules.program_ids() if each == resolved or not is_known]
    return Reach(customers={(program_id, to.id): parts for program_id in program_ids})


def decide_transfer(situation: Situation) -> Decision | Rejected:
    """Take the points from what can be spent of the one account, and open lots of the same dates in the other.

    A lot keeps what it is of and by when it expires: where inactivity ends points, those that are moved keep the
    instant at which they would have ended, and neither they nor the transfer move that of others. A deficit of the
    account that gets them is paid off first, by what expires soonest. A customer who has no account gets one.
    """
    terms: TransferTerms = situation.command.terms
    receiver = receiver_of(situation, terms.to)
    if isinstance(receiver, Rejected):
        return receiver
    spent = spend(situation, terms.points)
    if spent.missing and not (terms.allow_remainder and spent.points):
        return insufficient(spent)
    account = receiver.account
    if account.balance + account.pending + account.reserved + spent.points > POINTS_MAX:
        return too_many(spent.points)
    given = _take(situation, spent, account.account_id)
    moved = [(lot, -part.points) for lot, part in zip(spent.lots, spent.allocations, strict=True)]
    got = give(situation, receiver, moved)
    told: dict[str, str | int] = {"points": spent.points, "to_account_id": str(account.account_id)}
    if terms.allow_remainder:
        told["remainder"] = spent.missing
    return Decision((given, got), answer=Answer(given.account, told))


def named_account(situation: Situation, to: Whom) -> Account | None:
    """Another account that a command names."""
    if to.kind != CUSTOMER:
        return situation.books.account_by(reference_key(to))
    return situation.books.account_of(situation.account.program_id, to.id)


class Receiver(NamedTuple):
    """The account that gets points."""

    account: Account
    opened: Account | None  #: the account again, where the command opens it


def receiver_of(situation: Situation, to: Whom) -> Receiver | Rejected:
    """The account to which a command lets points go; a customer who has none gets one."""
    books, program, sender = situation.books, situation.program, situation.account
    opened, account = None, named_account(situation, to)
    if account is None and to.kind == CUSTOMER and program.enrol is Enrol.FIRST_ACTIVITY:
        account = opened = books.new_account(sender.program_id, to.id, program.tiers[0].tier_id, None)
    if account is None:
        return unknown_account(to, "to_")
    if account.program_id != sender.program_id:
        return Rejected(
            RejectionCode.OTHER_PROGRAM,
            f"data.to_{to.kind}_id names an account of another program",
            "convert the points to that program, if it takes them, or name an account of this one",
        )
    if account.account_id == sender.account_id:
        return Rejected(
            RejectionCode.SAME_ACCOUNT,
            "the points would come from the account that they go to",
            f"check data.to_{to.kind}_id: it names another account than the one that gives",
        )
    return status_problem(account, Flow.IN, "the account that gets the points") or Receiver(account, opened)


def _take(situation: Situation, spent: Spending, other: UUID) -> AccountChange:
    before = spent.released.account
    after = debit(before, spent.points, uncovered=0)
    points = situation.command.terms.points
    entry = moved_entry(situation, before, after, spent.allocations, points, to_account_id=str(other))
    return AccountChange(after, (*spent.released.entries, entry), spent.changed)


def give(situation: Situation, receiver: Receiver, moved: Sequence[tuple[Lot, int]]) -> AccountChange:
    """The account that gets so many points of each of these lots of the one that the command is about."""
    released = released_if_owing(situation.books, receiver.account, situation.as_of)
    credited = receive(released.account, moved)
    points, other = sum(points for _, points in moved), str(situation.account.account_id)
    entry = moved_entry(
        situation, released.account, credited.account, credited.allocations, points, from_account_id=other
    )
    return AccountChange(
        credited.account,
        (*released.entries, entry),
        (*released.lots, *credited.lots),
        opened=receiver.opened,
    )


def receive(account: Account, moved: Sequence[tuple[Lot, int]]) -> Credit:
    """Give an account so many points of each of these lots of another: they pay off its deficit first, in this order.

    The rest of each opens a lot of the same origin and dates, with an instant of its own where the other shared it.
    What is pending stays so, and pays off nothing.
    """
    number, deficit, pending = account.lots_opened, account.deficit, 0
    lots: list[Lot] = []
    for lot, points in moved:
        left = points if lot.is_pending else points - min(points, deficit)
        deficit -= points - left
        pending += points if lot.is_pending else 0
        if left:
            number += 1
            lots.append(
                lot._replace(
                    lot_number=number,
                    opened_by_sequence=account.sequence + 1,
                    points_granted=left,
                    points_remaining=left,
                    points_expired=0,
                    points_excused=0,
                    expires_with=None,
                )
            )
    after = account._replace(
        sequence=account.sequence + 1,
        lots_opened=number,
        balance=account.balance + sum(points for _, points in moved) - pending,
        pending=account.pending + pending,
        deficit=deficit,
    )
    return Credit(after, tuple(lots))


def moved_entry(
    situation: Situation, before: Account, after: Account, allocations: Sequence[Allocation], points: int, **other: str
) -> Entry:
    """The entry of one of the two accounts; `points` are those that were asked for, `other` names the other account."""
    return entry_between(
        before,
        after,
        EntryKind.TRANSFER,
        situation.command.occurred_at,
        allocations,
        why_of(situation, points=points, **other),
        source=situation.command.source,
        command_id=situation.command_id,
    )
