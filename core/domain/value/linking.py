"""Cards by which accounts are found: linked to them, and unlinked."""

from datetime import datetime

from core.domain.decision import AccountChange, Answer, Decision, NoticeKind
from core.domain.message import Message
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, Reach, ReferenceKey, union
from core.domain.value.account_terms import LinkTerms
from core.domain.value.administering import notice_of
from core.domain.value.commands import CARD, Command
from core.domain.value.situations import Situation, reach_of


def link_reach(message: Message[Command[LinkTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What both deciders ask of the books: the account, and whose the card is, in whichever program."""
    card, parts = message.fact.terms.card, AccountParts()
    cards = {ReferenceKey(CARD, card, program_id): parts for program_id in rules.program_ids()}
    return union([reach_of(message, rules, as_of, parts), Reach(references=cards)])


def decide_link(situation: Situation) -> Decision | Rejected:
    """Let the account be found by the card in its program. A card that it has already changes nothing."""
    account, key = situation.account, _card(situation)
    owner = situation.books.account_by(key)
    if owner is not None:
        is_own = owner.account_id == account.account_id
        return Decision(answer=Answer(account)) if is_own else _taken()
    notice = notice_of(situation, NoticeKind.UPDATED)._replace(linked=(key,))
    return Decision((AccountChange(account, references=(key,), notice=notice),), answer=Answer(account))


def decide_unlink(situation: Situation) -> Decision | Rejected:
    """Let the account no longer be found by the card. A card that it does not have changes nothing."""
    account, key = situation.account, _card(situation)
    owner = situation.books.account_by(key)
    if owner is None or owner.account_id != account.account_id:
        return Decision(answer=Answer(account))
    notice = notice_of(situation, NoticeKind.UPDATED)._replace(unlinked=(key,))
    return Decision((AccountChange(account, references_gone=(key,), notice=notice),), answer=Answer(account))


def _card(situation: Situation) -> ReferenceKey:
    return ReferenceKey(CARD, situation.command.terms.card, situation.program.program_id)


def _taken() -> Rejected:
    return Rejected(
        RejectionCode.REFERENCE_TAKEN,
        "the card is linked to another account of this program",
        "unlink it there first, if that is right",
    )
