"""What the senders of commands were told."""

from typing import Any

from tests.shell import LIMITS, Shell

#: Whoever writes to the database may command.
TRUSTED = LIMITS._replace(is_trusted=True)


def answers(shell: Shell) -> list[dict[str, Any]]:
    """What senders were told, in order."""
    return [event for event in shell.events() if event["type"].startswith("loyalty.command.")]


def answer(shell: Shell, command_id: str) -> dict[str, Any]:
    """The only answer to a command."""
    [found] = [event for event in answers(shell) if event["correlationid"] == command_id]
    return {"type": found["type"].removeprefix("loyalty.command."), **found["data"]}
