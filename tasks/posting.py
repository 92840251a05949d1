"""Posting: drain one shard of the inbox, and announce it; and the sweep that finds what a lost nudge left."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import Connection

from core.errors import BrokerUnavailableError, EventNotConfirmedError
from core.store.engine import database_now
from core.store.posting_turns import first_with_work, shards_with_work
from core.upkeep.runs import last_run, record_run
from core.upkeep.sweeping import LongWait, SweepOutcome, long_wait, sweep_waiting
from tasks.relay import relay_outbox
from tasks.runtime import Runtime
from tasks.spans import Stage, Work

log = structlog.get_logger(__name__)

SWEEP = "loyalty.sweep_inbox"
#: How long posting leaves all publishing to the relay after a broker took nothing: waiting for it is not posting's.
_QUIET_SECONDS = 60.0
_ALARM_EVERY = timedelta(hours=1)


def post_inbox(runtime: Runtime, *shards: int) -> dict[str, int]:
    """Post the shards' messages until none are left or the time is up. A second run beside it does nothing.

    While there is no backlog, what was posted is published at once, by this very run.
    """
    with runtime.spans.of(Stage.POST, shards[0]) as work:
        return _post(runtime, shards, work)


def _post(runtime: Runtime, shards: Sequence[int], work: Work) -> dict[str, int]:
    started = monotonic()
    counts = {"posted": 0, "replayed": 0, "waiting": 0, "parked": 0, "rejected": 0}
    account_shards: set[int] = set()  #: with events that are still to be published
    ours = {*shards}  #: and those whose messages were taken along
    at: int | None = shards[0]
    while at is not None:
        batch_began = monotonic()
        batch = runtime.poster.post_batch(at, runtime.posting_batch_messages)
        work.posted(batch)
        runtime.watcher.posted(batch, monotonic() - batch_began)
        for name in counts:
            counts[name] += getattr(batch, name)
        account_shards |= batch.account_shards
        if not batch.claimed:
            ours.discard(at)
            at = first_with_work(runtime.engine, ours)
            continue
        ours |= batch.shards
        if monotonic() - started > runtime.run_seconds_max:
            for each in sorted(ours):
                runtime.nudge("loyalty.post_inbox", each)
            break
        if batch.claimed < runtime.posting_batch_messages:
            with runtime.spans.of(Stage.SEND):
                account_shards = _not_published(runtime, account_shards)
            # Asked once more, since who brought messages meanwhile found the shards taken.
            at = first_with_work(runtime.engine, ours)
    for account_shard in sorted(account_shards):
        runtime.nudge("loyalty.relay_outbox", account_shard)
    if any(counts.values()):
        log.info("inbox_posted", action="inbox_posted", shards=sorted({*shards, *ours}), **counts)
    return counts


def _not_published(runtime: Runtime, account_shards: set[int]) -> set[int]:
    """Publish what these shards have; returns those that are left to the relay, as the broker takes nothing.

    Asking another process for it would cost as much again as all the rest of a message's way.
    """
    if not account_shards or monotonic() < runtime.publishes_again_at:
        return account_shards
    try:
        relay_outbox(runtime, *account_shards)
    except (BrokerUnavailableError, EventNotConfirmedError):
        runtime.publishes_again_at = monotonic() + _QUIET_SECONDS
        return account_shards
    return set()


def sweep_inbox(runtime: Runtime) -> dict[str, Any]:
    """Nudge every shard that has received messages, wake messages whose order came, park those that waited too long."""
    with runtime.engine.begin() as connection:
        swept, alarm = _sweep_waiting(connection, runtime)
    runtime.watcher.overdue(swept.overdue)
    if alarm is not None:
        log.warning("message_waits_long", action="message_waits_long", **alarm._asdict())
    with runtime.engine.begin() as connection:
        shards = shards_with_work(connection)
    for shard in shards:
        runtime.nudge("loyalty.post_inbox", shard)
    return {"shards": shards, "woken": swept.woken, "overdue": swept.overdue}


def _sweep_waiting(connection: Connection, runtime: Runtime) -> tuple[SweepOutcome, LongWait | None]:
    """Sweep, unless another sweep is at it, and keep where it stopped; the alarm is raised once in an hour."""
    last = last_run(connection, SWEEP)
    if last is None:
        return SweepOutcome(0, 0, 0), None
    after = last.result.get("after", 0)
    swept = sweep_waiting(
        connection, runtime.event_source, runtime.waiting_days_max, runtime.posting_batch_messages, after=after
    )
    if not last.is_due and swept.after == after:
        return swept, None
    now = database_now(connection)
    told_at = last.result.get("told_at")
    alarm = None
    if told_at is None or datetime.fromisoformat(told_at) < now - _ALARM_EVERY:
        alarm = long_wait(connection, now, runtime.waiting_alarm_hours)
        told_at = told_at if alarm is None else now.isoformat()
    result = {"woken": swept.woken, "overdue": swept.overdue, "after": swept.after, "told_at": told_at}
    record_run(connection, SWEEP, now, result)
    return swept, alarm
