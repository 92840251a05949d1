"""Finding the lots whose end a person wants to move, account by account in bounded batches."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.lots import Lot
from core.store.engine import run_bulk

_FIRST = UUID(int=0)


class LotFilter(NamedTuple):
    """Which lots are meant; what is None does not narrow."""

    program_id: str | None = None
    customer_id: str | None = None
    expiring_before: datetime | None = None
    earned_by: str | None = None  #: the rule or promotion whose own expiry the lot has; '' = the program's


class EndingLot(NamedTuple):
    """A lot with points left that ends after `as_of`."""

    account_id: UUID
    customer_id: str
    program_id: str
    lot: Lot


_CONDITION = """
l.points_remaining > 0 AND l.expires_at > %(as_of)s
AND (%(program_id)s::text IS NULL OR a.program_id = %(program_id)s)
AND (%(customer_id)s::text IS NULL OR a.account_id IN (SELECT m.account_id FROM members m
     WHERE m.program_id = a.program_id AND m.customer_id = %(customer_id)s))
AND (%(expiring_before)s::timestamptz IS NULL OR l.expires_at < %(expiring_before)s)
AND (%(earned_by)s::text IS NULL OR l.earned_by = %(earned_by)s)
"""
_NEXT = f"""
SELECT DISTINCT l.account_id FROM lots l JOIN accounts a USING (account_id)
WHERE l.account_id > %(after)s AND {_CONDITION} ORDER BY l.account_id LIMIT %(limit)s
"""  # noqa: S608  # our own words
_LOTS = f"""
SELECT l.account_id, a.customer_id, a.program_id, {", ".join(f"l.{name}" for name in Lot._fields)}
FROM lots l JOIN accounts a USING (account_id)
WHERE l.account_id = ANY(%(account_ids)s) AND {_CONDITION} ORDER BY l.account_id, l.lot_number
"""  # noqa: S608  # our own words


def next_accounts_with_lots(
    connection: Connection, chosen: LotFilter, as_of: datetime, after: UUID | None, accounts_max: int
) -> list[UUID]:
    """The next accounts, by id, that have lots of `chosen` that have not ended by `as_of`."""
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    parameters = {**chosen._asdict(), "as_of": as_of, "after": after or _FIRST, "limit": accounts_max}
    return [row[0] for row in run_bulk(connection, _NEXT, parameters)]


def load_chosen_lots(
    connection: Connection, chosen: LotFilter, as_of: datetime, account_ids: Collection[UUID]
) -> list[EndingLot]:
    """The lots of `chosen` of these accounts, which whoever changes them has locked."""
    parameters = {**chosen._asdict(), "as_of": as_of, "account_ids": list(account_ids)}
    return [EndingLot(row[0], row[1], row[2], Lot._make(row[3:])) for row in run_bulk(connection, _LOTS, parameters)]
