"""What a program owes, worked out from lots and entries: now, or as it was recorded before an instant; and as kept.

From the state that is there, what was recorded since the instant is undone. So it costs one look at the lots, and
memory for the sums alone. What moves an end without an entry is not undone: with `inactivity` points have the end
that they have now.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from core.domain.accounting.breakage import HISTORY_MONTHS, BreakageHistory
from core.domain.accounting.liability import Bucket, Liability, LiabilityLine, Valuation
from core.domain.accounting.months import Month, month_of
from core.domain.calendar import add_months, local_midnight
from core.domain.currencies import smallest_unit
from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.store.engine import run_bulk
from core.store.shards import ACCOUNT_SHARDS

#: Shards that are asked for apart sum up what is their own, and not all that was recorded since.
_OF_SHARD = "JOIN accounts s ON s.account_id = e.account_id AND s.account_shard = ANY(%(shards)s)"
#: The tiers of accounts whose tier has changed since. A change by what comes late says which tier was held when that
#: happened, not which was recorded: the change before tells that.
_TIERS = """
SELECT c.account_id, coalesce(b.tier_id, c.previous_tier_id) AS tier_id
FROM (SELECT DISTINCT ON (account_id) account_id, change_number, previous_tier_id FROM tier_changes
      WHERE recorded_at >= %(as_of)s ORDER BY account_id, change_number) AS c
LEFT JOIN tier_changes b ON b.account_id = c.account_id AND b.change_number = c.change_number - 1
"""
#: Lots that were pending until all of them was taken since: their fulfilment finds no points, and makes no entry.
_EMPTIED = f"""
SELECT DISTINCT n.account_id, n.lot_number,
       coalesce(p.document->'availability'->>'policy' = 'on_fulfilled', false) AS waited
FROM entries e {_OF_SHARD}
JOIN allocations n ON n.account_id = e.account_id AND n.sequence = e.sequence AND n.kind = 'taken'
JOIN lots g ON g.account_id = n.account_id AND g.lot_number = n.lot_number AND NOT g.is_pending
JOIN entries b ON b.account_id = g.account_id AND b.sequence = g.opened_by_sequence
              AND (b.pending_change > 0 OR (b.kind = 'release' AND b.points = 0))
LEFT JOIN orders o ON o.source = g.origin_source AND o.order_id = g.origin_id AND o.program_id = %(program_id)s
                  AND g.origin_kind = 'order'
LEFT JOIN programs p ON p.program_id = o.program_id AND p.version = o.program_version
WHERE e.recorded_at >= %(as_of)s AND e.pending_change < 0 AND e.kind <> 'release'
  AND NOT EXISTS (SELECT FROM entries r WHERE r.account_id = e.account_id AND r.kind = 'release'
                  AND r.sequence < e.sequence AND r.why::jsonb->'lots' @> to_jsonb(n.lot_number))
"""  # noqa: S608  # our own words
#: What was recorded from `as_of` on: changes of lots, releases of lots, extensions by hand, changes of accounts.
_LINES = f"""
SELECT p.bucket, p.tier_id, p.earned_month, p.last_month, sum(p.points)::bigint
FROM (
    SELECT CASE WHEN d.expires_at <= %(as_of)s THEN 'ended'
                WHEN l.is_pending OR r.lot_number IS NOT NULL OR w.lot_number IS NOT NULL THEN 'pending'
                ELSE 'available' END AS bucket,
           coalesce(t.tier_id, a.tier_id) AS tier_id,
           date_trunc('month', l.origin_at AT TIME ZONE %(zone)s)::date AS earned_month,
           date_trunc('month', (d.expires_at - interval '1 microsecond') AT TIME ZONE %(zone)s)::date AS last_month,
           l.points_remaining - coalesce(u.points, 0) AS points
    FROM dated_lots l
    JOIN accounts a USING (account_id)
    LEFT JOIN (SELECT n.account_id, n.lot_number, sum(n.points) AS points
               FROM entries e {_OF_SHARD}
               JOIN allocations n ON n.account_id = e.account_id AND n.sequence = e.sequence
               WHERE e.recorded_at >= %(as_of)s GROUP BY n.account_id, n.lot_number) AS u
         ON u.account_id = l.account_id AND u.lot_number = l.lot_number
    LEFT JOIN (SELECT e.account_id, named.lot_number::integer AS lot_number, bool_or(e.order_id IS NOT NULL) AS waited
               FROM entries e {_OF_SHARD}
               CROSS JOIN LATERAL json_array_elements_text(e.why->'lots') AS named(lot_number)
               WHERE e.recorded_at >= %(as_of)s AND e.kind = 'release'
               GROUP BY e.account_id, named.lot_number) AS r
         ON r.account_id = l.account_id AND r.lot_number = l.lot_number
    LEFT JOIN ({_EMPTIED}) AS w ON w.account_id = l.account_id AND w.lot_number = l.lot_number
    LEFT JOIN (SELECT DISTINCT ON (account_id, subject) account_id, subject,
                      (found->>'expires_at')::timestamptz AS expires_at
               FROM repairs WHERE applied_at >= %(as_of)s AND found ? 'expires_at'
               ORDER BY account_id, subject, repair_id) AS x
         ON x.account_id = l.account_id AND x.subject = 'lot ' || l.lot_number
    LEFT JOIN ({_TIERS}) AS t ON t.account_id = l.account_id
    CROSS JOIN LATERAL (SELECT CASE WHEN r.waited OR w.waited THEN NULL
                                    ELSE coalesce(x.expires_at, l.expires_at) END AS expires_at) AS d
    WHERE l.account_shard = ANY(%(shards)s) AND a.program_id = %(program_id)s
      AND l.points_remaining <> coalesce(u.points, 0)
    UNION ALL
    SELECT b.bucket, coalesce(t.tier_id, a.tier_id), NULL, NULL, b.points
    FROM accounts a
    LEFT JOIN (SELECT e.account_id, sum(e.reserved_change) AS reserved, sum(e.deficit_change) AS deficit
               FROM entries e {_OF_SHARD} WHERE e.recorded_at >= %(as_of)s
               GROUP BY e.account_id) AS e USING (account_id)
    LEFT JOIN ({_TIERS}) AS t USING (account_id)
    CROSS JOIN LATERAL (VALUES ('reserved', a.reserved - coalesce(e.reserved, 0)),
                               ('deficit', coalesce(e.deficit, 0) - a.deficit)) AS b(bucket, points)
    WHERE a.account_shard = ANY(%(shards)s) AND a.program_id = %(program_id)s AND b.points <> 0
) AS p
GROUP BY p.bucket, p.tier_id, p.earned_month, p.last_month
"""  # noqa: S608  # our own words
# Of points whose time is over: how many have expired, and at which age the others were spent.
_HISTORY = """
SELECT n.kind = 'expired' OR (e.kind = 'debit' AND coalesce((e.why->>'forfeited')::boolean, false)) AS has_expired,
       12 * (extract(year FROM e.occurred_at AT TIME ZONE %(zone)s)
             - extract(year FROM l.origin_at AT TIME ZONE %(zone)s))
       + extract(month FROM e.occurred_at AT TIME ZONE %(zone)s)
       - extract(month FROM l.origin_at AT TIME ZONE %(zone)s) AS age_months,
       -sum(n.points)::bigint
FROM dated_lots l
JOIN accounts a USING (account_id)
JOIN allocations n ON n.account_id = l.account_id AND n.lot_number = l.lot_number
JOIN entries e ON e.account_id = n.account_id AND e.sequence = n.sequence
LEFT JOIN entries c ON e.kind = 'reversal' AND c.account_id = e.account_id AND c.sequence = e.corrects_sequence
WHERE l.account_shard = ANY(%(shards)s) AND a.program_id = %(program_id)s AND l.expires_at <= %(as_of)s
  AND l.expires_at > %(since)s AND e.recorded_at < %(as_of)s AND n.kind <> 'opened'
  AND coalesce(c.kind, e.kind) IN ('expiry', 'debit', 'redemption', 'authorization', 'void', 'repayment')
GROUP BY 1, 2
"""


def load_liability(
    connection: Connection,
    registry: ProgramRegistry,
    program_id: str,
    as_of: datetime,
    month: Month | None = None,
    *,
    is_in_one: bool = False,
) -> Liability:
    """What the program owed by all that was recorded before `as_of`, which is the end of `month` if that is given.

    It takes a statement for each account shard, so that none takes long, which a worker needs; who has time takes all
    `is_in_one`, in less than half the time. The caller's transaction should see one snapshot. KeyError for an unknown
    program.
    """
    version = registry.at(program_id, as_of)
    zone = version.program.zone
    day = month.first_day if month else month_of(registry, program_id, as_of).first_day
    asked = {
        "program_id": program_id,
        "as_of": as_of,
        "zone": zone.key,
        "since": local_midnight(add_months(day, -HISTORY_MONTHS), zone),
    }
    asked_at_once = [[*range(ACCOUNT_SHARDS)]] if is_in_one else [[shard] for shard in range(ACCOUNT_SHARDS)]
    parts = [{**asked, "shards": shards} for shards in asked_at_once]
    lines = _lines(connection, parts)
    ended = sum(line.points for line in lines if line.bucket is Bucket.ENDED)
    history = _history(connection, parts, ended)
    program = version.program
    valuation = Valuation(version.version, program.unit, program.currency, value_of_point(program), history)
    return Liability(program_id, as_of, day, valuation, tuple(lines), month=None if month is None else month.text)


_KEEP = """
INSERT INTO liability_snapshots (program_id, month, as_of, program_version, points_expired, points_spent)
VALUES (%(program_id)s, %(month)s, %(as_of)s, %(version)s, %(expired)s, %(spent)s::jsonb)
ON CONFLICT DO NOTHING RETURNING 1
"""
_KEEP_LINES = """
INSERT INTO liability_lines (program_id, month, line_number, bucket, tier_id, earned_month, last_month, points)
SELECT %(program_id)s, %(month)s, n.line_number, n.bucket, n.tier_id, n.earned_month, n.last_month, n.points
FROM unnest(%(buckets)s::text[], %(tier_ids)s::text[], %(earned)s::date[], %(last)s::date[], %(points)s::bigint[])
     WITH ORDINALITY AS n(bucket, tier_id, earned_month, last_month, points, line_number)
"""
_KEPT = """
SELECT as_of, program_version, points_expired, points_spent, taken_at FROM liability_snapshots
WHERE program_id = %s AND month = %s
"""
_KEPT_LINES = """
SELECT bucket, tier_id, earned_month, last_month, points FROM liability_lines
WHERE program_id = %s AND month = %s ORDER BY line_number
"""
_LAST_KEPT = "SELECT max(month) FROM liability_snapshots WHERE program_id = %s"


def append_snapshot(connection: Connection, found: Liability) -> bool:
    """Keep what was owed at a month's end, for good; False if that month has been kept, which then stays as it is."""
    assert found.month is not None
    history = found.valuation.history
    key = {"program_id": found.program_id, "month": found.day}
    spent = json.dumps({str(age): points for age, points in sorted(history.points_spent.items())})
    header = {
        **key, "as_of": found.as_of, "version": found.valuation.version, "expired": history.points_expired,
        "spent": spent,
    }  # fmt: skip
    if not run_bulk(connection, _KEEP, header):
        return False
    columns = {
        "buckets": [line.bucket.value for line in found.lines],
        "tier_ids": [line.tier_id for line in found.lines],
        "earned": [line.earned_month for line in found.lines],
        "last": [line.last_month for line in found.lines],
        "points": [line.points for line in found.lines],
    }
    run_bulk(connection, _KEEP_LINES, {**key, **columns})
    return True


def load_snapshot(connection: Connection, registry: ProgramRegistry, program_id: str, month: Month) -> Liability | None:
    """What was kept of this month's end; None if nothing was."""
    key = (program_id, month.first_day)
    rows = run_bulk(connection, _KEPT, key)
    if not rows:
        return None
    ((as_of, number, expired, spent, taken_at),) = rows
    program = registry.version(program_id, number).program
    history = BreakageHistory(expired, {int(age): points for age, points in spent.items()})
    valuation = Valuation(number, program.unit, program.currency, value_of_point(program), history)
    lines = tuple(LiabilityLine(Bucket(row[0]), *row[1:]) for row in run_bulk(connection, _KEPT_LINES, key))
    return Liability(program_id, as_of, month.first_day, valuation, lines, month=month.text, kept_at=taken_at)


def last_kept(connection: Connection, program_id: str) -> date | None:
    """The first day of the last month that was kept of the program; None: none was."""
    ((month,),) = run_bulk(connection, _LAST_KEPT, (program_id,))
    assert month is None or isinstance(month, date)
    return month


def value_of_point(program: Program) -> Decimal | None:
    """What a point is worth in major units of the currency; of money, its smallest unit. None: not said."""
    if not program.is_money:
        return program.point_value
    return smallest_unit(program.currency)


def _lines(connection: Connection, parts: Sequence[dict[str, Any]]) -> list[LiabilityLine]:
    sums: dict[tuple[Any, ...], int] = {}
    for *key, points in _of_parts(connection, _LINES, parts):
        sums[tuple(key)] = sums.get(tuple(key), 0) + points
    found = [LiabilityLine(Bucket(bucket), tier, earned, last, n) for (bucket, tier, earned, last), n in sums.items()]
    return sorted((line for line in found if line.points), key=_place)


def _place(line: LiabilityLine) -> tuple[int, str, date, date]:
    return list(Bucket).index(line.bucket), line.tier_id, line.earned_month or date.max, line.last_month or date.max


def _history(connection: Connection, parts: Sequence[dict[str, Any]], ended: int) -> BreakageHistory:
    expired, spent = ended, dict[int, int]()
    for has_expired, age_months, points in _of_parts(connection, _HISTORY, parts):
        if has_expired:
            expired += points
        else:
            age = max(0, int(age_months))
            spent[age] = spent.get(age, 0) + points
    return BreakageHistory(expired, spent)


def _of_parts(connection: Connection, statement: str, parts: Sequence[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    for part in parts:
        yield from run_bulk(connection, statement, part)
