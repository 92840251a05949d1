"""What intake and tasks tell of their work for spans. Nobody listens unless a collector is named (docs/tracing.md)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum

from core.messages.trace_context import TraceContext
from core.posting.batch import BatchResult
from core.receiving.receive import Receipt
from core.store.outbox import OutgoingEvent, traces_of


class Stage(StrEnum):
    """A piece of work that is a span; those of batches are within those of runs."""

    RECEIVE = "receive"  #: a batch of messages from the broker
    POST_RUN = "post_inbox"  #: a run of posting at one shard
    POST = "post"  #: one of its batches
    RELAY_RUN = "relay_outbox"  #: a run of the relay at one shard
    SEND = "send"  #: one of its batches


class Work:
    """One piece of work, of which nobody takes notice. What a subclass does here must not fail."""

    def did(self, count: int) -> None:
        """So many messages or events were worked on; none: nothing was done so far."""

    def received(self, receipt: Receipt) -> None:
        """Messages of the batch are stored and committed."""

    def posted(self, batch: BatchResult) -> None:
        """The batch is posted and committed, or nothing was found."""

    def sending(self, events: Sequence[OutgoingEvent]) -> Sequence[TraceContext | None]:
        """Events are about to be published; the traces that are written beside them, or nothing for none."""
        return traces_of(events)


_UNSEEN = nullcontext(Work())


class Spans:
    """Makes none."""

    is_on: bool = False

    def of(self, stage: Stage, shard: int | None = None) -> AbstractContextManager[Work]:  # noqa: ARG002  # for who listens
        """A piece of work that lasts as long as the block; nothing comes of one in which nothing was done."""
        return _UNSEEN

    def close(self) -> None:
        """Send what is left, within two seconds. Nothing may be told afterwards."""


NO_SPANS = Spans()
