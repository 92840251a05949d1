"""Transfers: points go to another account of the program and stay what they are; together the two have no more."""

from threading import Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from core.store.shards import message_shard
from tests.answers import TRUSTED, answer
from tests.factories import PROGRAM_TEXT, SOURCE, command, order, refund
from tests.shell import Shell

LATER, SOONER = "2099-01-01T00:00:00Z", "2098-01-01T00:00:00Z"
OTHER = PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace(SOURCE, "/other")


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, limits=TRUSTED)


def transfer(event_id: str, points: int, **data: Any) -> dict[str, Any]:
    """From the usual customer to another, unless `data` name others."""
    giver = {} if "account_id" in data else {"customer_id": "c1"}
    getter = {} if "to_account_id" in data else {"to_customer_id": "c2"}
    return command("transfer", event_id, **{**giver, **getter, "points": points, **data})


def balance(shell: Shell, customer_id: str) -> Any:
    return shell.value("SELECT balance FROM accounts WHERE customer_id = :c AND program_id = 'test'", c=customer_id)


def lots(shell: Shell, customer_id: str) -> list[tuple[Any, ...]]:
    rows = shell.rows(
        "SELECT l.origin_id, l.points_granted, l.points_remaining, l.expires_at::date::text FROM dated_lots l"
        " JOIN accounts USING (account_id) WHERE customer_id = :c ORDER BY lot_number",
        c=customer_id,
    )
    return [tuple(row) for row in rows]


def account_id(shell: Shell, customer_id: str) -> str:
    return str(shell.value("SELECT account_id FROM accounts WHERE customer_id = :c", c=customer_id))


class TestWhatMoves:
    def test_lots_keep_their_dates_and_what_earned_them(self, shell: Shell) -> None:
        shell.take(
            order("o1", "100.00"),
            command("credit", "k1", points=50, expires_at=LATER),
            transfer("k2", 70, reason="gift"),
        )
        assert lots(shell, "c1") == [("o1", 100, 80, None), ("k1", 50, 0, "2099-01-01")]
        assert lots(shell, "c2") == [("k1", 50, 50, "2099-01-01"), ("o1", 20, 20, None)]
        assert (balance(shell, "c1"), balance(shell, "c2"), shell.differences()) == (80, 70, [])

    def test_both_accounts_are_told_and_the_answer_is_about_the_one_that_gives(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), transfer("k1", 70))
        told = answer(shell, "k1")
        assert (told["account_id"], told["to_account_id"]) == (account_id(shell, "c1"), account_id(shell, "c2"))
        assert [(each["customer_id"], each["balance"]) for each in told["accounts"]] == [("c1", 30), ("c2", 70)]
        assert [(each["kind"], each["points"]) for each in told["entries"]] == [("transfer", -70), ("transfer", 70)]
        events = [event["data"] for event in shell.events("loyalty.balance.changed")]
        moved = [(each["customer_id"], each["points"], each["reason"]) for each in events if each["kind"] == "transfer"]
        assert moved == [("c1", -70, "command_transfer"), ("c2", 70, "command_transfer")]
        assert [each["data"]["customer_id"] for each in shell.events("loyalty.account.created")] == ["c1", "c2"]

    def test_nobody_has_earned_what_came_from_another(self, shell: Shell) -> None:
        shell.take(order("o1", "900.00"), transfer("k1", 800))
        rows = shell.rows("SELECT lifetime_points, tier_id FROM accounts ORDER BY customer_id")
        assert [tuple(row) for row in rows] == [(900, "silver"), (0, "bronze")]

    def test_a_deficit_is_paid_off_first_by_what_expires_soonest(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=50, expires_at=SOONER),
            command("credit", "k2", points=50, expires_at=LATER),
            order("o2", "60.00", customer_id="c2"),
            command("debit", "k3", customer_id="c2", points=60),
            refund("r2", "o2"),
        )
        shell.take(transfer("k4", 90))
        assert (balance(shell, "c2"), shell.differences()) == (30, [])
        assert lots(shell, "c2")[1:] == [("k2", 30, 30, "2099-01-01")]

    def test_with_allow_remainder_it_moves_what_there_is(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), transfer("k1", 120, allow_remainder=True))
        told = answer(shell, "k1")
        assert (told["points"], told["remainder"], balance(shell, "c2"), shell.differences()) == (100, 20, 100, [])

    def test_either_account_may_be_named_by_its_id(self, shell: Shell) -> None:
        shell.apply_program(OTHER)
        shell.take(order("o1", "100.00"), order("o2", "5.00", customer_id="c2"))
        one, two = account_id(shell, "c1"), account_id(shell, "c2")
        shell.take(
            transfer("k1", 10, to_account_id=two),
            transfer("k2", 10, account_id=one),
            transfer("k3", 10, account_id=one, to_account_id=two),
            transfer("k4", 10, account_id=one, to_customer_id="c3"),
        )
        assert [balance(shell, each) for each in ("c1", "c2", "c3")] == [60, 35, 10]
        assert shell.differences() == []


class TestOrdersOfMovedPoints:
    def test_a_refund_takes_back_from_the_account_of_the_order(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), transfer("k1", 70), refund("r1", "o1"))
        assert (balance(shell, "c1"), balance(shell, "c2"), shell.differences()) == (-70, 70, [])

    def test_points_that_have_come_back_are_the_orders_own_again(self, shell: Shell) -> None:
        shell.take(
            order("o1", "100.00"),
            transfer("k1", 100),
            command("credit", "k2", points=40, expires_at=SOONER),
            transfer("k3", 100, customer_id="c2", to_customer_id="c1"),
        )
        shell.take(refund("r1", "o1"))
        assert [lot[:3] for lot in lots(shell, "c1")] == [("o1", 100, 0), ("k2", 40, 40), ("o1", 100, 0)]
        assert (balance(shell, "c1"), shell.differences()) == (40, [])

    def test_pending_points_stay(self, engine: Engine) -> None:
        text = PROGRAM_TEXT + "availability: {policy: on_fulfilled}\n"
        shell = Shell(engine, limits=TRUSTED, program_text=text)
        shell.take(order("o1", "100.00"), transfer("k1", 1))
        assert (answer(shell, "k1")["code"], shell.differences()) == ("insufficient_points", [])


class TestExpiry:
    def test_what_inactivity_ends_keeps_its_instant_whatever_either_account_does(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "expiry: {policy: inactivity, days: 36500}\n")
        shell.take(
            order("o1", "100.00", time="2026-03-01T12:00:00Z"),
            order("o2", "30.00", time="2026-04-01T12:00:00Z", customer_id="c2"),
        )
        shell.take(transfer("k1", 60))
        first, second = (lots(shell, each)[0][3] for each in ("c1", "c2"))
        assert first < second
        assert lots(shell, "c2")[1] == ("o1", 60, 60, first)
        shell.take(order("o3", "30.00", time="2026-05-01T12:00:00Z", customer_id="c2"), order("o4", "1.00"))
        kept, moved, _ = lots(shell, "c2")
        assert (kept[3] > second, moved[3], shell.differences()) == (True, first, [])
        shell.take(transfer("k2", 90, customer_id="c2", to_customer_id="c1"))
        assert shell.differences() == []

    def test_moved_points_expire_when_they_would_have(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=50, expires_at=LATER), transfer("k2", 30))
        shell.expire(LATER)
        assert (balance(shell, "c1"), balance(shell, "c2")) == (0, 0)


class TestWhatCannotBeDone:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            ({"points": 101}, "insufficient_points"),
            ({"to_customer_id": "c1"}, "same_account"),
            ({"to_account_id": "none-such"}, "unknown_account"),
            ({"customer_id": "nobody"}, "unknown_account"),
            ({"points": 0}, "invalid_data"),
            ({"points": -5}, "invalid_data"),
            ({"to_customer_id": None}, "invalid_data"),
            ({"to_customer_id": "c2", "to_account_id": "a2"}, "invalid_data"),
            ({"unit": "miles"}, "wrong_unit"),
        ],
    )
    def test_it_is_rejected_and_nothing_moves(self, shell: Shell, data: dict[str, Any], code: str) -> None:
        shell.take(order("o1", "100.00"))
        shell.take(transfer("k1", **{"points": 10, **data}))
        assert (answer(shell, "k1")["code"], balance(shell, "c1"), shell.differences()) == (code, 100, [])
        assert shell.value("SELECT count(*) FROM accounts") == 1

    def test_the_side_that_is_unknown_is_named(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), transfer("k1", 1, to_account_id="x"), transfer("k2", 1, customer_id="x"))
        assert "data.to_account_id" in answer(shell, "k1")["detail"]
        assert "data.customer_id" in answer(shell, "k2")["detail"]

    def test_an_account_of_another_program_gets_none(self, shell: Shell) -> None:
        shell.apply_program(OTHER)
        shell.take(order("o1", "100.00"), order("o2", "5.00", customer_id="c2", source="/other"))
        shell.take(transfer("k1", 10, to_account_id=account_id(shell, "c2")))
        assert (answer(shell, "k1")["code"], balance(shell, "c1")) == ("other_program", 100)

    def test_who_is_enrolled_by_command_alone_gets_no_account(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED)
        shell.take(order("o1", "100.00"))
        shell.apply_program(PROGRAM_TEXT + "enrol: command\n", "2026-06-01T00:00:00Z")
        shell.take(transfer("k1", 10))
        assert (answer(shell, "k1")["code"], balance(shell, "c1")) == ("unknown_account", 100)

    @pytest.mark.parametrize(
        ("customer_id", "status", "code"),
        [
            ("c1", "frozen", "account_frozen"),
            ("c1", "closed", "account_closed"),
            ("c2", "frozen", None),
            ("c2", "closed", "account_closed"),
        ],
    )
    def test_frozen_and_closed_accounts_take_part_in_less(
        self, shell: Shell, customer_id: str, status: str, code: str | None
    ) -> None:
        shell.take(order("o1", "100.00"), order("o2", "5.00", customer_id="c2"))
        shell.execute("UPDATE accounts SET status = :s WHERE customer_id = :c", s=status, c=customer_id)
        shell.take(transfer("k1", 10))
        assert (answer(shell, "k1").get("code"), balance(shell, "c2")) == (code, 5 if code else 15)

    def test_nobody_gets_more_than_is_counted(self, shell: Shell) -> None:
        shell.take(order("o1", "1.00"), command("credit", "k1", customer_id="c2", points=10**15))
        shell.take(transfer("k2", 1))
        assert (answer(shell, "k2")["code"], balance(shell, "c1")) == ("too_many_points", 1)


def test_opposite_transfers_of_two_accounts_on_two_shards_all_get_done(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED, shards=2)
    one = "c1"
    two = next(each for each in ("c2", "c3", "c4", "c5") if message_shard(each, 2) != message_shard(one, 2))
    shell.take(*(command("credit", f"give-{each}", customer_id=each, points=600) for each in (one, two)))
    shell.receive(*(transfer(f"there-{n}", 1, customer_id=one, to_customer_id=two) for n in range(500)))
    shell.receive(*(transfer(f"back-{n}", 1, customer_id=two, to_customer_id=one) for n in range(500)))
    errors: list[Exception] = []

    def work(shard: int) -> None:
        other = Shell(engine, limits=TRUSTED, shards=2, program_text=None)
        try:
            while shell.value("SELECT count(*) FROM inbox WHERE shard = :s AND state = 'received'", s=shard):
                try:
                    other.poster.post_batch(shard, 20)
                except psycopg.errors.LockNotAvailable:
                    continue  # the other one takes long: this shard is left alone for a while, as ever
        except Exception as error:  # noqa: BLE001  # told below
            errors.append(error)

    threads = [Thread(target=work, args=(shard,)) for shard in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (balance(shell, one), balance(shell, two), shell.differences()) == (600, 600, [])
    assert shell.value("SELECT count(*) FROM commands WHERE code IS NULL AND type LIKE '%transfer'") == 1_000
    assert shell.value("SELECT count(*) FROM outbox WHERE type = 'loyalty.command.accepted'") == 1_002
