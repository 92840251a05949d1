"""A collector of OpenTelemetry on loopback: it keeps the spans that come, and says so, or refuses them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class CollectedSpan(NamedTuple):
    """A span as it came."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    is_error: bool
    resource: dict[str, Any]


class Collector:
    """What came so far."""

    def __init__(self) -> None:
        self.spans: list[CollectedSpan] = []
        self.refuses = False
        self.url = ""

    def named(self, start: str, trace_id: str | None = None) -> list[CollectedSpan]:
        return [each for each in self.spans if each.name.startswith(start) and trace_id in {None, each.trace_id}]

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for group in request.resource_spans:
            resource = _values(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [_collected(span, resource) for span in scope.spans]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def _collected(span: Any, resource: dict[str, Any]) -> CollectedSpan:
    links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    return CollectedSpan(span.name, *ids, span.kind, _values(span.attributes), links, span.status.code == 2, resource)


@contextmanager
def collector() -> Iterator[Collector]:
    """One that listens as long as the block lasts."""
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not found.refuses:
                found.take(body)
            self.send_response(400 if found.refuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield found
        finally:
            server.shutdown()
