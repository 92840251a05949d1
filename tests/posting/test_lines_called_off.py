"""Lines below zero, for what was given back in exchange, that are called off: in any batch, arrival and repetition."""

from itertools import permutations

import pytest
from sqlalchemy import Engine

from tests.answers import TRUSTED
from tests.arrivals import rounds
from tests.factories import PROGRAM_TEXT, amendment, cancellation, command, line, order, refund
from tests.shell import Shell, take_by_operator

HELD = PROGRAM_TEXT + "availability: {policy: on_fulfilled}\n"
ENDING = PROGRAM_TEXT + "expiry: {policy: inactivity, months: 20}\n"
BY_LINE = PROGRAM_TEXT.replace("    kind: spend\n", "    kind: spend\n    round_per: line\n")
LEAST = PROGRAM_TEXT.replace("    kind: spend\n", '    kind: spend\n    lines: {minimum_amount: "20"}\n')
BOUGHT = [line("1", "100.00", 2), line("2", "50.00")]
BACK = line("1b", "-50.00", -1)


def called_off(number: int, *line_ids: str) -> dict[str, object]:
    lines = [{"line_id": each} for each in line_ids]
    return cancellation("o1", event_id=f"x{number}", cancellation_id=f"x{number}", lines=lines)


EXCHANGED = (
    order("o1", lines=BOUGHT),
    amendment("o1", lines=[*BOUGHT, BACK]),
    *(called_off(number, "1b") for number in range(3)),
)


@pytest.mark.parametrize("is_one_batch", [True, False])
@pytest.mark.parametrize("program_text", [PROGRAM_TEXT, HELD, ENDING], ids=["at once", "held", "by inactivity"])
def test_what_was_given_back_is_called_off_once_in_whatever_way_that_arrives(
    engine: Engine, program_text: str, is_one_batch: bool
) -> None:
    shell = Shell(engine, program_text=program_text)
    arrivals = [EXCHANGED, *[*permutations(EXCHANGED)][5::13]]
    for together in rounds(arrivals, is_one_batch=is_one_batch):
        shell.take(*together)
    while shell.sweep()["woken"]:
        shell.post()
    kept = [row.balance + row.pending for row in shell.rows("SELECT balance, pending FROM accounts")]
    assert kept == [150] * len(arrivals)
    assert shell.value("SELECT count(*) FROM inbox WHERE state <> 'posted'") == 0
    assert shell.differences() == []


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (2, 3), (1, 4), (3, 2), (1, 1, 3), (5,)])
def test_batches_of_any_size_call_off_once_what_was_given_back(engine: Engine, sizes: tuple[int, ...]) -> None:
    shell, messages = Shell(engine), list(EXCHANGED)
    for size in sizes:
        shell.take(*[messages.pop(0) for _ in range(size)])
    assert (shell.balance(), shell.differences()) == (150, [])
    assert shell.value("SELECT count(*) FROM inbox WHERE state <> 'posted'") == 0


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_an_exchange_is_called_off_with_what_was_bought_in_it(engine: Engine, is_one_batch: bool) -> None:
    """Also where all points were spent meanwhile."""
    shell, bought = Shell(engine), [line("1", "49.00", 2)]
    amended = amendment("o1", lines=[*bought, line("1-back", "-24.50", -1), line("4", "9.00")])
    messages = [
        amended,
        called_off(1, "1-back", "4"),
        called_off(2, "1-back"),
        refund("r1", lines=[{"line_id": "1", "quantity": 1}]),
    ]
    shell.take(order("o1", lines=bought))
    take_by_operator(shell, command("redeem", "spent", points=49))
    for together in [messages] if is_one_batch else [[message] for message in messages]:
        assert shell.take(*together) == {"posted": len(together)}
    assert (shell.balance(), shell.differences()) == (24 - 49, [])


@pytest.mark.parametrize("is_one_batch", [True, False])
@pytest.mark.parametrize(
    ("program_text", "back", "net", "points"),
    [
        pytest.param(LEAST, "-20.00", "1.00", 79, id="a line below zero that shrinks below its minimum"),
        pytest.param(BY_LINE, "-1.00", "0.40", 100, id="a line below zero that is rounded to nothing"),
    ],
)
def test_a_refund_is_posted_that_shrinks_what_was_given_back(
    engine: Engine, program_text: str, back: str, net: str, points: int, is_one_batch: bool
) -> None:
    shell, bought = Shell(engine, program_text=program_text), [line("1", "100.90", 2)]
    messages = [
        order("o1", lines=bought), amendment("o1", lines=[*bought, line("1b", back, -1)]), refund("r1", net=net),
    ]  # fmt: skip
    for together in [messages] if is_one_batch else [[message] for message in messages]:
        assert shell.take(*together) == {"posted": len(together)}
    assert (shell.balance(), shell.differences()) == (points, [])


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_points_that_paid_are_taken_again_where_what_was_given_back_is_called_off(
    engine: Engine, is_one_batch: bool
) -> None:
    """Half of the order was refunded without it; with it a third is."""
    shell, paid = Shell(engine, limits=TRUSTED), {"points_paid": "60.00", "points_command_id": "p1"}
    messages = [
        order("o1", lines=BOUGHT, **paid),
        amendment("o1", lines=[*BOUGHT, BACK], **paid),
        refund("r1", lines=[{"line_id": "2", "quantity": 1}]),
        *(called_off(number, "1b") for number in range(2)),
    ]
    shell.take(command("credit", "g1", points=80), command("redeem", "p1", points=60))
    for together in [messages] if is_one_batch else [[message] for message in messages]:
        assert shell.take(*together) == {"posted": len(together)}
    repaid = shell.rows("SELECT points FROM entries WHERE kind = 'repayment' ORDER BY sequence")
    assert ([row.points for row in repaid], shell.differences()) == ([30, -10], [])
