"""How often in a row it was tried to post a shard's messages and neither done nor given up: the process died."""

from collections.abc import Collection

from sqlalchemy import Connection, Engine

from core.store.engine import run_alone, run_later

# Not waited for until it is on disk: it has to outlive this process, and if the server dies, we have not.
_COUNT = """
INSERT INTO posting_attempts (shard, attempts)
SELECT s.shard, 1 FROM unnest(%s::smallint[]) AS s(shard), set_config('synchronous_commit', 'off', true)
ORDER BY s.shard
ON CONFLICT (shard) DO UPDATE SET attempts = posting_attempts.attempts + 1, started_at = now()
"""
_FORGET = "UPDATE posting_attempts SET attempts = 0 WHERE shard = ANY(%s::smallint[]) AND attempts > 0"


def count_attempt(engine: Engine, shards: Collection[int]) -> None:
    """Count an attempt that begins, whatever becomes of the caller's transaction. Who has the turns counts alone."""
    run_alone(engine, _COUNT, ([*shards],))


def forget_attempts(connection: Connection, shards: Collection[int]) -> None:
    """The last attempt at these shards has ended, well or with an error: if this transaction is committed."""
    run_later(connection, _FORGET, ([*shards],))
