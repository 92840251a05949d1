"""What the Python client sends belongs to the trace of who calls it, and its events say to which they belong."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from opentelemetry.trace.span import TraceState

from loyalty_client import LoyaltyClient
from loyalty_client.envelope import SentMessage
from loyalty_client.received import read_event
from tests.clients.client_messages import KEY, fulfilled
from tests.pages import ROOT
from workers.brokers.topology import EVENT_FIELD, SHOP_STREAM, SIGNATURE_FIELD

TRACE_ID, SPAN_ID = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-00000000000000000000000000000001-0000000000000002-00"


@contextmanager
def current(flags: int = 1, **state: str) -> Iterator[None]:
    """Within it a span of OpenTelemetry is current."""
    context = SpanContext(TRACE_ID, SPAN_ID, False, TraceFlags(flags), TraceState([*state.items()]))
    with use_span(NonRecordingSpan(context)):
        yield


def sent(url: str, *messages: SentMessage) -> list[Any]:
    with LoyaltyClient(url, signing_key=KEY) as client:
        client.publish(*messages)
    with redis.Redis.from_url(url) as server:
        entries: Any = server.xrange(SHOP_STREAM)
        server.delete(SHOP_STREAM)
    for _, fields in entries:
        assert fields[SIGNATURE_FIELD.encode()] == KEY.signature(fields[EVENT_FIELD.encode()]).encode()
    return [json.loads(fields[EVENT_FIELD.encode()]) for _, fields in entries]


def test_a_message_belongs_to_the_current_span(stream_broker_url: str) -> None:
    with current(congo="t61rcWkgMzE"):
        [event] = sent(stream_broker_url, fulfilled())
    assert (event["traceparent"], event["tracestate"]) == (PARENT, "congo=t61rcWkgMzE")
    with current(flags=0):
        [event] = sent(stream_broker_url, fulfilled())
    assert event["traceparent"] == f"{PARENT[:-2]}00"
    assert "tracestate" not in event


def test_one_that_says_itself_to_which_it_belongs_belongs_there(stream_broker_url: str) -> None:
    with current(congo="1"):
        [event] = sent(stream_broker_url, fulfilled().model_copy(update={"traceparent": OTHER}))
    assert event["traceparent"] == OTHER
    assert "tracestate" not in event


def test_without_a_span_it_belongs_to_none(stream_broker_url: str) -> None:
    [event] = sent(stream_broker_url, fulfilled())
    assert not event.keys() & {"traceparent", "tracestate"}


def test_without_opentelemetry_the_client_works_as_ever() -> None:
    hidden = "import sys; sys.modules['opentelemetry'] = None\n"
    works = "from loyalty_client.tracing import with_trace; import tests.clients.client_messages as m\n"
    check = "message = m.fulfilled(); assert with_trace(message) is message"
    subprocess.run(
        [sys.executable, "-c", hidden + works + check],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT}/clients/python"},
        check=True,
    )


@pytest.mark.parametrize("kind", ["loyalty.balance.changed", "of.a.later.release"])
def test_an_event_says_to_which_trace_it_belongs(kind: str) -> None:
    published = json.loads((ROOT / "core/messages/examples/published.json").read_text("utf-8"))
    event = next(each for each in published if each["type"] == "loyalty.balance.changed") | {"type": kind}
    assert read_event(json.dumps(event)).traceparent is None
    traced = read_event(json.dumps({**event, "traceparent": PARENT, "tracestate": "congo=1"}))
    assert (traced.traceparent, traced.tracestate) == (PARENT, "congo=1")
