"""What is linked to accounts, such as cards: commands name the account by it, until it is unlinked."""

from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine

from core.mending.dead_letters import RetryLimits, retry_letters
from tests.factories import PROGRAM_TEXT, amendment, command, goods_back, order, refund
from tests.posting.test_posted_commands import TRUSTED, answer
from tests.shell import EVENT_SOURCE, Shell


class Linked(NamedTuple):
    """Two that may be linked, and the first one in another form."""

    kind: str
    first: str
    second: str
    again: str

    @property
    def by(self) -> dict[str, str]:
        return {self.kind: self.first}

    @property
    def by_other(self) -> dict[str, str]:
        return {self.kind: self.second}


KINDS = {
    "card": Linked("card", "9801-0007", "9801-0008", "9801-0007"),
    "phone": Linked("phone", "+44 7400 123456", "+44 7400 123457", "+44 (0)7400-123456"),
    "email": Linked("email", "ann@example.com", "bob@example.com", "Ann@Example.com"),
}


@pytest.fixture(params=KINDS)
def linked(request: pytest.FixtureRequest) -> Linked:
    return KINDS[request.param]


@pytest.fixture
def shell(engine: Engine) -> Shell:
    shell = Shell(engine, limits=TRUSTED)
    shell.take(order("o1", "100.00"), order("o2", "50.00", customer_id="c2"))
    return shell


def by(verb: str, command_id: str, named: dict[str, str], **data: Any) -> dict[str, Any]:
    """A command that names the account by this alone."""
    made = command(verb, command_id, **({"customer_id": "c1"} | data), **named)
    del made["data"]["customer_id"]
    return made


def codes(shell: Shell, *command_ids: str) -> list[str | None]:
    return [answer(shell, command_id).get("code") for command_id in command_ids]


def test_commands_name_the_account_by_it(shell: Shell, linked: Linked) -> None:
    shell.take(command("account.link", "k1", **linked.by))
    shell.take(
        by("debit", "k2", linked.by, points=30),
        by("credit", "k3", linked.by, points=1),
        by("account.freeze", "k4", linked.by),
    )
    assert codes(shell, "k1", "k2", "k3", "k4") == [None] * 4
    assert (shell.balance(), shell.balance("c2"), shell.differences()) == (71, 50, [])


def test_in_the_same_batch_too(engine: Engine, linked: Linked) -> None:
    shell = Shell(engine, limits=TRUSTED, shards=1)
    shell.take(
        order("o1", "100.00"), command("account.link", "k1", **linked.by), by("debit", "k2", linked.by, points=30)
    )
    assert (codes(shell, "k1", "k2"), shell.balance(), shell.differences()) == ([None, None], 70, [])


def test_points_are_reserved_and_redeemed_by_it_too(shell: Shell, linked: Linked) -> None:
    shell.take(command("account.link", "k1", **linked.by))
    shell.take(
        by("authorize", "k2", linked.by, authorization_id="h1", points=30), by("redeem", "k3", linked.by, points=5)
    )
    assert (codes(shell, "k2", "k3"), shell.balance(), shell.differences()) == ([None, None], 65, [])


def test_what_is_linked_to_none_is_unknown_and_opens_no_account(shell: Shell, linked: Linked) -> None:
    shell.take(by("credit", "k1", linked.by, points=30), by("debit", "k2", linked.by, points=30))
    assert (codes(shell, "k1", "k2"), shell.differences()) == (["unknown_account"] * 2, [])


def test_it_is_linked_to_one_account_until_it_is_unlinked(shell: Shell, linked: Linked) -> None:
    shell.take(command("account.link", "k1", **linked.by))
    shell.take(command("account.link", "k2", **linked.by, customer_id="c2"))
    shell.take(
        command("account.link", "k3", **linked.by), command("account.unlink", "k4", **linked.by, customer_id="c2")
    )
    shell.take(by("debit", "k5", linked.by, points=1))
    assert codes(shell, "k1", "k2", "k3", "k4", "k5") == [None, "reference_taken", None, None, None]
    shell.take(command("account.unlink", "k6", **linked.by))
    shell.take(by("debit", "k7", linked.by, points=1))
    shell.take(command("account.link", "k8", **linked.by, customer_id="c2"))
    shell.take(by("debit", "k9", linked.by, points=1))
    assert codes(shell, "k6", "k7", "k8", "k9") == [None, "unknown_account", None, None]
    assert (shell.balance(), shell.balance("c2"), shell.differences()) == (99, 49, [])


def test_it_may_be_moved_and_moved_back_in_one_batch(engine: Engine, linked: Linked) -> None:
    shell = Shell(engine, limits=TRUSTED, shards=1)
    shell.take(
        order("o1", "100.00"), order("o2", "50.00", customer_id="c2"), command("account.link", "k1", **linked.by)
    )
    shell.take(
        command("account.unlink", "k2", **linked.by),
        command("account.link", "k3", **linked.by, customer_id="c2"),
        command("account.unlink", "k4", **linked.by, customer_id="c2"),
        command("account.link", "k5", **linked.by),
        command("account.link", "k6", **linked.by_other),
        command("account.unlink", "k7", **linked.by_other),
    )
    shell.take(by("debit", "k8", linked.by, points=1), by("debit", "k9", linked.by_other, points=1))
    assert codes(shell, "k8", "k9") == [None, "unknown_account"]
    assert (shell.balance(), shell.differences()) == (99, [])


def test_each_change_is_told_and_what_changes_nothing_is_not(shell: Shell, linked: Linked) -> None:
    for number, verb in enumerate(("link", "link", "unlink", "unlink")):
        shell.take(command(f"account.{verb}", f"k{number}", **linked.by))
    changes = [event["data"] for event in shell.events("loyalty.account.updated")]
    told = linked.first if linked.kind == "card" else "hidden"
    assert [(data.get("linked"), data.get("unlinked")) for data in changes] == [
        ({linked.kind: told}, None),
        (None, {linked.kind: told}),
    ]
    assert codes(shell, "k0", "k1", "k2", "k3") == [None] * 4


def test_it_leads_to_an_account_in_each_program(shell: Shell, linked: Linked) -> None:
    shell.apply_program(PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace("/shops/test", "/other"))
    shell.take(order("o3", "10.00", source="/other"))
    shell.take(
        command("account.link", "k1", **linked.by), command("account.link", "k2", **linked.by, program_id="other")
    )
    shell.take(by("debit", "k3", linked.by, points=1, program_id="other"), by("debit", "k4", linked.by, points=2))
    assert codes(shell, "k1", "k2", "k3", "k4") == [None] * 4
    assert (shell.balance(), shell.balance(program_id="other"), shell.differences()) == (98, 9, [])


def test_nothing_is_linked_to_a_closed_account_and_all_may_be_unlinked(shell: Shell, linked: Linked) -> None:
    shell.take(command("account.link", "k1", **linked.by), command("account.close", "k2", points_left="forfeit"))
    shell.take(command("account.link", "k3", **linked.by_other), command("account.unlink", "k4", **linked.by))
    assert codes(shell, "k2", "k3", "k4") == [None, "account_closed", None]


def test_another_form_of_it_is_the_same(shell: Shell, linked: Linked) -> None:
    again = {linked.kind: linked.again}
    shell.take(command("account.link", "k1", **linked.by))
    shell.take(command("account.link", "k2", customer_id="c2", **again))
    shell.take(by("debit", "k3", again, points=1), by("debit", "k4", linked.by, points=1))
    shell.take(command("account.unlink", "k5", **again))
    shell.take(by("debit", "k6", linked.by, points=1))
    assert codes(shell, "k1", "k2", "k3", "k4") == [None, "reference_taken", None, None]
    assert codes(shell, "k5", "k6") == [None, "unknown_account"]
    assert (shell.balance(), shell.differences()) == (98, [])


def test_a_merge_lets_it_lead_to_the_survivor_and_its_undoing_back(shell: Shell, linked: Linked) -> None:
    shell.take(command("account.link", "k1", **linked.by))
    shell.take(command("account.merge", "k2", customer_id="c1", into_customer_id="c2"))
    shell.take(by("debit", "k3", linked.by, points=30), command("account.link", "k4", customer_id="c2", **linked.by))
    assert (codes(shell, "k2", "k3", "k4"), shell.balance("c2")) == ([None] * 3, 120)
    shell.take(command("account.unmerge", "k5", customer_id="c1"))
    shell.take(by("credit", "k6", linked.by, points=7))
    assert codes(shell, "k5", "k6") == [None, None]
    assert (shell.balance() + shell.balance("c2"), shell.differences()) == (127, [])


def named(event: dict[str, Any], by_what: dict[str, str]) -> dict[str, Any]:
    """The message with its account named so."""
    data = {name: value for name, value in event["data"].items() if name != "customer_id"}
    return {**event, "data": {**data, **by_what}}


def dead(shell: Shell) -> list[Any]:
    return shell.rows("SELECT inbox_id, reason, detail FROM inbox WHERE state = 'dead' ORDER BY inbox_id")


def retry(shell: Shell, inbox_id: int) -> bool:
    limits = RetryLimits(TRUSTED, shards=4, event_source=EVENT_SOURCE, waiting_days_max=30)
    [outcome] = retry_letters(shell.engine, [inbox_id], limits, "kim")
    shell.post()
    return outcome.is_mended


def test_orders_and_returns_come_to_it_once_it_is_linked(shell: Shell, linked: Linked) -> None:
    """Before that they are parked, as those of any account that is not there, and may be retried."""
    shell.take(named(order("o3", "20.00"), linked.by), named(goods_back("b1", "5.00"), linked.by))
    assert [letter.reason for letter in dead(shell)] == ["unknown_account"] * 2
    shell.take(command("account.link", "k1", **linked.by))
    assert all(retry(shell, letter.inbox_id) for letter in dead(shell))
    assert (shell.balance(), shell.differences()) == (115, [])
    shell.take(named(amendment("o3", "30.00"), {linked.kind: linked.again}))
    shell.take(named(order("o4", "20.00"), {linked.kind: linked.again}), refund("r1", "o4", net="5.00"))
    assert (shell.balance(), dead(shell), shell.differences()) == (140, [], [])


@pytest.mark.parametrize("kind", ["phone", "email"])
def test_under_another_salt_nothing_is_found_and_the_same_again_is_another_message(
    engine: Engine, shell: Shell, kind: str
) -> None:
    linked = KINDS[kind]
    bought = named(order("o3", "20.00"), linked.by)
    shell.take(command("account.link", "k1", **linked.by))
    shell.take(bought, by("debit", "k2", linked.by, points=1))
    other = Shell(engine, limits=TRUSTED._replace(reference_salt=b"another one"), program_text=None)
    other.take(by("debit", "k3", linked.by, points=1), command("account.unlink", "k4", **linked.by))
    assert codes(other, "k2", "k3", "k4") == [None, "unknown_account", None]
    other.take(bought)
    assert [letter.reason for letter in dead(other)] == ["event_conflict"]
    shell.take(by("debit", "k5", linked.by, points=1))
    assert (codes(shell, "k5"), shell.balance(), shell.differences()) == ([None], 118, [])


@pytest.mark.parametrize("kind", ["phone", "email"])
def test_without_a_salt_nothing_is_linked_and_a_message_can_be_retried_once_there_is_one(
    engine: Engine, kind: str
) -> None:
    linked = KINDS[kind]
    shell = Shell(engine, limits=TRUSTED._replace(reference_salt=None))
    shell.take(
        order("o1", "100.00"), command("account.link", "k1", **linked.by), named(order("o2", "20.00"), linked.by)
    )
    told = answer(shell, "k1")
    assert (told["code"], "let the operators set that secret" in told["advice"]) == ("no_reference_salt", True)
    letters = dead(shell)
    assert {letter.reason for letter in letters} == {"no_reference_salt"}
    assert all(letter.detail.startswith(f"data.{kind} cannot be read here") for letter in letters)
    assert [retry(shell, letter.inbox_id) for letter in letters] == [True, True]
    assert (shell.balance(), shell.differences()) == (120, [])


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"card": "123"},
        {"card": "12 34 56"},
        {"card": "a@b.example"},
        {"card": "1" * 65},
        {"phone": "07400 123456"},
        {"email": "ann"},
        {"card": "9801-0007", "phone": "+447400123456"},
        {"phone": "+447400123456", "email": "ann@example.com"},
    ],
)
def test_what_is_none_or_two_is_not_linked(shell: Shell, data: dict[str, Any]) -> None:
    shell.take(command("account.link", "k1", **data), command("account.unlink", "k2", **data))
    assert codes(shell, "k1", "k2") == ["invalid_data"] * 2
