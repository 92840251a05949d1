"""How many points sources have moved by command on a day, where they have a limit."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection

from core.domain.value.daily_limits import SourceDay
from core.store import tables
from core.store.engine import run_bulk
from core.store.rows import arrays, unnested

_KEY = ("source", "type", "day")
_OPEN = f"""
INSERT INTO source_days (source, type, day) SELECT * FROM {unnested(tables.source_days, _KEY)} ON CONFLICT DO NOTHING
"""  # noqa: S608  # our own names
_MOVED = f"""
SELECT source, type, day, points
FROM {unnested(tables.source_days, _KEY)} JOIN source_days s USING (source, type, day)
"""  # noqa: S608  # our own names
_LOCKED = f"{_MOVED} ORDER BY source, type, day FOR UPDATE OF s"
_ADD = f"""
INSERT INTO source_days (source, type, day, points)
SELECT * FROM {unnested(tables.source_days, (*_KEY, "points"))} ORDER BY source, type, day
ON CONFLICT (source, type, day) DO UPDATE SET points = source_days.points + excluded.points
RETURNING source, type, day, points
"""  # noqa: S608  # our own names


def load_moved(connection: Connection, keys: Collection[SourceDay], *, is_locked: bool) -> dict[SourceDay, int]:
    """What was moved on these days, as far as it is committed; with `is_locked` nobody else adds to it meanwhile."""
    if not keys:
        return {}
    values = arrays(sorted(keys), len(_KEY))
    if is_locked:
        run_bulk(connection, _OPEN, values)
    rows = run_bulk(connection, _LOCKED if is_locked else _MOVED, values)
    return {SourceDay(source, kind, day): points for source, kind, day, points in rows}


def add_moved(connection: Connection, added: Mapping[SourceDay, int]) -> dict[SourceDay, int]:
    """Add to what was moved on these days; what it comes to with what others have added. They wait until the commit."""
    if not added:
        return {}
    rows = run_bulk(connection, _ADD, arrays([(*key, points) for key, points in added.items()], len(_KEY) + 1))
    return {SourceDay(source, kind, day): points for source, kind, day, points in rows}
