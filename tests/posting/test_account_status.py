"""Accounts that are frozen, unfrozen and closed by command, and what is kept with them."""

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, claim, command, fulfilment, order, refund
from tests.posting.test_posted_commands import TRUSTED, answer
from tests.shell import Shell

LATER = "2099-01-01T00:00:00Z"
TO_ANOTHER = {"points_left": "transfer", "to_customer_id": "c2"}


@pytest.fixture
def shell(engine: Engine) -> Shell:
    shell = Shell(engine, limits=TRUSTED)
    shell.take(command("account.create", "k0", account_id="a1", customer_id="c1"))
    return shell


def status(shell: Shell) -> str:
    return str(shell.value("SELECT status FROM accounts"))


def told(shell: Shell) -> list[tuple[str, dict[str, Any]]]:
    """The events about accounts that are no changes of balances, after the first."""
    found = [event for event in shell.events() if event["type"].startswith("loyalty.account.")]
    return [(event["type"].removeprefix("loyalty.account."), event["data"]) for event in found[1:]]


class TestFreezing:
    def test_a_frozen_account_earns_and_spends_nothing_until_it_is_unfrozen(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), command("account.freeze", "k1", reason="stolen card"))
        shell.take(order("o2", "10.00"), command("debit", "k2", points=1), refund("r1", net="20.00"))
        assert (answer(shell, "k2")["code"], shell.balance(), status(shell)) == ("account_frozen", 90, "frozen")
        shell.take(command("account.unfreeze", "k3"))
        shell.take(command("debit", "k4", points=1))
        assert (answer(shell, "k4")["type"], shell.balance(), status(shell)) == ("accepted", 89, "active")
        assert shell.differences() == []

    def test_each_change_is_told_with_its_command_and_why(self, shell: Shell) -> None:
        shell.take(command("account.freeze", "k1", reason="stolen card"))
        shell.take(command("account.unfreeze", "k2"))
        (frozen, first), (unfrozen, second) = told(shell)
        assert (frozen, first["status"], first["reason"]) == ("frozen", "frozen", "stolen card")
        assert (first["command_id"], first["own_account_id"]) == ("k1", "a1")
        assert (unfrozen, second["status"], "reason" in second) == ("updated", "active", False)
        [account] = answer(shell, "k1")["accounts"]
        assert account["status"] == "frozen"

    def test_a_frozen_account_may_be_frozen_again_which_changes_nothing(self, shell: Shell) -> None:
        for number in (1, 2):
            shell.take(command("account.freeze", f"k{number}"))
            assert answer(shell, f"k{number}")["type"] == "accepted"
        assert ([kind for kind, _ in told(shell)], shell.differences()) == (["frozen"], [])

    def test_what_stands_before_it_in_a_batch_is_still_done_and_what_stands_behind_is_not(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=10),
            command("debit", "k2", points=1),
            command("account.freeze", "k3"),
            command("debit", "k4", points=1),
        )
        assert (answer(shell, "k2")["type"], answer(shell, "k4")["code"]) == ("accepted", "account_frozen")


class TestClosing:
    def test_points_stand_in_the_way(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=10), command("account.close", "k2"))
        assert (answer(shell, "k2")["code"], status(shell)) == ("points_left", "active")
        shell.take(command("debit", "k3", points=10), command("account.close", "k4"))
        assert (answer(shell, "k4")["type"], status(shell)) == ("accepted", "closed")
        assert ([kind for kind, _ in told(shell)], shell.differences()) == (["closed"], [])

    def test_unless_they_are_forfeited_those_that_are_still_to_come_too(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=10, expires_at=LATER),
            command("credit", "k2", points=5),
            command("credit", "k3", points=7, available_at=LATER),
        )
        shell.take(command("account.close", "k4", points_left="forfeit", reason="asked to leave"))
        closed = answer(shell, "k4")
        [entry], [account] = closed["entries"], closed["accounts"]
        assert (closed["points"], entry["kind"], entry["points"], entry["pending_change"]) == (22, "debit", -15, -7)
        assert (account["balance"], account["pending"], account["status"]) == (0, 0, "closed")
        changed = shell.events("loyalty.balance.changed")[-1]["data"]
        assert (changed["reason"], changed["balance"]) == ("account_closed", 0)
        assert (told(shell)[-1][1]["reason"], shell.differences()) == ("asked to leave", [])
        assert shell.repairs().repairs == []

    def test_or_they_go_to_another_account_with_their_dates_and_what_earned_them(self, shell: Shell) -> None:
        shell.take(
            order("o1", "100.00"),
            command("credit", "k1", points=10, expires_at=LATER),
            command("credit", "k2", points=7, available_at=LATER),
            command("account.close", "k3", points_left="transfer", to_customer_id="c2"),
        )
        told_to = answer(shell, "k3")
        [closed, getting] = told_to["accounts"]
        assert (told_to["points"], told_to["to_account_id"]) == (117, getting["account_id"])
        assert (closed["balance"], closed["pending"], closed["status"]) == (0, 0, "closed")
        assert (getting["balance"], getting["pending"], getting["status"]) == (110, 7, "active")
        lots = "SELECT origin_id, points_remaining, expires_at, available_at, is_pending FROM lots JOIN accounts"
        lots += " USING (account_id) WHERE customer_id = :c ORDER BY origin_id"
        (k1, k2, o1), was = shell.rows(lots, c="c2"), {row[0]: row for row in shell.rows(lots, c="c1")}
        assert [(row.origin_id, row.points_remaining) for row in (k1, k2, o1)] == [("k1", 10), ("k2", 7), ("o1", 100)]
        assert [row[2:] for row in (k1, k2, o1)] == [was[each][2:] for each in ("k1", "k2", "o1")]
        assert (shell.differences(), shell.repairs().repairs) == ([], [])

    @pytest.mark.parametrize(
        ("before", "to", "code"),
        [
            ((), {"to_account_id": "a1"}, "same_account"),
            ((), {"to_account_id": "nobody"}, "unknown_account"),
            ([command("account.freeze", "f1")], {"to_customer_id": "c2"}, "account_frozen"),
            ([command("account.close", "f1", customer_id="c2")], {"to_customer_id": "c2"}, "account_closed"),
        ],
    )
    def test_but_not_to_any_nor_from_a_frozen_one(
        self, shell: Shell, before: list[dict[str, Any]], to: dict[str, str], code: str
    ) -> None:
        shell.take(order("o1", "100.00"), command("account.create", "k1", account_id="a2", customer_id="c2"), *before)
        shell.take(command("account.close", "k2", customer_id="c1", points_left="transfer", **to))
        assert (answer(shell, "k2")["code"], shell.differences()) == (code, [])

    def test_nor_past_what_the_account_owes(self, shell: Shell) -> None:
        shell.take(
            command("credit", "k1", points=1),
            command("adjust", "k2", points=-100, reason="till error", allow_negative_balance=True),
            command("credit", "k3", points=100, available_at=LATER),
            command("account.close", "k4", points_left="transfer", to_customer_id="c2"),
        )
        assert answer(shell, "k4")["code"] == "insufficient_points"
        shell.take(command("account.close", "k5", points_left="forfeit"))
        assert (answer(shell, "k5")["type"], shell.differences()) == ("accepted", [])

    @pytest.mark.parametrize(
        ("left", "balances"), [({"points_left": "forfeit"}, [(10, 7)]), (TO_ANOTHER, [(10, 7), (0, 0)])]
    )
    def test_undone_what_was_pending_is_pending_again(
        self, shell: Shell, left: dict[str, str], balances: list[tuple[int, int]]
    ) -> None:
        shell.take(
            command("credit", "k1", points=10),
            command("credit", "k2", points=7, available_at=LATER),
            command("account.close", "k3", **left),
            command("reverse", "k4", command_id="k3"),
        )
        rows = shell.rows("SELECT balance, pending FROM accounts ORDER BY customer_id")
        assert ([tuple(row) for row in rows], shell.differences()) == (balances, [])

    def test_points_that_have_expired_are_none_and_are_left_to_the_run(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=10, expires_at=LATER))
        shell.execute(
            "UPDATE lots SET expires_at = now() - interval '1 minute', available_at = now() - interval '1 day'"
        )
        shell.take(command("account.close", "k2"))
        assert (answer(shell, "k2")["type"], shell.balance()) == ("accepted", 10)
        shell.expire(LATER)
        assert shell.balance() == 0

    def test_points_that_wait_for_their_orders_stand_in_the_way_in_any_case(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "availability: {policy: on_fulfilled}\n")
        shell.take(order("o1", "100.00"), command("account.close", "k1", points_left="forfeit"))
        assert (answer(shell, "k1")["code"], "fulfilment" in answer(shell, "k1")["detail"]) == ("points_left", True)
        shell.take(fulfilment("o1"), command("account.close", "k2", points_left="forfeit"))
        assert (answer(shell, "k2")["type"], shell.balance(), shell.differences()) == ("accepted", 0, [])

    def test_so_do_authorizations(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=10), command("authorize", "k2", authorization_id="h1", points=10))
        shell.take(command("account.close", "k3", points_left="forfeit"))
        assert (answer(shell, "k3")["code"], shell.differences()) == ("authorizations_open", [])
        shell.take(command("void", "k4", authorization_id="h1"), command("account.close", "k5", points_left="forfeit"))
        assert (answer(shell, "k5")["type"], shell.balance(), shell.differences()) == ("accepted", 0, [])

    def test_it_is_for_good_and_once_more_changes_nothing(self, shell: Shell) -> None:
        shell.take(command("account.close", "k1"), command("account.close", "k2"))
        shell.take(
            command("account.unfreeze", "k3"), command("account.freeze", "k4"), command("credit", "k5", points=1)
        )
        assert answer(shell, "k2")["type"] == "accepted"
        assert [answer(shell, f"k{number}")["code"] for number in (3, 4, 5)] == ["account_closed"] * 3
        assert ([kind for kind, _ in told(shell)], shell.differences()) == (["closed"], [])


class TestWhatComesToAClosedAccount:
    def test_an_order_is_recorded_as_a_guests_and_its_refund_finds_it(self, shell: Shell) -> None:
        shell.take(command("account.close", "k1"))
        assert shell.take(order("o1", "100.00"), refund("r1")) == {"posted": 2}
        assert shell.take({**order("o1", "100.00"), "id": "again"}) == {"replayed": 1}
        (row,) = shell.rows("SELECT account_id, customer_id, points_entitled FROM orders")
        assert (tuple(row), shell.balance(), shell.differences()) == ((None, "c1", 0), 0, [])

    def test_a_refund_of_an_earlier_order_takes_points_back_all_the_same(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), command("account.close", "k1", points_left="forfeit"))
        shell.take(refund("r1", net="30.00"))
        assert (shell.balance(), shell.differences()) == (-30, [])

    def test_a_claim_for_its_customer_is_parked(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00", customer_id=None), command("account.close", "k1"))
        assert shell.take(claim("o1", "c1")) == {"parked": 1}
        assert (shell.outcome("claimed-o1-c1"), shell.differences()) == (("dead", "account_closed"), [])


class TestUpdating:
    def test_what_is_given_takes_the_place_of_all_that_was_there(self, shell: Shell) -> None:
        shell.take(command("account.update", "k1", metadata={"a": 1, "b": True}, tags=["x"]))
        shell.take(command("account.update", "k2", metadata={"c": "2"}))
        shell.take(command("account.update", "k3", tags=[]))
        assert [(data["metadata"], data["tags"]) for _, data in told(shell)] == [
            ({"a": 1, "b": True}, ["x"]),
            ({"c": "2"}, ["x"]),
            ({"c": "2"}, []),
        ]
        (row,) = shell.rows("SELECT metadata, tags FROM account_details")
        assert (tuple(row), shell.differences()) == (({"c": "2"}, []), [])

    def test_the_same_again_tells_nothing(self, shell: Shell) -> None:
        for number in (1, 2):
            shell.take(command("account.update", f"k{number}", tags=["y", "x", "x"]))
        assert (answer(shell, "k2")["type"], len(told(shell))) == ("accepted", 1)

    def test_an_account_that_an_order_opened_can_have_them_too(self, shell: Shell) -> None:
        shell.take(order("o1", customer_id="c2"), command("account.update", "k1", customer_id="c2", tags=["x"]))
        assert (answer(shell, "k1")["type"], shell.differences()) == ("accepted", [])

    def test_it_must_say_something(self, shell: Shell) -> None:
        shell.take(command("account.update", "k1"))
        assert answer(shell, "k1")["code"] == "invalid_data"
