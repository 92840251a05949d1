"""Spans of a role's work, sent to the collector that OpenTelemetry's own variables name (docs/tracing.md).

Each message that its sender samples has spans of its own in the sender's trace: as it is stored, posted, and as its
events are sent. Of a batch with many of them only some have: those with the lowest trace ids, so that each stage
chooses the same ones, and a flood costs no more than its batches.
"""

import logging
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from heapq import nsmallest
from time import time_ns
from typing import Any, Final, TypeVar

import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
    use_span,
)

from config.release import RELEASE
from core.messages.inbound.contracts import INBOUND
from core.messages.trace_context import TraceContext
from core.posting.batch import BatchResult
from core.posting.tally import TracedMessage
from core.receiving.receive import Receipt
from core.store.outbox import OutgoingEvent, traces_of
from tasks.spans import Spans, Stage, Work
from workers.brokers.topology import EVENT_EXCHANGE, INTAKE_QUEUE, SHOP_STREAM

#: So many messages of one batch have spans of their own, and so many are linked to the span of the batch.
OWN_SPANS_MAX: Final = 8
LINKS_MAX: Final = 32
_CLOSE_SECONDS: Final = 2.0
#: Of a trace id these digits are drawn by lot, whoever has made it.
_BY_LOT: Final = slice(18, 32)
_INBOX: Final = "inbox"
#: As `core.store.inbox` and `tasks.posting` call what needs a person.
_PARKED: Final = frozenset({"dead", "parked"})

Item = TypeVar("Item")

log = structlog.get_logger(__name__)


class RecordedSpans(Spans):
    """Makes spans."""

    is_on = True

    def __init__(self, provider: TracerProvider, *, is_amqp: bool) -> None:
        """`provider` is closed with it."""
        self._provider = provider
        self._tracer = provider.get_tracer("loyalty", RELEASE)
        broker = {"messaging.system": "rabbitmq" if is_amqp else "redis"}
        postgresql = {"messaging.system": "postgresql", "messaging.destination.name": _INBOX}
        taken_from = {"messaging.destination.name": INTAKE_QUEUE if is_amqp else SHOP_STREAM}
        self._places: Mapping[Stage, Mapping[str, str]] = {
            Stage.RECEIVE: {**broker, **taken_from, "messaging.operation.type": "receive"},
            Stage.POST: {**postgresql, "messaging.operation.type": "process"},
            Stage.SEND: {**broker, "messaging.destination.name": EVENT_EXCHANGE, "messaging.operation.type": "send"},
        }

    @contextmanager
    def of(self, stage: Stage, shard: int | None = None) -> Iterator[Work]:
        """See `Spans.of`. What is logged within it has its trace id."""
        place = self._places.get(stage, {})
        attributes: dict[str, Any] = {**place, "messaging.operation.name": stage.value} if place else {}
        if shard is not None:
            attributes["loyalty.shard"] = shard
        name = f"{stage} {place['messaging.destination.name']}" if place else str(stage)
        kind = SpanKind.CLIENT if stage in {Stage.RECEIVE, Stage.SEND} else SpanKind.INTERNAL
        span = self._tracer.start_span(name, kind=kind, attributes=attributes)
        work = _RecordedWork(self._tracer, span, place)
        # Nothing of an error but its kind: its text may quote a row.
        with (
            use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False),
            structlog.contextvars.bound_contextvars(**_log_fields(span)),
        ):
            try:
                yield work
            except BaseException as error:
                work.fail(error)
                raise
            finally:
                work.end()

    def close(self) -> None:
        """See `Spans.close`. A collector that is away would hold it up for half a minute."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


class _RecordedWork(Work):
    def __init__(self, tracer: Tracer, span: Span, place: Mapping[str, str]) -> None:
        self._tracer, self._span, self._place = tracer, span, place
        self._began_ns = time_ns()
        self._is_done = False  #: anything
        self._messages_done = 0
        self._sent: list[Span] = []

    def did(self, count: int) -> None:
        self._is_done = self._is_done or count > 0

    def received(self, receipt: Receipt) -> None:
        self._is_done = True
        self._count(len(receipt.stored))
        traced = [
            (
                m.trace,
                TracedMessage(each.inbox_id, m.type, m.trace, each.state if each.is_new else "replayed", m.reason),
            )
            for each in receipt.stored
            if (m := each.message).trace is not None
        ]
        self._messages("store", traced)

    def posted(self, batch: BatchResult) -> None:
        self.did(batch.claimed)
        self._count(batch.claimed)
        self._messages("process", [(each.trace, each) for tally in batch.tallies for each in tally.traced])

    def sending(self, events: Sequence[OutgoingEvent]) -> Sequence[TraceContext | None]:
        self._is_done = True
        self._count(len(events))
        traces = list(traces_of(events))
        link = [Link(self._span.get_span_context())]
        for trace, place in self._chosen((trace, n) for n, trace in enumerate(traces) if trace is not None):
            event = events[place]
            span = self._tracer.start_span(
                f"publish {self._place['messaging.destination.name']}",
                context=_parent(trace),
                kind=SpanKind.PRODUCER,
                attributes={
                    **self._place,
                    "messaging.operation.name": "publish",
                    **_names(event.outbox_id, event.type),
                },
                links=link,
            )
            self._sent.append(span)
            if span.is_recording():
                traces[place] = _written(span.get_span_context(), trace)
        return traces

    def fail(self, error: BaseException) -> None:
        """Say that the work has failed, and of what kind the error was."""
        self._is_done = True
        for span in (self._span, *self._sent):
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("error.type", type(error).__name__)

    def end(self) -> None:
        """End all spans; one of work in which nothing was done is never heard of."""
        if self._is_done:
            for span in (*self._sent, self._span):
                span.end()

    def _count(self, messages: int) -> None:
        if self._place:
            self._messages_done += messages
            self._span.set_attribute("messaging.batch.message_count", self._messages_done)

    def _messages(self, operation: str, traced: Iterable[tuple[TraceContext | None, TracedMessage]]) -> None:
        """Make a short span of each message that is chosen, from when the batch began to now."""
        link = [Link(self._span.get_span_context())]
        for trace, message in self._chosen(traced):
            attributes = {**self._place, "messaging.operation.name": operation, "messaging.operation.type": "process"}
            span = self._tracer.start_span(
                f"{operation} {self._place['messaging.destination.name']}",
                context=_parent(trace),
                kind=SpanKind.CONSUMER,
                attributes={
                    **attributes,
                    **_names(message.inbox_id, message.type),
                    "loyalty.outcome": message.state,
                },
                links=link,
                start_time=self._began_ns,
            )
            if message.state in _PARKED:
                span.set_status(Status(StatusCode.ERROR))
                span.set_attribute("error.type", str(message.code))
            span.end()

    def _chosen(self, traced: Iterable[tuple[TraceContext | None, Item]]) -> list[tuple[TraceContext, Item]]:
        """Link the batch to messages whose senders sample them, and give those that have spans of their own."""
        sampled = [(trace, item) for trace, item in traced if trace is not None and trace.is_sampled]
        if len(sampled) > OWN_SPANS_MAX:
            most = LINKS_MAX if self._span.is_recording() else OWN_SPANS_MAX
            sampled = nsmallest(most, sampled, key=lambda each: each[0].trace_id[_BY_LOT])
        if self._span.is_recording():
            for trace, _ in sampled:
                self._span.add_link(_context_of(trace))
        return sampled[:OWN_SPANS_MAX]


def _context_of(trace: TraceContext) -> SpanContext:
    state = None if trace.tracestate is None else TraceState.from_header([trace.tracestate])
    ids = int(trace.trace_id, 16), int(trace.span_id, 16)
    return SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(int(trace.traceparent[53:], 16)), trace_state=state)


def _parent(trace: TraceContext) -> Any:
    return set_span_in_context(NonRecordingSpan(_context_of(trace)))


def _written(span: SpanContext, trace: TraceContext) -> TraceContext:
    return TraceContext(f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}", trace.tracestate)


def _names(number: int, kind: str | None) -> dict[str, str]:
    """What names a message in a span: our own number, since the ids of shops and of events may name whose it is."""
    named = {"messaging.message.id": str(number)}
    if kind is not None and (kind in INBOUND or kind.startswith("loyalty.")):
        named["cloudevents.event_type"] = kind
    return named


def _log_fields(span: Span) -> dict[str, str]:
    context = span.get_span_context()
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"} if span.is_recording() else {}


def open_recorded(role: str, exporter: SpanExporter, *, is_amqp: bool) -> RecordedSpans:
    """Spans of this process. To be opened after a fork: what sends them is a thread."""
    given = {
        "service.version": RELEASE,
        "service.instance.id": f"{role}@{socket.gethostname()}:{os.getpid()}",
        "loyalty.role": role,
    }
    is_named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create(given if is_named else {**given, "service.name": "loyalty-worker"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(_TellingExporter(exporter)))
    return RecordedSpans(provider, is_amqp=is_amqp)


class _TellingExporter(SpanExporter):
    """Says once that spans do not arrive, and once that they do again, where the library would each time."""

    def __init__(self, exporter: SpanExporter) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        self._exporter, self._arrive = exporter, True

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if (arrive := result is SpanExportResult.SUCCESS) != self._arrive:
            self._arrive = arrive
            action = "spans_sent" if arrive else "spans_lost"
            (log.info if arrive else log.warning)(action, action=action, spans=len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
