"""Tiers: up at once, down by review only, and the same whenever the review runs."""

from datetime import datetime
from typing import Any

import pytest

from core.domain.decision import TierChange, TierChangeReason
from core.domain.ledger import Account
from core.domain.orders.posted import Qualifying
from core.domain.program import Program
from core.domain.tiers.history import CountedOrder, TierHistoryEntry
from core.domain.tiers.qualification import (
    Period,
    decide_tier_review,
    period_ended,
    qualification_period,
    qualify,
    tier_at,
)
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.facts import ACCOUNT_ID, account, instant, order, program_with, refund

LIFETIME = program_with()
BY_YEAR = program_with(qualification={"window": "calendar_year"})
Y2025, Y2026, Y2027, Y2028, Y2029, Y2030 = (instant(f"{year}-12-31T23:00+00:00") for year in range(2024, 2030))


def in_silver(**over: Any) -> Account:
    """An account that reached silver in 2026."""
    usual = {
        "tier_id": "silver",
        "tier_since": instant("2026-05-01"),
        "tier_until": Y2027,
        "tier_changes": 1,
        "qualifying_from": Y2026,
        "qualifying_points": 600,
    }
    return account(**{**usual, **over})


def counted_for(before: Account, points: int, at: str, program: Program) -> tuple[Account, tuple[TierChange, ...]]:
    """The account after an order that counts so many points, the latest so far and the first that is recorded."""
    return qualify(before, CountedOrder(instant(at), Qualifying(points)), program, lambda _: ())


@pytest.mark.parametrize(
    ("time_zone", "at", "start", "end"),
    [
        ("Europe/Berlin", "2026-07-01T00:00+02:00", "2025-12-31T23:00+00:00", "2026-12-31T23:00+00:00"),
        ("Europe/Berlin", "2026-12-31T22:59:59+00:00", "2025-12-31T23:00+00:00", "2026-12-31T23:00+00:00"),
        ("Europe/Berlin", "2026-12-31T23:00:00+00:00", "2026-12-31T23:00+00:00", "2027-12-31T23:00+00:00"),
        ("America/New_York", "2027-01-01T04:59:59+00:00", "2026-01-01T05:00+00:00", "2027-01-01T05:00+00:00"),
        ("Pacific/Auckland", "2026-12-31T11:00:00+00:00", "2026-12-31T11:00+00:00", "2027-12-31T11:00+00:00"),
    ],
)
def test_a_year_is_one_of_the_programs_calendar(time_zone: str, at: str, start: str, end: str) -> None:
    program = program_with(time_zone=time_zone, qualification={"window": "calendar_year"})
    assert qualification_period(program, instant(at), None) == Period(instant(start), instant(end))


def test_a_lifetime_has_no_ends() -> None:
    assert qualification_period(LIFETIME, instant("2026-07-01"), None) == Period(None, None)


HISTORY = [TierHistoryEntry(instant("2026-03-01"), "gold"), TierHistoryEntry(instant("2026-05-01"), "silver")]


@pytest.mark.parametrize(
    ("at", "tier_id"),
    [
        ("2026-02-28", "bronze"),
        ("2026-03-01", "gold"),
        ("2026-04-30", "gold"),
        ("2026-05-01", "silver"),
        ("2027-12-31", "silver"),
    ],
)
def test_the_tier_in_force_is_that_of_the_day(at: str, tier_id: str) -> None:
    assert tier_at(in_silver(), HISTORY, instant(at), LIFETIME) == tier_id


def test_of_two_changes_at_one_instant_the_later_one_holds() -> None:
    history = [TierHistoryEntry(instant("2026-03-01"), "silver"), TierHistoryEntry(instant("2026-03-01"), "gold")]
    before = account(tier_id="bronze", tier_since=instant("2026-06-01"))
    assert tier_at(before, history, instant("2026-03-01"), LIFETIME) == "gold"


def test_a_dropped_tier_gives_way_to_the_one_that_the_points_reach() -> None:
    dropped = in_silver(tier_id="platinum", qualifying_points=2500)
    assert tier_at(dropped, [], instant("2026-06-01"), BY_YEAR) == "gold"
    after, (change,) = counted_for(dropped, 1, "2026-06-01", BY_YEAR)
    assert (change.previous_tier_id, change.tier_id, after.tier_id) == ("platinum", "gold", "gold")


@pytest.mark.parametrize(
    ("before", "points", "after"),
    [
        pytest.param(0, 499, "bronze", id="below the threshold"),
        pytest.param(0, 500, "silver", id="at the threshold"),
        pytest.param(400, 100, "silver", id="with what was there"),
        pytest.param(0, 5000, "gold", id="as high as the points reach"),
        pytest.param(600, 0, "bronze", id="what counts nothing does not upgrade, even if an upgrade was left out"),
    ],
)
def test_points_upgrade_at_once(before: int, points: int, after: str) -> None:
    counted, changes = counted_for(account(qualifying_points=before), points, "2026-03-01", LIFETIME)
    assert (counted.qualifying_points, counted.tier_id) == (before + points, after)
    if after == "bronze":
        assert changes == ()
    else:
        assert changes == (
            TierChange(
                ACCOUNT_ID, 1, "bronze", after, before + points, instant("2026-03-01"), TierChangeReason.QUALIFIED
            ),
        )


@pytest.mark.parametrize(
    ("refunds", "left", "tier_id"), [("at_review", 0, "silver"), ("never", 600, "silver"), ("at_once", 0, "bronze")]
)
def test_a_refund_downgrades_at_once_at_the_review_or_never(refunds: str, left: int, tier_id: str) -> None:
    book = Book(program_with(qualification={"window": "calendar_year", "refunds": refunds}))
    refunded = instant("2026-05-09")
    book.complete(order("600.00", at="2026-05-01"))
    book.refund(refund(at="2026-05-09"))
    assert (book.account.qualifying_points, book.account.tier_id) == (left, tier_id)
    lost = TierChange(ACCOUNT_ID, 2, "silver", "bronze", 0, refunded, TierChangeReason.REFUNDED)
    assert book.tier_changes[1:] == ([lost] if tier_id == "bronze" else [])
    if tier_id == "bronze":
        assert (book.account.tier_since, book.account.tier_until) == (refunded, None)


def test_a_late_order_that_upgrades_tells_anew_what_follows_from_then_on() -> None:
    book = Book(BY_YEAR)
    book.complete(order("600.00", "may", at="2026-05-01"))
    book.complete(order("1400.00", "june", at="2026-06-01"))
    assert book.tier_changes[-1].tier_id == "gold"
    book.complete(order("500.00", "late, from april", at="2026-04-01"))
    told = [(c.previous_tier_id, c.tier_id, f"{c.effective_at:%m-%d}") for c in book.tier_changes]
    assert told == [
        *[("bronze", "silver", "05-01"), ("silver", "gold", "06-01")],
        *[("bronze", "silver", "04-01"), ("silver", "gold", "06-01")],
    ]
    assert book.account.tier_since == instant("2026-06-01")
    check_everything(book)


def test_a_year_begins_with_its_first_order_and_ends_the_one_before() -> None:
    after, changes = counted_for(account(qualifying_from=Y2026, qualifying_points=400), 200, "2027-02-01", BY_YEAR)
    counted_until = instant("2027-02-01")
    assert (after, changes) == (
        account(qualifying_from=Y2027, qualifying_points=200, counted_until=counted_until), ()
    )  # fmt: skip


def test_an_order_of_a_year_that_has_passed_and_its_refund_do_not_count_for_this_one() -> None:
    book = Book(BY_YEAR)
    book.complete(order("400.00", "this year", at="2027-02-01"))
    book.complete(order("300.00", "late", at="2026-12-31T22:59+00:00"))
    assert (book.account.qualifying_from, book.account.qualifying_points) == (Y2027, 400)
    book.refund(refund(order_id="late", at="2027-03-01"))
    assert (book.account.qualifying_from, book.account.qualifying_points) == (Y2027, 400)
    check_everything(book)


def test_what_counts_nothing_does_not_begin_a_later_year() -> None:
    before = account(qualifying_from=Y2026, qualifying_points=400)
    assert counted_for(before, 0, "2027-02-01", BY_YEAR) == (before, ())


def test_a_tier_reached_in_a_year_is_reviewed_at_its_end() -> None:
    after, _ = counted_for(account(), 600, "2026-05-01", BY_YEAR)
    assert after == in_silver(counted_until=instant("2026-05-01"))


@pytest.mark.parametrize(
    ("tier_id", "points", "tier_after", "until"),
    [
        pytest.param("silver", 500, "silver", Y2028, id="kept for another year"),
        pytest.param("silver", 499, "bronze", None, id="lost, and bronze is never reviewed"),
        pytest.param("gold", 1999, "silver", Y2028, id="down to the tier that the points reach"),
        pytest.param("gold", 0, "bronze", None, id="down by two"),
        pytest.param("silver", 2500, "silver", Y2028, id="a review does not upgrade"),
        pytest.param("platinum", 700, "silver", Y2028, id="a tier that was dropped is replaced"),
        pytest.param("bronze", 700, "bronze", None, id="a tier that became the lowest is kept and no longer reviewed"),
    ],
)
def test_a_review_decides(tier_id: str, points: int, tier_after: str, until: datetime | None) -> None:
    before = in_silver(tier_id=tier_id, qualifying_points=points)
    (change,) = decide_tier_review(before, lambda _: BY_YEAR, lambda _: ()).changes
    assert (change.account.tier_id, change.account.tier_until) == (tier_after, until)
    assert (change.account.qualifying_from, change.account.qualifying_points) == (Y2027, 0)
    if tier_after == tier_id:
        assert change.tier_changes == ()
        assert change.account.tier_since == instant("2026-05-01")
    else:
        assert change.tier_changes == (
            TierChange(ACCOUNT_ID, 2, tier_id, tier_after, points, Y2027, TierChangeReason.REVIEWED),
        )
        assert change.account.tier_since == Y2027


def test_the_period_that_a_review_is_about_is_the_year_before_it() -> None:
    assert period_ended(in_silver(), BY_YEAR) == Period(Y2026, Y2027)


STORIES = {
    "nothing after the year of gold": [("2026-05-01", "2500.00")],
    "enough to stay in the second year only": [("2026-05-01", "2500.00"), ("2027-06-01", "1000.00")],
    "less each year": [("2026-05-01", "2500.00"), ("2027-06-01", "300.00"), ("2028-06-01", "100.00")],
    "a year left out": [("2026-05-01", "2500.00"), ("2028-06-01", "700.00"), ("2028-07-01", "100.00")],
    "up again in the first days": [("2026-05-01", "600.00"), ("2028-01-03", "900.00"), ("2028-01-04", "100.00")],
    "around midnight": [
        ("2026-12-31T23:59:59+01:00", "600.00"),
        ("2027-01-01T00:00:00+01:00", "100.00"),
        ("2027-12-31T23:59:59+01:00", "100.00"),
        ("2028-01-01T00:00:00+01:00", "100.00"),
    ],
    "in time each year": [("2026-12-30", "500.00"), ("2027-12-30", "400.00"), ("2028-12-30", "400.00")],
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_reviews_that_run_late_by_years_decide_what_the_runs_in_time_would_have(story: list[tuple[str, str]]) -> None:
    in_time, late = Book(BY_YEAR), Book(BY_YEAR)
    for n, (at, amount) in enumerate(story):
        in_time.review(instant(at))
        for book in (in_time, late):
            book.complete(order(amount, f"o{n}", at=at))
    for book in (in_time, late):
        book.review(instant("2031-06-01"))
        check_everything(book)
        assert book.review(instant("2031-06-01")) == []
    assert late.tier_changes == in_time.tier_changes
    assert late.entries == in_time.entries
    assert late.account == in_time.account


def test_a_run_that_is_late_by_several_years_reviews_each() -> None:
    book = Book(BY_YEAR)
    book.complete(order("2500.00", at="2026-05-01"))
    book.review(instant("2030-06-01"))
    assert [(c.tier_id, c.effective_at, c.reason) for c in book.tier_changes] == [
        ("gold", instant("2026-05-01"), TierChangeReason.QUALIFIED),
        ("bronze", Y2028, TierChangeReason.REVIEWED),
    ]
    assert book.account.tier_until is None


def test_orders_between_a_missed_review_and_the_late_run_earn_in_the_reviewed_tier() -> None:
    book = Book(BY_YEAR)
    book.complete(order("600.00", "2026", at="2026-05-01"))
    assert book.complete(order("10.00", "2027", at="2027-05-01")).entries[0].points == 15
    assert book.complete(order("10.00", "2028", at="2028-01-02")).entries[0].points == 10
    assert [(c.tier_id, c.effective_at) for c in book.tier_changes][1:] == [("bronze", Y2028)]
    assert book.review(instant("2028-01-03")) == []
    check_everything(book)


def test_a_refund_takes_the_tier_at_the_next_review() -> None:
    book = Book(BY_YEAR)
    book.complete(order("600.00", at="2026-05-01"))
    book.refund(refund(net="101.00", at="2026-06-01"))
    assert book.account.tier_id == "silver"
    book.review(Y2027)
    assert book.account.tier_id == "bronze"
    check_everything(book)


def test_a_refund_after_the_review_does_not_touch_the_year_that_has_begun() -> None:
    book = Book(BY_YEAR)
    book.complete(order("600.00", at="2026-05-01"))
    book.review(Y2027)
    book.complete(order("400.00", "next", at="2027-01-05"))
    book.refund(refund(at="2027-01-06"))
    assert (book.account.tier_id, book.account.qualifying_points) == ("silver", 600)
    check_everything(book)


def test_an_order_of_the_old_year_that_comes_before_the_review_counts_for_it() -> None:
    book = Book(BY_YEAR)
    book.complete(order("600.00", "2026", at="2026-05-01"))
    book.complete(order("300.00", "2027", at="2027-05-01"))
    book.complete(order("50.00", "late", at="2027-12-31"), as_of=instant("2028-01-02"))
    book.review(instant("2028-01-03"))
    assert book.account.tier_id == "silver"
    check_everything(book)


def test_spending_and_expiry_leave_the_tier_alone() -> None:
    book = Book(program_with(qualification={"window": "calendar_year"}, expiry={"policy": "after_months", "months": 1}))
    book.complete(order("600.00", at="2026-05-01"))
    book.spend(400, instant("2026-05-02"))
    book.expire(instant("2026-07-01"))
    assert (book.account.balance, book.account.qualifying_points) == (0, 600)
    book.review(Y2027)
    assert book.account.tier_id == "silver"


def switched(before: Program, after: Program) -> Book:
    """A book with 600 points of 2026 under `before`, with `after` in force since then."""
    book = Book(before)
    book.complete(order("600.00", "first", at="2026-05-01"))
    book.program = after
    return book


def test_from_years_to_a_lifetime_all_that_was_ever_earned_counts() -> None:
    book = switched(BY_YEAR, LIFETIME)
    book.refund(refund(net="100.00", order_id="first", at="2026-06-01"))
    book.complete(order("1000.00", "next", at="2027-06-01"))
    assert (book.account.tier_id, book.account.qualifying_points) == ("gold", 2000)
    assert (book.account.qualifying_from, book.account.tier_until) == (None, None)
    check_everything(book)


def test_from_years_to_a_lifetime_no_review_downgrades() -> None:
    book = switched(BY_YEAR, LIFETIME)
    book.refund(refund(order_id="first", at="2026-06-01"))
    book.review(instant("2028-01-01"))
    assert (book.account.tier_id, book.account.tier_until) == ("silver", None)
    assert book.complete(order("10.00", "next", at="2028-06-01")).entries[0].points == 15


def test_from_a_lifetime_to_years_a_tier_is_kept_until_a_whole_year_could_be_counted() -> None:
    book = switched(LIFETIME, BY_YEAR)
    book.complete(order("10.00", "next", at="2026-06-01"))
    assert (book.account.qualifying_points, book.account.tier_until) == (615, Y2028)
    assert book.complete(order("10.00", "2027", at="2027-06-01")).entries[0].points == 15
    book.review(instant("2028-01-01"))
    assert book.account.tier_id == "bronze"
    check_everything(book)


@pytest.mark.parametrize("time_zone", ["Pacific/Kiritimati", "Pacific/Honolulu", "Europe/London"])
def test_another_time_zone_does_not_lose_the_year(time_zone: str) -> None:
    moved = program_with(time_zone=time_zone, qualification={"window": "calendar_year"})
    book = switched(BY_YEAR, moved)
    book.refund(refund(net="200.00", order_id="first", at="2026-06-01"))
    book.complete(order("100.00", "next", at="2026-06-02"))
    assert book.account.qualifying_points == 550
    book.complete(order("10.00", "2027", at="2027-06-01"))
    assert (book.account.tier_id, book.account.tier_changes) == ("silver", 1)
    assert book.account.tier_until == qualification_period(moved, instant("2027-06-01"), None).end
    book.review(instant("2029-01-01"))
    assert book.account.tier_id == "bronze"
    check_everything(book)


def test_a_tier_that_is_no_longer_the_lowest_is_reviewed() -> None:
    book = Book(BY_YEAR)
    book.complete(order("10.00", "first", at="2026-05-01"))
    tiers = [{"tier_id": name, "threshold_points": points} for name, points in [("basic", 0), ("bronze", 50)]]
    rule = {"rule_id": "spend", "kind": "spend", "per_amount": "1", "points": {"basic": 1, "bronze": 1}}
    book.program = program_with(qualification={"window": "calendar_year"}, tiers=tiers, earning_rules=[rule])
    book.complete(order("10.00", "next", at="2026-06-01"))
    assert (book.account.tier_id, book.account.tier_until) == ("bronze", Y2027)
    book.review(Y2027)
    assert book.account.tier_id == "basic"
