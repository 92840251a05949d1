"""Adjustments: a person corrects what an account has, either way, and says why."""

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.answers import TRUSTED, answer
from tests.factories import PROGRAM_TEXT, command, order
from tests.shell import Shell

LATER = "2099-01-01T00:00:00Z"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, limits=TRUSTED)


def deficit(shell: Shell) -> Any:
    return shell.value("SELECT deficit FROM accounts WHERE customer_id = 'c1'")


def test_points_above_0_are_given(shell: Shell) -> None:
    shell.take(order("o1", "100.00"), command("adjust", "k1", points=40, reason="counted wrong", expires_at=LATER))
    told = answer(shell, "k1")
    [entry] = told["entries"]
    assert (told["type"], told["points"], entry["kind"], entry["points"]) == ("accepted", 40, "adjustment", 40)
    assert entry["lots"] == [{"lot_number": 2, "points": 40, "expires_at": LATER}]
    assert (shell.balance(), told["accounts"][0]["lifetime_points"], shell.differences()) == (140, 100, [])
    [event] = [each["data"] for each in shell.events("loyalty.balance.changed") if each["data"]["sequence"] == 2]
    assert (event["kind"], event["reason"], event["command_id"]) == ("adjustment", "command_adjustment", "k1")


def test_points_below_0_are_taken_of_what_expires_soonest(shell: Shell) -> None:
    shell.take(
        order("o1", "100.00"),
        command("credit", "k1", points=50, expires_at=LATER),
        command("adjust", "k2", points=-70, reason="posted twice"),
    )
    told = answer(shell, "k2")
    assert [(lot["lot_number"], lot["points"]) for lot in told["entries"][0]["lots"]] == [(2, -50), (1, -20)]
    assert (told["points"], shell.balance(), deficit(shell), shell.differences()) == (70, 80, 0, [])


def test_more_than_there_is_is_not_taken(shell: Shell) -> None:
    shell.take(order("o1", "100.00"), command("adjust", "k1", points=-101, reason="x"))
    told = answer(shell, "k1")
    assert (told["code"], shell.balance()) == ("insufficient_points", 100)
    assert "allow_negative_balance" in told["advice"]


def test_unless_the_account_may_owe_the_rest_which_the_next_points_pay_off(shell: Shell) -> None:
    shell.take(order("o1", "100.00"), command("adjust", "k1", points=-130, reason="x", allow_negative_balance=True))
    assert (answer(shell, "k1")["accounts"][0]["balance"], deficit(shell), shell.differences()) == (-30, 30, [])
    shell.take(command("adjust", "k2", points=-5, reason="x", allow_negative_balance=True))
    assert (shell.balance(), deficit(shell)) == (-35, 35)
    shell.take(command("adjust", "k3", points=45, reason="x"))
    assert (shell.balance(), deficit(shell), shell.differences()) == (10, 0, [])
    assert shell.value("SELECT points_granted FROM lots WHERE lot_number = 2") == 10


def test_where_the_program_lists_reasons_it_is_one_of_them(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "adjustment_reasons: [goodwill, mistake]\n")
    shell.take(
        order("o1", "100.00"),
        command("adjust", "k1", points=5, reason="mistake"),
        command("adjust", "k2", points=5, reason="mood"),
    )
    told = answer(shell, "k2")
    assert (answer(shell, "k1")["type"], told["code"], shell.balance()) == ("accepted", "unknown_reason", 105)
    assert told["advice"] == "write one of goodwill, mistake"
    assert "mood" not in told["detail"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"points": 0, "reason": "x"}, "invalid_data"),
        ({"points": 5}, "invalid_data"),
        ({"points": -5, "reason": "x", "expires_at": LATER}, "invalid_data"),
        ({"points": -(10**15) - 1, "reason": "x"}, "invalid_data"),
        ({"points": 10**15, "reason": "x"}, "too_many_points"),
        ({"points": 5, "reason": "x", "expires_at": "2026-01-01T00:00:00Z"}, "already_expired"),
        ({"points": 5, "reason": "x", "customer_id": "nobody"}, "unknown_account"),
    ],
)
def test_what_cannot_be_done_is_rejected(shell: Shell, data: dict[str, Any], code: str) -> None:
    shell.take(order("o1", "1.00"))
    shell.take(command("adjust", "k1", **data))
    assert (answer(shell, "k1")["code"], shell.balance(), shell.differences()) == (code, 1, [])


def test_nobody_comes_to_owe_more_than_is_counted(shell: Shell) -> None:
    shell.take(
        order("o1", "1.00"),
        *(command("adjust", f"k{n}", points=-(10**15), reason="x", allow_negative_balance=True) for n in (1, 2)),
    )
    assert (answer(shell, "k2")["code"], deficit(shell), shell.differences()) == ("too_many_points", 10**15 - 1, [])


@pytest.mark.parametrize(("status", "code"), [("frozen", None), ("closed", "account_closed")])
@pytest.mark.parametrize("points", [30, -30])
def test_a_frozen_account_is_corrected_and_a_closed_one_is_not(
    shell: Shell, status: str, code: str | None, points: int
) -> None:
    shell.take(order("o1", "100.00"))
    shell.execute("UPDATE accounts SET status = :status", status=status)
    shell.take(command("adjust", "k1", points=points, reason="x"))
    assert (answer(shell, "k1").get("code"), shell.balance()) == (code, 100 if code else 100 + points)
