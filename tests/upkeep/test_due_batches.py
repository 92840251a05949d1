"""Expiry and tier review: all that is due, once, whenever the run comes and however it is cut into batches."""

import threading
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from core.domain.expiry.due import LOTS_OF_ENTRY_MAX
from core.domain.ledger import Account
from core.posting.events import EventContext
from core.store.engine import create_database_engine
from core.store.ledger import lock_free_accounts
from core.store.programs import load_registry
from core.upkeep import due_batches
from core.upkeep.due_batches import expire_batch, review_batch
from core.upkeep.runs import BatchDone
from tests.factories import PROGRAM_TEXT, order, refund
from tests.ledger_rows import empty_ledger, ledger_rows
from tests.shell import EVENT_SOURCE, Shell

NEVER_YET = "2100-01-01T00:00:00Z"


def at_once(engine: Engine, work: Callable[[Shell], object]) -> None:
    """Do `work` in two sessions at the same time."""
    url = engine.url.render_as_string(hide_password=False)
    barrier = threading.Barrier(2)

    def run() -> None:
        own = create_database_engine(url)
        shell = Shell(own, program_text=None)
        barrier.wait()
        work(shell)
        own.dispose()

    other = threading.Thread(target=run)
    other.start()
    run()
    other.join()


class TestExpiry:
    @pytest.fixture
    def shell(self, engine: Engine) -> Shell:
        return Shell(engine, shards=1, program_text=PROGRAM_TEXT + "expiry: {policy: after_months, months: 1}\n")

    def fill(self, shell: Shell) -> None:
        """Twelve customers with three lots each, which expire in April, May and June 2025 (Berlin midnights)."""
        orders = [
            order(f"o{n}-{month}", f"{10 + n}.00", customer_id=f"c{n}", time=f"2025-{month:02}-{1 + n:02}T12:00:00Z")
            for month in (3, 4, 5)
            for n in range(12)
        ]
        assert shell.take(*orders) == {"posted": 36}

    def test_a_due_lot_expires_at_the_local_midnight_that_ends_its_last_day(self, shell: Shell) -> None:
        shell.take(order("o1", time="2025-03-01T12:00:00Z"))
        assert shell.expire("2025-04-01T21:59:59.999999Z") == 0
        assert shell.expire("2025-04-01T22:00:00Z") == 1
        [told] = [e["data"] for e in shell.events("loyalty.balance.changed") if e["data"]["kind"] == "expiry"]
        assert (told["points"], told["balance"], told["occurred_at"]) == (-100, 0, "2025-04-01T22:00:00Z")
        assert (told["reason"], told["lifetime_points"]) == ("lots_expired", 100)
        assert (shell.balance(), shell.differences()) == (0, [])

    def test_lots_that_expire_later_or_never_are_left_alone(self, shell: Shell, engine: Engine) -> None:
        self.fill(shell)
        Shell(
            engine,
            program_text=PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace("/shops/test", "/x"),
        ).take(order("eternal", source="/x"))
        shell.expire("2025-05-01T00:00:00Z")
        assert shell.value("SELECT count(*) FROM lots WHERE points_expired > 0") == 12
        assert shell.balance("c1", "other") == 100
        assert shell.differences() == []

    def test_an_account_that_somebody_holds_is_left_for_the_next_run_and_holds_up_nobody(self, shell: Shell) -> None:
        self.fill(shell)
        with shell.engine.begin() as foreign:
            foreign.execute(text("SELECT 1 FROM accounts WHERE customer_id = 'c3' FOR UPDATE"))
            assert shell.expire("2025-05-01T00:00:00Z") == 11
        assert shell.expire("2025-05-01T00:00:00Z") == 1
        assert shell.differences() == []

    def test_a_second_run_does_nothing(self, shell: Shell) -> None:
        self.fill(shell)
        assert shell.expire("2025-06-01T00:00:00Z") > 0
        before = ledger_rows(shell)
        assert shell.expire("2025-06-01T00:00:00Z") == 0
        assert ledger_rows(shell) == before

    def test_batches_of_any_size_end_alike(self, shell: Shell) -> None:
        ledgers = []
        for lots_max in (1, 5, 500):
            empty_ledger(shell)
            self.fill(shell)
            shell.expire("2025-06-05T00:00:00Z", lots_max)
            ledgers.append(ledger_rows(shell))
        assert ledgers == [ledgers[0]] * 3
        assert shell.differences() == []

    def test_lots_of_one_account_and_instant_expire_a_thousand_at_a_time(self, shell: Shell) -> None:
        lots, at = LOTS_OF_ENTRY_MAX + 60, "2025-03-01T12:00:00Z"
        shell.take(*[order(f"o{n}", "1.00", time=at) for n in range(lots)])
        shell.execute("UPDATE lots SET points_remaining = 0 WHERE lot_number IN (5, 500)")  # as if they were spent
        shell.execute("UPDATE accounts SET balance = balance - 2")
        assert shell.expire("2025-04-02T00:00:00Z") == 2, "transactions"
        told = [e["data"] for e in shell.events("loyalty.balance.changed") if e["data"]["kind"] == "expiry"]
        assert [(-each["points"], len(each["lots"])) for each in told] == [(LOTS_OF_ENTRY_MAX,) * 2, (58, 58)]
        assert {each["occurred_at"] for each in told} == {"2025-04-01T22:00:00Z"}
        assert (shell.balance(), shell.expire("2025-05-01T00:00:00Z")) == (0, 0)

    def test_a_run_that_is_late_posts_what_the_runs_in_time_would_have(self, shell: Shell) -> None:
        self.fill(shell)
        for month in (4, 5, 6):
            for day in range(1, 29, 3):
                shell.expire(f"2025-{month:02}-{day:02}T00:00:00Z")
        shell.expire("2025-07-01T00:00:00Z")
        in_time = ledger_rows(shell)
        empty_ledger(shell)
        self.fill(shell)
        shell.expire("2025-07-01T00:00:00Z")
        assert ledger_rows(shell) == in_time
        assert {row.balance for row in shell.rows("SELECT balance FROM accounts")} == {0}

    def test_two_runs_at_once_expire_each_lot_once(self, shell: Shell, engine: Engine) -> None:
        self.fill(shell)
        at_once(engine, lambda each: each.expire("2025-07-01T00:00:00Z", lots_max=4))
        shell.expire("2025-07-01T00:00:00Z")
        assert shell.value("SELECT count(*) FROM lots WHERE points_expired = points_granted") == 36
        assert shell.differences() == []

    def test_a_shard_that_another_run_has_is_left_to_it(self, shell: Shell, engine: Engine) -> None:
        self.fill(shell)
        context = EventContext(EVENT_SOURCE, datetime.now(UTC))
        with engine.begin() as first, engine.begin() as second:
            as_of = datetime(2025, 7, 1, tzinfo=UTC)
            assert expire_batch(first, 0, as_of, 500, context, None) is not None
            assert expire_batch(second, 0, as_of, 500, context, None) is None

    def test_posting_at_the_same_time_loses_nothing(self, shell: Shell, engine: Engine) -> None:
        self.fill(shell)
        today = datetime.now(UTC).isoformat()
        shell.receive(*(order(f"new{n}", "40.00", customer_id=f"c{n % 12}", time=today) for n in range(120)))

        def work(each: Shell) -> None:
            each.shards, each.batch_messages = 1, 10
            each.post()
            each.expire("2025-07-01T00:00:00Z", lots_max=4)

        at_once(engine, work)
        shell.expire("2025-07-01T00:00:00Z")
        assert {row.balance for row in shell.rows("SELECT balance FROM accounts")} == {400}
        assert shell.differences() == []

    @pytest.mark.parametrize("is_job_first", [True, False], ids=["after the job", "before the job"])
    def test_a_refund_of_an_expired_order_takes_nothing_twice(self, shell: Shell, is_job_first: bool) -> None:
        shell.take(order("o1", time="2025-03-01T12:00:00Z"), order("o2", "70.00", time=datetime.now(UTC).isoformat()))
        if is_job_first:
            shell.expire("2025-07-01T00:00:00Z")
        shell.take(refund("r1", "o1"))
        shell.expire("2025-07-01T00:00:00Z")
        assert (shell.balance(), shell.value("SELECT points_excused FROM refunds")) == (70, 100)
        assert shell.differences() == []

    @pytest.mark.parametrize("is_job_first", [True, False], ids=["after the job", "before the job"])
    def test_a_late_order_brings_no_points_back(self, engine: Engine, is_job_first: bool) -> None:
        shell = Shell(engine, shards=1, program_text=PROGRAM_TEXT + "expiry: {policy: inactivity, days: 100}\n")
        shell.take(order("o1", time="2025-03-01T12:00:00Z"))
        if is_job_first:
            shell.expire("2025-07-01T00:00:00Z")
        shell.take(refund("r1", "o1", net="40.00"))
        shell.take(order("late", "70.00", time="2025-06-01T12:00:00Z"), refund("r2", "o1"))
        shell.expire("2025-07-01T00:00:00Z")
        assert (shell.balance(), shell.value("SELECT sum(points_excused) FROM refunds")) == (70, 100)
        assert shell.differences() == []


class TestReview:
    @pytest.fixture
    def shell(self, engine: Engine) -> Shell:
        return Shell(engine, shards=1, program_text=PROGRAM_TEXT + "qualification: {window: calendar_year}\n")

    def fill(self, shell: Shell) -> None:
        """Ten silver customers of 2023; in 2024 the even ones earn silver again, and every fifth gold."""
        assert shell.take(*self.orders_of_2023()) == {"posted": 10}
        assert shell.take(*self.orders_of_2024()) == {"posted": 7}

    def orders_of_2023(self) -> list[dict[str, Any]]:
        return [order(f"o{n}", "600.00", customer_id=f"c{n}", time="2023-06-01T12:00:00Z") for n in range(10)]

    def orders_of_2024(self) -> list[dict[str, Any]]:
        silver = [order(f"p{n}", "400.00", customer_id=f"c{n}", time="2024-06-01T12:00:00Z") for n in range(0, 10, 2)]
        gold = [order(f"q{n}", "1800.00", customer_id=f"c{n}", time="2024-07-01T12:00:00Z") for n in (0, 5)]
        return silver + gold

    def tiers(self, shell: Shell) -> list[str]:
        return [row.tier_id for row in shell.rows("SELECT tier_id FROM accounts ORDER BY customer_id")]

    def test_a_tier_that_was_not_earned_again_is_lost_at_the_end_of_the_period(self, shell: Shell) -> None:
        shell.take(order("o1", "600.00", time="2023-06-01T12:00:00Z"))
        shell.review("2024-06-01T00:00:00Z")
        assert self.tiers(shell) == ["silver"]  # 600 points in 2023 hold it for 2024
        shell.review("2024-12-31T23:00:00Z")  # midnight in Berlin
        assert self.tiers(shell) == ["bronze"]
        told = shell.events("loyalty.tier.changed")[-1]["data"]
        assert (told["previous_tier"], told["tier"], told["reason"]) == ("silver", "bronze", "reviewed")
        assert told["effective_at"] == "2024-12-31T23:00:00Z"

    def test_nothing_is_reviewed_before_its_time(self, shell: Shell) -> None:
        self.fill(shell)
        assert shell.review("2023-12-31T22:59:59Z") == 0

    def test_points_that_refunds_took_back_do_not_hold_a_tier(self, shell: Shell) -> None:
        shell.take(order("o1", "600.00", time="2023-06-01T12:00:00Z"), refund("r1", "o1", net="200.00"))
        shell.review("2024-01-01T00:00:00Z")
        assert self.tiers(shell) == ["bronze"]

    def test_a_second_run_does_nothing(self, shell: Shell) -> None:
        self.fill(shell)
        assert shell.review("2026-02-01T00:00:00Z") > 0
        before = ledger_rows(shell)
        assert shell.review("2026-02-01T00:00:00Z") == 0
        assert ledger_rows(shell) == before

    def test_batches_of_any_size_end_alike_and_a_late_run_like_the_runs_in_time(self, shell: Shell) -> None:
        shell.take(*self.orders_of_2023())
        shell.review("2024-01-01T00:00:00Z")
        shell.take(*self.orders_of_2024())
        shell.review("2025-01-01T00:00:00Z")
        in_time = ledger_rows(shell)
        for accounts_max in (1, 3, 500):
            empty_ledger(shell)
            self.fill(shell)
            shell.review("2025-02-01T00:00:00Z", accounts_max)
            assert ledger_rows(shell) == in_time
        assert self.tiers(shell) == [
            "gold", "bronze", "silver", "bronze", "silver", "gold", "silver", "bronze", "silver", "bronze",
        ]  # fmt: skip
        assert shell.differences() == []

    def test_a_run_that_is_late_by_years_reviews_every_period(self, shell: Shell) -> None:
        self.fill(shell)
        shell.review("2026-02-01T00:00:00Z")
        changes = shell.rows(
            "SELECT effective_at, t.tier_id FROM tier_changes t JOIN accounts USING (account_id)"
            " WHERE customer_id = 'c4' ORDER BY change_number"
        )
        assert [(change.effective_at.year, change.tier_id) for change in changes] == [
            (2023, "silver"),
            (2025, "bronze"),
        ]

    def test_two_runs_at_once_review_each_period_once(self, shell: Shell, engine: Engine) -> None:
        self.fill(shell)
        at_once(engine, lambda each: each.review("2026-02-01T00:00:00Z", accounts_max=2))
        shell.review("2026-02-01T00:00:00Z")
        at_two = ledger_rows(shell)
        empty_ledger(shell)
        self.fill(shell)
        shell.review("2026-02-01T00:00:00Z")
        assert ledger_rows(shell) == at_two

    def test_a_shard_that_another_run_has_is_left_to_it(self, shell: Shell, engine: Engine) -> None:
        self.fill(shell)
        context = EventContext(EVENT_SOURCE, datetime.now(UTC))
        with engine.begin() as first, engine.begin() as second:
            registry = load_registry(first)
            as_of = datetime(2026, 2, 1, tzinfo=UTC)
            assert review_batch(first, 0, as_of, 500, registry, context) is not None
            assert review_batch(second, 0, as_of, 500, registry, context) is None

    def test_an_account_that_is_moved_on_in_this_moment_is_left_alone(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shell.take(order("o1", "600.00", time="2023-06-01T12:00:00Z"))

        def lock_later(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, Account]:
            """As if posting had come between, with an order of a later year."""
            shell.execute(
                "UPDATE accounts SET tier_until = '2030-01-01T00:00:00Z' WHERE :is_found", is_found=bool(account_ids)
            )
            return lock_free_accounts(connection, account_ids)

        monkeypatch.setattr(due_batches, "lock_free_accounts", lock_later)
        assert shell.review("2026-02-01T00:00:00Z") == 0
        assert self.tiers(shell) == ["silver"]

    @pytest.mark.parametrize(
        ("before", "after", "reviewed_on", "effective_at"),
        [
            (0, 60, "2025-01-20", "2024-12-31T23:00:00Z"),  # late: a run in time would have had no grace
            (60, 0, "2025-03-02", "2025-03-01T23:00:00Z"),
        ],
    )
    def test_the_grace_is_that_of_the_version_that_the_period_ended_under(
        self, shell: Shell, before: int, after: int, reviewed_on: str, effective_at: str
    ) -> None:
        for days, since in ((before, "2020-01-01"), (after, "2025-01-15"), (9, "2099-01-01")):
            graced = f"qualification: {{window: calendar_year, grace_days: {days}}}\n"
            shell.apply_program(PROGRAM_TEXT + graced, f"{since}T00:00:00Z")
        shell.take(order("o1", "600.00", time="2023-06-01T12:00:00Z"))
        for day in ("2025-01-20", "2025-03-02"):
            shell.review(f"{day}T00:00:00Z")
            assert self.tiers(shell) == ["bronze" if day >= reviewed_on else "silver"]
        assert shell.events("loyalty.tier.changed")[-1]["data"]["effective_at"] == effective_at

    @pytest.mark.parametrize(
        ("before", "after", "since"),
        [
            ("window: calendar_year", "window: calendar_year, grace_days: 60", "2025-01-05"),
            ("window: calendar_year, downgrade: never", "window: calendar_year", "2025-01-05"),
            ("window: calendar_year", "window: rolling_months, months: 24", "2025-01-05"),
            ("window: rolling_months, months: 3", "window: calendar_year, downgrade: one_step", "2024-12-01"),
            ("window: calendar_year, grace_days: 5", "window: lifetime", "2025-01-05"),
        ],
    )
    def test_an_order_meets_the_tier_that_reviews_in_time_give_also_across_a_new_version(
        self, shell: Shell, before: str, after: str, since: str
    ) -> None:
        shell.apply_program(PROGRAM_TEXT + f"qualification: {{{before}}}\n", "2020-01-01T00:00:00Z")
        shell.apply_program(PROGRAM_TEXT + f"qualification: {{{after}}}\n", f"{since}T00:00:00Z")
        earlier = [
            order("o1", "2100.00", time="2023-06-01T12:00:00Z"),
            order("o2", "550.00", time="2024-11-01T12:00:00Z"),
        ]
        later = order("o3", "100.00", time="2025-03-10T12:00:00Z")
        shell.take(*earlier)
        for month in ("2024-01", "2024-06", "2025-01", "2025-03"):
            shell.review(f"{month}-02T00:00:00Z")
        shell.take(later)
        in_time = {table: rows for table, rows in ledger_rows(shell).items() if table != "outbox"}
        for messages in ([earlier, [later]], [[*earlier, later]]):
            empty_ledger(shell)
            for batch in messages:
                shell.take(*batch)
            shell.review("2025-03-10T12:00:00Z")
            # The events of what posting and reviews do together are told in another order.
            assert {table: rows for table, rows in ledger_rows(shell).items() if table != "outbox"} == in_time

    def test_a_program_that_turned_to_lifetime_reviews_no_more(self, shell: Shell) -> None:
        self.fill(shell)
        shell.apply_program(PROGRAM_TEXT, effective_from="2023-12-01T00:00:00Z")
        shell.review(NEVER_YET)
        assert shell.value("SELECT count(tier_until) FROM accounts") == 0
        assert shell.differences() == []


def test_expiry_and_review_of_one_shard_do_not_hinder_each_other(engine: Engine) -> None:
    as_of, context = datetime(2026, 2, 1, tzinfo=UTC), EventContext(EVENT_SOURCE, datetime.now(UTC))
    with engine.begin() as first, engine.begin() as second:
        assert expire_batch(first, 0, as_of, 500, context, None) == BatchDone(0)
        assert review_batch(second, 0, as_of, 500, load_registry(second), context) == BatchDone(0)
