"""Runtimes built by hand: the real database, a publisher and nudges that only write down."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine
from uuid6 import uuid7

from core.messages.outbound.replies import Reply
from core.messages.trace_context import TraceContext
from core.posting.batch import Poster
from tasks.runtime import EventPublisher, Runtime
from tests.shell import EVENT_SOURCE


class RecordingPublisher:
    """Writes down what is published; `failure` is raised after that, as when a confirm is lost."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.replies: list[Reply] = []
        self.traces: list[TraceContext | None] = []
        self.batches: list[int] = []
        self.failure: BaseException | None = None
        self.closed = 0

    def publish(
        self,
        events: Sequence[tuple[str, str]],
        replies: Sequence[Reply] = (),
        traces: Sequence[TraceContext | None] = (),
    ) -> None:
        self.batches.append(len(events))
        self.events += events
        self.replies += replies
        self.traces += traces or [None] * len(events)
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        self.closed += 1


class RecordingRuntime(Runtime):
    """A runtime whose nudges can be looked at."""

    nudges: list[tuple[str, int]]


def make_runtime(
    engine: Engine, open_publisher: Callable[[], EventPublisher] = RecordingPublisher, **over: Any
) -> RecordingRuntime:
    """Batches are small, so that every loop turns more than once."""
    nudges: list[tuple[str, int]] = []
    settings: dict[str, Any] = {
        "posting_batch_messages": 3,
        "relay_batch_events": 4,
        "upkeep_batch_rows": 2,
        "waiting_days_max": 30,
        "waiting_alarm_hours": 24,
        "inbox_retention_days": 90,
        "outbox_retention_days": 90,
        **over,
    }
    runtime = RecordingRuntime(
        engine=engine,
        poster=Poster(engine, event_source=EVENT_SOURCE, new_account_id=uuid7),
        open_publisher=open_publisher,
        nudge=lambda task, shard: nudges.append((task, shard)),
        event_source=EVENT_SOURCE,
        **settings,
    )
    runtime.nudges = nudges
    return runtime
