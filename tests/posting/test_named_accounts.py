"""Orders, claims and returns that name an account itself: by its id, its own id, or what is linked to it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from core.domain.value.commands import Whom
from core.mending.dead_letters import RetryLimits, retry_letters
from core.simulating.recorded import recorded_messages
from tests.factories import PROGRAM_TEXT, amendment, claim, command, goods_back, line, order, refund
from tests.posting.test_posted_commands import TRUSTED
from tests.shell import EVENT_SOURCE, LIMITS, Shell

SEVERAL = PROGRAM_TEXT + "one_account_per_customer: false\n"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """A customer with a primary account, and a second one that a card leads to."""
    shell = Shell(engine, limits=TRUSTED, program_text=SEVERAL)
    shell.take(order("o0", "1.00"))
    shell.take(command("account.create", "k1", account_id="second", customer_id="c1"))
    shell.take(command("account.link", "k2", account_id="second", card="9801-0007"))
    return shell


def named(event: dict[str, Any], **by: str) -> dict[str, Any]:
    """The message with its account named so."""
    data = {name: value for name, value in event["data"].items() if name != "customer_id"}
    return {**event, "data": {**data, **by}}


def balances(shell: Shell) -> dict[str | None, int]:
    return {row[0]: row[1] for row in shell.rows("SELECT own_account_id, balance FROM accounts")}


def letters(shell: Shell) -> list[tuple[int, str]]:
    return [tuple(row) for row in shell.rows("SELECT inbox_id, reason FROM inbox WHERE state = 'dead'")]


def drawn_id(shell: Shell) -> str:
    return str(shell.value("SELECT account_id FROM accounts WHERE own_account_id = 'second'"))


class TestOrders:
    @pytest.mark.parametrize("field", ["card", "account_id", "drawn"])
    def test_they_come_to_the_account_and_are_its_owners(self, shell: Shell, field: str) -> None:
        by = {"card": "9801-0007"} if field == "card" else {"account_id": "second"}
        by = {"account_id": drawn_id(shell)} if field == "drawn" else by
        shell.take(named(order("o1", "20.00"), **by), refund("r1", "o1", net="5.00"))
        assert (balances(shell), shell.differences()) == ({None: 1, "second": 15}, [])
        [row] = shell.rows("SELECT customer_id FROM orders WHERE order_id = 'o1'")
        assert row[0] == "c1"
        told = shell.events("loyalty.balance.changed")[-1]["data"]
        assert (told["customer_id"], "acting_customer_id" in told) == ("c1", False)

    def test_the_same_again_changes_nothing_and_other_content_is_parked(self, shell: Shell) -> None:
        first = named(order("o1", "20.00"), card="9801-0007")
        assert shell.take(first, {**first, "id": "again"}) == {"posted": 1, "replayed": 1}
        other = named(order("o1", "30.00", event_id="other"), card="9801-0007")
        assert shell.take(other, order("o1", "20.00", event_id="by customer")) == {"parked": 2}
        assert (balances(shell)["second"], shell.differences()) == (20, [])

    def test_what_leads_nowhere_yet_can_be_retried(self, shell: Shell) -> None:
        shell.take(named(order("o1", "20.00"), card="1111-2222"), refund("r1", "o1", net="5.00"))
        [(inbox_id, reason)] = letters(shell)
        assert reason == "unknown_account"
        shell.take(command("account.link", "k3", account_id="second", card="1111-2222"))
        limits = RetryLimits(LIMITS, shards=4, event_source=EVENT_SOURCE, waiting_days_max=30)
        [mended] = retry_letters(shell.engine, [inbox_id], limits, "kim")
        shell.post()
        assert mended.is_mended
        assert (balances(shell)["second"], shell.differences()) == (15, [])

    def test_an_account_of_another_program_is_not_taken(self, shell: Shell) -> None:
        shell.apply_program(PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace("/shops/test", "/o"))
        shell.take(named(order("o1", "20.00", source="/o"), account_id="second"))
        shell.take(named(order("o2", "20.00", source="/o"), card="9801-0007"))
        assert {reason for _, reason in letters(shell)} == {"unknown_account"}
        assert balances(shell)["second"] == 0

    def test_a_closed_account_takes_none(self, shell: Shell) -> None:
        shell.take(command("account.close", "k3", account_id="second"))
        shell.take(named(order("o1", "20.00"), card="9801-0007"))
        assert [reason for _, reason in letters(shell)] == ["account_closed"]

    @pytest.mark.parametrize("by", [{"card": "9801-0007", "account_id": "second"}, {"card": "no card!"}])
    def test_an_account_is_named_in_one_way(self, shell: Shell, by: dict[str, str]) -> None:
        shell.take(named(order("o1", "20.00"), **by))
        assert [reason for _, reason in letters(shell)] == ["invalid_data"]

    def test_beside_a_customer_who_decides_what_may_be_linked_is_left_out(self, shell: Shell) -> None:
        made = order("o1", "20.00")
        beside = {"card": "9801-0007", "phone": PHONE, "email": "ann@example.com"}
        shell.take({**made, "data": {**made["data"], **beside}})
        changed = amendment("o1", "50.00", customer_id="c1")
        shell.take({**changed, "data": {**changed["data"], **beside}})
        assert (balances(shell), letters(shell), shell.differences()) == ({None: 51, "second": 0}, [], [])

    @pytest.mark.parametrize("shards", [1, 16])
    def test_it_comes_after_the_command_that_makes_the_account(self, engine: Engine, shards: int) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT, shards=shards)
        made = [
            command("account.create", f"k{number}", account_id=f"a{number}", customer_id=f"c{number}")
            for number in range(16)
        ]
        sold = [named(order(f"o{number}", "20.00"), account_id=f"a{number}") for number in range(16)]
        sent_back = [refund(f"r{number}", f"o{number}", net="5.00") for number in range(16)]
        shell.take(*made[:8], *sold[:8], *sent_back[:8])
        for messages in (made[8:], sold[8:], sent_back[8:]):
            shell.receive(*messages)
        shell.post()
        while shell.sweep()["woken"]:
            shell.post()
        assert letters(shell) == []
        assert [*balances(shell).values()] == [15] * 16
        assert shell.differences() == []

    def test_an_inactive_program_records_them_only(self, shell: Shell) -> None:
        shell.apply_program(SEVERAL + "active: false\n", "2026-03-02T00:00:00Z")
        shell.take(named(order("o1", "20.00", time="2026-03-03T00:00:00Z"), card="9801-0007"))
        assert (balances(shell)["second"], shell.differences()) == (0, [])


class TestWhatComesAfter:
    def test_an_amendment_names_the_account_as_the_order_did(self, shell: Shell) -> None:
        shell.take(named(order("o1", "20.00"), card="9801-0007"))
        shell.take(named(amendment("o1", "30.00"), card="9801-0007"))
        assert (balances(shell)["second"], shell.differences()) == (30, [])
        shell.take(amendment("o1", "50.00", revision=2, customer_id="c1"))
        assert balances(shell)["second"] == 50
        assert shell.take(named(amendment("o1", "60.00", revision=3), account_id="second")) == {"parked": 1}

    def test_a_claim_moves_it_from_the_owner(self, shell: Shell) -> None:
        shell.take(named(order("o1", "20.00"), card="9801-0007"))
        shell.take(claim("o1", customer_id="c2", previous_customer_id="c1", time="2026-03-20T12:00:00Z"))
        assert (balances(shell)["second"], shell.differences()) == (0, [])

    @pytest.mark.parametrize("by", [{"card": "9801-0007"}, {"account_id": "second"}])
    def test_a_return_takes_from_the_account(self, shell: Shell, by: dict[str, str]) -> None:
        shell.take(named(order("o1", "20.00"), **by))
        shell.take(named(goods_back("b1", "5.00"), **by))
        assert (balances(shell), shell.differences()) == ({None: 1, "second": 15}, [])

    def test_a_return_names_whose_it_is(self, shell: Shell) -> None:
        shell.take(named(goods_back("b1", "5.00")), named(goods_back("b2", "5.00"), card="1111-2222"))
        assert sorted(reason for _, reason in letters(shell)) == ["invalid_data", "unknown_account"]


def test_an_order_in_a_crowd_of_lines_is_its_accounts_too(shell: Shell) -> None:
    lines = [line(str(number), "1.00") for number in range(30)]
    shell.take(named(order("o1", lines=lines), account_id="second"))
    assert (balances(shell)["second"], shell.differences()) == (30, [])


PHONE = "+44 7400 123456"


class TestClaims:
    @pytest.fixture
    def shell(self, shell: Shell) -> Shell:
        shell.take(command("account.link", "k5", account_id="second", phone=PHONE))
        shell.take(command("account.link", "k6", account_id="second", email="ann@example.com"))
        return shell

    @pytest.mark.parametrize(
        "by",
        [
            {"card": "9801-0007"},
            {"account_id": "second"},
            {"phone": "+44 (0)7400-123456"},
            {"email": "Ann@example.com"},
        ],
        ids=str,
    )
    def test_a_guests_order_comes_to_the_account_that_is_named(self, shell: Shell, by: dict[str, str]) -> None:
        shell.take(order("o1", "20.00", customer_id=None))
        made = named(claim("o1"), **by)
        assert shell.take(made, {**made, "id": "again"}) == {"posted": 1, "replayed": 1}
        shell.take(refund("r1", "o1", net="5.00"))
        assert (balances(shell), shell.differences()) == ({None: 1, "second": 15}, [])

    def test_with_its_order_in_one_batch_and_before_it(self, shell: Shell) -> None:
        first = named(claim("o1"), phone=PHONE)
        shell.take(order("o1", "20.00", customer_id=None), first, refund("r1", "o1", net="5.00"))
        shell.take(named(claim("o2"), phone=PHONE))
        shell.take(order("o2", "30.00", customer_id=None))
        while shell.sweep()["woken"]:
            shell.post()
        assert (balances(shell), shell.differences()) == ({None: 1, "second": 45}, [])

    def test_an_order_moves_between_two_accounts_of_a_customer_if_it_is_said_whose_it_was(self, shell: Shell) -> None:
        shell.take(order("o1", "20.00"))
        shell.take(named(claim("o1"), card="9801-0007"))
        assert [reason for _, reason in letters(shell)] == ["already_owned"]
        shell.take(named(claim("o1", event_id="moved", previous_customer_id="c1"), card="9801-0007"))
        assert (balances(shell), shell.differences()) == ({None: 1, "second": 20}, [])

    def test_what_is_its_already_stays(self, shell: Shell) -> None:
        shell.take(named(order("o1", "20.00"), card="9801-0007"))
        assert shell.take(named(claim("o1"), phone=PHONE)) == {"posted": 1}
        assert (balances(shell), letters(shell), shell.differences()) == ({None: 1, "second": 20}, [], [])

    def test_one_by_what_leads_nowhere_is_parked_and_can_be_retried(self, shell: Shell) -> None:
        shell.take(order("o1", "20.00", customer_id=None), named(claim("o1"), phone="+44 7400 123457"))
        [(inbox_id, reason)] = letters(shell)
        assert reason == "unknown_account"
        shell.take(command("account.link", "k7", account_id="second", phone="+44 7400 123457"))
        limits = RetryLimits(LIMITS, shards=4, event_source=EVENT_SOURCE, waiting_days_max=30)
        [mended] = retry_letters(shell.engine, [inbox_id], limits, "kim")
        shell.post()
        assert mended.is_mended
        assert (balances(shell), shell.differences()) == ({None: 1, "second": 20}, [])

    def test_a_closed_account_takes_none(self, shell: Shell) -> None:
        shell.take(command("account.close", "k7", account_id="second"))
        shell.take(order("o1", "20.00", customer_id=None), named(claim("o1"), phone=PHONE))
        assert [reason for _, reason in letters(shell)] == ["account_closed"]

    def test_it_says_whose_the_order_is_once(self, shell: Shell) -> None:
        shell.take(named(claim("o1")), claim("o2", customer_id="c1", phone=PHONE))
        assert [reason for _, reason in letters(shell)] == ["invalid_data"] * 2

    def test_another_program_would_have_given_its_owner_the_same(self, shell: Shell) -> None:
        shell.take(order("o1", "20.00", customer_id=None), named(claim("o1"), phone=PHONE))
        with shell.engine.connect() as connection:
            [_, _, claimed] = recorded_messages(connection, "test", datetime(2030, 1, 1, tzinfo=UTC))
        assert (claimed.type, claimed.fact.whom) == ("order.claimed", Whom("customer", "c1"))
