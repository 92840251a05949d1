"""The README's first hour, command by command as it stands there, on servers of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.pages import README, ROOT, blocks, section_commands
from workers.brokers import open_intake
from workers.embedded import remove_data

SECONDS_MAX = 100.0
POLL_SECONDS = 0.2
HURRY_SECONDS = 0.5  # after which all roles are still about to stop

#: What a reader types, in this order, and what must be seen then.
STEPS = (
    ("loyalty program apply config/programs/example.yaml", "Applied version 1 of high-street"),
    ("loyalty publish - <<EOF", "Published 1 message"),
    ("loyalty account show C-1001", "Balance          49"),
    ("python - ", ""),
    ("loyalty account show C-1001", "Balance          73"),
    ("loyalty account history C-1001", "24 GBP in tier bronze"),
    ("python docs/examples/durable_consumer.py", "1 accounts, 73 points, 0 events held"),
    ("loyalty tail --from-beginning --limit 3", "account opened"),
    ("loyalty publish - <<EOF", "Published 1 message"),
    ("loyalty account history C-1001", "The order earns 24 with this refund, 49 before it."),
    ('loyalty points credit C-1001 10 --reason "late parcel" --id goodwill-77', "10 points given to C-1001"),
    ("loyalty points authorize C-1001 40 --authorization-id basket-9", "40 points of C-1001 reserved"),
    ("loyalty points capture basket-9 --points 30 --order 5004", "30 points of C-1001 captured"),
    ("loyalty account show C-1001", "Balance          28"),
    ("echo ", "Published 1 message"),
    ("loyalty dead list", "not_json"),
    ("loyalty dead show 7", "Message 7 is dead"),
    ("loyalty verify", "The books are right"),
    ("loyalty status", "dead      1"),
)
#: What the test does in its own way.
OTHERS = ("make up", ". .venv/bin/activate", "now=$(date")


class Result(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    output: str


class Terminal:
    """A folder as a newcomer has it, with `loyalty` and `python` on the path and no settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("config", "docs"):
            (folder / name).symlink_to(ROOT / name)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("LOYALTY_")}
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment["now"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def start_up(self) -> subprocess.Popen[bytes]:
        """What `make up` runs."""
        with (self.folder / "up.log").open("wb") as log:
            return subprocess.Popen(
                ["loyalty", "up"], cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def type(self, command: str) -> Result:
        """Run one command in a shell."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS_MAX,
            check=False,
            text=True,
        )
        return Result(done.returncode, done.stdout)

    def type_until(self, command: str, wanted: str) -> Result:
        """Run a command again and again, as a reader does who is faster than the worker, until it shows `wanted`."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            result = self.type(command)
            # A dead letter is a problem, which `loyalty status` ends with.
            if result.code in ({0, 1} if command == "loyalty status" else {0}) and wanted in result.output:
                return result
            assert time.monotonic() < deadline, f"{command}\n{result.output}\n{(self.folder / 'up.log').read_text()}"
            time.sleep(POLL_SECONDS)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    up = terminal.start_up()
    family = [psutil.Process(up.pid)]
    try:
        yield terminal
        family += family[0].children(recursive=True)
    finally:
        up.send_signal(signal.SIGTERM)
        try:
            up.wait(HURRY_SECONDS)
        except subprocess.TimeoutExpired:  # as the README says: a second one stops at once
            up.send_signal(signal.SIGTERM)
        code = up.wait(SECONDS_MAX)
        remove_data(tmp_path / ".loyalty")  # for root the data are not in the folder itself
    _, alive = psutil.wait_procs(family, timeout=SECONDS_MAX)
    assert (code, alive) == (0, [])


def typed_commands() -> list[str]:
    found = section_commands(README, "## The first hour", "### In your own stack")
    return [command for command in found if not command.startswith(OTHERS)]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_first_hour_goes_as_the_readme_says(terminal: Terminal) -> None:
    commands = typed_commands()
    assert [command[: len(start)] for command, (start, _) in zip(commands, STEPS, strict=True)] == [
        start for start, _ in STEPS
    ]
    for command, (_, wanted) in zip(commands, STEPS, strict=True):
        terminal.type_until(command, wanted)
    account = json.loads(terminal.type("loyalty account show C-1001 --json").output)["accounts"][0]
    assert (account["balance"], account["sequence"], account["tier"]) == (28, 7, "bronze")
    published = terminal.type(commands[1])
    assert published.code == 0, published.output
    terminal.type_until(commands[6], "1 accounts, 28 points, 0 events held")
    assert "posted    6" in terminal.type_until("loyalty status", "received  0").output


def test_the_first_hour_names_each_command_once_in_order() -> None:
    assert len(typed_commands()) == len(STEPS)


@pytest.mark.rabbitmq
def test_the_snippet_of_the_readme_for_rabbitmq_reaches_intake(rabbitmq_url: str) -> None:
    (snippet,) = blocks(README, "python")
    order = {"type": "order.completed", "id": f"readme-{time.time_ns()}"}
    intake = open_intake(rabbitmq_url, consumer="readme")
    try:
        exec(compile(snippet, "README.md", "exec"), {"broker_url": rabbitmq_url, "order": order})  # noqa: S102  # our own
        bodies: list[bytes] = []
        deadline = time.monotonic() + SECONDS_MAX
        while json.dumps(order).encode() not in bodies:
            assert time.monotonic() < deadline
            received = intake.receive(messages_max=10, wait_seconds=1)
            bodies += [message.raw for message in received]
            intake.acknowledge(received)
    finally:
        intake.close()
