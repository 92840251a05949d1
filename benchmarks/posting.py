"""Posting alone: a full inbox to ledger and outbox, in this process, no broker."""

import time

from sqlalchemy import Engine, text
from uuid6 import uuid7

from benchmarks.load import Message
from core.messages.inbound import MessageLimits
from core.posting.batch import Poster
from core.posting.receiving import receive
from core.store.inbox import shards_with_work

_LIMITS = MessageLimits(1 << 20, 1000, 86_400)
_RECEIVED_AT_ONCE = 500


def fill_inbox(engine: Engine, messages: list[Message], shards: int) -> float:
    """Receive all messages. Returns messages per second."""
    started = time.perf_counter()
    for start in range(0, len(messages), _RECEIVED_AT_ONCE):
        raw = [body for _, body in messages[start : start + _RECEIVED_AT_ONCE]]
        with engine.begin() as connection:
            receive(connection, raw, limits=_LIMITS, shards=shards, event_source="/bench")
    return len(messages) / (time.perf_counter() - started)


def measure_posting(engine: Engine, batch_messages: int) -> float:
    """Post everything in the inbox. Returns messages per second."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))
    poster = Poster(engine, event_source="/bench", new_account_id=uuid7)
    posted = 0
    started = time.perf_counter()
    while True:
        with engine.connect() as connection:
            shards = shards_with_work(connection)
        if not shards:
            return posted / (time.perf_counter() - started)
        for shard in shards:
            posted += poster.post_batch(shard, batch_messages).claimed
