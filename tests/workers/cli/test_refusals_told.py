"""A command that is not let in is told once: to the person who gave it, or in the log of the intake it came through."""

import json
from pathlib import Path

from structlog.testing import capture_logs

from core.receiving.receive import receive_in_parts
from tests.factories import as_bytes, command
from tests.shell import EVENT_SOURCE, LIMITS, Shell
from tests.workers.cli.command_line import CommandLine


def test_a_person_is_told_by_the_command_and_by_no_log(loyalty: CommandLine, shell: Shell) -> None:
    assert loyalty("points", "credit", "c1", 12, "--reason", "z", "--id", "k1").code == 0
    refused = loyalty("points", "credit", "c1", 13, "--reason", "z", "--id", "k1")
    assert (refused.code, refused.err.count("command_conflict")) == (1, 1)
    assert "command_refused" not in refused.err
    unreadable = json.dumps(command("credit", "k2", customer_id="c1", points=-1))
    Path("commands.ndjson").write_text(unreadable)
    assert "command_refused" not in loyalty("submit", "commands.ndjson").err
    assert shell.balance() == 12


def test_an_intake_logs_it_once_and_not_again_for_a_repeat(shell: Shell) -> None:
    body = as_bytes(command("credit", "k2", customer_id="c1", points=-1))
    with capture_logs() as logs:
        for _ in range(2):
            [_] = receive_in_parts(shell.engine, [body, body], limits=LIMITS, shards=16, event_source=EVENT_SOURCE)
    assert [(log["type"], log["log_level"]) for log in logs] == [("loyalty.command.credit", "warning")]
