"""Erasing a customer: what becomes of their accounts. That nothing names them any more is the store's work."""

from datetime import datetime

from core.domain.books import Books
from core.domain.decision import AccountChange, Decision, Erasure, NoticeKind
from core.domain.expiry.due import release
from core.domain.ledger import Account, AccountStatus, EntryKind, debit, entry_between
from core.domain.lots import in_spending_order, take
from core.domain.message import Message
from core.domain.nameless import nameless_id
from core.domain.outcomes import Rejected, RejectionCode, Replayed
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, Reach
from core.domain.value.account_terms import EraseTerms
from core.domain.value.administering import notice_of
from core.domain.value.commands import Command
from core.domain.value.situations import Situation, known_already

_PARTS = AccountParts(LotsWanted.ALL, expiries=True, members=True)


def erase_reach(message: Message[Command[EraseTerms]], _rules: ProgramRegistry, _as_of: datetime) -> Reach:
    """What erasing asks of the books: every account of the customer, and every one that they may use."""
    command = message.fact
    return Reach(commands=frozenset({(command.source, message.event_id)}), persons={command.whom.id: _PARTS})


def decide_erase(
    books: Books, message: Message[Command[EraseTerms]], rules: ProgramRegistry, as_of: datetime
) -> Decision | Rejected | Replayed:
    """Close the customer's accounts in all programs, whose points are given up, and take them out of others' accounts.

    An account that others may use too is left to them, with its points. One that is merged into another one has nothing
    left to give up. Authorizations that hold points have to be settled first: whoever asked for them counts on them. A
    customer of whom there is no account may still be named by orders and messages.
    """
    known = known_already(books, message)
    if known is not None:
        return known
    command = message.fact
    own: list[Account] = []
    shared: list[Account] = []
    for account in books.accounts_of_person(command.whom.id):
        (own if account.customer_id == command.whom.id else shared).append(account)
    ending = [each for each in own if each.merged_into is None and not books.members(each)]
    held = sum(each.reserved for each in ending)
    if held:
        return _authorizations_open(held)
    token = nameless_id(books.draw_id())
    changes = [
        *(_ended(_situation(books, message, each, rules, as_of), token, is_over=each in ending) for each in own),
        *(_left(_situation(books, message, each, rules, as_of), command.whom.id) for each in shared),
    ]
    erasure = Erasure(
        command.whom.id,
        token,
        own=tuple(each.account_id for each in own),
        closed=tuple(each.account_id for each in ending if each.status is not AccountStatus.CLOSED),
        points=_given_up(changes),
        by=command.by,
    )
    return Decision(tuple(changes), erasure=erasure)


def _situation(
    books: Books, message: Message[Command[EraseTerms]], account: Account, rules: ProgramRegistry, as_of: datetime
) -> Situation:
    version = rules.at(account.program_id, as_of)
    return Situation(
        books, message.fact, message.event_id, account, None, version.program, version.version, as_of, rules
    )


def _given_up(changes: list[AccountChange]) -> int:
    return -sum(
        entry.points + entry.pending_change
        for change in changes
        for entry in change.entries
        if entry.kind is EntryKind.DEBIT
    )


def _ended(situation: Situation, token: str, *, is_over: bool) -> AccountChange:
    """An account of theirs: nobody's from now on, and where nobody else may use it closed and empty."""
    account = situation.account
    members = situation.books.members(account) if account.merged_into is None else None
    notice = notice_of(situation, NoticeKind.ERASED)._replace(reason=None)
    nobodys = account._replace(customer_id=token)
    if not is_over or account.status is AccountStatus.CLOSED:
        return AccountChange(nobodys, members=members, notice=notice)
    change = _forfeited(situation)
    closed = change.account._replace(status=AccountStatus.CLOSED, customer_id=token)
    return change._replace(account=closed, notice=notice)


def _forfeited(situation: Situation) -> AccountChange:
    """The account without its points: also those that are not available yet, whatever they wait for."""
    books, account, as_of = situation.books, situation.account, situation.as_of
    released = release(account, books.lots_to_release(account, as_of), as_of)
    lots = {lot.lot_number: lot for lot in (*books.open_lots(account), *released.lots)}
    left = in_spending_order(lot for lot in lots.values() if lot.points_remaining and not lot.is_due(as_of))
    if not left:
        return AccountChange(released.account, released.entries, released.lots)
    points = sum(lot.points_remaining for lot in left if not lot.is_pending)
    pending = sum(lot.points_remaining for lot in left if lot.is_pending)
    taken, allocations, _ = take(left, points + pending)
    after = debit(released.account, points, uncovered=0, pending=pending)
    entry = entry_between(
        released.account,
        after,
        EntryKind.DEBIT,
        situation.command.occurred_at,
        allocations,
        {"command": {"points": points + pending}, "forfeited": True, "erased": True},
        source=situation.command.source,
        command_id=situation.command_id,
    )
    changed = {lot.lot_number: lot for lot in (*released.lots, *taken)}
    return AccountChange(after, (*released.entries, entry), tuple(changed.values()))


def _left(situation: Situation, customer_id: str) -> AccountChange:
    """Somebody else's account, which they may use no longer."""
    books, account = situation.books, situation.account
    had = books.members(account)
    members = tuple(member for member in had if member.customer_id != customer_id)
    notice = notice_of(situation, NoticeKind.ERASED)._replace(reason=None)
    return AccountChange(account, members=members, notice=notice)


def _authorizations_open(points: int) -> Rejected:
    return Rejected(
        RejectionCode.AUTHORIZATIONS_OPEN,
        f"authorizations hold {points:,} points of the customer",
        "capture or void them, and erase the customer then, by a command of its own id",
    )


def unknown_customer() -> Rejected:
    """Why nobody is erased of whom nothing is held."""
    return Rejected(
        RejectionCode.UNKNOWN_CUSTOMER,
        "nothing is held of the customer of data.customer_id",
        "check data.customer_id: it is the shop's id, as it stands in orders",
    )
