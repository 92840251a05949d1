"""The data folder of the embedded servers: who uses it, its passwords, and where its servers answer."""

import fcntl
import json
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from core.errors import DataFolderInUseError, DataFolderUnusableError
from workers.child_processes import read_pid

LOCK_NAME = "lock"
_PASSWORDS_NAME = "passwords.json"
_RECORD_NAME = "servers.json"
_MARKER_NAME = ".gitignore"
_MARKER_TEXT = "# Data and passwords of the loyalty worker's embedded servers: not for version control.\n*\n"
_LOCK_TRIES = 10
_LOCK_PAUSE_SECONDS = 0.05


class FolderLock:
    """Exclusive use of a folder, which ends with the process at the latest. The file holds the user's process id."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take it. Raises DataFolderInUseError if somebody has it."""
        path = self._folder / LOCK_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        # flock, not lockf: its lock is of the open file, so that nothing else in this process can drop it by closing.
        for _ in range(_LOCK_TRIES):  # a reader's look at the lock holds it for a moment
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_LOCK_PAUSE_SECONDS)
        else:
            os.close(descriptor)
            raise DataFolderInUseError(pid=read_pid(path), folder=self._folder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Give it back. The file stays: deleting it would let two take it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Say whether somebody uses a folder now."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@dataclass(frozen=True)
class Passwords:
    """The passwords of one data folder, made once, of letters that need no quoting in a URL or a settings file."""

    superuser: str
    loyalty: str
    valkey: str

    @classmethod
    def load_or_make(cls, folder: Path) -> Self:
        """Read them, or make them and write them down before any server can know them."""
        known = _read(folder / _PASSWORDS_NAME)
        if not known:
            known = {name: secrets.token_urlsafe(24) for name in ("superuser", "loyalty", "valkey")}
            _write(folder / _PASSWORDS_NAME, known)
        return cls(**known)


@dataclass(frozen=True)
class ServerAddresses:
    """Where the embedded servers answer, passwords included; None for one that was not asked for."""

    database_url: str | None
    broker_url: str | None


@dataclass
class ServerRecord:
    """What `servers.json` says: the ports, kept between runs, and the URLs while the servers run."""

    ports: dict[str, int] = field(default_factory=dict)
    running: bool = False
    database_url: str | None = None
    broker_url: str | None = None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it; an empty one if there is none."""
        return cls(**_read(folder / _RECORD_NAME))

    def save(self, folder: Path) -> None:
        """Write it, so that a reader finds the old or the new one as a whole."""
        _write(folder / _RECORD_NAME, vars(self))


def read_addresses(folder: Path) -> ServerAddresses | None:
    """Return where the servers of a data folder answer, None unless a process runs them now.

    Raises DataFolderUnusableError when the folder is another user's, or no folder.
    """
    try:
        if not is_locked(folder):
            return None
        record = ServerRecord.load(folder)
    except OSError as error:
        raise DataFolderUnusableError(folder=folder, reason=str(error)) from error
    return ServerAddresses(record.database_url, record.broker_url) if record.running else None


def make_folder(folder: Path) -> None:
    """Make the data folder; mark it as wholly ours if it is new or empty."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        (folder / _MARKER_NAME).write_text(_MARKER_TEXT, encoding="utf-8")


def is_wholly_ours(folder: Path) -> bool:
    """Say whether the folder was new or empty when we first used it, so that all that is in it came from us."""
    try:
        return (folder / _MARKER_NAME).read_text(encoding="utf-8") == _MARKER_TEXT
    except OSError:
        return False


def remove_own_files(folder: Path, *names: str) -> None:
    """Delete the files of this module, and those named."""
    for name in (_RECORD_NAME, _PASSWORDS_NAME, LOCK_NAME, *names):
        (folder / name).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
