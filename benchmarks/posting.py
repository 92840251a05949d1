"""Posting alone: a full inbox to ledger and outbox, no broker; by one process, and by two, as one worker posts."""

import multiprocessing
import time
from contextlib import suppress
from multiprocessing.synchronize import Barrier

import psycopg
from sqlalchemy import Engine, text
from uuid6 import uuid7

from benchmarks.load import Message
from core.messages.inbound.reading import MessageLimits
from core.posting.batch import Poster
from core.receiving.receive import receive_in_parts
from core.store.engine import create_database_engine
from core.store.posting_turns import shards_with_work
from workers.child_processes import collect_garbage_seldom

BENCH_LIMITS = MessageLimits(1 << 20, 1000, 86_400)
_RECEIVED_AT_ONCE = 500


def fill_inbox(engine: Engine, messages: list[Message], shards: int, *, limits: MessageLimits = BENCH_LIMITS) -> float:
    """Receive all messages. Returns messages per second."""
    started = time.perf_counter()
    for start in range(0, len(messages), _RECEIVED_AT_ONCE):
        raw = [body for _, body in messages[start : start + _RECEIVED_AT_ONCE]]
        list(receive_in_parts(engine, raw, limits=limits, shards=shards, event_source="/bench"))
    return len(messages) / (time.perf_counter() - started)


def measure_posting(engine: Engine, batch_messages: int, processes: int) -> float:
    """Post everything in the inbox with so many processes. Returns messages per second, without their start-up."""
    # Not analyzed before: a database in use is not either, and foreign keys to tables that were seen empty are slow.
    with engine.connect() as connection:
        messages = connection.execute(text("SELECT count(*) FROM inbox WHERE state = 'received'")).scalar_one()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    url = engine.url.render_as_string(hide_password=False)
    posters = [context.Process(target=_post_all, args=(url, batch_messages, barrier)) for _ in range(processes)]
    for poster in posters:
        poster.start()
    barrier.wait()
    started = time.perf_counter()
    for poster in posters:
        poster.join()
    if any(poster.exitcode for poster in posters):
        raise RuntimeError("a posting process failed")
    return float(messages / (time.perf_counter() - started))


def _post_all(database_url: str, batch_messages: int, barrier: Barrier) -> None:
    """Post shard by shard until nothing is left, as the tasks of one worker process do."""
    engine = create_database_engine(database_url)
    poster = Poster(engine, event_source="/bench", new_account_id=uuid7)
    collect_garbage_seldom()
    with engine.connect() as connection:
        shards = shards_with_work(connection)
    barrier.wait()
    while shards:
        for shard in shards:
            with suppress(psycopg.errors.LockNotAvailable):  # as the task does, which leaves it for the next time
                poster.post_batch(shard, batch_messages)
        with engine.connect() as connection:
            shards = shards_with_work(connection)
