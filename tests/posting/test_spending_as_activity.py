"""Where inactivity ends points, spending lets those that are left last longer, and so does a credit."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, command, order, refund
from tests.shell import LIMITS, Shell

IDLE = PROGRAM_TEXT + "expiry: {policy: inactivity, days: 100}\n"
ZONE = ZoneInfo("Europe/Berlin")  #: of the program, whose days are counted, also over a change of the clocks


def ago(days: int) -> str:
    return (datetime.now(ZONE) - timedelta(days=days)).isoformat()


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, limits=LIMITS._replace(is_trusted=True), program_text=IDLE)


def days_left(shell: Shell) -> list[int]:
    """In how many days each lot with points left expires, counted from the last day on which its points are good."""
    rows = shell.rows(
        "SELECT ((expires_at AT TIME ZONE 'Europe/Berlin')::date - 1 - (now() AT TIME ZONE 'Europe/Berlin')::date) AS n"
        " FROM dated_lots WHERE points_remaining > 0 ORDER BY lot_number"
    )
    return [row.n for row in rows]


def test_a_debit_lets_what_is_left_last_longer(shell: Shell) -> None:
    shell.take(order("o1", "100.00", time=ago(60)))
    assert days_left(shell) == [40]
    shell.take(command("debit", "k1", points=30, time=ago(10)))
    assert (days_left(shell), shell.balance(), shell.differences()) == ([90], 70, [])


def test_a_rejected_one_does_not(shell: Shell) -> None:
    shell.take(order("o1", "100.00", time=ago(60)), command("debit", "k1", points=300, time=ago(10)))
    assert (days_left(shell), shell.differences()) == ([40], [])


def test_a_credit_expires_with_the_others_and_lets_them_last_longer(shell: Shell) -> None:
    shell.take(order("o1", "100.00", time=ago(60)), command("credit", "k1", points=30, time=ago(10)))
    assert (days_left(shell), shell.differences()) == ([90, 90], [])


def test_points_given_by_command_alone_last_as_long_as_the_program_says(shell: Shell) -> None:
    shell.take(command("credit", "k1", points=30, time=ago(10)))
    shell.take(command("adjust", "k2", points=30, reason="x", time=ago(5)))
    assert (days_left(shell), shell.differences()) == ([95, 95], [])


def test_points_taken_by_a_correction_let_nothing_last(shell: Shell) -> None:
    shell.take(order("o1", "100.00", time=ago(60)), command("adjust", "k1", points=-30, reason="x", time=ago(10)))
    assert (days_left(shell), shell.balance(), shell.differences()) == ([40], 70, [])


def test_a_credit_with_an_end_of_its_own_keeps_that(shell: Shell) -> None:
    until = ago(-500)
    shell.take(order("o1", "100.00", time=ago(60)), command("credit", "k1", points=30, expires_at=until))
    first, own = days_left(shell)
    assert first == 40
    assert own in {499, 500}
    assert shell.differences() == []


@pytest.mark.parametrize("in_one_batch", [False, True])
@pytest.mark.parametrize("asked", [("debit", {}), ("credit", {}), ("adjust", {"reason": "x"})])
def test_when_an_order_is_gone_what_a_command_has_let_last_stays(
    shell: Shell, asked: tuple[str, dict[str, str]], *, in_one_batch: bool
) -> None:
    verb, data = asked
    messages: list[dict[str, Any]] = [
        order("o1", "100.00", time=ago(60)),
        command(verb, "k1", points=30, time=ago(20), **data),
        order("o2", "50.00", time=ago(5)),
        refund("r2", "o2", time=ago(1)),
    ]
    for batch in [messages] if in_one_batch else [[each] for each in messages]:
        shell.take(*batch)
    assert set(days_left(shell)) == {80}
    assert shell.differences() == []


def test_without_one_the_end_comes_back_that_the_first_order_gave(shell: Shell) -> None:
    shell.take(order("o1", "100.00", time=ago(60)), order("o2", "50.00", time=ago(5)), refund("r2", "o2", time=ago(1)))
    assert (days_left(shell), shell.differences()) == ([40], [])
