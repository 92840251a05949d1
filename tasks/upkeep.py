"""What the calendar brings: expiring lots, reviewing tiers, auditing the ledger. Each does all that is due."""

from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import Connection

from core.posting.events import EventContext
from core.posting.upkeep import expire_batch, review_batch
from core.store.engine import run_bulk
from core.store.programs import load_registry
from core.store.runs import next_audit_shard, record_run
from core.store.shards import ACCOUNT_SHARDS
from core.store.upkeep import shards_due_for_review, shards_with_due_lots
from core.store.verify import verify_ledger
from tasks.runtime import Runtime

log = structlog.get_logger(__name__)


def expire_lots(runtime: Runtime, as_of: str | None = None) -> dict[str, Any]:
    """Expire every lot that is due at `as_of` (ISO 8601 with offset; now by default), in bounded batches per shard."""
    instant = _instant(runtime, as_of)
    with runtime.engine.begin() as connection:
        shards = shards_with_due_lots(connection, instant, ACCOUNT_SHARDS)

    def expire(connection: Connection, shard: int) -> int | None:
        context = EventContext(runtime.event_source, _now(connection))
        return expire_batch(connection, shard, instant, runtime.upkeep_batch_rows, context)

    return _run(runtime, "loyalty.expire_lots", instant, shards, expire)


def review_tiers(runtime: Runtime, as_of: str | None = None) -> dict[str, Any]:
    """Review every tier whose period ended by `as_of` (ISO 8601 with offset; now by default)."""
    instant = _instant(runtime, as_of)
    with runtime.engine.begin() as connection:
        shards = shards_due_for_review(connection, instant, ACCOUNT_SHARDS)
        registry = load_registry(connection)

    def review(connection: Connection, shard: int) -> int | None:
        context = EventContext(runtime.event_source, _now(connection))
        return review_batch(connection, shard, instant, runtime.upkeep_batch_rows, registry, context)

    return _run(runtime, "loyalty.review_tiers", instant, shards, review)


def audit_ledger(runtime: Runtime, shard: int | None = None) -> dict[str, Any]:
    """Check the invariants of one account shard, each run the next one; differences are logged and kept."""
    with runtime.engine.begin() as connection:
        instant = _now(connection)
        audited = next_audit_shard(connection, ACCOUNT_SHARDS) if shard is None else shard
    with runtime.engine.begin() as connection:
        differences = verify_ledger(connection, account_shard=audited)
    with runtime.engine.begin() as connection:
        result = {"account_shard": audited, "differences": [d.text for d in differences][:100]}
        record_run(connection, "loyalty.audit_ledger", instant, result)
    for difference in differences:
        log.error(
            "ledger_difference", action="ledger_difference", invariant=difference.invariant, detail=difference.text
        )
    return result


def _run(
    runtime: Runtime,
    task: str,
    as_of: datetime,
    shards: list[int],
    step: Callable[[Connection, int], int | None],
) -> dict[str, Any]:
    """Take one batch per transaction until every shard is done or the time is up; the next tick goes on."""
    started = monotonic()
    changed = 0
    is_finished = True
    for shard in shards:
        while True:
            with runtime.engine.begin() as connection:
                count = step(connection, shard)
            if not count:
                break
            changed += count
            if monotonic() - started > runtime.run_seconds_max * 4:
                is_finished = False
                break
        runtime.nudge("loyalty.relay_outbox", shard)
        if not is_finished:
            break
    result = {"accounts": changed, "is_finished": is_finished}
    with runtime.engine.begin() as connection:
        record_run(connection, task, as_of, result)
    if changed:
        log.info("upkeep_done", action="upkeep_done", task=task, as_of=as_of.isoformat(), **result)
    return result


def _instant(runtime: Runtime, as_of: str | None) -> datetime:
    if as_of is None:
        with runtime.engine.begin() as connection:
            return _now(connection)
    instant = datetime.fromisoformat(as_of)
    if instant.tzinfo is None:
        raise ValueError("as_of needs an offset, like 2026-01-31T00:00:00+00:00")
    return instant


def _now(connection: Connection) -> datetime:
    """The database's clock: the one that every worker shares."""
    ((now,),) = run_bulk(connection, "SELECT now()")
    assert isinstance(now, datetime)
    return now
