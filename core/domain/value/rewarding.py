"""Commands that issue rewards, redeem them and delete them."""

from datetime import datetime, timedelta
from typing import NamedTuple

from core.domain.decision import Answer, Decision
from core.domain.message import Message
from core.domain.orders.posted import Budget
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program import AnyReward
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import AccountParts, LotsWanted, Reach, ReferenceKey
from core.domain.value.authorizations import REWARD, Authorization, AuthorizationState
from core.domain.value.authorizing import capture, deadline_of, give_back, reserve
from core.domain.value.commands import Command
from core.domain.value.rewards import (
    Offer,
    RewardNotice,
    RewardStep,
    counted,
    counted_name,
    had_of,
    issued_offer,
    reward_of,
    reward_problem,
    usage_key,
)
from core.domain.value.situations import Situation, reach_of
from core.domain.whose import reference_key

#: An issued reward has a deadline only where its command says one.
DEADLINE_MAX = timedelta(days=3_660)


class IssueTerms(NamedTuple):
    """Give a customer a reward for points."""

    reward_id: str
    issue_id: str  #: names what is issued; left out by its sender, the command's id
    expires_at: datetime | None = None  #: the deadline
    lasts: timedelta | None = None  #: or how long after now it is; None: there is none
    reason: str | None = None  #: for people
    order_id: str | None = None  #: for people


class IssuedTerms(NamedTuple):
    """Redeem a reward that is issued, or delete it."""

    reason: str | None = None  #: for people
    order_id: str | None = None  #: for people


def issue_reach(message: Message[Command[IssueTerms]], rules: ProgramRegistry, as_of: datetime) -> Reach:
    """What an issue asks of the books: what can be spent of the account, how often the reward is had, and its id."""
    terms = message.fact.terms
    # Of which program an account is that is named itself shows only once it is loaded.
    offered = (reward_of(rules.at(program_id, as_of).program, terms.reward_id) for program_id in rules.program_ids())
    cost = max((reward.cost for reward in offered if reward is not None), default=0)
    parts = AccountParts(LotsWanted.TO_TAKE, points_to_take=cost, expiries=True, rewards=frozenset({terms.reward_id}))
    reach = reach_of(message, rules, as_of, parts)
    named = ReferenceKey(REWARD, terms.issue_id)
    return reach._replace(references={**reach.references, named: AccountParts()})


def decide_issue(situation: Situation) -> Decision | Rejected:
    """Reserve the reward's price, under an id of the issue's own.

    Whether the customer gets it goes by the command's own day, by the account's tier as it stands, and by what is
    issued and not back. What it is, and its price, are frozen with it.
    """
    terms: IssueTerms = situation.command.terms
    if situation.books.account_by(ReferenceKey(REWARD, terms.issue_id)) is not None:
        return Rejected(
            RejectionCode.ISSUE_EXISTS,
            "there is an issued reward with this id already",
            "give every issue an id of its own, or leave it out: it then has the command's",
        )
    reward = reward_of(situation.program, terms.reward_id)
    if reward is None:
        return _unknown_reward(situation)
    expires_at = deadline_of(situation, terms.expires_at, terms.lasts, DEADLINE_MAX)
    if isinstance(expires_at, Rejected):
        return expires_at
    problem = _problem(situation, reward)
    if problem is not None:
        return problem
    reserved = reserve(situation, reward.cost, REWARD, terms.issue_id, expires_at, reward.reward_id)
    if isinstance(reserved, Rejected):
        return reserved
    (issued,) = (fact for fact in reserved.facts if isinstance(fact, Authorization))
    return _told(situation, reserved, RewardStep.ISSUED, issued, Offer(reward, situation.program.currency), times=1)


def _problem(situation: Situation, reward: AnyReward) -> Rejected | None:
    account, books = situation.account, situation.books
    key, name = usage_key(reward.reward_id), counted_name(reward.reward_id)
    stock = books.budgets(account.program_id, [name])[name] if reward.stock is not None else Budget()
    had = had_of(books.usages(account, [key])[key], stock)
    return reward_problem(reward, situation.program, account, situation.command.occurred_at, had)


def decide_redeem_reward(situation: Situation) -> Decision | Rejected:
    """Let the customer have an issued reward: the points that it holds are gone for good, and it stays counted."""
    issued = situation.books.authorization(reference_key(situation.command.whom))
    if not issued.is_open(situation.as_of):
        return _closed(issued)
    taken = capture(situation, issued, issued.points_held, is_final=True)
    return _told(situation, taken, RewardStep.REDEEMED, issued, _as_issued(situation, issued))


def decide_delete_reward(situation: Situation) -> Decision | Rejected:
    """Let the points of an issued reward come back to their lots; it can be given again.

    Past its deadline too, as long as the run has not come.
    """
    issued = situation.books.authorization(reference_key(situation.command.whom))
    if issued.state is not AuthorizationState.OPEN:
        return _closed(issued)
    back = give_back(situation, situation.account, issued, AuthorizationState.VOIDED)
    decision = Decision((back.change,), authorizations=(back.authorization,))
    return _told(situation, decision, RewardStep.DELETED, issued, _as_issued(situation, issued), times=-1)


def _as_issued(situation: Situation, issued: Authorization) -> Offer:
    (movement,) = situation.books.movements_of(issued)
    assert issued.reward_id is not None
    program_id = situation.account.program_id
    return issued_offer(situation.rules, program_id, movement.program_version, issued.reward_id)


def _told(
    situation: Situation,
    decision: Decision,
    step: RewardStep,
    issued: Authorization,
    offer: Offer,
    *,
    times: int = 0,
) -> Decision:
    """Tell what became of a reward, and count it `times` more."""
    command = situation.command
    (change,) = decision.changes
    told: dict[str, str | int | datetime] = {"points": offer.reward.cost, "issue_id": issued.authorization_id}
    if issued.expires_at is not None:
        told["expires_at"] = issued.expires_at
    notice = RewardNotice(
        step,
        change.account,
        issued,
        offer,
        command.occurred_at,
        (command.source, situation.command_id),
        command.terms.order_id,
        command.terms.reason,
    )
    count = counted(change.account, offer.reward, times)
    if times:
        change = change._replace(usages=(*change.usages, count.usage))
    return decision._replace(
        changes=(change,),
        budgets=count.budgets if times else (),
        rewards=(notice,),
        answer=Answer(change.account, told, offer=offer),
    )


def _unknown_reward(situation: Situation) -> Rejected:
    known = ", ".join(reward.reward_id for reward in situation.program.rewards)
    return Rejected(
        RejectionCode.UNKNOWN_REWARD,
        f"data.reward_id is not a reward of program {situation.program.program_id}",
        f"name one of {known}" if known else "its file lists no rewards",
    )


_STATES = {
    AuthorizationState.CAPTURED: "redeemed",
    AuthorizationState.VOIDED: "deleted",
    AuthorizationState.EXPIRED: "past its deadline",
    AuthorizationState.OPEN: "past its deadline",
}


def _closed(issued: Authorization) -> Rejected:
    return Rejected(
        RejectionCode.ISSUE_CLOSED,
        f"nothing is left to be done with this reward: it is {_STATES[issued.state]}",
        "issue another one, where it is still wanted",
    )
