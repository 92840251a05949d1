"""Conversions: points become those of another program of the same customer, at its rate: both sides, or none."""

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.answers import TRUSTED, answer
from tests.factories import PROGRAM_TEXT, command, order
from tests.shell import Shell

CONVERTING = PROGRAM_TEXT + (
    "conversions:\n  - {to_program: money, points: 3, gives: 2, points_min: 30, points_step: 10}\n"
    "  - {to_program: stars, points: 100, gives: 1}\n"
)
MONEY = """
program_id: money
name: Account money
currency: EUR
unit: EUR
time_zone: Europe/Berlin
expiry: {policy: after_days, days: 90}
"""


@pytest.fixture
def shell(engine: Engine) -> Shell:
    shell = Shell(engine, limits=TRUSTED, program_text=None)
    for text in (MONEY, MONEY.replace("money", "stars") + "enrol: command\n", CONVERTING):
        shell.apply_program(text)
    shell.take(order("o1", "100.00"))
    return shell


def convert(event_id: str, points: int, to: str = "money", **data: Any) -> dict[str, Any]:
    return command("convert", event_id, **{"customer_id": "c1", **data}, to_program_id=to, points=points)


def balances(shell: Shell) -> dict[str, int]:
    return {row[0]: row[1] for row in shell.rows("SELECT program_id, balance FROM accounts ORDER BY program_id")}


def test_points_become_those_of_the_other_program_rounded_as_the_program_says(shell: Shell) -> None:
    shell.take(convert("k1", 50, reason="cash"))
    told = answer(shell, "k1")
    assert (told["points"], told["to_points"], told["program_id"]) == (50, 33, "test")
    assert [(each["kind"], each["points"]) for each in told["entries"]] == [("conversion", -50), ("conversion", 33)]
    assert told["to_account_id"] == told["accounts"][1]["account_id"]
    assert (balances(shell), shell.differences()) == ({"money": 33, "test": 50}, [])
    [lot] = shell.rows(
        "SELECT origin_kind, origin_id, expires_at - available_at AS good FROM lots WHERE origin_id = 'k1'"
    )
    assert (lot.origin_kind, lot.good.days) == ("command", 90)


def test_they_pay_off_first_what_is_owed_there(shell: Shell) -> None:
    shell.take(command("credit", "k1", program_id="money", points=5))
    shell.take(command("adjust", "k2", program_id="money", points=-25, reason="x", allow_negative_balance=True))
    shell.take(convert("k3", 60))
    assert (balances(shell), shell.differences()) == ({"money": 20, "test": 40}, [])


def test_where_inactivity_ends_points_they_have_an_end_of_their_own(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED, program_text=MONEY.replace("after_days", "inactivity"))
    shell.apply_program(CONVERTING.split("  - {to_program: stars")[0])
    shell.take(order("o1", "100.00"), convert("k1", 30))
    assert shell.value("SELECT count(*) FROM shared_expiries") == 0
    assert (balances(shell), shell.differences()) == ({"money": 20, "test": 70}, [])


@pytest.mark.parametrize(
    ("points", "data", "code"),
    [
        (20, {}, "below_minimum"),
        (35, {}, "not_convertible"),
        (90, {"to": "stars"}, "below_minimum"),
        (100, {"to": "stars"}, "unknown_account"),
        (50, {"to": "test"}, "not_convertible"),
        (50, {"to": "nowhere"}, "not_convertible"),
        (5, {"to": "test", "program_id": "money"}, "unknown_account"),
        (110, {}, "insufficient_points"),
        (50, {"customer_id": "nobody"}, "unknown_account"),
        (50, {"unit": "EUR"}, "wrong_unit"),
        (0, {}, "invalid_data"),
    ],
)
def test_what_cannot_be_done_changes_neither_side(shell: Shell, points: int, data: dict[str, Any], code: str) -> None:
    shell.take(convert("k1", points, **data))
    assert (answer(shell, "k1")["code"], balances(shell), shell.differences()) == (code, {"test": 100}, [])


@pytest.mark.parametrize(
    ("program_id", "status", "code"),
    [("test", "frozen", "account_frozen"), ("money", "closed", "account_closed"), ("money", "frozen", None)],
)
def test_frozen_and_closed_accounts_take_part_in_less(
    shell: Shell, program_id: str, status: str, code: str | None
) -> None:
    shell.take(command("credit", "k1", program_id="money", points=5))
    shell.execute("UPDATE accounts SET status = :s WHERE program_id = :p", s=status, p=program_id)
    shell.take(convert("k2", 60))
    assert (answer(shell, "k2").get("code"), balances(shell)["money"]) == (code, 5 if code else 45)


def test_the_other_side_must_have_room(shell: Shell) -> None:
    shell.take(command("credit", "k1", program_id="money", points=10**15))
    shell.take(convert("k2", 60))
    assert (answer(shell, "k2")["code"], balances(shell)["test"]) == ("too_many_points", 100)


def reverse(event_id: str, of: str = "k1", **data: Any) -> dict[str, Any]:
    return command("reverse", event_id, command_id=of, **data)


class TestReversal:
    def test_both_sides_are_undone_and_the_points_have_their_dates_again(self, shell: Shell) -> None:
        shell.take(convert("k1", 50), reverse("k2"))
        told = answer(shell, "k2")
        assert (told["type"], told["points"], told["program_id"]) == ("accepted", 50, "test")
        assert [(each["kind"], each["points"]) for each in told["entries"]] == [("reversal", 50), ("reversal", -33)]
        assert (balances(shell), shell.differences()) == ({"money": 0, "test": 100}, [])
        assert shell.value("SELECT points_remaining FROM lots WHERE origin_kind = 'order'") == 100

    def test_it_is_done_in_another_batch_and_once(self, shell: Shell) -> None:
        shell.take(convert("k1", 50))
        shell.take(reverse("k2", points=50), reverse("k3"))
        shell.take(reverse("k4", "k2"))
        codes = [answer(shell, name).get("code") for name in ("k2", "k3", "k4")]
        assert codes == [None, "already_reversed", "not_reversible"]
        assert (balances(shell), shell.differences(), shell.repairs().repairs) == ({"money": 0, "test": 100}, [], [])

    @pytest.mark.parametrize("points", [49, 33, 51])
    def test_it_is_undone_as_a_whole(self, shell: Shell, points: int) -> None:
        shell.take(convert("k1", 50), reverse("k2", points=points))
        assert (answer(shell, "k2")["code"], balances(shell)) == ("not_reversible", {"money": 33, "test": 50})

    def test_what_is_spent_in_the_other_program_leaves_both_sides_as_they_are(self, shell: Shell) -> None:
        shell.take(convert("k1", 60), command("redeem", "k2", program_id="money", points=15))
        shell.take(reverse("k3"))
        assert (answer(shell, "k3")["code"], balances(shell)) == ("insufficient_points", {"money": 25, "test": 40})
        assert shell.differences() == []

    def test_unless_the_account_may_owe_it_there(self, shell: Shell) -> None:
        shell.take(convert("k1", 60), command("redeem", "k2", program_id="money", points=15))
        shell.take(reverse("k3", allow_negative_balance=True))
        assert (balances(shell), shell.differences()) == ({"money": -15, "test": 100}, [])


@pytest.mark.parametrize("rounding", ["floor", "ceil", "half_up", "half_even"])
def test_verify_works_the_rate_out_anew(engine: Engine, rounding: str) -> None:
    rates = f"conversions:\n  - {{to_program: money, points: 4, gives: 2, rounding: {rounding}}}\n"
    shell = Shell(engine, limits=TRUSTED, program_text=MONEY)
    shell.apply_program(PROGRAM_TEXT + rates)
    shell.take(order("o1", "100.00"), *(convert(f"k{points}", points) for points in (4, 5, 6, 7, 9, 11)))
    assert shell.differences() == []
    shell.execute("UPDATE programs SET document = jsonb_set(document, '{conversions,0,gives}', '3')")
    told = "converted 4 points to 2 of money, and version 1 of test gives 3"
    assert [text for text in shell.differences() if told in text]


@pytest.mark.parametrize(
    "by",
    [{"card": "9801-0007"}, {"phone": "+44 (0)7400-123456"}, {"email": "Ann@example.com"}, {"account_id": "drawn"}],
    ids=str,
)
class TestOfANamedAccount:
    @pytest.fixture
    def shell(self, shell: Shell) -> Shell:
        linked = {"card": "9801-0007"}, {"phone": "+447400123456"}, {"email": "ann@example.com"}
        shell.take(*(command("account.link", f"l{number}", **each) for number, each in enumerate(linked)))
        return shell

    @staticmethod
    def named(shell: Shell, made: dict[str, Any], by: dict[str, str]) -> dict[str, Any]:
        if "account_id" in by:
            by = {"account_id": str(shell.value("SELECT account_id FROM accounts WHERE program_id = 'test'"))}
        data = {name: value for name, value in made["data"].items() if name != "customer_id"}
        return {**made, "data": {**data, **by}}

    def test_they_go_to_its_owners_account_in_the_other_program(self, shell: Shell, by: dict[str, str]) -> None:
        shell.take(self.named(shell, convert("k1", 50), by))
        assert (balances(shell), shell.differences()) == ({"money": 33, "test": 50}, [])
        undo = {**command("reverse", "k3"), "data": {"command_id": "k1"}}
        shell.take(self.named(shell, convert("k2", 30), by), undo)
        assert (balances(shell), shell.differences()) == ({"money": 20, "test": 70}, [])
        shell.take(command("account.close", "k4", program_id="money", points_left="forfeit"))
        shell.take(self.named(shell, convert("k5", 30), by))
        assert (answer(shell, "k5")["code"], shell.differences()) == ("account_closed", [])

    def test_of_one_that_is_merged_to_who_owns_the_survivor(self, shell: Shell, by: dict[str, str]) -> None:
        made = self.named(shell, convert("k3", 50), by)
        shell.take(order("o2", "10.00", customer_id="c2"))
        shell.take(command("account.merge", "k1", into_customer_id="c2"))
        shell.take(made)
        [row] = shell.rows("SELECT customer_id, balance FROM accounts WHERE program_id = 'money'")
        assert (tuple(row), shell.balance("c2"), shell.differences()) == (("c2", 33), 60, [])

    def test_in_one_batch_with_what_moves_it_elsewhere(self, engine: Engine, shell: Shell, by: dict[str, str]) -> None:
        """What was looked up is not what is meant then: the batch is done again, one message after the other."""
        made = self.named(shell, convert("k3", 50), by)
        single = Shell(engine, limits=TRUSTED, program_text=None, shards=1)
        single.take(order("o2", "10.00", customer_id="c2"))
        single.take(command("account.merge", "k1", into_customer_id="c2"), made)
        [row] = shell.rows("SELECT customer_id, balance FROM accounts WHERE program_id = 'money'")
        assert (tuple(row), shell.balance("c2"), shell.differences()) == (("c2", 33), 60, [])
