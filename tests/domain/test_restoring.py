"""Points that come back: to their lots, the last taken first, after a deficit; what has ended meanwhile expires."""

from datetime import datetime, timedelta

import pytest

from core.domain.ledger import LotTerms
from core.domain.lots import AllocationKind, Lot
from core.domain.value.restoring import NewLot, Taken, expire_restored, restore, taken_last
from tests.domain.book import Book
from tests.factories import program
from tests.facts import account, instant, lot, origin, program_with

NOW = instant("2026-06-15T10:00:00+00:00")
PROGRAM = program_with()
ONE, TWO = lot(1, 0, granted=100, expires="2026-09-01"), lot(2, 20, granted=100)
TAKEN = [Taken(ONE, 100), Taken(TWO, 80)]


def day(number: int) -> datetime:
    return NOW + timedelta(days=number)


def left(lots: tuple[Lot, ...]) -> dict[int, int]:
    return {each.lot_number: each.points_remaining for each in lots}


@pytest.mark.parametrize(
    ("points", "last"),
    [(0, []), (30, [Taken(TWO, 30)]), (80, [Taken(TWO, 80)]), (120, [Taken(ONE, 40), Taken(TWO, 80)]), (180, TAKEN)],
)
def test_what_comes_back_of_what_was_taken_is_its_end(points: int, last: list[Taken]) -> None:
    assert taken_last(TAKEN, points) == last


def test_points_return_to_their_lots_with_the_dates_that_these_have() -> None:
    restored = restore(account(sequence=4, balance=20, lots_opened=2), TAKEN, NOW, PROGRAM)
    assert (restored.account.balance, restored.account.sequence, left(restored.lots)) == (200, 5, {1: 100, 2: 100})
    assert [(each.lot_number, each.kind, each.points) for each in restored.allocations] == [
        (2, AllocationKind.RETURNED, 80),
        (1, AllocationKind.RETURNED, 100),
    ]
    assert restored.opened == ()


def test_reserved_points_leave_the_reserve() -> None:
    before = account(sequence=4, balance=20, reserved=180, lots_opened=2)
    restored = restore(before, TAKEN, NOW, PROGRAM, of_reserve=True)
    assert (restored.account.balance, restored.account.reserved) == (200, 0)


def test_a_deficit_is_paid_off_first_by_what_was_taken_last() -> None:
    before = account(sequence=4, balance=-90, deficit=110, lots_opened=2)
    restored = restore(before, TAKEN, NOW, PROGRAM)
    assert (restored.account.balance, restored.account.deficit, left(restored.lots)) == (90, 0, {1: 70})
    assert sum(each.points for each in restored.allocations) + 110 == 180


def test_points_are_available_whose_time_came_while_nothing_was_left_in_their_lot() -> None:
    due, waiting = (ONE._replace(available_at=instant(day), is_pending=True) for day in ("2026-06-01", "2026-07-01"))
    taken = [Taken(due, 100), Taken(waiting._replace(lot_number=2), 80)]
    restored = restore(account(sequence=4, balance=-30, deficit=30, lots_opened=2), taken, NOW, PROGRAM)
    assert (restored.account.balance, restored.account.pending, restored.account.deficit) == (70, 80, 0)
    assert [(each.lot_number, each.points_remaining, each.is_pending) for each in restored.lots] == [
        (2, 80, True),
        (1, 70, False),
    ]


def test_points_of_no_lot_pay_off_the_deficit_that_they_were_else_open_a_lot() -> None:
    taken = [Taken(ONE, 100), Taken(None, 50)]
    owing = restore(account(sequence=4, balance=-50, deficit=50, lots_opened=2), taken, NOW, PROGRAM)
    assert (owing.account.deficit, left(owing.lots), owing.opened) == (0, {1: 100}, ())
    fresh = NewLot(origin("o9"), LotTerms(0, NOW, instant("2027-01-01")))
    paid = restore(account(sequence=4, lots_opened=2), taken, NOW, PROGRAM, otherwise=fresh)
    [opened] = paid.opened
    assert (opened.lot_number, opened.opened_by_sequence, opened.points_granted, opened.points_remaining) == (
        3,
        5,
        50,
        50,
    )
    assert (opened.origin, opened.expires_at, paid.account.lots_opened) == (origin("o9"), instant("2027-01-01"), 3)


def test_what_returns_to_a_lot_that_has_ended_expires_at_once_at_its_instant() -> None:
    ended = lot(1, 0, granted=100, expires="2026-06-01")
    restored = restore(
        account(sequence=4, balance=20, lots_opened=2), [Taken(ended, 100), Taken(TWO, 80)], NOW, PROGRAM
    )
    after = expire_restored(restored, NOW)
    [entry] = after.entries
    assert (entry.sequence, entry.points, entry.occurred_at) == (6, -100, instant("2026-06-01"))
    assert (after.account.balance, left(after.lots)) == (100, {1: 0, 2: 100})
    assert {each.lot_number: each.points_expired for each in after.lots} == {1: 100, 2: 0}


def test_what_has_not_ended_stays() -> None:
    restored = restore(account(sequence=4, balance=20, lots_opened=2), TAKEN, NOW, PROGRAM)
    after = expire_restored(restored, NOW)
    assert (after.account, after.entries, after.lots) == (restored.account, (), restored.lots)


@pytest.mark.parametrize("expires", ["2026-06-01", "2026-06-20"])
def test_a_grace_gives_what_has_too_little_time_a_lot_of_the_same_origin(expires: str) -> None:
    program = program_with(returned_points_grace_days=30)
    ended = lot(1, 0, granted=100, expires=expires, earned_by="spend", order_id="o7")
    restored = restore(account(sequence=4, lots_opened=2), [Taken(ended, 40), Taken(TWO, 80)], NOW, program)
    after = expire_restored(restored, NOW)
    [opened] = restored.opened
    assert (after.entries, after.account.balance, left(after.lots)) == ((), 120, {2: 100, 3: 40})
    assert (opened.origin, opened.earned_by, opened.available_at) == (ended.origin, "spend", ended.available_at)
    assert (opened.points_granted, opened.points_expired) == (40, 0)
    assert opened.expires_at == instant("2026-07-15T22:00:00+00:00"), "the end of the thirtieth day in Berlin"


def test_a_grace_leaves_alone_what_has_more_time() -> None:
    program = program_with(returned_points_grace_days=30)
    restored = restore(account(sequence=4, lots_opened=2), TAKEN, NOW, program)
    assert (left(restored.lots), restored.opened) == ({1: 100, 2: 100}, ())


@pytest.mark.parametrize(
    "undone",
    [
        pytest.param({"run": 1}, id="by the run of its deadline, in time"),
        pytest.param({"run": 10}, id="by that run, late"),
        pytest.param({"void": 10}, id="by a void that comes before that run"),
    ],
)
def test_a_grace_counts_from_the_deadline_whatever_gives_the_points_back(undone: dict[str, int]) -> None:
    book = Book(program("returned_points_grace_days: 3\n"))
    book.command("credit", "k1", {"customer_id": "c1", "points": 100, "expires_at": day(5)}, day(0), day(0))
    held = {"customer_id": "c1", "points": 100, "authorization_id": "a", "expires_at": day(1)}
    book.command("authorize", "k2", held, day(0), day(0))
    match undone:
        case {"run": at}:
            book.void_due(day(at))
        case {"void": at}:
            assert book.command("void", "k3", {"authorization_id": "a"}, day(at), day(at))[0] == "accepted"
    book.expire(day(10))
    assert (book.account.balance, book.account.reserved) == (0, 0)
