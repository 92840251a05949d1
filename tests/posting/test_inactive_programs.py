"""A program that is not active takes no orders and no commands; what was there before goes on."""

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, claim, command, order, refund
from tests.shell import LIMITS, Shell

ENDED = "2026-06-01T00:00:00Z"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """A program that was active until June."""
    shell = Shell(engine, limits=LIMITS._replace(is_trusted=True))
    shell.apply_program(PROGRAM_TEXT + "active: false\n", effective_from=ENDED)
    return shell


def test_an_order_of_its_time_earns_nothing_and_is_recorded(shell: Shell) -> None:
    assert shell.take(order("o1", "100.00", time="2026-06-01T12:00:00Z"), refund("r1", "o1")) == {"posted": 2}
    assert (shell.balance(), shell.differences()) == (None, [])


def test_an_order_of_before_earns_and_is_refunded_whenever_they_come(shell: Shell) -> None:
    shell.take(order("o1", "100.00", time="2026-05-31T12:00:00Z"))
    shell.take(refund("r1", "o1", net="30.00", time="2026-07-01T12:00:00Z"))
    assert (shell.balance(), shell.differences()) == (70, [])


@pytest.mark.parametrize("verb", ["credit", "debit"])
def test_commands_are_rejected(shell: Shell, verb: str) -> None:
    shell.take(order("o1", "100.00", time="2026-05-31T12:00:00Z"), command(verb, "k1", points=5))
    assert (shell.outcome("k1"), shell.balance()) == (("rejected", "program_inactive"), 100)


def test_nobody_can_claim_what_it_recorded(shell: Shell) -> None:
    shell.take(order("o1", "100.00", customer_id=None, time="2026-06-02T12:00:00Z"))
    assert shell.take(claim("o1", "c1")) == {"parked": 1}
    (row,) = shell.rows("SELECT reason, detail FROM inbox WHERE state = 'dead'")
    assert row.reason == "program_inactive"
    assert "program test was not active at the order's time" in row.detail


def test_it_can_be_active_again(shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT, effective_from="2026-08-01T00:00:00Z")
    shell.take(order("o1", "100.00", time="2026-08-02T12:00:00Z"), command("credit", "k1", points=5))
    assert (shell.balance(), shell.differences()) == (105, [])
