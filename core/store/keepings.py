"""What lets points of accounts last that inactivity ends: the latest orders that count, and the latest points."""

from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import Connection

from core.domain.expiry.lasting import Keeping
from core.domain.ledger import SPENDING
from core.store.engine import run_bulk
from core.store.rows import arrays

_ALIKE = "(o.program_id, o.program_version) IN (SELECT program_id, version FROM terms WHERE terms.alike = t.alike)"
_NOT_HERE = "NOT EXISTS (SELECT FROM here h WHERE (h.source, h.order_id) = (o.source, o.order_id))"
_OF_ALIKE = "(w.program_id, c.program_version) IN (SELECT program_id, version FROM terms WHERE terms.alike = t.alike)"
# An order that has moved to another account has left its lots behind.
_OF_LOT = """(o.source, o.order_id, o.program_id) = (l.origin_source, l.origin_id, w.program_id)
           AND l.origin_kind = 'order' AND o.account_id = w.account_id"""
# Each from an end of an index: what stands there is most often of an order that counts.
_KEEPINGS = f"""
WITH wanted AS (
    SELECT * FROM unnest(%b::uuid[], %b::text[]) AS k(account_id, program_id)
), terms AS (
    SELECT * FROM unnest(%b::text[], %b::integer[], %b::integer[]) AS k(program_id, version, alike)
), kinds AS (
    SELECT DISTINCT program_id, alike FROM terms
), here AS (
    SELECT * FROM unnest(%b::text[], %b::text[]) AS k(source, order_id)
), shared AS (
    SELECT account_id, w.program_id, x.expires_with FROM wanted w JOIN shared_expiries x USING (account_id)
    WHERE NOT x.is_over
)
SELECT w.account_id, t.alike, f.occurred_at, NULL::integer, NULL::integer, true, false
FROM wanted w JOIN kinds t USING (program_id) CROSS JOIN LATERAL (
    SELECT o.occurred_at FROM orders o WHERE o.account_id = w.account_id AND o.is_counted AND {_ALIKE} AND {_NOT_HERE}
    ORDER BY o.occurred_at DESC LIMIT 1
) AS f
UNION ALL
SELECT w.account_id, t.alike, f.available_at, w.expires_with, NULL, true, false
FROM shared w JOIN kinds t USING (program_id) CROSS JOIN LATERAL (
    SELECT l.available_at FROM lots l JOIN orders o ON {_OF_LOT}
    WHERE l.account_id = w.account_id AND l.expires_with = w.expires_with
      AND (o.is_counted OR (l.is_pending AND l.points_remaining > 0)) AND {_ALIKE} AND {_NOT_HERE}
    ORDER BY l.available_at DESC LIMIT 1
) AS f
UNION ALL
SELECT w.account_id, f.program_version, f.available_at, w.expires_with, f.lot_number, false, false
FROM shared w CROSS JOIN LATERAL (
    SELECT o.program_version, l.available_at, l.lot_number FROM lots l JOIN orders o ON {_OF_LOT}
    WHERE l.account_id = w.account_id AND l.lot_number >= w.expires_with AND l.expires_with = w.expires_with
      AND o.points_entitled > 0 AND {_NOT_HERE}
    ORDER BY l.lot_number LIMIT 1
) AS f
UNION ALL
-- Where something is kept of it, this tells nothing new.
SELECT w.account_id, t.alike, f.available_at, w.expires_with, NULL, false, true
FROM shared w JOIN kinds t USING (program_id) CROSS JOIN LATERAL (
    SELECT l.available_at FROM lots l JOIN orders o ON {_OF_LOT}
    WHERE l.account_id = w.account_id AND l.expires_with = w.expires_with AND {_ALIKE} AND {_NOT_HERE}
    ORDER BY l.available_at DESC LIMIT 1
) AS f
UNION ALL
SELECT w.account_id, t.alike, max(c.occurred_at), NULL, NULL, true, false
FROM wanted w JOIN kinds t USING (program_id) JOIN commands c USING (account_id)
WHERE {_OF_ALIKE} AND EXISTS (SELECT FROM json_array_elements(c.answer->'entries') AS e WHERE e->>'kind' = ANY(%b))
GROUP BY w.account_id, t.alike
UNION ALL
SELECT w.account_id, t.alike, max(l.available_at), w.expires_with, min(l.lot_number), true, false
FROM shared w JOIN kinds t USING (program_id) JOIN lots l USING (account_id, expires_with)
JOIN commands c ON c.account_id = l.account_id AND (c.source, c.command_id) = (l.origin_source, l.origin_id)
WHERE l.origin_kind = 'command' AND {_OF_ALIKE} GROUP BY w.account_id, t.alike, w.expires_with
"""  # noqa: S608  # our own words


_SPENDING = sorted(kind.value for kind in SPENDING)


def load_keepings(
    connection: Connection,
    accounts: Mapping[UUID, str],
    alike: Collection[tuple[str, int, int]],
    here: Collection[tuple[str, str]],
) -> dict[UUID, list[Keeping]]:
    """What lets points of these accounts, each of a program, last: without the orders `here`, by source and id.

    `alike` are programs with their versions, each with the first one that has the same expiries.
    """
    found: dict[UUID, list[Keeping]] = {account_id: [] for account_id in accounts}
    if accounts:
        parameters = (list(accounts), list(accounts.values()), *arrays(alike, 3), *arrays(here, 2), _SPENDING)
        for account_id, *keeping in run_bulk(connection, _KEEPINGS, parameters):
            found[account_id].append(Keeping(*keeping))
    return found
