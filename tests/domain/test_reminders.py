"""When customers are reminded of points that are about to end, and how a reminder is corrected afterwards."""

import pytest

from core.domain.expiry.reminders import Reminder, due_reminders
from core.domain.lots import Lot
from tests.domain.book import Book, expiring_points
from tests.facts import instant, lot, order, program_with, refund

END = instant("2026-06-01")
LATER = instant("2026-06-20")
AHEAD = (30, 7)


def due(lots: list[Lot], sent: list[Reminder], as_of: str) -> list[Reminder]:
    """What is to be sent of these lots."""
    return due_reminders(expiring_points(lots, instant(as_of)), sent, AHEAD, instant(as_of))


@pytest.mark.parametrize(
    ("as_of", "days_ahead"),
    [
        pytest.param("2026-05-02T11:59:59+00:00", None, id="more than 30 days ahead: nothing"),
        pytest.param("2026-05-02T12:00:00+00:00", 30, id="30 days ahead"),
        pytest.param("2026-05-25T11:59:59+00:00", 30, id="a late run sends what it would have sent"),
        pytest.param("2026-05-25T12:00:00+00:00", 7, id="an even later run sends the nearer one alone"),
        pytest.param("2026-06-01T12:00:00+00:00", None, id="nothing once they have ended"),
    ],
)
def test_a_reminder_is_due(as_of: str, days_ahead: int | None) -> None:
    found = due([lot(1, 100, expires="2026-06-01")], [], as_of)
    assert found == ([] if days_ahead is None else [Reminder(END, 100, days_ahead)])


def test_points_that_end_together_have_one_reminder_and_others_their_own() -> None:
    lots = [
        lot(1, 10, expires="2026-06-01"),
        lot(2, 20, expires="2026-06-01"),
        lot(3, 5, expires="2026-06-20"),
        lot(4, 7),
        lot(5, 0, granted=9, expires="2026-06-01"),
        lot(6, 8, expires="2026-06-01", is_pending=True),
    ]
    found = due(lots, [], "2026-05-30")
    assert found == [Reminder(END, 30, 7), Reminder(LATER, 5, 30)]


@pytest.mark.parametrize(
    ("left", "as_of", "expected"),
    [
        pytest.param(100, "2026-05-10", [], id="sent already"),
        pytest.param(60, "2026-05-10", [Reminder(END, 60, 30, 2)], id="corrected when some were spent"),
        pytest.param(0, "2026-05-10", [Reminder(END, 0, 30, 2)], id="withdrawn when all were"),
        pytest.param(130, "2026-05-10", [Reminder(END, 130, 30, 2)], id="corrected when more end then"),
        pytest.param(100, "2026-05-26", [Reminder(END, 100, 7, 2)], id="sent again at the next number of days"),
        pytest.param(60, "2026-05-26", [Reminder(END, 60, 7, 2)], id="with what is left then"),
        pytest.param(60, "2026-06-02", [], id="no longer once it is past"),
    ],
)
def test_a_reminder_is_followed_up(left: int, as_of: str, expected: list[Reminder]) -> None:
    lots = [lot(1, left, granted=200, expires="2026-06-01")]
    sent = [Reminder(END, 100, 30)]
    assert due(lots, sent, as_of) == expected
    assert due(lots, expected or sent, as_of) == [], "a second run finds nothing"


def test_a_withdrawn_reminder_is_sent_again_when_points_come_back() -> None:
    sent = [Reminder(END, 0, 30, 2)]
    assert due([], sent, "2026-05-26") == []
    found = due([lot(1, 40, expires="2026-06-01")], sent, "2026-05-26")
    assert found == [Reminder(END, 40, 7, 3)]


def test_an_order_that_moves_the_end_of_points_withdraws_the_reminder() -> None:
    book = Book(program_with(expiry={"policy": "inactivity", "months": 6}, reminders={"days_ahead": [30]}))
    book.complete(order(order_id="o1", at="2026-01-10"), instant("2026-01-10"))
    (sent,) = book.remind(instant("2026-06-30"))
    assert (sent.points, sent.days_ahead) == (100, 30)
    book.complete(order(order_id="o2", at="2026-07-01"), instant("2026-07-01"))
    assert book.remind(instant("2026-07-01")) == [Reminder(sent.expires_at, 0, 30, 2)]


def test_a_refund_corrects_the_reminder() -> None:
    book = Book(program_with(expiry={"policy": "after_months", "months": 1}, reminders={"days_ahead": [30]}))
    book.complete(order(at="2026-03-10"))
    (sent,) = book.remind(instant("2026-03-20"))
    book.refund(refund(net="40.00", at="2026-03-21"))
    assert book.remind(instant("2026-03-21")) == [Reminder(sent.expires_at, 60, 30, 2)]
    assert book.remind(instant("2026-03-22")) == []
