"""Opening accounts by command: under an id of their own, with an opening value, or as a further account."""

from datetime import datetime
from typing import Any

from core.domain.books import Books
from core.domain.decision import AccountChange, Answer, Decision
from core.domain.ledger import AccountDetails
from core.domain.message import Message
from core.domain.outcomes import Rejected, RejectionCode, Replayed
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, Reach, ReferenceKey
from core.domain.value.account_terms import CreateTerms
from core.domain.value.commands import ACCOUNT, Command, CreditTerms
from core.domain.value.crediting import decide_credit
from core.domain.value.joining import primaries_after
from core.domain.value.situations import (
    Flow,
    Situation,
    completed,
    known_already,
    program_problem,
    unit_problem,
    unknown_program,
)


def create_reach(message: Message[Command[CreateTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What `decide_create` asks of the books: whether its id is taken, and by whose account; the customer's account."""
    command = message.fact
    known = frozenset({(command.source, message.event_id)})
    references = {_own(command.terms): AccountParts(details=True, itself=True)}
    program_id = rules.resolve(message.program_id, command.source, as_of)
    if program_id is None:
        return Reach(references=references, commands=known)
    members = [member.customer_id for member in command.terms.members]
    customers = {(program_id, customer_id): AccountParts() for customer_id in (command.whom.id, *members)}
    return Reach(references=references, customers=customers, commands=known)


def decide_create(
    books: Books, message: Message[Command[CreateTerms]], rules: ProgramRegistry, as_of: datetime
) -> Decision | Rejected | Replayed:
    """Open the account, and credit its opening value.

    The id is taken for ever: the same content in another command changes nothing, other content is rejected. The first
    account of a customer in a program is the primary one, to which orders come; a further one is opened only where the
    program allows for several. A membership that the command dates begins then, whatever orders come.
    """
    known = known_already(books, message)
    if known is not None:
        return known
    command = message.fact
    program_id = rules.resolve(message.program_id, command.source, as_of)
    if program_id is None:
        return unknown_program(message.program_id, rules)
    version = rules.at(program_id, as_of)
    program = version.program
    taken = books.account_itself(_own(command.terms))
    if taken is not None:
        is_same = taken.program_id == program_id and books.details(taken).digest == message.digest
        return Decision(answer=Answer(taken, {}, version.version)) if is_same else _taken()
    primary = books.account_of(program_id, command.whom.id)
    if primary is not None and program.one_account_per_customer:
        return _one_only(is_own=primary.customer_id == command.whom.id)
    enrolled_at = command.terms.enrolled_at
    if enrolled_at is not None and enrolled_at > as_of:
        return _in_future()
    account = books.new_account(program_id, command.whom.id, program.tiers[0].tier_id, None)._replace(
        own_account_id=command.terms.account_id,
        enrolled_at=enrolled_at,
        is_enrolment_given=enrolled_at is not None,
        lifetime_points=command.terms.lifetime_points,
        lifetime_points_given=command.terms.lifetime_points,
    )
    number = version.version
    situation = Situation(books, command, message.event_id, account, account, program, number, as_of, rules)
    problem = program_problem(program, Flow.IN) or unit_problem(situation)
    return problem if problem is not None else _opened(situation, message, is_primary=primary is None)


def _opened(situation: Situation, message: Message[Command[CreateTerms]], *, is_primary: bool) -> Decision | Rejected:
    command, terms = message.fact, message.fact.terms
    change = AccountChange(situation.account, opened=situation.account)
    if terms.points:
        opening_value = CreditTerms(terms.points, terms.reason, expires_at=terms.expires_at)
        value = situation.command._replace(terms=opening_value)
        credited = decide_credit(situation._replace(command=value))
        if isinstance(credited, Rejected):
            return credited
        (change,) = credited.changes
    change = change._replace(
        opened_at=command.occurred_at,
        is_primary=is_primary,
        details=AccountDetails(terms.metadata, terms.tags, message.digest),
        members=terms.members or None,
        primaries=tuple(primaries_after(situation.books, situation.account, (), terms.members)),
        references=(_own(terms),),
    )
    return completed(Decision((change,), answer=Answer(change.account, _told(command))), situation)


def _told(command: Command[CreateTerms]) -> dict[str, Any]:
    told: dict[str, Any] = {"points": command.terms.points} if command.terms.points else {}
    if command.terms.enrolled_at is not None:
        told["enrolled_at"] = command.terms.enrolled_at
    if command.terms.lifetime_points:
        told["lifetime_points"] = command.terms.lifetime_points
    return told


def _own(terms: CreateTerms) -> ReferenceKey:
    return ReferenceKey(ACCOUNT, terms.account_id)


def _taken() -> Rejected:
    return Rejected(
        RejectionCode.ACCOUNT_EXISTS,
        "another command has made an account of this id, with other content",
        "choose an id that was never used, or change the account that has it by account.update",
    )


def _one_only(*, is_own: bool) -> Rejected:
    several = "or let the program have one_account_per_customer: false"
    if is_own:
        text = "the customer has an account in this program, which allows for one only"
        return Rejected(RejectionCode.ACCOUNT_EXISTS, text, f"use that account, {several}")
    return Rejected(
        RejectionCode.ACCOUNT_EXISTS,
        "the customer's orders come to another customer's account, of which they are a member; the program allows for"
        " one account only",
        f"take them off the members of that account by account.update, {several}",
    )


def _in_future() -> Rejected:
    return Rejected(
        RejectionCode.ENROLMENT_IN_FUTURE,
        "data.enrolled_at is still to come",
        "say when the membership began, or leave it out: it then begins with the first order",
    )
