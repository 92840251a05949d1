"""The Python client is a package of its own: it builds, needs three libraries, and brings nothing of the worker."""

import ast
import re
import subprocess
import sys
import tomllib
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.pages import ROOT

CLIENT = ROOT / "clients" / "python"
NEEDED = {"kombu", "pydantic", "redis"}
#: Taken where it is installed.
WELCOME = {"opentelemetry"}
#: What these three bring, and are never without.
BROUGHT = {"amqp": "kombu", "pydantic_core": "pydantic"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(CLIENT)], check=True
    )
    [built] = folder.glob("loyalty_client-*.whl")
    return built


def test_it_holds_the_package_with_its_types_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as packed:
        names = packed.namelist()
        metadata = message_from_bytes(packed.read(next(name for name in names if name.endswith("METADATA"))))
    held = {name for name in names if ".dist-info/" not in name}
    assert held == {f"loyalty_client/{path.name}" for path in (CLIENT / "loyalty_client").glob("*") if path.is_file()}
    assert "loyalty_client/py.typed" in held
    assert {re.split("[<>=]", need)[0] for need in metadata.get_all("Requires-Dist", [])} == NEEDED
    worker = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["Version"] == worker["version"]


def test_it_imports_what_it_needs_and_nothing_of_the_worker(wheel: Path, tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-P", "-c", "import sys, loyalty_client; print(loyalty_client.__file__, *sys.modules)"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(wheel)},
        check=True,
        capture_output=True,
        text=True,
    )
    file, *modules = shown.stdout.split()
    assert file.startswith(str(wheel))
    assert not {"core", "config", "tasks", "workers", "celery"} & set(modules)
    imported = {
        name.split(".")[0]
        for path in (CLIENT / "loyalty_client").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _imported(node)
    }
    outside = imported - sys.stdlib_module_names - {"loyalty_client"}
    assert {BROUGHT.get(name, name) for name in outside} == NEEDED | WELCOME


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
        case _:
            return []
