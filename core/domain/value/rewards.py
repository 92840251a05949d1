"""Rewards: what points buy, as it was when it was issued; what becomes of an issued one, and how many there are.

An issued reward is an authorization at the price of the program's catalogue. It counts for its customer, and for the
stock, until its points come back.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from core.domain.calendar import local_midnight, next_midnight
from core.domain.ledger import Account
from core.domain.orders.posted import Budget, BudgetChange, Usage, UsageChange
from core.domain.outcomes import Rejected, RejectionCode
from core.domain.program import EVER, AnyReward, Program, UsageKey
from core.domain.program.registry import ProgramRegistry
from core.domain.reach import CommandKey
from core.domain.value.authorizations import Authorization


class RewardStep(StrEnum):
    """What became of a reward."""

    ISSUED = "issued"
    REDEEMED = "redeemed"
    DELETED = "deleted"  #: by command
    EXPIRED = "expired"  #: by its deadline


class Offer(NamedTuple):
    """A reward as one version of its program has it."""

    reward: AnyReward
    currency: str  #: of its money, if it gives money off


class RewardNotice(NamedTuple):
    """What became of an issued reward, which others are told."""

    step: RewardStep
    account: Account
    issued: Authorization
    offer: Offer  #: of the version that issued it
    occurred_at: datetime
    command: CommandKey | None = None  #: None: no command did it
    order_id: str | None = None  #: for people
    reason: str | None = None  #: for people


class Had(NamedTuple):
    """How often a reward is issued or redeemed."""

    by_customer: int
    by_all: int  #: where it has a stock


def counted_name(reward_id: str) -> str:
    """Under what a reward is counted, beside rules and promotions, whose names hold no colon."""
    return f"reward:{reward_id}"


def usage_key(reward_id: str) -> UsageKey:
    """Where it is counted how often one customer has a reward."""
    return UsageKey(counted_name(reward_id), EVER)


def reward_of(program: Program, reward_id: str) -> AnyReward | None:
    """The reward of a program that has this id."""
    return next((reward for reward in program.rewards if reward.reward_id == reward_id), None)


def issued_offer(rules: ProgramRegistry, program_id: str, version: int, reward_id: str) -> Offer:
    """The reward as it was when this version issued it."""
    program = rules.version(program_id, version).program
    reward = reward_of(program, reward_id)
    assert reward is not None
    return Offer(reward, program.currency)


class Counted(NamedTuple):
    """What is counted of a reward."""

    usage: UsageChange
    budgets: tuple[BudgetChange, ...]  #: none of a reward without a stock


def counted(account: Account, reward: AnyReward, times: int) -> Counted:
    """What changes where the account has the reward so many times more. `reward` is as it was when it was issued."""
    name = counted_name(reward.reward_id)
    usage = UsageChange(account.account_id, name, EVER, 0, times, Decimal(0))
    has_stock = reward.stock is not None
    return Counted(usage, (BudgetChange(account.program_id, name, 0, times),) if has_stock else ())


def had_of(usage: Usage, stock: Budget) -> Had:
    """How often a reward is had, as it is counted."""
    return Had(usage.orders, stock.orders)


def reward_problem(
    reward: AnyReward, program: Program, account: Account | None, occurred_at: datetime, had: Had
) -> Rejected | None:
    """Why the account does not get the reward, whatever points it has; None for an account: why nobody does."""
    day = occurred_at.astimezone(program.zone).date()
    if reward.starts_on is not None and day < reward.starts_on:
        start = local_midnight(reward.starts_on, program.zone)
        return Rejected(
            RejectionCode.REWARD_NOT_YET,
            f"reward {reward.reward_id} is issued from {start.isoformat()} on",
            "send it then under a new id, or let the program have another starts_on",
        )
    if reward.ends_on is not None and day > reward.ends_on:
        end = next_midnight(reward.ends_on, program.zone)
        return Rejected(
            RejectionCode.REWARD_OVER,
            f"reward {reward.reward_id} was issued until {end.isoformat()}",
            "choose another reward, or let the program have another ends_on",
        )
    if account is not None and reward.tiers and account.tier_id not in reward.tiers:
        return Rejected(
            RejectionCode.NOT_IN_TIER,
            f"reward {reward.reward_id} is for {_either(reward.tiers)}, and the account is in tier {account.tier_id}",
            "choose another reward, or let the program have other tiers for it",
        )
    if account is not None and reward.per_customer is not None and had.by_customer >= reward.per_customer:
        return Rejected(
            RejectionCode.REWARD_LIMIT_REACHED,
            f"a customer gets reward {reward.reward_id} at most {_times(reward.per_customer)}, and has had it so often",
            "delete one that is issued and not redeemed, or choose another reward",
        )
    if reward.stock is not None and had.by_all >= reward.stock:
        return Rejected(
            RejectionCode.OUT_OF_STOCK,
            f"reward {reward.reward_id} is given {_times(reward.stock)} in all, and none is left",
            "choose another reward; one that is deleted, or whose deadline passes, can be given again",
        )
    return None


def _either(tiers: Sequence[str]) -> str:
    return f"tier {' or '.join(tiers)}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"
