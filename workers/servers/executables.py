"""Where the servers' programs are: in the installed wheels, or in a copy of them that the server's user can reach."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from core.errors import EmbeddedServersMissingError
from workers.servers.places import ServerUser, as_user, make_shared


@dataclass(frozen=True)
class Wheel:
    """A wheel with a server in it. Folders are relative to where the wheel is installed."""

    server: str
    distribution: str
    package: str
    programs: str  #: the folder of the programs, as a pattern
    probe: str  #: the program to try: the one that needs most
    copied: tuple[str, ...]  #: the folders that the programs need


def find_programs(wheel: Wheel, user: ServerUser | None, shared_root: Path) -> Path:
    """Return the folder of a server's programs, such that `user` can run them; copy them to `shared_root` if need be.

    Raises EmbeddedServersMissingError when the wheel is not installed.
    """
    # Found, not imported: importing a wheel of servers makes folders.
    spec = find_spec(wheel.package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServersMissingError(server=wheel.server)
    site = Path(spec.submodule_search_locations[0]).parent
    programs = _programs(wheel, site)
    if user is None or _runs(programs / wheel.probe, user):
        return programs
    copy = shared_root / f"bin-{wheel.distribution}-{version(wheel.distribution)}"
    if not copy.exists():
        _copy(wheel, site, copy)
    return _programs(wheel, copy)


def _programs(wheel: Wheel, site: Path) -> Path:
    for folder in site.glob(wheel.programs):
        if (folder / wheel.probe).exists():
            return folder
    raise EmbeddedServersMissingError(server=wheel.server)


def _runs(program: Path, user: ServerUser) -> bool:
    try:
        tried = subprocess.run([program, "--version"], **as_user(user), cwd="/", capture_output=True, check=False)  # noqa: S603
    except PermissionError:
        return False
    return tried.returncode == 0


def _copy(wheel: Wheel, site: Path, copy: Path) -> None:
    """Copy the programs so that the copy is either not there or complete, whoever else copies at the same time."""
    make_shared(copy.parent)
    fresh = copy.with_name(f"{copy.name}.new-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    make_shared(fresh)
    try:
        for folder in wheel.copied:
            if (site / folder).exists():
                shutil.copytree(site / folder, fresh / folder, ignore=shutil.ignore_patterns("include", "*.a", "pgxs"))
        for path in fresh.rglob("*"):
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(path.stat().st_mode | (0o555 if runs else 0o444))
        fresh.rename(copy)
    except OSError:
        if not copy.exists():  # else another start was faster
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
