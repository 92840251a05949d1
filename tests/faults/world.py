"""The whole worker on servers of its own, with everything in reach that a fault needs."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self, TypeVar

import psycopg

from core.errors import ServerStartError
from tests.faults import crash_points
from tests.faults.broker import Broker, RabbitBroker, ValkeyBroker
from tests.faults.clock import Clock, build_library
from tests.faults.database import Database
from tests.faults.fault_programs import SOURCES_TEXT
from tests.faults.network import Network, Proxy
from tests.faults.processes import memory_mib_of
from tests.faults.world_roles import RoleProcess, Roles
from tests.shell import SALT
from workers.servers.folder import make_folder

#: Short, so that a stop of some seconds is longer than they are.
_SETTINGS = {
    "LOYALTY_INTAKE_IDLE_CLAIM_SECONDS": "3",
    "LOYALTY_DATABASE_STATEMENT_SECONDS_MAX": "5",
    "LOYALTY_DATABASE_IDLE_SECONDS_MAX": "4",
    "LOYALTY_DATABASE_LOCK_SECONDS_MAX": "3",
    "LOYALTY_TASK_SECONDS_MAX": "10",
}
_ROLES = (RoleProcess("intake", "intake"), RoleProcess("worker", "worker"), RoleProcess("beat", "beat"))
_START_SECONDS_MAX = 60.0
_RESTART_SECONDS_MAX = 120.0
_POLL_SECONDS = 0.05
_RETRY_SECONDS = 0.2

T = TypeVar("T")


class World:
    """The real processes on own servers: PostgreSQL, a broker, proxies between, roles under the product's Supervisor.

    `broker` is "valkey" or "rabbitmq" (RabbitMissingError at `start` where that is not installed). `settings` are
    LOYALTY_... variables of the roles; `more` are processes besides one of each role. No program is in force.
    Survives any number of faults.
    """

    def __init__(
        self,
        folder: Path,
        broker: str,
        *,
        settings: Mapping[str, str] | None = None,
        more: Sequence[RoleProcess] = (),
    ) -> None:
        self.folder = folder
        self.broker_name = broker
        self.database_url = ""  #: past every fault of the network, to who is the primary
        self.broker_url = ""  #: direct
        self.database: Database
        self.broker: Broker
        self.roles: Roles
        self.database_proxy: Proxy
        self._primary_proxy: Proxy
        self.broker_proxy: Proxy
        self.roles_clock: Clock | None = None  #: None where there is no C compiler
        self.database_clock: Clock | None = None
        # Held by a fault from breaking it to mending it: two would undo each other's.
        self.database_power, self.broker_power, self.network_weather = Lock(), Lock(), Lock()
        self._settings = {**_SETTINGS, **(settings or {})}
        self._processes = (*_ROLES, *more)
        self._endings = ExitStack()
        # A server gets a signal when the thread ends that started it: one for each, which both outlive every fault.
        self._database_starts = ThreadPoolExecutor(1, "faults-database")
        self._broker_starts = ThreadPoolExecutor(1, "faults-broker")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start servers, proxies and roles; return when every role has begun to work."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything and free what the world took (mounts included). A second call does nothing."""
        self._endings.close()

    def pids(self) -> dict[str, int]:
        """Process ids by name: a role's, and "worker-child-0" and so on; only what runs."""
        return self.roles.pids()

    def memory_mib(self) -> dict[str, float]:
        """Memory of each process of `pids`, in MiB."""
        return {name: memory_mib_of(pid) for name, pid in self.pids().items()}

    def restarts(self) -> dict[str, int]:
        """How often the supervisor started each role again."""
        return self.roles.restarts()

    def log_tail(self, lines: int = 40) -> str:
        """The last lines that each role wrote."""
        tails = []
        for name in ("supervisor", *self.roles.names):
            path = self.roles.log_folder / f"{name}.log"
            text = path.read_text(errors="replace") if path.exists() else ""
            tails.append("\n".join([f"--- {name}", *text.splitlines()[-lines:]]))
        return "\n".join(tails)

    @property
    def crash_folder(self) -> Path:
        """Where crash points are armed."""
        return self.roles.crash_folder

    def restart_database(self) -> None:
        """Start it again as an init system does: as often as it needs."""
        self._database_starts.submit(_done_patiently, self.database.restart).result()

    def lead_to_primary(self) -> None:
        """Have new connections to the database reach the primary."""
        for proxy in (self.database_proxy, self._primary_proxy):
            proxy.lead_to(self.database.port)

    def add_standby(self) -> int:
        """Give the database a standby; its port. Tries until it works: other faults may be under way."""
        return self._database_starts.submit(_done_patiently, self.database.add_standby).result()

    def restart_broker(self) -> None:
        """Start it again as an init system does: as often as it needs."""
        self._broker_starts.submit(_done_patiently, self.broker.restart).result()

    def _start(self) -> None:
        make_folder(self.folder)
        self._endings.callback(self._database_starts.shutdown)
        self._endings.callback(self._broker_starts.shutdown)
        self.broker = RabbitBroker(self.folder) if self.broker_name == "rabbitmq" else ValkeyBroker(self.folder)
        self._endings.callback(self.broker.remove)
        self.database = Database(self.folder)
        self._endings.callback(self.database.remove)
        self._make_clocks()
        database_environment = self.database_clock.environment if self.database_clock else {}
        starting = [
            self._database_starts.submit(self.database.start, database_environment),
            self._broker_starts.submit(self.broker.start),
        ]
        for each in starting:
            each.result()
        self.broker_url = self.broker.url
        network = Network()
        network.start()
        self._endings.callback(network.stop)
        self.database_proxy = network.open_proxy(self.database.port)
        self._primary_proxy = network.open_proxy(self.database.port)
        self.database_url = self.database.url_at(self._primary_proxy.port)
        self.broker_proxy = network.open_proxy(self.broker.port)
        self.roles = Roles(self.folder, self._processes, self._roles_environment())
        self._endings.callback(self.roles.close)
        self.roles.start()
        self.await_roles()

    def _make_clocks(self) -> None:
        folder = self.database.clock_folder
        library = build_library(folder)
        if library is not None:
            self.database_clock, self.roles_clock = Clock(folder, library), Clock(self.folder, library)

    def _roles_environment(self) -> Mapping[str, str]:
        return {
            **self._settings,
            **(self.roles_clock.environment if self.roles_clock else {}),
            "LOYALTY_DATA_DIR": str(self.folder),
            "LOYALTY_REFERENCE_SALT": SALT,
            "LOYALTY_SOURCES_FILE": str(self._sources_file()),
            "LOYALTY_DATABASE_URL": self.database.url_at(self.database_proxy.port),
            "LOYALTY_BROKER_URL": self.broker.url_at(self.broker_proxy.port),
        }

    def _sources_file(self) -> Path:
        path = self.folder / "sources.yaml"
        path.write_text(SOURCES_TEXT, encoding="utf-8")
        return path

    def await_roles(self) -> None:
        """Return when every role has begun to work; fail with what they wrote."""
        deadline = time.monotonic() + _START_SECONDS_MAX
        while not all(self.roles.hearts().values()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"not every role began to work: {self.roles.hearts()}\n{self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def arm(self, point: str, passing: int) -> None:
        """See `crash_points.arm`."""
        crash_points.arm(self.crash_folder, point, passing)


def _done_patiently(work: Callable[[], T]) -> T:
    deadline = time.monotonic() + _RESTART_SECONDS_MAX
    while True:
        try:
            return work()
        except (ServerStartError, RuntimeError, psycopg.OperationalError, subprocess.CalledProcessError):
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY_SECONDS)
