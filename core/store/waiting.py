"""How long messages have waited for what they are about."""

from datetime import datetime

from sqlalchemy import Connection

from core.store.engine import run_bulk


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
