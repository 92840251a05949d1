"""Points that paid an order, on random stories: how many are back follows from what was taken and refunded alone."""

from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain.ledger import EntryKind
from core.domain.orders.facts import Order, Refund, RefundLine, RefundReversion
from core.domain.value.repayments import points_due
from tests.domain.book import Book
from tests.facts import AS_OF, SOURCE, instant, line, order, program_with, spend_rule

PROGRAM = program_with(earning_rules=[spend_rule("0")])
LOTS = (30, 7, 60)  #: what there is, soonest expiry first
PRICES = ("33.33", "10.00", "0.01")  #: of the pieces of three lines


class Story(NamedTuple):
    """What happens to one order and to what paid it; in which sequence it arrives is another matter."""

    takes: tuple[int, ...]  #: points of a redemption, or of the captures of an authorization
    is_authorized: bool
    refunds: tuple[tuple[int, int], ...]  #: pieces of a line, counted from 0
    undone: frozenset[int]  #: of the refunds, by their places
    arrival: tuple[str, ...]

    @property
    def share(self) -> Fraction:
        """How much of the order is given back at the end."""
        price = [Fraction(each) for each in PRICES]
        back = [part for place, part in enumerate(self.refunds) if place not in self.undone]
        return sum((price[number] * pieces for number, pieces in back), Fraction(0)) / (sum(price) * 4)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    is_authorized = draw(st.booleans())
    takes = tuple(draw(st.lists(st.integers(1, 30), min_size=1, max_size=3 if is_authorized else 1)))
    left = {0: 4, 1: 4, 2: 4}
    refunds = []
    for _ in range(draw(st.integers(0, 4))):
        number = draw(st.sampled_from(sorted(left)))
        pieces = draw(st.integers(1, 2))
        if left[number] >= pieces:
            left[number] -= pieces
            refunds.append((number, pieces))
    undone = frozenset(draw(st.sets(st.sampled_from(range(len(refunds)))))) if refunds else frozenset()
    messages = draw(st.permutations(["order", *(f"refund {place}" for place in range(len(refunds)))]))
    commands = ["authorize", *(f"take {place}" for place in range(len(takes)))] if is_authorized else ["take 0"]
    for each in commands:  # one after the other, anywhere between
        first = max((messages.index(other) + 1 for other in commands if other in messages), default=0)
        messages.insert(draw(st.integers(first, len(messages))), each)
    for place in sorted(undone):  # the book gives no refund that comes later to what undoes it
        first = max(messages.index(f"refund {place}"), messages.index("order")) + 1
        messages.insert(draw(st.integers(first, len(messages))), f"undo {place}")
    return Story(takes, is_authorized, tuple(refunds), undone, tuple(messages))


def arrived(story: Story, arrival: tuple[str, ...]) -> Book:
    """The book after all of the story has arrived so."""
    book = Book(PROGRAM)
    for number, points in enumerate(LOTS, start=1):
        expires_at = instant(f"{2100 + number}-01-01")
        book.command("credit", f"g{number}", credit(points, expires_at.isoformat()), AS_OF, AS_OF)
    for message in arrival:
        _arrive(book, story, *message.split())
    return book


def credit(points: int, expires_at: str) -> dict[str, Any]:
    return {"customer_id": "c1", "points": points, "expires_at": expires_at}


def _arrive(book: Book, story: Story, what: str, place: str = "0") -> None:
    number = int(place)
    match what:
        case "order":
            book.deliver(_order(story), AS_OF)
        case "refund":
            line_number, pieces = story.refunds[number]
            book.deliver(_refund(f"r{number}", line_number, pieces), AS_OF)
        case "undo":
            book.deliver(RefundReversion(SOURCE, f"r{number}", "o1", instant("2026-04-02")), AS_OF)
        case "authorize":
            asked = {"customer_id": "c1", "points": sum(story.takes), "authorization_id": "a1"}
            assert book.command("authorize", "k0", asked, AS_OF, AS_OF)[0] == "accepted"
        case "take" if story.is_authorized:
            asked = {"authorization_id": "a1", "points": story.takes[number], "is_final": False}
            assert book.command("capture", f"k{number + 1}", asked, AS_OF, AS_OF)[0] == "accepted"
        case "take":
            asked = {"customer_id": "c1", "points": story.takes[0]}
            assert book.command("redeem", "p1", asked, AS_OF, AS_OF)[0] == "accepted"


def _order(story: Story) -> Order:
    lines = [line(str(number), Decimal(price) * 4, 4) for number, price in enumerate(PRICES)]
    named = {"points_authorization_id": "a1"} if story.is_authorized else {"points_command_id": "p1"}
    return order(lines=lines, points_paid="1.00")._replace(**named)


def _refund(refund_id: str, line_number: int, pieces: int) -> Refund:
    part = RefundLine(str(line_number), Decimal(pieces), None, None)
    return Refund(SOURCE, refund_id, "o1", instant("2026-04-01"), full=False, paid=None, net=None, lines=(part,))


@given(stories())
def test_as_many_points_are_back_as_the_order_has_been_given_back(story: Story) -> None:
    book = arrived(story, story.arrival)
    taken = sum(story.takes)
    back = int(taken * story.share)
    account = book.account
    assert (account.balance, account.reserved, account.deficit) == (sum(LOTS) - taken + back, 0, 0)
    assert sum(entry.points for entry in book.entries if entry.kind is EntryKind.REPAYMENT) == back
    assert account.lifetime_points == 0
    for before, after in zip(book.entries, book.entries[1:], strict=False):
        assert after.balance_after == before.balance_after + after.points


@given(stories())
def test_every_lot_ends_as_it_would_have_whatever_came_first(story: Story) -> None:
    steps = ["authorize", "take", "order", "refund", "undo"]
    usual = sorted(story.arrival, key=lambda message: (steps.index(message.split()[0]), message))
    assert left(arrived(story, story.arrival)) == left(arrived(story, tuple(usual)))


@pytest.mark.parametrize(
    ("share", "points", "reversed_ones", "due"),
    [
        (Fraction(3, 10), 40, 0, 12),
        (Fraction(1, 3), 40, 0, 13),  # rounded down, once
        (Fraction(299_999_999_999, 10**12), 40, 0, 12),  # but not for what was lost to the smallest unit
        (Fraction(1), 40, 0, 40),
        (Fraction(1), 40, 35, 5),
        (Fraction(1, 10), 40, 35, 4),
        (Fraction(1, 3), 10**15, 0, 333_333_333_333_333),
    ],
)
def test_points_are_due_in_the_share_that_is_given_back(
    share: Fraction, points: int, reversed_ones: int, due: int
) -> None:
    assert points_due(share, points, reversed_ones) == due


def left(book: Book) -> list[int]:
    return [lot.points_remaining for lot in book.lots.values()]
