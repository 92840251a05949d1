"""Messages that wait for what they are about: waking them when that has come, and for how long they have waited."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection

from core.store.engine import run_bulk
from core.store.inbox import CLAIMED, SHARD_IN_LEDGER, SUBJECT_SOURCE, ClaimedMessage


def oldest_waiting(connection: Connection) -> datetime | None:
    """When the message came that has waited longest; None if none waits."""
    rows = run_bulk(connection, "SELECT received_at FROM inbox WHERE state = 'waiting' ORDER BY inbox_id LIMIT 1")
    return rows[0][0] if rows else None


def count_waiting_since(connection: Connection, instant: datetime) -> int:
    """How many messages have waited since before `instant`. Reads all that wait."""
    ((count,),) = run_bulk(
        connection, "SELECT count(*) FROM inbox WHERE state = 'waiting' AND received_at < %s", (instant,)
    )
    return int(count)


# Probed without locks, which would write to every row; what is found is locked, and looked at once more. Sub-selects
# and arrays instead of joins, for which a whole table might be read.
_WAKE = f"""
WITH probed AS MATERIALIZED (
    SELECT inbox_id, source, subject_source, subject, others_posted, awaits FROM inbox
    WHERE state = 'waiting' AND {{range}} LIMIT %s
), found AS MATERIALIZED (
    SELECT inbox_id, {SHARD_IN_LEDGER.format(m="p")} AS shard FROM probed p
), held AS MATERIALIZED (
    SELECT inbox_id FROM inbox
    WHERE inbox_id = ANY(ARRAY(SELECT inbox_id FROM found WHERE shard IS NOT NULL)) AND state = 'waiting'
    FOR UPDATE SKIP LOCKED
), woken AS (
    UPDATE inbox SET state = 'received', shard = (SELECT shard FROM found WHERE found.inbox_id = inbox.inbox_id)
    WHERE inbox_id = ANY(ARRAY(SELECT inbox_id FROM held)) RETURNING 1
)
SELECT (SELECT count(*) FROM woken), (SELECT count(*) FROM probed), (SELECT max(inbox_id) FROM probed)
"""  # noqa: S608  # our own words
_WAKE_NEWEST = _WAKE.format(range="true ORDER BY inbox_id DESC")
_WAKE_AFTER = _WAKE.format(range="inbox_id > %s ORDER BY inbox_id")


def wake_waiting(connection: Connection, after: int, rows_max: int) -> tuple[int, int]:
    """Make waiting messages whose subject is in the ledger meanwhile ready again.

    Looks at the newest `rows_max` of them, and at as many above `after`. Returns how many were woken, and the `after`
    of the next call, with which call by call all are looked at; 0 begins at the oldest.
    """
    ((newest_woken, probed, _),) = run_bulk(connection, _WAKE_NEWEST, (rows_max,))
    if probed < rows_max:
        return newest_woken, 0
    ((woken, probed, last),) = run_bulk(connection, _WAKE_AFTER, (after, rows_max))
    return newest_woken + woken, last if probed == rows_max else 0


_WAKE_WAITING_FOR = f"""
UPDATE inbox SET state = 'received', shard = k.shard
FROM unnest(%b::text[], %b::text[], %b::smallint[]) AS k(source, subject, shard)
WHERE inbox.state = 'waiting' AND {SUBJECT_SOURCE.format(m="inbox")} = k.source AND inbox.subject = k.subject
"""  # noqa: S608  # our own words


def wake_waiting_for(connection: Connection, shards: Mapping[tuple[str, str], int | None]) -> None:
    """Make the messages ready that wait for these (source, subject), on the shard of each."""
    if shards:
        rows = ((*subject, shard) for subject, shard in shards.items())
        run_bulk(connection, _WAKE_WAITING_FOR, [list(column) for column in zip(*rows, strict=True)])


# Their numbers are in the order in which they came, so that those which have waited too long stand first.
_OVERDUE = f"""
SELECT {CLAIMED} FROM inbox i
WHERE inbox_id = ANY(ARRAY(SELECT inbox_id FROM inbox WHERE state = 'waiting' ORDER BY inbox_id LIMIT %s))
      AND state = 'waiting' AND received_at < now() - make_interval(days => %s)
      AND {SHARD_IN_LEDGER.format(m="i")} IS NULL
ORDER BY inbox_id FOR UPDATE OF i SKIP LOCKED
"""  # noqa: S608  # our own words


def claim_overdue(connection: Connection, waiting_days_max: int, rows_max: int) -> list[ClaimedMessage]:
    """Messages whose subject has not come for longer than `waiting_days_max`, among the `rows_max` oldest that wait."""
    return [ClaimedMessage(*row) for row in run_bulk(connection, _OVERDUE, (rows_max, waiting_days_max))]
