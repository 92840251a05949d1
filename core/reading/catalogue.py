"""The rewards of a program for people: what is left of each, and which a customer can have now."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.orders.posted import Budget, Usage
from core.domain.outcomes import Rejected
from core.domain.program import AnyReward, Program
from core.domain.value.rewards import counted_name, had_of, reward_problem, usage_key
from core.reading.standing import Standing
from core.store.ledger import load_budgets, load_usages


class RewardOffer(NamedTuple):
    """One reward as it stands."""

    reward: AnyReward
    stock_left: int | None  #: None: there is no limit
    had: int | None  #: how often the customer has it; None: no customer is asked for
    problem: Rejected | None  #: why it is not issued now, whatever points there are
    points_short: int | None  #: what its price is more than can be spent; None: no customer is asked for

    @property
    def is_within_reach(self) -> bool:
        """Whether the customer can have it now."""
        return self.problem is None and self.points_short == 0


def load_offers(
    connection: Connection, program: Program, standing: Standing | None, as_of: datetime
) -> Sequence[RewardOffer]:
    """The rewards of the version in force, in the order of its file; for an account of the present, or for nobody."""
    account = None if standing is None else standing.account
    stocked = {(program.program_id, counted_name(reward.reward_id)) for reward in program.rewards if reward.stock}
    spent = load_budgets(connection, stocked).get(program.program_id, {})
    keys = [] if account is None else [(account.account_id, usage_key(each.reward_id)) for each in program.rewards]
    usages = {} if account is None else load_usages(connection, keys).get(account.account_id, {})
    found: list[RewardOffer] = []
    for reward in program.rewards:
        stock = spent.get(counted_name(reward.reward_id), Budget())
        had = had_of(usages.get(usage_key(reward.reward_id), Usage()), stock)
        left = None if reward.stock is None else max(0, reward.stock - had.by_all)
        by_customer = None if account is None else had.by_customer
        short = None if standing is None else max(0, reward.cost - standing.points_spendable)
        problem = reward_problem(reward, program, account, as_of, had)
        found.append(RewardOffer(reward, left, by_customer, problem, short))
    return found
