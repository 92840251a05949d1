"""PostgreSQL and Valkey from wheels, for `loyalty demo`, `loyalty up` and tests: no installation, no root needed.

They run as our own children on 127.0.0.1, with random passwords and durable settings, and keep their data in one
folder between runs. When we die, however that happens, they stop too.
"""

import shutil
import socket
from pathlib import Path
from types import TracebackType

import structlog

from core.errors import DataFolderUnusableError, ServerStartError
from workers.servers.folder import (
    FolderLock,
    Passwords,
    ServerAddresses,
    ServerRecord,
    is_wholly_ours,
    make_folder,
    remove_own_files,
)
from workers.servers.places import SHARED_ROOT, find_home, open_home, place_of, remove_home
from workers.servers.postgres import Postgres
from workers.servers.server import Server, stop_left_behind
from workers.servers.valkey import Valkey

_PORT_TRIES = 3
_KINDS: tuple[type[Server], ...] = (Postgres, Valkey)

_log = structlog.get_logger(__name__)


class EmbeddedServers:
    """The embedded servers of one data folder; `with` starts them, gives their addresses, and stops them.

    Start them from a thread that lives as long as they shall (see `die_with_parent`). `shared_root` is where programs
    and data go that the servers' user could not reach otherwise, which happens to root only.
    """

    def __init__(
        self, folder: Path, *, postgres: bool = True, valkey: bool = True, shared_root: Path = SHARED_ROOT
    ) -> None:
        self._folder = folder.absolute()
        self._kinds = [kind for kind, wanted in ((Postgres, postgres), (Valkey, valkey)) if wanted]
        self._shared_root = shared_root
        self._locks: list[FolderLock] = []
        self._servers: list[Server] = []
        self._addresses: ServerAddresses | None = None

    def __enter__(self) -> ServerAddresses:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> ServerAddresses:
        """Start the servers and wait until they answer. A second call returns the same addresses.

        Raises DataFolderInUseError if another process uses the folder, DataFolderUnusableError if it cannot be used,
        EmbeddedServersMissingError if the wheels are not installed, ServerStartError if a server does not start; no
        server of ours runs then.
        """
        if self._addresses is None:
            try:
                self._addresses = self._start()
            except OSError as error:
                self.stop()
                raise DataFolderUnusableError(folder=self._folder, reason=str(error)) from error
            except BaseException:
                self.stop()
                raise
        return self._addresses

    def stop(self) -> None:
        """Stop the servers, the broker first, and let others use the folder. A second call does nothing."""
        while self._servers:
            self._servers.pop().stop()
        if self._addresses is not None:
            self._addresses = None
            ServerRecord(ServerRecord.load(self._folder).ports).save(self._folder)
        while self._locks:
            self._locks.pop().release()

    def revive(self) -> tuple[str, ...]:
        """Start again, on its port, each server that has exited by itself; return their names.

        Raises ServerStartError if one does not start.
        """
        exited = [server for server in self._servers if server.has_exited()]
        for server in exited:
            _log.error("server_exited", server=server.name)
            server.restart()
        return tuple(server.name for server in exited)

    @property
    def addresses(self) -> ServerAddresses | None:
        """Where the servers answer; None while they are stopped."""
        return self._addresses

    def _start(self) -> ServerAddresses:
        make_folder(self._folder)
        self._lock(self._folder)
        record = ServerRecord(ServerRecord.load(self._folder).ports)
        record.save(self._folder)  # not running: an earlier run may have been killed
        passwords = Passwords.load_or_make(self._folder)
        homes = {kind: open_home(self._folder, kind.home_name, self._shared_root) for kind in self._kinds}
        for place in sorted({place for home in homes.values() if (place := place_of(home.folder, self._shared_root))}):
            self._lock(place)  # a copy of the data folder links to the same data
        urls: dict[str, str] = {}
        for kind, home in homes.items():
            server = kind(home, self._folder / f"{kind.home_name}.log", self._shared_root, passwords)
            self._servers.append(server)
            port = _start_on_free_port(server, record.ports.get(kind.home_name))
            record.ports[kind.home_name] = port
            urls[kind.home_name] = server.url
        record.running = True
        record.database_url, record.broker_url = urls.get(Postgres.home_name), urls.get(Valkey.home_name)
        record.save(self._folder)
        return ServerAddresses(record.database_url, record.broker_url)

    def _lock(self, folder: Path) -> None:
        lock = FolderLock(folder)
        lock.take()
        self._locks.append(lock)


def remove_data(folder: Path, *, shared_root: Path = SHARED_ROOT) -> None:
    """Delete a data folder with all data, also those that its links lead to below `shared_root`, for a fresh start.

    A folder that held other files when the servers first used it keeps those. One that does not exist is fine. Raises
    DataFolderInUseError while another process uses it, DataFolderUnusableError when it is no folder of ours.
    """
    folder = folder.absolute()
    if not folder.exists():
        return
    lock = FolderLock(folder)
    try:
        lock.take()
    except OSError as error:
        raise DataFolderUnusableError(folder=folder, reason=str(error)) from error
    try:
        for kind in _KINDS:
            home = find_home(folder, kind.home_name)
            if home is not None:
                stop_left_behind(kind, home)
            remove_home(folder, kind.home_name, shared_root)
        if is_wholly_ours(folder):
            shutil.rmtree(folder)
        else:
            remove_own_files(folder, *(f"{kind.home_name}.log" for kind in _KINDS))
    finally:
        lock.release()


def _start_on_free_port(server: Server, port: int | None) -> int:
    """Start a server on `port` if that is free, else on another; return which."""
    server.stop_left_behind()  # it may still hold the port
    for tries_left in reversed(range(_PORT_TRIES)):
        port = port if port is not None and _is_free(port) else _free_port()
        try:
            server.start(port)
        except ServerStartError:
            if not tries_left or _is_free(port):  # so the port was not the cause
                raise
        else:
            return port
    raise AssertionError("the last try returns or raises")


def _is_free(port: int) -> bool:
    with socket.socket() as candidate:
        # As the servers do: connections of the last run that linger in TIME_WAIT do not take the port.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as candidate:
        candidate.bind(("127.0.0.1", 0))
        port: int = candidate.getsockname()[1]
    return port
