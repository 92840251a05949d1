"""Where a customer stands: how far the next tier is."""

from datetime import datetime
from typing import NamedTuple

from core.domain.ledger import Account
from core.domain.program import Program, Tier
from core.domain.tiers import qualify


class NextTier(NamedTuple):
    """The next higher tier and what is missing for it."""

    tier: Tier
    points_to_go: int  #: qualifying points, always above 0


def counted_points(account: Account, program: Program, as_of: datetime) -> int:
    """Qualifying points that an order of `as_of` adds to: after a year's end, for instance, none."""
    # Asked of the rule itself, with an order of one point, so that both cannot differ.
    after, _ = qualify(account, 1, as_of, program)
    return account.qualifying_points if after == account else after.qualifying_points - 1


def next_tier(account: Account, program: Program, as_of: datetime) -> NextTier | None:
    """Find the next tier above the account's under `program`, the version in force; None from the highest one."""
    points = counted_points(account, program, as_of)
    tier_id = account.tier_id if program.tier(account.tier_id) else program.tier_for(points).tier_id
    for tier in program.tiers[program.rank(tier_id) + 1 :]:
        if tier.threshold_points > points:
            return NextTier(tier, tier.threshold_points - points)
    return None
