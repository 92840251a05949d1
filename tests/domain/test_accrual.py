"""What a completed order does: before, message, posted, after."""

from typing import Any

import pytest

from core.domain.decision import AccountChange, Decision, TierChange, TierChangeReason
from core.domain.ledger import POINTS_MAX, EntryKind
from core.domain.lots import Allocation, AllocationKind, Origin, OriginKind
from core.domain.orders.facts import LineKind, Order
from core.domain.orders.posted import Judgement, PostedOrder, Qualifying
from core.domain.outcomes import Parked, Reason
from core.domain.tiers.history import TierHistoryEntry
from tests.domain.book import Book, message_of
from tests.domain.invariants import check_everything
from tests.facts import ACCOUNT_ID, AS_OF, account, instant, line, order, program_with, spend_rule

PROGRAM = program_with()


def test_a_first_order_opens_the_first_lot() -> None:
    program = program_with(expiry={"policy": "after_months", "months": 12})
    sold = order("120.50", at="2026-03-01")
    book = Book(program)
    change = book.complete(sold)

    expires = instant("2027-03-01T23:00+00:00")
    (entry,) = change.entries
    assert (entry.kind, entry.sequence, entry.points, entry.balance_after) == (EntryKind.ACCRUAL, 1, 120, 120)
    assert (entry.lifetime_points_after, entry.deficit_change) == (120, 0)
    assert (entry.source, entry.order_id, entry.refund_id) == (sold.source, "o1", None)
    assert (entry.occurred_at, entry.corrects_sequence) == (sold.occurred_at, None)
    assert entry.allocations == (Allocation(1, AllocationKind.OPENED, 120, expires),)
    assert entry.why["basis_amount"] == "120.5"
    (opened,) = change.lots
    assert opened.origin == Origin(OriginKind.ORDER, sold.source, "o1", sold.occurred_at)
    assert (opened.lot_number, opened.opened_by_sequence, opened.points_granted) == (1, 1, 120)
    assert (opened.available_at, opened.expires_at) == (sold.occurred_at, expires)
    assert change.opened == account(enrolled_at=sold.occurred_at, counted_until=sold.occurred_at)
    assert change.account == account(
        sequence=1,
        lots_opened=1,
        balance=120,
        lifetime_points=120,
        qualifying_points=120,
        orders_posted=1,
        orders_counted=1,
        enrolled_at=sold.occurred_at,
        counted_until=sold.occurred_at,
    )
    digest = message_of(sold).digest
    assert book.orders["o1"] == PostedOrder(
        sold, "test", 1, digest, "bronze", ACCOUNT_ID, 1, 120, 0, 0, Judgement(), Qualifying(120, 12050, 1), True
    )
    assert change.tier_changes == ()


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
    book = Book(PROGRAM, before)
    change = book.complete(order("100.00"))
    (entry,) = change.entries
    assert (entry.points, entry.deficit_change, entry.balance_after) == (100, deficit_change, balance)
    assert sum(part.points for part in entry.allocations) == (granted or 0)
    opened = [(lot.lot_number, lot.opened_by_sequence, lot.points_granted) for lot in change.lots]
    assert opened == ([(4, 10, granted)] if granted else [])
    assert change.account.deficit == deficit + deficit_change
    assert change.account.lifetime_points == 600
    assert book.orders["o1"].sequence == 10


@pytest.mark.parametrize(
    ("sold", "qualifying"),
    [
        pytest.param(order("0.99"), Qualifying(0, 99, 1), id="less than a point"),
        pytest.param(order(lines=[line(kind="gift_card")]), Qualifying(), id="a gift card"),
        pytest.param(order("50.00", points_paid="50.00"), Qualifying(0, 0, 1), id="paid with points"),
    ],
)
def test_an_order_that_earns_nothing_is_recorded_without_an_entry(sold: Order, qualifying: Qualifying) -> None:
    digest = message_of(sold).digest
    posted = PostedOrder(sold, "test", 1, digest, "bronze", ACCOUNT_ID, None, 0, 0, 0, Judgement(), qualifying)
    counted = account(sequence=3, orders_posted=1, enrolled_at=sold.occurred_at, counted_until=sold.occurred_at)
    decision = Book(PROGRAM, account(sequence=3)).decide(sold, AS_OF)
    assert decision == Decision((AccountChange(counted),), (posted,), given={})


def test_a_guests_order_is_recorded_and_earns_nothing() -> None:
    sold = order(customer_id=None)
    decision = Book(PROGRAM).decide(sold, AS_OF)
    posted = PostedOrder(sold, "test", 1, message_of(sold).digest, None, None, None, 0, 0, 0)
    assert decision == Decision(facts=(posted,))


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
    book = Book(PROGRAM, account(qualifying_points=points_before))
    change = book.complete(order(amount))
    assert (change.entries[0].points, change.account.tier_id) == (points, tier_after)
    assert book.orders["o1"].tier_id == "bronze"


def test_an_upgrade_is_recorded_and_holds_from_the_order_on() -> None:
    book = Book(PROGRAM)
    change = book.complete(order("600.00", "first", at="2026-03-01"))
    assert change.tier_changes == (
        TierChange(ACCOUNT_ID, 1, "bronze", "silver", 600, instant("2026-03-01"), TierChangeReason.QUALIFIED),
    )
    assert book.account.tier_since == instant("2026-03-01")
    assert book.account.tier_until is None
    assert book.complete(order("100.00", "second", at="2026-03-02")).entries[0].points == 150
    check_everything(book)


HISTORY = [
    TierHistoryEntry(instant("2026-02-01"), "silver"),
    TierHistoryEntry(instant("2026-04-01"), "gold"),
    TierHistoryEntry(instant("2026-06-01"), "silver"),
]


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
    since = instant("2026-06-01")
    before = account(tier_id="silver", tier_since=since, tier_changes=3, qualifying_points=1900, counted_until=since)
    book = Book(PROGRAM, before)
    book.books.put_history({ACCOUNT_ID: HISTORY})
    change = book.complete(order(at=at))
    assert (book.orders["o1"].tier_id, change.entries[0].points) == (tier_id, points)


def test_orders_out_of_order_earn_in_the_tier_that_all_orders_known_gave_at_their_own_time() -> None:
    book = Book(PROGRAM)
    book.complete(order("400.00", "march", at="2026-03-01"))
    book.complete(order("400.00", "late, from february", at="2026-02-01"))
    assert (book.account.tier_id, book.account.tier_since) == ("silver", instant("2026-03-01"))
    assert book.complete(order("100.00", "late, from january", at="2026-01-01")).entries[0].points == 100
    assert book.account.tier_since == instant("2026-02-01"), "with both that came late it was reached then"
    assert book.complete(order("100.00", "late, from mid-february", at="2026-02-15")).entries[0].points == 150
    assert [posted.points_entitled for posted in book.orders.values()] == [400, 400, 100, 150]
    check_everything(book)


def test_an_order_earns_by_the_rules_of_its_day_and_counts_for_the_tiers_of_its_day() -> None:
    thresholds = {"bronze": 0, "silver": 5000, "gold": 9000}
    tiers = [{"tier_id": name, "threshold_points": points} for name, points in thresholds.items()]
    old = program_with(earning_rules=[spend_rule("3")], tiers=tiers)
    book = Book(PROGRAM)
    change = book.complete(order("200.00"), version=old)
    assert (change.entries[0].points, change.account.tier_id) == (600, "bronze")
    assert book.orders["o1"].program_version == 1


def test_a_tier_that_the_orders_version_lacks_is_replaced_by_the_one_that_the_points_reach() -> None:
    before = account(tier_id="platinum", qualifying_points=600, tier_since=instant("2026-01-01"))
    book = Book(PROGRAM, before)
    change = book.complete(order())
    assert (book.orders["o1"].tier_id, change.entries[0].points) == ("silver", 150)


def test_every_line_kind_can_be_made_to_earn() -> None:
    program = program_with(basis={"kinds": [kind.value for kind in LineKind]})
    lines = [line(kind.value, "10.00", kind=kind.value) for kind in LineKind]
    assert Book(program).complete(order(lines=lines)).entries[0].points == 50


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
    change = Book(program, before).complete(order("100.00", at="2027-01-05"))
    boundary = instant("2026-12-31T23:00+00:00")
    assert change.entries[0].points == 100
    assert change.tier_changes == (
        TierChange(ACCOUNT_ID, 2, "silver", "bronze", 300, boundary, TierChangeReason.REVIEWED),
    )
    after = change.account
    assert (after.tier_id, after.tier_since, after.tier_until) == ("bronze", boundary, None)
    assert (after.qualifying_from, after.qualifying_points) == (boundary, 100)
    before_midnight = Book(program, before).complete(order("100.00", at="2026-12-31T22:59:59+00:00"))
    assert before_midnight.entries[0].points == 150


def test_points_of_an_order_that_is_a_little_ahead_of_our_clock_are_available_at_once() -> None:
    """A shop's clock may be ahead; the balance must not hold points that no lot can give."""
    now = instant("2026-03-01T11:59:00+00:00")
    change = Book(PROGRAM).complete(order(at="2026-03-01T12:00:00+00:00"), as_of=now)
    assert change.lots[0].available_at == now
    assert change.entries[0].occurred_at == instant("2026-03-01T12:00:00+00:00")


class TestMorePointsThanAnybodyMeans:
    GENEROUS = program_with(earning_rules=[spend_rule("1000000")])

    def problem(self, amount: str, **before: Any) -> Any:
        outcome = Book(self.GENEROUS, account(**before)).decide(order(amount), AS_OF)
        return outcome if isinstance(outcome, Parked) else None

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
        decision = Book(self.GENEROUS).decide(order("999999999999", customer_id=None), AS_OF)
        assert isinstance(decision, Decision)
        assert decision.changes == ()
