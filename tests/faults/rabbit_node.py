"""A RabbitMQ node of our own, started from the installed programs: own name, ports, data and port mapper."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.network import free_port
from tests.faults.processes import kill_all
from workers.child_processes import die_with_parent, end_child

_PROGRAM_FOLDERS = "/usr/lib/rabbitmq/bin:/opt/rabbitmq/sbin:/usr/local/sbin:/usr/sbin"
_READY_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.05
_STOP_LADDER = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))


class RabbitMissingError(Exception):
    """RabbitMQ is not installed here: no program rabbitmq-server was found."""


class RabbitNode:
    """One node. `folder` is new and ours alone. Runs as we do, without plugins, on 127.0.0.1 only.

    `configuration`: lines for its rabbitmq.conf.
    """

    def __init__(self, folder: Path, configuration: Sequence[str] = ()) -> None:
        programs = f"{_PROGRAM_FOLDERS}:{os.environ.get('PATH', os.defpath)}"
        server, control = shutil.which("rabbitmq-server", path=programs), shutil.which("rabbitmqctl", path=programs)
        if server is None or control is None:
            raise RabbitMissingError(RabbitMissingError.__doc__)
        self._server, self._control, self._folder = server, control, folder
        self._configuration = configuration
        self._port, self._distribution_port, self._mapper_port = (free_port() for _ in range(3))
        self._mapper: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return self.url_at(self._port)

    @property
    def port(self) -> int:
        """The port of `url`."""
        return self._port

    @staticmethod
    def url_at(port: int) -> str:
        """The same through another port."""
        return f"amqp://guest:guest@127.0.0.1:{port}//"

    def processes(self) -> set[int]:
        """Its process, if it runs."""
        return {self._process.pid} if self._process is not None and self._process.poll() is None else set()

    def start(self) -> None:
        """Start it, also after it was stopped or killed, and wait until it takes connections."""
        if self._mapper is None:
            self._write_files()
            self._mapper = self._spawn(["epmd", "-address", "127.0.0.1", "-port", str(self._mapper_port)])
        self._process = self._spawn([self._server])
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                kill_all(self.processes())
                raise RuntimeError(f"the RabbitMQ node does not start: {self.log_tail()}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stop it in order; the data stay."""
        process, self._process = self._process, None
        if process is not None:
            end_child(process, _STOP_LADDER)

    def close(self) -> None:
        """Stop the port mapper too."""
        self.stop()
        mapper, self._mapper = self._mapper, None
        if mapper is not None:
            end_child(mapper, _STOP_LADDER)

    def kill(self) -> None:
        """End it with KILL, as a loss of power would end it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def control(self, *arguments: str) -> bool:
        """Run rabbitmqctl; say whether it did what was asked."""
        return self._run_control(*arguments).returncode == 0

    def told(self, *arguments: str) -> list[str]:
        """Run rabbitmqctl; the lines that it prints, sorted."""
        done = self._run_control(*arguments)
        assert done.returncode == 0, done.stderr
        return sorted(done.stdout.splitlines())

    def _run_control(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [self._control, "--quiet", "--node", self._name, *arguments]
        return subprocess.run(
            command, env=self._environment(), cwd=self._folder, capture_output=True, text=True, check=False
        )

    def log_tail(self) -> str:
        """The last that it wrote."""
        return "\n".join((self._folder / "node.log").read_text(errors="replace").splitlines()[-15:])

    @property
    def _name(self) -> str:
        return f"loyalty-faults-{os.getpid()}-{self._port}@localhost"

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / "node.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=self._environment(),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - one system call, no lock
            )

    def _write_files(self) -> None:
        cookie = self._folder / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        (self._folder / "environment").touch()
        (self._folder / "plugins").write_text("[].\n")
        listener = f"listeners.tcp.local = 127.0.0.1:{self._port}"
        # Logs to standard output, which is our file; and no check of the clock's or the disk's size.
        lines = [listener, "log.file = false", "log.console = true", *self._configuration]
        (self._folder / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in lines))

    def _environment(self) -> Mapping[str, str]:
        folder = self._folder
        return {
            "PATH": f"{Path(self._server).parent}:{os.environ.get('PATH', os.defpath)}",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "environment"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "node.pid"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_PLUGINS_EXPAND_DIR": str(folder / "expanded"),
            "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "feature_flags"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the node, instead of waiting for it
        }

    def _answers(self) -> bool:
        with socket.socket() as client:
            client.settimeout(1)
            return client.connect_ex(("127.0.0.1", self._port)) == 0
