"""One trace from the shop to the notification, through the real processes and a collector of OpenTelemetry."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import kombu
import pytest
import redis
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from loyalty_client import LoyaltyClient
from loyalty_client.facts import OrderCompleted
from tests.acceptance.conftest import BROKERS, started
from tests.acceptance.whole_worker import WholeWorker, wait_until
from tests.factories import as_bytes, order
from tests.otlp import CollectedSpan, Collector, collector
from workers.brokers.topology import EVENT_EXCHANGE, EVENT_STREAM

pytestmark = pytest.mark.slow

CUSTOMER = "C-7701-jane"
QUEUE = "test.traced"


class Traced(NamedTuple):
    worker: WholeWorker
    collector: Collector


@pytest.fixture(scope="module", params=BROKERS)
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    with collector() as found:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": found.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_SERVICE_NAME": "points",
        }
        with started(request, tmp_path_factory.mktemp("traced"), variables) as whole:
            if whole.broker_url.startswith("amqp"):
                with kombu.Connection(whole.broker_url) as connection:
                    exchange = kombu.Exchange(EVENT_EXCHANGE, type="topic", durable=True)
                    kombu.Queue(QUEUE, exchange, routing_key="#", expires=600)(connection.channel()).declare()
            wait_until(lambda: bool(whole.log_lines("intake_connected")), whole.log)
            yield Traced(whole, found)


def published(url: str) -> list[tuple[dict[str, Any], dict[str, str]]]:
    """Every event so far, with what stands beside it, as a consumer with OpenTelemetry reads both."""
    found = []
    if url.startswith("amqp"):
        with kombu.Connection(url) as connection:
            queue = kombu.Queue(QUEUE, durable=True, no_declare=True)(connection.channel())
            while (message := queue.get(no_ack=True)) is not None:
                found.append((json.loads(message.body), dict(message.headers)))
        return found
    with redis.Redis.from_url(url, decode_responses=True) as client:
        entries: Any = client.xrange(EVENT_STREAM)
    return [(json.loads(fields.pop("event")), fields) for _, fields in entries]


def as_sent(event: dict[str, Any]) -> OrderCompleted:
    return OrderCompleted.model_validate_json(json.dumps(event))


def test_a_shop_sees_its_order_through_to_the_notification(traced: Traced) -> None:
    worker, collected = traced
    before, _ = worker.inbox()
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("shop")
    with tracer.start_as_current_span("checkout") as shop, LoyaltyClient(worker.broker_url) as client:
        client.publish(as_sent(order("traced-1", "600.00", customer_id="c-1")))
    checkout = shop.get_span_context()
    trace_id, span_id = trace.format_trace_id(checkout.trace_id), trace.format_span_id(checkout.span_id)
    worker.wait_through(before + 1)
    # Each role sends its spans when it has time.
    wait_until(lambda: len(collected.named("publish", trace_id)) == 3, lambda: collected.spans)
    wait_until(lambda: len(collected.named("store", trace_id)) == 1, lambda: collected.spans)

    own = [each for each in collected.spans if each.trace_id == trace_id]
    assert {each.name.split()[0] for each in own} == {"store", "process", "publish"}
    assert {each.parent_id for each in own} == {span_id}, "each stands under the shop's span"
    assert {each.resource["service.name"] for each in own} == {"points"}

    events = [
        each for each in published(worker.broker_url) if each[0].get("traceparent", "").startswith(f"00-{trace_id}")
    ]
    assert len(events) == 3
    for event, beside in events:
        assert event["traceparent"] == f"00-{trace_id}-{span_id}-{checkout.trace_flags:02x}", "it says where it began"
        consumer = trace.get_current_span(TraceContextTextMapPropagator().extract(beside)).get_span_context()
        assert trace.format_trace_id(consumer.trace_id) == trace_id
        assert trace.format_span_id(consumer.span_id) in {each.span_id for each in collected.named("publish")}
        assert consumer.trace_flags.sampled

    def linked() -> dict[str, CollectedSpan]:
        return {each.name.split()[0]: each for each in collected.spans if (trace_id, span_id) in each.links}

    wait_until(lambda: linked().keys() >= {"receive", "post", "send"}, lambda: collected.spans)
    batches = linked()
    assert len(batches) == 3, "each batch is linked to what was in it"
    for batch in batches.values():
        assert batch.trace_id != trace_id
    for each in own:
        assert each.links[0][1] in {batch.span_id for batch in collected.spans}, "and the other way round"

    records = [worker.log_lines(name)[-1] for name in ("messages_received", "inbox_posted")]
    assert [record["trace_id"] for record in records] == [batches["receive"].trace_id, batches["post"].trace_id]
    assert batches["send"].trace_id == batches["post"].trace_id


def test_what_its_sender_does_not_sample_has_no_spans_and_goes_on_as_it_came(traced: Traced) -> None:
    worker, collected = traced
    unsampled = f"00-{'ab' * 16}-{'cd' * 8}-00"
    before, _ = worker.inbox()
    worker.publish(as_bytes({**order("traced-2", customer_id="c-2"), "traceparent": unsampled}))
    worker.publish(as_bytes(order("traced-3", customer_id="c-3")))
    worker.wait_through(before + 2)
    events = {
        each["data"]["order_id"]: (each, beside)
        for each, beside in published(worker.broker_url)
        if "order_id" in each["data"]
    }
    assert events["traced-2"][0]["traceparent"] == events["traced-2"][1]["traceparent"] == unsampled
    assert "traceparent" not in events["traced-3"][1]
    assert collected.named("", "ab" * 16) == []


def test_no_span_names_a_customer_an_account_or_an_order(traced: Traced) -> None:
    worker, collected = traced
    before, _ = worker.inbox()
    event = order("traced-4", customer_id=CUSTOMER)
    worker.publish(as_bytes({**event, "traceparent": f"00-{'12' * 16}-{'cd' * 8}-01"}))
    worker.wait_through(before + 1)
    wait_until(lambda: collected.named("publish", "12" * 16) != [], lambda: collected.spans)
    accounts = [str(row.account_id) for row in worker.rows("SELECT account_id FROM accounts")]
    assert collected.spans
    told = repr([(each.name, each.attributes) for each in collected.spans])
    assert [text for text in (CUSTOMER, "traced-", "completed-", *accounts) if text in told] == []


def test_a_collector_that_is_away_holds_nothing_up_and_is_told_of_once(traced: Traced) -> None:
    worker, collected = traced
    collected.refuses = True
    before, _ = worker.inbox()
    for number in range(5):
        event = order(f"away-{number}", customer_id="c-4")
        worker.publish(as_bytes({**event, "traceparent": f"00-{number + 1:032x}-{'cd' * 8}-01"}))
        worker.wait_through(before + number + 1)
    wait_until(lambda: len(worker.log_lines("spans_lost")) >= 2, worker.log)
    counts: dict[int, int] = {}
    for record in worker.log_lines("spans_lost"):
        counts[record["pid"]] = counts.get(record["pid"], 0) + 1
    assert set(counts.values()) == {1}
    collected.refuses = False
    worker.publish(as_bytes({**order("back", customer_id="c-4"), "traceparent": f"00-{'ef' * 16}-{'cd' * 8}-01"}))
    worker.wait_through(before + 6)
    wait_until(lambda: len(collected.named("publish", "ef" * 16)) == 1, lambda: collected.spans[-5:])
