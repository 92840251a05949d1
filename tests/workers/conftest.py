"""Folders for tests that start servers, which run as somebody else where the tests run as root."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter; pytest's own are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="loyalty-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def shared_root(open_folder: Path) -> Path:
    return open_folder / "shared"


@pytest.fixture
def folder(open_folder: Path, tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return open_folder / tmp_path.name / "data"
