"""Where only a command opens accounts, what comes of a customer without one opens none, and earns nothing."""

import pytest
from sqlalchemy import Engine

from core.mending.dead_letters import RetryLimits, retry_letters
from tests.factories import PROGRAM_TEXT, claim, goods_back, order, refund
from tests.shell import EVENT_SOURCE, LIMITS, Shell

BY_COMMAND = PROGRAM_TEXT + "enrol: command\n"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, program_text=BY_COMMAND)


def accounts(shell: Shell) -> int:
    return int(shell.value("SELECT count(*) FROM accounts"))


def test_an_order_of_a_customer_without_an_account_is_recorded_as_a_guests(shell: Shell) -> None:
    assert shell.take(order("o1", "100.00")) == {"posted": 1}
    (row,) = shell.rows("SELECT account_id, customer_id, points_entitled FROM orders")
    assert tuple(row) == (None, "c1", 0)
    assert (accounts(shell), shell.events("loyalty.balance.changed"), shell.differences()) == (0, [], [])


def test_its_refund_and_its_repetition_find_it(shell: Shell) -> None:
    assert shell.take(order("o1", "100.00"), refund("r1")) == {"posted": 2}
    assert shell.take({**order("o1", "100.00"), "id": "again"}) == {"replayed": 1}
    assert (accounts(shell), shell.differences()) == (0, [])


def test_who_has_an_account_already_earns(engine: Engine) -> None:
    shell = Shell(engine)
    shell.take(order("o1", "100.00", time="2026-03-01T12:00:00Z"))
    shell.apply_program(BY_COMMAND, effective_from="2026-03-02T00:00:00Z")
    shell.take(order("o2", "50.00", time="2026-03-03T12:00:00Z"))
    shell.take(order("o3", "50.00", time="2026-03-03T12:00:00Z", customer_id="c2"))
    assert (shell.balance(), accounts(shell), shell.differences()) == (150, 1, [])


def test_goods_that_come_back_from_a_customer_without_an_account_take_nothing(shell: Shell) -> None:
    assert shell.take(goods_back(amount="20.00")) == {"posted": 1}
    (row,) = shell.rows("SELECT account_id, points_due, points_taken, points_shortfall FROM returns")
    assert tuple(row) == (None, 20, 0, 20)
    assert (accounts(shell), shell.differences()) == (0, [])


def test_a_claim_by_a_customer_without_an_account_is_parked_until_there_is_one(engine: Engine) -> None:
    shell = Shell(engine)
    shell.apply_program(BY_COMMAND, effective_from="2026-03-02T00:00:00Z")
    shell.take(order("o1", "100.00", customer_id=None, time="2026-03-03T12:00:00Z"))
    assert shell.take(claim()) == {"parked": 1}
    (letter,) = shell.rows("SELECT inbox_id, reason, detail FROM inbox WHERE state = 'dead'")
    assert letter.reason == "not_enrolled"
    assert "program test opens accounts only by command; create the account, then retry" in letter.detail
    assert (accounts(shell), shell.differences()) == (0, [])
    shell.take(order("o0", "50.00", time="2026-03-01T12:00:00Z"))  # late, of a time when orders opened accounts
    limits = RetryLimits(LIMITS, shards=4, event_source=EVENT_SOURCE, waiting_days_max=30)
    [mended] = retry_letters(engine, [letter.inbox_id], limits, "kim")
    assert mended.is_mended
    assert shell.post() == {"posted": 1}
    assert (shell.balance(), shell.differences()) == (150, [])
