"""Reserved points: held until they are captured or come back, by command or at their deadline."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine
from uuid6 import uuid7

from core.posting.batch import Poster
from core.store.shards import message_shard
from tests.factories import PROGRAM_TEXT, command, order, refund
from tests.posting.test_posted_commands import LATER, TRUSTED, answer
from tests.shell import EVENT_SOURCE, Shell


@pytest.fixture
def shell(engine: Engine) -> Shell:
    shell = Shell(engine, limits=TRUSTED)
    shell.take(command("credit", "g1", points=100, expires_at=LATER), command("credit", "g2", points=50))
    return shell


def buckets(shell: Shell) -> tuple[int, int]:
    """What can be spent, and what is reserved."""
    [(balance, reserved)] = shell.rows("SELECT balance, reserved FROM accounts WHERE customer_id = 'c1'")
    return balance, reserved


def left(shell: Shell) -> list[int]:
    return [row[0] for row in shell.rows("SELECT points_remaining FROM lots ORDER BY lot_number")]


def holding(shell: Shell, authorization_id: str = "a1") -> tuple[int, int, int, str]:
    """What became of an authorization's points, and its state."""
    [row] = shell.rows(
        "SELECT points_authorized, points_captured, points_returned, state FROM authorizations"
        f" WHERE authorization_id = '{authorization_id}'"
    )
    return tuple(row)


def authorize(name: str = "k1", points: int = 120, **data: Any) -> dict[str, Any]:
    return command("authorize", name, **{"points": points, "authorization_id": "a1", **data})


class TestAuthorize:
    def test_it_moves_points_from_the_balance_to_the_reserve(self, shell: Shell) -> None:
        shell.take(authorize())
        told = answer(shell, "k1")
        assert (told["type"], told["points"], told["authorization_id"]) == ("accepted", 120, "a1")
        [account], [entry] = told["accounts"], told["entries"]
        assert (account["balance"], account["reserved"]) == (30, 120)
        assert (entry["kind"], entry["points"], entry["reserved_change"]) == ("authorization", -120, 120)
        assert [(lot["lot_number"], lot["points"]) for lot in entry["lots"]] == [(1, -100), (2, -20)]
        assert (left(shell), holding(shell), shell.differences()) == ([0, 30], (120, 0, 0, "open"), [])

    def test_it_is_announced_with_what_is_reserved(self, shell: Shell) -> None:
        shell.take(authorize())
        told = shell.events("loyalty.balance.changed")[-1]["data"]
        assert (told["kind"], told["reason"], told["points"]) == ("authorization", "command_authorization", -120)
        assert (told["balance"], told["reserved"], told["reserved_change"]) == (30, 120, 120)

    def test_its_id_is_its_commands_where_it_names_none(self, shell: Shell) -> None:
        shell.take(command("authorize", "k1", points=20))
        assert answer(shell, "k1")["authorization_id"] == "k1"
        shell.take(command("capture", "k2", authorization_id="k1", customer_id=None))
        assert (answer(shell, "k2")["type"], buckets(shell)) == ("accepted", (130, 0))

    def test_with_too_few_points_it_reserves_none(self, shell: Shell) -> None:
        shell.take(authorize(points=151))
        assert (answer(shell, "k1")["code"], buckets(shell)) == ("insufficient_points", (150, 0))

    def test_an_id_names_one_authorization_for_ever_in_all_programs(self, shell: Shell) -> None:
        shell.take(authorize(points=10), command("credit", "g3", customer_id="c2", points=50))
        shell.take(void("v1"))
        shell.take(authorize("k2", points=10), authorize("k3", points=10, customer_id="c2"))
        assert [answer(shell, name)["code"] for name in ("k2", "k3")] == ["authorization_exists"] * 2
        assert (holding(shell), shell.differences()) == ((10, 0, 10, "voided"), [])

    @pytest.mark.parametrize(
        ("data", "hours"),
        [({}, 168), ({"expires_in_seconds": 3600}, 1), ({"expires_in_seconds": 90 * 86400}, 2160)],
    )
    def test_it_has_a_deadline(self, shell: Shell, data: dict[str, Any], hours: int) -> None:
        shell.take(authorize(**data))
        lasts = shell.value("SELECT a.expires_at - e.recorded_at FROM authorizations a JOIN entries e USING (sequence)")
        assert lasts == timedelta(hours=hours)
        assert shell.differences() == []

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            ({"expires_at": LATER}, "wrong_deadline"),
            ({"expires_at": "2026-01-01T00:00:00Z"}, "wrong_deadline"),
            ({"expires_in_seconds": 3599}, "invalid_data"),
            ({"expires_in_seconds": 90 * 86400 + 1}, "invalid_data"),
            ({"expires_in_seconds": 7200, "expires_at": LATER}, "invalid_data"),
            ({"authorization_id": "x" * 201}, "invalid_data"),
            ({"points": 0}, "invalid_data"),
            ({"unit": "miles"}, "wrong_unit"),
        ],
    )
    def test_what_it_cannot_be(self, shell: Shell, data: dict[str, Any], code: str) -> None:
        shell.take(authorize(**data))
        assert (answer(shell, "k1")["code"], buckets(shell)) == (code, (150, 0))


def capture(name: str, **data: Any) -> dict[str, Any]:
    return command("capture", name, **{"customer_id": None, "authorization_id": "a1", **data})


def void(name: str, **data: Any) -> dict[str, Any]:
    return command("void", name, **{"customer_id": None, "authorization_id": "a1", **data})


class TestCapture:
    def test_all_of_it_leaves_for_good(self, shell: Shell) -> None:
        shell.take(authorize(), capture("k2", order_id="o7"))
        told = answer(shell, "k2")
        assert (told["points"], told["points_held"], told["accounts"][0]["reserved"]) == (120, 0, 0)
        [entry] = told["entries"]
        assert (entry["kind"], entry["points"], entry["reserved_change"], entry["lots"]) == ("capture", 0, -120, [])
        assert (holding(shell), buckets(shell), left(shell)) == ((120, 120, 0, "captured"), (30, 0), [0, 30])
        assert shell.differences() == []

    def test_of_part_of_it_the_rest_comes_back_what_was_taken_last_first(self, shell: Shell) -> None:
        shell.take(authorize())
        shell.take(capture("k2", points=70))
        told = answer(shell, "k2")
        assert (told["points"], told["points_returned"], told["points_held"]) == (70, 50, 0)
        assert [(entry["kind"], entry["points"]) for entry in told["entries"]] == [("capture", 0), ("void", 50)]
        assert [(lot["lot_number"], lot["points"]) for lot in told["entries"][1]["lots"]] == [(2, 20), (1, 30)]
        assert (holding(shell), buckets(shell), left(shell)) == ((120, 70, 50, "captured"), (80, 0), [30, 50])
        assert shell.differences() == []

    def test_several_are_not_final_until_the_last(self, shell: Shell) -> None:
        shell.take(authorize(), capture("k2", points=70, is_final=False))
        assert (answer(shell, "k2")["points_held"], buckets(shell)) == (50, (30, 50))
        shell.take(capture("k3", points=40, is_final=False))
        assert (holding(shell), buckets(shell)) == ((120, 110, 0, "open"), (30, 10))
        shell.take(capture("k4", points=4))
        assert (holding(shell), buckets(shell), left(shell)) == ((120, 114, 6, "captured"), (36, 0), [0, 36])
        assert shell.differences() == []

    def test_what_was_captured_last_closes_it(self, shell: Shell) -> None:
        shell.take(authorize(), capture("k2", is_final=False))
        assert (holding(shell), shell.differences()) == ((120, 120, 0, "captured"), [])

    def test_no_more_than_it_holds(self, shell: Shell) -> None:
        shell.take(authorize(), capture("k2", points=100, is_final=False), capture("k3", points=21))
        assert (answer(shell, "k3")["code"], holding(shell)) == ("over_capture", (120, 100, 0, "open"))

    @pytest.mark.parametrize("closing", [void("k2"), capture("k2", points=7)])
    def test_not_when_it_holds_nothing_any_more(self, shell: Shell, closing: dict[str, Any]) -> None:
        shell.take(authorize(), closing)
        shell.take(capture("k3", points=1), void("k4"))
        assert [answer(shell, name)["code"] for name in ("k3", "k4")] == ["authorization_closed"] * 2
        assert shell.differences() == []

    def test_not_past_its_deadline_whether_or_not_the_run_has_come(self, shell: Shell) -> None:
        shell.take(authorize())
        shell.execute("UPDATE authorizations SET expires_at = now() - interval '1 second'")
        shell.take(capture("k2"))
        assert (answer(shell, "k2")["code"], holding(shell)) == ("authorization_closed", (120, 0, 0, "open"))

    @pytest.mark.parametrize("verb", ["capture", "void"])
    def test_of_one_that_nobody_knows(self, shell: Shell, verb: str) -> None:
        shell.take(command(verb, "k2", customer_id=None, authorization_id="a9"))
        assert answer(shell, "k2")["code"] == "unknown_authorization"

    def test_points_reserved_in_time_are_captured_after_their_end(self, shell: Shell) -> None:
        shell.take(authorize(points=100))
        end_of_first_lot(shell)
        shell.take(capture("k2"))
        assert (answer(shell, "k2")["type"], buckets(shell)) == ("accepted", (50, 0))


def end_of_first_lot(shell: Shell) -> None:
    """Let it end now, after its points were reserved."""
    shell.execute("UPDATE lots SET expires_at = (SELECT max(recorded_at) FROM entries) WHERE lot_number = 1")


class TestVoid:
    def test_all_comes_back_to_its_lots(self, shell: Shell) -> None:
        shell.take(authorize(), void("k2"))
        told = answer(shell, "k2")
        assert (told["points"], told["points_held"], told["entries"][0]["kind"]) == (120, 0, "void")
        assert (holding(shell), buckets(shell), left(shell)) == ((120, 0, 120, "voided"), (150, 0), [100, 50])
        assert shell.differences() == []

    def test_what_is_left_after_a_capture(self, shell: Shell) -> None:
        shell.take(authorize(), capture("k2", points=110, is_final=False), void("k3"))
        assert (holding(shell), buckets(shell), left(shell)) == ((120, 110, 10, "voided"), (40, 0), [0, 40])
        assert shell.differences() == []

    def test_what_has_ended_meanwhile_expires_at_once(self, shell: Shell) -> None:
        shell.take(authorize())
        end_of_first_lot(shell)
        shell.take(void("k2"))
        told = answer(shell, "k2")
        assert ([entry["kind"] for entry in told["entries"]], told["accounts"][0]["balance"]) == (["void"], 50)
        rows = shell.rows("SELECT kind, points FROM entries ORDER BY sequence DESC LIMIT 2")
        assert [tuple(row) for row in rows] == [("expiry", -100), ("void", 120)]
        assert left(shell) == [0, 50]
        assert shell.differences() == []

    def test_a_grace_gives_it_another_lot(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "returned_points_grace_days: 30\n")
        soon = shell.value("SELECT to_char(now() + interval '2 days', 'YYYY-MM-DD\"T\"HH24:MI:SSZ')")
        shell.take(order("o1", "80.00"), command("credit", "g1", points=100, expires_at=soon), authorize())
        shell.take(capture("k2", points=40))
        assert (buckets(shell), left(shell), shell.differences()) == ((140, 0), [80, 0, 60], [])
        [(kind, name, days)] = shell.rows(
            "SELECT origin_kind, origin_id, extract(day FROM expires_at - now())::int FROM lots WHERE lot_number = 3"
        )
        assert (kind, name, days) == ("command", "g1", 30)

    def test_a_deficit_is_paid_off_first(self, shell: Shell) -> None:
        shell.take(order("o1", "30.00"), authorize("k1", points=180))
        shell.take(refund("r1", "o1", full=True))
        assert buckets(shell) == (-30, 180)
        shell.take(void("k2"))
        assert (buckets(shell), shell.value("SELECT deficit FROM accounts")) == ((150, 0), 0)
        assert shell.differences() == []


class TestFrozenAndClosed:
    @pytest.mark.parametrize(
        ("status", "codes"), [("frozen", ["account_frozen"] * 2), ("closed", ["account_closed"] * 2)]
    )
    def test_what_is_held_is_not_captured_and_may_come_back(self, shell: Shell, status: str, codes: list[str]) -> None:
        shell.take(authorize())
        shell.execute("UPDATE accounts SET status = :status", status=status)
        shell.take(authorize("k2", points=1, authorization_id="a2"), capture("k3"), void("k4"))
        assert [answer(shell, name)["code"] for name in ("k2", "k3")] == codes
        assert (answer(shell, "k4")["type"], buckets(shell)) == ("accepted", (150, 0))


class TestRedeem:
    def test_it_takes_points_at_once(self, shell: Shell) -> None:
        shell.take(command("redeem", "k1", points=120, order_id="o7"))
        told = answer(shell, "k1")
        assert (told["points"], told["entries"][0]["kind"], told["accounts"][0]["balance"]) == (120, "redemption", 30)
        assert (left(shell), buckets(shell), shell.differences()) == ([0, 30], (30, 0), [])

    def test_with_too_few_points_it_takes_none(self, shell: Shell) -> None:
        shell.take(command("redeem", "k1", points=151))
        assert (answer(shell, "k1")["code"], buckets(shell)) == ("insufficient_points", (150, 0))

    def test_reserved_points_are_not_there_to_redeem(self, shell: Shell) -> None:
        shell.take(authorize(), command("redeem", "k2", points=31), command("redeem", "k3", points=30))
        assert (answer(shell, "k2")["code"], answer(shell, "k3")["type"]) == ("insufficient_points", "accepted")
        assert (buckets(shell), shell.differences()) == ((0, 120), [])

    def test_it_is_undone_as_other_commands_are(self, shell: Shell) -> None:
        shell.take(command("redeem", "k1", points=120), reversal("k2", "k1", points=30), reversal("k3", "k1"))
        assert (answer(shell, "k2")["points"], answer(shell, "k3")["code"]) == (30, "already_reversed")
        assert (buckets(shell), left(shell), shell.differences()) == ((60, 0), [10, 50], [])


def reversal(name: str, command_id: str, **data: Any) -> dict[str, Any]:
    return command("reverse", name, **{"customer_id": None, "command_id": command_id, **data})


class TestDeadline:
    def test_what_is_held_comes_back_at_the_deadline(self, shell: Shell) -> None:
        shell.take(
            authorize("k1", points=60),
            capture("k2", points=10, is_final=False),
            authorize("k3", points=30, authorization_id="a2", expires_in_seconds=3600),
            authorize("k4", points=30, authorization_id="a3", expires_in_seconds=90 * 86400),
        )
        deadline = shell.value("SELECT expires_at FROM authorizations WHERE authorization_id = 'a1'")
        assert shell.void(str(deadline - timedelta(seconds=1))) == 1
        assert shell.void(str(deadline + timedelta(days=3)), rows_max=1) == 1
        assert [holding(shell, name) for name in ("a1", "a2", "a3")] == [
            (60, 10, 50, "expired"),
            (30, 0, 30, "expired"),
            (30, 0, 0, "open"),
        ]
        assert (buckets(shell), shell.void(str(deadline + timedelta(days=3)))) == ((110, 30), 0)
        assert shell.value("SELECT occurred_at FROM entries ORDER BY sequence DESC LIMIT 1") == deadline
        told = shell.events("loyalty.balance.changed")[-1]["data"]
        assert (told["kind"], told["reason"], told["points"], told["reserved"]) == (
            "void",
            "authorization_expired",
            50,
            30,
        )
        assert shell.differences() == []

    def test_what_has_ended_before_the_run_expires_as_it_would_have(self, shell: Shell) -> None:
        shell.take(authorize(points=100))
        end_of_first_lot(shell)
        shell.void("2090-01-01T00:00:00Z")
        rows = shell.rows("SELECT kind, points FROM entries ORDER BY sequence DESC LIMIT 2")
        assert [tuple(row) for row in rows] == [("expiry", -100), ("void", 100)]
        assert (buckets(shell), shell.differences()) == ((50, 0), [])

    def test_what_is_due_to_be_released_pays_off_a_deficit_before_what_comes_back(self, shell: Shell) -> None:
        tomorrow, next_week = ((datetime.now(UTC) + timedelta(days=days)).isoformat() for days in (1, 8))
        shell.take(
            authorize(),
            command("adjust", "k2", points=-80, reason="x", allow_negative_balance=True),
            command("credit", "k3", points=25, available_at=tomorrow),
        )
        assert (shell.void(next_week), shell.void(next_week)) == (1, 0)
        kinds = [row[0] for row in shell.rows("SELECT kind FROM entries ORDER BY sequence")]
        assert (kinds[-2:], left(shell), buckets(shell)) == (["release", "void"], [95, 0, 0], (95, 0))
        assert shell.differences() == []


class TestRaces:
    def test_of_a_thousand_authorizations_for_a_hundred_points_a_hundred_are_granted(self, engine: Engine) -> None:
        drawn = next(
            each for each in (UUID(int=n) for n in range(100)) if message_shard(str(each), 4) != message_shard("c1", 4)
        )
        shell = Shell(engine, limits=TRUSTED, new_account_id=lambda: drawn)
        shell.take(command("credit", "g1", points=100))
        for start in range(0, 1_000, 100):
            shell.receive(
                # By the account's id they are on another shard than by its customer.
                *(
                    command("authorize", f"k{n}", points=1, **({"account_id": str(drawn)} if n % 2 else {}))
                    for n in range(start, start + 100)
                )
            )
        shards = [row[0] for row in shell.rows("SELECT DISTINCT shard FROM inbox WHERE state = 'received'")]
        assert len(shards) == 2
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda shard: post_all(engine, shard), shards))
        shell.post()  # what was left to a worker that had taken it along
        granted = shell.value("SELECT count(*) FROM authorizations")
        answered = shell.value("SELECT count(*) FROM commands WHERE type = 'loyalty.command.authorize'")
        codes = shell.rows("SELECT DISTINCT code FROM commands WHERE code IS NOT NULL")
        assert (granted, answered, [row[0] for row in codes]) == (100, 1_000, ["insufficient_points"])
        assert (buckets(shell), shell.differences()) == ((0, 100), [])

    def test_of_two_authorizations_with_one_id_one_is_granted(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, shards=2)
        customers = {message_shard(f"c{n}", 2): f"c{n}" for n in range(100)}
        shell.take(*(command("credit", f"g{n}", customer_id=c, points=9) for n, c in enumerate(customers.values())))
        asked = [authorize(f"k{shard}", points=5, customer_id=c) for shard, c in customers.items()]
        for each in asked:  # apart, or the first one's shard would be the others' too
            shell.receive(each)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda shard: post_all(engine, shard), customers))
        shell.post()
        states = shell.rows(
            "SELECT code, count(*) FROM commands WHERE type LIKE '%authorize' GROUP BY code ORDER BY code"
        )
        assert [tuple(row) for row in states] == [("authorization_exists", 1), (None, 1)]
        assert shell.differences() == []


def post_all(engine: Engine, shard: int) -> None:
    """Post all of a shard, a few at a time, as a worker of its own."""
    poster = Poster(engine, event_source=EVENT_SOURCE, new_account_id=uuid7)
    while poster.post_batch(shard, 20).claimed:
        pass


class TestOneBatch:
    def test_all_of_it_in_one_batch_ends_as_one_by_one(self, shell: Shell) -> None:
        asked = [
            authorize("k1", points=60),
            capture("k2", points=10, is_final=False),
            authorize("k3", points=60, authorization_id="a2"),
            void("k4"),
            capture("k5", authorization_id="a2", points=55),
            authorize("k6", points=85, authorization_id="a3"),
            capture("k7", authorization_id="a3"),
        ]
        shell.take(*asked)
        assert [holding(shell, name) for name in ("a1", "a2", "a3")] == [
            (60, 10, 50, "voided"),
            (60, 55, 5, "captured"),
            (85, 85, 0, "captured"),
        ]
        assert (buckets(shell), shell.differences()) == ((0, 0), [])
