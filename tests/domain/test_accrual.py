"""What a completed order does: before, message, posted, after."""

from typing import Any

import pytest

from core.domain.ledger import (
    POINTS_MAX,
    Decision,
    EntryKind,
    Frozen,
    PostedOrder,
    Qualifying,
    TierChange,
    TierChangeReason,
)
from core.domain.lots import Allocation
from core.domain.orders.accrual import Known, accrual_problem, decide_accrual, decide_guest_order
from core.domain.orders.facts import LineKind, Order
from core.domain.outcomes import Reason
from core.domain.tiers.qualification import TierHistoryEntry
from tests.domain.book import Book
from tests.domain.invariants import check_everything
from tests.facts import ACCOUNT_ID, AS_OF, account, instant, line, order, program_with, spend_rule

PROGRAM = program_with()


def test_a_first_order_opens_the_first_lot() -> None:
    program = program_with(expiry={"policy": "after_months", "months": 12})
    sold = order("120.50", at="2026-03-01")
    decision = decide_accrual(account(), Known(), sold, program, 7, program, as_of=AS_OF)

    expires = instant("2027-03-01T23:00+00:00")
    (entry,) = decision.entries
    assert (entry.kind, entry.sequence, entry.points, entry.balance_after) == (EntryKind.ACCRUAL, 1, 120, 120)
    assert (entry.lifetime_points_after, entry.deficit_change) == (120, 0)
    assert (entry.source, entry.order_id, entry.refund_id) == (sold.source, "o1", None)
    assert (entry.occurred_at, entry.corrects_sequence) == (sold.occurred_at, None)
    assert entry.allocations == (Allocation(1, 120, expires),)
    assert entry.why["basis_amount"] == "120.5"
    (opened,) = decision.lots
    assert (opened.lot_number, opened.opened_by_sequence, opened.points_granted) == (1, 1, 120)
    assert (opened.available_at, opened.expires_at) == (sold.occurred_at, expires)
    assert decision.account == account(
        sequence=1,
        lots_opened=1,
        balance=120,
        lifetime_points=120,
        qualifying_points=120,
        orders_posted=1,
        enrolled_at=sold.occurred_at,
    )
    assert decision.order == PostedOrder(
        sold, "test", 7, "bronze", ACCOUNT_ID, 1, 1, 120, 0, 0, Frozen(), Qualifying(120, 12050, 1)
    )
    assert decision.tier_changes == ()
    assert decision.refund is None


@pytest.mark.parametrize(
    ("deficit", "granted", "deficit_change", "balance"),
    [
        pytest.param(30, 70, -30, 70, id="the rest is a lot"),
        pytest.param(100, None, -100, 0, id="nothing is left"),
        pytest.param(250, None, -100, -150, id="not all is paid off"),
    ],
)
def test_an_order_first_pays_off_a_deficit(
    deficit: int, granted: int | None, deficit_change: int, balance: int
) -> None:
    before = account(balance=-deficit, deficit=deficit, lifetime_points=500, sequence=9, lots_opened=3)
    decision = decide_accrual(before, Known(), order("100.00"), PROGRAM, 1, PROGRAM, as_of=AS_OF)
    (entry,) = decision.entries
    assert (entry.points, entry.deficit_change, entry.balance_after) == (100, deficit_change, balance)
    assert sum(part.points for part in entry.allocations) == (granted or 0)
    assert [opened.points_granted for opened in decision.lots] == ([granted] if granted else [])
    assert decision.account is not None
    assert decision.account.deficit == deficit + deficit_change
    assert decision.account.lifetime_points == 600
    assert decision.order is not None
    assert (decision.order.sequence, decision.order.lot_number) == (10, 4 if granted else None)


@pytest.mark.parametrize(
    ("sold", "qualifying"),
    [
        pytest.param(order("0.99"), Qualifying(0, 99, 1), id="less than a point"),
        pytest.param(order(lines=[line(kind="gift_card")]), Qualifying(), id="a gift card"),
        pytest.param(order("50.00", points_paid="50.00"), Qualifying(0, 0, 1), id="paid with points"),
    ],
)
def test_an_order_that_earns_nothing_is_recorded_without_an_entry(sold: Order, qualifying: Qualifying) -> None:
    decision = decide_accrual(account(sequence=3), Known(), sold, PROGRAM, 1, PROGRAM, as_of=AS_OF)
    posted = PostedOrder(sold, "test", 1, "bronze", ACCOUNT_ID, None, None, 0, 0, 0, Frozen(), qualifying)
    counted = account(sequence=3, orders_posted=1, enrolled_at=sold.occurred_at)
    assert decision == Decision(account=counted, order=posted)


def test_a_guests_order_is_recorded_and_earns_nothing() -> None:
    sold = order(customer_id=None)
    decision = decide_guest_order(sold, PROGRAM, 3)
    assert decision == Decision(order=PostedOrder(sold, "test", 3, None, None, None, None, 0, 0, 0))


@pytest.mark.parametrize(
    ("points_before", "amount", "points", "tier_after"),
    [
        pytest.param(0, "499.99", 499, "bronze", id="below the threshold"),
        pytest.param(0, "500.00", 500, "silver", id="the order that reaches it earns at the rate before"),
        pytest.param(499, "1.00", 1, "silver", id="also when a single point was missing"),
        pytest.param(0, "2000.00", 2000, "gold", id="over two thresholds at once, at the lowest rate"),
    ],
)
def test_the_order_that_crosses_a_threshold_earns_in_the_tier_before(
    points_before: int, amount: str, points: int, tier_after: str
) -> None:
    decision = decide_accrual(
        account(qualifying_points=points_before), Known(), order(amount), PROGRAM, 1, PROGRAM, as_of=AS_OF
    )
    assert decision.account is not None
    assert (decision.entries[0].points, decision.account.tier_id) == (points, tier_after)
    assert decision.order is not None
    assert decision.order.tier_id == "bronze"


def test_an_upgrade_is_told_and_holds_from_the_order_on() -> None:
    book = Book(PROGRAM)
    decision = book.complete(order("600.00", "first", at="2026-03-01"))
    assert decision.tier_changes == (
        TierChange(ACCOUNT_ID, 1, "bronze", "silver", 600, instant("2026-03-01"), TierChangeReason.QUALIFIED),
    )
    assert book.account.tier_since == instant("2026-03-01")
    assert book.account.tier_until is None
    assert book.complete(order("100.00", "second", at="2026-03-02")).entries[0].points == 150
    check_everything(book)


HISTORY = (
    TierHistoryEntry(instant("2026-02-01"), "silver"),
    TierHistoryEntry(instant("2026-04-01"), "gold"),
    TierHistoryEntry(instant("2026-06-01"), "silver"),
)


@pytest.mark.parametrize(
    ("at", "tier_id", "points"),
    [
        pytest.param("2026-01-31", "bronze", 100, id="before the first change"),
        pytest.param("2026-02-01", "silver", 150, id="at a change"),
        pytest.param("2026-03-31", "silver", 150, id="between changes"),
        pytest.param("2026-05-01", "gold", 200, id="after an upgrade"),
        pytest.param("2026-07-01", "silver", 150, id="after the last change"),
    ],
)
def test_a_late_order_earns_in_the_tier_of_its_day(at: str, tier_id: str, points: int) -> None:
    before = account(tier_id="silver", tier_since=instant("2026-06-01"), tier_changes=3, qualifying_points=1900)
    decision = decide_accrual(before, Known(HISTORY), order(at=at), PROGRAM, 1, PROGRAM, as_of=AS_OF)
    assert decision.order is not None
    assert (decision.order.tier_id, decision.entries[0].points) == (tier_id, points)


def test_orders_out_of_order_earn_by_what_was_known_when_they_came() -> None:
    book = Book(PROGRAM)
    book.complete(order("400.00", "march", at="2026-03-01"))
    book.complete(order("400.00", "late, from february", at="2026-02-01"))
    assert (book.account.tier_id, book.account.tier_since) == ("silver", instant("2026-02-01"))
    assert book.complete(order("100.00", "late, from january", at="2026-01-01")).entries[0].points == 100
    assert book.complete(order("100.00", "late, from mid-february", at="2026-02-15")).entries[0].points == 150
    assert [posted.points_entitled for posted in book.orders.values()] == [400, 400, 100, 150]
    check_everything(book)


def test_an_order_earns_by_the_rules_of_its_day_and_counts_for_the_tiers_of_now() -> None:
    thresholds = {"bronze": 0, "silver": 5000, "gold": 9000}
    tiers = [{"tier_id": name, "threshold_points": points} for name, points in thresholds.items()]
    old = program_with(earning_rules=[spend_rule("3")], tiers=tiers)
    decision = decide_accrual(account(), Known(), order("200.00"), old, 1, PROGRAM, as_of=AS_OF)
    assert decision.account is not None
    assert (decision.entries[0].points, decision.account.tier_id) == (600, "silver")
    assert decision.order is not None
    assert decision.order.program_version == 1


def test_a_tier_that_the_orders_version_lacks_is_replaced_by_the_one_that_the_points_reach() -> None:
    before = account(tier_id="platinum", qualifying_points=600, tier_since=instant("2026-01-01"))
    decision = decide_accrual(before, Known(), order(), PROGRAM, 1, PROGRAM, as_of=AS_OF)
    assert decision.order is not None
    assert (decision.order.tier_id, decision.entries[0].points) == ("silver", 150)


def test_every_line_kind_can_be_made_to_earn() -> None:
    program = program_with(basis={"kinds": [kind.value for kind in LineKind]})
    lines = [line(kind.value, "10.00", kind=kind.value) for kind in LineKind]
    assert (
        decide_accrual(account(), Known(), order(lines=lines), program, 1, program, as_of=AS_OF).entries[0].points == 50
    )


def test_an_order_meets_the_tier_that_a_review_in_time_would_have_left() -> None:
    before = account(
        tier_id="silver",
        tier_since=instant("2025-05-01"),
        tier_until=instant("2026-12-31T23:00+00:00"),
        tier_changes=1,
        qualifying_from=instant("2025-12-31T23:00+00:00"),
        qualifying_points=300,
        sequence=1,
    )
    program = program_with(qualification={"window": "calendar_year"})
    decision = decide_accrual(before, Known(), order("100.00", at="2027-01-05"), program, 1, program, as_of=AS_OF)
    boundary = instant("2026-12-31T23:00+00:00")
    assert decision.entries[0].points == 100
    assert decision.tier_changes == (
        TierChange(ACCOUNT_ID, 2, "silver", "bronze", 300, boundary, TierChangeReason.REVIEWED),
    )
    assert decision.account is not None
    assert (decision.account.tier_id, decision.account.tier_since, decision.account.tier_until) == (
        "bronze",
        boundary,
        None,
    )
    assert (decision.account.qualifying_from, decision.account.qualifying_points) == (boundary, 100)
    before_midnight = decide_accrual(
        before, Known(), order("100.00", at="2026-12-31T22:59:59+00:00"), program, 1, program, as_of=AS_OF
    )
    assert before_midnight.entries[0].points == 150


def test_points_of_an_order_that_is_a_little_ahead_of_our_clock_are_available_at_once() -> None:
    """A shop's clock may be ahead; the balance must not hold points that no lot can give."""
    now = instant("2026-03-01T11:59:00+00:00")
    decision = decide_accrual(account(), Known(), order(at="2026-03-01T12:00:00+00:00"), PROGRAM, 1, PROGRAM, as_of=now)
    assert decision.lots[0].available_at == now
    assert decision.entries[0].occurred_at == instant("2026-03-01T12:00:00+00:00")


class TestMorePointsThanAnybodyMeans:
    GENEROUS = program_with(earning_rules=[spend_rule("1000000")])

    def problem(self, amount: str, **before: Any) -> Any:
        decision = decide_accrual(
            account(**before), Known(), order(amount), self.GENEROUS, 1, self.GENEROUS, as_of=AS_OF
        )
        return accrual_problem(decision)

    def test_the_largest_order_is_taken(self) -> None:
        assert self.problem("1000000000") is None

    @pytest.mark.parametrize(
        ("amount", "before"),
        [
            ("1000000001", {}),
            ("999999999999.9999", {}),
            ("1", {"lifetime_points": POINTS_MAX - 1}),
            ("1", {"balance": POINTS_MAX - 1}),
        ],
    )
    def test_what_no_account_may_get_is_parked(self, amount: str, before: dict[str, int]) -> None:
        parked = self.problem(amount, **before)
        assert parked.reason is Reason.TOO_MANY_POINTS
        assert "more than 1,000,000,000,000,000" in parked.detail

    def test_a_guest_gets_none(self) -> None:
        assert accrual_problem(decide_guest_order(order("999999999999"), self.GENEROUS, 1)) is None
