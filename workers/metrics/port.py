"""The port of one role: `python -m workers.metrics.port ROLE FOLDER`, which the role starts beside itself.

It answers GET and HEAD of /metrics, /live and /ready, and ends with the role. It reads files and asks servers; it tells
the role nothing, so that nothing sent to it can reach the work.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from config.release import RELEASE
from config.settings import Settings
from workers.health import Finding, check_servers, live_by, working_by
from workers.heartbeat import HEARTBEAT_VARIABLE, RESTARTS_VARIABLE
from workers.metrics.families import OF_ROLE
from workers.process_logs import log_as_process

#: So many are answered at once, and each has so long; more are hung up on.
REQUESTS_MAX = 16
REQUEST_SECONDS_MAX = 10.0
#: Whoever asks again sooner gets the same answer, so that asking costs the servers nothing.
READY_SECONDS = 2.0
_BIND_AGAIN_SECONDS, _SAID_AGAIN_SECONDS = 1.0, 60.0

log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """What is answered to a request."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Health:
    """What `loyalty health` says of the one role, as JSON."""

    def __init__(self, heartbeat: Path) -> None:
        self._heartbeats = [heartbeat]
        self._asking = threading.Lock()
        self._servers: tuple[float, list[Finding]] = (0.0, [])

    def is_live(self) -> bool:
        """Whether it gets on, or waits for what it needs."""
        return _is_well(live_by(self._heartbeats))

    def is_working(self) -> bool:
        """Whether it is alive, and an intake gets on."""
        return _is_well(working_by(self._heartbeats))

    def live(self) -> Answer:
        """The answer to /live."""
        return _health_answer(live_by(self._heartbeats))

    def ready(self) -> Answer:
        """The answer to /ready: one at a time asks the servers, the others get what it has found."""
        with self._asking:
            asked_at, servers = self._servers
            if not servers or time.monotonic() - asked_at > READY_SECONDS:
                servers = check_servers()
                self._servers = time.monotonic(), servers
        return _health_answer([*working_by(self._heartbeats), *servers])


def _is_well(findings: Sequence[Finding]) -> bool:
    return not any(found.problem for found in findings)


def _health_answer(findings: Sequence[Finding]) -> Answer:
    is_well = _is_well(findings)
    document = {"is_well": is_well, "findings": [found._asdict() for found in findings]}
    status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(status, "application/json", json.dumps(document).encode() + b"\n")


class RoleCollector(Collector):
    """What can be seen of the role from beside it."""

    def __init__(self, health: Health, role: str, restarts: int) -> None:
        self._health, self._role, self._restarts = health, role, restarts

    def collect(self) -> Iterator[Metric]:
        """Every metric of OF_ROLE."""
        found = {
            "loyalty_role_info": 1,
            "loyalty_role_live": self._health.is_live(),
            "loyalty_role_working": self._health.is_working(),
            "loyalty_role_restarts_total": self._restarts,
        }
        for family in OF_ROLE:
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = kind(family.name, family.meaning, labels=family.labels)
            metric.add_metric([self._role, RELEASE][: len(family.labels)], float(found[family.name]))
            yield metric


def own_registry(settings: Settings, role: str, folder: Path, health: Health, role_pid: int) -> CollectorRegistry:
    """All that the port of this role tells. Begins to read the database and the broker, if that is for this role."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    registry.register(RoleCollector(health, role, int(os.environ.get(RESTARTS_VARIABLE, "0"))))
    ProcessCollector(pid=lambda: role_pid, registry=registry)
    if role == "beat":
        # Imported here: it brings all that speaks to servers, which the others do not need.
        from workers.metrics.state import StateCollector, open_readers  # noqa: PLC0415

        readers = open_readers(settings)
        for reader in readers:
            reader.start()
        registry.register(StateCollector(readers))
    return registry


class PortServer(ThreadingHTTPServer):
    """A bounded number of requests at once, each for a bounded time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, answers: dict[str, Callable[[str], Answer]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.answers = answers
        self._free = threading.Semaphore(REQUESTS_MAX)
        self._since: dict[Any, float] = {}
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or hang up on one too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._since[request] = time.monotonic()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._since.pop(request, None)
            self._free.release()

    def service_actions(self) -> None:
        """Hang up on who takes too long, a byte at a time too."""
        now = time.monotonic()
        for request, since in list(self._since.items()):
            if now - since > REQUEST_SECONDS_MAX:
                try:
                    request.shutdown(socket.SHUT_RDWR)
                except OSError:  # it has gone by itself
                    continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: who asks has gone, or hung up in the middle."""


class _Handler(BaseHTTPRequestHandler):
    server: PortServer
    timeout = REQUEST_SECONDS_MAX  # of one read
    server_version, sys_version = "loyalty", ""

    def do_GET(self) -> None:  # the name that http.server looks for
        """Answer one of the three."""
        answer = self.server.answers.get(self.path.partition("?")[0], _not_found)(self.headers.get("Accept", ""))
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815  # as above

    def log_message(self, *_: Any) -> None:
        """Nothing: each request would be a line."""


def _not_found(_accept: str) -> Answer:
    return Answer(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"/metrics, /live and /ready are here\n")


def answers_of(registry: CollectorRegistry, health: Health) -> dict[str, Callable[[str], Answer]]:
    """What is answered at each path, given what the client accepts."""

    def metrics(accept: str) -> Answer:
        encode, content_type = choose_encoder(accept)
        try:
            return Answer(HTTPStatus.OK, content_type, encode(registry))
        except Exception as error:  # noqa: BLE001  # a file that cannot be read, for one: the next scrape may find it well
            log.warning("metrics_not_told", action="metrics_not_told", error=type(error).__name__)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", b"metrics cannot be read\n")

    return {"/metrics": metrics, "/live": lambda _: health.live(), "/ready": lambda _: health.ready()}


def open_server(host: str, port: int, answers: dict[str, Callable[[str], Answer]]) -> PortServer:
    """Listen; where somebody else does, say so and try again until that has ended."""
    said_at: float | None = None
    while True:
        try:
            return PortServer(host, port, answers)
        except OSError as error:
            if said_at is None or time.monotonic() - said_at > _SAID_AGAIN_SECONDS:
                said_at = time.monotonic()
                reason = error.strerror or type(error).__name__
                log.warning("metrics_port_taken", action="metrics_port_taken", address=f"{host}:{port}", reason=reason)
            time.sleep(_BIND_AGAIN_SECONDS)


def main() -> None:
    """Answer until the role ends, which is our parent."""
    role, folder, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    role_pid = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the role
    settings = Settings()
    log_as_process(settings, role)
    health = Health(Path(os.environ[HEARTBEAT_VARIABLE]))
    server = open_server(
        settings.metrics_host, port, answers_of(own_registry(settings, role, folder, health, role_pid), health)
    )
    log.info("metrics_port_open", action="metrics_port_open", address=f"{settings.metrics_host}:{port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.getppid() == role_pid:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    main()
