"""Authorizations and issued rewards: what they hold, and which are due to end."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
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
SELECT {AUTHORIZATIONS.select("a")} FROM authorizations a WHERE a.account_id = ANY(%b) AND a.state = 'open'
ORDER BY a.account_id, a.sequence
"""  # noqa: S608  # our own names


def load_holding(connection: Connection, account_ids: Collection[UUID]) -> list[Authorization]:
    """The authorizations of these accounts that hold points, the oldest of each first."""
    rows = run_bulk(connection, _HOLDING, (list(account_ids),)) if account_ids else ()
    return [AUTHORIZATIONS.read(row) for row in rows]


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


# One that lasts no longer than its program tells ahead is never told of, and would be found by every run.
_NEAR = """
FROM authorizations a JOIN accounts c USING (account_id)
     JOIN entries e ON e.account_id = a.account_id AND e.sequence = a.sequence
     JOIN unnest(%(programs)s::text[], %(hours)s::integer[]) AS k(program_id, hours) USING (program_id)
WHERE a.account_shard = %(shard)s AND a.kind = 'authorization' AND a.state = 'open' AND a.told_at IS NULL
  AND a.expires_at > %(as_of)s AND a.expires_at <= %(until)s
  AND a.expires_at - make_interval(hours => k.hours) <= %(as_of)s
  AND a.expires_at - make_interval(hours => k.hours) > e.recorded_at
"""
_ACCOUNTS_NEAR = f"""
SELECT DISTINCT account_id FROM (SELECT a.account_id {_NEAR} ORDER BY a.expires_at LIMIT %(limit)s) AS near
"""  # noqa: S608  # our own words
_OF_ACCOUNTS_NEAR = f"""
SELECT e.recorded_at, {AUTHORIZATIONS.select("a")} FROM authorizations a
     JOIN entries e ON e.account_id = a.account_id AND e.sequence = a.sequence
WHERE a.account_id = ANY(%b) AND a.kind = 'authorization' AND a.state = 'open' AND a.told_at IS NULL
  AND a.expires_at > %b
ORDER BY a.account_id, a.expires_at, a.sequence
"""  # noqa: S608  # our own names


def accounts_with_near_deadlines(
    connection: Connection, shard: int, as_of: datetime, hours_ahead: Mapping[str, int], rows_max: int
) -> list[UUID]:
    """Accounts of the open authorizations with the soonest deadlines that are to be told of: at most `rows_max`.

    `hours_ahead` says by program how long ahead they are.
    """
    until = as_of + timedelta(hours=max(hours_ahead.values(), default=0))
    programs = {"programs": [*hours_ahead.keys()], "hours": [*hours_ahead.values()]}
    parameters = {**programs, "shard": shard, "as_of": as_of, "until": until, "limit": rows_max}
    return [row[0] for row in run_bulk(connection, _ACCOUNTS_NEAR, parameters)]


def load_near_deadlines(
    connection: Connection, account_ids: Collection[UUID], as_of: datetime
) -> list[tuple[Authorization, datetime]]:
    """Open authorizations of these locked accounts, not told of, with deadlines after `as_of`; when each was made."""
    rows = run_bulk(connection, _OF_ACCOUNTS_NEAR, (list(account_ids), as_of))
    return [(AUTHORIZATIONS.read(row[1:]), row[0]) for row in rows]


_NOTE_TOLD = f"""
UPDATE authorizations a SET told_at = now() FROM {unnested(tables.authorizations, _OF_KEYS)}
WHERE (a.kind, a.authorization_id) = (k.kind, k.authorization_id)
"""  # noqa: S608  # our own names


def note_told(connection: Connection, authorizations: Collection[Authorization]) -> None:
    """Keep that it was told of these that their deadlines are near."""
    if authorizations:
        run_bulk(connection, _NOTE_TOLD, arrays([(each.kind, each.authorization_id) for each in authorizations], 2))
