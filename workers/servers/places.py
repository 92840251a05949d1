"""Who runs an embedded server and where its data are.

Usually: we do, in the data folder. PostgreSQL refuses to run as root, so for root the servers run as `nobody`, and
their data must be where `nobody` can go. A folder below /root is not; opening it up is not ours to do, so the data
then are in a place of their own below `SHARED_ROOT`, and the data folder holds a symbolic link to it.
"""

import hashlib
import itertools
import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import structlog

from core.errors import DataFolderUnusableError
from workers.servers.folder import LOCK_NAME

SHARED_ROOT = Path("/var/lib/loyalty-embedded")
_NOBODY = "nobody"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ServerUser:
    """The user that runs a server when we are root."""

    uid: int
    gid: int


class _PopenUser(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Home:
    """The folder of one server's data, and who runs the server; `user` is None when we do."""

    folder: Path
    user: ServerUser | None


def as_user(user: ServerUser | None) -> _PopenUser:
    """Return the arguments that make Popen run a program as `user`, without any of our groups."""
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}


def open_home(data_folder: Path, server: str, shared_root: Path) -> Home:
    """Find the home of a server, or make it: `<data_folder>/<server>`, or what this is a link to.

    Raises DataFolderUnusableError when a link leads nowhere or the server's user cannot get there: making a new, empty
    home instead would look like lost points.
    """
    path = data_folder / server
    if path.is_symlink() and not path.exists():
        raise DataFolderUnusableError(
            folder=data_folder, reason=f"{path} is a link to {path.readlink()}, which is gone"
        )
    if path.exists():
        home = Home(path.resolve(), _owner(path))
        if home.user is not None and not can_enter(home.folder, home.user):
            reason = f"{home.folder} cannot be reached by user {home.user.uid}, who owns it and has to run {server}"
            raise DataFolderUnusableError(folder=data_folder, reason=reason)
        return home
    user = _nobody(data_folder) if os.geteuid() == 0 else None
    if user is None or can_enter(data_folder, user):
        return Home(_make(path, user), user)
    target = _make(_place(data_folder, shared_root) / server, user)
    path.symlink_to(target)
    _log.info("server_data_elsewhere", server=server, link=str(path), folder=str(target))
    return Home(target, user)


def find_home(data_folder: Path, server: str) -> Path | None:
    """Return the folder of a server's data if there is one, without making it."""
    path = data_folder / server
    return path.resolve() if path.is_dir() else None


def remove_home(data_folder: Path, server: str, shared_root: Path) -> None:
    """Delete a server's data. What a link leads to is deleted only where `open_home` put it."""
    path = data_folder / server
    if path.is_symlink():
        target = path.resolve()
        place = place_of(target, shared_root)
        path.unlink()
        if place is not None and target.exists():
            shutil.rmtree(target)
            if {entry.name for entry in place.iterdir()} <= {LOCK_NAME}:
                shutil.rmtree(place)
    elif path.exists():
        shutil.rmtree(path)


def place_of(home: Path, shared_root: Path) -> Path | None:
    """Return the place below `shared_root` that a home is in, None for a home elsewhere."""
    return home.parent if home.parent.parent == shared_root.resolve() else None


def can_enter(folder: Path, user: ServerUser) -> bool:
    """Say whether `user` can reach what is in `folder`: asked of the system, since parents, groups and ACLs count."""
    asked = subprocess.run(["/bin/sh", "-c", 'test -x "$1"', "sh", folder], **as_user(user), cwd="/", check=False)  # noqa: S603
    return asked.returncode == 0


def make_shared(folder: Path) -> Path:
    """Make a folder that every user can enter, whatever our umask; its parent too, if it is missing."""
    for path in (folder.parent, folder):
        with suppress(FileExistsError):  # another process may make the parent at the same moment
            path.mkdir(parents=True)
            path.chmod(0o755)
    return folder


def _make(folder: Path, user: ServerUser | None) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    if user is not None:
        os.chown(folder, user.uid, user.gid)
    return folder


def _owner(path: Path) -> ServerUser | None:
    """Return who must run a server on data that exist: their owner, when we are root."""
    if os.geteuid() != 0:
        return None
    status = path.stat()
    return ServerUser(status.st_uid, status.st_gid)


def _nobody(data_folder: Path) -> ServerUser:
    try:
        entry = pwd.getpwnam(_NOBODY)
    except KeyError:
        reason = f"PostgreSQL does not run as root, and there is no user {_NOBODY!r} to run it"
        raise DataFolderUnusableError(folder=data_folder, reason=reason) from None
    return ServerUser(entry.pw_uid, entry.pw_gid)


def _place(data_folder: Path, shared_root: Path) -> Path:
    """Return the place of this data folder below `shared_root`; a new one is named after its path.

    A place that is taken is left alone even if nothing here links to it: its data folder may have been moved, and the
    link with it.
    """
    for path in data_folder.iterdir():
        if path.is_symlink() and (place := place_of(path.resolve(), shared_root)):
            return place
    name = hashlib.sha256(bytes(data_folder)).hexdigest()[:16]
    names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return make_shared(next(shared_root / name for name in names if not (shared_root / name).exists()))
