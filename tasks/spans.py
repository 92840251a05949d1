"""What intake and tasks tell of their work for spans. Nobody listens unless a collector is named (docs/tracing.md)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum

from core.messages.trace_context import TraceContext
from core.posting.batch import BatchResult
from core.receiving.receive import Receipt
from core.store.outbox import OutgoingEvent, traces_of


class Stage(StrEnum):
    """A piece of work that is a span."""

    RECEIVE = "receive"  #: a batch of messages from the broker
    POST = "post"  #: a run of posting at one shard
    SEND = "send"  #: a run of the relay, at one shard or, within a run of posting, at several


class Work:
    """One piece of work, of which nobody takes notice. What a subclass does here must not fail."""

    def received(self, receipt: Receipt) -> None:
        """Messages are stored and committed."""

    def posted(self, batch: BatchResult) -> None:
        """A batch is posted and committed, or nothing was found."""

    def sending(self, events: Sequence[OutgoingEvent]) -> Sequence[TraceContext | None]:
        """Events are about to be published; the traces that are written beside them, or nothing for none."""
        return traces_of(events)

    def sent(self) -> None:
        """The broker has confirmed them."""


_UNSEEN = nullcontext(Work())


class Spans:
    """Makes none."""

    is_on: bool = False

    def of(self, stage: Stage, shard: int | None = None) -> AbstractContextManager[Work]:  # noqa: ARG002  # for who listens
        """A piece of work that lasts as long as the block; within one of the same stage it is that one.

        Nothing comes of one in which nothing was done.
        """
        return _UNSEEN

    def close(self) -> None:
        """Send what is left, within two seconds. Nothing may be told afterwards."""


NO_SPANS = Spans()
