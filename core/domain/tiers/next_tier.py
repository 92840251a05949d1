"""Where a customer stands: how far the next tier is."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from core.domain.ledger import Account
from core.domain.orders.posted import Qualifying
from core.domain.program import Program, Tier
from core.domain.tiers.history import CountedOrder
from core.domain.tiers.qualification import qualify


class NextTier(NamedTuple):
    """The next higher tier and what is missing for it."""

    tier: Tier
    units_to_go: int  #: points, hundredths or orders, by the program's measure; always above 0


def counted_units(account: Account, program: Program, as_of: datetime, counted: Sequence[CountedOrder] = ()) -> int:
    """Qualifying units that an order of `as_of` adds to: after a year's end, for instance, none."""
    # Asked of the rule itself, with an order of one unit, so that both cannot differ.
    after, _ = qualify(account, CountedOrder(as_of, Qualifying(1, 1, 1)), program, lambda _: counted)
    return account.qualifying_points if after == account else after.qualifying_points - 1


def next_tier(
    account: Account, program: Program, as_of: datetime, counted: Sequence[CountedOrder] = ()
) -> NextTier | None:
    """Find the next tier above the account's under `program`, the version in force; None from the highest one."""
    units = counted_units(account, program, as_of, counted)
    tier_id = account.tier_id if program.tier(account.tier_id) else program.tier_for(units).tier_id
    above = program.rank(tier_id) + 1
    for tier, threshold in zip(program.tiers[above:], program.thresholds[above:], strict=True):
        if threshold > units:
            return NextTier(tier, threshold - units)
    return None
