"""What counts for a tier, in which window, and how it is lost: each choice of a program on its own."""

from typing import Any

import pytest

from core.domain.decision import TierChangeReason
from core.domain.orders.facts import Refund
from core.domain.program import Program
from core.domain.reach import TierInstant
from core.domain.tiers.counting import TierNeeds, tier_needs
from core.domain.tiers.qualification import Period, decide_warning, qualification_period
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.facts import TIER_IDS, account, instant, order, part, program_with, refund, spend_rule

FIELDS = {"points": "threshold_points", "spend": "threshold_amount", "orders": "threshold_orders"}


def tiered(thresholds: tuple[Any, ...] = (0, 100, 300), measure: str = "points", **qualification: Any) -> Program:
    tiers = [{"tier_id": tier, FIELDS[measure]: most} for tier, most in zip(TIER_IDS, thresholds, strict=True)]
    rules = [spend_rule({"bronze": "1", "silver": "2", "gold": "3"})]
    return program_with(tiers=tiers, earning_rules=rules, qualification={"measure": measure, **qualification})


def changes(book: Book) -> list[tuple[str, str, str]]:
    check_everything(book)
    zone = book.program.zone
    return [(c.tier_id, f"{c.effective_at.astimezone(zone):%Y-%m-%d}", c.reason.value) for c in book.tier_changes]


@pytest.mark.parametrize(
    ("measure", "thresholds", "amounts", "tier_id"),
    [
        pytest.param("points", (0, 100, 300), ["99.99"], "bronze", id="points: 99"),
        pytest.param("points", (0, 100, 300), ["50.00", "50.00"], "silver", id="points: 100"),
        pytest.param("spend", ("0", "100.50", "300"), ["100.49"], "bronze", id="spend: a cent too little"),
        pytest.param("spend", ("0", "100.50", "300"), ["100.00", "0.50"], "silver", id="spend: to the cent"),
        pytest.param("orders", (0, 2, 3), ["1.00"], "bronze", id="orders: one"),
        pytest.param("orders", (0, 2, 3), ["0.50", "0.50"], "silver", id="orders: two, even without points"),
        pytest.param("orders", (0, 2, 3), ["1.00"] * 3, "gold", id="orders: three"),
    ],
)
def test_a_tier_is_reached_by(measure: str, thresholds: tuple[Any, ...], amounts: list[str], tier_id: str) -> None:
    book = Book(tiered(thresholds, measure))
    for n, amount in enumerate(amounts):
        book.complete(order(amount, f"o{n}"))
    assert book.account.tier_id == tier_id
    check_everything(book)


@pytest.mark.parametrize(
    ("measure", "thresholds", "refunded", "left"),
    [
        pytest.param("points", (0, 100, 300), refund(net="30.00"), 70, id="points of the kept money"),
        pytest.param("spend", ("0", "100", "300"), refund(net="30.00"), 7000, id="money that is kept"),
        pytest.param("orders", (0, 2, 3), refund(net="30.00"), 1, id="an order while some of its goods are kept"),
        pytest.param("orders", (0, 2, 3), refund(paid="100.00"), 1, id="an order, though all its money was paid back"),
        pytest.param(
            "orders", (0, 2, 3), refund(part(quantity=1, net="80.00")), 0, id="an order whose goods came back"
        ),
        pytest.param("orders", (0, 2, 3), refund(), 0, id="an order no longer when nothing is kept"),
    ],
)
def test_refunds_reduce_what_counts(measure: str, thresholds: tuple[Any, ...], refunded: Refund, left: int) -> None:
    book = Book(tiered(thresholds, measure))
    book.complete(order("100.00"))
    book.refund(refunded)
    assert book.account.qualifying_points == left
    check_everything(book)


@pytest.mark.parametrize(
    ("qualification", "enrolled", "at", "start", "end"),
    [
        pytest.param(
            {"window": "rolling_months", "months": 3}, None, "2026-05-20", "2026-02-01", "2026-06-01", id="whole months"
        ),
        pytest.param(
            {"window": "rolling_months", "months": 12}, None, "2026-01-01T00:00+01:00", "2025-01-01", "2026-02-01",
            id="the first instant of January"),
        pytest.param(
            {"window": "membership_year"}, "2024-05-20", "2026-05-19", "2025-05-20", "2026-05-20", id="the day before"
        ),
        pytest.param(
            {"window": "membership_year"}, "2024-05-20", "2026-05-20", "2026-05-20", "2027-05-20", id="the day itself"
        ),
        pytest.param(
            {"window": "membership_year"}, "2024-02-29", "2026-02-28", "2026-02-28", "2027-02-28", id="29 February"
        ),
        pytest.param(
            {"window": "membership_year"}, "2024-02-29", "2028-02-28", "2027-02-28", "2028-02-29", id="in a leap year"
        ),
        pytest.param(
            {"window": "membership_year"}, "2026-05-20", "2025-12-01", "2025-05-20", "2026-05-20",
            id="a late order from before"),
    ],
)  # fmt: skip
def test_a_period_runs(qualification: dict[str, Any], enrolled: str | None, at: str, start: str, end: str) -> None:
    program = tiered(**qualification)
    found = qualification_period(program, instant(at), instant(enrolled) if enrolled else None)
    offsets = {"05": "+02:00", "06": "+02:00"}
    expected = [instant(f"{day}T00:00{offsets.get(day[5:7], '+01:00')}") for day in (start, end)]
    assert found == Period(*expected)


class TestRollingMonths:
    """100 points within the running month and the two before it."""

    PROGRAM = tiered(window="rolling_months", months=2)

    def test_a_tier_is_kept_month_by_month_while_the_window_holds_enough(self) -> None:
        book = Book(self.PROGRAM)
        book.complete(order("100.00", at="2026-03-15"))
        book.review(instant("2026-12-01"))
        assert changes(book) == [("silver", "2026-03-15", "qualified"), ("bronze", "2026-07-01", "reviewed")]

    def test_orders_of_earlier_months_count_when_a_new_one_begins(self) -> None:
        book = Book(self.PROGRAM)
        book.complete(order("60.00", "o1", at="2026-03-15"))
        book.complete(order("40.00", "o2", at="2026-05-15"))
        assert changes(book) == [("silver", "2026-05-15", "qualified")]
        book.review(instant("2026-12-01"))
        assert changes(book)[1:] == [("bronze", "2026-07-01", "reviewed")]

    def test_a_late_order_of_an_earlier_month_counts_for_the_running_window(self) -> None:
        book = Book(self.PROGRAM)
        book.complete(order("60.00", "june", at="2026-06-10"))
        book.complete(order("40.00", "late, from may", at="2026-05-20"), as_of=instant("2026-06-11"))
        assert book.account.tier_id == "silver"
        assert book.account.tier_until == instant("2026-07-01T00:00+02:00")
        check_everything(book)

    def test_a_refund_of_an_earlier_months_order_counts_for_the_running_window(self) -> None:
        book = Book(tiered(window="rolling_months", months=2, refunds="at_once"))
        book.complete(order("60.00", "may", at="2026-05-10"))
        book.complete(order("40.00", "june", at="2026-06-10"))
        book.refund(refund(net="1.00", order_id="may", at="2026-06-12"))
        assert (book.account.tier_id, book.account.qualifying_points) == ("bronze", 99)
        check_everything(book)


@pytest.mark.parametrize("grace", [0, 30])
def test_grace_keeps_the_tier_so_many_days_longer(grace: int) -> None:
    book = Book(tiered(window="calendar_year", grace_days=grace))
    book.complete(order("100.00", at="2026-05-01"))
    end = "2028-01-31" if grace else "2028-01-01"
    book.review(instant("2028-01-15"))
    assert book.account.tier_id == ("silver" if grace else "bronze")
    book.review(instant("2028-12-01"))
    assert changes(book)[1:] == [("bronze", end, "reviewed")]


def test_orders_in_the_days_of_grace_count_for_the_next_year_and_earn_at_the_kept_tier() -> None:
    book = Book(tiered(window="calendar_year", grace_days=30))
    book.complete(order("100.00", "o1", at="2026-05-01"))
    book.review(instant("2027-02-01"))
    assert book.complete(order("50.00", "o2", at="2028-01-10")).entries[0].points == 100
    assert book.account.qualifying_points == 100
    book.review(instant("2028-02-01"))
    assert book.account.tier_id == "bronze"
    check_everything(book)


@pytest.mark.parametrize(
    ("downgrade", "expected"),
    [
        ("to_fit", [("bronze", "2028-01-01")]),
        ("one_step", [("silver", "2028-01-01"), ("bronze", "2029-01-01")]),
        ("never", []),
    ],
)
def test_a_review_moves_down(downgrade: str, expected: list[tuple[str, str]]) -> None:
    book = Book(tiered(window="calendar_year", downgrade=downgrade))
    book.complete(order("300.00", at="2026-05-01"))
    book.review(instant("2031-01-01"))
    assert changes(book)[1:] == [(tier_id, at, "reviewed") for tier_id, at in expected]


@pytest.mark.parametrize(
    ("refunds", "after_refund", "after_review", "counted"),
    [("at_once", "bronze", "bronze", 50), ("at_review", "silver", "bronze", 50), ("never", "silver", "silver", 100)],
)
def test_a_refund_costs_the_tier(refunds: str, after_refund: str, after_review: str, counted: int) -> None:
    book = Book(tiered(window="calendar_year", refunds=refunds))
    book.complete(order("100.00", at="2026-05-01"))
    book.refund(refund(net="50.00", at="2026-06-01"))
    assert (book.account.tier_id, book.account.qualifying_points) == (after_refund, counted)
    book.review(instant("2027-01-02"))
    assert book.account.tier_id == after_review
    check_everything(book)


def test_a_refund_does_not_cost_at_once_what_came_from_the_year_before() -> None:
    book = Book(tiered(window="calendar_year", refunds="at_once"))
    book.complete(order("100.00", "o1", at="2026-05-01"))
    book.review(instant("2027-01-02"))
    book.complete(order("100.00", "o2", at="2027-02-01"))
    assert book.account.qualifying_points == 200
    book.refund(refund(order_id="o2", at="2027-02-02"))
    assert (book.account.tier_id, book.account.qualifying_points) == ("silver", 0)
    assert book.complete(order("10.00", "o3", at="2027-02-03")).entries[0].points == 20
    check_everything(book)


def test_a_refund_meets_the_tier_that_the_reviews_before_it_left_whether_or_not_they_ran() -> None:
    book = Book(tiered(window="rolling_months", months=2, refunds="at_once"))
    book.complete(order("100.00", at="2026-01-10"))
    book.refund(refund(at="2026-06-22"))
    assert book.account.tier_id == "bronze"
    book.review(instant("2026-06-23"))
    assert changes(book)[1:] == [("bronze", "2026-05-01", "reviewed")], "as it would have been in time"


@pytest.mark.parametrize(("crossing", "points", "tier_id"), [("old_tier", 100, "bronze"), ("new_tier", 200, "silver")])
def test_the_order_that_reaches_a_tier_earns_at(crossing: str, points: int, tier_id: str) -> None:
    book = Book(tiered(crossing_order=crossing))
    book.complete(order("100.00"))
    assert (book.account.balance, book.orders["o1"].tier_id, book.account.tier_id) == (points, tier_id, "silver")
    check_everything(book)


def test_an_order_earns_at_the_tier_that_it_reaches_and_may_so_reach_a_higher_one() -> None:
    book = Book(tiered((0, 100, 200), crossing_order="new_tier"))
    book.complete(order("100.00"))
    assert (book.account.balance, book.orders["o1"].tier_id, book.account.tier_id) == (200, "silver", "gold")


def test_a_new_tier_that_earns_less_and_would_not_be_reached_with_that_is_not_earned_at() -> None:
    tiers = [{"tier_id": tier, "threshold_points": most} for tier, most in (("bronze", 0), ("silver", 100))]
    rule = {**spend_rule(), "points": {"bronze": "1", "silver": "0.5"}}
    book = Book(program_with(tiers=tiers, earning_rules=[rule], qualification={"crossing_order": "new_tier"}))
    book.complete(order("100.00"))
    assert (book.account.balance, book.account.tier_id) == (100, "silver")
    check_everything(book)


class TestHoldByHand:
    def test_a_tier_set_by_hand_is_kept_and_then_reviewed(self) -> None:
        book = Book(tiered(window="calendar_year"))
        book.hold("gold", instant("2027-06-30"), instant("2026-03-01"))
        assert book.complete(order("10.00", at="2026-03-02")).entries[0].points == 30
        book.review(instant("2027-12-31"))
        assert book.account.tier_id == "gold"
        book.review(instant("2028-01-01"))
        assert changes(book) == [("gold", "2026-03-01", "held"), ("bronze", "2028-01-01", "reviewed")]
        assert (book.account.tier_held_until, book.account.tier_until) == (None, None)

    def test_no_refund_lowers_it(self) -> None:
        book = Book(tiered(refunds="at_once"))
        book.complete(order("100.00", at="2026-02-01"))
        book.hold("silver", instant("2026-12-31"), instant("2026-02-02"))
        book.refund(refund(at="2026-03-01"))
        assert book.account.tier_id == "silver"
        book.review(instant("2027-01-01"))
        assert changes(book)[1:] == [("bronze", "2026-12-31", "reviewed")]

    def test_orders_may_move_it_further_up(self) -> None:
        book = Book(tiered(window="calendar_year"))
        book.hold("silver", instant("2028-06-30"), instant("2026-03-01"))
        book.complete(order("300.00", at="2026-03-02"))
        assert (book.account.tier_id, book.tier_changes[-1].reason) == ("gold", TierChangeReason.QUALIFIED)
        book.review(instant("2028-12-31T12:00+01:00"))
        assert book.account.tier_id == "gold"
        check_everything(book)


class TestWarning:
    PROGRAM = tiered(window="calendar_year", warning_days=30, downgrade="one_step")

    def warning(self, *amounts_of_2027: str) -> Any:
        book = Book(self.PROGRAM)
        book.complete(order("300.00", at="2026-05-01"))
        book.review(instant("2027-01-01"))
        for n, amount in enumerate(amounts_of_2027):
            book.complete(order(amount, f"n{n}", at="2027-05-01"))
        return decide_warning(book.account, self.PROGRAM, book.counted)

    def test_who_would_lose_the_tier_is_warned_of_what_is_missing(self) -> None:
        found = self.warning("90.00")
        assert (found.tier_id, found.fitting_tier_id, found.units_missing) == ("gold", "silver", 30)
        assert found.loses_at == found.account.tier_warned_until == instant("2028-01-01T00:00+01:00")

    def test_who_keeps_it_is_not(self) -> None:
        assert self.warning("100.00") is None
        assert decide_warning(Book(self.PROGRAM).account, self.PROGRAM, ()) is None


@pytest.mark.parametrize(
    ("before", "after", "counted"),
    [
        pytest.param({"window": "calendar_year"}, {"window": "rolling_months", "months": 6}, 120, id="year to months"),
        pytest.param(
            {"window": "rolling_months", "months": 3}, {"window": "rolling_months", "months": 6}, 120, id="more months"
        ),
        pytest.param(
            {"window": "rolling_months", "months": 6}, {"window": "rolling_months", "months": 1}, 90, id="fewer months"
        ),
        pytest.param({"window": "membership_year"}, {"window": "calendar_year"}, 120, id="membership to calendar year"),
        pytest.param({"window": "lifetime"}, {"window": "rolling_months", "months": 1}, 90, id="lifetime to months"),
        pytest.param({"window": "rolling_months", "months": 1}, {"window": "lifetime"}, 120, id="months to lifetime"),
    ],
)
def test_after_a_change_of_the_window_orders_count_on(
    before: dict[str, Any], after: dict[str, Any], counted: int
) -> None:
    book = Book(tiered((0, 1000, 2000), **before))
    book.complete(order("30.00", "o1", at="2026-01-20"))
    book.complete(order("50.00", "o2", at="2026-03-10"))
    book.program = tiered((0, 1000, 2000), **after)
    book.complete(order("40.00", "o3", at="2026-03-20"))
    assert book.account.qualifying_points == counted
    check_everything(book)


@pytest.mark.parametrize("window", [{"window": "rolling_months", "months": 12}, {"window": "calendar_year"}])
def test_recorded_orders_are_needed_by_the_first_order_of_a_period_and_all_of_them_by_a_late_one(
    window: dict[str, Any],
) -> None:
    program = tiered(**window)
    period = qualification_period(program, instant("2026-05-20"), None)
    counting = account(
        qualifying_from=period.start, qualifying_points=10, counted_until=instant("2026-05-20"),
        enrolled_at=instant("2024-05-20"),
    )  # fmt: skip

    def needs(at: str) -> TierNeeds:
        return tier_needs(counting, [TierInstant(instant(at), ("s", "o"), is_new=True)], (), lambda _: program)

    assert needs("2026-05-31") == TierNeeds()
    assert needs("2027-01-01").since is not None
    assert needs("2026-05-19") == TierNeeds(everything=True)
