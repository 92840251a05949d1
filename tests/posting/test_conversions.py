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


def test_a_conversion_is_not_reversed(shell: Shell) -> None:
    shell.take(convert("k1", 60))
    shell.take({**command("reverse", "k2"), "data": {"command_id": "k1"}})
    assert (answer(shell, "k2")["code"], balances(shell)) == ("not_reversible", {"money": 40, "test": 40})
