"""Limits over orders: caps of a day and month, remainders carried on, promotions for so many, budgets for all."""

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from core.store.engine import create_database_engine
from tests.factories import PROGRAM_TEXT, cancellation, order, refund
from tests.shell import Shell

BUDGET = """
promotions:
  - {promotion_id: launch, kind: addition, points: 40, limits: {budget_points: 100}}
"""
Opened = Callable[..., Shell]


@pytest.fixture
def opened(engine: Engine) -> Iterator[Opened]:
    """A ledger whose program has more; sound at the end of every test."""
    shells: list[Shell] = []

    def open_with(more: str, text: str = PROGRAM_TEXT, shards: int = 1) -> Shell:
        shells.append(Shell(engine, shards=shards, program_text=text + more))
        return shells[-1]

    yield open_with
    for shell in shells:
        assert (shell.differences(), shell.repairs()) == ([], ([], []))


def with_rule(fields: str) -> str:
    """The usual program, whose one rule has more fields."""
    return PROGRAM_TEXT.replace('    per_amount: "1.00"\n', f'    per_amount: "1.00"\n    {fields}\n')


def entitled(shell: Shell) -> list[int]:
    return [row.points_entitled for row in shell.rows("SELECT points_entitled FROM orders ORDER BY order_id")]


def budget(shell: Shell) -> tuple[int, int]:
    (row,) = shell.rows("SELECT points, orders FROM budgets")
    return row.points, row.orders


def at_once(engine: Engine, *works: Callable[[Shell], object]) -> None:
    """Do each work in a session of its own, all at the same time."""
    url = engine.url.render_as_string(hide_password=False)
    barrier = threading.Barrier(len(works))
    failures: list[BaseException] = []

    def run(work: Callable[[Shell], object]) -> None:
        own = create_database_engine(url)
        try:
            barrier.wait()
            work(Shell(own, program_text=None))
        except BaseException as failure:  # noqa: BLE001  # told to the test
            failures.append(failure)
        finally:
            own.dispose()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


class TestBudget:
    def test_the_order_that_would_go_beyond_gets_what_is_left_and_the_next_nothing(self, opened: Opened) -> None:
        shell = opened(BUDGET)
        shell.take(*(order(f"o{n}", "10.00", customer_id=f"c{n}") for n in range(4)))
        assert entitled(shell) == [50, 50, 30, 10]
        assert budget(shell) == (100, 3)

    def test_it_is_kept_from_batch_to_batch(self, opened: Opened) -> None:
        shell = opened(BUDGET)
        for n in range(4):
            shell.take(order(f"o{n}", "10.00", customer_id=f"c{n}"))
        assert (entitled(shell), budget(shell)) == ([50, 50, 30, 10], (100, 3))

    def test_refunds_give_back_what_they_take(self, opened: Opened) -> None:
        shell = opened(BUDGET)
        shell.take(*(order(f"o{n}", "10.00", customer_id=f"c{n}") for n in range(3)))
        shell.take(refund("r1", "o0", net="5.00"), cancellation("o1"))
        given_back = 40 - shell.value("SELECT points_entitled - 5 FROM orders WHERE order_id = 'o0'")
        assert budget(shell) == (60 - given_back, 2)
        shell.take(order("o9", "10.00", customer_id="c9"))
        assert budget(shell) == (100 - given_back, 3)

    def test_an_order_and_its_cancellation_in_one_batch_leave_it_whole(self, opened: Opened) -> None:
        shell = opened(BUDGET)
        shell.take(cancellation("o1"), order("o1", "10.00"), order("o2", "10.00", customer_id="c2"))
        assert (entitled(shell), budget(shell)) == ([0, 50], (40, 1))

    def test_orders_of_all_customers_may_be_limited(self, opened: Opened) -> None:
        shell = opened(BUDGET.replace("budget_points: 100", "orders: 2"))
        shell.take(*(order(f"o{n}", "10.00", customer_id=f"c{n}") for n in range(3)))
        assert (entitled(shell), budget(shell)) == ([50, 50, 10], (80, 2))

    def test_guests_use_nothing_of_it(self, opened: Opened) -> None:
        shell = opened(BUDGET)
        shell.take(order("o1", customer_id=None), order("o2", "10.00"))
        assert budget(shell) == (40, 1)

    def test_it_holds_when_many_shards_post_at_the_same_time(self, opened: Opened, engine: Engine) -> None:
        shell = opened(BUDGET.replace("budget_points: 100", "budget_points: 1010"), shards=4)
        shell.receive(*(order(f"o{n}", "10.00", customer_id=f"c{n % 40}") for n in range(120)))
        shell.receive(*(cancellation(f"o{n}") for n in range(0, 120, 10)))

        def post_shard(shard: int) -> Callable[[Shell], object]:
            def work(own: Shell) -> None:
                while own.poster.post_batch(shard, 5).claimed:
                    pass

            return work

        at_once(engine, *(post_shard(shard) for shard in range(4)))
        shell.post()  # what was left to a worker that had taken it along
        assert shell.outcomes() == {("posted", None): 132}
        given = shell.value("SELECT sum(points_entitled) - 10 * count(*) FROM orders WHERE cancelled_at IS NULL")
        points, _ = budget(shell)
        assert points == given <= 1010
        shell.take(order("last", "10.00", customer_id="last"))
        assert entitled(shell)[0] == 10 + min(40, 1010 - points)

    def test_two_workers_that_post_one_customers_orders_of_two_shards_agree(
        self, opened: Opened, engine: Engine
    ) -> None:
        """Guests aside, one customer is of one shard; not so while the number of shards is changed."""
        shell = opened("""
promotions:
  - {promotion_id: daily, kind: addition, points: 40, limits: {orders_per_customer_and_day: 3, budget_points: 100000}}
""")
        shell.take(order("first", "5.00", time="2026-02-01T12:00:00Z"))
        shell.receive(*(order(f"o{n}", "5.00") for n in range(40)))
        shell.execute("UPDATE inbox SET shard = inbox_id % 2 WHERE state = 'received'")

        def work(own: Shell) -> None:
            own.shards, own.batch_messages = 2, 1
            own.post()

        at_once(engine, work, work)
        shell.shards = 2
        shell.post()
        assert sorted(entitled(shell)) == [5] * 37 + [45] * 4
        assert shell.value("SELECT orders FROM usages WHERE period = '2026-03-01'") == 3


class TestCustomersLimits:
    MONDAY, TUESDAY = "2026-03-02T12:00:00Z", "2026-03-03T12:00:00Z"

    def test_orders_of_a_customer_and_of_a_day(self, opened: Opened) -> None:
        shell = opened("""
promotions:
  - promotion_id: daily
    kind: addition
    points: 40
    limits: {orders_per_customer: 3, orders_per_customer_and_day: 2}
""")
        days = [self.MONDAY] * 3 + [self.TUESDAY] * 2
        for n, day in enumerate(days):
            shell.take(order(f"o{n}", "10.00", time=day))
        assert entitled(shell) == [50, 50, 10, 50, 10]
        shell.take(cancellation("o0"), order("o9", "10.00", time=self.TUESDAY))
        assert entitled(shell) == [0, 50, 10, 50, 10, 50]

    @pytest.mark.parametrize("is_one_batch", [True, False])
    def test_caps_of_a_day_and_month(self, opened: Opened, is_one_batch: bool) -> None:
        shell = opened("", with_rule("caps: {per_order: 90, per_day: 120, per_month: 200}"))
        orders = [order(f"o{n}", time=day) for n, day in enumerate([self.MONDAY] * 3 + [self.TUESDAY] * 2)]
        for batch in [orders] if is_one_batch else [[each] for each in orders]:
            shell.take(*batch)
        assert entitled(shell) == [90, 30, 0, 80, 0]

    def test_what_a_refund_takes_of_a_cap_is_free_again(self, opened: Opened) -> None:
        shell = opened("", with_rule("caps: {per_day: 120}"))
        shell.take(order("o1", time=self.MONDAY), order("o2", time=self.MONDAY))
        shell.take(refund("r1", "o1", net="50.00"))
        shell.take(order("o3", time=self.MONDAY))
        assert entitled(shell) == [50, 20, 50]

    def test_days_are_those_of_the_programs_time_zone(self, opened: Opened) -> None:
        shell = opened("", with_rule("caps: {per_day: 120}"))
        shell.take(order("o1", time="2026-03-02T22:30:00Z"), order("o2", time="2026-03-02T23:30:00Z"))
        assert entitled(shell) == [100, 100]
        assert {row.period for row in shell.rows("SELECT period FROM usages")} == {"2026-03-02", "2026-03-03"}


class TestCarry:
    PROGRAM = with_rule("carry: true").replace('"1.00"', '"10.00"')  # a point for each whole 10.00

    @pytest.mark.parametrize("is_one_batch", [True, False])
    def test_remainders_are_carried_from_order_to_order(self, opened: Opened, is_one_batch: bool) -> None:
        shell = opened("", self.PROGRAM)
        orders = [order(f"o{n}", "4.00") for n in range(5)]
        for batch in [orders] if is_one_batch else [[each] for each in orders]:
            shell.take(*batch)
        assert entitled(shell) == [0, 0, 1, 0, 1]
        assert shell.value("SELECT carried FROM usages") == 0

    def test_a_refund_gives_back_its_orders_remainder(self, opened: Opened) -> None:
        shell = opened("", self.PROGRAM)
        shell.take(order("o1", "4.00"), order("o2", "4.00"))
        shell.take(refund("r1", "o1"))
        assert shell.value("SELECT carried FROM usages") == 4
        shell.take(order("o3", "6.00"))
        assert entitled(shell) == [0, 0, 1]

    def test_customers_carry_their_own(self, opened: Opened) -> None:
        shell = opened("", self.PROGRAM)
        shell.take(*(order(f"o{n}", "9.00", customer_id=f"c{n}") for n in range(3)))
        assert entitled(shell) == [0, 0, 0]


def test_what_was_frozen_holds_for_refunds_after_the_limits_have_moved(opened: Opened) -> None:
    shell = opened(BUDGET, with_rule("caps: {per_day: 120}"))
    shell.take(*(order(f"o{n}", time="2026-03-02T12:00:00Z") for n in range(3)))
    assert entitled(shell) == [140, 60, 20]
    shell.take(cancellation("o0"))
    shell.take(refund("r1", "o1", net="50.00"), refund("r2", "o1", net="50.00"))
    assert entitled(shell) == [0, 0, 20]
    (row,) = shell.rows("SELECT points, orders FROM usages WHERE period <> 'ever'")
    assert (row.points, row.orders, budget(shell)) == (0, 0, (20, 1))
