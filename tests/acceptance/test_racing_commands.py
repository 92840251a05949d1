"""Commands that race for the same points, through the real processes: each is answered, and no point is spent twice.

The tests share a worker, in any order: each has customers and command ids of its own, and counts those alone.
"""

from collections import Counter
from typing import Any

import pytest

from tests.acceptance.whole_worker import WholeWorker
from tests.factories import as_bytes, command, order, refund

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
        "SELECT count(*) AS entries, coalesce(sum(points), 0) AS points FROM entries"
        " WHERE kind = 'transfer' AND command_id LIKE 'cross-%'"
    )
    assert [(row.entries, row.points) for row in moved] == [(2 * told["accepted"], 0)]
    assert worker.balance("left") + worker.balance("right") == 100
    assert worker.differences() == []
    balances = {str(row.account_id): row.balance for row in worker.rows("SELECT account_id, balance FROM accounts")}
    assert worker.consumer.problems(balances) == []


def test_capture_void_and_deadline_race_for_each_of_two_hundred_authorizations(commanded: WholeWorker) -> None:
    worker, count = commanded, 200
    take(worker, [command("credit", "held-credit", customer_id="holder", points=5 * count)])
    names = [f"held-{number}" for number in range(count)]
    reserving = [command("authorize", f"make-{name}", customer_id="holder", points=5) for name in names]
    for each, name in zip(reserving, names, strict=True):
        each["data"]["authorization_id"] = name
    take(worker, reserving)
    ending = [
        {**command(verb, f"{verb}-{name}"), "data": {"authorization_id": name}}
        for name in names
        for verb in ("capture", "void")
    ]
    before, _ = worker.inbox()
    worker.publish(*map(as_bytes, ending))
    # Somebody runs the deadlines of weeks to come beside it.
    worker.loyalty("upkeep", "void_authorizations", "--as-of", "2099-01-01T00:00:00+00:00", "--apply", "--by", "Kim")
    worker.wait_through(before + len(ending))
    worker.consumer.consume()
    told = answers(worker, ending)
    states = Counter(
        {
            row.state: row.rows
            for row in worker.rows(
                "SELECT state, count(*) AS rows FROM authorizations WHERE authorization_id LIKE 'held-%' GROUP BY state"
            )
        }
    )
    # Each ends in one way. Of two commands on it one is done at most, and the other is told that it came too late.
    assert states.total() == count
    assert told == {
        "accepted": states["captured"] + states["voided"],
        "authorization_closed": 2 * count - states["captured"] - states["voided"],
    }
    [row] = worker.rows("SELECT balance, reserved FROM accounts WHERE customer_id = 'holder'")
    assert (row.balance, row.reserved, worker.differences()) == (5 * (count - states["captured"]), 0, [])


def test_conversions_go_both_ways_between_two_programs_while_their_points_are_spent(commanded: WholeWorker) -> None:
    worker = commanded
    # A program converts to one that is there.
    for name, other in (("beans", None), ("acorns", "beans"), ("beans", "acorns")):
        conversions = f"conversions: [{{to_program: {other}, points: 1, gives: 1}}]\n" if other else ""
        head = f"program_id: {name}\nname: Both ways\ncurrency: EUR\ntime_zone: Europe/Berlin\n"
        worker.apply_program(head + conversions)
    whom = {"customer_id": "converter"}
    take(
        worker, [command("credit", f"fill-{name}", program_id=name, points=50, **whom) for name in ("acorns", "beans")]
    )
    ways = [("acorns", "beans"), ("beans", "acorns")]
    racing = [
        command("convert", f"both-{number}", program_id=name, to_program_id=other, points=1 + number % 7, **whom)
        for number in range(400)
        for name, other in [ways[number % 2]]
    ]
    racing += [command("authorize", f"hold-{number}", program_id="beans", points=1, **whom) for number in range(40)]
    take(worker, racing)
    told = answers(worker, racing)
    assert told.keys() <= {"accepted", "insufficient_points"}
    [moved] = worker.rows(
        "SELECT count(*) AS entries, coalesce(sum(points), 0) AS points FROM entries"
        " WHERE kind = 'conversion' AND command_id LIKE 'both-%'"
    )
    granted = worker.value("SELECT count(*) FROM authorizations WHERE command_id LIKE 'hold-%'")
    assert (moved.entries, moved.points) == (2 * (told["accepted"] - granted), 0)
    [row] = worker.rows(
        "SELECT sum(balance) AS balance, sum(reserved) AS reserved, min(balance) AS least"
        " FROM accounts WHERE customer_id = 'converter'"
    )
    assert (row.balance + row.reserved, row.reserved) == (100, granted)
    assert row.least >= 0
    assert worker.differences() == []


def test_two_hundred_customers_race_for_a_stock_of_twenty(commanded: WholeWorker) -> None:
    worker, customers = commanded, [f"guest-{number}" for number in range(200)]
    worker.apply_program(
        "program_id: prizes\nname: Prizes\ncurrency: EUR\ntime_zone: Europe/Berlin\n"
        "rewards: [{reward_id: mug, name: A mug, cost: 60, kind: item, sku: MUG, stock: 20}]\n"
    )
    prizes = {"program_id": "prizes"}
    take(worker, [command("credit", f"fill-{name}", customer_id=name, points=100, **prizes) for name in customers])
    racing = [command("reward.issue", f"win-{name}", customer_id=name, reward_id="mug", **prizes) for name in customers]
    take(worker, racing)
    assert answers(worker, racing) == {"accepted": 20, "out_of_stock": 180}
    [row] = worker.rows(
        "SELECT sum(balance) AS balance, sum(reserved) AS reserved FROM accounts WHERE program_id = 'prizes'"
    )
    assert (row.balance, row.reserved, worker.differences()) == (20_000 - 20 * 60, 20 * 60, [])


def test_an_account_is_merged_and_parted_while_orders_transfers_and_redemptions_of_both_run(
    commanded: WholeWorker,
) -> None:
    worker, pair = commanded, ("stays", "goes")
    running: list[dict[str, Any]] = []
    commands: list[dict[str, Any]] = []
    for number in range(120):
        mine, other = pair[number % 2], pair[1 - number % 2]
        running += [
            order(f"merge-{number}", "3.00", customer_id=mine),
            refund(f"merge-{number}", f"merge-{number}", net="1.00"),
        ]
        asked = [
            command("transfer", f"move-{number}", customer_id=mine, to_customer_id=other, points=2),
            command("redeem", f"spend-{number}", customer_id=other, points=1),
        ]
        if number in {30, 90}:
            asked.append(command("account.merge", f"merge-{number}", customer_id="goes", into_customer_id="stays"))
        if number == 60:
            asked.append(command("account.unmerge", f"part-{number}", customer_id="goes"))
        commands += asked
        running += asked
    take(worker, running)
    told = answers(worker, commands)
    spent = -int(worker.value("SELECT coalesce(sum(points), 0) FROM entries WHERE command_id LIKE 'spend-%'"))
    assert told["accepted"] > 0
    assert worker.balance("stays") + worker.balance("goes") == 120 * 2 - spent
    assert worker.rows("SELECT reason FROM inbox WHERE state NOT IN ('posted', 'replayed', 'rejected')") == []
    assert worker.differences() == []


def test_a_thousand_redemptions_race_for_what_a_customer_may_redeem_on_a_day_and_in_a_month(
    commanded: WholeWorker,
) -> None:
    worker = commanded
    worker.apply_program(
        "program_id: rationed\nname: Rationed\ncurrency: EUR\ntime_zone: Pacific/Auckland\n"
        "limits: {redeem: {per_day: 100, per_month: 250}}\n"
    )
    rationed: dict[str, Any] = {"program_id": "rationed", "customer_id": "hungry"}
    take(worker, [command("credit", "ration", points=10_000, **rationed)])
    # Three days of one month of the program's calendar, though not of UTC's, and a day of the next one.
    days = [f"2026-{day}T13:00:00Z" for day in ("05-31", "06-01", "06-02", "06-30")]
    racing = [
        command(("redeem", "authorize")[number % 2], f"eat-{number}", time=days[number % 4], points=1, **rationed)
        for number in range(1_000)
    ]
    take(worker, racing)
    assert answers(worker, racing) == {"accepted": 350, "limit_reached": 650}
    of_days = worker.rows(
        "SELECT (occurred_at AT TIME ZONE 'Pacific/Auckland')::date::text AS day, count(*) AS redeemed FROM entries"
        " WHERE command_id LIKE 'eat-%' GROUP BY 1 ORDER BY 1"
    )
    by_day = {row.day: row.redeemed for row in of_days}
    assert max(by_day.values()) == by_day.pop("2026-07-01") == 100
    assert by_day.keys() <= {"2026-06-01", "2026-06-02", "2026-06-03"}
    assert sum(by_day.values()) == 250
    assert (worker.balance("hungry"), worker.differences()) == (10_000 - 350, [])
