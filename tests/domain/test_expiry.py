"""When points expire: to the midnight, in the program's time zone, and the same whenever the job runs."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from core.domain.decision import AccountChange, Decision
from core.domain.expiry.dates import expires_at
from core.domain.expiry.due import LOTS_OF_ENTRY_MAX, decide_expiry, decide_release
from core.domain.ledger import Entry, EntryKind
from core.domain.lots import Allocation, AllocationKind, Lot, in_spending_order
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.facts import account, instant, lot, order, program_with, refund

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("time_zone", "months", "available", "expires"),
    [
        pytest.param("UTC", 1, "2026-01-15T00:00+00:00", "2026-02-16T00:00+00:00", id="good for the whole last day"),
        pytest.param("UTC", 1, "2026-01-15T23:59:59+00:00", "2026-02-16T00:00+00:00", id="whatever the time of day"),
        pytest.param("UTC", 1, "2026-01-31T12:00+00:00", "2026-03-01T00:00+00:00", id="31 January: all of February"),
        pytest.param("UTC", 1, "2028-01-31T12:00+00:00", "2028-03-01T00:00+00:00", id="and its 29th in a leap year"),
        pytest.param("UTC", 1, "2026-02-28T12:00+00:00", "2026-03-29T00:00+00:00", id="28 February: to 28 March only"),
        pytest.param("UTC", 12, "2028-02-29T12:00+00:00", "2029-03-01T00:00+00:00", id="29 February: to the 28th"),
        pytest.param("UTC", 48, "2028-02-29T12:00+00:00", "2032-03-01T00:00+00:00", id="or the 29th four years later"),
        pytest.param("UTC", 12, "2026-12-31T12:00+00:00", "2028-01-01T00:00+00:00", id="31 December: a whole year"),
        pytest.param("UTC", 1200, "2026-05-05T12:00+00:00", "2126-05-06T00:00+00:00", id="a century"),
        pytest.param(
            "Europe/Berlin", 1, "2026-01-31T23:30+00:00", "2026-03-01T23:00+00:00", id="the day is the program's"
        ),
        pytest.param(
            "America/Los_Angeles", 1, "2026-03-01T06:00+00:00", "2026-03-29T07:00+00:00", id="also west of Greenwich"
        ),
        pytest.param(
            "Europe/Berlin", 6, "2026-01-15T12:00+01:00", "2026-07-15T22:00+00:00", id="from winter to summer time"
        ),
        pytest.param(
            "Europe/Berlin", 6, "2026-07-15T12:00+02:00", "2027-01-15T23:00+00:00", id="from summer to winter time"
        ),
        pytest.param(
            "Europe/Berlin", 1, "2026-02-28T12:00+01:00", "2026-03-28T23:00+00:00", id="before the night of the change"
        ),
        pytest.param(
            "Europe/Berlin", 1, "2026-03-01T12:00+01:00", "2026-04-01T22:00+00:00", id="and after it"
        ),
        pytest.param(
            # Clocks went from 23:59:59 to 01:00: the day had no midnight and began with its second hour.
            "America/Sao_Paulo", 1, "2018-10-03T12:00-03:00", "2018-11-04T03:00+00:00", id="a day without a midnight"
        ),
        pytest.param(
            # Clocks went from 00:59:59 back to 00:00: the day began at the first of its two midnights.
            "America/Havana", 1, "2025-10-01T12:00-04:00", "2025-11-02T04:00+00:00", id="a day with two midnights"
        ),
        pytest.param(
            # 30 December 2011 was left out when the islands changed sides of the date line.
            "Pacific/Apia", 1, "2011-11-29T12:00-10:00", "2011-12-30T10:00+00:00", id="a day that never was"
        ),
    ],
)  # fmt: skip
def test_points_expire_at_the_local_midnight_after_their_last_day(
    time_zone: str, months: int, available: str, expires: str
) -> None:
    program = program_with(time_zone=time_zone, expiry={"policy": "after_months", "months": months})
    assert expires_at(program.expiry, program.zone, instant(available)) == instant(expires)


def test_points_of_a_program_without_expiry_never_expire() -> None:
    program = program_with()
    assert expires_at(program.expiry, program.zone, instant("2026-01-01")) is None


def test_a_lot_expires_at_its_instant_and_not_a_second_before() -> None:
    before = account(balance=100, lifetime_points=100, sequence=1, lots_opened=1)
    expiring = lot(1, 100, expires="2026-06-01")
    assert decide_expiry(before, [expiring], instant("2026-06-01") - SECOND) == Decision()
    (change,) = decide_expiry(before, [expiring], instant("2026-06-01")).changes
    (entry,) = change.entries
    assert (entry.kind, entry.points, entry.balance_after) == (EntryKind.EXPIRY, -100, 0)
    assert entry.occurred_at == instant("2026-06-01")
    assert entry.allocations == (Allocation(1, AllocationKind.EXPIRED, -100, expiring.expires_at),)
    assert entry.lifetime_points_after == 100
    assert change.account == before._replace(balance=0, sequence=2)
    assert change.lots == (lot(1, 0, granted=100, expired=100, expires="2026-06-01"),)


def test_a_last_point_expires() -> None:
    last = lot(1, 1, granted=100, expires="2026-06-01")
    (change,) = decide_expiry(account(balance=1), [last], instant("2026-06-01")).changes
    assert [entry.points for entry in change.entries] == [-1]


def test_what_is_spent_undated_or_not_yet_due_stays() -> None:
    lots = [lot(1, 0, granted=50, expires="2026-02-01"), lot(2, 100), lot(3, 100, expires="2026-09-01")]
    assert decide_expiry(account(balance=200), lots, instant("2026-06-01")) == Decision()


def test_lots_that_end_together_make_one_entry_and_others_one_each() -> None:
    lots = [
        lot(1, 5, expires="2026-04-01"),
        lot(2, 10, granted=40, expires="2026-03-01"),
        lot(3, 20, expires="2026-03-01"),
        lot(4, 1000),
    ]
    (change,) = decide_expiry(account(balance=1035, sequence=4), lots, instant("2026-06-01")).changes
    assert [(e.sequence, e.occurred_at, e.points, e.balance_after) for e in change.entries] == [
        (5, instant("2026-03-01"), -30, 1005),
        (6, instant("2026-04-01"), -5, 1000),
    ]
    assert [e.why for e in change.entries] == [{"lots": [2, 3]}, {"lots": [1]}]
    assert [part.lot_number for part in change.entries[0].allocations] == [2, 3]


def many_lots(is_pending: bool) -> list[Lot]:
    """More lots than one entry is of: of three instants, and of several times of availability."""
    numbers, days = range(1, 2 * LOTS_OF_ENTRY_MAX + 700), ["2026-03-01", "2026-03-02", "2026-04-01"]
    return [
        lot(
            n,
            1 + n % 3,
            available=f"2026-01-0{1 + n % 2}",
            expires=days[(n % 4) // 2 + n % 5 // 4],
            is_pending=is_pending,
        )
        for n in numbers
    ]


@pytest.mark.parametrize(
    ("decide", "is_pending"), [(decide_expiry, False), (decide_release, True)], ids=["expiry", "release"]
)
def test_very_many_lots_make_the_same_entries_however_they_are_cut_into_steps(
    decide: Callable[..., Decision], is_pending: bool
) -> None:
    as_of, lots = instant("2026-06-01"), many_lots(is_pending)
    points = sum(each.points_remaining for each in lots)
    before = account(balance=0, pending=points) if is_pending else account(balance=points)
    (at_once,) = decide(before, lots, as_of).changes
    assert max(len(entry.why["lots"]) for entry in at_once.entries) == LOTS_OF_ENTRY_MAX
    left = {each.lot_number: each for each in lots}
    after, entries = before, list[Entry]()
    while True:
        due = [each for each in left.values() if (each.is_pending if is_pending else each.points_remaining)]
        first = (
            sorted(due, key=lambda each: (each.available_at, each.lot_number)) if is_pending else in_spending_order(due)
        )
        (change,) = decide(after, first[:LOTS_OF_ENTRY_MAX], as_of, is_cut=len(first) > LOTS_OF_ENTRY_MAX).changes or (
            None,
        )
        if change is None:
            break
        assert len(change.lots) <= LOTS_OF_ENTRY_MAX
        after, entries = change.account, [*entries, *change.entries]
        left |= {each.lot_number: each for each in change.lots}
    assert (after, tuple(entries)) == (at_once.account, at_once.entries)


def test_expiry_deepens_a_balance_that_is_below_zero_no_further_than_its_lots() -> None:
    before, left = account(balance=-20, deficit=50), [lot(1, 30, expires="2026-03-01")]
    (change,) = decide_expiry(before, left, instant("2026-06-01")).changes
    assert (change.account.balance, change.account.deficit) == (-50, 50)


def test_a_run_that_is_late_posts_what_the_runs_in_time_would_have() -> None:
    program = program_with(expiry={"policy": "after_months", "months": 1})
    books = [Book(program), Book(program)]
    for book in books:
        for day in ("2026-01-05", "2026-01-06", "2026-01-20", "2026-03-01"):
            book.complete(order(order_id=day, at=day))
        book.spend(150, instant("2026-01-21"))
    for day in ("2026-02-06T00:00+01:00", "2026-02-07T00:00+01:00", "2026-02-20", "2026-02-21", "2026-04-01"):
        books[0].expire(instant(day))
    books[1].expire(instant("2026-04-01"))
    assert books[0].entries == books[1].entries
    assert books[0].lots == books[1].lots
    assert books[0].account == books[1].account
    for book in books:
        check_everything(book)
        assert book.expire(instant("2026-04-01")) == AccountChange(book.account)


def test_an_order_that_comes_after_its_points_would_have_expired_loses_them_with_the_next_run() -> None:
    book = Book(program_with(expiry={"policy": "after_months", "months": 12}))
    book.complete(order(at="2024-01-01"), as_of=instant("2026-03-01"))
    assert book.account.balance == 100
    (entry,) = book.expire(instant("2026-03-01")).entries
    assert (entry.points, entry.occurred_at) == (-100, instant("2025-01-01T23:00+00:00"))
    check_everything(book)


def test_a_changed_policy_touches_new_lots_only() -> None:
    book = Book(program_with())
    book.complete(order(order_id="undated", at="2026-01-01"))
    book.program = program_with(expiry={"policy": "after_months", "months": 1})
    book.complete(order(order_id="dated", at="2026-01-01"))
    book.program = program_with()
    book.expire(instant("2030-01-01"))
    assert [each.points_remaining for each in book.lots.values()] == [100, 0]


def test_tier_and_lifetime_points_outlive_the_points() -> None:
    book = Book(program_with(expiry={"policy": "after_months", "months": 1}))
    book.complete(order("600.00", at="2026-01-01"))
    book.expire(instant("2026-06-01"))
    assert (book.account.balance, book.account.lifetime_points, book.account.tier_id) == (0, 600, "silver")
    assert book.account.qualifying_points == 600


def test_a_refund_of_an_order_that_expired_takes_no_points_and_lowers_no_balance() -> None:
    book = Book(program_with(expiry={"policy": "after_months", "months": 1}))
    book.complete(order(at="2026-01-01"))
    book.expire(instant("2026-06-01"))
    assert book.refund(refund(at="2026-06-02")).entries == ()
    assert book.account.balance == 0
    check_everything(book)
