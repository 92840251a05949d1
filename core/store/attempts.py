"""How often in a row it was tried to post a shard's messages and neither done nor given up: the process died."""

from sqlalchemy import Connection, Engine

from core.store.engine import run_alone, run_later

# Not waited for until it is on disk: it has to outlive this process, and if the server dies, we have not.
_COUNT = """
INSERT INTO posting_attempts (shard, attempts) SELECT %s, 1 FROM set_config('synchronous_commit', 'off', true)
ON CONFLICT (shard) DO UPDATE SET attempts = posting_attempts.attempts + 1, started_at = now()
"""
_FORGET = "UPDATE posting_attempts SET attempts = 0 WHERE shard = %s AND attempts > 0"


def count_attempt(engine: Engine, shard: int) -> None:
    """Count an attempt that begins, whatever becomes of the caller's transaction. Who has the turn counts alone."""
    run_alone(engine, _COUNT, (shard,))


def forget_attempts(connection: Connection, shard: int) -> None:
    """The last attempt has ended, well or with an error: if this transaction is committed."""
    run_later(connection, _FORGET, (shard,))
