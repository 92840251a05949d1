"""Tier windows through the store: whatever comes late, together or one by one, the account ends alike."""

from collections.abc import Callable, Iterator
from itertools import pairwise, permutations
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.arrivals import rounds
from tests.factories import PROGRAM_TEXT, order, refund
from tests.ledger_rows import empty_ledger, ledger_rows
from tests.shell import Shell

Opened = Callable[[str], Shell]


@pytest.fixture
def opened(engine: Engine) -> Iterator[Opened]:
    """A ledger whose program has this qualification; sound at the end of every test."""
    shells: list[Shell] = []

    def open_with(qualification: str) -> Shell:
        text = f"{PROGRAM_TEXT}qualification: {{{qualification}}}\n"
        shells.append(Shell(engine, shards=1, program_text=text))
        return shells[-1]

    yield open_with
    for shell in shells:
        assert (shell.differences(), shell.repairs()) == ([], ([], []))


def standing(shell: Shell) -> tuple[str, int]:
    """Tier and qualifying points."""
    (row,) = shell.rows("SELECT tier_id, qualifying_points FROM accounts WHERE customer_id = 'c1'")
    return row.tier_id, row.qualifying_points


def changes(shell: Shell) -> list[tuple[str, str, str]]:
    rows = shell.rows(
        "SELECT effective_at::date::text AS day, tier_id, reason FROM tier_changes ORDER BY change_number"
    )
    return [(row.day, row.tier_id, row.reason) for row in rows]


def of(day: str, order_id: str, amount: str = "300.00") -> dict[str, Any]:
    return order(order_id, amount, time=f"{day}T12:00:00Z")


class TestRollingMonths:
    @pytest.fixture
    def shell(self, opened: Opened) -> Shell:
        return opened("window: rolling_months, months: 2")

    def test_orders_of_the_months_before_count_with_the_running_one(self, shell: Shell) -> None:
        shell.take(of("2026-01-10", "o1"))
        shell.take(of("2026-03-10", "o2"))
        assert standing(shell) == ("silver", 600)
        shell.take(of("2026-05-10", "o3", "10.00"))
        assert standing(shell)[1] == 310

    def test_a_late_order_of_an_earlier_month_counts_where_it_still_does(self, shell: Shell) -> None:
        shell.take(of("2026-03-10", "o2"))
        shell.take(of("2026-02-10", "o1"))
        assert standing(shell) == ("silver", 600)
        shell.take(of("2025-12-10", "o0"))
        assert standing(shell) == ("silver", 600)

    def test_each_month_is_reviewed_with_the_months_before(self, shell: Shell) -> None:
        shell.take(of("2026-01-10", "o1"), of("2026-02-10", "o2"))
        shell.review("2026-03-15T00:00:00Z")
        assert standing(shell) == ("silver", 600)
        shell.review("2026-04-15T00:00:00Z")
        assert standing(shell) == ("silver", 300)  # of February; the review was of the months before April
        shell.review("2026-05-15T00:00:00Z")
        assert standing(shell)[0] == "bronze"
        assert changes(shell)[-1] == ("2026-04-30", "bronze", "reviewed")

    @pytest.mark.parametrize("is_one_batch", [True, False], ids=["in one batch", "one by one"])
    def test_a_refund_counts_in_whichever_window_its_order_is(self, shell: Shell, is_one_batch: bool) -> None:
        messages = [
            of("2026-01-10", "o1"),
            of("2026-02-10", "o2"),
            refund("r1", "o1", net="200.00"),
            of("2026-03-10", "o3", "10.00"),
            refund("r2", "o2", net="100.00"),
            of("2026-04-10", "o4", "10.00"),
        ]
        for batch in [messages] if is_one_batch else [[each] for each in messages]:
            shell.take(*batch)
        assert standing(shell)[1] == 200 + 15 + 10  # silver was lost at the end of March: the refunds are of March

    def test_a_refund_of_an_old_order_beside_a_new_one(self, shell: Shell) -> None:
        shell.take(of("2025-01-10", "old", "50.00"))
        assert shell.take(of("2026-03-10", "o1"), refund("r1", "old")) == {"posted": 2}
        assert standing(shell) == ("bronze", 300)


def test_batches_end_as_their_messages_one_by_one(opened: Opened) -> None:
    shell = opened("window: calendar_year, grace_days: 31")
    first = [of("2023-06-01", "o0", "10.00")]
    messages = [of("2024-06-01", "o1", "600.00"), of("2025-01-10", "o2", "10.00"), of("2025-03-01", "o3", "10.00")]
    ledgers = []
    for batches in ([messages], [[each] for each in messages]):
        empty_ledger(shell)
        shell.take(*first)
        for batch in batches:
            shell.take(*batch)
        assert standing(shell)[0] == "silver"
        ledgers.append(ledger_rows(shell)["accounts"])
    assert ledgers[0] == ledgers[1]


@pytest.mark.parametrize("window", ["window: rolling_months, months: 2", "window: membership_year, grace_days: 40"])
def test_every_cut_into_batches_ends_alike(opened: Opened, window: str) -> None:
    shell = opened(window)
    days = ["2024-01-10", "2024-02-20", "2024-04-10", "2025-01-20", "2025-03-01", "2025-03-02"]
    messages = [of(day, f"o{n}", "260.00") for n, day in enumerate(days)]
    ends = []
    for cuts in ((), (1,), (2,), (3,), (4,), (2, 4), (1, 2, 3, 4, 5)):
        empty_ledger(shell)
        places = (0, *cuts, len(messages))
        for begin, end in pairwise(places):
            shell.take(*messages[begin:end])
        rows = ledger_rows(shell)
        ends.append((rows["accounts"], rows["tier changes"]))
    assert ends == [ends[0]] * len(ends)


def test_a_membership_year_begins_with_the_first_order(opened: Opened) -> None:
    shell = opened("window: membership_year")
    shell.take(of("2024-05-10", "o1"), of("2025-05-09", "o2"))
    assert standing(shell) == ("silver", 600)
    shell.take(of("2025-05-11", "o3"))
    assert standing(shell) == ("silver", 450)
    shell.review("2026-06-01T00:00:00Z")
    assert standing(shell)[0] == "bronze"


class TestGrace:
    @pytest.fixture
    def shell(self, opened: Opened) -> Shell:
        return opened("window: calendar_year, grace_days: 31")

    def test_the_tier_is_kept_through_the_days_of_grace_and_lost_after_them(self, shell: Shell) -> None:
        shell.take(of("2023-06-01", "o1", "600.00"))
        shell.review("2024-12-01T00:00:00Z")
        assert shell.review("2025-01-31T12:00:00Z") == 0
        assert shell.review("2025-02-01T00:00:00Z") == 1
        assert changes(shell)[-1] == ("2025-01-31", "bronze", "reviewed")

    def test_an_order_after_the_grace_meets_the_tier_of_the_review_that_has_not_run(self, shell: Shell) -> None:
        shell.take(of("2023-06-01", "o1", "600.00"))
        shell.take(of("2025-03-01", "o2", "100.00"))
        assert standing(shell) == ("bronze", 100)
        assert shell.value("SELECT points_entitled FROM orders WHERE order_id = 'o2'") == 100

    def test_whether_the_review_or_the_order_was_first_the_account_ends_alike(self, shell: Shell) -> None:
        ends = []
        for is_reviewed_first in (True, False):
            empty_ledger(shell)
            shell.take(of("2023-06-01", "o1", "600.00"), of("2024-06-01", "o2", "510.00"))
            steps: list[Callable[[], object]] = [
                lambda: shell.review("2025-03-02T00:00:00Z"),
                lambda: shell.take(of("2025-03-01", "o3", "100.00")),
            ]
            for step in steps if is_reviewed_first else reversed(steps):
                step()
            ends.append((standing(shell), changes(shell)))
        assert ends[0] == ends[1]


class TestRefundsAtOnce:
    @pytest.fixture
    def shell(self, opened: Opened) -> Shell:
        return opened("refunds: at_once")

    def test_the_tier_goes_with_the_order_that_brought_it(self, shell: Shell) -> None:
        shell.take(of("2026-03-01", "o1", "600.00"))
        shell.take(refund("r1", "o1", net="200.00"))
        assert standing(shell) == ("bronze", 400)
        assert [change[1:] for change in changes(shell)] == [("silver", "qualified"), ("bronze", "refunded")]

    def test_an_order_before_the_loss_still_earns_by_the_history(self, shell: Shell) -> None:
        shell.take(of("2026-03-01", "o1", "600.00"))
        shell.take(refund("r1", "o1", net="200.00"))  # of 5 March
        shell.take(of("2026-03-03", "o2", "10.00"), of("2026-03-08", "o3", "10.00"))
        entitled = "SELECT points_entitled FROM orders WHERE order_id = :id"
        assert (shell.value(entitled, id="o2"), shell.value(entitled, id="o3")) == (15, 10)

    def test_by_the_year_a_tier_of_the_year_before_stays(self, opened: Opened) -> None:
        shell = opened("window: calendar_year, refunds: at_once")
        shell.take(of("2025-03-01", "o1", "600.00"))
        shell.take(of("2026-02-01", "o2", "1400.00"))
        assert standing(shell)[0] == "gold"
        shell.take(refund("r1", "o2", time="2026-03-05T12:00:00Z"))
        assert standing(shell)[0] == "silver"


@pytest.mark.parametrize("measure", ["spend", "orders"])
def test_other_measures_are_counted_and_refunded_alike_in_any_order(engine: Engine, measure: str) -> None:
    field, low, high = (
        ("threshold_amount", '"500.00"', '"2000.00"') if measure == "spend" else ("threshold_orders", 2, 9)
    )
    text = PROGRAM_TEXT.replace("threshold_points: 0", f"{field}: 0").replace(
        "threshold_points: 500", f"{field}: {low}"
    )
    text = text.replace("threshold_points: 2000", f"{field}: {high}")
    shell = Shell(
        engine, shards=1, program_text=f"{text}qualification: {{measure: {measure}, window: calendar_year}}\n"
    )
    messages = [of("2026-03-01", "o1"), of("2026-03-02", "o2"), refund("r1", "o1")]
    for together in rounds(permutations(messages)):
        shell.take(*together)
    ends = [row.qualifying_points for row in shell.rows("SELECT qualifying_points FROM accounts")]
    assert ends == [30000 if measure == "spend" else 1] * 6
    assert (shell.differences(), shell.repairs()) == ([], ([], []))


def test_a_window_that_replaces_lifetime_counts_what_is_recorded_of_its_period(engine: Engine) -> None:
    shell = Shell(engine, shards=1)
    shell.take(of("2026-01-10", "o1", "200.00"))
    shell.apply_program(PROGRAM_TEXT + "qualification: {window: calendar_year}\n", "2026-02-01T00:00:00Z")
    shell.take(of("2026-03-10", "o2", "310.00"))
    assert standing(shell) == ("silver", 510)
