"""Commands that race for the same points, through the real processes: each is answered, and no point is spent twice."""

from collections import Counter
from typing import Any

import pytest

from tests.acceptance.whole_worker import WholeWorker
from tests.factories import as_bytes, command

pytestmark = pytest.mark.slow


def take(worker: WholeWorker, commands: list[dict[str, Any]]) -> None:
    """Publish commands that are new to the worker, and wait until they are through."""
    before, _ = worker.inbox()
    worker.publish(*map(as_bytes, commands))
    worker.wait_through(before + len(commands))
    worker.consumer.consume()


def answers(worker: WholeWorker, commands: list[dict[str, Any]]) -> Counter[str]:
    """What the senders of these commands were told, by what it was: "accepted", or why not. Each has one answer."""
    told: dict[str, list[str]] = {each["id"]: [] for each in commands}
    for kind in ("accepted", "rejected"):
        for event in worker.consumer.of_type(f"loyalty.command.{kind}"):
            if event["correlationid"] in told:
                told[event["correlationid"]].append(event["data"].get("code", "accepted"))
    assert [command_id for command_id, each in told.items() if len(each) != 1] == []
    return Counter(each[0] for each in told.values())


def test_a_thousand_authorizations_race_for_a_hundred_points(commanded: WholeWorker) -> None:
    worker = commanded
    take(worker, [command("credit", "race-credit", customer_id="racer", points=100)])
    account_id = str(worker.value("SELECT account_id FROM accounts WHERE customer_id = 'racer'"))
    whom = [{"customer_id": "racer"}, {"account_id": account_id}]
    racing = [command("authorize", f"race-{number}", points=1, **whom[number % 2]) for number in range(1_000)]
    take(worker, racing)
    assert answers(worker, racing) == {"accepted": 100, "insufficient_points": 900}
    [row] = worker.rows("SELECT balance, reserved FROM accounts WHERE customer_id = 'racer'")
    assert (row.balance, row.reserved, worker.differences()) == (0, 100, [])


def test_a_thousand_transfers_go_both_ways_between_two_accounts(commanded: WholeWorker) -> None:
    worker = commanded
    take(worker, [command("credit", f"full-{name}", customer_id=name, points=50) for name in ("left", "right")])
    ways = [("left", "right"), ("right", "left")]
    crossing = [
        command("transfer", f"cross-{number}", customer_id=giver, to_customer_id=getter, points=1 + number % 7)
        for number in range(1_000)
        for giver, getter in [ways[number % 2]]
    ]
    take(worker, crossing)
    told = answers(worker, crossing)
    assert told.keys() <= {"accepted", "insufficient_points"}
    moved = worker.rows(
        "SELECT count(*) AS entries, coalesce(sum(points), 0) AS points FROM entries WHERE kind = 'transfer'"
    )
    assert [(row.entries, row.points) for row in moved] == [(2 * told["accepted"], 0)]
    assert worker.balance("left") + worker.balance("right") == 100
    assert worker.differences() == []
    balances = {str(row.account_id): row.balance for row in worker.rows("SELECT account_id, balance FROM accounts")}
    assert worker.consumer.problems(balances) == []
