"""Lots with points left: so many in the order in which they would be spent, and all of them summed up."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.lots import Lot
from core.store import tables
from core.store.engine import run_bulk
from core.store.rows import Shape

#: So many lots of an account are listed; the rest is summed up.
LOTS_LISTED_MAX = 1_000
LOTS = Shape(tables.lots, Lot)
#: For a statement with an account `a`. In an order that an index has: whoever reads few lots sorts them, and whoever
#: finds one too many asks again, with `load_open_lots`.
OPEN_LOTS = f"""
SELECT {LOTS.select_nested("l")} FROM dated_lots l WHERE l.account_id = a.account_id AND l.points_remaining > 0
ORDER BY l.lot_number LIMIT {LOTS_LISTED_MAX + 1}
"""  # noqa: S608  # our own names
_OPEN_LOTS = f"""
SELECT {LOTS.select("l")} FROM dated_lots l WHERE l.account_id = %s AND l.points_remaining > 0
ORDER BY l.expires_at NULLS LAST, l.available_at NULLS LAST, l.lot_number LIMIT {LOTS_LISTED_MAX}
"""  # noqa: S608  # our own names


def load_open_lots(connection: Connection, account_id: UUID) -> list[Lot]:
    """Lots with points left, in the order in which they would be spent, at most `LOTS_LISTED_MAX`."""
    return [LOTS.read(row) for row in run_bulk(connection, _OPEN_LOTS, (account_id,))]


class PointsLeft(NamedTuple):
    """What is left of lots that are alike in when their points can be used."""

    earned_by: str
    is_pending: bool
    available_at: datetime | None  #: of pending ones
    expires_at: datetime | None
    lots: int
    points: int


_POINTS_LEFT = """
SELECT earned_by, is_pending, CASE WHEN is_pending THEN available_at END, expires_at, count(*),
       sum(points_remaining)::bigint
FROM dated_lots WHERE account_id = %s AND points_remaining > 0 GROUP BY 1, 2, 3, 4
"""


def load_points_left(connection: Connection, account_id: UUID) -> list[PointsLeft]:
    """The points of all lots of the account, summed up."""
    return [PointsLeft(*row) for row in run_bulk(connection, _POINTS_LEFT, (account_id,))]


def points_left_of(lots: Iterable[Lot]) -> list[PointsLeft]:
    """The points of these lots, summed up."""
    sums: dict[tuple[str, bool, datetime | None, datetime | None], tuple[int, int]] = {}
    for lot in lots:
        key = (lot.earned_by, lot.is_pending, lot.available_at if lot.is_pending else None, lot.expires_at)
        count, points = sums.get(key, (0, 0))
        sums[key] = count + 1, points + lot.points_remaining
    return [PointsLeft(*key, *summed) for key, summed in sums.items()]
