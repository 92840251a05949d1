"""Spans of a role's work, sent to the collector that OpenTelemetry's own variables name (docs/tracing.md).

Each message that its sender samples has spans of its own in the sender's trace: as it is stored, posted, and as its
events are sent. In a flood only some of a batch have: those with the lowest trace ids, so that each stage chooses the
same ones, and a flood costs no more than its batches.
"""

import logging
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Token
from heapq import nsmallest
from time import monotonic, time_ns
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
    TraceState,
    set_span_in_context,
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

#: So many spans of single messages a process makes at once, and so many a second from then on, which takes one percent
#: of its time. And so many messages are linked to the span of a batch.
OWN_SPANS_AT_ONCE: Final = 50.0
OWN_SPANS_PER_SECOND: Final = 50.0
LINKS_MAX: Final = 8
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
        self.tracer = provider.get_tracer("loyalty", RELEASE)
        self.budget = _Budget()
        self._work: _RecordedWork | None = None
        broker = {"messaging.system": "rabbitmq" if is_amqp else "redis"}
        postgresql = {"messaging.system": "postgresql", "messaging.destination.name": _INBOX}
        taken_from = {"messaging.destination.name": INTAKE_QUEUE if is_amqp else SHOP_STREAM}
        self._places: Mapping[Stage, Mapping[str, str]] = {
            Stage.RECEIVE: {**broker, **taken_from, "messaging.operation.type": "receive"},
            Stage.POST: {**postgresql, "messaging.operation.type": "process"},
            Stage.SEND: {**broker, "messaging.destination.name": EVENT_EXCHANGE, "messaging.operation.type": "send"},
        }

    @property
    def work(self) -> "_RecordedWork | None":
        """The innermost work that is under way."""
        return self._work

    @contextmanager
    def of(self, stage: Stage, shard: int | None = None) -> Iterator[Work]:
        """See `Spans.of`. What is logged within it has its trace id."""
        outer = self._work
        if outer is not None and outer.stage is stage:
            yield outer
            return
        work = _RecordedWork(self, stage, self._places[stage], shard)
        self._work = work
        try:
            yield work
        except BaseException as error:
            work.fail(error)
            raise
        finally:
            self._work = outer
            work.end()

    def close(self) -> None:
        """See `Spans.close`. A collector that is away would hold it up for half a minute."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


class _Budget:
    """So many spans of messages may be made: some at once, and from then on so many a second."""

    def __init__(self) -> None:
        self._left, self._counted_at = OWN_SPANS_AT_ONCE, monotonic()

    def take(self, wanted: int) -> int:
        now = monotonic()
        self._left = min(OWN_SPANS_AT_ONCE, self._left + (now - self._counted_at) * OWN_SPANS_PER_SECOND)
        self._counted_at = now
        given = min(wanted, int(self._left))
        self._left -= given
        return given


class _RecordedWork(Work):
    def __init__(self, spans: RecordedSpans, stage: Stage, place: Mapping[str, str], shard: int | None) -> None:
        self.stage = stage
        self._spans, self._place, self._shard = spans, place, shard
        self._outer = spans.work
        self._began_ns = self._batch_ns = time_ns()
        self._made: Span | None = None  #: once something was done: nobody hears of work in which nothing was
        self._bound: Mapping[str, Token[Any]] = {}
        self._messages_done = self._links = 0
        self._sent: list[Span] = []

    @property
    def span(self) -> Span:
        """The span of this work, made when it is first needed."""
        if self._made is None:
            attributes: dict[str, Any] = {**self._place, "messaging.operation.name": self.stage.value}
            if self._shard is not None:
                attributes["loyalty.shard"] = self._shard
            self._made = self._spans.tracer.start_span(
                f"{self.stage} {self._place['messaging.destination.name']}",
                context=None if self._outer is None else set_span_in_context(self._outer.span),
                kind=SpanKind.INTERNAL if self.stage is Stage.POST else SpanKind.CLIENT,
                attributes=attributes,
                start_time=self._began_ns,
            )
            if self._made.is_recording():
                context = self._made.get_span_context()
                ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
                self._bound = structlog.contextvars.bind_contextvars(**ids)
        return self._made

    def received(self, receipt: Receipt) -> None:
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
        if batch.claimed:
            self._count(batch.claimed)
            self._messages("process", [(each.trace, each) for tally in batch.tallies for each in tally.traced])
        self._batch_ns = time_ns()

    def sending(self, events: Sequence[OutgoingEvent]) -> Sequence[TraceContext | None]:
        self._count(len(events))
        traces = list(traces_of(events))
        link = [Link(self.span.get_span_context())]
        for trace, place in self._chosen((trace, n) for n, trace in enumerate(traces) if trace is not None):
            event = events[place]
            span = self._spans.tracer.start_span(
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

    def sent(self) -> None:
        for span in self._sent:
            span.end()
        self._sent.clear()

    def fail(self, error: BaseException) -> None:
        """Say that the work has failed, and of what kind the error was: its text may quote a row."""
        for span in (self.span, *self._sent):
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("error.type", type(error).__name__)

    def end(self) -> None:
        """End what was made."""
        self.sent()
        if self._made is not None:
            self._made.end()
            structlog.contextvars.reset_contextvars(**self._bound)

    def _count(self, messages: int) -> None:
        self._messages_done += messages
        self.span.set_attribute("messaging.batch.message_count", self._messages_done)

    def _messages(self, operation: str, traced: Iterable[tuple[TraceContext | None, TracedMessage]]) -> None:
        """Make a short span of each message that is chosen, from when the batch began to now."""
        link = [Link(self.span.get_span_context())]
        for trace, message in self._chosen(traced):
            attributes = {**self._place, "messaging.operation.name": operation, "messaging.operation.type": "process"}
            span = self._spans.tracer.start_span(
                f"{operation} {self._place['messaging.destination.name']}",
                context=_parent(trace),
                kind=SpanKind.CONSUMER,
                attributes={
                    **attributes,
                    **_names(message.inbox_id, message.type),
                    "loyalty.outcome": message.state,
                },
                links=link,
                start_time=self._batch_ns,
            )
            if message.state in _PARKED:
                span.set_status(Status(StatusCode.ERROR))
                span.set_attribute("error.type", str(message.code))
            span.end()

    def _chosen(self, traced: Iterable[tuple[TraceContext | None, Item]]) -> list[tuple[TraceContext, Item]]:
        """Link the work to messages whose senders sample them, and give those that have spans of their own."""
        sampled = [(trace, item) for trace, item in traced if trace is not None and trace.is_sampled]
        own = self._spans.budget.take(len(sampled))
        links = LINKS_MAX - self._links if self.span.is_recording() else 0
        if len(sampled) > own:
            sampled = nsmallest(max(own, links), sampled, key=lambda each: each[0].trace_id[_BY_LOT])
        for trace, _ in sampled[:links]:
            self.span.add_link(_context_of(trace))
            self._links += 1
        return sampled[:own]


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
            if arrive:
                log.info("spans_sent", action="spans_sent", spans=len(spans))
            else:
                log.warning("spans_lost", action="spans_lost", spans=len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)
