"""Whether this role makes spans: it does where OpenTelemetry's own variables name a collector."""

import os
from collections.abc import Mapping
from typing import Final

import structlog

from tasks.spans import NO_SPANS, Spans

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"

log = structlog.get_logger(__name__)


def open_spans(role: str, *, is_amqp: bool) -> Spans:
    """Spans of this process, if they are asked for; to be opened in each child after the fork.

    Where they cannot be had, a record says why, and the work goes on without.
    """
    if not _are_asked_for(os.environ):
        return NO_SPANS
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        log.warning("spans_off", action="spans_off", reason=f"spans are sent by {_PROTOCOL} only")
        return NO_SPANS
    try:
        # Imported here: without a collector nobody loads the SDK, which need not be installed.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        from workers.tracing import open_recorded  # noqa: PLC0415
    except ImportError:
        log.warning("spans_off", action="spans_off", reason="install loyalty-worker[traces]")
        return NO_SPANS
    try:
        return open_recorded(role, OTLPSpanExporter(), is_amqp=is_amqp)
    except Exception as error:  # noqa: BLE001  # whatever stands in those variables, no role stops for it
        log.warning("spans_off", action="spans_off", reason=f"OpenTelemetry: {type(error).__name__}")
        return NO_SPANS


def _are_asked_for(environment: Mapping[str, str]) -> bool:
    is_disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporters = {name.strip() for name in environment.get("OTEL_TRACES_EXPORTER", "otlp").split(",")}
    return not is_disabled and "otlp" in exporters and any(environment.get(name) for name in _ENDPOINTS)
