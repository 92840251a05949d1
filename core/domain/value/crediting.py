"""Commands that give points to an account, and take them from it."""

from typing import Any

from core.domain.decision import AccountChange, Answer, Decision
from core.domain.expiry.dates import NewExpiry, expiries_begun_by, moves_of, new_expiry
from core.domain.ledger import POINTS_MAX, EntryKind, LotTerms, credit, debit, entry_between
from core.domain.lots import Origin, OriginKind
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.value.commands import CreditTerms, DebitTerms
from core.domain.value.situations import Situation, released_if_owing
from core.domain.value.spending import Spending, insufficient, spend


def decide_credit(situation: Situation) -> Decision | Rejected:
    """Open a lot with the points, which pay off a deficit first. They expire when the command, else the program, says.

    They are no part of the lifetime points and count for no tier, which are earned. Where inactivity ends points, those
    that follow the program expire together with the others, which last as long as they do.
    """
    return give(situation, situation.command.terms, EntryKind.CREDIT)


def give(situation: Situation, terms: CreditTerms, kind: EntryKind) -> Decision | Rejected:
    """Open a lot with points that the situation's command gives, by an entry of this kind."""
    books, command, _, account, opened, program, _, as_of, *_ = situation
    if account.balance + account.pending + account.reserved + terms.points > POINTS_MAX:
        return too_many(terms.points)
    released = released_if_owing(books, account, as_of)
    available = terms.available_at or min(command.occurred_at, as_of)
    expiry = NewExpiry(terms.expires_at)
    if terms.expires_at is None:
        has_points = bool(released.account.balance + released.account.deficit + released.account.pending)
        expiry = new_expiry(program, "", available, books.expiries(account), as_of, has_points=has_points)
    grant = LotTerms(terms.points, available, expiry.expires_at, "", expiry.expires_with)
    if grant.expires_at is not None and grant.expires_at <= max(available, as_of):
        return _already_expired(terms)
    origin = Origin(OriginKind.COMMAND, command.source, situation.command_id, command.occurred_at)
    credited = credit(released.account, origin, [grant], as_of, is_earned=False)
    entry = entry_between(
        released.account,
        credited.account,
        kind,
        command.occurred_at,
        credited.allocations,
        why_of(situation, points=terms.points),
        source=command.source,
        command_id=situation.command_id,
    )
    change = AccountChange(
        credited.account,
        (*released.entries, entry),
        (*released.lots, *credited.lots),
        opened=opened,
        expiries=() if expiry.moved is None else (*moves_of([expiry.moved], credited.lots),),
        expiries_begun=expiries_begun_by(credited.lots),
    )
    return Decision((change,), answer=Answer(credited.account, {"points": terms.points}))


def decide_debit(situation: Situation) -> Decision | Rejected:
    """Take the points from what can be spent, or none of them; with `allow_remainder` as many as there are."""
    terms: DebitTerms = situation.command.terms
    spent = spend(situation, terms.points)
    if spent.missing and not (terms.allow_remainder and spent.points):
        return insufficient(spent)
    change = spent_by(situation, spent, EntryKind.DEBIT)
    told = {"points": spent.points}
    if terms.allow_remainder:
        told["remainder"] = spent.missing
    return Decision((change,), answer=Answer(change.account, told))


def spent_by(situation: Situation, spent: Spending, kind: EntryKind) -> AccountChange:
    """The account after what was spent of it has gone for good."""
    before = spent.released.account
    after = debit(before, spent.points, uncovered=0)
    entry = entry_between(
        before,
        after,
        kind,
        situation.command.occurred_at,
        spent.allocations,
        why_of(situation, points=situation.command.terms.points),
        source=situation.command.source,
        command_id=situation.command_id,
    )
    return AccountChange(after, (*spent.released.entries, entry), spent.changed)


def why_of(situation: Situation, **more: Any) -> dict[str, Any]:
    """What an entry says of its command, for people."""
    terms = situation.command.terms
    named = {name: getattr(terms, name, None) for name in ("reason", "order_id")} | {"by": situation.command.by}
    return {"command": {name: value for name, value in named.items() if value is not None} | more}


def too_many(points: int) -> Rejected:
    """Why points are not given with which an account would have more than are counted."""
    return Rejected(
        RejectionCode.TOO_MANY_POINTS,
        f"with {points:,} points more the account would have more than {POINTS_MAX:,}",
        "check data.points: it counts whole points, or the smallest units of money",
    )


def _already_expired(terms: CreditTerms) -> Rejected:
    if terms.expires_at is None:
        return Rejected(
            RejectionCode.ALREADY_EXPIRED,
            "by the program's expiry, points of the command's time have expired by now",
            "check the command's time, or say in data.expires_at until when the points can be spent",
        )
    return Rejected(
        RejectionCode.ALREADY_EXPIRED,
        "data.expires_at is past, or not after the points become available",
        "write an instant that is to come",
    )
