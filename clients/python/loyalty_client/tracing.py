"""The trace that messages belong to, where OpenTelemetry is installed and a span is current."""

from typing import Any, TypeVar

from loyalty_client.envelope import SentMessage

#: OpenTelemetry, which this package does not need.
_telemetry: Any
try:
    from opentelemetry import trace as _telemetry
except ImportError:
    _telemetry = None

Sent = TypeVar("Sent", bound=SentMessage)


def with_trace(message: Sent) -> Sent:
    """Let the message belong to the trace of the current span, unless it says itself to which it belongs."""
    if _telemetry is None or message.traceparent is not None:
        return message
    span = _telemetry.get_current_span().get_span_context()
    if not span.is_valid:
        return message
    ids = f"{_telemetry.format_trace_id(span.trace_id)}-{_telemetry.format_span_id(span.span_id)}"
    state = span.trace_state.to_header() or None
    trace = {"traceparent": f"00-{ids}-{span.trace_flags:02x}", "tracestate": state}
    return message.model_copy(update=trace)
