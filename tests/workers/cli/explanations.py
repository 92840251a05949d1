"""What `loyalty account explain --json` says, for tests that read it."""

from typing import Any

from tests.workers.cli.command_line import CommandLine


def explained(loyalty: CommandLine, *arguments: object) -> dict[str, Any]:
    [account] = loyalty("account", "explain", "c1", *arguments, "--json").json["accounts"]
    return dict(account)


def sentences(loyalty: CommandLine) -> list[list[str]]:
    """The sentences of each entry."""
    return [entry["sentences"] for entry in explained(loyalty)["entries"]]


def order_explained(loyalty: CommandLine, order_id: str) -> dict[str, Any]:
    [told] = loyalty("account", "explain", "c1", "--order", order_id, "--json").json["orders"]
    return dict(told)


def outcomes(told: dict[str, Any]) -> dict[str, tuple[int, str]]:
    return {each["name"]: (each["points"], each["text"]) for each in (*told["rules"], *told["promotions"])}
