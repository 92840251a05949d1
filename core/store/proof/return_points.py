"""What goods that came back without a receipt would have earned, worked out anew as posting does."""

from sqlalchemy import Connection

from core.domain.orders.posted import PostedReturn
from core.domain.orders.returning import worth_of
from core.domain.program.registry import ProgramRegistry
from core.store.engine import stream_rows
from core.store.proof.scope import Findings, Scope
from core.store.returns import RETURNS

_OF_ACCOUNTS = f"""
SELECT r.account_id, r.return_id, r.source, {RETURNS.select("r")} FROM returns r WHERE r.account_id IS NOT NULL
"""  # noqa: S608  # our own names


def returns_otherwise(connection: Connection, registry: ProgramRegistry, scope: Scope) -> Findings:
    """Returns for which something else was due than what came back would have earned."""
    for row in stream_rows(connection, "returns_anew", scope.narrow(_OF_ACCOUNTS), scope.parameters):
        account_id, return_id, source, *columns = row
        try:
            text = _otherwise(RETURNS.read(columns), registry)
        except Exception as error:  # noqa: BLE001  # whatever somebody has put into the row: it is named
            text = f"cannot be worked out anew: {type(error).__name__}"
        if text is not None:
            yield account_id, f"return {return_id} of {source} {text}"


def _otherwise(posted: PostedReturn, registry: ProgramRegistry) -> str | None:
    versions = registry.programs(posted.program_id)
    if not 1 <= posted.program_version <= len(versions):
        return f"was judged by version {posted.program_version} of {posted.program_id}, which is not there"
    program = versions[posted.program_version - 1]
    if posted.tier_id is None or program.tier(posted.tier_id) is None:
        return f"was judged in the tier {posted.tier_id}, which version {posted.program_version} does not have"
    points = worth_of(posted.returned, program, posted.tier_id).points
    if points != posted.recovery.points_due:
        return f"was due {posted.recovery.points_due} points, but its goods earn {points}"
    return None
