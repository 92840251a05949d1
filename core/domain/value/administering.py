"""What is done to accounts beside their points: they are frozen and closed, and what is kept with them is changed."""

from typing import Any

from core.domain.decision import AccountChange, AccountNotice, Answer, Decision, NoticeKind
from core.domain.ledger import AccountStatus, EntryKind, debit, entry_between
from core.domain.lots import Lot, take
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.value.account_terms import CloseTerms, UpdateTerms
from core.domain.value.crediting import why_of
from core.domain.value.situations import Situation


def decide_freeze(situation: Situation) -> Decision | Rejected:
    """Let nothing leave the account by spending; it earns, and points expire and are taken back, as ever.

    A frozen account stays as it is.
    """
    return _in_status(situation, AccountStatus.FROZEN, NoticeKind.FROZEN)


def decide_unfreeze(situation: Situation) -> Decision | Rejected:
    """Let the account take part in everything again. One that does stays as it is."""
    return _in_status(situation, AccountStatus.ACTIVE, NoticeKind.UPDATED)


def decide_close(situation: Situation) -> Decision | Rejected:
    """Close the account for good: from now on only what was done before is corrected. A closed one stays as it is.

    Points that are left stand in the way, unless they are forfeited: a debit then takes them. What has expired is left
    to its run. Authorizations, and points that wait for the fulfilment of their orders, have to be settled first.
    """
    account, terms = situation.account, situation.command.terms
    if account.status is AccountStatus.CLOSED:
        return _unchanged(situation)
    if account.reserved:
        return _authorizations_open(account.reserved)
    left = [lot for lot in situation.books.open_lots(account) if not lot.is_due(situation.as_of)]
    points = sum(lot.points_remaining for lot in left)
    waiting = sum(lot.points_remaining for lot in left if lot.available_at is None)
    if waiting:
        return _points_wait(waiting)
    if points and not terms.forfeit:
        return _points_left(points)
    change = _forfeited(situation, left) if points else AccountChange(account)
    notice = notice_of(situation, NoticeKind.CLOSED)
    change = change._replace(account=change.account._replace(status=AccountStatus.CLOSED), notice=notice)
    return Decision((change,), answer=Answer(change.account, {"points": points} if points else {}))


def decide_update(situation: Situation) -> Decision | Rejected:
    """Keep other metadata or tags with the account: what is given takes the place of all that was there."""
    terms: UpdateTerms = situation.command.terms
    before = situation.books.details(situation.account)
    after = before._replace(
        metadata=before.metadata if terms.metadata is None else terms.metadata,
        tags=before.tags if terms.tags is None else terms.tags,
    )
    if after == before:
        return _unchanged(situation)
    notice = notice_of(situation, NoticeKind.UPDATED)
    change = AccountChange(situation.account, details=after, notice=notice)
    return Decision((change,), answer=Answer(situation.account))


def _in_status(situation: Situation, status: AccountStatus, what: NoticeKind) -> Decision:
    if situation.account.status is status:
        return _unchanged(situation)
    account = situation.account._replace(status=status)
    return Decision((AccountChange(account, notice=notice_of(situation, what)),), answer=Answer(account))


def _unchanged(situation: Situation) -> Decision:
    return Decision(answer=Answer(situation.account))


def notice_of(situation: Situation, what: NoticeKind) -> AccountNotice:
    """What others are told of what a command changes beside points."""
    command = situation.command
    return AccountNotice(
        what, (command.source, situation.command_id), command.occurred_at, getattr(command.terms, "reason", None)
    )


def _forfeited(situation: Situation, left: list[Lot]) -> AccountChange:
    terms: CloseTerms = situation.command.terms
    points = sum(lot.points_remaining for lot in left if not lot.is_pending)
    pending = sum(lot.points_remaining for lot in left if lot.is_pending)
    lots, allocations, _ = take(left, points + pending)
    after = debit(situation.account, points, uncovered=0, pending=pending)
    why: dict[str, Any] = why_of(situation, points=points + pending)
    entry = entry_between(
        situation.account,
        after,
        EntryKind.DEBIT,
        situation.command.occurred_at,
        allocations,
        {**why, "forfeited": terms.forfeit},
        source=situation.command.source,
        command_id=situation.command_id,
    )
    return AccountChange(after, (entry,), tuple(lots))


def _points_left(points: int) -> Rejected:
    return Rejected(
        RejectionCode.POINTS_LEFT,
        f"{points:,} points are left in the account",
        'spend or transfer them first, or give them up by data.points_left: "forfeit"',
    )


def _points_wait(points: int) -> Rejected:
    return Rejected(
        RejectionCode.POINTS_LEFT,
        f"{points:,} points wait for the fulfilment of their orders",
        "have these orders fulfilled or cancelled, and close the account then",
    )


def _authorizations_open(points: int) -> Rejected:
    return Rejected(
        RejectionCode.AUTHORIZATIONS_OPEN,
        f"authorizations hold {points:,} points of the account",
        "capture or void them, and close the account then",
    )
