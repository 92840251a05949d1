"""What the calendar brings: points to release and expire, tiers, reminders, the audit. Each does all that is due.

`as_of` (ISO 8601 with offset; now by default) is for a person who asks for a run; no message on a queue can name it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import Connection

from core.domain.calendar import YEAR_MAX, YEAR_MIN, is_nameable
from core.domain.program.registry import ProgramRegistry
from core.posting.events import EventContext
from core.store.engine import database_now
from core.store.outbox import WrittenEvents, written_events
from core.store.programs import load_registry
from core.store.proof.differences import Difference
from core.store.proof.scope import next_of_shard
from core.store.proof.verify import verify_accounts
from core.store.repairs import Repair, append_repairs
from core.store.shards import ACCOUNT_SHARDS
from core.upkeep.deadlines import announce_batch, shards_with_deadlines, shards_with_near_deadlines, void_batch
from core.upkeep.due_batches import expire_batch, release_batch, remind_batch, review_batch, warn_batch
from core.upkeep.due_rows import shards_due_for_review, shards_with_due_lots, shards_with_lots_to_release
from core.upkeep.runs import BatchDone, next_audit, record_run, standing_differences
from tasks.runtime import Runtime

log = structlog.get_logger(__name__)

#: What is audited at a time: a second or so of work. An account with more entries is looked at alone.
_AUDITED_ENTRIES_MAX = 5_000
_AUDITED_ACCOUNTS_MAX = 500


def expire_lots(runtime: Runtime, as_of: str | None = None) -> dict[str, Any]:
    """Expire every lot that is due, in bounded batches per shard."""

    def expire(connection: Connection, shard: int, instant: datetime, context: EventContext) -> BatchDone | None:
        return expire_batch(connection, shard, instant, runtime.upkeep_batch_rows, context, runtime.chain_key)

    return _run(runtime, "loyalty.expire_lots", as_of, shards_with_due_lots, expire)


def release_points(runtime: Runtime, as_of: str | None = None) -> dict[str, Any]:
    """Release every pending lot whose time has come."""

    def release(connection: Connection, shard: int, instant: datetime, context: EventContext) -> BatchDone | None:
        return release_batch(connection, shard, instant, runtime.upkeep_batch_rows, context, runtime.chain_key)

    return _run(runtime, "loyalty.release_points", as_of, shards_with_lots_to_release, release)


def void_authorizations(runtime: Runtime, as_of: str | None = None) -> dict[str, Any]:
    """Let the points come back of every authorization whose deadline has passed."""
    registry = _registry(runtime)

    def void(connection: Connection, shard: int, instant: datetime, context: EventContext) -> BatchDone | None:
        return void_batch(connection, shard, instant, runtime.upkeep_batch_rows, registry, context, runtime.chain_key)

    return _run(runtime, "loyalty.void_authorizations", as_of, shards_with_deadlines, void)


def remind_authorizations(runtime: Runtime, as_of: str | None = None) -> dict[str, Any]:
    """Announce authorizations that hold points and have their deadlines soon, as far ahead as programs say."""
    registry = _registry(runtime)

    def near(connection: Connection, instant: datetime, shards: int) -> list[int]:
        return shards_with_near_deadlines(connection, instant, shards, registry)

    def announce(connection: Connection, shard: int, instant: datetime, context: EventContext) -> BatchDone | None:
        return announce_batch(connection, shard, instant, runtime.upkeep_batch_rows, registry, context)

    return _run(runtime, "loyalty.remind_authorizations", as_of, near, announce)


def review_tiers(runtime: Runtime, as_of: str | None = None) -> dict[str, Any]:
    """Review every tier whose period has ended."""
    registry = _registry(runtime)

    def review(connection: Connection, shard: int, instant: datetime, context: EventContext) -> BatchDone | None:
        return review_batch(connection, shard, instant, runtime.upkeep_batch_rows, registry, context)

    return _run(runtime, "loyalty.review_tiers", as_of, shards_due_for_review, review)


def remind(runtime: Runtime, as_of: str | None = None) -> dict[str, Any]:
    """Announce points that are about to expire, and correct what was announced before."""
    registry = _registry(runtime)
    # What was announced by a version before is withdrawn by one that does not remind.
    has_reminders = any(version.program.reminders.days_ahead for version in registry.versions())

    def announce(connection: Connection, shard: int, instant: datetime, context: EventContext) -> BatchDone | None:
        return remind_batch(connection, shard, instant, runtime.upkeep_batch_rows, registry, context)

    return _run(runtime, "loyalty.remind", as_of, _all_shards if has_reminders else _no_shards, announce)


def warn_tiers(runtime: Runtime, as_of: str | None = None) -> dict[str, Any]:
    """Announce tiers that the next review would take, as far ahead as programs say."""
    registry = _registry(runtime)
    has_warnings = any(version.program.qualification.warning_days for version in registry.versions())
    last: dict[int, UUID | None] = {}
    in_use: Counter[int] = Counter()  #: by shard: they are looked at once only

    def warn(connection: Connection, shard: int, instant: datetime, context: EventContext) -> BatchDone | None:
        looked_at = warn_batch(
            connection, shard, instant, runtime.upkeep_batch_rows, registry, context, last.get(shard)
        )
        if looked_at is None:
            return None
        last[shard], held = looked_at
        in_use[shard] += held
        return BatchDone(1 if last[shard] else 0, in_use[shard])

    return _run(runtime, "loyalty.warn_tiers", as_of, _all_shards if has_warnings else _no_shards, warn)


def audit_ledger(runtime: Runtime, shard: int | None = None) -> dict[str, Any]:
    """Check the invariants of some accounts of one shard, each run the next ones; differences are logged and kept."""
    started = monotonic()
    after: UUID | None = None
    with runtime.engine.begin() as connection:
        instant = database_now(connection)
        standing = standing_differences(connection)
        if shard is None:
            shard, after = next_audit(connection, ACCOUNT_SHARDS)
    accounts, skipped = 0, 0
    differences: list[Difference] = []
    while True:
        with runtime.engine.begin() as connection:
            chosen = next_of_shard(connection, shard, after, _AUDITED_ACCOUNTS_MAX, _AUDITED_ENTRIES_MAX)
        after = chosen[-1] if chosen else None
        found = _audit(runtime, chosen) if chosen else []
        if found is None:
            skipped += len(chosen)
        else:
            accounts += len(chosen)
            differences += found
            for account_id in chosen:
                standing.pop(str(account_id), None)
            standing |= {str(difference.account_id): difference.text for difference in found}
        if after is None or monotonic() - started > runtime.run_seconds_max:
            break
    result = {
        "account_shard": shard,
        "accounts": accounts,
        "skipped": skipped,
        "after": None if after is None else str(after),
        "differences": [difference.text for difference in differences][:100],
        "standing": dict(list(standing.items())[:100]),
    }
    with runtime.engine.begin() as connection:
        record_run(connection, "loyalty.audit_ledger", instant, result)
    runtime.watcher.audited(differences)
    for difference in differences:
        log.error(
            "ledger_difference", action="ledger_difference", invariant=difference.invariant, detail=difference.text
        )
    return result


def _audit(runtime: Runtime, account_ids: Sequence[UUID]) -> list[Difference] | None:
    """The differences of these accounts; None if they cannot be looked at in the time of a task."""
    try:
        with runtime.engine.begin() as connection:
            return verify_accounts(connection, account_ids, seconds_max=runtime.run_seconds_max * 4)
    except psycopg.errors.QueryCanceled:
        # Gone past, or every run would end here: verify has no such limit.
        log.warning("audit_skipped", action="audit_skipped", accounts=len(account_ids), first=str(account_ids[0]))
        return None


_FindShards = Callable[[Connection, datetime, int], Sequence[int]]
_Step = Callable[[Connection, int, datetime, EventContext], BatchDone | None]


def _run(runtime: Runtime, task: str, as_of: str | None, find_shards: _FindShards, step: _Step) -> dict[str, Any]:
    """Take one batch per transaction until every shard is done or the time is up; the next tick goes on.

    It is not finished either where accounts were in use, or where another worker was at a shard: `in_use` counts those
    accounts, and `shards_in_use` those shards.
    """
    started = monotonic()
    changed = in_use = shards_in_use = 0
    is_finished = True
    with runtime.engine.begin() as connection:
        instant = _instant(connection, as_of)
        shards = find_shards(connection, instant, ACCOUNT_SHARDS)
    if runtime.is_trial:
        return _tried(runtime, instant, shards, step)
    for shard in shards:
        while True:
            tally = runtime.watcher.tally()
            with runtime.engine.begin() as connection:
                context = EventContext(runtime.event_source, database_now(connection), tally)
                done = step(connection, shard, instant, context)
            runtime.watcher.moved(tally)
            if done is None or not done.changed:
                break
            changed += done.changed
            if monotonic() - started > runtime.run_seconds_max * 4:
                is_finished = False
                break
        in_use, shards_in_use = in_use + (done.in_use if done else 0), shards_in_use + (done is None)
        runtime.nudge("loyalty.relay_outbox", shard)
        if not is_finished:
            break
    is_finished = is_finished and not in_use and not shards_in_use
    result = {"accounts": changed, "in_use": in_use, "shards_in_use": shards_in_use, "is_finished": is_finished}
    with runtime.engine.begin() as connection:
        record_run(connection, task, instant, result)
        if runtime.asked_by is not None and changed:
            # The next run of beat overwrites its own record, and the log must name nobody.
            asked = {"as_of": instant, "accounts": changed}
            append_repairs(connection, [Repair(None, task, {}, asked, runtime.asked_by)])
    if changed or runtime.asked_by is not None:
        log.info("upkeep_done", action="upkeep_done", task=task, as_of=instant.isoformat(), **result)
    return result


def _tried(runtime: Runtime, instant: datetime, shards: Sequence[int], step: _Step) -> dict[str, Any]:
    """What a run would do, worked out in transactions that are rolled back; cut where it takes too long.

    Until then the accounts are locked, so that this must not take long.
    """
    changed = in_use = shards_in_use = 0
    is_finished = True
    events: dict[str, WrittenEvents] = {}
    for shard in shards:
        started = monotonic()
        with runtime.engine.connect() as connection:
            context = EventContext(runtime.event_source, database_now(connection))
            while (done := step(connection, shard, instant, context)) is not None and done.changed:
                changed += done.changed
                if monotonic() - started > runtime.run_seconds_max:
                    is_finished = False
                    break
            in_use, shards_in_use = in_use + (done.in_use if done else 0), shards_in_use + (done is None)
            for written in written_events(connection):
                so_far = events.get(written.type, WrittenEvents(written.type, 0, None))
                moved = [points for points in (so_far.points, written.points) if points is not None]
                events[written.type] = WrittenEvents(
                    written.type, so_far.events + written.events, sum(moved) if moved else None
                )
            connection.rollback()
    is_finished = is_finished and not in_use and not shards_in_use
    result = {"accounts": changed, "in_use": in_use, "shards_in_use": shards_in_use, "is_finished": is_finished}
    return {**result, "as_of": instant, "events": list(events.values())}


def _registry(runtime: Runtime) -> ProgramRegistry:
    with runtime.engine.begin() as connection:
        return load_registry(connection)


def _all_shards(_connection: Connection, _as_of: datetime, shards: int) -> Sequence[int]:
    return range(shards)


def _no_shards(_connection: Connection, _as_of: datetime, _shards: int) -> Sequence[int]:
    return ()


def _instant(connection: Connection, as_of: str | None) -> datetime:
    if as_of is None:
        return database_now(connection)
    instant = datetime.fromisoformat(as_of)
    if instant.tzinfo is None or not is_nameable(instant):
        raise ValueError(f"as_of needs an offset and a year from {YEAR_MIN} to {YEAR_MAX}, 2026-01-31T00:00:00+00:00")
    return instant
