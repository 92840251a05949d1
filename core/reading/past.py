"""An account as the ledger had it at an instant of the past, from what is only ever added: what customers were shown.

"At" means recorded by then, not occurred by then: an order of yesterday that came in today is not in yesterday's
balance. Entries of an account are numbered in the order in which they were written, so the past is a last entry:
its `balance_after` and `pending_after` are the balance and the pending points of then.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account
from core.domain.lots import Lot, in_spending_order
from core.reading.accounts import HistoryEntry
from core.store.engine import run_bulk
from core.store.ledger import LOTS


class PastAccount(NamedTuple):
    """What was known of an account at some instant."""

    account: Account  #: with what entries and tier changes say; the rest is as in a new one
    lots: tuple[Lot, ...]  #: with points left, in the order in which they would have been spent


# By the last number and not by time, since a transaction that began earlier may have been the later one to write.
_PAST = """
WITH last AS (SELECT coalesce(max(sequence), 0) AS sequence FROM entries WHERE account_id = %(id)s
              AND recorded_at <= %(as_of)s)
SELECT a.created_at <= %(as_of)s, l.sequence, coalesce(e.balance_after, 0), coalesce(e.pending_after, 0),
       coalesce(e.reserved_after, 0), coalesce(e.lifetime_points_after, a.lifetime_points_given),
       (SELECT coalesce(sum(deficit_change), 0)::bigint FROM entries
        WHERE account_id = %(id)s AND sequence <= l.sequence)
FROM accounts a CROSS JOIN last l LEFT JOIN entries e ON e.account_id = a.account_id AND e.sequence = l.sequence
WHERE a.account_id = %(id)s
"""
_PAST_TIERS = """
SELECT change_number, previous_tier_id, tier_id, effective_at, recorded_at <= %s
FROM tier_changes WHERE account_id = %s ORDER BY change_number
"""


def load_past(connection: Connection, account: Account, as_of: datetime) -> PastAccount | None:
    """The account at `as_of`; None if it was not opened by then. `account` is what it is now."""
    ((is_opened, sequence, balance, pending, reserved, lifetime_points, deficit),) = run_bulk(
        connection, _PAST, {"id": account.account_id, "as_of": as_of}
    )
    if not is_opened and not sequence:
        return None
    changes = run_bulk(connection, _PAST_TIERS, (as_of, account.account_id))
    known = max((number for number, _, _, _, is_known in changes if is_known), default=0)
    tier_id = changes[0][1] if changes else account.tier_id
    tier_since = None
    for number, _, moved_to, effective_at, _ in changes:
        if number <= known:
            tier_id, tier_since = moved_to, effective_at
    then = Account(
        account.account_id,
        account.program_id,
        account.customer_id,
        tier_id,
        sequence=sequence,
        balance=balance,
        pending=pending,
        reserved=reserved,
        deficit=deficit,
        lifetime_points=lifetime_points,
        tier_since=tier_since,
        tier_changes=known,
    )
    return PastAccount(then, tuple(_load_lots(connection, account.account_id, sequence, as_of)))


# Whether a lot was pending follows from the entries: it was opened so, and no release had named it yet. A fulfilment
# names its order, so what it released had no time to become available before. Extensions keep the end that was there.
_PAST_LOTS = f"""
SELECT n.remaining, n.expired, coalesce(x.expires_at, l.expires_at),
       (o.pending_change > 0 OR (o.kind = 'release' AND o.points = 0)) AND coalesce(r.sequence > %(last)s, true),
       coalesce(r.sequence > %(last)s AND r.order_id IS NOT NULL, false), {LOTS.select("l")}
FROM dated_lots l
JOIN entries o ON o.account_id = l.account_id AND o.sequence = l.opened_by_sequence
JOIN (SELECT n.lot_number, sum(n.points)::bigint AS remaining,
             coalesce(-sum(n.points) FILTER (WHERE n.kind = 'expired'), 0)::bigint AS expired
      FROM allocations n
      WHERE n.account_id = %(id)s AND n.sequence <= %(last)s GROUP BY n.lot_number) n USING (lot_number)
LEFT JOIN (SELECT (jsonb_array_elements((e.why->'lots')::jsonb))::integer AS lot_number, e.sequence, e.order_id
           FROM entries e WHERE e.account_id = %(id)s AND e.kind = 'release') r ON r.lot_number = l.lot_number
LEFT JOIN (SELECT DISTINCT ON (subject) subject, (found->>'expires_at')::timestamptz AS expires_at FROM repairs
           WHERE account_id = %(id)s AND applied_at > %(as_of)s AND found ? 'expires_at' ORDER BY subject, repair_id) x
       ON x.subject = 'lot ' || l.lot_number
WHERE l.account_id = %(id)s AND l.opened_by_sequence <= %(last)s
  AND (n.remaining > 0 OR l.lot_number = ANY(%(named)s::integer[]))
"""  # noqa: S608  # our own names


def _load_lots(
    connection: Connection, account_id: UUID, last: int, as_of: datetime, named: Collection[int] = ()
) -> list[Lot]:
    """The lots with points left, and those of these numbers; in the order in which they would have been spent."""
    parameters = {"id": account_id, "last": last, "as_of": as_of, "named": list(named)}
    return in_spending_order(_lot(row) for row in run_bulk(connection, _PAST_LOTS, parameters))


def with_past_ends(
    connection: Connection, account: Account, entries: Sequence[HistoryEntry], as_of: datetime
) -> list[HistoryEntry]:
    """The entries with the ends that their lots had at `as_of`; `account` is as it was then."""
    named = {move.lot_number for entry in entries for move in entry.lots}
    lots = _load_lots(connection, account.account_id, account.sequence, as_of, named)
    ends = {lot.lot_number: lot.expires_at for lot in lots}
    return [
        entry._replace(lots=tuple(move._replace(expires_at=ends[move.lot_number]) for move in entry.lots))
        for entry in entries
    ]


def _lot(row: tuple[Any, ...]) -> Lot:
    remaining, expired, expires_at, was_pending, waited_for_fulfilment, *values = row
    lot = LOTS.read(values).lot._replace(
        points_remaining=remaining, points_expired=expired, expires_at=expires_at, is_pending=was_pending,
        points_excused=0,
    )  # fmt: skip
    return lot._replace(available_at=None, expires_at=None) if was_pending and waited_for_fulfilment else lot
