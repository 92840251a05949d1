"""Goods that come back without a receipt take what they would earn that day, and never more than the program lets."""

from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.arrivals import rounds
from tests.factories import PROGRAM_TEXT, goods_back, line, order, refund
from tests.shell import Shell


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def recovery_of(shell: Shell, return_id: str = "b1") -> tuple[int, int, int]:
    (row,) = shell.rows(
        "SELECT points_due, points_taken, points_shortfall FROM returns WHERE return_id = :id", id=return_id
    )
    return tuple(row)


def with_rules(rules: str, more: str = "") -> str:
    start, end = PROGRAM_TEXT.index("earning_rules:"), PROGRAM_TEXT.index("tiers:")
    return f"{PROGRAM_TEXT[:start]}earning_rules:\n{rules}{PROGRAM_TEXT[end:]}{more}"


def test_a_return_takes_what_the_goods_would_earn_today(shell: Shell) -> None:
    shell.take(order("o1", "80.00"), goods_back(amount="20.00"))
    assert (shell.balance(), recovery_of(shell), shell.differences()) == (60, (20, 20, 0), [])
    [told] = [event["data"] for event in shell.events("loyalty.balance.changed") if "return_id" in event["data"]]
    assert (told["kind"], told["reason"], told["points"], told["return_id"]) == (
        "clawback",
        "order_returned",
        -20,
        "b1",
    )
    assert "order_id" not in told


@pytest.mark.parametrize(
    ("spent", "amount", "taken"),
    [
        pytest.param("400.00", "10.00", 10, id="in bronze"),
        pytest.param("600.00", "10.00", 15, id="in silver"),
        pytest.param("2500.00", "10.00", 20, id="in gold"),
    ],
)
def test_it_takes_it_in_the_customers_tier_of_that_day(shell: Shell, spent: str, amount: str, taken: int) -> None:
    shell.take(order("o1", spent), goods_back(amount=amount))
    assert (recovery_of(shell), shell.differences()) == ((taken, taken, 0), [])


def test_the_tier_is_that_of_its_own_time_and_not_of_its_arrival(shell: Shell) -> None:
    shell.take(order("o1", "100.00", time="2026-03-01T12:00:00Z"), order("o2", "600.00", time="2026-03-20T12:00:00Z"))
    shell.take(goods_back(amount="10.00", time="2026-03-10T12:00:00Z"))
    assert (recovery_of(shell), shell.differences()) == ((10, 10, 0), [])


def test_it_is_judged_by_the_version_in_force_when_the_goods_came_back(shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT.replace('bronze: "1"', 'bronze: "3"'), effective_from="2026-03-05T00:00:00Z")
    shell.take(order("o1", "80.00", time="2026-03-01T12:00:00Z"))
    shell.take(goods_back("old", time="2026-03-04T12:00:00Z"), goods_back("new", "10.00", time="2026-03-06T12:00:00Z"))
    assert (recovery_of(shell, "old"), recovery_of(shell, "new")) == ((20, 20, 0), (30, 30, 0))
    assert shell.differences() == []


def test_shipping_and_what_earns_nothing_takes_nothing(shell: Shell) -> None:
    lines = [line("1", "20.00"), line("2", "5.00", kind="shipping")]
    shell.take(order("o1", "80.00"), goods_back(lines=lines), goods_back("b2", lines=[line("1", "5.00", kind="fee")]))
    assert (shell.balance(), recovery_of(shell, "b2"), shell.differences()) == (60, (0, 0, 0), [])


class TestWhatIsNotThere:
    """No lot covers all of it: the program's clawback policy says what becomes of the rest."""

    @pytest.mark.parametrize(
        ("policy", "balance", "recovery"),
        [
            ("allow_negative", -20, (50, 50, 0)),
            ("clamp", 0, (50, 30, 20)),
            ("pending_only", 30, (50, 0, 50)),
        ],
    )
    def test_the_rest_goes_the_way_of_the_clawback_policy(
        self, engine: Engine, policy: str, balance: int, recovery: tuple[int, int, int]
    ) -> None:
        shell = Shell(engine, program_text=f"{PROGRAM_TEXT}clawback: {{policy: {policy}}}\n")
        shell.take(order("o1", "30.00"), goods_back(amount="50.00"))
        assert (shell.balance(), recovery_of(shell), shell.differences()) == (balance, recovery, [])

    def test_the_next_order_pays_off_what_went_below_zero(self, shell: Shell) -> None:
        shell.take(order("o1", "30.00"), goods_back(amount="50.00"), order("o2", "100.00"))
        assert (shell.balance(), shell.value("SELECT deficit FROM accounts"), shell.differences()) == (80, 0, [])

    def test_expired_points_are_not_there(self, engine: Engine) -> None:
        shell = Shell(engine, program_text=f"{PROGRAM_TEXT}expiry: {{policy: after_months, months: 1}}\n")
        shell.take(order("o1", "30.00", time="2026-01-01T12:00:00Z"), order("o2", "5.00", time="2026-11-20T12:00:00Z"))
        shell.take(goods_back(amount="10.00", time="2026-11-21T12:00:00Z"))
        assert (shell.value("SELECT deficit FROM accounts"), shell.differences()) == (5, [])

    def test_many_lots_are_taken_from_as_far_as_it_goes(self, shell: Shell) -> None:
        shell.take(*(order(f"o{n}", "2.00") for n in range(130)))
        shell.take(goods_back(amount="250.00"), goods_back("b2", "9.00"))
        assert (shell.balance(), shell.differences()) == (1, [])


class TestRules:
    def test_a_first_order_bonus_is_not_taken(self, engine: Engine) -> None:
        rules = "  - {rule_id: spend, kind: spend, per_amount: '1.00', points: 1}\n"
        bonus = "promotions:\n  - {promotion_id: welcome, kind: addition, points: 500, when: {first_order: true}}\n"
        shell = Shell(engine, program_text=with_rules(rules, bonus))
        shell.take(order("o1", "100.00"), goods_back(amount="10.00"))
        assert (recovery_of(shell), shell.balance(), shell.differences()) == ((10, 10, 0), 590, [])

    def test_a_running_promotion_counts_as_it_would_for_an_order(self, engine: Engine) -> None:
        rules = "  - {rule_id: spend, kind: spend, per_amount: '1.00', points: 1}\n"
        double = (
            "promotions:\n  - {promotion_id: double, kind: multiplier, multiplier: '2',"
            " when: {starts_on: '2026-03-06', ends_on: '2026-03-08'}}\n"
        )
        shell = Shell(engine, program_text=with_rules(rules, double))
        shell.take(order("o1", "100.00"), goods_back("within"), goods_back("after", time="2026-03-10T12:00:00Z"))
        assert (recovery_of(shell, "within"), recovery_of(shell, "after")) == ((40, 40, 0), (20, 20, 0))
        assert shell.differences() == []

    def test_nothing_of_limits_and_budgets_is_used_or_given_back(self, engine: Engine) -> None:
        rules = "  - {rule_id: spend, kind: spend, per_amount: '1.00', points: 1, caps: {per_day: 60}}\n"
        shell = Shell(engine, program_text=with_rules(rules))
        shell.take(order("o1", "100.00"), goods_back(amount="20.00", time="2026-03-01T13:00:00+01:00"))
        used = shell.rows("SELECT points FROM usages")
        assert ([row.points for row in used], shell.balance(), shell.differences()) == ([60], 40, [])

    def test_no_tier_counts_it(self, shell: Shell) -> None:
        shell.take(order("o1", "600.00"), goods_back(amount="300.00"))
        (row,) = shell.rows("SELECT tier_id, qualifying_points FROM accounts")
        assert (row.tier_id, row.qualifying_points, shell.balance()) == ("silver", 600, 150)


class TestIds:
    def test_the_same_return_again_changes_nothing(self, shell: Shell) -> None:
        shell.take(order("o1", "80.00"), goods_back(), goods_back(event_id="again"))
        assert (shell.balance(), shell.outcome("again")) == (60, ("replayed", None))

    def test_other_content_under_its_id_is_a_conflict(self, shell: Shell) -> None:
        shell.take(order("o1", "80.00"), goods_back(), goods_back(amount="30.00", event_id="other"))
        assert (shell.balance(), shell.outcome("other")) == (60, ("dead", "return_conflict"))
        assert "with a return_id of its own" in shell.value("SELECT detail FROM inbox WHERE state = 'dead'")
        [parked] = shell.events("loyalty.message.parked")
        assert parked["data"]["return_id"] == "b1"

    def test_its_id_is_its_own_and_no_orders_or_refunds(self, shell: Shell) -> None:
        shell.take(order("b1", "80.00"), goods_back("b1"), goods_back("b1", source="/shops/test", event_id="again"))
        assert (shell.balance(), shell.differences()) == (60, [])

    def test_two_customers_cannot_return_the_same(self, shell: Shell) -> None:
        shell.take(order("o1", "80.00"), order("o2", "80.00", customer_id="c2"), goods_back())
        shell.take(goods_back(customer_id="c2", event_id="other"))
        assert (shell.balance("c2"), shell.outcome("other")) == (80, ("dead", "return_conflict"))

    def test_each_program_has_its_own(self, shell: Shell) -> None:
        shell.apply_program(PROGRAM_TEXT.replace("program_id: test", "program_id: club").replace("/shops/test", "/c"))
        shell.take(order("o1", "80.00"), order("o1", "80.00", program_id="club", event_id="club"))
        shell.take(goods_back(), goods_back(program_id="club", amount="30.00", event_id="back-club"))
        assert (shell.balance(), shell.balance(program_id="club"), shell.differences()) == (60, 50, [])


class TestBeforeTheFirstOrder:
    def test_it_may_come_before_the_order_that_it_takes_from(self, shell: Shell) -> None:
        shell.take(goods_back(), order("o1", "80.00"))
        assert (shell.balance(), shell.differences()) == (60, [])
        (row,) = shell.rows("SELECT orders_posted, enrolled_at::date::text AS enrolled_on FROM accounts")
        assert tuple(row) == (1, "2026-03-01"), "membership begins with the first order"
        assert [event["type"] for event in shell.events()][:2] == ["loyalty.account.created", "loyalty.balance.changed"]

    @pytest.mark.parametrize("policy", ["clamp", "pending_only"])
    def test_where_nothing_may_go_below_zero_it_opens_no_account(self, engine: Engine, policy: str) -> None:
        shell = Shell(engine, program_text=f"{PROGRAM_TEXT}clawback: {{policy: {policy}}}\n")
        assert shell.take(goods_back(customer_id="new")) == {"posted": 1}
        assert shell.take(goods_back(customer_id="new", event_id="again")) == {"replayed": 1}
        assert (shell.rows("SELECT * FROM accounts"), shell.events(), recovery_of(shell)) == ([], [], (20, 0, 20))
        shell.take(order("o1", "80.00", customer_id="new"))
        assert (shell.balance("new"), shell.differences()) == (80, [])

    def test_goods_that_earn_nothing_open_no_account(self, shell: Shell) -> None:
        shell.take(goods_back(lines=[line("1", "5.00", kind="fee")]))
        assert (shell.rows("SELECT * FROM accounts"), shell.differences()) == ([], [])


def test_in_which_order_all_of_it_comes_cannot_matter(shell: Shell) -> None:
    messages = [
        order("o1", "80.00"), order("o2", "30.00", time="2026-03-02T12:00:00Z"), refund(), goods_back(),
        goods_back("b2", "7.00"),
    ]  # fmt: skip
    arrivals = [*permutations(messages)][::4]
    for together in rounds(arrivals):
        shell.take(*together)
    assert [row.balance for row in shell.rows("SELECT balance FROM accounts")] == [3] * len(arrivals)
    assert (shell.outcomes(), shell.differences()) == ({("posted", None): 5 * len(arrivals)}, [])


@pytest.mark.parametrize(
    ("message", "reason", "says"),
    [
        (goods_back(currency="USD"), "wrong_currency", "USD"),
        (goods_back(source="/shops/unlisted"), "unknown_program", "no program lists this source"),
        (goods_back(program_id="nowhere"), "unknown_program", "programs here: test"),
        (goods_back(lines=[line("1", "-20.00")]), "invalid_data", "data.lines[0].amount"),
        (goods_back(lines=[line("1", "1.00"), line("1", "2.00")]), "invalid_data", "line_id"),
        (goods_back(customer_id=None), "invalid_data", "customer_id"),
    ],
)
def test_what_cannot_be_taken_is_parked_with_what_to_do(
    shell: Shell, message: dict[str, Any], reason: str, says: str
) -> None:
    shell.take(message)
    assert shell.outcomes() == {("dead", reason): 1}
    assert says in shell.value("SELECT detail FROM inbox")


def test_a_return_that_was_changed_behind_the_workers_back_is_told(shell: Shell) -> None:
    shell.take(order("o1", "80.00"), goods_back())
    lines = '{"line_id":["1"],"quantity":[1],"amount":["90"]}'
    shell.execute("UPDATE returns SET lines = :lines", lines=lines)
    told = " ".join(shell.differences())
    assert "return b1 of /shops/test is not what its hash is of" in told
    assert "return b1 of /shops/test was due 20 points, but its goods earn 90" in told


def test_a_return_in_another_currency_is_worth_what_its_rate_says(shell: Shell) -> None:
    shell.take(order("o1", "80.00"), goods_back(amount="10.00", currency="USD", rate="0.9"))
    assert (shell.balance(), recovery_of(shell), shell.differences()) == (71, (9, 9, 0), [])


def test_a_review_that_was_due_before_it_decides_the_tier(engine: Engine) -> None:
    yearly = "qualification: {window: calendar_year, downgrade: to_fit}\n"
    shell = Shell(engine, program_text=f"{PROGRAM_TEXT}{yearly}")
    shell.take(order("o1", "600.00", time="2024-03-01T12:00:00Z"), order("o2", "10.00", time="2024-04-01T12:00:00Z"))
    shell.take(goods_back(amount="10.00", time="2026-03-07T12:00:00Z"))
    assert (recovery_of(shell), shell.differences()) == ((10, 10, 0), [])
    shell.take(order("o3", "10.00", time="2026-03-08T12:00:00Z"))
    assert (shell.value("SELECT tier_id FROM accounts"), shell.differences()) == ("bronze", [])


def test_a_return_of_more_points_than_are_counted_is_parked_and_the_others_of_its_batch_are_posted(
    engine: Engine,
) -> None:
    million = '  - {rule_id: spend, kind: spend, per_amount: "0.01", points: 1000000}\n'
    shell = Shell(engine, program_text=with_rules(million))
    many = [line(str(number), "999999999999.00") for number in range(20)]
    found = shell.take(order("o1", "0.10"), goods_back("b1", lines=many), goods_back("b2", amount="0.04"))
    assert found == {"posted": 2, "parked": 1}
    assert shell.outcome("returned-b1") == ("dead", "too_many_points")
    assert (shell.balance(), shell.differences()) == (6_000_000, [])
