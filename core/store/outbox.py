"""The outbox: events that were written with what they tell, and are published in order, shard by shard."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.store.engine import run_bulk


class OutgoingEvent(NamedTuple):
    """A row that is published."""

    outbox_id: int
    type: str
    body: str


_CLAIM = """
SELECT outbox_id, type, body FROM outbox
WHERE account_shard = %s AND published_at IS NULL ORDER BY outbox_id LIMIT %s
"""


def claim_unpublished(connection: Connection, account_shard: int, rows_max: int) -> list[OutgoingEvent]:
    """The next events of a shard. The caller has the relay's turn at the shard.

    Ids are drawn under the account's lock, so that of one account's events every snapshot shows a prefix without gaps.
    """
    return [OutgoingEvent(*row) for row in run_bulk(connection, _CLAIM, (account_shard, rows_max))]


def mark_published(connection: Connection, outbox_ids: Sequence[int]) -> None:
    """Mark these very rows; a range would take along rows that were committed meanwhile and never published."""
    run_bulk(connection, "UPDATE outbox SET published_at = now() WHERE outbox_id = ANY(%b)", (list(outbox_ids),))


_SHARDS = """
WITH RECURSIVE s AS (
    (SELECT account_shard FROM outbox WHERE published_at IS NULL ORDER BY account_shard LIMIT 1)
    UNION ALL
    SELECT (SELECT o.account_shard FROM outbox o WHERE o.published_at IS NULL AND o.account_shard > s.account_shard
            ORDER BY o.account_shard LIMIT 1) FROM s WHERE s.account_shard IS NOT NULL
) SELECT account_shard FROM s WHERE account_shard IS NOT NULL
"""


def shards_with_unpublished(connection: Connection) -> list[int]:
    """Every account shard that has events to publish."""
    return [row[0] for row in run_bulk(connection, _SHARDS)]


# A sequence is the last part of a balance-changed event's id; events of other types are not numbered with them.
_PUBLISHED = """
SELECT outbox_id, type, body FROM outbox
WHERE outbox_id > %s AND published_at IS NOT NULL
  AND (%s::uuid IS NULL OR account_id = %s)
  AND (%s::timestamptz IS NULL OR created_at >= %s)
  AND (%s::bigint IS NULL
       OR type = 'loyalty.balance.changed' AND substring(event_id FROM '[0-9]+$')::bigint >= %s)
ORDER BY outbox_id LIMIT %s
"""


def load_published(
    connection: Connection,
    *,
    after: int,
    rows_max: int,
    account_id: UUID | None = None,
    since: datetime | None = None,
    from_sequence: int | None = None,
) -> list[OutgoingEvent]:
    """Past events in their order, after the outbox id `after`: of one account, or written since an instant, or both.

    With `from_sequence` only the account's balance-changed events from that one on.
    """
    parameters = (after, account_id, account_id, since, since, from_sequence, from_sequence, rows_max)
    return [OutgoingEvent(*row) for row in run_bulk(connection, _PUBLISHED, parameters)]


_WITHOUT_EVENT = """
SELECT count(*) FROM entries e
WHERE (%(account_id)s::uuid IS NULL OR e.account_id = %(account_id)s)
  AND (%(since)s::timestamptz IS NULL OR e.recorded_at >= %(since)s)
  AND (%(from_sequence)s::bigint IS NULL OR e.sequence >= %(from_sequence)s)
  AND NOT EXISTS (SELECT 1 FROM outbox o
                  WHERE o.account_id = e.account_id AND o.event_id = e.account_id || ':' || e.sequence)
"""


def count_entries_without_event(
    connection: Connection,
    *,
    account_id: UUID | None = None,
    since: datetime | None = None,
    from_sequence: int | None = None,
) -> int:
    """Entries of the same choice as `load_published` whose event is stored no more: retention has purged it."""
    run_bulk(connection, "SET LOCAL statement_timeout = 0")  # it may read the whole ledger
    parameters = {"account_id": account_id, "since": since, "from_sequence": from_sequence}
    ((count,),) = run_bulk(connection, _WITHOUT_EVENT, parameters)
    return int(count)
