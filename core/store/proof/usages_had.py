"""What customers have of all that is counted for them, from the facts: what the table `usages` must say."""

from typing import Any

from sqlalchemy import Connection

from core.domain.program.registry import ProgramRegistry
from core.store.proof.command_limits_used import COMMAND_LIMITS_USED, command_limits_used
from core.store.proof.limits_used import USAGES_OF_ORDERS, usages_of_orders
from core.store.proof.rewards_had import REWARDS_HAD
from core.store.proof.scope import Scope

#: What each account has; with the parameters of `load_usages_had`.
USAGES_HAD = f"""
SELECT * FROM ({USAGES_OF_ORDERS}) AS of_orders UNION ALL {REWARDS_HAD} UNION ALL {COMMAND_LIMITS_USED}
"""  # noqa: S608  # our own words


def load_usages_had(connection: Connection, registry: ProgramRegistry, scope: Scope) -> dict[str, Any]:
    """Parameters of `USAGES_HAD`."""
    of_commands = command_limits_used(connection, registry, scope)
    return {**usages_of_orders(connection, registry, scope), **of_commands}
