"""What time brings due: lots to release and expire, tiers to review, reminders; shard by shard in bounded batches."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.expiry.due import LOTS_OF_ENTRY_MAX
from core.domain.expiry.reminders import Reminder
from core.domain.lots import Lot
from core.store import tables
from core.store.engine import driver_connection, run_bulk
from core.store.ledger import EXPIRES_AT, IN_LINE, LINE, LOTS
from core.store.rows import Put, Shape
from core.store.tables import FIRST_LOTS

_DUE_ACCOUNTS = """
SELECT DISTINCT account_id FROM (
    (SELECT account_id FROM lots
     WHERE account_shard = %b AND expires_at <= %b AND points_remaining > 0 ORDER BY expires_at LIMIT %b)
    UNION ALL
    (SELECT account_id FROM shared_expiries
     WHERE account_shard = %b AND expires_at <= %b AND NOT is_over ORDER BY expires_at LIMIT %b)
) AS due
"""


def accounts_with_due_lots(connection: Connection, shard: int, as_of: datetime, lots_max: int) -> list[UUID]:
    """Accounts of the soonest due lots and shared expiries, at most `lots_max` of each."""
    return [row[0] for row in run_bulk(connection, _DUE_ACCOUNTS, (shard, as_of, lots_max) * 2)]


#: That many lots at most are read, and changed, in one transaction; at least what one entry is of.
_LOTS_AT_ONCE = 5 * LOTS_OF_ENTRY_MAX


class DueLots(NamedTuple):
    """Lots of one account that are due."""

    lots: list[Lot]  #: the first of them, in the order in which they are expired or released
    is_cut: bool  #: there may be more


_OF_K = f"l.account_id = k.account_id AND l.points_remaining > 0 AND NOT l.is_pending AND l.lot_number > {FIRST_LOTS}"
# Line by line, as refunds take from them (core.store.ledger).
_DUE_LOTS = f"""
SELECT {LOTS.select("t")} FROM unnest(%(account_ids)b::uuid[]) WITH ORDINALITY AS k(account_id, place)
CROSS JOIN LATERAL (
    SELECT l.* FROM (
        SELECT l.lot_number FROM dated_lots l WHERE l.account_id = k.account_id AND l.points_remaining > 0
           AND NOT l.is_pending AND l.lot_number <= {FIRST_LOTS} AND l.expires_at <= %(as_of)b
        UNION ALL
        (SELECT l.lot_number FROM lots l WHERE {_OF_K} AND {LINE} = 0 AND {EXPIRES_AT} <= %(as_of)b
         ORDER BY {IN_LINE} LIMIT {LOTS_OF_ENTRY_MAX})
        UNION ALL
        SELECT line.lot_number FROM shared_expiries x CROSS JOIN LATERAL (
            SELECT l.lot_number FROM lots l WHERE {_OF_K} AND {LINE} = x.expires_with
            ORDER BY {IN_LINE} LIMIT {LOTS_OF_ENTRY_MAX}
        ) AS line WHERE x.account_id = k.account_id AND NOT x.is_over AND x.expires_at <= %(as_of)b
    ) AS due JOIN dated_lots l ON l.account_id = k.account_id AND l.lot_number = due.lot_number
    ORDER BY l.expires_at, l.available_at, l.lot_number LIMIT {LOTS_OF_ENTRY_MAX}
) AS t ORDER BY k.place LIMIT {_LOTS_AT_ONCE}
"""  # noqa: S608  # our own names


def load_due_lots(connection: Connection, account_ids: Sequence[UUID], as_of: datetime) -> dict[UUID, DueLots]:
    """The due lots of these accounts, whose rows the caller has locked, as far as they are done at once.

    Pending lots are not among them.
    """
    return _due_lots(run_bulk(connection, _DUE_LOTS, {"account_ids": list(account_ids), "as_of": as_of}))


_FINISH = f"""
UPDATE shared_expiries x SET is_over = true
WHERE x.account_id = ANY(%b) AND NOT x.is_over AND x.expires_at <= %b
  AND NOT EXISTS (SELECT FROM lots l WHERE l.account_id = x.account_id AND l.lot_number <= {FIRST_LOTS}
                  AND l.expires_with = x.expires_with AND l.points_remaining > 0)
  AND NOT EXISTS (SELECT FROM lots l WHERE l.account_id = x.account_id AND l.lot_number > {FIRST_LOTS}
                  AND {LINE} = x.expires_with AND l.points_remaining > 0 AND NOT l.is_pending)
"""  # noqa: S608  # our own words


def finish_expiries(connection: Connection, account_ids: Collection[UUID], as_of: datetime) -> int:
    """Note which due shared expiries of these locked accounts have nothing left to expire; how many there were."""
    with driver_connection(connection).cursor() as cursor:
        return cursor.execute(_FINISH.encode(), (list(account_ids), as_of)).rowcount


_ACCOUNTS_TO_RELEASE = """
SELECT DISTINCT account_id FROM (
    SELECT account_id FROM lots WHERE account_shard = %s AND is_pending AND available_at <= %s
    ORDER BY available_at LIMIT %s
) AS due
"""
_LOTS_TO_RELEASE = f"""
SELECT {LOTS.select("t")} FROM unnest(%b::uuid[]) WITH ORDINALITY AS k(account_id, place) CROSS JOIN LATERAL (
    SELECT l.* FROM dated_lots l WHERE l.account_id = k.account_id AND l.is_pending AND l.available_at <= %b
    ORDER BY l.available_at, l.lot_number LIMIT {LOTS_OF_ENTRY_MAX}
) AS t ORDER BY k.place LIMIT {_LOTS_AT_ONCE}
"""  # noqa: S608  # our own names


def accounts_with_lots_to_release(connection: Connection, shard: int, as_of: datetime, lots_max: int) -> list[UUID]:
    """Accounts of the pending lots that are longest due, at most `lots_max` lots."""
    return [row[0] for row in run_bulk(connection, _ACCOUNTS_TO_RELEASE, (shard, as_of, lots_max))]


def load_lots_to_release(connection: Connection, account_ids: Sequence[UUID], as_of: datetime) -> dict[UUID, DueLots]:
    """The pending lots of these accounts, whose rows the caller has locked, that are due, as far as done at once."""
    return _due_lots(run_bulk(connection, _LOTS_TO_RELEASE, (list(account_ids), as_of)))


def _due_lots(rows: Sequence[tuple[Any, ...]]) -> dict[UUID, DueLots]:
    """By account; where there may be more than was read, the last account is cut like one that has too many itself."""
    found = _lots(rows)
    last = next(reversed(found)) if len(rows) == _LOTS_AT_ONCE else None
    return {i: DueLots(lots, i == last or len(lots) == LOTS_OF_ENTRY_MAX) for i, lots in found.items()}


def _lots(rows: Iterable[tuple[Any, ...]]) -> dict[UUID, list[Lot]]:
    found: dict[UUID, list[Lot]] = {}
    for account_id, lot in map(LOTS.read, rows):
        found.setdefault(account_id, []).append(lot)
    return found


class Grace(NamedTuple):
    """How long after the end of a period that ends in [first, until) a program reviews tiers."""

    program_id: str
    first: datetime
    until: datetime
    days: int


_DUE_REVIEWS = """
SELECT a.account_id
FROM accounts a
JOIN unnest(%s::text[], %s::timestamptz[], %s::timestamptz[], %s::integer[]) AS g(program_id, first, until, days)
     ON g.program_id = a.program_id AND g.first <= a.tier_until AND a.tier_until < g.until
WHERE a.account_shard = %s AND a.tier_until <= %s AND a.tier_until + make_interval(days => g.days) <= %s
ORDER BY a.tier_until LIMIT %s
"""


def accounts_due_for_review(
    connection: Connection, shard: int, as_of: datetime, accounts_max: int, grace: Sequence[Grace]
) -> list[UUID]:
    """Accounts whose tier was to be reviewed by `as_of`, the longest due first."""
    columns = [list(column) for column in zip(*grace, strict=True)]
    rows = run_bulk(connection, _DUE_REVIEWS, (*columns, shard, as_of, as_of, accounts_max)) if grace else []
    return [row[0] for row in rows]


_NEAR_REVIEW = """
SELECT a.account_id
FROM accounts a
JOIN unnest(%(programs)s::text[], %(firsts)s::timestamptz[], %(untils)s::timestamptz[], %(grace)s::integer[])
     AS g(program_id, first, until, grace)
     ON g.program_id = a.program_id AND g.first <= a.tier_until AND a.tier_until < g.until
JOIN unnest(%(warning)s::text[], %(ahead)s::integer[]) AS h(program_id, ahead) ON h.program_id = a.program_id
WHERE a.account_shard = %(shard)s AND a.tier_until IS NOT NULL AND a.tier_warned_until IS DISTINCT FROM a.tier_until
  AND a.tier_until + make_interval(days => g.grace) > %(as_of)s
  AND a.tier_until + make_interval(days => g.grace - h.ahead) <= %(as_of)s
  AND (%(after)s::uuid IS NULL OR a.account_id > %(after)s::uuid)
ORDER BY a.account_id LIMIT %(limit)s
"""


def accounts_near_review(
    connection: Connection,
    shard: int,
    as_of: datetime,
    grace: Sequence[Grace],
    ahead: Mapping[str, int],
    after: UUID | None,
    accounts_max: int,
) -> list[UUID]:
    """The next accounts, by id, whose review was not announced yet; `ahead`: how many days, by program."""
    programs, firsts, untils, days = (list(column) for column in zip(*grace, strict=True))
    of_versions = {"programs": programs, "firsts": firsts, "untils": untils, "grace": days}
    of_programs = {"warning": list(ahead), "ahead": list(ahead.values())}
    asked = {"shard": shard, "as_of": as_of, "after": after, "limit": accounts_max}
    rows = run_bulk(connection, _NEAR_REVIEW, {**of_versions, **of_programs, **asked})
    return [row[0] for row in rows]


# What ends and was not announced, what was announced and is no longer so, and what is announced once more near its end.
_TO_REMIND = """
WITH ahead AS (SELECT * FROM unnest(%(programs)s::text[], %(days)s::integer[]) AS k(program_id, days)),
     told AS (
         SELECT r.* FROM reminders r JOIN accounts a USING (account_id)
         WHERE a.account_shard = %(shard)s AND r.expires_at > %(as_of)s
     ),
     ending AS (
         SELECT account_id, expires_at, sum(points_remaining) AS points FROM dated_lots
         WHERE account_shard = %(shard)s AND points_remaining > 0 AND NOT is_pending AND expires_at > %(as_of)s
           AND expires_at <= greatest(%(as_of)s + make_interval(days => (SELECT max(days) FROM ahead)),
                                      (SELECT max(expires_at) FROM told))
         GROUP BY account_id, expires_at
     )
SELECT DISTINCT account_id FROM (
    SELECT account_id, coalesce(e.points, 0) AS points, t.points AS told, t.days_ahead,
           (SELECT min(h.days) FROM ahead h JOIN accounts a USING (program_id)
            WHERE a.account_id = coalesce(e.account_id, t.account_id)
              AND expires_at - make_interval(days => h.days) <= %(as_of)s) AS nearest
    FROM ending e FULL JOIN told t USING (account_id, expires_at)
) AS compared
WHERE (told IS NULL AND nearest IS NOT NULL) OR (told IS NOT NULL AND points <> told)
   OR (points > 0 AND nearest < days_ahead)
LIMIT %(limit)s
"""


def accounts_to_remind(
    connection: Connection, shard: int, as_of: datetime, ahead: Sequence[tuple[str, int]], accounts_max: int
) -> list[UUID]:
    """Accounts whose points' end is to be announced or corrected; `ahead` are pairs of program and days."""
    parameters = {"programs": [pair[0] for pair in ahead], "days": [pair[1] for pair in ahead], "shard": shard}
    rows = run_bulk(connection, _TO_REMIND, {**parameters, "as_of": as_of, "limit": accounts_max})
    return [row[0] for row in rows]


_EXPIRING = """
SELECT account_id, expires_at, sum(points_remaining)::bigint FROM dated_lots
WHERE account_id = ANY(%b) AND expires_at > %b AND points_remaining > 0 AND NOT is_pending
GROUP BY account_id, expires_at
"""


def load_expiring(
    connection: Connection, account_ids: Collection[UUID], as_of: datetime
) -> dict[UUID, dict[datetime, int]]:
    """How many points of these accounts will expire when; an account without any has an empty one."""
    found: dict[UUID, dict[datetime, int]] = {account_id: {} for account_id in account_ids}
    for account_id, expires_at, points in run_bulk(connection, _EXPIRING, (list(account_ids), as_of)):
        found[account_id][expires_at] = points
    return found


class AccountReminder(NamedTuple):
    """A reminder, and whose it is."""

    account_id: UUID
    reminder: Reminder


_REMINDERS = Shape(tables.reminders, AccountReminder)
_PUT_REMINDERS = Put(_REMINDERS.new())
_LOAD_REMINDERS = f"""
SELECT {_REMINDERS.select("r")} FROM reminders r WHERE r.account_id = ANY(%b) AND r.expires_at > %b
"""  # noqa: S608  # our own names


def load_reminders(
    connection: Connection, account_ids: Collection[UUID], as_of: datetime
) -> dict[UUID, list[Reminder]]:
    """What was last announced to these accounts of points that have not ended yet."""
    found: dict[UUID, list[Reminder]] = {account_id: [] for account_id in account_ids}
    for account_id, reminder in map(_REMINDERS.read, run_bulk(connection, _LOAD_REMINDERS, (list(account_ids), as_of))):
        found[account_id].append(reminder)
    return found


def write_reminders(connection: Connection, reminders: Sequence[tuple[UUID, Reminder]]) -> None:
    """Keep what is announced now; the caller has locked the accounts."""
    _PUT_REMINDERS.run(connection, [AccountReminder(*pair) for pair in reminders])


_SHARDS_DUE = """
SELECT s FROM generate_series(0, %s) AS s
WHERE EXISTS (SELECT 1 FROM lots WHERE account_shard = s AND expires_at <= %s AND points_remaining > 0)
   OR EXISTS (SELECT 1 FROM shared_expiries WHERE account_shard = s AND expires_at <= %s AND NOT is_over)
"""
_SHARDS_TO_RELEASE = """
SELECT s FROM generate_series(0, %s) AS s
WHERE EXISTS (SELECT 1 FROM lots WHERE account_shard = s AND is_pending AND available_at <= %s)
"""
_SHARDS_FOR_REVIEW = """
SELECT s FROM generate_series(0, %s) AS s
WHERE EXISTS (SELECT 1 FROM accounts WHERE account_shard = s AND tier_until <= %s)
"""


def shards_with_due_lots(connection: Connection, as_of: datetime, shards: int) -> list[int]:
    """Account shards that have lots to expire."""
    return [row[0] for row in run_bulk(connection, _SHARDS_DUE, (shards - 1, as_of, as_of))]


def shards_with_lots_to_release(connection: Connection, as_of: datetime, shards: int) -> list[int]:
    """Account shards that have pending lots to release."""
    return [row[0] for row in run_bulk(connection, _SHARDS_TO_RELEASE, (shards - 1, as_of))]


def shards_due_for_review(connection: Connection, as_of: datetime, shards: int) -> list[int]:
    """Account shards that have tiers to review, or will have after their grace."""
    return [row[0] for row in run_bulk(connection, _SHARDS_FOR_REVIEW, (shards - 1, as_of))]
