"""An event that answers a message, as it goes to who asked, besides to all who listen."""

from typing import NamedTuple

from core.messages.trace_context import TraceContext


class Reply(NamedTuple):
    """One answer, and where it goes."""

    reply_to: str  #: name of a queue (RabbitMQ) or a stream (Redis, Valkey)
    correlation_id: str | None
    text: str  #: the event's JSON
    trace: TraceContext | None = None  #: that goes beside it
