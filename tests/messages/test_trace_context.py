"""The trace of a message is read as W3C Trace Context says, and nothing in it ever stops a message."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.messages.inbound.celery_messages import envelope
from core.messages.inbound.reading import ReadEvent, UnreadableEvent, read_message
from core.messages.trace_context import TRACESTATE_READ_MAX, TraceContext, trace_context
from tests.factories import as_bytes, in_envelope, order
from tests.shell import LIMITS

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
OTHER = f"00-{TRACE_ID[::-1]}-{SPAN_ID}-00"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
ORDER = order("o1", event_id="e1")
STATE = "congo=t61rcWkgMzE"


def read(event: Any, trace: TraceContext | None = None) -> ReadEvent | UnreadableEvent:
    [found] = read_message(as_bytes(event), limits=LIMITS, now=NOW, trace=trace)
    return found


def traced(traceparent: object = PARENT, tracestate: object = STATE) -> dict[str, Any]:
    return {**ORDER, "traceparent": traceparent, "tracestate": tracestate}


@pytest.mark.parametrize(
    ("traceparent", "kept"),
    [
        (PARENT, PARENT),
        (PARENT[:-2] + "00", PARENT[:-2] + "00"),
        (PARENT[:-2] + "03", PARENT[:-2] + "03"),
        (f"cc-{PARENT[3:]}", PARENT),
        (f"cc-{PARENT[3:]}-what-will-be", PARENT),
        (f"01-{TRACE_ID}-{SPAN_ID}-fd", PARENT),
        (f"{PARENT}-more", None),
        (f"{PARENT}-", None),
        (f"01-{PARENT[3:]}more", None),
        (f"ff-{PARENT[3:]}", None),
        (PARENT.upper(), None),
        (f"00-{'0' * 32}-{SPAN_ID}-01", None),
        (f"00-{TRACE_ID}-{'0' * 16}-01", None),
        (f"00-{TRACE_ID}-{SPAN_ID}", None),
        (f"00-{TRACE_ID}-{SPAN_ID}-1", None),
        (f"0-{PARENT[3:]}", None),
        (f" {PARENT}", None),
        (f"{PARENT}\n", None),
        (PARENT.replace("-", "_"), None),
        (PARENT.replace("1", "\N{ARABIC-INDIC DIGIT ONE}"), None),
        ("", None),
        (None, None),
        (17, None),
        ([PARENT], None),
        ({"traceparent": PARENT}, None),
    ],
)
def test_a_traceparent_is_kept_as_the_version_that_is_known_or_not_at_all(traceparent: Any, kept: str | None) -> None:
    found = read(traced(traceparent))
    assert isinstance(found, ReadEvent)
    assert found.trace == (None if kept is None else TraceContext(kept, STATE))


@pytest.mark.parametrize(
    ("tracestate", "kept"),
    [
        (STATE, STATE),
        ("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("a=1,,\t b=2 ,", "a=1,b=2"),
        ("fw529a3039@dt=FfAAAA", "fw529a3039@dt=FfAAAA"),
        ("0a/b*c_d-e=x y", "0a/b*c_d-e=x y"),
        ("a=1,a=2", None),
        ("A=1", None),
        ("a=ü", None),
        ("a=1=2", None),
        ("a=", None),
        ("a", None),
        ("a=1,b", None),
        ("a=1\n", None),
        ("a=\x00", None),
        (f"{'k' * 257}=1", None),
        (f"a={'v' * 257}", None),
        (",".join(f"k{n}=1" for n in range(32)), ",".join(f"k{n}=1" for n in range(32))),
        (",".join(f"k{n}=1" for n in range(33)), None),
        (" ,", None),
        ("", None),
        (None, None),
        (17, None),
        ({"a": "1"}, None),
        (f"{STATE},{' ' * TRACESTATE_READ_MAX}", None),
    ],
)
def test_a_tracestate_is_kept_as_it_should_be_or_not_at_all(tracestate: Any, kept: str | None) -> None:
    found = read(traced(PARENT, tracestate))
    assert isinstance(found, ReadEvent)
    assert found.trace == TraceContext(PARENT, kept)


def test_of_a_tracestate_that_is_too_long_the_long_members_go_first_and_then_the_last() -> None:
    long, short = [f"l{n}={'v' * 200}" for n in range(2)], [f"s{n}={'v' * 61}" for n in range(8)]
    kept = trace_context(PARENT, ",".join([long[0], *short, long[1]]))
    assert kept == TraceContext(PARENT, ",".join(short[:7]))
    assert len(kept.tracestate or "") <= 512 < len(",".join(short))
    one_less = trace_context(PARENT, ",".join([long[0], *short[:4], long[1]]))
    assert one_less == TraceContext(PARENT, ",".join([long[0], *short[:4]])), "no more than must"


def test_a_tracestate_without_a_traceparent_means_nothing() -> None:
    found = read({**ORDER, "tracestate": STATE})
    assert isinstance(found, ReadEvent)
    assert found.trace is None


def test_it_says_which_trace_and_span_and_whether_that_is_sampled() -> None:
    trace = TraceContext(PARENT)
    assert (trace.trace_id, trace.span_id, trace.is_sampled) == (TRACE_ID, SPAN_ID, True)
    assert [TraceContext(f"{PARENT[:-2]}{flags}").is_sampled for flags in ("00", "02", "03", "ff")] == [
        False,
        False,
        True,
        True,
    ]


def test_an_event_is_the_same_whatever_its_trace() -> None:
    first, again = read(ORDER), read(traced())
    assert isinstance(first, ReadEvent)
    assert isinstance(again, ReadEvent)
    assert first.content_hash == again.content_hash


@pytest.mark.parametrize("name", ["traceParent", "trace_parent", "tracepaernt", "trace-state", "traceState"])
def test_what_is_nearly_called_so_is_ignored_as_any_other_attribute(name: str) -> None:
    assert isinstance(read({**ORDER, name: PARENT}), ReadEvent)


BESIDE = TraceContext(OTHER, "beside=1")


@pytest.mark.parametrize(
    ("event", "trace"),
    [
        (traced(), TraceContext(PARENT, STATE)),
        ({**ORDER, "traceparent": PARENT}, TraceContext(PARENT)),
        (ORDER, BESIDE),
        (traced("wrong"), BESIDE),
        ({"type": "order.completed", "traceparent": PARENT}, TraceContext(PARENT)),
        ("no event", BESIDE),
    ],
    ids=["both", "without its state", "beside it alone", "wrong in it", "unreadable, in it", "unreadable, beside it"],
)
def test_what_an_event_says_itself_goes_before_what_came_beside_it(event: Any, trace: TraceContext) -> None:
    assert read(event, BESIDE).trace == trace


def test_each_event_of_an_array_has_its_own_or_that_which_came_beside_all() -> None:
    found = read_message(as_bytes([traced(), ORDER]), limits=LIMITS, now=NOW, trace=BESIDE)
    assert [each.trace for each in found] == [TraceContext(PARENT, STATE), BESIDE]


HEADERS = {"task": "loyalty.submit", "traceparent": OTHER, "tracestate": "beside=1"}


@pytest.mark.parametrize(
    ("raw", "trace"),
    [
        (envelope(HEADERS, as_bytes([[ORDER], {}, {}])), BESIDE),
        (envelope(HEADERS, as_bytes([[traced()], {}, {}])), TraceContext(PARENT, STATE)),
        (envelope({**HEADERS, "traceparent": "wrong"}, as_bytes([[ORDER], {}, {}])), None),
        (envelope({**HEADERS, "task": "another.task"}, as_bytes([[ORDER], {}, {}])), BESIDE),
        (envelope(HEADERS, b"no arguments"), BESIDE),
        (in_envelope(as_bytes([[ORDER], {}, {}])), None),
    ],
    ids=["of the task", "of the event", "wrong", "of another task", "of no arguments", "none"],
)
def test_a_task_of_celery_has_it_among_its_headers(raw: bytes, trace: TraceContext | None) -> None:
    [found] = read_message(raw, limits=LIMITS, now=NOW)
    assert found.trace == trace


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=5,
)
_NEARLY = st.from_regex(r"[0-9a-f]{1,3}-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-x)?", fullmatch=True)


@given(_JSON | _NEARLY | st.just(PARENT), _JSON | st.text(alphabet="ab=,@ \t\x00ü-*/09", max_size=700))
@example(PARENT, "\ud800")
@example("\ud800", None)
def test_whatever_stands_in_it_the_order_is_taken_and_what_is_kept_can_be_stored_and_sent(
    traceparent: Any, tracestate: Any
) -> None:
    raw = json.dumps({**ORDER, "traceparent": traceparent, "tracestate": tracestate}).encode()
    [found] = read_message(raw, limits=LIMITS, now=NOW)
    if isinstance(found, UnreadableEvent):  # half a character is no JSON, wherever it stands
        assert found.reason.value == "not_json"
        return
    if found.trace is not None:
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", found.trace.traceparent)
        assert trace_context(*found.trace) == found.trace, "what is kept is kept as it is by the next one"
        kept = found.trace.tracestate
        assert kept is None or (0 < len(kept) <= 512 and kept.isascii() and kept.isprintable())
