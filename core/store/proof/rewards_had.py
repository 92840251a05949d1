"""What customers have of rewards, from what is issued and not back: what `usages` and `budgets` must say of them."""

from collections.abc import Iterator

from sqlalchemy import Connection

from core.domain.orders.posted import BudgetChange
from core.domain.program.registry import ProgramRegistry
from core.domain.value.rewards import counted_name
from core.store.engine import run_bulk
from core.store.rows import arrays

#: How often each account has each reward.
REWARDS_HAD = f"""
SELECT account_id, '{counted_name("")}' || reward_id AS name, 'ever' AS period, 0::bigint AS points,
       count(*)::integer AS orders, 0::numeric AS carried
FROM authorizations WHERE reward_id IS NOT NULL AND state IN ('open', 'captured') GROUP BY account_id, reward_id
"""  # noqa: S608  # our own words
# A stock counts what the versions issued that have one.
_STOCKS_HAD = """
SELECT a.program_id, r.reward_id, count(*)
FROM authorizations r
JOIN accounts a USING (account_id)
JOIN commands c ON (c.source, c.command_id) = (r.source, r.command_id)
JOIN unnest(%b::text[], %b::integer[], %b::text[]) AS k(program_id, version, reward_id)
     ON (k.program_id, k.version, k.reward_id) = (a.program_id, c.program_version, r.reward_id)
WHERE r.state IN ('open', 'captured')
GROUP BY a.program_id, r.reward_id
"""


def stocks_had(connection: Connection, registry: ProgramRegistry) -> Iterator[BudgetChange]:
    """How often each reward with a stock is issued or redeemed."""
    limited = [
        (version.program_id, version.version, reward.reward_id)
        for version in registry.versions()
        for reward in version.program.rewards
        if reward.stock is not None
    ]
    if limited:
        for program_id, reward_id, times in run_bulk(connection, _STOCKS_HAD, arrays(limited, 3)):
            yield BudgetChange(program_id, counted_name(reward_id), 0, times)
