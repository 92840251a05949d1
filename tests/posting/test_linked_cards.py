"""Cards that are linked to accounts: commands name the account by them, until they are unlinked."""

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, command, order
from tests.posting.test_posted_commands import TRUSTED, answer
from tests.shell import Shell

CARD = "9801-0007"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    shell = Shell(engine, limits=TRUSTED)
    shell.take(order("o1", "100.00"), order("o2", "50.00", customer_id="c2"))
    return shell


def by_card(verb: str, command_id: str, card: str = CARD, **data: Any) -> dict[str, Any]:
    """A command that names the account by a card alone."""
    made = command(verb, command_id, **({"customer_id": "c1"} | data), card=card)
    del made["data"]["customer_id"]
    return made


def codes(shell: Shell, *command_ids: str) -> list[str | None]:
    return [answer(shell, command_id).get("code") for command_id in command_ids]


def test_commands_name_the_account_by_its_card(shell: Shell) -> None:
    shell.take(command("account.link", "k1", card=CARD))
    shell.take(by_card("debit", "k2", points=30), by_card("credit", "k3", points=1), by_card("account.freeze", "k4"))
    assert codes(shell, "k1", "k2", "k3", "k4") == [None] * 4
    assert (shell.balance(), shell.balance("c2"), shell.differences()) == (71, 50, [])


def test_in_the_same_batch_too(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED, shards=1)
    shell.take(order("o1", "100.00"), command("account.link", "k1", card=CARD), by_card("debit", "k2", points=30))
    assert (codes(shell, "k1", "k2"), shell.balance(), shell.differences()) == ([None, None], 70, [])


def test_points_are_reserved_and_redeemed_by_card_too(shell: Shell) -> None:
    shell.take(command("account.link", "k1", card=CARD))
    shell.take(by_card("authorize", "k2", authorization_id="h1", points=30), by_card("redeem", "k3", points=5))
    assert (codes(shell, "k2", "k3"), shell.balance(), shell.differences()) == ([None, None], 65, [])


def test_a_card_that_is_linked_to_none_is_unknown_and_opens_no_account(shell: Shell) -> None:
    shell.take(by_card("credit", "k1", points=30), by_card("debit", "k2", points=30))
    assert (codes(shell, "k1", "k2"), shell.differences()) == (["unknown_account"] * 2, [])


def test_a_card_is_linked_to_one_account_until_it_is_unlinked(shell: Shell) -> None:
    shell.take(command("account.link", "k1", card=CARD))
    shell.take(command("account.link", "k2", card=CARD, customer_id="c2"))
    shell.take(command("account.link", "k3", card=CARD), command("account.unlink", "k4", card=CARD, customer_id="c2"))
    shell.take(by_card("debit", "k5", points=1))
    assert codes(shell, "k1", "k2", "k3", "k4", "k5") == [None, "reference_taken", None, None, None]
    shell.take(command("account.unlink", "k6", card=CARD))
    shell.take(by_card("debit", "k7", points=1))
    shell.take(command("account.link", "k8", card=CARD, customer_id="c2"))
    shell.take(by_card("debit", "k9", points=1))
    assert codes(shell, "k6", "k7", "k8", "k9") == [None, "unknown_account", None, None]
    assert (shell.balance(), shell.balance("c2"), shell.differences()) == (99, 49, [])


def test_it_may_be_moved_and_moved_back_in_one_batch(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED, shards=1)
    shell.take(order("o1", "100.00"), order("o2", "50.00", customer_id="c2"), command("account.link", "k1", card=CARD))
    shell.take(
        command("account.unlink", "k2", card=CARD),
        command("account.link", "k3", card=CARD, customer_id="c2"),
        command("account.unlink", "k4", card=CARD, customer_id="c2"),
        command("account.link", "k5", card=CARD),
        command("account.link", "k6", card="9801-0008"),
        command("account.unlink", "k7", card="9801-0008"),
    )
    shell.take(by_card("debit", "k8", points=1), by_card("debit", "k9", "9801-0008", points=1))
    assert codes(shell, "k8", "k9") == [None, "unknown_account"]
    assert (shell.balance(), shell.differences()) == (99, [])


def test_each_change_is_told_and_what_changes_nothing_is_not(shell: Shell) -> None:
    for number, verb in enumerate(("link", "link", "unlink", "unlink")):
        shell.take(command(f"account.{verb}", f"k{number}", card=CARD))
    told = [event["data"] for event in shell.events("loyalty.account.updated")]
    assert [(data.get("linked"), data.get("unlinked")) for data in told] == [
        ({"card": CARD}, None),
        (None, {"card": CARD}),
    ]
    assert codes(shell, "k0", "k1", "k2", "k3") == [None] * 4


def test_a_card_has_an_account_in_each_program(shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace("/shops/test", "/other"))
    shell.take(order("o3", "10.00", source="/other"))
    shell.take(command("account.link", "k1", card=CARD), command("account.link", "k2", card=CARD, program_id="other"))
    shell.take(by_card("debit", "k3", points=1, program_id="other"), by_card("debit", "k4", points=2))
    assert codes(shell, "k1", "k2", "k3", "k4") == [None] * 4
    assert (shell.balance(), shell.balance(program_id="other"), shell.differences()) == (98, 9, [])


def test_a_closed_account_gets_no_card_and_may_lose_one(shell: Shell) -> None:
    shell.take(command("account.link", "k1", card=CARD), command("account.close", "k2", points_left="forfeit"))
    shell.take(command("account.link", "k3", card="9801-0008"), command("account.unlink", "k4", card=CARD))
    assert codes(shell, "k2", "k3", "k4") == [None, "account_closed", None]


@pytest.mark.parametrize(
    "data", [{}, {"card": "123"}, {"card": "12 34 56"}, {"card": "a@b.example"}, {"card": "1" * 65}]
)
def test_what_is_no_number_of_a_card_is_refused(shell: Shell, data: dict[str, Any]) -> None:
    shell.take(command("account.link", "k1", **data))
    assert codes(shell, "k1") == ["invalid_data"]
