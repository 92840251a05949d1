"""Whatever is changed by hand, it stays known who did it: by name, or as the operating system knows them."""

import os
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from sqlalchemy import Engine
from typing_extensions import get_type_hints

from core.messages.inbound.contracts import INBOUND, Contract
from tests.factories import PROGRAM_TEXT, as_bytes, order
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from workers.cli import build_app, wiring
from workers.cli.command_spellings import SPELLINGS

UNTIL = "2090-06-30T22:00:00+00:00"
REPAIRED, ACTED = "SELECT applied_by FROM repairs", "SELECT acted_by FROM dead_letter_actions WHERE action <> 'parked'"
#: Each command that changes something by hand, how it is given here, and where it is kept who did it.
BY_HAND: dict[str, tuple[tuple[str, ...], str]] = {
    "account hold-tier": (("c1", "--tier", "gold", "--until", UNTIL, "--reason", "why", "--apply"), REPAIRED),
    "lots extend": (("--customer", "c1", "--days", "1", "--reason", "why", "--apply"), REPAIRED),
    "rebuild": (("--apply",), REPAIRED),
    "upkeep": (("expire_lots", "--apply"), REPAIRED),
    "import accounts": (("crm.csv",), "SELECT answer->>'by' FROM commands"),
    "dead fix": (("2", "mended.json"), ACTED),
    "dead retry": (("2",), ACTED),
    "dead drop": (("2", "--reason", "why"), ACTED),
}


@pytest.fixture
def wrong(engine: Engine) -> Shell:
    """Points that expire one day, a number that is not what the facts give, and a dead letter."""
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + "expiry: {policy: after_months, months: 900}\n")
    shell.take(order("o1"), order("o2", program_id="nope"))
    shell.execute("UPDATE accounts SET lifetime_points = lifetime_points + 1")
    Path("crm.csv").write_text("customer_id,points\nC-1,5\n")
    Path("mended.json").write_bytes(as_bytes(order("o2")))
    return shell


@pytest.mark.parametrize("command", BY_HAND)
def test_it_stays_known_who_did_it(command: str, loyalty: CommandLine, wrong: Shell) -> None:
    arguments, where = BY_HAND[command]
    if command == "upkeep":
        wrong.execute("UPDATE lots SET expires_at = now() - interval '1 day'")  # what changes nothing is not kept
    assert loyalty(*command.split(), *arguments, "--by", " Kim ").code == 0
    assert {row[0] for row in wrong.rows(where)} == {"Kim"}


def test_without_a_name_it_is_the_user_of_the_operating_system(
    loyalty: CommandLine, wrong: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert loyalty("rebuild", "--apply").code == 0
    assert wrong.value(REPAIRED) == getuser()

    def nameless() -> str:
        raise KeyError

    monkeypatch.setattr(wiring, "getuser", nameless)
    assert wiring.acting("  ") == f"user {os.getuid()}"


def test_the_history_of_a_letter_names_who_acted(loyalty: CommandLine, wrong: Shell) -> None:
    assert loyalty("dead", "retry", "2", "--by", "Kim").code == 0
    wrong.post()
    assert "retried by Kim (it was parked as unknown_program)" in loyalty("dead", "show", "2").out
    assert [step["acted_by"] for step in loyalty("dead", "show", "2", "--json").json["history"]] == [None, "Kim", None]


def test_answer_entries_and_history_of_a_command_name_who_gave_it(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16)
    shell.take(order())
    given = loyalty("points", "debit", "c1", "30", "--reason", "counted anew", "--id", "k1", "--by", " Kim ", "--json")
    assert (given.json["by"], given.json["outcome"]) == ("Kim", "accepted")
    assert shell.value("SELECT why->'command'->>'by' FROM entries WHERE kind = 'debit'") == "Kim"
    for words in (("command", "show", "k1"), ("account", "history", "c1"), ("account", "explain", "c1")):
        assert "Kim" in loyalty(*words).out, words


def test_a_command_by_nobody_is_by_the_user_of_the_operating_system(loyalty: CommandLine, engine: Engine) -> None:
    Shell(engine, shards=16).take(order())
    assert loyalty("account", "freeze", "c1", "--json").json["by"] == getuser()


def test_an_e_mail_address_is_nobodys_name(loyalty: CommandLine, engine: Engine) -> None:
    Shell(engine, shards=16).take(order())
    refused = loyalty("points", "debit", "c1", "30", "--by", "kim@example.org")
    assert (refused.code, "data.by" in refused.err) == (2, True)
    Path("crm.csv").write_text("customer_id,points\nC-1,5\n")
    assert loyalty("import", "accounts", "crm.csv", "--by", "kim@example.org").code == 2


@pytest.mark.parametrize("command", [contract for contract in INBOUND.values() if contract.verb])
def test_every_command_may_say_who_gave_it(command: Contract) -> None:
    data = get_args(get_type_hints(command.model)["data"])
    fields = get_type_hints(data[0] if data else get_type_hints(command.model)["data"])
    assert "by" in fields


def commands(command: Any, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each command with its options."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name.strip(), {option for each in command.params for option in each.opts}
    for word, each in (below or {}).items():
        yield from commands(each, f"{name} {word}")


def test_every_command_that_changes_something_by_hand_takes_a_name() -> None:
    found = dict(commands(typer.main.get_command(build_app())))
    by_hand = {name for name, options in found.items() if options & {"--apply", "--reason"}} - {"dead list"}
    named = {name for name, options in found.items() if "--by" in options}
    assert by_hand - named == set()
    commanded = {spelling.words for spelling in SPELLINGS}
    assert {name for name in named if not name.startswith("program ")} == set(BY_HAND) | commanded
