"""Points that become those of another program of the same customer, at a rate that the program says."""

from datetime import datetime
from typing import NamedTuple

from core.domain.decision import AccountChange, Answer, Decision
from core.domain.expiry.dates import expires_at
from core.domain.ledger import EntryKind, debit, entry_between
from core.domain.message import Message
from core.domain.orders.reckoning import rounded
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program import Enrol, Program
from core.domain.program.registry import ProgramRegistry
from core.domain.program.value import Conversion
from core.domain.reach import GETTING, Reach, union
from core.domain.value.commands import CUSTOMER, Command, CreditTerms
from core.domain.value.crediting import give, why_of
from core.domain.value.situations import (
    Flow,
    Situation,
    command_reach,
    program_problem,
    status_problem,
)
from core.domain.value.spending import Spending, insufficient, spend


class ConvertTerms(NamedTuple):
    """Turn points of a customer into those of another program."""

    points: int
    to_program: str
    reason: str | None = None  #: for people


def convert_reach(message: Message[Command[ConvertTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What a conversion asks of the books: the account, and that of its customer in the other program."""
    whom, to_program, reach = message.fact.whom, message.fact.terms.to_program, command_reach(message, rules, as_of)
    if whom.kind == CUSTOMER:
        return union((reach, Reach(customers={(to_program, whom.id): GETTING})))
    owner_gets_in = frozenset({to_program})
    named = {key: parts._replace(owner_gets_in=owner_gets_in) for key, parts in reach.references.items()}
    return reach._replace(references=named)


def decide_conversion(situation: Situation) -> Decision | Rejected:
    """Take the points in the one program and give what they become in the other one: both, or nothing.

    What they become is a lot of its own, which the command is the origin of and which expires as the other program
    says of points that are available now; it neither joins a shared expiry there nor moves one. It pays off a deficit
    first. A customer without an account in the other program gets one.
    """
    terms: ConvertTerms = situation.command.terms
    conversion = next((each for each in situation.program.conversions if each.to_program == terms.to_program), None)
    if conversion is None or terms.to_program not in situation.rules.program_ids():
        return _not_convertible(situation.program)
    gives = rounded(terms.points * conversion.gives, conversion.points, conversion.rounding)
    problem = _points_problem(terms.points, gives, conversion)
    target = problem if problem is not None else _target(situation)
    if isinstance(target, Rejected):
        return target
    spent = spend(situation, terms.points)
    if spent.missing:
        return insufficient(spent, "ask for no more than can be spent")
    end = expires_at(target.program.expiry, target.program.zone, situation.as_of)
    got = give(target, CreditTerms(gives, available_at=situation.as_of, expires_at=end), EntryKind.CONVERSION)
    if isinstance(got, Rejected):
        return got
    taken = _take(situation, spent)
    told: dict[str, str | int] = {
        "points": terms.points,
        "to_account_id": str(target.account.account_id),
        "to_points": gives,
    }
    return Decision((taken, *got.changes), answer=Answer(taken.account, told))


def _target(situation: Situation) -> Situation | Rejected:
    """What the conversion finds in the program that gives the other points."""
    books, whom = situation.books, situation.command.whom
    customer_id = whom.id if whom.kind == CUSTOMER else situation.account.customer_id
    version = situation.rules.at(situation.command.terms.to_program, situation.as_of)
    program, opened = version.program, None
    account = books.account_of(program.program_id, customer_id)
    if account is None and program.enrol is Enrol.FIRST_ACTIVITY:
        account = opened = books.new_account(program.program_id, customer_id, program.tiers[0].tier_id, None)
    if account is None:
        return Rejected(
            RejectionCode.UNKNOWN_ACCOUNT,
            f"the customer has no account in program {program.program_id}, and only a command opens one there",
            "open an account there first",
        )
    problem = program_problem(program, Flow.IN) or status_problem(
        account, Flow.IN, f"the customer's account in program {program.program_id}"
    )
    if problem is not None:
        return problem
    return situation._replace(account=account, opened=opened, program=program, program_version=version.version)


def _take(situation: Situation, spent: Spending) -> AccountChange:
    before = spent.released.account
    after = debit(before, spent.points, uncovered=0)
    entry = entry_between(
        before,
        after,
        EntryKind.CONVERSION,
        situation.command.occurred_at,
        spent.allocations,
        why_of(situation, points=spent.points, to_program=situation.command.terms.to_program),
        source=situation.command.source,
        command_id=situation.command_id,
    )
    return AccountChange(after, (*spent.released.entries, entry), spent.changed)


def _not_convertible(program: Program) -> Rejected:
    known = ", ".join(each.to_program for each in program.conversions)
    return Rejected(
        RejectionCode.NOT_CONVERTIBLE,
        f"points of program {program.program_id} do not become points of data.to_program_id",
        f"name one of {known}" if known else "its file lists no conversions: convert none",
    )


def _points_problem(points: int, gives: int, conversion: Conversion) -> Rejected | None:
    if conversion.points_min is not None and points < conversion.points_min:
        return Rejected(
            RejectionCode.BELOW_MINIMUM,
            f"{points:,} are asked for, and at least {conversion.points_min:,} are converted at once",
            "convert more at once",
        )
    if conversion.points_step is not None and points % conversion.points_step:
        return Rejected(
            RejectionCode.NOT_CONVERTIBLE,
            f"{points:,} are asked for, and only multiples of {conversion.points_step:,} are converted",
            f"convert {points - points % conversion.points_step:,}",
        )
    if not gives:
        return Rejected(
            RejectionCode.BELOW_MINIMUM,
            f"{points:,} are asked for, which come to nothing in program {conversion.to_program}",
            "convert more at once",
        )
    return None
