"""What is done to accounts beside their points: they are frozen, and what is kept with them is changed."""

from core.domain.decision import AccountChange, AccountNotice, Answer, Decision, NoticeKind
from core.domain.ledger import AccountStatus
from core.domain.outcomes import Rejected
from core.domain.value.account_terms import UpdateTerms
from core.domain.value.situations import Situation


def decide_freeze(situation: Situation) -> Decision | Rejected:
    """Let nothing leave the account by spending; it earns, and points expire and are taken back, as ever.

    A frozen account stays as it is.
    """
    return _in_status(situation, AccountStatus.FROZEN, NoticeKind.FROZEN)


def decide_unfreeze(situation: Situation) -> Decision | Rejected:
    """Let the account take part in everything again. One that does stays as it is."""
    return _in_status(situation, AccountStatus.ACTIVE, NoticeKind.UPDATED)


def decide_update(situation: Situation) -> Decision | Rejected:
    """Keep other metadata or tags with the account: what is given takes the place of all that was there."""
    terms: UpdateTerms = situation.command.terms
    before = situation.books.details(situation.account)
    after = before._replace(
        metadata=before.metadata if terms.metadata is None else terms.metadata,
        tags=before.tags if terms.tags is None else terms.tags,
    )
    if after == before:
        return unchanged(situation)
    notice = notice_of(situation, NoticeKind.UPDATED)
    change = AccountChange(situation.account, details=after, notice=notice)
    return Decision((change,), answer=Answer(situation.account))


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
