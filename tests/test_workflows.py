"""The workflows: they run what .ci/run runs, take no actions but pinned ones, and may do no more than they need."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pages import ROOT

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    """A workflow; `on` is a truth value to YAML."""
    file: dict[Any, Any] = yaml.safe_load(path.read_text())
    return {"on" if name is True else name: value for name, value in file.items()}


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def commands(path: Path) -> list[str]:
    return [line.strip() for step in steps(path) for line in step.get("run", "").splitlines()]


def test_a_change_is_tried_by_the_one_script_that_tries_it_everywhere() -> None:
    workflow = read(ROOT / ".github/workflows/ci.yml")
    assert {"push", "pull_request"} <= set(workflow["on"])
    assert [step["run"] for step in workflow["jobs"]["test"]["steps"] if ".ci/run" in step.get("run", "")] == [
        ".ci/run"
    ]
    assert (ROOT / ".ci/run").stat().st_mode & 0o100


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_ends_in_time(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert 0 < job["timeout-minutes"] <= 90
        assert re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"]), "latest is another one some day"
    assert "pull_request_target" not in workflow["on"], "it would hand its token to a stranger's code"
    assert not re.search(r"\$\{\{[^}]*(?:event|secrets|head_ref)", path.read_text()), "nothing of a stranger's is run"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text())
    assert len(used) == len([step for step in steps(path) if "uses" in step]) > 0
    assert [each for each in used if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_a_workflow_runs_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {line.split()[1] for line in commands(path) if line.startswith("make ")} <= targets
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    used = {name for line in commands(path) for name in re.findall(r"docker compose exec -T (\S+)", line)}
    assert used <= set(services)
    words = [word for line in commands(path) for word in line.split() if word.startswith(("config/", ".env.", ".ci/"))]
    assert [word for word in words if not (ROOT / word).exists()] == []


def test_a_linter_of_workflows_finds_nothing() -> None:
    linter = Path(sys.prefix) / "bin/zizmor"
    done = subprocess.run([linter, "--offline", "--quiet", *FILES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
