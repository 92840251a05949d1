"""Which spans are made of a batch, and what stands in them."""

from collections.abc import Iterator
from random import Random
from time import monotonic

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import StatusCode

from core.messages.trace_context import TraceContext
from core.posting.batch import BatchResult
from core.posting.tally import Tally, TracedMessage
from core.store.outbox import OutgoingEvent
from tasks.spans import NO_SPANS, Stage
from workers.tracing import LINKS_MAX, OWN_SPANS_AT_ONCE, RecordedSpans
from workers.tracing_setup import open_spans

EVENT = OutgoingEvent(17, "loyalty.balance.changed", "{}")


def trace(number: int, flags: str = "01") -> TraceContext:
    return TraceContext(f"00-{number:032x}-{number + 1:016x}-{flags}")


def settled(number: int, state: str = "posted", flags: str = "01", kind: str = "order.completed") -> TracedMessage:
    return TracedMessage(number, kind, trace(number, flags), state, None if state == "posted" else "invalid_data")


def batch(*messages: TracedMessage) -> BatchResult:
    tally = Tally()
    tally.traced += messages
    return BatchResult(claimed=len(messages), tallies=[tally])


class Made:
    """Spans, and what comes of them."""

    def __init__(self, sampler: Sampler) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.spans = RecordedSpans(provider, is_amqp=True)

    def post(self, *messages: TracedMessage) -> list[ReadableSpan]:
        with self.spans.of(Stage.POST, 3) as work:
            work.posted(batch(*messages))
        return self.finished()

    def finished(self) -> list[ReadableSpan]:
        found = list(self._exporter.get_finished_spans())
        self._exporter.clear()
        return found


@pytest.fixture
def made() -> Iterator[Made]:
    found = Made(ParentBased(ALWAYS_ON))
    yield found
    found.spans.close()


def test_each_message_that_is_sampled_has_a_span_in_its_own_trace(made: Made) -> None:
    *messages, whole = made.post(settled(1), settled(2, flags="00"), settled(3, "parked", kind="jane.doe"))
    assert whole.name == "post inbox"
    assert whole.attributes is not None
    assert whole.attributes["messaging.batch.message_count"] == 3
    assert [link.context.trace_id for link in whole.links] == [1, 3]
    assert [(span.name, span.context.trace_id, span.parent.span_id) for span in messages] == [  # type: ignore[union-attr]
        ("process inbox", 1, 2),
        ("process inbox", 3, 4),
    ]
    assert [dict(span.attributes or {}).get("cloudevents.event_type") for span in messages] == ["order.completed", None]
    assert [span.status.status_code for span in messages] == [StatusCode.UNSET, StatusCode.ERROR]
    assert (messages[1].attributes or {})["error.type"] == "invalid_data"
    assert (messages[0].attributes or {})["messaging.message.id"] == "1"


def test_of_many_the_same_ones_are_chosen_by_every_stage(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = Random(7).sample(range(1, 2**60), 200)
    made.spans.budget.take(int(OWN_SPANS_AT_ONCE) - 25)
    *posted, whole = made.post(*map(settled, numbers))
    assert len(posted) == 25
    assert len(whole.links) == LINKS_MAX
    monkeypatch.setattr("workers.tracing.monotonic", lambda: monotonic() + 1)
    with made.spans.of(Stage.SEND) as work:
        traces = work.sending([EVENT._replace(traceparent=trace(n).traceparent) for n in reversed(numbers)])
    *sent, _ = made.finished()
    lowest = sorted(sorted(numbers, key=lambda n: f"{n:032x}"[18:])[:25])
    assert sorted(span.context.trace_id for span in posted) == lowest  # type: ignore[union-attr]
    assert set(lowest) < {span.context.trace_id for span in sent}, "there is room for more by now"  # type: ignore[union-attr]
    written = [each for each, n in zip(traces, reversed(numbers), strict=True) if each != trace(n)]
    assert len(written) == len(sent)


def test_what_goes_beside_an_event_is_its_own_trace_where_no_span_is_recorded() -> None:
    made = Made(ALWAYS_OFF)
    events = [EVENT._replace(traceparent=trace(1).traceparent, tracestate="a=1"), EVENT]
    with made.spans.of(Stage.SEND) as work:
        assert work.sending(events) == [TraceContext(trace(1).traceparent, "a=1"), None]
        assert "trace_id" not in structlog.contextvars.get_contextvars()
    with NO_SPANS.of(Stage.SEND) as work:
        assert work.sending(events) == [TraceContext(trace(1).traceparent, "a=1"), None]
        assert work.sending([EVENT]) == ()
    assert made.finished() == []


def test_nothing_comes_of_work_in_which_nothing_was_done(made: Made) -> None:
    with made.spans.of(Stage.POST, 3) as run, made.spans.of(Stage.SEND):
        run.posted(batch())
    assert made.finished() == []


def test_what_a_run_of_posting_sends_is_one_span_within_it(made: Made) -> None:
    with made.spans.of(Stage.POST, 3) as run:
        run.posted(batch(settled(1)))
        with made.spans.of(Stage.SEND):
            for shard in range(3):
                with made.spans.of(Stage.SEND, shard) as work:
                    work.sending([EVENT])
                    work.sent()
        run.posted(batch(settled(2)))
    [sent, posted] = [each for each in made.finished() if each.name in {"send loyalty.events", "post inbox"}]
    assert (sent.name, posted.name) == ("send loyalty.events", "post inbox")
    assert sent.parent == posted.context
    assert [(each.attributes or {})["messaging.batch.message_count"] for each in (sent, posted)] == [3, 2]
    assert len(posted.links) == 2


def test_an_error_is_told_by_its_kind_alone(made: Made) -> None:
    def fail() -> None:
        with made.spans.of(Stage.SEND) as work:
            work.sending([EVENT._replace(traceparent=trace(1).traceparent)])
            raise ValueError("Jane Doe")

    with pytest.raises(ValueError, match="Jane"):
        fail()
    found = made.finished()
    assert [span.status.status_code for span in found] == [StatusCode.ERROR] * 2
    assert [(span.attributes or {})["error.type"] for span in found] == ["ValueError"] * 2
    assert "Jane" not in repr([(span.to_json()) for span in found])


def test_what_is_logged_within_has_its_trace_id(made: Made) -> None:
    with made.spans.of(Stage.POST) as run:
        run.posted(BatchResult(claimed=1))
        logged = structlog.contextvars.get_contextvars()["trace_id"]
    [span] = made.finished()
    assert span.context is not None
    assert logged == f"{span.context.trace_id:032x}"
    assert "trace_id" not in structlog.contextvars.get_contextvars()


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("variables", "is_on"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "points", "OTEL_TRACES_SAMPLER": "always_on"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "console,otlp"}, True),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, False),
        ({**ENDPOINT, "OTEL_TRACES_SAMPLER": "of nobody", "OTEL_BSP_MAX_QUEUE_SIZE": "-5"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
    ],
)
def test_they_are_made_where_opentelemetrys_variables_name_a_collector(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_on: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    spans = open_spans("intake", is_amqp=True)
    assert spans.is_on == is_on
    spans.close()
