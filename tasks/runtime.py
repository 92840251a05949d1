"""What tasks are given: built by `workers.bootstrap` once per process, after the fork, and by tests by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Engine

from core.messages.outbound.replies import Reply
from core.messages.trace_context import TraceContext
from core.posting.batch import Poster
from tasks.spans import NO_SPANS, Spans
from tasks.watching import UNWATCHED, Watcher


class EventPublisher(Protocol):
    """Publishes events; returns when the broker has confirmed them all."""

    def publish(
        self,
        events: Sequence[tuple[str, str]],
        replies: Sequence[Reply] = (),
        traces: Sequence[TraceContext | None] = (),
    ) -> None:
        """Publish (type, JSON) pairs in order, and those of them that answer somebody to who asked.

        `traces`, if there are any, has what is written beside each event.
        """

    def close(self) -> None:
        """Let go of the broker."""


@dataclass
class Runtime:
    """One process's connections and limits."""

    engine: Engine
    poster: Poster
    open_publisher: Callable[[], EventPublisher]
    nudge: Callable[..., None]  #: (task name, *shards): ask for a run; losing it costs a second
    event_source: str
    posting_batch_messages: int
    relay_batch_events: int
    upkeep_batch_rows: int
    waiting_days_max: int
    waiting_alarm_hours: float
    inbox_retention_days: float
    outbox_retention_days: float
    #: A task that is longer than this hands over to a new nudge, so that no shard starves another.
    run_seconds_max: float = 5.0
    is_trial: bool = False  #: what is due is worked out and told, and nothing of it is kept
    asked_by: str | None = None  #: the person who asked for a run; None: beat
    chain_key: bytes | None = field(default=None, repr=False)  #: of the hash chain over entries; None: no chain
    watcher: Watcher = UNWATCHED
    spans: Spans = NO_SPANS
    publishes_again_at: float = 0.0  #: by the monotonic clock: until then posting leaves publishing to the relay
    _publisher: EventPublisher | None = field(default=None, init=False, repr=False)

    def publisher(self) -> EventPublisher:
        """This process's publisher, opened when it is first needed."""
        if self._publisher is None:
            self._publisher = self.open_publisher()
        return self._publisher

    def drop_publisher(self) -> None:
        """Forget a publisher that failed; the next use opens a new one."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()

    def close(self) -> None:
        """Let go of everything."""
        self.drop_publisher()
        self.engine.dispose()
        self.spans.close()
