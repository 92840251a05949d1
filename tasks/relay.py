"""Relay: publish account shards' events in order, then mark them. At least once, in order per account."""

from collections.abc import Collection, Sequence
from time import monotonic

import structlog

from core.errors import BrokerUnavailableError, EventNotConfirmedError
from core.messages.outbound.replies import Reply
from core.messages.trace_context import TraceContext
from core.store.engine import database_now, sent_together
from core.store.locks import Task, take_turns
from core.store.outbox import (
    OutgoingEvent,
    ask_unpublished,
    mark_published,
    shards_with_unpublished,
    with_unpublished,
)
from core.upkeep.runs import last_run, record_run
from tasks.runtime import Runtime
from tasks.spans import Stage, Work

log = structlog.get_logger(__name__)

SWEEP = "loyalty.sweep_outbox"


def relay_outbox(runtime: Runtime, *shards: int) -> dict[str, int]:
    """Publish the shards' events until none are left or the time is up. A second run beside it does nothing.

    If the broker does not confirm, nothing is marked: the events stay, and are published again with the same ids.
    """
    with runtime.spans.of(Stage.SEND, shards[0]) as work:
        return _relay(runtime, shards, work)


def _relay(runtime: Runtime, shards: Collection[int], work: Work) -> dict[str, int]:
    started = monotonic()
    published = 0
    while True:
        batch_began = monotonic()
        events = _relay_batch(runtime, shards, work)
        runtime.watcher.relayed(events, monotonic() - batch_began)
        count = len(events)
        published += count
        # Asked once more, since who wrote events meanwhile found the shards taken.
        left = shards if count == runtime.relay_batch_events else with_unpublished(runtime.engine, shards)
        if not count or not left:
            break
        if monotonic() - started > runtime.run_seconds_max:
            for shard in left:
                runtime.nudge("loyalty.relay_outbox", shard)
            break
    if published:
        log.info("events_published", action="events_published", shards=sorted(shards), published=published)
    return {"published": published}


def _relay_batch(runtime: Runtime, shards: Collection[int], work: Work) -> Sequence[OutgoingEvent]:
    """One batch in one transaction: the turns are held until the marks are committed."""
    with runtime.engine.begin() as connection, sent_together(connection):
        rows_max = runtime.relay_batch_events
        events = take_turns(connection, Task.RELAY, shards, lambda: ask_unpublished(connection, rows_max))
        if events:
            try:
                traces = work.sending(events)
                replies = _replies(events, traces)
                runtime.publisher().publish([(event.type, event.body) for event in events], replies, traces)
                work.sent()
            except BaseException as error:
                # Whatever it was (a time limit too): confirms of this batch must not be read as the next one's.
                runtime.drop_publisher()
                runtime.watcher.relay_failed()
                log.warning("relay_failed", action="relay_failed", shards=sorted(shards), error=_reason(error))
                raise
            mark_published(connection, events)
        return events


def _replies(events: Sequence[OutgoingEvent], traces: Sequence[TraceContext | None]) -> list[Reply]:
    return [
        Reply(event.reply_to, event.correlation_id, event.body, traces[place] if traces else None)
        for place, event in enumerate(events)
        if event.reply_to is not None
    ]


def _reason(error: BaseException) -> str:
    known = isinstance(error, (BrokerUnavailableError, EventNotConfirmedError))
    return str(error) if known else type(error).__name__


def sweep_outbox(runtime: Runtime) -> dict[str, list[int]]:
    """Nudge every account shard that has events to publish."""
    with runtime.engine.begin() as connection:
        shards = shards_with_unpublished(connection)
        last = last_run(connection, SWEEP)
        if last is not None and last.is_due:
            record_run(connection, SWEEP, database_now(connection), {"shards": shards})
    for shard in shards:
        runtime.nudge("loyalty.relay_outbox", shard)
    return {"shards": shards}
