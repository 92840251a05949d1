"""Rewards: issued at the price of the catalogue, redeemed for good, or taken back by command or at their deadline."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from uuid6 import uuid7

from core.posting.batch import Poster
from core.store.budgets import examine_budgets
from tests.answers import TRUSTED, answer
from tests.factories import PROGRAM_TEXT, command, order
from tests.shell import EVENT_SOURCE, Shell

REWARDS = """
rewards:
  - {reward_id: mug, name: A mug, cost: 60, kind: item, sku: MUG, stock: 3, per_customer: 2}
  - {reward_id: five-off, name: 5 euros off, cost: 100, kind: amount, amount: "5.00"}
  - {reward_id: tenth-off, name: A tenth off, cost: 80, kind: percent, percent: 10, tiers: [silver, gold]}
  - {reward_id: parking, name: Parking, cost: 20, kind: units, units: 2, unit_name: hour}
  - {reward_id: summer, name: Summer tea, cost: 10, kind: item, sku: TEA, starts_on: 2026-06-01, ends_on: 2026-06-30}
"""
CATALOGUE = PROGRAM_TEXT + REWARDS


@pytest.fixture
def shell(engine: Engine) -> Shell:
    shell = Shell(engine, limits=TRUSTED, program_text=CATALOGUE)
    shell.take(*(command("credit", f"g-{name}", customer_id=name, points=300) for name in ("c1", "c2", "c3")))
    return shell


def issue(name: str = "k1", reward_id: str = "mug", **data: Any) -> dict[str, Any]:
    return command("reward.issue", name, reward_id=reward_id, **data)


def redeem(name: str, issue_id: str = "k1", **data: Any) -> dict[str, Any]:
    return command("reward.redeem", name, **{"customer_id": None, "issue_id": issue_id, **data})


def delete(name: str, issue_id: str = "k1", **data: Any) -> dict[str, Any]:
    return command("reward.delete", name, **{"customer_id": None, "issue_id": issue_id, **data})


def buckets(shell: Shell, customer_id: str = "c1") -> tuple[int, int]:
    """What can be spent, and what is reserved."""
    [(balance, reserved)] = shell.rows(f"SELECT balance, reserved FROM accounts WHERE customer_id = '{customer_id}'")
    return balance, reserved


def stock_taken(shell: Shell) -> int:
    return sum(row[0] for row in shell.rows("SELECT orders FROM budgets WHERE name = 'reward:mug'"))


def codes(shell: Shell, *names: str) -> list[str]:
    return [answer(shell, name).get("code", "accepted") for name in names]


class TestIssue:
    def test_it_reserves_the_price_and_says_what_the_customer_gets(self, shell: Shell) -> None:
        shell.take(issue(issue_id="till-7", reason="birthday"))
        told = answer(shell, "k1")
        assert (told["points"], told["issue_id"], buckets(shell)) == (60, "till-7", (240, 60))
        assert told["reward"] == {"reward_id": "mug", "name": "A mug", "kind": "item", "cost": 60, "sku": "MUG"}
        assert "expires_at" not in told
        assert [(each["kind"], each["reserved_change"]) for each in told["entries"]] == [("authorization", 60)]
        assert shell.differences() == []

    @pytest.mark.parametrize(
        ("reward_id", "gives"),
        [
            ("five-off", {"kind": "amount", "amount": "5.00", "currency": "EUR"}),
            ("parking", {"kind": "units", "units": 2, "unit_name": "hour"}),
        ],
    )
    def test_what_it_gives_is_of_its_kind(self, shell: Shell, reward_id: str, gives: dict[str, Any]) -> None:
        shell.take(issue(reward_id=reward_id))
        told = answer(shell, "k1")["reward"]
        assert {name: told[name] for name in told.keys() - {"reward_id", "name", "cost"}} == gives

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            ({"reward_id": "cup"}, "unknown_reward"),
            ({"reward_id": "tenth-off"}, "not_in_tier"),
            ({"reward_id": "summer"}, "reward_over"),
            ({"reward_id": "summer", "time": "2026-05-31T21:59:59Z"}, "reward_not_yet"),
            ({"customer_id": "nobody"}, "unknown_account"),
            ({"expires_in_seconds": 3599}, "invalid_data"),
            ({"expires_at": "2099-01-01T00:00:00Z"}, "wrong_deadline"),
            ({"program_id": "other"}, "unknown_program"),
        ],
    )
    def test_when_it_is_not_given(self, shell: Shell, data: dict[str, Any], code: str) -> None:
        shell.take(issue(**data))
        assert (codes(shell, "k1"), buckets(shell), stock_taken(shell)) == ([code], (300, 0), 0)

    @pytest.mark.parametrize("time", ["2026-05-31T22:00:00Z", "2026-06-30T21:59:59Z"])
    def test_its_days_are_those_of_the_program_and_of_the_command(self, shell: Shell, time: str) -> None:
        shell.take(issue(reward_id="summer", time=time))
        assert codes(shell, "k1") == ["accepted"]

    def test_one_for_a_tier_is_given_to_who_is_in_it(self, shell: Shell) -> None:
        shell.take(order("o1", "600.00"), issue(reward_id="tenth-off"))
        assert answer(shell, "k1")["reward"]["percent"] == "10"

    def test_without_the_points_there_is_none(self, shell: Shell) -> None:
        shell.take(command("debit", "d1", points=250), issue())
        assert (codes(shell, "k1"), stock_taken(shell)) == (["insufficient_points"], 0)

    def test_a_customer_gets_it_so_often_until_one_is_deleted(self, shell: Shell) -> None:
        shell.take(issue("k1"), redeem("r1", "k1"), issue("k2"), issue("k3"))
        shell.take(delete("x2", "k2"), issue("k4"))
        assert codes(shell, "k1", "k2", "k3", "k4") == ["accepted", "accepted", "reward_limit_reached", "accepted"]
        assert (stock_taken(shell), shell.differences()) == (2, [])

    def test_all_customers_get_it_so_often_until_one_is_deleted(self, shell: Shell) -> None:
        names = ["k1", "k2", "k3", "k4"]
        shell.take(*(issue(name, customer_id=f"c{place % 3 + 1}") for place, name in enumerate(names)))
        assert codes(shell, *names).count("out_of_stock") == 1
        accepted = next(name for name in names if codes(shell, name) == ["accepted"])
        shell.take(delete("x1", accepted))
        shell.take(issue("k5", customer_id="c3"))
        assert (codes(shell, "k5"), stock_taken(shell), shell.differences()) == (["accepted"], 3, [])

    def test_an_id_names_one_issue_for_ever(self, shell: Shell) -> None:
        shell.take(issue("k1", issue_id="i1"), delete("x1", "i1"))
        shell.take(issue("k2", issue_id="i1"), issue("k3", issue_id="i1", customer_id="c2"))
        assert codes(shell, "k2", "k3") == ["issue_exists", "issue_exists"]

    def test_it_is_named_by_an_account_that_the_same_batch_opens(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=CATALOGUE, shards=1)
        shell.take(
            command("account.create", "a1", account_id="card-1", customer_id="c9", points=100),
            issue("k1", account_id="card-1"),
        )
        assert (codes(shell, "k1"), buckets(shell, "c9"), shell.differences()) == (["accepted"], (40, 60), [])

    def test_each_change_is_told(self, shell: Shell) -> None:
        shell.take(issue("k1", issue_id="i1"), redeem("r1", "i1", order_id="o7"), issue("k2"), delete("x2", "k2"))
        told = [event for event in shell.events() if event["type"].startswith("loyalty.reward.")]
        assert [(event["type"].rpartition(".")[2], event["data"]["issue_id"]) for event in told] == [
            ("issued", "i1"), ("redeemed", "i1"), ("issued", "k2"), ("deleted", "k2"),
        ]  # fmt: skip
        redeemed = told[1]["data"]
        assert (redeemed["order_id"], redeemed["command_id"], redeemed["state"]) == ("o7", "r1", "redeemed")
        assert redeemed["reward"]["sku"] == "MUG"
        reasons = [event["data"]["reason"] for event in shell.events("loyalty.balance.changed")][3:]
        assert reasons == ["reward_issued", "reward_redeemed", "reward_issued", "reward_deleted"]


class TestRedeem:
    def test_the_points_are_gone_for_good(self, shell: Shell) -> None:
        shell.take(issue(), redeem("r1", order_id="o7"))
        told = answer(shell, "r1")
        assert (told["points"], told["issue_id"], told["reward"]["sku"]) == (60, "k1", "MUG")
        assert [(each["kind"], each["reserved_change"]) for each in told["entries"]] == [("capture", -60)]
        assert (buckets(shell), stock_taken(shell), shell.differences()) == ((240, 0), 1, [])

    def test_what_it_is_was_frozen_when_it_was_issued(self, shell: Shell) -> None:
        shell.take(issue(), issue("k2"))
        dearer = CATALOGUE.replace(
            "name: A mug, cost: 60, kind: item, sku: MUG, stock: 3", "name: A cup, cost: 90, kind: item, sku: CUP"
        )
        shell.apply_program(dearer, "2026-01-01T00:00:00Z")
        shell.take(redeem("r1"), delete("x2", "k2"), issue("k3"))
        assert [answer(shell, name)["reward"]["sku"] for name in ("r1", "x2")] == ["MUG", "MUG"]
        assert (answer(shell, "k3")["points"], stock_taken(shell)) == (90, 1)
        assert (buckets(shell), shell.differences()) == ((150, 90), [])

    @pytest.mark.parametrize("ending", [redeem, delete])
    def test_it_is_done_once(self, shell: Shell, ending: Any) -> None:
        shell.take(issue(), ending("e1"), redeem("r1"), delete("x1"))
        assert codes(shell, "e1", "r1", "x1") == ["accepted", "issue_closed", "issue_closed"]
        assert shell.differences() == []

    def test_of_what_is_not_issued_there_is_none(self, shell: Shell) -> None:
        shell.take(redeem("r1", "nothing"), delete("x1", "nothing"))
        assert codes(shell, "r1", "x1") == ["unknown_issue", "unknown_issue"]

    @pytest.mark.parametrize("verb", ["capture", "void"])
    def test_commands_on_authorizations_do_not_know_it(self, shell: Shell, verb: str) -> None:
        shell.take(issue(), command(verb, "v1", customer_id=None, authorization_id="k1"))
        assert (codes(shell, "v1"), buckets(shell)) == (["unknown_authorization"], (240, 60))

    def test_neither_its_issue_nor_its_redemption_is_reversed(self, shell: Shell) -> None:
        shell.take(issue(), redeem("r1"))
        shell.take(*(command("reverse", f"u-{name}", customer_id=None, command_id=name) for name in ("k1", "r1")))
        assert codes(shell, "u-k1", "u-r1") == ["not_reversible", "not_reversible"]


class TestTakingBack:
    def test_the_points_come_back_to_their_lots(self, shell: Shell) -> None:
        shell.take(issue(), delete("x1", reason="changed his mind"))
        told = answer(shell, "x1")
        assert (told["points"], told["reward"]["reward_id"], buckets(shell)) == (60, "mug", (300, 0))
        assert [(each["kind"], each["points"]) for each in told["entries"]] == [("void", 60)]
        assert (stock_taken(shell), shell.differences()) == (0, [])

    def test_past_its_deadline_it_is_taken_back_and_can_be_given_again(self, shell: Shell) -> None:
        shell.take(*(issue(f"k{n}", customer_id=f"c{n}", expires_in_seconds=3600) for n in (1, 2, 3)))
        assert shell.void("2099-01-01T00:00:00Z") == 3
        assert (buckets(shell), stock_taken(shell), shell.differences()) == ((300, 0), 0, [])
        shell.take(redeem("r1"), issue("k4"))
        assert codes(shell, "r1", "k4") == ["issue_closed", "accepted"]
        told = [event["data"] for event in shell.events("loyalty.reward.deleted")]
        assert [(each["state"], "command_id" in each) for each in told] == [("expired", False)] * 3
        assert shell.events("loyalty.balance.changed")[-2]["data"]["reason"] == "reward_expired"

    def test_one_without_a_deadline_stays(self, shell: Shell) -> None:
        shell.take(issue())
        assert (shell.void("2099-01-01T00:00:00Z"), buckets(shell)) == (0, (240, 60))


class TestWhoTakesPart:
    def test_a_frozen_account_gets_none_and_gives_back(self, shell: Shell) -> None:
        shell.take(issue("k1"), issue("k2"), command("account.freeze", "f1"))
        shell.take(issue("k3"), redeem("r1", "k1"), delete("x2", "k2"))
        assert codes(shell, "k3", "r1", "x2") == ["account_frozen", "account_frozen", "accepted"]

    def test_an_issued_reward_keeps_its_account_open(self, shell: Shell) -> None:
        shell.take(issue("k1"), command("account.close", "z1", points_left="forfeit"))
        assert codes(shell, "z1") == ["authorizations_open"]
        shell.take(delete("x1"), command("account.close", "z2", points_left="forfeit"), issue("k2"))
        assert codes(shell, "x1", "z2", "k2") == ["accepted", "accepted", "account_closed"]

    def test_an_inactive_program_takes_back_what_it_issued(self, shell: Shell) -> None:
        shell.take(issue("k1"), issue("k2"))
        shell.apply_program(CATALOGUE + "active: false\n", "2026-01-01T00:00:00Z")
        shell.take(issue("k3"), redeem("r1"), delete("x2", "k2"))
        assert codes(shell, "k3", "r1", "x2") == ["program_inactive", "program_inactive", "accepted"]


class TestWhatIsProved:
    @pytest.mark.parametrize(
        ("tampering", "check"),
        [
            ("UPDATE usages SET orders = 0 WHERE name = 'reward:mug'", "what a customer has had of a limit"),
            ("DELETE FROM budgets", "what is spent of a budget, or of a reward's stock"),
            ("UPDATE authorizations SET reward_id = 'parking'", "an issued reward costs what the version says"),
        ],
    )
    def test_what_is_planted_is_found(self, shell: Shell, tampering: str, check: str) -> None:
        shell.take(issue("k1"), issue("k2"), delete("x2", "k2"))
        assert shell.differences() == []
        shell.execute(tampering)
        assert any(found.startswith(check) for found in shell.differences())

    def test_what_is_counted_can_be_rebuilt(self, shell: Shell) -> None:
        shell.take(issue("k1"), issue("k2"), delete("x2", "k2"))
        shell.execute("UPDATE usages SET orders = 7")
        shell.execute("UPDATE budgets SET orders = 7")
        [repair] = shell.repairs().repairs
        assert (repair.subject, repair.rebuilt) == ("usage of reward:mug, ever", {"orders": 1})
        with shell.engine.begin() as connection:
            [budget] = examine_budgets(connection)
        assert (budget.name, budget.rebuilt) == ("reward:mug", {"orders": 1})


def test_workers_that_race_give_a_stock_away_once(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED, program_text=CATALOGUE.replace("stock: 3", "stock: 20"), shards=2)
    customers = [f"c{n}" for n in range(60)]
    shell.take(*(command("credit", f"g-{name}", customer_id=name, points=100) for name in customers))
    shell.receive(*(issue(f"k-{name}", customer_id=name) for name in customers))

    def work(shard: int) -> None:
        poster = Poster(engine, event_source=EVENT_SOURCE, new_account_id=uuid7)
        while poster.post_batch(shard, 3).claimed:
            pass

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    shell.post()  # what was left to a worker that had taken it along
    told = codes(shell, *(f"k-{name}" for name in customers))
    assert (told.count("accepted"), told.count("out_of_stock")) == (20, 40)
    assert (stock_taken(shell), shell.differences()) == (20, [])


def test_the_same_command_again_gets_its_first_answer(shell: Shell) -> None:
    asked = issue(time=datetime.now(UTC).isoformat())
    shell.take(asked)
    shell.take(asked)
    assert (buckets(shell), stock_taken(shell)) == ((240, 60), 1)
