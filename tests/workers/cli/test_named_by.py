"""What a person names an account by at the command line: what is linked to it, and what is shown of that."""

import pytest

from tests.factories import order
from tests.shell import SALT, Shell
from tests.workers.cli.command_line import CommandLine

PHONE, AGAIN = "+44 7400 123456", "+44 (0)7400-123456"
EMAIL = "Ann@Example.com"


@pytest.fixture(autouse=True)
def salted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_REFERENCE_SALT", SALT)


@pytest.fixture
def linked(loyalty: CommandLine, shell: Shell) -> CommandLine:
    """c1 has 100 points, and is found by a card, a phone number and an e-mail address."""
    shell.take(order("o1", "100.00"))
    for option, name in (("--card", "9801-0007"), ("--phone", PHONE), ("--email", EMAIL)):
        printed = loyalty("account", "link", "c1", option, name)
        assert "Done: linked to the account of c1." in printed.out, printed.err
        assert name not in printed.out
    return loyalty


@pytest.mark.parametrize(("kind", "name"), [("card", "9801-0007"), ("phone", AGAIN), ("email", EMAIL.lower())])
def test_every_command_finds_it(linked: CommandLine, shell: Shell, kind: str, name: str) -> None:
    assert linked("points", "debit", name, 40, "--named-by", kind, "--json").json["points"] == 40
    assert linked("points", "convert", name, "nowhere", 5, "--named-by", kind).code == 1
    assert linked("account", "freeze", name, "--named-by", kind).code == 0
    for verb in ("show", "history", "explain"):
        printed = linked("account", verb, name, "--named-by", kind)
        assert (printed.code, "c1" in printed.out) == (0, True), printed.err
        [account] = linked("account", verb, name, "--named-by", kind, "--json").json["accounts"]
        assert account["account_id"] == str(shell.value("SELECT account_id FROM accounts"))
    assert shell.differences() == []


def test_it_is_shown_that_they_are_there_and_not_which(loyalty: CommandLine, linked: CommandLine) -> None:
    printed = loyalty("account", "show", PHONE, "--named-by", "phone")
    assert "Found by" in printed.out
    assert "card 9801-0007, e-mail address (hidden), phone number (hidden)" in printed.out
    [account] = loyalty("account", "show", "c1", "--json").json["accounts"]
    assert account["linked"] == [
        {"kind": "card", "reference": "9801-0007"},
        {"kind": "email", "reference": "hidden"},
        {"kind": "phone", "reference": "hidden"},
    ]


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("phone", "+44 7400 123457", "No account is found by this phone number."),
        ("email", "bob@example.com", "No account is found by this e-mail address."),
        ("card", "9801-0008", "No account is found by the card 9801-0008."),
    ],
)
def test_one_that_leads_nowhere_is_told_of(linked: CommandLine, kind: str, name: str, told: str) -> None:
    shown = linked("account", "show", name, "--named-by", kind)
    assert (shown.code, shown.out) == (1, "")
    assert told in shown.err
    debited = linked("points", "debit", name, 5, "--named-by", kind)
    assert debited.code == 1
    assert "is linked to no account of this program (unknown_account)" in debited.err
    if kind != "card":
        assert name not in shown.err + debited.err


@pytest.mark.parametrize(
    ("kind", "name", "told"),
    [
        ("phone", "07400 123456", 'does not begin with "+"; write it with "+" and the code of its country'),
        ("phone", "+44 740", "is not a phone number"),
        ("email", "ann", 'has no "@"'),
    ],
)
def test_what_is_none_is_told_of_with_what_is_wanted(linked: CommandLine, kind: str, name: str, told: str) -> None:
    for words in (("account", "show", name), ("account", "freeze", name), ("points", "debit", name, 5)):
        printed = linked(*words, "--named-by", kind)
        assert (printed.code, printed.out) == (2, "")
        assert told in " ".join(printed.err.split())
    printed = linked("account", "link", "c1", f"--{kind}", name)
    assert (printed.code, told in " ".join(printed.err.split())) == (2, True)


@pytest.mark.parametrize(("kind", "name"), [("phone", PHONE), ("email", EMAIL)])
def test_without_the_secret_it_is_said_what_to_set(
    linked: CommandLine, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.delenv("LOYALTY_REFERENCE_SALT")
    for words in (("account", "show", name), ("points", "debit", name, 5)):
        printed = linked(*words, "--named-by", kind)
        assert (printed.code, printed.out) == (2, "")
        assert "LOYALTY_REFERENCE_SALT" in printed.err
    assert linked("account", "link", "c1", f"--{kind}", name).code == 2
    assert linked("account", "show", "c1").code == 0


def test_a_secret_that_is_short_is_no_setting(loyalty: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOYALTY_REFERENCE_SALT", "short")
    printed = loyalty("account", "show", "c1")
    assert (printed.code, "needs at least 32 characters" in printed.err) == (2, True)
    assert "short" not in printed.err.replace("shorter", "")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "data has none of card, phone, email; say what is linked by one of them"),
        (("--card", "9801-0008", "--phone", PHONE), "say one at a time"),
        (("--named-by", "card", "--card", "9801-0008"), "card is none of customer, account"),
    ],
)
def test_one_thing_is_linked_to_an_account_that_is_named_otherwise(
    linked: CommandLine, options: tuple[str, ...], told: str
) -> None:
    printed = linked("account", "link", "c1", *options)
    assert (printed.code, told in " ".join(printed.err.replace("│", "").split())) == (2, True), printed.err


def test_one_is_unlinked_and_then_found_no_longer(linked: CommandLine, shell: Shell) -> None:
    printed = linked("account", "unlink", "c1", "--phone", AGAIN)
    assert "Done: unlinked from the account of c1." in printed.out, printed.err
    assert linked("account", "show", PHONE, "--named-by", "phone").code == 1
    assert "phone" not in linked("account", "show", "c1").out
    assert shell.differences() == []
