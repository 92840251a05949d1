"""Commands that reserve points, capture them and let them come back; and what the deadline does."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from core.domain.books import Books
from core.domain.decision import AccountChange, Answer, Decision
from core.domain.ledger import Account, EntryKind, debit, entry_between
from core.domain.message import Message
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, Reach, ReferenceKey
from core.domain.value.authorizations import AUTHORIZATION, Authorization, AuthorizationState
from core.domain.value.commands import AuthorizeTerms, CaptureTerms, Command, RedeemTerms
from core.domain.value.crediting import spent_by, why_of
from core.domain.value.customer_limits import given_back
from core.domain.value.reserves import lots_held
from core.domain.value.restoring import Taken, expire_restored, restore
from core.domain.value.rewards import RewardNotice, RewardStep, counted, issued_offer
from core.domain.value.situations import Situation, command_reach, released_if_owing
from core.domain.value.spending import insufficient, spend
from core.domain.whose import reference_key

DEADLINE_DEFAULT = timedelta(days=7)
DEADLINE_MIN, DEADLINE_MAX = timedelta(hours=1), timedelta(days=90)


def authorize_reach(message: Message[Command[AuthorizeTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What an authorization asks of the books: what can be spent of the account, and whether its id is taken."""
    reach = command_reach(message, rules, as_of)
    named = ReferenceKey(AUTHORIZATION, message.fact.terms.authorization_id)
    return reach._replace(references={**reach.references, named: AccountParts()})


def held_reach(message: Message[Command[Any]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What a command on an authorization asks of the books: the account, and the lots that its points came from."""
    del rules, as_of
    known = frozenset({(message.fact.source, message.event_id)})
    parts = AccountParts(LotsWanted.IF_OWING, expiries=True)
    return Reach(references={reference_key(message.fact.whom): parts}, commands=known)


def decide_authorize(situation: Situation) -> Decision | Rejected:
    """Reserve the points, all of them or none: out of the balance, and still the customer's."""
    terms: AuthorizeTerms = situation.command.terms
    if situation.books.account_by(ReferenceKey(AUTHORIZATION, terms.authorization_id)) is not None:
        return Rejected(
            RejectionCode.AUTHORIZATION_EXISTS,
            "there is an authorization with this id already",
            "give every authorization an id of its own, or leave it out: it then has the command's",
        )
    lasts = terms.lasts or (DEADLINE_DEFAULT if terms.expires_at is None else None)
    expires_at = deadline_of(situation, terms.expires_at, lasts, DEADLINE_MAX)
    if isinstance(expires_at, Rejected):
        return expires_at
    return reserve(situation, terms.points, AUTHORIZATION, terms.authorization_id, expires_at)


def deadline_of(
    situation: Situation, said: datetime | None, lasts: timedelta | None, most: timedelta
) -> datetime | Rejected | None:
    """The deadline, at the instant `said` or so long after now; None where the command says neither."""
    as_of = situation.as_of
    expires_at = said if lasts is None else as_of + lasts
    if expires_at is None:
        return None
    is_near = said is not None and said - situation.command.occurred_at < DEADLINE_MIN
    if is_near or not as_of < expires_at <= as_of + most:
        return Rejected(
            RejectionCode.WRONG_DEADLINE,
            f"data.expires_at is less than an hour after the command, more than {most.days:,} days from now, or past",
            f"choose a deadline of one hour to {most.days:,} days",
        )
    return expires_at


def reserve(
    situation: Situation,
    points: int,
    kind: str,
    authorization_id: str,
    expires_at: datetime | None,
    reward_id: str | None = None,
) -> Decision | Rejected:
    """Take the points out of what can be spent, and hold them under this id."""
    command = situation.command
    spent = spend(situation, points)
    if spent.missing:
        return insufficient(spent)
    before = spent.released.account
    after = debit(before, points, uncovered=0)
    after = after._replace(reserved=before.reserved + points)
    named = {"authorization_id": authorization_id}
    if reward_id is not None:
        named = {"issue_id": authorization_id, "reward_id": reward_id}
    entry = entry_between(
        before,
        after,
        EntryKind.AUTHORIZATION,
        command.occurred_at,
        spent.allocations,
        why_of(situation, points=points, **named),
        source=command.source,
        command_id=situation.command_id,
    )
    authorization = Authorization(
        kind,
        authorization_id,
        after.account_id,
        after.sequence,
        command.source,
        situation.command_id,
        points,
        expires_at,
        reward_id=reward_id,
    )
    change = AccountChange(after, (*spent.released.entries, entry), spent.changed, references=(authorization.key,))
    told: dict[str, str | int | datetime] = {"points": points, **named}
    if expires_at is not None:
        told["expires_at"] = expires_at
    return Decision((change,), facts=(authorization,), answer=Answer(after, told))


def decide_capture(situation: Situation) -> Decision | Rejected:
    """Take the points for good, or as many of them; unless it is not final, the rest comes back."""
    terms: CaptureTerms = situation.command.terms
    authorization = held(situation)
    if isinstance(authorization, Rejected):
        return authorization
    points = terms.points or authorization.points_held
    if points > authorization.points_held:
        clawed_back = authorization.points_returned
        since = f", since {clawed_back:,} were taken back with orders that do not earn them" if clawed_back else ""
        return Rejected(
            RejectionCode.OVER_CAPTURE,
            f"{points:,} are to be captured, and the authorization holds {authorization.points_held:,}{since}",
            "capture no more than it holds; authorize the rest anew",
        )
    return capture(situation, authorization, points, is_final=terms.is_final)


def held(situation: Situation) -> Authorization | Rejected:
    """The authorization that a command is about, as long as something can be captured of it."""
    key = reference_key(situation.command.whom)
    authorization = situation.books.authorization(key)
    if authorization.is_open(situation.as_of):
        return authorization
    state = authorization.state if authorization.state is not AuthorizationState.OPEN else AuthorizationState.EXPIRED
    return Rejected(
        RejectionCode.AUTHORIZATION_CLOSED,
        f"nothing is left to be done with it: it is {state.value.replace('_', ' ')}",
        "see what became of it; reserve the points anew where they are still wanted",
    )


def capture(situation: Situation, authorization: Authorization, points: int, *, is_final: bool) -> Decision:
    """Take so many of the points that it holds; with `is_final` the rest comes back."""
    command, before = situation.command, situation.account
    after = before._replace(sequence=before.sequence + 1, reserved=before.reserved - points)
    entry = entry_between(
        before,
        after,
        EntryKind.CAPTURE,
        command.occurred_at,
        (),
        why_of(situation, points=points, **_named(authorization)),
        source=command.source,
        corrects_sequence=authorization.sequence,
        command_id=situation.command_id,
    )
    captured = authorization.less(points, 0, AuthorizationState.CAPTURED)
    told = {"points": points, **_named(authorization)}
    if not (is_final and captured.points_held):
        told["points_held"] = captured.points_held
        change = AccountChange(after, (entry,))
        return Decision((change,), authorizations=(captured,), answer=Answer(after, told))
    rest = captured.points_held
    back = give_back(situation, after, captured, AuthorizationState.CAPTURED)
    change = back.change._replace(entries=(entry, *back.change.entries))
    told |= {"points_held": 0, "points_returned": rest}
    return Decision((change,), authorizations=(back.authorization,), answer=Answer(change.account, told))


class Returned(NamedTuple):
    """What comes back of an authorization."""

    change: AccountChange
    authorization: Authorization


def give_back(
    situation: Situation, account: Account, authorization: Authorization, closing: AuthorizationState
) -> Returned:
    """Let all that it holds come back, by command."""
    command = situation.command
    return come_back(
        situation.books,
        account,
        authorization,
        closing,
        situation.rules,
        occurred_at=command.occurred_at,
        as_of=situation.as_of,
        why=why_of(situation, **_named(authorization)),
        command_id=situation.command_id,
        source=command.source,
    )


def come_back(
    books: Books,
    account: Account,
    authorization: Authorization,
    closing: AuthorizationState,
    rules: ProgramRegistry,
    *,
    occurred_at: datetime,
    as_of: datetime,
    why: dict[str, Any],
    source: str | None = None,
    command_id: str | None = None,
    order_id: str | None = None,
    returns: Sequence[Taken] | None = None,
) -> Returned:
    """Let all that it holds come back; past its deadline as of that, whether or not its run has come.

    A grace counts from then, under the version in force then; what has ended by `as_of` expires at once. `returns` is
    what it holds, where the books do not know that yet; what is due to be released is then released.
    """
    points, since = authorization.points_held, authorization.back_since(as_of)
    program = rules.at(account.program_id, since).program
    released = AccountChange(account)
    if returns is None:
        returns = [Taken(*each) for each in lots_held(books, account, authorization)]
        released = released_if_owing(books, account, since)
    restored = restore(released.account, returns, since, program, of_reserve=True)
    entry = entry_between(
        released.account,
        restored.account,
        EntryKind.VOID,
        occurred_at,
        restored.allocations,
        why,
        source=source,
        corrects_sequence=authorization.sequence,
        command_id=command_id,
        order_id=order_id,
    )
    change = expire_restored(restored, as_of)
    entries, lots = (*released.entries, entry, *change.entries), (*released.lots, *change.lots)
    return Returned(change._replace(entries=entries, lots=lots), authorization.less(0, points, closing))


def _named(authorization: Authorization) -> dict[str, Any]:
    if authorization.reward_id is None:
        return {"authorization_id": authorization.authorization_id}
    return {"issue_id": authorization.authorization_id, "reward_id": authorization.reward_id}


def decide_void(situation: Situation) -> Decision | Rejected:
    """Let all that an authorization holds come back to its lots.

    Past its deadline it may be voided as well, as long as the run has not come, and ends as that run would have let it.
    """
    authorization = situation.books.authorization(reference_key(situation.command.whom))
    if authorization.state is not AuthorizationState.OPEN:
        found = held(situation)
        assert isinstance(found, Rejected)
        return found
    points = authorization.points_held
    back = give_back(situation, situation.account, authorization, AuthorizationState.VOIDED)
    told = {"points": points, "points_held": 0, **_named(authorization)}
    return Decision((back.change,), authorizations=(back.authorization,), answer=Answer(back.change.account, told))


def decide_deadline(books: Books, authorization: Authorization, rules: ProgramRegistry, as_of: datetime) -> Decision:
    """Let come back what an authorization holds whose deadline has passed by `as_of`, as of its deadline.

    What counts is the version in force at the deadline. So a late run does what a run in time would have. A reward can
    be given again.
    """
    deadline = authorization.expires_at
    assert deadline is not None
    assert authorization.points_held
    account = books.account(authorization.account_id)
    back = come_back(
        books,
        account,
        authorization,
        AuthorizationState.EXPIRED,
        rules,
        occurred_at=deadline,
        as_of=as_of,
        why={"deadline": _named(authorization)},
    )
    (entry, *_) = back.change.entries
    usages = tuple(given_back(books, entry, account.program_id, rules))
    decision = Decision((back.change._replace(usages=usages),), authorizations=(back.authorization,))
    if authorization.reward_id is None:
        return decision
    (movement,) = books.movements_of(authorization)
    offer = issued_offer(rules, account.program_id, movement.program_version, authorization.reward_id)
    count = counted(account, offer.reward, -1)
    change = back.change._replace(usages=(*usages, count.usage))
    notice = RewardNotice(RewardStep.EXPIRED, change.account, authorization, offer, deadline)
    return decision._replace(changes=(change,), budgets=count.budgets, rewards=(notice,))


def decide_redeem(situation: Situation) -> Decision | Rejected:
    """Take the points for good, all of them or none: an authorization and its capture in one."""
    terms: RedeemTerms = situation.command.terms
    spent = spend(situation, terms.points)
    if spent.missing:
        return insufficient(spent)
    change = spent_by(situation, spent, EntryKind.REDEMPTION)
    return Decision((change,), answer=Answer(change.account, {"points": terms.points}))
