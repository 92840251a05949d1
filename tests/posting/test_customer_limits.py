"""What a program lets one customer move by commands on a day and in a month of its calendar."""

from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from sqlalchemy import Engine
from uuid6 import uuid7

from core.posting.batch import Poster
from tests.answers import TRUSTED, answer
from tests.factories import PROGRAM_TEXT, command
from tests.shell import EVENT_SOURCE, Shell

LIMITED = (
    PROGRAM_TEXT
    + """
limits:
  redeem: {per_day: 100, per_month: 250}
  transfer: {per_day: 60}
  convert: {per_month: 50}
  credit: {per_month: 2000}
conversions:
  - {to_program: other, points: 1, gives: 1}
rewards:
  - {reward_id: mug, name: A mug, cost: 70, kind: item, sku: MUG}
"""
)
OTHER = PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace('sources: ["/shops/test"]\n', "")
DAY, NEXT_DAY, NEXT_MONTH = "2026-03-10T12:00:00Z", "2026-03-10T23:30:00Z", "2026-03-31T22:30:00Z"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    shell = Shell(engine, limits=TRUSTED, program_text=OTHER)
    shell.apply_program(LIMITED)
    shell.take(command("credit", "g1", points=1_000, time="2026-02-01T12:00:00Z"))
    return shell


def asked(verb: str, name: str, time: str = DAY, **data: Any) -> dict[str, Any]:
    return command(verb, name, time=time, **data)


def redeem(name: str, points: int, time: str = DAY) -> dict[str, Any]:
    return asked("redeem", name, time, points=points)


def codes(shell: Shell, *names: str) -> list[str]:
    return [answer(shell, name).get("code", "accepted") for name in names]


class TestWhatCounts:
    def test_a_day_is_one_of_the_program_and_the_commands_own(self, shell: Shell) -> None:
        shell.take(redeem("k1", 90), redeem("k2", 20), redeem("k3", 20, NEXT_DAY), redeem("k4", 10))
        assert codes(shell, "k1", "k2", "k3", "k4") == ["accepted", "limit_reached", "accepted", "accepted"]
        assert shell.differences() == []

    def test_a_month_is_too(self, shell: Shell) -> None:
        shell.take(*(redeem(f"k{day}", 100, f"2026-03-{day}T12:00:00Z") for day in (11, 12, 13)))
        shell.take(redeem("k4", 50, "2026-03-14T12:00:00Z"), redeem("k5", 100, NEXT_MONTH))
        assert codes(shell, "k11", "k12", "k13", "k4", "k5") == [
            "accepted", "accepted", "limit_reached", "accepted", "accepted",
        ]  # fmt: skip
        assert shell.differences() == []

    def test_redemptions_authorizations_and_rewards_count_together(self, shell: Shell) -> None:
        shell.take(redeem("k1", 20), asked("reward.issue", "k2", reward_id="mug"), asked("authorize", "k3", points=11))
        shell.take(asked("authorize", "k4", points=10))
        assert codes(shell, "k1", "k2", "k3", "k4") == ["accepted", "accepted", "limit_reached", "accepted"]
        assert shell.differences() == []

    def test_a_debit_and_a_correction_are_not_limited(self, shell: Shell) -> None:
        shell.take(asked("debit", "k1", points=300), asked("adjust", "k2", points=-300, reason="mistake"))
        assert codes(shell, "k1", "k2") == ["accepted", "accepted"]

    def test_transfers_and_conversions_count_for_who_gives(self, shell: Shell) -> None:
        shell.take(
            asked("transfer", "k1", to_customer_id="c2", points=60),
            asked("transfer", "k2", to_customer_id="c3", points=1),
        )
        shell.take(asked("transfer", "k3", customer_id="c2", to_customer_id="c3", points=60))
        shell.take(
            asked("convert", "k4", to_program_id="other", points=50),
            asked("convert", "k5", to_program_id="other", points=1),
        )
        assert codes(shell, "k1", "k2", "k3") == ["accepted", "limit_reached", "accepted"]
        assert (codes(shell, "k4", "k5"), shell.differences()) == (["accepted", "limit_reached"], [])

    def test_credits_count_for_who_gets_them_with_opening_values(self, shell: Shell) -> None:
        shell.take(
            asked("account.create", "k1", account_id="card-1", customer_id="c9", points=1_500),
            asked("credit", "k2", customer_id="c9", points=501),
            asked("credit", "k3", customer_id="c9", points=500),
            asked("account.create", "k4", account_id="card-2", customer_id="c8", points=2_001),
        )
        assert codes(shell, "k1", "k2", "k3", "k4") == ["accepted", "limit_reached", "accepted", "limit_reached"]
        assert shell.differences() == []

    def test_the_rejection_says_how_much_is_left_and_until_when(self, shell: Shell) -> None:
        shell.take(redeem("k1", 70), redeem("k2", 31))
        told = answer(shell, "k2")
        assert "at most 100 points on one day" in told["detail"]
        assert "30 are left until 2026-03-10T23:00:00+00:00, and 31 are asked for" in told["detail"]


class TestWhatIsGivenBack:
    @pytest.mark.parametrize(
        ("first", "undoing"),
        [
            (asked("authorize", "k1", points=100), command("void", "u1", customer_id=None, authorization_id="k1")),
            (
                asked("authorize", "k1", points=100),
                command("capture", "u1", customer_id=None, authorization_id="k1", points=1),
            ),
            (
                asked("reward.issue", "k1", reward_id="mug"),
                command("reward.delete", "u1", customer_id=None, issue_id="k1"),
            ),
            (redeem("k1", 100), command("reverse", "u1", customer_id=None, command_id="k1")),
        ],
    )
    def test_what_is_undone_gives_its_part_back_to_its_day(self, shell: Shell, first: Any, undoing: Any) -> None:
        shell.take(first, redeem("k2", 99), undoing, redeem("k3", 99))
        assert codes(shell, "k1", "k2", "u1", "k3") == ["accepted", "limit_reached", "accepted", "accepted"]
        shell.take(redeem("k4", 2))
        assert (codes(shell, "k4"), shell.differences()) == (["limit_reached"], [])

    def test_so_does_a_deadline(self, shell: Shell) -> None:
        now = command("authorize", "k1", points=100, expires_in_seconds=3600)
        shell.take(now, redeem("k2", 1, now["time"]))
        assert shell.void("2099-01-01T00:00:00Z") == 1
        shell.take(redeem("k3", 100, now["time"]))
        assert (codes(shell, "k2", "k3"), shell.differences()) == (["limit_reached", "accepted"], [])

    def test_a_reversed_transfer_gives_back_to_who_gave(self, shell: Shell) -> None:
        shell.take(asked("transfer", "k1", to_customer_id="c2", points=60))
        shell.take(command("reverse", "u1", customer_id=None, command_id="k1", points=10))
        shell.take(
            asked("transfer", "k2", to_customer_id="c2", points=11),
            asked("transfer", "k3", to_customer_id="c2", points=10),
        )
        assert (codes(shell, "k2", "k3"), shell.differences()) == (["limit_reached", "accepted"], [])

    def test_it_is_what_counted_under_its_own_version(self, shell: Shell) -> None:
        shell.take(redeem("k1", 100))
        shell.apply_program(PROGRAM_TEXT, "2026-04-01T00:00:00Z")
        shell.take(redeem("k2", 300), command("reverse", "u1", customer_id=None, command_id="k1"))
        assert (codes(shell, "k2", "u1"), shell.differences()) == (["accepted", "accepted"], [])
        assert {row[0] for row in shell.rows("SELECT points FROM usages WHERE name = 'limit:redeem'")} == {0}


@pytest.mark.parametrize("batch_messages", [1, 7, 500])
def test_whatever_the_batches_never_more_is_redeemed(engine: Engine, batch_messages: int) -> None:
    shell = Shell(
        engine, limits=TRUSTED, program_text=LIMITED.partition("conversions:")[0], batch_messages=batch_messages
    )
    shell.take(command("credit", "g1", points=2_000, time="2026-02-01T12:00:00Z"))
    random = Random(7)  # no secret
    days = [f"2026-03-{day}T12:00:00Z" for day in (10, 11, 12, 13)]
    messages: list[dict[str, Any]] = []
    for number in range(60):
        if number % 4 == 3:
            undone = f"k{random.randrange(number)}"
            messages.append(command("void", f"u{number}", customer_id=None, authorization_id=undone))
        else:
            verb, points = random.choice(["redeem", "authorize"]), random.randrange(1, 60)
            messages.append(asked(verb, f"k{number}", random.choice(days), points=points))
    shell.receive(*messages)
    shell.post()
    used = shell.rows(
        "SELECT e.occurred_at::date, -sum(e.points) - coalesce(sum(v.points), 0) FROM entries e"
        " LEFT JOIN entries v ON v.account_id = e.account_id AND v.corrects_sequence = e.sequence AND v.kind = 'void'"
        " WHERE e.kind IN ('redemption', 'authorization') GROUP BY 1"
    )
    assert max(points for _, points in used) <= 100
    assert sum(points for _, points in used) <= 250
    assert shell.differences() == []


def test_workers_that_race_hold_a_customer_to_the_limit(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED, program_text=LIMITED.partition("conversions:")[0], shards=2)
    shell.take(command("credit", "g1", points=1_000, time="2026-02-01T12:00:00Z"))
    account_id = str(shell.value("SELECT account_id FROM accounts"))
    whom = [{"customer_id": "c1"}, {"account_id": account_id}]
    shell.receive(*(asked("redeem", f"k{n}", points=3, **whom[n % 2]) for n in range(80)))

    def work(shard: int) -> None:
        poster = Poster(engine, event_source=EVENT_SOURCE, new_account_id=uuid7)
        while poster.post_batch(shard, 5).claimed:
            pass

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    shell.post()  # what was left to a worker that had taken it along
    assert codes(shell, *(f"k{n}" for n in range(80))).count("accepted") == 33
    assert shell.differences() == []


def test_what_is_used_is_proved_and_rebuilt(shell: Shell) -> None:
    shell.take(redeem("k1", 40), asked("transfer", "k2", to_customer_id="c2", points=5))
    shell.execute("UPDATE usages SET points = points + 1 WHERE name = 'limit:redeem'")
    found = shell.differences()
    assert {text.partition(":")[0] for text in found} == {
        "what a customer has had of a limit is what orders and commands have"
    }
    assert {repair.subject for repair in shell.repairs().repairs} == {
        "usage of limit:redeem, 2026-03-10",
        "usage of limit:redeem, 2026-03",
    }
