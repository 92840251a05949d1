"""The world's PostgreSQL: can be killed, stopped, frozen, given a wrong clock, and run out of disk."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from core.store.engine import create_database_engine
from core.store.migrate import upgrade
from tests.faults.network import free_port
from tests.faults.processes import kill_all, send
from workers.child_processes import find_processes, is_alive
from workers.servers.folder import Passwords
from workers.servers.places import SHARED_ROOT, open_home, remove_home
from workers.servers.postgres import NAME, Postgres

_MOUNT_NAME = "loyalty-faults-"
_ROOMY_MIB, _SPARE_KIB = 4096, 64


class Database:
    """The embedded PostgreSQL of one data folder, its tables on a disk of their own where we may mount one.

    Start and restart it from a thread that lives as long as it shall.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        home = open_home(folder, Postgres.home_name, SHARED_ROOT)
        self.server = _WrappedPostgres(home, folder / "postgres.log", SHARED_ROOT, Passwords.load_or_make(folder))
        self.clock_folder = home.folder / "clock"  #: reached by the server's user too, and removed with the data
        self._own_folder(self.clock_folder)
        self._disk = _Disk(home.folder / "disk", (home.user.uid, home.user.gid) if home.user else None)

    @property
    def url(self) -> str:
        """Where its clients connect."""
        return self.server.url

    def url_at(self, port: int) -> str:
        """The same through another port."""
        return make_url(self.url).set(port=port).render_as_string(hide_password=False)

    @property
    def port(self) -> int:
        """The port of `url`."""
        return make_url(self.url).port or 0

    @property
    def has_own_disk(self) -> bool:
        """Whether `fill_disk` works here."""
        return self._disk.is_mounted

    def start(self, environment: Mapping[str, str]) -> None:
        """Make the cluster and our tables; `environment` is the server's."""
        self.server.wrap(environment)
        self.server.start(free_port())
        self._disk.mount()
        if self.has_own_disk:
            self._move_to_disk()
        engine = create_database_engine(self.url)
        upgrade(engine)
        engine.dispose()

    def processes(self) -> set[int]:
        """All of its processes."""
        folder = self.server.working_folder
        return find_processes(Postgres.program, folder, folder / Postgres.pid_file)

    def kill(self) -> None:
        """End all of its processes with KILL, as a loss of power would."""
        while pids := self.processes():
            kill_all(pids)

    def quit(self) -> None:
        """Have it end at once, without saving anything: PostgreSQL's immediate shutdown."""
        self.server.end(signal.SIGQUIT)

    def stop(self) -> None:
        """Have it end its sessions, save everything and stop."""
        self.server.stop()

    def restart(self) -> None:
        """Start it where it was; recovers by itself. Raises ServerStartError."""
        self.server.has_exited()  # reaps the one before
        self.server.restart()

    def freeze(self) -> None:
        """Stop all of its processes where they are, the first one first, since it makes the others."""
        send(sorted(self.processes()), signal.SIGSTOP)
        send(self.processes(), signal.SIGSTOP)

    def thaw(self) -> None:
        """Let them go on."""
        send(self.processes(), signal.SIGCONT)

    def end_sessions(self) -> bool:
        """Terminate every client's session; False if it does not answer."""
        try:
            self._administrate(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
            )
        except psycopg.OperationalError:
            return False
        return True

    def fill_disk(self) -> None:
        """Leave no room for tables to grow."""
        self._disk.shrink()

    def free_disk(self) -> None:
        """Make room again."""
        self._disk.widen()

    def remove(self) -> None:
        """Stop, and delete all data."""
        self.thaw()
        self.server.stop()
        self._disk.unmount()
        remove_home(self._folder, Postgres.home_name, SHARED_ROOT)

    def _own_folder(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)

    def _move_to_disk(self) -> None:
        self._administrate(
            f"CREATE TABLESPACE faults OWNER {NAME} LOCATION '{self._disk.folder}'",
            f"ALTER DATABASE {NAME} SET TABLESPACE faults",
        )

    def _administrate(self, *statements: str) -> None:
        with self.server._connect() as connection:  # noqa: SLF001  # as the superuser
            for statement in statements:
                connection.execute(statement.encode())


class _WrappedPostgres(Postgres):
    """Starts the server through a script that gives it an environment, which the product would not."""

    _wrapper: Path | None = None

    def wrap(self, environment: Mapping[str, str]) -> None:
        folder = self.home.folder / "wrapper"
        folder.mkdir(exist_ok=True)
        self._wrapper = folder
        script = folder / self.program
        names = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
        script.write_text(f'#!/bin/sh\n{names} exec {shlex.quote(str(self._programs / self.program))} "$@"\n')
        for path in (folder, script):
            path.chmod(0o755)

    def end(self, number: signal.Signals) -> None:
        """Signal the first process and wait for its end; nothing if it does not run."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        assert self._wrapper is not None
        programs, self._programs = self._programs, self._wrapper
        try:
            return super()._spawn()
        finally:
            self._programs = programs


class _Disk:
    """A file system in memory that only this database is on. Shrinking it to what is on it is a full disk."""

    def __init__(self, folder: Path, owner: tuple[int, int] | None) -> None:
        self.folder = folder
        self._owner = owner
        self.is_mounted = False

    def mount(self) -> None:
        _unmount_left_behind()
        self.folder.mkdir(exist_ok=True)
        source = f"{_MOUNT_NAME}{os.getpid()}"
        options = f"size={_ROOMY_MIB}m,mode=0700"
        self.is_mounted = _run("mount", "-t", "tmpfs", "-o", options, source, str(self.folder))
        if self.is_mounted and self._owner is not None:
            os.chown(self.folder, *self._owner)

    def shrink(self) -> None:
        status = os.statvfs(self.folder)
        used_kib = (status.f_blocks - status.f_bfree) * status.f_frsize // 1024
        while not self._resize(f"{used_kib + _SPARE_KIB}k"):  # refused if it has grown meanwhile
            used_kib += _SPARE_KIB

    def widen(self) -> None:
        self._resize(f"{_ROOMY_MIB}m")

    def unmount(self) -> None:
        if self.is_mounted:
            self.is_mounted = False
            _run("umount", "--lazy", str(self.folder))

    def _resize(self, size: str) -> bool:
        return _run("mount", "-o", f"remount,size={size}", str(self.folder))


def _unmount_left_behind() -> None:
    """Free the disks of earlier runs that were killed."""
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text("utf-8").splitlines():
            source, folder, *_ = line.split()
            if source.startswith(_MOUNT_NAME) and not is_alive(int(source.removeprefix(_MOUNT_NAME))):
                _run("umount", "--lazy", folder)


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
