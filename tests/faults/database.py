"""The world's PostgreSQL: can be killed, stopped, frozen, given a wrong clock, run out of disk, and have a standby."""

import os
import shlex
import shutil
import signal
import subprocess
import time
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
from workers.servers.places import SHARED_ROOT, as_user, open_home, remove_home
from workers.servers.postgres import NAME, SUPERUSER, Postgres
from workers.servers.server import ENVIRONMENT

_MOUNT_NAME = "loyalty-faults-"
_ROOMY_MIB, _SPARE_KIB = 4096, 64
_CATCH_UP_SECONDS_MAX, _POLL_SECONDS = 60.0, 0.05


class Database:
    """The embedded PostgreSQL of one data folder, its tables on a disk of their own where we may mount one.

    Start and restart it, and its standby, from a thread that lives as long as they shall.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._home = home = open_home(folder, Postgres.home_name, SHARED_ROOT)
        self._passwords = Passwords.load_or_make(folder)
        self.server: _WrappedPostgres = self._made(_WrappedPostgres)
        self.standby: _WrappedPostgres | None = None
        self._environment: Mapping[str, str] = {}
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
        self._environment = environment
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

    def make_read_only(self, *, for_new_sessions: bool) -> None:
        """Have it take no changes: from sessions that are opened from now on, or from all."""
        if for_new_sessions:
            self._administrate(f"ALTER DATABASE {NAME} SET default_transaction_read_only = on")
        else:
            self._administrate("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")

    def make_writable(self) -> None:
        """Have it take changes again; a session keeps what it was opened with."""
        self._administrate(
            "SET default_transaction_read_only = off",
            f"ALTER DATABASE {NAME} RESET default_transaction_read_only",
            "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
        )

    def limit_connections(self, connections_max: int) -> None:
        """Let clients have so many sessions at most, -1 for any number; those that are open stay."""
        self._administrate(f"ALTER ROLE {NAME} CONNECTION LIMIT {connections_max}")

    def add_standby(self) -> int:
        """Copy it, and start the copy as a standby that follows it; the standby's port. Another standby is dropped."""
        self.drop_standby()
        standby = self._made(_OtherPostgres if type(self.server) is _WrappedPostgres else _WrappedPostgres)
        self._remove_cluster(standby)
        command = [str(standby.programs / "pg_basebackup"), "--host=127.0.0.1", f"--port={self.port}"]
        command += [f"--username={SUPERUSER}", f"--pgdata={standby.working_folder}", "--write-recovery-conf"]
        command += ["--checkpoint=fast", "--no-sync"]
        if self.has_own_disk:
            command.append(f"--tablespace-mapping={self._disk_of(self.server)}={self._disk_of(standby)}")
        environment = {**ENVIRONMENT, "PGPASSWORD": self._passwords.superuser}
        subprocess.run(
            command, check=True, capture_output=True, env=environment, cwd=self._home.folder, **as_user(self._home.user)
        )
        standby.wrap(self._environment)
        port = free_port()
        standby.start(port)
        self.standby = standby
        return port

    def confirm_at_standby(self) -> None:
        """From now on confirm no commit that the standby has not."""
        self._administrate("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        ((before,),) = self._asked("SELECT pg_current_wal_lsn()")
        caught_up = f"SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn >= '{before}'"
        deadline = time.monotonic() + _CATCH_UP_SECONDS_MAX
        while not self._asked(caught_up):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no standby has caught up in {_CATCH_UP_SECONDS_MAX:.0f} s")
            time.sleep(_POLL_SECONDS)

    def promote_standby(self) -> None:
        """Make the standby the server, and remove what is left of the one before, which was killed."""
        assert self.standby is not None
        before, self.server, self.standby = self.server, self.standby, None
        self._administrate("SELECT pg_promote()")
        before.stop()
        self._remove_cluster(before)

    def drop_standby(self) -> None:
        """Stop the standby and remove its data; nothing without one. No commit may wait for it."""
        standby, self.standby = self.standby, None
        if standby is not None:
            standby.stop()
            self._remove_cluster(standby)

    def fill_disk(self) -> None:
        """Leave no room for tables to grow."""
        self._disk.shrink()

    def free_disk(self) -> None:
        """Make room again."""
        self._disk.widen()

    def remove(self) -> None:
        """Stop, and delete all data."""
        self.thaw()
        self.drop_standby()
        self.server.stop()
        self._disk.unmount()
        remove_home(self._folder, Postgres.home_name, SHARED_ROOT)

    def _own_folder(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)

    def _move_to_disk(self) -> None:
        self._disk.make_folder(self._disk_of(self.server))
        self._administrate(
            f"CREATE TABLESPACE faults OWNER {NAME} LOCATION '{self._disk_of(self.server)}'",
            f"ALTER DATABASE {NAME} SET TABLESPACE faults",
        )

    def _made(self, kind: "type[_WrappedPostgres]") -> "_WrappedPostgres":
        return kind(self._home, self._folder / f"{kind.working_folder_name}.log", SHARED_ROOT, self._passwords)

    def _disk_of(self, server: "_WrappedPostgres") -> Path:
        return self._disk.folder / server.working_folder_name

    def _remove_cluster(self, server: "_WrappedPostgres") -> None:
        for folder in (server.working_folder, self._disk_of(server)):
            shutil.rmtree(folder, ignore_errors=True)

    def _administrate(self, *statements: str) -> None:
        with self.server._connect() as connection:  # noqa: SLF001  # as the superuser
            for statement in statements:
                connection.execute(statement.encode())

    def _asked(self, statement: str) -> list[tuple[object, ...]]:
        with self.server._connect() as connection:  # noqa: SLF001  # as the superuser
            return connection.execute(statement.encode()).fetchall()


class _WrappedPostgres(Postgres):
    """Starts the server through a script that gives it an environment, which the product would not."""

    _wrapper: Path | None = None

    @property
    def programs(self) -> Path:
        """The folder of PostgreSQL's programs."""
        return self._programs

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


class _OtherPostgres(_WrappedPostgres):
    """The same in another folder beside it: a standby and its primary take turns in the two."""

    working_folder_name = "other-cluster"


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

    def make_folder(self, folder: Path) -> None:
        """Make a folder on it that the server's user owns."""
        folder.mkdir(mode=0o700)
        if self._owner is not None:
            os.chown(folder, *self._owner)

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
