"""Dead letters that a later message about the same may have put right: taken in again by themselves."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection

from core.domain.outcomes import Reason
from core.store.engine import run_bulk

#: What was posted parks these over another message's content; their settled data are kept for when that changes.
MENDABLE = frozenset({Reason.UNKNOWN_LINE, Reason.REFUND_EXCEEDS_ORDER, Reason.REFUNDED_LINE_MISSING})


class Mended(NamedTuple):
    """What a posted message may have put right."""

    source: str  #: the subject's
    subject: str
    reasons: frozenset[Reason]
    by: str  #: the message
    shard: int | None  #: where that was posted


# A letter that a person has in hand is left to that person. The parking stands in the history once, as with a retry.
_TAKE_AGAIN = """
WITH again AS MATERIALIZED (
    SELECT i.inbox_id, i.reason, i.detail, i.settled_at, k.by, k.shard
    FROM inbox i
    JOIN unnest(%(sources)b::text[], %(subjects)b::text[], %(reasons)b::text[], %(by)b::text[],
                %(shards)b::smallint[]) AS k(source, subject, reason, by, shard)
         ON coalesce(i.subject_source, i.source) = k.source AND i.subject = k.subject AND i.reason = k.reason
    WHERE i.state = 'dead' AND i.settled IS NOT NULL
    FOR UPDATE OF i SKIP LOCKED
), told AS (
    INSERT INTO dead_letter_actions (inbox_id, action, reason, detail, acted_at)
    SELECT inbox_id, action, reason, said, acted_at FROM (
        SELECT inbox_id, 1 AS step, 'parked' AS action, reason, detail AS said, settled_at AS acted_at FROM again
        WHERE NOT EXISTS (SELECT 1 FROM dead_letter_actions a WHERE a.inbox_id = again.inbox_id
                          AND a.action = 'parked' AND a.acted_at = again.settled_at)
        UNION ALL
        SELECT inbox_id, 2, 'retried', reason, by || ' was posted', now() FROM again
    ) AS steps ORDER BY inbox_id, step
)
UPDATE inbox SET state = 'received', shard = again.shard, reason = NULL, detail = NULL, settled_at = NULL
FROM again WHERE inbox.inbox_id = again.inbox_id
"""


def take_again(connection: Connection, mended: Iterable[Mended]) -> None:
    """Make dead letters ready that these messages may have put right, on the shard where those were posted."""
    last = {(each.source, each.subject, reason.value): each for each in mended for reason in each.reasons}
    if last:
        rows = ((*key, each.by, each.shard) for key, each in last.items())
        names = ("sources", "subjects", "reasons", "by", "shards")
        columns = (list(column) for column in zip(*rows, strict=True))
        run_bulk(connection, _TAKE_AGAIN, dict(zip(names, columns, strict=True)))
