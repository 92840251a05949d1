"""Points that are held: pending until their day, or until the shop says that the order is fulfilled."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, cancellation, fulfilment, line, order, refund
from tests.ledger_rows import empty_ledger, ledger_rows
from tests.shell import Shell

AFTER_DAYS = PROGRAM_TEXT + "availability: {policy: after_days, days: 30}\n"
ON_FULFILLED = PROGRAM_TEXT + "availability: {policy: on_fulfilled}\nexpiry: {policy: after_months, months: 600}\n"
WEEK_AFTER = ON_FULFILLED.replace("on_fulfilled", "days_after_fulfilment, days: 7")
NOW = datetime.now(UTC)
YESTERDAY = (NOW - timedelta(days=1)).isoformat()
Opened = Callable[[str], Shell]


def in_days(days: float) -> str:
    return (NOW + timedelta(days=days)).isoformat()


@pytest.fixture
def opened(engine: Engine) -> Iterator[Opened]:
    """A ledger under a program; sound at the end of every test."""
    shells: list[Shell] = []

    def open_with(program_text: str) -> Shell:
        shells.append(Shell(engine, shards=1, program_text=program_text))
        return shells[-1]

    yield open_with
    for shell in shells:
        assert (shell.differences(), shell.repairs()) == ([], ([], []))


def numbers(shell: Shell, customer_id: str = "c1") -> tuple[int, int, int]:
    """Balance, pending and lifetime points."""
    (row,) = shell.rows("SELECT balance, pending, lifetime_points FROM accounts WHERE customer_id = :c", c=customer_id)
    return row.balance, row.pending, row.lifetime_points


def told(shell: Shell) -> list[tuple[str, int, int, int, int, str]]:
    """Kind, points, pending change, balance, pending and reason of each balance-changed event."""
    fields = ("kind", "points", "pending_change", "balance", "pending", "reason")
    data = [event["data"] for event in shell.events("loyalty.balance.changed")]
    return [tuple(each.get(field, 0) for field in fields) for each in data]  # type: ignore[misc]


class TestAfterDays:
    @pytest.fixture
    def shell(self, opened: Opened) -> Shell:
        return opened(AFTER_DAYS)

    def test_points_are_pending_until_their_day_and_then_released_once(self, shell: Shell) -> None:
        shell.take(order("o1", time=YESTERDAY))
        assert numbers(shell) == (0, 100, 100)
        assert shell.release(in_days(28.9)) == 0
        assert shell.release(in_days(29.1)) == 1
        assert numbers(shell) == (100, 0, 100)
        assert shell.release(in_days(29.1)) == 0
        assert told(shell) == [
            ("accrual", 0, 100, 0, 100, "order_completed"),
            ("release", 100, -100, 100, 0, "lots_released"),
        ]

    def test_an_order_that_comes_late_is_not_held_longer(self, shell: Shell) -> None:
        shell.take(order("o1", time="2026-01-10T12:00:00Z"))
        assert numbers(shell) == (100, 0, 100)

    def test_a_refund_takes_pending_points_of_its_order_first(self, shell: Shell) -> None:
        shell.take(order("spendable", "40.00", time="2026-01-10T12:00:00Z"), order("o1", time=YESTERDAY))
        shell.take(refund("r1", "o1", net="30.00"))
        assert numbers(shell) == (40, 70, 110)
        assert told(shell)[-1] == ("clawback", 0, -30, 40, 70, "order_refunded")

    def test_what_is_taken_back_whole_is_not_released(self, shell: Shell) -> None:
        shell.take(order("o1", time=YESTERDAY), cancellation("o1"))
        assert numbers(shell) == (0, 0, 0)
        assert shell.release(in_days(40)) == 1  # the empty lot is no longer pending, and nobody is told
        assert shell.release(in_days(40)) == 0
        assert [event[0] for event in told(shell)] == ["accrual", "clawback"]

    def test_a_deficit_is_paid_off_at_the_release_not_before(self, engine: Engine) -> None:
        shell = Shell(engine, shards=1, program_text=AFTER_DAYS)
        shell.take(order("o1", time=YESTERDAY))
        shell.execute("UPDATE accounts SET balance = -70, deficit = 70")  # as debits can leave it
        shell.take(order("o2", "5.00", time=YESTERDAY))
        assert numbers(shell) == (-70, 105, 105)
        shell.release(in_days(40))
        assert numbers(shell) == (35, 0, 105)
        (row,) = shell.rows("SELECT deficit, (SELECT sum(points_remaining) FROM lots) AS held FROM accounts")
        assert (row.deficit, row.held) == (0, 35)
        assert shell.value("SELECT sum(deficit_change) FROM entries") == -70

    def test_late_runs_post_what_runs_in_time_would_have(self, shell: Shell) -> None:
        def fill() -> None:
            shell.take(
                *(
                    order(f"o{n}-{day}", f"{10 + n}.00", customer_id=f"c{n}", time=in_days(-day))
                    for n in range(4)
                    for day in (1, 2, 3)
                )
            )

        ledgers: list[Any] = []
        for runs in ((27.5, 28.5, 29.5), (40.0,)):
            for lots_max in (1, 500):
                empty_ledger(shell)
                fill()
                for days in runs:
                    shell.release(in_days(days), lots_max)
                ledgers.append(ledger_rows(shell))
        assert ledgers == [ledgers[0]] * 4
        assert shell.value("SELECT count(*) FROM entries WHERE kind = 'release'") == 12

    def test_a_refund_releases_what_was_due_although_no_run_came(self, shell: Shell) -> None:
        shell.take(order("o1", time=YESTERDAY))
        for table, columns in {
            "inbox": ["occurred_at"],
            "orders": ["occurred_at"],
            "accounts": ["enrolled_at"],
            "entries": ["occurred_at", "recorded_at"],
            "lots": ["origin_at", "available_at"],
        }.items():
            earlier = ", ".join(f"{column} = {column} - interval '40 days'" for column in columns)
            shell.execute(f"UPDATE {table} SET {earlier}")
        shell.take(refund("r1", "o1", net="10.00"))
        assert numbers(shell) == (90, 0, 90)
        assert [event[0] for event in told(shell)] == ["accrual", "release", "clawback"]


class TestOnFulfilled:
    @pytest.fixture
    def shell(self, opened: Opened) -> Shell:
        return opened(ON_FULFILLED)

    def test_points_wait_for_the_fulfilment_and_expire_from_it_on(self, shell: Shell) -> None:
        shell.take(order("o1", time="2026-03-01T12:00:00Z"))
        assert shell.release(in_days(4000)) == 0
        assert (numbers(shell), shell.value("SELECT expires_at FROM lots")) == ((0, 100, 100), None)
        shell.take(fulfilment("o1", time="2026-04-10T12:00:00Z"))
        assert numbers(shell) == (100, 0, 100)
        assert told(shell)[-1] == ("release", 100, -100, 100, 0, "order_fulfilled")
        assert shell.value("SELECT expires_at FROM lots").date().isoformat() == "2076-04-10"

    def test_a_fulfilment_told_so_late_that_the_points_have_ended_leaves_the_books_sound(self, shell: Shell) -> None:
        shell.take(order("o1", time="2024-03-01T12:00:00Z"), refund("r1", "o1", net="30.00"))
        shell.take(fulfilment("o1", time="2024-03-02T12:00:00Z"))
        assert numbers(shell) == (70, 0, 70)

    def test_other_orders_stay_pending(self, shell: Shell) -> None:
        shell.take(order("o1"), order("o2", "50.00"), fulfilment("o2"))
        assert numbers(shell) == (50, 100, 150)

    def test_a_refund_before_the_fulfilment_leaves_the_rest_to_it(self, shell: Shell) -> None:
        shell.take(order("o1"), refund("r1", "o1", net="25.00"), fulfilment("o1"), refund("r2", "o1", net="5.00"))
        assert numbers(shell) == (70, 0, 70)
        assert [event[:3] for event in told(shell)] == [
            ("accrual", 0, 100),
            ("clawback", 0, -25),
            ("release", 75, -75),
            ("clawback", -5, 0),
        ]

    def test_a_fulfilment_dated_before_its_order_makes_available_from_the_order_on(self, shell: Shell) -> None:
        shell.take(order("o1", time="2026-03-01T12:00:00Z"), fulfilment("o1", time="2026-02-01T12:00:00Z"))
        assert shell.value("SELECT available_at FROM lots") == datetime(2026, 3, 1, 12, tzinfo=UTC)

    def test_points_that_ended_long_before_their_fulfilment_was_posted_expire_by_the_next_run(
        self, opened: Opened
    ) -> None:
        shell = opened(ON_FULFILLED.replace("600", "12"))
        shell.take(order("o1", time="2024-03-01T12:00:00Z"), fulfilment("o1", time="2024-03-10T12:00:00Z"))
        assert numbers(shell) == (100, 0, 100)
        shell.expire(NOW.isoformat())
        assert numbers(shell) == (0, 0, 100)

    def test_with_clawback_of_pending_points_only_released_ones_are_kept(self, opened: Opened) -> None:
        shell = opened(ON_FULFILLED + "clawback: {policy: pending_only}\n")
        shell.take(order("o1"), order("o2"), fulfilment("o1"), refund("r1", "o1"), refund("r2", "o2"))
        assert numbers(shell) == (100, 0, 100)
        assert shell.value("SELECT sum(points_shortfall) FROM orders") == 100


class TestDaysAfterFulfilment:
    @pytest.fixture
    def shell(self, opened: Opened) -> Shell:
        return opened(WEEK_AFTER)

    def test_points_are_pending_until_so_many_days_after_the_fulfilment(self, shell: Shell) -> None:
        shell.take(order("o1", time="2026-03-01T12:00:00Z"))
        assert shell.release(in_days(4000)) == 0
        shell.take(fulfilment("o1", time=YESTERDAY))
        assert numbers(shell) == (0, 100, 100)
        assert shell.differences() == []
        assert shell.release(in_days(5.9)) == 0
        assert shell.release(in_days(6.1)) == 1
        assert numbers(shell) == (100, 0, 100)
        assert told(shell)[-1] == ("release", 100, -100, 100, 0, "lots_released")

    def test_a_fulfilment_of_long_ago_makes_available_at_once(self, shell: Shell) -> None:
        shell.take(order("o1", time="2026-03-01T12:00:00Z"), fulfilment("o1", time="2026-03-03T12:00:00Z"))
        assert numbers(shell) == (100, 0, 100)
        assert told(shell)[-1] == ("release", 100, -100, 100, 0, "order_fulfilled")

    def test_an_end_that_is_not_that_of_the_fulfilment_is_found(self, shell: Shell) -> None:
        shell.take(order("o1", time="2026-03-01T12:00:00Z"), fulfilment("o1", time=YESTERDAY))
        shell.execute("UPDATE lots SET available_at = available_at + interval '1 hour'")
        assert any("is available at" in text for text in shell.differences())
        shell.execute("UPDATE lots SET available_at = available_at - interval '1 hour'")

    def test_each_part_is_pending_until_so_many_days_after_it(self, shell: Shell) -> None:
        bought = [line("1", "60.00"), line("2", "40.00")]
        shell.take(order("o1", lines=bought, time="2026-03-01T12:00:00Z"))
        shell.take(fulfilment("o1", lines=[{"line_id": "1"}], time=YESTERDAY))
        assert numbers(shell) == (0, 100, 100)
        assert told(shell)[-1] == ("release", 0, 0, 0, 100, "order_fulfilled")
        assert shell.differences() == []
        assert shell.release(in_days(6.1)) == 1
        assert numbers(shell) == (60, 40, 100)
        assert shell.differences() == []
        shell.take(fulfilment("o1", event_id="second", lines=[{"line_id": "2"}], time="2026-03-05T12:00:00Z"))
        assert numbers(shell) == (100, 0, 100)
