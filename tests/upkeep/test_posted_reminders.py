"""What is told ahead: points that are about to end, and tiers that the next review would take. Each once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from core.posting.events import EventContext
from core.store.programs import load_registry
from core.upkeep.due_batches import release_batch, remind_batch, warn_batch
from core.upkeep.runs import BatchDone
from tests.factories import PROGRAM_TEXT, cancellation, fulfilment, order, refund
from tests.shell import EVENT_SOURCE, Shell

EXPIRING = PROGRAM_TEXT + "expiry: {policy: after_days, days: 100}\nreminders: {days_ahead: [30, 7]}\n"
NOW = datetime.now(UTC)


def in_days(days: float) -> str:
    return (NOW + timedelta(days=days)).isoformat()


def sound(shell: Shell) -> None:
    assert (shell.differences(), shell.repairs()) == ([], ([], []))


def told(shell: Shell) -> list[tuple[int, int, int]]:
    """Points, days ahead and number of each reminder."""
    data = [event["data"] for event in shell.events("loyalty.points.expiring")]
    return [(each["points"], each["days_ahead"], each["number"]) for each in data]


class TestReminders:
    @pytest.fixture
    def shell(self, engine: Engine) -> Iterator[Shell]:
        shell = Shell(engine, shards=1, program_text=EXPIRING)
        yield shell
        sound(shell)

    def test_points_are_told_of_once_for_each_stretch_ahead(self, shell: Shell) -> None:
        shell.take(order("o1", time=in_days(-10)))
        for days in (50, 65, 65, 80, 84, 85, 86):
            shell.remind(in_days(days))
        assert told(shell) == [(100, 30, 1), (100, 7, 2)]

    def test_a_second_run_finds_nothing(self, shell: Shell) -> None:
        shell.take(*(order(f"o{n}", customer_id=f"c{n}", time=in_days(-10)) for n in range(7)))
        assert shell.remind(in_days(65), accounts_max=2) == 7
        assert shell.remind(in_days(65), accounts_max=2) == 0
        assert len(told(shell)) == 7

    def test_what_a_refund_takes_is_corrected_and_what_it_takes_whole_withdrawn(self, shell: Shell) -> None:
        shell.take(order("o1", time=in_days(-10)))
        shell.remind(in_days(65))
        shell.take(refund("r1", "o1", net="30.00"))
        shell.remind(in_days(66))
        shell.take(cancellation("o1"))
        shell.remind(in_days(67))
        assert shell.remind(in_days(68)) == 0
        assert told(shell) == [(100, 30, 1), (70, 30, 2), (0, 30, 3)]

    def test_what_has_ended_is_not_told_of(self, shell: Shell) -> None:
        shell.take(order("o1", time=in_days(-200)))
        assert shell.remind(in_days(0)) == 0

    def test_points_that_end_together_are_told_of_together(self, shell: Shell) -> None:
        time = (NOW - timedelta(days=10)).replace(hour=10, minute=0)
        shell.take(order("o1", time=time.isoformat()), order("o2", "50.00", time=time.isoformat()))
        shell.remind(in_days(65))
        assert told(shell) == [(150, 30, 1)]

    def test_points_that_come_after_the_reminder_correct_it(self, shell: Shell) -> None:
        time = (NOW - timedelta(days=10)).replace(hour=10, minute=0).isoformat()
        shell.take(order("o1", time=time))
        shell.remind(in_days(65))
        shell.take(order("o2", "50.00", time=time))
        shell.remind(in_days(66))
        assert told(shell) == [(100, 30, 1), (150, 30, 2)]

    @pytest.mark.parametrize("ahead", ["[7]", "[]"])
    def test_a_program_that_reminds_later_or_no_more_repeats_nothing_and_hinders_nobody(
        self, shell: Shell, ahead: str
    ) -> None:
        shell.take(*(order(f"o{n}", customer_id=f"c{n}", time=in_days(-10)) for n in range(5)))
        shell.remind(in_days(65))
        shell.apply_program(EXPIRING.replace("[30, 7]", ahead), in_days(-1))
        shell.take(refund("r1", "o4", net="30.00"))
        assert shell.remind(in_days(66), accounts_max=1) == 1
        assert told(shell)[5:] == [(70, 30, 2)]
        assert shell.remind(in_days(67), accounts_max=1) == 0

    def test_pending_points_are_told_of_when_they_are_available(self, engine: Engine) -> None:
        shell = Shell(engine, shards=1)
        shell.apply_program(EXPIRING + "availability: {policy: on_fulfilled}\n", "2020-01-01T00:00:00Z")
        shell.take(order("o1", time=in_days(-10)))
        shell.remind(in_days(65))
        assert told(shell) == []
        shell.take(fulfilment("o1", time=in_days(-9)))
        shell.remind(in_days(65))
        assert told(shell) == [(100, 30, 1)]

    def test_the_stretches_are_those_of_each_program(self, shell: Shell) -> None:
        shell.apply_program(
            EXPIRING.replace("test", "other").replace("[30, 7]", "[3]").replace("/shops/test", "/shops/other")
        )
        shell.take(order("o1", time=in_days(-10)), order("o1", source="/shops/other", time=in_days(-10)))
        assert shell.remind(in_days(65)) == 1
        assert shell.remind(in_days(89)) == 2


class TestInactivity:
    PROGRAM = PROGRAM_TEXT + "expiry: {policy: inactivity, days: 100}\nreminders: {days_ahead: [30]}\n"

    @pytest.fixture
    def shell(self, engine: Engine) -> Iterator[Shell]:
        shell = Shell(engine, shards=1, program_text=self.PROGRAM)
        yield shell
        sound(shell)

    def ends(self, shell: Shell) -> set[int]:
        rows = shell.rows("SELECT expires_at FROM dated_lots WHERE points_remaining > 0")
        return {(row.expires_at.date() - NOW.date()).days for row in rows}

    @pytest.mark.parametrize("is_one_batch", [True, False])
    def test_an_order_moves_the_end_of_all_points(self, shell: Shell, is_one_batch: bool) -> None:
        messages = [order(f"o{n}", "10.00", time=in_days(-day)) for n, day in enumerate((90, 50, 20))]
        for batch in [messages] if is_one_batch else [[each] for each in messages]:
            shell.take(*batch)
        assert len(self.ends(shell)) == 1
        assert min(self.ends(shell)) in {79, 80, 81}

    def test_a_late_order_ends_with_the_others(self, shell: Shell) -> None:
        shell.take(order("o2", time=in_days(-20)))
        shell.take(order("o1", time=in_days(-60)))
        assert len(self.ends(shell)) == 1

    def test_an_expiry_that_no_order_has_moved_there_is_named(self, shell: Shell) -> None:
        shell.take(order("o1", time=in_days(-20)), order("o2", time=in_days(-10)))
        shell.execute("UPDATE shared_expiries SET expires_at = expires_at + interval '1 day'")
        assert {text.partition(":")[0] for text in shell.differences()} == {
            "a lot's dates are what its order and what moved it give"
        }
        shell.execute("UPDATE shared_expiries SET expires_at = expires_at - interval '1 day'")

    def test_refunds_move_nothing(self, shell: Shell) -> None:
        shell.take(order("o1", time=in_days(-60)))
        before = self.ends(shell)
        shell.take(refund("r1", "o1", net="10.00", time=in_days(-1)))
        assert self.ends(shell) == before

    def test_what_had_ended_before_the_order_stays_ended(self, shell: Shell) -> None:
        shell.take(order("o1", time=in_days(-200)))
        shell.take(order("o2", "10.00", time=in_days(-1)))
        shell.expire(in_days(0))
        assert shell.balance() == 10

    def test_a_reminder_is_withdrawn_when_an_order_keeps_the_points(self, shell: Shell) -> None:
        shell.take(order("o1", time=in_days(-90)))
        shell.remind(in_days(0))
        shell.take(order("o2", "10.00", time=in_days(-1)))
        shell.remind(in_days(0))
        assert told(shell) == [(100, 30, 1), (0, 30, 2)]
        shell.remind(in_days(80))
        assert told(shell)[-1] == (110, 30, 1)


class TestWarnings:
    PROGRAM = PROGRAM_TEXT + "qualification: {window: calendar_year, warning_days: 40, grace_days: 10}\n"

    @pytest.fixture
    def shell(self, engine: Engine) -> Iterator[Shell]:
        shell = Shell(engine, shards=1, program_text=self.PROGRAM)
        yield shell
        sound(shell)

    def risks(self, shell: Shell) -> list[dict[str, Any]]:
        return [event["data"] for event in shell.events("loyalty.tier.at_risk")]

    def test_a_tier_at_risk_is_told_of_once_for_one_review(self, shell: Shell) -> None:
        shell.take(order("o1", "600.00", time="2024-06-01T12:00:00Z"))
        shell.review("2025-01-20T00:00:00Z")
        for day in ("2025-11-01", "2025-12-05", "2025-12-06", "2026-01-05"):
            shell.warn(f"{day}T00:00:00Z")
        (risk,) = self.risks(shell)
        assert (risk["tier"], risk["tier_after"], risk["missing"]) == ("silver", "bronze", 500)
        assert risk["loses_at"] == "2026-01-10T23:00:00Z"

    def test_who_has_qualified_again_is_not_warned(self, shell: Shell) -> None:
        shell.take(
            order("o1", "600.00", time="2024-06-01T12:00:00Z"), order("o2", "600.00", time="2025-06-01T12:00:00Z")
        )
        shell.review("2025-01-20T00:00:00Z")
        shell.warn("2025-12-05T00:00:00Z")
        assert self.risks(shell) == []

    def test_who_falls_below_after_a_look_is_warned_at_the_next(self, shell: Shell) -> None:
        shell.take(
            order("o1", "600.00", time="2024-06-01T12:00:00Z"), order("o2", "600.00", time="2025-06-01T12:00:00Z")
        )
        shell.review("2025-01-20T00:00:00Z")
        shell.warn("2025-12-05T00:00:00Z")
        shell.take(refund("r1", "o2", time="2025-12-05T12:00:00Z", net="500.00"))
        shell.warn("2025-12-06T00:00:00Z")
        assert [risk["missing"] for risk in self.risks(shell)] == [350]

    def test_bounded_batches_come_to_all_and_end(self, shell: Shell) -> None:
        shell.take(*(order(f"o{n}", "600.00", customer_id=f"c{n}", time="2024-06-01T12:00:00Z") for n in range(20)))
        shell.take(
            *(order(f"p{n}", "600.00", customer_id=f"c{n}", time="2025-06-01T12:00:00Z") for n in range(0, 20, 2))
        )
        shell.review("2025-01-20T00:00:00Z")
        shell.warn("2025-12-05T00:00:00Z", accounts_max=1)
        assert len(self.risks(shell)) == 10
        shell.warn("2025-12-05T00:00:00Z", accounts_max=1)
        assert len(self.risks(shell)) == 10

    def test_after_another_year_it_is_told_again(self, shell: Shell) -> None:
        shell.take(order("o1", "2500.00", time="2024-06-01T12:00:00Z"))
        shell.apply_program(
            self.PROGRAM.replace("grace_days: 10", "grace_days: 10, downgrade: one_step"), "2024-01-01T00:00:00Z"
        )
        for year in (2025, 2026, 2027):
            shell.review(f"{year}-01-20T00:00:00Z")
            shell.warn(f"{year}-12-05T00:00:00Z")
        assert [(risk["tier"], risk["tier_after"]) for risk in self.risks(shell)] == [
            ("gold", "silver"),
            ("silver", "bronze"),
        ]


def test_a_shard_that_another_run_has_is_left_to_it(engine: Engine) -> None:
    Shell(engine, program_text=EXPIRING)
    as_of, context = NOW, EventContext(EVENT_SOURCE, NOW)
    with engine.begin() as first, engine.begin() as second:
        registry = load_registry(first)
        assert release_batch(first, 0, as_of, 500, context, None) == BatchDone(0)
        assert remind_batch(first, 0, as_of, 500, registry, context) == BatchDone(0)
        warn_batch(first, 0, as_of, 500, registry, context, None)
        assert release_batch(second, 0, as_of, 500, context, None) is None
        assert remind_batch(second, 0, as_of, 500, registry, context) is None
        assert warn_batch(second, 0, as_of, 500, registry, context, None) is None
