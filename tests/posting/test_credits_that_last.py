"""Points that commands give where inactivity ends points: they share an expiry with the others, and keep it."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, command, order, refund
from tests.shell import LIMITS, Shell

TRUSTED = LIMITS._replace(is_trusted=True)
NOW = datetime.now(UTC)


def days(number: float) -> str:
    return (NOW + timedelta(days=number)).isoformat()


@pytest.fixture
def shell(engine: Engine) -> Shell:
    extra = "expiry: {policy: inactivity, days: 30}\n"
    return Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT.replace("Europe/Berlin", "UTC") + extra)


def ends(shell: Shell) -> list[int]:
    """For how many days from today on the points of each lot are good."""
    rows = shell.rows("SELECT expires_at FROM dated_lots ORDER BY lot_number")
    return [(row.expires_at.date() - NOW.date()).days - 1 for row in rows]


def test_a_credit_begins_an_expiry_that_an_order_moves_on(shell: Shell) -> None:
    shell.take(command("credit", "k1", points=500, time=days(-10)))
    assert (ends(shell), shell.differences()) == ([20], [])
    shell.take(order("o1", "100.00", time=days(-2)))
    assert (ends(shell), shell.differences()) == ([28, 28], [])


@pytest.mark.parametrize("is_one_batch", [False, True])
def test_without_the_order_it_ends_as_if_that_had_never_been(shell: Shell, *, is_one_batch: bool) -> None:
    story = [
        command("credit", "k1", points=500, time=days(-10)),
        order("o1", "100.00", time=days(-2)),
        refund("r1", "o1", full=True),
    ]
    for messages in [story] if is_one_batch else [[each] for each in story]:
        shell.take(*messages)
    assert (set(ends(shell)), shell.differences()) == ({20}, [])


@pytest.mark.parametrize("is_one_batch", [False, True])
def test_a_credit_keeps_the_expiry_that_a_refunded_order_began(shell: Shell, *, is_one_batch: bool) -> None:
    story = [
        order("o1", "100.00", time=days(-2)),
        command("credit", "k1", points=500, time=days(-10)),
        refund("r1", "o1", full=True),
        order("o2", "50.00", time=days(-20)),
    ]
    for messages in [story] if is_one_batch else [[each] for each in story]:
        shell.take(*messages)
    assert (set(ends(shell)), shell.differences()) == ({20}, [])


def test_points_that_are_yet_to_come_let_what_they_share_last_from_then_on(shell: Shell) -> None:
    shell.take(order("o1", "100.00", time=days(-2)))
    shell.take(command("credit", "k1", points=500, available_at=days(25)))
    shell.take(refund("r1", "o1", full=True))
    assert (set(ends(shell)), shell.differences()) == ({55}, [])


def test_a_source_may_call_its_commands_as_it_calls_its_orders(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "expiry: {policy: after_days, days: 30}\n")
    shell.take(order("o1", "100.00", time=days(-2)))
    shell.take(command("credit", "o1", points=500, expires_at=days(200)))
    assert shell.differences() == []
    shell.take(refund("r1", "o1", full=True))
    assert (shell.balance(), shell.differences()) == (500, [])


HELD = "availability: {policy: after_days, days: 3}\n"


@pytest.mark.parametrize("is_credited", [False, True])
def test_points_that_only_pay_off_what_is_owed_let_none_last_from_when_they_are_available(
    engine: Engine, *, is_credited: bool
) -> None:
    text = PROGRAM_TEXT.replace("Europe/Berlin", "UTC") + HELD + "expiry: {policy: inactivity, days: 300}\n"
    shell = Shell(engine, limits=TRUSTED, program_text=text)
    shell.take(order("o1", "20.00", time=days(-30)))
    shell.take(command("redeem", "k1", points=20, time=days(-25)))
    shell.take(refund("r1", "o1", net="15.00", time=days(-24)))
    credited = command("credit", "k2", points=10, time=days(-10))
    shell.take(credited if is_credited else order("o2", "10.00", time=days(-10)))
    assert (shell.balance(), shell.differences(), shell.repairs()) == (-5, [], ([], []))
    assert ends(shell) == [275 if is_credited else 290]
