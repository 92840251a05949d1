"""What waits for the fulfilment of an order is proved from the order, whatever became of what was available."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, command, fulfilment, line, order, refund, reversion
from tests.shell import Shell, take_by_operator

#: Less than 50.00 earns nothing: what is left of a part that is fulfilled may have to wait again.
HELD = (
    PROGRAM_TEXT.replace("kind: spend", 'kind: spend\n    when: {minimum_amount: "50.00"}')
    + "availability: {policy: on_fulfilled}\n"
)
CHECK = "what waits for the fulfilment of an order is what it earns with what is not fulfilled"
A_PIECE = [{"line_id": "1", "quantity": 1}]


@pytest.fixture
def shell(engine: Engine) -> Iterator[Shell]:
    """An order of which a line of 60 points is fulfilled, and one of 40 is not."""
    shell = Shell(engine, program_text=HELD)
    lines = [line("1", "60.00", 4), line("2", "40.00")]
    shell.take(order("o1", lines=lines), fulfilment("o1", lines=[{"line_id": "1"}]))
    assert (shell.balance(), waiting(shell)) == (60, 40)
    yield shell
    assert shell.differences() == []


def waiting(shell: Shell) -> int:
    return int(shell.value("SELECT sum(points_remaining) FROM lots WHERE is_pending"))


def test_what_is_not_available_any_more_waits_again(shell: Shell) -> None:
    shell.take(refund("r1", lines=A_PIECE))
    assert (shell.balance(), waiting(shell)) == (0, 85)


def test_what_was_spent_by_then_cannot_wait_again_and_is_not_missed(shell: Shell) -> None:
    take_by_operator(shell, command("debit", "k1", points=50))
    shell.take(refund("r1", lines=A_PIECE))
    assert waiting(shell) < 85
    assert shell.differences() == []
    shell.take(reversion("r1"))
    assert waiting(shell) == 40


def test_points_that_were_made_available_too_early_are_told(shell: Shell) -> None:
    early = "UPDATE lots SET points_remaining = points_remaining + {}, points_granted = points_granted + {}"
    shell.execute(f"{early.format(-1, -1)} WHERE is_pending; {early.format(1, 1)} WHERE NOT is_pending")
    told = [text for text in shell.differences() if text.startswith(CHECK)]
    assert told == [
        f"{CHECK}: order o1 of /shops/test should have 40 points that wait for its fulfilment, but its lots have 39"
    ]
    shell.execute(f"{early.format(1, 1)} WHERE is_pending; {early.format(-1, -1)} WHERE NOT is_pending")


def test_what_waited_and_went_with_an_erased_account_is_not_missed(shell: Shell) -> None:
    shell.take(order("whole", "60.00"))
    take_by_operator(shell, command("customer.erase", "e1", reason="asked for it"))
    assert waiting(shell) == 0
    assert shell.differences() == []
