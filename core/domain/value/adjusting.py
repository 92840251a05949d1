"""Corrections by hand of what an account has."""

from datetime import datetime
from typing import NamedTuple

from core.domain.decision import AccountChange, Answer, Decision
from core.domain.ledger import POINTS_MAX, EntryKind, debit, entry_between
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program import Program
from core.domain.value.commands import CreditTerms
from core.domain.value.crediting import give, why_of
from core.domain.value.situations import Situation
from core.domain.value.spending import insufficient, spend


class AdjustTerms(NamedTuple):
    """Give points to an account (above 0), or take them from it (below 0), since something was wrong."""

    points: int
    reason: str
    order_id: str | None = None  #: what it is for, for people
    expires_at: datetime | None = None  #: of points that are given; None: as the program says
    allow_negative_balance: bool = False  #: what cannot be taken becomes a deficit


def decide_adjustment(situation: Situation) -> Decision | Rejected:
    """Give the points as a credit would, or take them from what can be spent: all of them, or none.

    With `allow_negative_balance` the account owes what cannot be taken. A frozen account is corrected too.
    """
    terms: AdjustTerms = situation.command.terms
    problem = _reason_problem(terms.reason, situation.program)
    if problem is not None:
        return problem
    if terms.points < 0:
        return _take(situation, terms)
    credited = CreditTerms(terms.points, expires_at=terms.expires_at)
    return give(situation, credited, EntryKind.ADJUSTMENT)


def _reason_problem(reason: str, program: Program) -> Rejected | None:
    if not program.adjustment_reasons or reason in program.adjustment_reasons:
        return None
    return Rejected(
        RejectionCode.UNKNOWN_REASON,
        f"data.reason is none of program {program.program_id}",
        f"write one of {', '.join(program.adjustment_reasons)}",
    )


def _take(situation: Situation, terms: AdjustTerms) -> Decision | Rejected:
    points = -terms.points
    spent = spend(situation, points)
    before = spent.released.account
    if spent.missing and not terms.allow_negative_balance:
        return insufficient(spent, "ask for no more than can be spent, or set data.allow_negative_balance")
    if before.deficit + spent.missing > POINTS_MAX:
        return Rejected(
            RejectionCode.TOO_MANY_POINTS,
            f"the account would owe more than {POINTS_MAX:,} points",
            "check data.points: it counts whole points, or the smallest units of money",
        )
    after = debit(before, points, uncovered=spent.missing)
    entry = entry_between(
        before,
        after,
        EntryKind.ADJUSTMENT,
        situation.command.occurred_at,
        spent.allocations,
        why_of(situation, points=points),
        source=situation.command.source,
        command_id=situation.command_id,
    )
    change = AccountChange(after, (*spent.released.entries, entry), spent.changed)
    return Decision((change,), answer=Answer(after, {"points": points}))
