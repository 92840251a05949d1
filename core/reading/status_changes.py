"""What put an account into the status that it is in."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.ledger import Account, AccountStatus
from core.store.engine import run_bulk


class StatusChange(NamedTuple):
    """What put an account into the status that it is in."""

    since: datetime
    source: str
    command_id: str


_OF_STATUS = {
    AccountStatus.FROZEN: "loyalty.command.account.freeze",
    AccountStatus.CLOSED: "loyalty.command.account.close",
}
_STATUS_COMMANDS = """
SELECT recorded_at, source, command_id, type FROM commands
WHERE account_id = %s AND code IS NULL AND type = ANY(%s) ORDER BY recorded_at, inbox_id
"""


def load_status_change(connection: Connection, account: Account) -> StatusChange | None:
    """The command since which the account is frozen or closed; None for one that is neither, or if nobody knows."""
    wanted = _OF_STATUS.get(account.status)
    if wanted is None:
        return None
    types = [*_OF_STATUS.values(), "loyalty.command.account.unfreeze"]
    found: StatusChange | None = None
    for since, source, command_id, of_type in run_bulk(connection, _STATUS_COMMANDS, (account.account_id, types)):
        if of_type != wanted:
            found = None
        elif found is None:
            found = StatusChange(since, source, command_id)
    return found
