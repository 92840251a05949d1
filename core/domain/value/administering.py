"""What is done to accounts beside their points: they are frozen, and what is kept with them is changed."""

from datetime import datetime

from core.domain.decision import AccountChange, AccountNotice, Answer, Decision, NoticeKind
from core.domain.ledger import AccountStatus
from core.domain.members import PrimaryChange
from core.domain.message import Message
from core.domain.outcomes import Rejected
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, Reach, union
from core.domain.value.account_terms import UpdateTerms
from core.domain.value.commands import Command
from core.domain.value.joining import owner_listed, primaries_after
from core.domain.value.situations import Flow, Situation, reach_of, status_problem


def decide_freeze(situation: Situation) -> Decision | Rejected:
    """Let nothing leave the account by spending; it earns, and points expire and are taken back, as ever.

    A frozen account stays as it is.
    """
    return _in_status(situation, AccountStatus.FROZEN, NoticeKind.FROZEN)


def decide_unfreeze(situation: Situation) -> Decision | Rejected:
    """Let the account take part in everything again. One that does stays as it is."""
    return _in_status(situation, AccountStatus.ACTIVE, NoticeKind.UPDATED)


def update_reach(message: Message[Command[UpdateTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What `decide_update` asks of the books: the account with its members, and the accounts of who is to be one."""
    reach = reach_of(message, rules, as_of, AccountParts(details=True, members=True, primaries=True))
    named = [member.customer_id for member in message.fact.terms.members or ()]
    # Of which program an account is that is named itself shows only once it is loaded.
    customers = {(program_id, each): AccountParts() for program_id in rules.program_ids() for each in named}
    return union((reach, Reach(customers=customers)))


def decide_update(situation: Situation) -> Decision | Rejected:
    """Keep other metadata, tags or members with the account: what is given takes the place of all that was there.

    A primary account is one to which its owner's orders come.
    """
    terms, account, books = situation.command.terms, situation.account, situation.books
    before = books.details(account)
    after = before._replace(
        metadata=before.metadata if terms.metadata is None else terms.metadata,
        tags=before.tags if terms.tags is None else terms.tags,
    )
    had = books.members(account)
    members = had if terms.members is None else terms.members
    if any(member.customer_id == account.customer_id for member in members):
        return owner_listed()
    primaries = tuple(primaries_after(books, account, had, members))
    primary = books.primary_id(account.program_id, account.customer_id)
    if terms.is_primary and primary != account.account_id:
        primaries += (PrimaryChange(account.customer_id, primary, account.account_id),)
    if any(change.after == account.account_id for change in primaries):
        closed = status_problem(account, Flow.NONE)
        if closed is not None:
            return closed
    if after == before and members == had and not primaries:
        return unchanged(situation)
    change = AccountChange(
        account,
        details=after if after != before else None,
        members=members if members != had else None,
        primaries=primaries,
        notice=notice_of(situation, NoticeKind.UPDATED),
    )
    return Decision((change,), answer=Answer(account))


def _in_status(situation: Situation, status: AccountStatus, what: NoticeKind) -> Decision:
    if situation.account.status is status:
        return unchanged(situation)
    account = situation.account._replace(status=status)
    return Decision((AccountChange(account, notice=notice_of(situation, what)),), answer=Answer(account))


def unchanged(situation: Situation) -> Decision:
    """What becomes of a command on an account that is so already."""
    return Decision(answer=Answer(situation.account))


def notice_of(situation: Situation, what: NoticeKind) -> AccountNotice:
    """What others are told of what a command changes beside points."""
    command = situation.command
    return AccountNotice(
        what, (command.source, situation.command_id), command.occurred_at, getattr(command.terms, "reason", None)
    )
