"""Authorizations and issued rewards: what they hold, and which are due to end."""

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.domain.reach import ReferenceKey
from core.domain.value.authorizations import Authorization
from core.store import tables
from core.store.engine import run_bulk
from core.store.rows import Append, Shape, Update, arrays, unnested
from core.store.shards import account_shard

AUTHORIZATIONS = Shape(
    tables.authorizations, Authorization, account_shard=lambda authorization: account_shard(authorization.account_id)
)
_OF_KEYS = ("kind", "authorization_id")
_BY_KEYS = f"""
SELECT {AUTHORIZATIONS.select("a")}
FROM {unnested(tables.authorizations, _OF_KEYS)} JOIN authorizations a USING (kind, authorization_id)
"""  # noqa: S608  # our own names
_APPEND = Append(AUTHORIZATIONS.new())
_UPDATE = Update(AUTHORIZATIONS.changed("points_captured", "points_returned", "state"))


def load_authorizations(connection: Connection, keys: Iterable[ReferenceKey]) -> list[Authorization]:
    """Those of these that exist; the caller has locked their accounts."""
    wanted = [(key.kind, key.reference) for key in keys]
    return [AUTHORIZATIONS.read(row) for row in run_bulk(connection, _BY_KEYS, arrays(wanted, 2))] if wanted else []


_HOLDING = f"""
SELECT {AUTHORIZATIONS.select("a")} FROM authorizations a WHERE a.account_id = %s AND a.state = 'open'
ORDER BY a.sequence
"""  # noqa: S608  # our own names


def load_holding(connection: Connection, account_id: UUID) -> list[Authorization]:
    """The authorizations of an account that hold points, the oldest first."""
    return [AUTHORIZATIONS.read(row) for row in run_bulk(connection, _HOLDING, (account_id,))]


def append_authorizations(connection: Connection, authorizations: Collection[Authorization]) -> None:
    """Record new authorizations; an id that is taken fails, and the batch is then done again."""
    _APPEND.run(connection, authorizations)


def update_authorizations(connection: Connection, authorizations: Collection[Authorization]) -> None:
    """Write what authorizations hold now, whose accounts the caller has locked."""
    _UPDATE.run(connection, authorizations)


_ACCOUNTS_DUE = """
SELECT DISTINCT account_id FROM (
    SELECT account_id FROM authorizations
    WHERE account_shard = %s AND state = 'open' AND expires_at <= %s
    ORDER BY expires_at LIMIT %s
) AS due
"""
_DUE = f"""
SELECT {AUTHORIZATIONS.select("a")} FROM authorizations a
WHERE a.account_id = ANY(%b) AND a.state = 'open' AND a.expires_at <= %b
ORDER BY a.expires_at, a.account_id, a.sequence LIMIT %b
"""  # noqa: S608  # our own names


def accounts_with_deadlines(connection: Connection, shard: int, until: datetime, rows_max: int) -> list[UUID]:
    """Accounts of the open authorizations with the soonest deadlines, none after `until`: at most `rows_max`."""
    return [row[0] for row in run_bulk(connection, _ACCOUNTS_DUE, (shard, until, rows_max))]


def load_deadlines(
    connection: Connection, account_ids: Collection[UUID], until: datetime, rows_max: int
) -> list[Authorization]:
    """Open authorizations of these locked accounts with a deadline not after `until`, the soonest first."""
    rows = run_bulk(connection, _DUE, (list(account_ids), until, rows_max))
    return [AUTHORIZATIONS.read(row) for row in rows]
