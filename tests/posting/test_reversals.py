"""Reversals: a command is undone, all of it or a part, once and for ever; its points go back where they were."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.answers import TRUSTED, answer
from tests.factories import PROGRAM_TEXT, command, order
from tests.shell import Shell

LATER, SOONER = "2099-01-01T00:00:00Z", "2098-01-01T00:00:00Z"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, limits=TRUSTED)


def reverse(event_id: str, command_id: str, **data: Any) -> dict[str, Any]:
    asked = command("reverse", event_id, command_id=command_id, **data)
    del asked["data"]["customer_id"]
    return asked


def balance(shell: Shell, customer_id: str = "c1") -> Any:
    return shell.value("SELECT balance FROM accounts WHERE customer_id = :c", c=customer_id)


def left(shell: Shell, customer_id: str = "c1") -> list[int]:
    """What is left in each lot."""
    rows = shell.rows(
        "SELECT points_remaining FROM lots JOIN accounts USING (account_id) WHERE customer_id = :c ORDER BY lot_number",
        c=customer_id,
    )
    return [row[0] for row in rows]


class TestWhatWasTaken:
    @pytest.mark.parametrize("in_one_batch", [False, True])
    def test_it_comes_back_to_the_lots_that_it_came_from(self, shell: Shell, *, in_one_batch: bool) -> None:
        messages = [
            command("credit", "k1", points=50, expires_at=SOONER),
            command("credit", "k2", points=50, expires_at=LATER),
            command("debit", "k3", points=70),
            reverse("k4", "k3"),
        ]
        for batch in [messages] if in_one_batch else [[each] for each in messages]:
            shell.take(*batch)
        told = answer(shell, "k4")
        [entry] = told["entries"]
        assert (told["type"], told["points"], entry["kind"], entry["points"]) == ("accepted", 70, "reversal", 70)
        assert (left(shell), balance(shell), shell.differences()) == ([50, 50], 100, [])
        assert shell.value("SELECT corrects_sequence FROM entries WHERE kind = 'reversal'") == 3

    def test_what_was_redeemed_comes_back_too_and_what_is_reserved_is_voided_instead(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=50),
            command("redeem", "k2", points=20),
            command("authorize", "k3", points=10),
            reverse("k4", "k2"),
            reverse("k5", "k3"),
        )
        told = answer(shell, "k5")
        assert (told["code"], told["advice"]) == ("not_reversible", "void an authorization instead")
        assert (balance(shell), shell.differences()) == (40, [])

    def test_of_a_part_what_was_taken_last_comes_first(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=50, expires_at=SOONER),
            command("credit", "k2", points=50, expires_at=LATER),
            command("debit", "k3", points=70),
            reverse("k4", "k3", points=30),
        )
        assert (left(shell), balance(shell), shell.differences()) == ([10, 50], 60, [])

    def test_what_has_ended_meanwhile_expires_at_once(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=50, expires_at=LATER), command("debit", "k2", points=20))
        end(shell)
        shell.take(reverse("k3", "k2"))
        kinds = [row[0] for row in shell.rows("SELECT kind FROM entries ORDER BY sequence")]
        assert kinds[2:] == ["reversal", "expiry"]
        assert (answer(shell, "k3")["points"], balance(shell)) == (20, 0)

    def test_unless_the_program_gives_it_a_grace(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "returned_points_grace_days: 30\n")
        soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        shell.take(
            command("credit", "k1", points=50, expires_at=soon), command("debit", "k2", points=20), reverse("k3", "k2")
        )
        origins = [row[0] for row in shell.rows("SELECT origin_id FROM lots ORDER BY lot_number")]
        assert (left(shell), origins, shell.differences()) == ([30, 20], ["k1", "k1"], [])

    def test_what_an_adjustment_made_the_account_owe_is_forgiven(self, shell: Shell) -> None:
        shell.take(
            order("o1", "100.00"),
            command("adjust", "k1", points=-130, reason="x", allow_negative_balance=True),
            reverse("k2", "k1"),
        )
        assert (left(shell), balance(shell), shell.differences()) == ([100], 100, [])

    def test_and_is_a_lot_of_its_own_where_that_has_been_paid_off(self, shell: Shell) -> None:
        shell.take(
            order("o1", "100.00"),
            command("adjust", "k1", points=-130, reason="x", allow_negative_balance=True),
            command("credit", "k2", points=40),
            reverse("k3", "k1"),
        )
        assert (left(shell), balance(shell), shell.differences()) == ([100, 10, 30], 140, [])


class TestWhatWasGiven:
    def test_it_is_taken_from_its_own_lot_first(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=50, expires_at=SOONER),
            command("credit", "k2", points=50, expires_at=LATER),
            reverse("k3", "k2", points=20),
        )
        assert (left(shell), balance(shell), shell.differences()) == ([50, 30], 80, [])

    def test_then_from_what_expires_soonest(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=50),
            command("debit", "k2", points=30),
            order("o1", "100.00"),
            command("credit", "k3", points=60, expires_at=SOONER),
            reverse("k4", "k1"),
        )
        assert (left(shell), balance(shell), shell.differences()) == ([0, 100, 30], 130, [])

    def test_points_that_are_not_available_yet_are_taken_too(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=50, available_at=LATER), reverse("k2", "k1", points=20))
        [account], [entry] = answer(shell, "k2")["accounts"], answer(shell, "k2")["entries"]
        assert (account["balance"], account["pending"], entry["pending_change"]) == (0, 30, -20)
        shell.take(reverse("k3", "k1"))
        assert (answer(shell, "k3")["code"], shell.differences()) == ("already_reversed", [])

    def test_what_is_spent_cannot_be_taken(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=50), command("debit", "k2", points=30), reverse("k3", "k1"))
        told = answer(shell, "k3")
        assert (told["code"], balance(shell)) == ("insufficient_points", 20)
        assert "30 are spent" in told["detail"]

    def test_unless_the_account_may_owe_it(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=50),
            command("debit", "k2", points=30),
            reverse("k3", "k1", allow_negative_balance=True),
        )
        assert (left(shell), balance(shell), shell.differences()) == ([0], -30, [])

    def test_expired_points_are_not_taken_whether_or_not_the_run_has_come(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=50, expires_at=LATER))
        end(shell)
        shell.take(reverse("k2", "k1"))
        assert (answer(shell, "k2")["code"], balance(shell)) == ("insufficient_points", 50)


class TestTransfers:
    def test_both_accounts_are_as_before(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=50, expires_at=SOONER),
            order("o1", "100.00"),
            command("transfer", "k2", customer_id="c1", to_customer_id="c2", points=70),
        )
        shell.take(reverse("k3", "k2"))
        assert (left(shell), left(shell, "c2"), balance(shell), balance(shell, "c2")) == ([50, 100], [0, 0], 150, 0)
        assert [each["points"] for each in answer(shell, "k3")["entries"]] == [70, -70]
        assert shell.differences() == []

    def test_a_part_comes_back_from_the_moved_lots(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), command("transfer", "k1", customer_id="c1", to_customer_id="c2", points=70))
        shell.take(
            command("credit", "k2", customer_id="c2", points=5, expires_at=SOONER), reverse("k3", "k1", points=20)
        )
        assert (left(shell), left(shell, "c2"), shell.differences()) == ([50], [50, 5], [])

    def test_where_the_points_are_spent_neither_account_changes(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), command("transfer", "k1", customer_id="c1", to_customer_id="c2", points=70))
        shell.take(command("debit", "k2", customer_id="c2", points=1))
        shell.take(reverse("k3", "k1"))
        assert (answer(shell, "k3")["code"], balance(shell), balance(shell, "c2")) == ("insufficient_points", 30, 69)
        shell.take(reverse("k4", "k1", allow_negative_balance=True))
        assert (balance(shell), balance(shell, "c2"), shell.differences()) == (100, -1, [])


class TestOnce:
    @pytest.mark.parametrize("points", [{}, {"points": 1}])
    def test_a_command_is_reversed_once(self, shell: Shell, points: dict[str, int]) -> None:
        shell.take(command("credit", "k1", points=50), reverse("k2", "k1", points=1), reverse("k3", "k1", **points))
        shell.take(reverse("k4", "k1", **points))
        assert [answer(shell, each)["code"] for each in ("k3", "k4")] == ["already_reversed"] * 2
        assert (balance(shell), shell.differences()) == (49, [])

    def test_the_same_reversal_again_gets_the_same_answer_again(self, shell: Shell) -> None:
        asked = reverse("k2", "k1", time="2026-03-01T12:00:00Z")
        shell.take(command("credit", "k1", points=50), asked)
        assert shell.take(asked) == {}
        assert (balance(shell), len(shell.events("loyalty.command.accepted"))) == (0, 3)

    def test_a_reversal_is_not_reversed(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=50), reverse("k2", "k1"), reverse("k3", "k2"))
        assert (answer(shell, "k3")["code"], balance(shell)) == ("not_reversible", 0)


class TestWhichCommand:
    def test_a_command_of_another_source_is_named_with_it(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=50))
        mine = reverse("k2", "k1", program_id="test")
        theirs = reverse("k3", "k1", program_id="test", command_source="/shops/test")
        shell.take({**mine, "source": "/desk"}, {**theirs, "source": "/desk"})
        assert answer(shell, "k2")["code"] == "unknown_command"
        assert (answer(shell, "k3")["type"], balance(shell), shell.differences()) == ("accepted", 0, [])

    @pytest.mark.parametrize(
        ("command_id", "data", "code"),
        [
            ("k9", {}, "unknown_command"),
            ("rejected", {}, "unknown_command"),
            ("k1", {"program_id": "other"}, "unknown_command"),
            ("k1", {"points": 51}, "exceeds_command"),
            ("k1", {"points": 0}, "invalid_data"),
            ("k1", {"unit": "miles"}, "wrong_unit"),
        ],
    )
    def test_what_cannot_be_done_is_rejected(
        self, shell: Shell, command_id: str, data: dict[str, Any], code: str
    ) -> None:
        shell.take(command("credit", "k1", points=50), command("debit", "rejected", points=51))
        shell.take(reverse("k3", command_id, **data))
        assert (answer(shell, "k3")["code"], balance(shell), shell.differences()) == (code, 50, [])

    @pytest.mark.parametrize("status", ["frozen", "closed"])
    def test_frozen_and_closed_accounts_are_corrected(self, shell: Shell, status: str) -> None:
        shell.take(order("o1", "100.00"), command("debit", "k1", points=30))
        shell.execute("UPDATE accounts SET status = :status", status=status)
        shell.take(reverse("k2", "k1"))
        assert (answer(shell, "k2")["type"], balance(shell)) == ("accepted", 100)

    def test_one_whose_message_is_long_purged_is_known_too(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=50))
        shell.execute("DELETE FROM inbox")
        shell.take(reverse("k2", "k1"))
        assert (answer(shell, "k2")["type"], balance(shell)) == ("accepted", 0)

    def test_it_is_posted_behind_its_command_whoever_else_is_busy(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, shards=16)
        shell.receive(command("credit", "k1", points=50))
        shell.receive(reverse("k2", "k1"))
        shell.receive(command("credit", "k3", points=50), reverse("k4", "k3"))
        assert len({row[0] for row in shell.rows("SELECT shard FROM inbox")}) == 1

    @pytest.mark.parametrize(("is_first", "code"), [(False, None), (True, "unknown_command")])
    def test_it_is_done_in_the_order_of_arrival_whatever_names_the_account(
        self, engine: Engine, *, is_first: bool, code: str | None
    ) -> None:
        shell = Shell(engine, limits=TRUSTED, shards=16)
        numbers = range(12)
        create = [
            command("account.create", f"k{number}", account_id=f"a{number}", customer_id=f"c{number}")
            for number in numbers
        ]
        shell.take(*create)
        given = [command("credit", f"g{number}", account_id=f"a{number}", points=5) for number in numbers]
        undone = [reverse(f"v{number}", f"g{number}") for number in numbers]
        shell.take(*undone, *given) if is_first else shell.take(*given, *undone)
        assert {answer(shell, f"v{number}").get("code") for number in numbers} == {code}
        assert shell.differences() == []


def end(shell: Shell) -> None:
    """Let all lots have ended, whether or not the expiry run has come."""
    shell.execute("UPDATE lots SET expires_at = now() - interval '1 minute', available_at = now() - interval '1 day'")


def dated(shell: Shell) -> dict[tuple[str, bool], int]:
    """What all customers have together, by when it expires and whether it is pending."""
    rows = shell.rows(
        "SELECT expires_at::date::text, is_pending, sum(points_remaining)::integer FROM dated_lots "
        "WHERE points_remaining > 0 GROUP BY 1, 2"
    )
    return {(end, is_pending): points for end, is_pending, points in rows}


class TestAPartOfWhatMoved:
    @pytest.mark.parametrize("points", [1, 50, 70, 100, 130])
    @pytest.mark.parametrize(
        ("name", "data"),
        [
            pytest.param("transfer", {"points": 140}, id="a transfer"),
            pytest.param("account.close", {"points_left": "transfer"}, id="an account that is closed"),
        ],
    )
    def test_nothing_lasts_longer_or_waits_less_for_having_moved_there_and_back(
        self, shell: Shell, name: str, data: dict[str, Any], points: int
    ) -> None:
        later = (datetime.now(UTC) + timedelta(days=5)).isoformat()
        shell.take(
            command("credit", "k1", points=50, available_at=later, expires_at=SOONER),
            command("credit", "k2", points=70, expires_at=SOONER),
            command("credit", "k3", points=70, expires_at=LATER),
        )
        before = dated(shell)
        shell.take(command(name, "k4", to_customer_id="c2", **data))
        assert dated(shell) == before
        shell.take(reverse("k5", "k4", points=points))
        assert (answer(shell, "k5")["type"], dated(shell), shell.differences()) == ("accepted", before, [])
