"""What accounts are found by beside their customers, such as cards: linked to them, and unlinked."""

from datetime import datetime

from core.domain.decision import AccountChange, Answer, Decision, NoticeKind
from core.domain.message import Message
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, Reach, ReferenceKey, union
from core.domain.value.account_terms import LinkTerms
from core.domain.value.administering import notice_of
from core.domain.value.commands import LINKED, Command
from core.domain.value.situations import Situation, reach_of
from core.domain.whose import reference_key


def link_reach(message: Message[Command[LinkTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What both deciders ask of the books: the account, and whose it is that is linked, in whichever program."""
    linked, parts = message.fact.terms.linked, AccountParts()
    keys = {reference_key(linked, program_id): parts for program_id in rules.program_ids()}
    return union([reach_of(message, rules, as_of, parts), Reach(references=keys)])


def decide_link(situation: Situation) -> Decision | Rejected:
    """Let the account be found by it in its program. What is linked to it already changes nothing."""
    account, key = situation.account, _key(situation)
    owner = situation.books.account_by(key)
    if owner is not None:
        is_own = owner.account_id == account.account_id
        return Decision(answer=Answer(account)) if is_own else _taken(key)
    notice = notice_of(situation, NoticeKind.UPDATED)._replace(linked=(key,))
    return Decision((AccountChange(account, references=(key,), notice=notice),), answer=Answer(account))


def decide_unlink(situation: Situation) -> Decision | Rejected:
    """Let the account no longer be found by it. What is not linked to it changes nothing."""
    account, key = situation.account, _key(situation)
    owner = situation.books.account_by(key)
    if owner is None or owner.account_id != account.account_id:
        return Decision(answer=Answer(account))
    notice = notice_of(situation, NoticeKind.UPDATED)._replace(unlinked=(key,))
    return Decision((AccountChange(account, references_gone=(key,), notice=notice),), answer=Answer(account))


def _key(situation: Situation) -> ReferenceKey:
    return reference_key(situation.command.terms.linked, situation.program.program_id)


def _taken(key: ReferenceKey) -> Rejected:
    return Rejected(
        RejectionCode.REFERENCE_TAKEN,
        f"the {LINKED[key.kind]} is linked to another account of this program",
        "unlink it there first, if that is right",
    )
