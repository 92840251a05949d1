"""Posting: drain one shard of the inbox; and the sweep that finds what a lost nudge left."""

from time import monotonic
from typing import Any

import structlog

from core.posting.sweeping import sweep_waiting
from core.store.inbox import shards_with_work
from tasks.runtime import Runtime

log = structlog.get_logger(__name__)


def post_inbox(runtime: Runtime, shard: int) -> dict[str, int]:
    """Post the shard's messages until none are left or the time is up. A second run beside it does nothing."""
    started = monotonic()
    counts = {"posted": 0, "replayed": 0, "waiting": 0, "parked": 0}
    account_shards: set[int] = set()
    while True:
        batch = runtime.poster.post_batch(shard, runtime.posting_batch_messages)
        for name in counts:
            counts[name] += getattr(batch, name)
        account_shards |= batch.account_shards
        if batch.claimed == 0:
            break
        if monotonic() - started > runtime.run_seconds_max:
            runtime.nudge("loyalty.post_inbox", shard)
            break
    for account_shard in sorted(account_shards):
        runtime.nudge("loyalty.relay_outbox", account_shard)
    if any(counts.values()):
        log.info("inbox_posted", action="inbox_posted", shard=shard, **counts)
    return counts


def sweep_inbox(runtime: Runtime) -> dict[str, Any]:
    """Nudge every shard that has received messages, wake refunds whose order came, park those that waited too long."""
    with runtime.engine.begin() as connection:
        swept = sweep_waiting(
            connection, runtime.event_source, runtime.waiting_days_max, runtime.posting_batch_messages
        )
    with runtime.engine.begin() as connection:
        shards = shards_with_work(connection)
    for shard in shards:
        runtime.nudge("loyalty.post_inbox", shard)
    return {"shards": shards, **swept}
