"""What is said of points that paid an order and came back: how many, of how many, and why."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from core.domain.ledger import EntryKind
from core.reading.accounts import HistoryEntry
from tests.factories import PROGRAM_TEXT, cancellation, command, order, refund
from tests.facts import AS_OF, SOURCE
from tests.shell import Shell, take_by_operator
from tests.workers.cli.command_line import CommandLine
from workers.cli.entry_sentences import headline, sentences_of, why_text

UTC_ZONE = ZoneInfo("UTC")
WHY = {"points_taken": 40, "points_due_before": 0, "points_due_after": 12, "share": "3/10"}


def told(points: int = 12, refund_id: str | None = None, **why: Any) -> HistoryEntry:
    fields = {"balance_after": 52, "deficit_change": 0, "pending_change": 0, "pending_after": 0, "lots": ()}
    return HistoryEntry(
        sequence=4, kind=EntryKind.REPAYMENT, points=points, occurred_at=AS_OF, recorded_at=AS_OF, source=SOURCE,
        order_id="5001", refund_id=refund_id, corrects_sequence=3, why={"repayment": {**WHY, **why}}, currency=None,
        points_paid=None, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "head", "text"),
    [
        (
            told(refund_id="7"),
            "Refund 7 of order 5001 gave back 12 points",
            "12 of 40 points that paid order 5001 came back with refund 7: 3/10 of what it cost is given back.",
        ),
        (
            told(28, "8", points_due_before=12, points_due_after=40, share="1"),
            "Refund 8 of order 5001 gave back 28 points",
            (
                "28 of 40 points that paid order 5001 came back with refund 8: all of what it cost is given back."
                " In all 40 of them should have come back, 12 before."
            ),
        ),
        (
            told(-12, "7", points_due_before=15, points_due_after=0, share="0", refund_reverted=True, points_excused=3),
            "Refund 7 of order 5001 did not happen after all, which took again 12 points",
            (
                "12 of 40 points that paid order 5001 were taken again, as refund 7 did not happen after all: nothing"
                " of what it cost is given back. In all 0 of them should have come back, 15 before."
                " Not taken a second time, as they have expired: 3 points."
            ),
        ),
        (
            told(40, cancelled=True, points_due_after=40, share="1"),
            "Order 5001 was cancelled, which gave back 40 points",
            "40 of 40 points that paid order 5001 came back with its cancellation: all of what it cost is given back.",
        ),
        (
            told(12, revision=2),
            "Order 5001 was edited (revision 2), which gave back 12 points",
            "12 of 40 points that paid order 5001 came back with revision 2 of it: 3/10 of what it cost is given back.",
        ),
        (
            told(5, taken_by={"source": SOURCE, "command_id": "k2"}, points_reversed=35),
            "Order 5001 had been given back when its points were taken, which gave back 5 points",
            (
                "5 of 40 points that paid order 5001 came back as soon as command k2 had taken them: 3/10 of what it"
                " cost is given back. A command has let 35 more come back."
            ),
        ),
    ],
)
def test_it_is_told_of_how_many_for_which_order_and_why(entry: HistoryEntry, head: str, text: str) -> None:
    assert f"{head}: balance 52." in headline(entry, UTC_ZONE)
    assert why_text(entry, UTC_ZONE) == text
    assert sentences_of(entry, UTC_ZONE) == [text]


def test_history_and_explanation_tell_it(loyalty: CommandLine, shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT.replace('points: {bronze: "1", silver: "1.5", gold: "2"}', 'points: "0"'))
    take_by_operator(shell, command("credit", "g1", points=80), command("redeem", "p1", points=40))
    take_by_operator(shell, command("authorize", "k1", points=30, authorization_id="a1"))
    shell.take(order("5001", "100.00", points_paid="40.00", points_command_id="p1"), refund("7", "5001", paid="18.00"))
    shell.take(order("5002", "60.00", points_paid="30.00", points_authorization_id="a1"), cancellation("5002"))
    explained = " ".join(loyalty("account", "explain", "c1").out.split())
    assert "12 of 40 points that paid order 5001 came back with refund 7: 3/10 of what it cost" in explained
    assert "Order 5002 was cancelled, which gave back 30 points" in explained
    assert "Authorization a1 was to pay order 5002, which was cancelled." in explained
    of_order = " ".join(loyalty("account", "explain", "c1", "--order", "5001").out.split())
    assert "of the order were paid with points (command p1 of /shops/test); they" in of_order, of_order[:1500]
    assert "12 of 40 points" in " ".join(loyalty("account", "history", "c1").out.split())
