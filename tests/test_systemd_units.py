"""The units of systemd: what they start exists, and they leave the supervisor the time and the rights that it needs."""

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest
import typer

from config.settings import ROLE_NAMES
from tests.pages import ROOT
from tests.test_docs import CommandLine
from workers.cli import WRONG_USE, build_app
from workers.stack import STOP_SECONDS

UNITS = ROOT / "deploy/systemd"


def unit(name: str) -> RawConfigParser:
    """A unit whose settings stand once each."""
    read = RawConfigParser(delimiters="=", comment_prefixes="#", strict=True, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]  # names as they are written
    # Of system calls first what is allowed is said, and then what of that is not.
    read.read_string((UNITS / name).read_text().replace("SystemCallFilter=~", "SystemCallFilterLess="))
    return read


SERVICE = unit("loyalty@.service")["Service"]
TARGET = unit("loyalty.target")["Unit"]


def test_the_target_wants_every_role_once() -> None:
    assert TARGET["Wants"].split() == [f"loyalty@{role}.service" for role in ROLE_NAMES]
    assert unit("loyalty@.service")["Unit"]["PartOf"] == "loyalty.target", "so that it stops with the target"


@pytest.mark.parametrize("role", ROLE_NAMES)
def test_a_unit_starts_a_command_that_exists(role: str) -> None:
    program, *words = SERVICE["ExecStart"].replace("%i", role).split()
    assert Path(program).name == "loyalty"
    command: CommandLine = typer.main.get_command(build_app()).commands[words[0]]  # type: ignore[attr-defined]
    values, rest, _ = command.make_parser(typer.Context(command, info_name="loyalty")).parse_args(words[1:])
    assert (values["role"], rest) == ([role], [])


def test_a_stop_leaves_the_supervisor_its_time_and_kills_what_is_left() -> None:
    assert int(SERVICE["TimeoutStopSec"]) > STOP_SECONDS
    assert SERVICE["KillMode"] == "mixed"


def test_wrong_use_is_not_started_again_and_everything_else_is() -> None:
    assert SERVICE["Restart"] == "always"
    assert int(SERVICE["RestartPreventExitStatus"]) == WRONG_USE


def test_the_one_folder_that_it_may_write_to_is_the_roles_own() -> None:
    assert SERVICE["ProtectSystem"] == "strict"
    assert "%i" in SERVICE["RuntimeDirectory"]
    folder = f"%t/{SERVICE['RuntimeDirectory']}"
    assert SERVICE["Environment"] == f"LOYALTY_DATA_DIR={folder}"
    assert SERVICE["WorkingDirectory"] == folder, "or a .env that lies where it was started would be read"


def test_the_page_about_deploying_names_the_files_that_the_units_use() -> None:
    page = (ROOT / "docs/deployment.md").read_text()
    installed = SERVICE["ExecStart"].split("/bin/")[0]
    for named in (SERVICE["EnvironmentFile"], installed, "deploy/systemd", "loyalty.target"):
        assert named in page


def test_systemd_calls_a_role_well_shut_off(tmp_path: Path) -> None:
    """It counts from 0 to 10 what a service could reach; here it is told to fail above 1.5."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    unit_file = tmp_path / "loyalty@intake.service"
    unit_file.write_text((UNITS / "loyalty@.service").read_text())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", str(unit_file)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unrecognized option" in done.stderr:
        pytest.skip("a systemd-analyze that looks at running services alone")
    assert done.returncode == 0, done.stdout[-300:]


def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    for file in UNITS.iterdir():
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", file.read_text(), flags=re.MULTILINE)
        (tmp_path / file.name).write_text(text)
    names = [str(tmp_path / name) for name in ("loyalty.target", *(f"loyalty@{role}.service" for role in ROLE_NAMES))]
    for role in ROLE_NAMES:
        (tmp_path / f"loyalty@{role}.service").symlink_to(tmp_path / "loyalty@.service")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *names], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "loyalty" in line]
    assert (done.returncode, ours) == (0, [])
