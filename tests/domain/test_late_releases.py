"""What is due to be released pays off what the account owes first, whether or not its run has come."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.domain.book import Book
from tests.facts import instant, program_with

START = instant("2026-03-01")
RELEASED, LATER = START + timedelta(days=1), START + timedelta(days=2)
Step = Callable[[Book], object]


def command(verb: str, at: datetime = LATER, **data: Any) -> Step:
    """A step that posts a command which is accepted."""

    def post(book: Book) -> None:
        command_id = f"{verb} {len(book.answers)}"
        assert book.command(verb, command_id, data, at, at)[0] == "accepted"

    return post


def owing_book() -> Book:
    """A customer with 40 points reserved, and 40 redeemed, who owes 50 and gets 30 in a day."""
    book = Book(program_with())
    for step in (
        command("credit", START, customer_id="c1", points=90),
        command("authorize", START, customer_id="c1", points=40, authorization_id="a1", expires_in_seconds=30 * 3600),
        command("redeem", START, customer_id="c1", points=40),
        command("adjust", START, customer_id="c1", points=-60, reason="x", allow_negative_balance=True),
        command("credit", START, customer_id="c1", points=30, available_at=RELEASED),
    ):
        step(book)
    return book


@pytest.mark.parametrize(
    ("come_back", "balance"),
    [
        (command("void", authorization_id="a1"), 20),
        (command("capture", START + timedelta(hours=29), authorization_id="a1", points=5), 15),
        (lambda book: book.void_due(LATER), 20),
        (command("reverse", command_id="redeem 2"), 20),
        (command("credit", customer_id="c1", points=40), 20),
    ],
    ids=["voided", "left by a capture", "past their deadline", "of a reversal", "credited"],
)
def test_points_that_come_find_what_they_would_after_the_run(come_back: Step, balance: int) -> None:
    in_time, late = owing_book(), owing_book()
    in_time.release(RELEASED)
    for book in (in_time, late):
        come_back(book)
        book.release(LATER)
    assert in_time.account.balance == late.account.balance == balance
    assert [lot._replace(opened_by_sequence=0) for lot in late.lots.values()] == [
        lot._replace(opened_by_sequence=0) for lot in in_time.lots.values()
    ]
    assert late.account._replace(sequence=0) == in_time.account._replace(sequence=0)


def test_an_account_that_is_closed_gives_up_what_the_run_would_have_left() -> None:
    book = Book(program_with())
    for step in (
        command("credit", START, customer_id="c1", points=10),
        command("adjust", START, customer_id="c1", points=-30, reason="x", allow_negative_balance=True),
        command("credit", START, customer_id="c1", points=50, available_at=RELEASED),
        command("account.close", customer_id="c1", points_left="forfeit"),
    ):
        step(book)
    assert book.answers["account.close 3"] == ("accepted", {"points": 30})
    assert (book.account.balance, book.account.pending, book.account.deficit) == (0, 0, 0)
