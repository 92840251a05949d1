"""The world's broker: the embedded Valkey or a RabbitMQ node of its own, each with what can go wrong with it."""

import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import kombu
import redis
from sqlalchemy import make_url

from config.queues import PERIODIC, POSTING, RELAY
from tests.faults.network import free_port
from tests.faults.processes import kill_all, send
from tests.faults.rabbit_node import RabbitNode
from workers.child_processes import find_processes
from workers.servers.folder import Passwords
from workers.servers.places import SHARED_ROOT, open_home, remove_home
from workers.servers.valkey import Valkey

_NUDGE_QUEUES = (POSTING, RELAY, PERIODIC)  # not loyalty.submit, whose messages are no nudges
_MEMORY_SHARE = 0.4


class Broker(ABC):
    """Start and restart it from a thread that lives as long as it shall."""

    url: str  #: where its clients connect, once it was started
    port: int

    @abstractmethod
    def url_at(self, port: int) -> str:
        """The same through another port."""

    @abstractmethod
    def start(self) -> None:
        """Start it for the first time."""

    @abstractmethod
    def restart(self) -> None:
        """Start it where it was."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it in order; the data stay."""

    @abstractmethod
    def kill(self) -> None:
        """End it with KILL."""

    @abstractmethod
    def processes(self) -> set[int]:
        """Its processes."""

    @abstractmethod
    def close_connections(self) -> bool:
        """Have the server close every client's connection; False if it does not answer."""

    @abstractmethod
    def limit_memory(self) -> bool:
        """Have it take nothing more; False if it does not answer."""

    @abstractmethod
    def free_memory(self) -> bool:
        """Have it take everything again; False if it does not answer."""

    @abstractmethod
    def lose_nudges(self) -> bool:
        """Delete what waits in Celery's queues; False if it does not answer."""

    @abstractmethod
    def remove(self) -> None:
        """Stop, and delete all data."""

    def freeze(self) -> None:
        """Stop it where it is."""
        send(self.processes(), signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        send(self.processes(), signal.SIGCONT)


class ValkeyBroker(Broker):
    """The embedded Valkey, with the settings of the product."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        home = open_home(folder, Valkey.home_name, SHARED_ROOT)
        self._server = Valkey(home, folder / "valkey.log", SHARED_ROOT, Passwords.load_or_make(folder))

    @property
    def url(self) -> str:  # type: ignore[override]
        return self._server.url

    @property
    def port(self) -> int:  # type: ignore[override]
        return make_url(self.url).port or 0

    def url_at(self, port: int) -> str:
        return make_url(self.url).set(port=port).render_as_string(hide_password=False)

    def start(self) -> None:
        self._server.start(free_port())

    def restart(self) -> None:
        self._server.has_exited()  # reaps the one before
        self._server.restart()

    def stop(self) -> None:
        self._server.stop()

    def kill(self) -> None:
        while pids := self.processes():
            kill_all(pids)

    def processes(self) -> set[int]:
        folder = self._server.working_folder
        return find_processes(Valkey.program, folder, folder / Valkey.pid_file)

    def close_connections(self) -> bool:
        return self._command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def limit_memory(self) -> bool:
        return self._command("CONFIG", "SET", "maxmemory", "1mb")

    def free_memory(self) -> bool:
        return self._command("CONFIG", "SET", "maxmemory", "0")

    def lose_nudges(self) -> bool:
        return self._command("DEL", *_NUDGE_QUEUES, "loyalty.unacked", "loyalty.unacked_index")

    def remove(self) -> None:
        self.thaw()
        self.stop()
        remove_home(self._folder, Valkey.home_name, SHARED_ROOT)

    def _command(self, *words: str) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2, retry=None) as client:
                client.execute_command(*words)
        except redis.RedisError:
            return False
        return True


class RabbitBroker(Broker):
    """A node of our own. Raises RabbitMissingError where RabbitMQ is not installed."""

    def __init__(self, folder: Path) -> None:
        (folder / "rabbitmq").mkdir()
        self._node = RabbitNode(folder / "rabbitmq")
        self.url, self.port = self._node.url, self._node.port

    def url_at(self, port: int) -> str:
        return self._node.url_at(port)

    def start(self) -> None:
        self._node.start()

    def restart(self) -> None:
        self._node.start()

    def stop(self) -> None:
        self._node.stop()

    def kill(self) -> None:
        self._node.kill()

    def processes(self) -> set[int]:
        return self._node.processes()

    def close_connections(self) -> bool:
        return self._node.control("close_all_connections", "the fault test closes them")

    def limit_memory(self) -> bool:
        return self._node.control("set_vm_memory_high_watermark", "absolute", "1")

    def free_memory(self) -> bool:
        return self._node.control("set_vm_memory_high_watermark", str(_MEMORY_SHARE))

    def lose_nudges(self) -> bool:
        try:
            with kombu.Connection(self.url, connect_timeout=2) as connection:
                channel: Any = connection.channel()
                for name in _NUDGE_QUEUES:
                    channel.queue_purge(name)
        except (*connection.connection_errors, *connection.channel_errors):
            return False
        return True

    def remove(self) -> None:
        self.thaw()
        self._node.close()
