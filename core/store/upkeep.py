"""What time brings due: lots to expire and tiers to review, found shard by shard in bounded batches."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from core.domain.lots import Lot
from core.store.engine import run_bulk

_DUE_ACCOUNTS = """
SELECT DISTINCT account_id FROM (
    SELECT account_id FROM lots
    WHERE account_shard = %s AND expires_at <= %s AND points_remaining > 0
    ORDER BY expires_at LIMIT %s
) AS due
"""


def accounts_with_due_lots(connection: Connection, shard: int, as_of: datetime, lots_max: int) -> list[UUID]:
    """Accounts of the soonest due lots, at most `lots_max` lots."""
    return [row[0] for row in run_bulk(connection, _DUE_ACCOUNTS, (shard, as_of, lots_max))]


_DUE_LOTS = """
SELECT account_id, lot_number, opened_by_sequence, points_granted, points_remaining, points_expired,
       available_at, expires_at
FROM lots WHERE account_id = ANY(%b) AND expires_at <= %b AND points_remaining > 0
"""


def load_due_lots(connection: Connection, account_ids: Collection[UUID], as_of: datetime) -> dict[UUID, list[Lot]]:
    """The due lots of these accounts, whose rows the caller has locked."""
    found: dict[UUID, list[Lot]] = {}
    for account_id, *values in run_bulk(connection, _DUE_LOTS, (list(account_ids), as_of)):
        found.setdefault(account_id, []).append(Lot(*values))
    return found


_DUE_REVIEWS = """
SELECT account_id FROM accounts WHERE account_shard = %s AND tier_until <= %s ORDER BY tier_until LIMIT %s
"""


def accounts_due_for_review(connection: Connection, shard: int, as_of: datetime, accounts_max: int) -> list[UUID]:
    """Accounts whose tier was to be reviewed by `as_of`, the longest due first."""
    return [row[0] for row in run_bulk(connection, _DUE_REVIEWS, (shard, as_of, accounts_max))]


_QUALIFIED = """
SELECT k.account_id, coalesce(sum(o.points_entitled), 0)::bigint
FROM unnest(%b::uuid[], %b::timestamptz[], %b::timestamptz[]) AS k(account_id, period_start, period_end)
     LEFT JOIN orders o ON o.account_id = k.account_id
          AND o.occurred_at >= k.period_start AND o.occurred_at < k.period_end
GROUP BY k.account_id
"""


def qualifying_points(connection: Connection, periods: Collection[tuple[UUID, datetime, datetime]]) -> dict[UUID, int]:
    """What the orders of each account's [start, end) entitle to, after their refunds."""
    if not periods:
        return {}
    columns = [list(column) for column in zip(*periods, strict=True)]
    return dict(run_bulk(connection, _QUALIFIED, columns))


_SHARDS_DUE = """
SELECT s FROM generate_series(0, %s) AS s
WHERE EXISTS (SELECT 1 FROM lots WHERE account_shard = s AND expires_at <= %s AND points_remaining > 0)
"""
_SHARDS_FOR_REVIEW = """
SELECT s FROM generate_series(0, %s) AS s
WHERE EXISTS (SELECT 1 FROM accounts WHERE account_shard = s AND tier_until <= %s)
"""


def shards_with_due_lots(connection: Connection, as_of: datetime, shards: int) -> list[int]:
    """Account shards that have lots to expire."""
    return [row[0] for row in run_bulk(connection, _SHARDS_DUE, (shards - 1, as_of))]


def shards_due_for_review(connection: Connection, as_of: datetime, shards: int) -> list[int]:
    """Account shards that have tiers to review."""
    return [row[0] for row in run_bulk(connection, _SHARDS_FOR_REVIEW, (shards - 1, as_of))]
