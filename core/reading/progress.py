"""How far the work is: one cheap statement, for progress displays and for those who wait for the end."""

from typing import NamedTuple

from sqlalchemy import Connection

from core.store.engine import run_bulk
from core.store.outbox import UNPUBLISHED


class Progress(NamedTuple):
    """Counts of messages and events."""

    received: int  #: distinct messages in the inbox
    unposted: int  #: of them not yet posted
    posted: int
    replayed: int
    waiting: int
    parked: int
    repeats: int  #: deliveries beyond the first
    events: int
    published: int
    due_lots: int  #: lots, and expiries that lots share, that the expiry task has not reached although they are due

    @property
    def is_through(self) -> bool:
        """Whether every message has its outcome (or waits for its order) and every event is out."""
        return self.unposted == 0 and self.due_lots == 0 and self.published == self.events


_PROGRESS = f"""
SELECT count(*), count(*) FILTER (WHERE state = 'received'), count(*) FILTER (WHERE state = 'posted'),
       count(*) FILTER (WHERE state = 'replayed'), count(*) FILTER (WHERE state = 'waiting'),
       count(*) FILTER (WHERE state IN ('dead', 'dropped')), coalesce(sum(deliveries - 1), 0)::bigint,
       (SELECT count(*) FROM outbox), (SELECT count(*) FROM outbox) - (SELECT count(*) FROM {UNPUBLISHED} AS u),
       (SELECT count(*) FROM lots WHERE expires_at <= now() AND points_remaining > 0)
           + (SELECT count(*) FROM shared_expiries WHERE expires_at <= now() AND NOT is_over)
FROM inbox
"""  # noqa: S608  # our own words


def load_progress(connection: Connection) -> Progress:
    """Count everything, in one snapshot. Reads whole tables: for demos, tests and benchmarks, not for monitoring."""
    (row,) = run_bulk(connection, _PROGRESS)
    return Progress(*row)
