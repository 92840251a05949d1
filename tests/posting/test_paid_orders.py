"""Orders that name what took the points that paid them: these come back by themselves with what is refunded."""

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.answers import TRUSTED, answer
from tests.factories import PROGRAM_TEXT, amendment, cancellation, claim, command, line, order, refund, reversion
from tests.shell import Shell

SOONER = "2098-01-01T00:00:00Z"
#: Nothing is earned, so that all that happens to accounts is what this is about.
NOTHING_EARNED = PROGRAM_TEXT.replace('points: {bronze: "1", silver: "1.5", gold: "2"}', 'points: "0"')
PAID = {"points_paid": "40.00", "points_command_id": "p1"}
AUTHORIZED = {"points_paid": "40.00", "points_authorization_id": "a1"}


@pytest.fixture
def shell(engine: Engine) -> Shell:
    shell = Shell(engine, limits=TRUSTED, program_text=NOTHING_EARNED)
    shell.take(command("credit", "g1", points=30, expires_at=SOONER), command("credit", "g2", points=50))
    return shell


def balance(shell: Shell, customer_id: str = "c1") -> tuple[int, int]:
    """What can be spent, and what is reserved."""
    [row] = shell.rows("SELECT balance, reserved FROM accounts WHERE customer_id = :c", c=customer_id)
    return row[0], row[1]


def left(shell: Shell) -> list[int]:
    """What is left in each lot."""
    return [row[0] for row in shell.rows("SELECT points_remaining FROM lots ORDER BY account_id, lot_number")]


def repaid(shell: Shell) -> list[int]:
    """What came back, and was taken again, entry by entry."""
    rows = shell.rows("SELECT points FROM entries WHERE kind = 'repayment' ORDER BY account_id, sequence")
    return [row[0] for row in rows]


def redeem(name: str = "p1", points: int = 40, **data: Any) -> dict[str, Any]:
    return command("redeem", name, points=points, **data)


def authorize(points: int = 40) -> dict[str, Any]:
    return command("authorize", "k1", points=points, authorization_id="a1")


def held(verb: str, name: str, **data: Any) -> dict[str, Any]:
    asked = command(verb, name, authorization_id="a1", **data)
    del asked["data"]["customer_id"]
    return asked


def reverse(name: str, command_id: str, **data: Any) -> dict[str, Any]:
    asked = command("reverse", name, command_id=command_id, **data)
    del asked["data"]["customer_id"]
    return asked


class TestARefund:
    @pytest.mark.parametrize("in_one_batch", [False, True])
    def test_gives_back_its_share_of_the_points_to_the_lots_that_they_came_from(
        self, shell: Shell, *, in_one_batch: bool
    ) -> None:
        messages = [redeem(), order("o1", "100.00", **PAID), refund("r1", paid="18.00")]
        for batch in [messages] if in_one_batch else [[each] for each in messages]:
            shell.take(*batch)
        # 18.00 of the 60.00 that were paid with money: three tenths of everything, and so 12 of 40 points.
        assert (repaid(shell), left(shell), balance(shell), shell.differences()) == ([12], [2, 50], (52, 0), [])
        [(why, order_id, refund_id, corrected)] = shell.rows(
            "SELECT why->'repayment', order_id, refund_id, corrects_sequence FROM entries WHERE kind = 'repayment'"
        )
        assert (order_id, refund_id, corrected) == ("o1", "r1", 3)
        assert (why["share"], why["points_taken"], why["points_due_after"]) == ("3/10", 40, 12)

    def test_is_told_as_a_change_of_the_payers_balance(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", **PAID), refund("r1"))
        told = [each["data"] for each in shell.events() if each["type"] == "loyalty.balance.changed"][-1]
        assert (told["kind"], told["reason"], told["points"]) == ("repayment", "order_repaid", 40)
        assert (told["order_id"], told["refund_id"], told["lifetime_points"]) == ("o1", "r1", 0)

    def test_of_many_parts_ends_where_a_whole_one_does(self, shell: Shell) -> None:
        lines = [line(str(number), "33.33") for number in range(1, 4)]
        shell.take(redeem(), order("o1", lines=lines, **PAID))
        for number in range(1, 4):
            shell.take(refund(f"r{number}", lines=[{"line_id": str(number), "quantity": 1}]))
        assert (repaid(shell), left(shell), shell.differences()) == ([13, 13, 14], [30, 50], [])

    def test_undone_takes_them_again(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", **PAID), refund("r1"))
        shell.take(reversion("r1"))
        assert (repaid(shell), left(shell), balance(shell), shell.differences()) == ([40, -40], [0, 40], (40, 0), [])
        shell.take(refund("r2"))
        assert (repaid(shell), left(shell), shell.differences()) == ([40, -40, 40], [30, 50], [])

    def test_undone_after_they_were_spent_makes_the_account_owe_them(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", **PAID), refund("r1"), command("debit", "d1", points=70))
        shell.take(reversion("r1"))
        assert (repaid(shell), balance(shell), shell.differences()) == ([40, -40], (-30, 0), [])

    def test_undone_excuses_what_has_expired_meanwhile(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", **PAID))
        shell.execute("UPDATE lots SET expires_at = now() - interval '1 day', available_at = now() - interval '2 days'")
        shell.execute("UPDATE entries SET recorded_at = now() - interval '3 days'")
        shell.take(refund("r1"), reversion("r1"), refund("r2"))
        kinds = [row[0] for row in shell.rows("SELECT kind FROM entries WHERE sequence > 3 ORDER BY sequence")]
        assert (kinds, repaid(shell)) == (["repayment", "expiry"], [40])
        assert shell.rows("SELECT points_due, points_excused FROM order_payments") == [(40, 0)]

    def test_leaves_lifetime_points_and_the_orders_own_as_they_are(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED)
        shell.take(order("o0", "50.00"), redeem(), order("o1", "100.00", **PAID), refund("r1"))
        [(points, lifetime)] = shell.rows("SELECT balance, lifetime_points FROM accounts")
        # The order had earned 60 for its 60.00, which its refund took back.
        assert (points, lifetime, repaid(shell), shell.differences()) == (50, 50, [40], [])

    def test_that_comes_before_its_order_waits_for_it(self, shell: Shell) -> None:
        shell.take(redeem(), refund("r1", paid="18.00"))
        shell.take(order("o1", "100.00", **PAID))
        assert (repaid(shell), shell.differences()) == ([12], [])


class TestACancellation:
    def test_gives_all_points_back(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", **PAID), cancellation("o1"))
        assert (repaid(shell), left(shell), shell.differences()) == ([40], [30, 50], [])

    def test_of_a_line_gives_back_its_share(self, shell: Shell) -> None:
        lines = [line("1", "75.00"), line("2", "25.00")]
        shell.take(redeem(), order("o1", lines=lines, **PAID), cancellation("o1", lines=[{"line_id": "2"}]))
        assert (repaid(shell), left(shell), shell.differences()) == ([10], [0, 50], [])

    def test_voids_what_an_authorization_still_holds(self, shell: Shell) -> None:
        shell.take(authorize(), order("o1", "100.00", **AUTHORIZED), held("capture", "k2", points=10, is_final=False))
        shell.take(cancellation("o1"))
        [(captured, returned, state)] = shell.rows("SELECT points_captured, points_returned, state FROM authorizations")
        assert (captured, returned, state, repaid(shell)) == (10, 30, "voided", [10])
        assert (left(shell), balance(shell), shell.differences()) == ([30, 50], (80, 0), [])
        reasons = [each["data"]["reason"] for each in shell.events() if each["type"] == "loyalty.balance.changed"]
        assert reasons[-2:] == ["order_cancelled", "order_repaid"]


class TestAnAuthorization:
    def test_gives_back_nothing_until_it_is_captured_and_then_at_once(self, shell: Shell) -> None:
        shell.take(authorize(), order("o1", "100.00", **AUTHORIZED), refund("r1", paid="18.00"))
        assert (repaid(shell), balance(shell)) == ([], (40, 40))
        shell.take(held("capture", "k2"))
        assert (repaid(shell), balance(shell), shell.differences()) == ([12], (52, 0), [])
        told = answer(shell, "k2")
        assert (told["points"], told["accounts"][0]["balance"]) == (40, 52)

    def test_that_is_captured_in_parts_gives_back_no_point_twice(self, shell: Shell) -> None:
        shell.take(authorize(), order("o1", "100.00", **AUTHORIZED), held("capture", "k2", points=20, is_final=False))
        shell.take(refund("r1", paid="30.00"))
        assert (repaid(shell), left(shell)) == ([10], [10, 40])
        shell.take(held("capture", "k3"), refund("r2", paid="30.00"))
        assert (repaid(shell), left(shell), shell.differences()) == ([10, 10, 20], [30, 50], [])

    @pytest.mark.parametrize("in_one_batch", [False, True])
    def test_may_come_later_than_its_order_and_the_orders_refund(self, shell: Shell, *, in_one_batch: bool) -> None:
        messages = [order("o1", "100.00", **AUTHORIZED), refund("r1"), authorize(), held("capture", "k2")]
        for batch in [messages] if in_one_batch else [[each] for each in messages]:
            shell.take(*batch)
        assert (repaid(shell), left(shell), balance(shell), shell.differences()) == ([40], [30, 50], (80, 0), [])

    def test_of_another_customer_pays_a_guests_order(self, shell: Shell) -> None:
        shell.take(authorize(), held("capture", "k2"), order("o1", "100.00", customer_id=None, **AUTHORIZED))
        shell.take(refund("r1", paid="18.00"))
        assert (repaid(shell), balance(shell), shell.differences()) == ([12], (52, 0), [])
        shell.take(claim("o1", "c2"), refund("r2", paid="42.00"))
        assert (repaid(shell), balance(shell), shell.differences()) == ([12, 28], (80, 0), [])


class TestARedemption:
    @pytest.mark.parametrize("in_one_batch", [False, True])
    def test_may_come_later_than_its_order_and_the_orders_refund(self, shell: Shell, *, in_one_batch: bool) -> None:
        messages = [order("o1", "100.00", customer_id="c2", **PAID), refund("r1", paid="18.00"), redeem()]
        for batch in [messages] if in_one_batch else [[each] for each in messages]:
            shell.take(*batch)
        assert (repaid(shell), balance(shell), shell.differences()) == ([12], (52, 0), [])

    def test_of_another_source_is_named_with_it(self, shell: Shell) -> None:
        paid = {**PAID, "points_command_source": "/till"}
        shell.take(redeem(source="/till", program_id="test"), order("o1", "100.00", **paid), refund("r1"))
        assert (repaid(shell), shell.differences()) == ([40], [])

    def test_pays_one_order(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", **PAID), order("o2", "100.00", **PAID), refund("r1"))
        [(reason, detail)] = shell.rows("SELECT reason, detail FROM inbox WHERE state = 'dead'")
        assert reason == "payment_taken"
        assert detail == (
            "data.points_command_id names what paid order 'o1' of /shops/test already; one authorization or "
            "redemption pays one order: name its own, or leave the field out, in a new event"
        )
        assert (repaid(shell), shell.differences()) == ([40], [])

    def test_that_was_reversed_gives_back_no_more_than_the_rest(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", **PAID), reverse("v1", "p1", points=35), refund("r1", paid="18.00"))
        assert (repaid(shell), left(shell), balance(shell), shell.differences()) == ([5], [30, 50], (80, 0), [])

    def test_is_reversed_as_far_as_it_has_not_come_back(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", **PAID), refund("r1", paid="18.00"))
        shell.take(reverse("v1", "p1", points=29), reverse("v2", "p1"))
        assert (answer(shell, "v1")["code"], answer(shell, "v2")["points"]) == ("exceeds_command", 28)
        assert (left(shell), balance(shell), shell.differences()) == ([30, 50], (80, 0), [])
        shell.take(refund("r2"), reversion("r1"))
        assert (repaid(shell), balance(shell), shell.differences()) == ([12], (80, 0), [])

    def test_is_not_reversed_when_all_of_it_has_come_back(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", **PAID), refund("r1"), reverse("v1", "p1"))
        assert (answer(shell, "v1")["code"], balance(shell)) == ("already_reversed", (80, 0))

    def test_that_is_a_debit_pays_as_well_and_a_credit_does_not(self, shell: Shell) -> None:
        shell.take(command("debit", "p1", points=40), order("o1", "100.00", **PAID), refund("r1"))
        shell.take(order("o2", "100.00", points_paid="40.00", points_command_id="g1"), refund("r2", "o2"))
        assert (repaid(shell), shell.differences()) == ([40], [])

    def test_of_an_account_that_is_merged_comes_back_with_the_next_change_once_it_is_parted(self, shell: Shell) -> None:
        shell.take(command("credit", "g3", points=50, customer_id="c2"), redeem())
        shell.take(order("o1", "100.00", customer_id="c3", **PAID))
        shell.take(command("account.merge", "m1", into_customer_id="c2"))
        shell.take(refund("r1", "o1", net="50.00"))
        assert (repaid(shell), shell.differences()) == ([], [])
        shell.take(command("account.unmerge", "u1"))
        assert (repaid(shell), shell.differences()) == ([], [])
        shell.take(refund("r2", "o1", net="25.00"))
        assert (repaid(shell), balance(shell), shell.differences()) == ([30], (70, 0), [])

    def test_that_comes_back_with_its_order_stays_used_of_a_limit_unless_a_command_gives_it_back(
        self, engine: Engine
    ) -> None:
        limits = "limits: {redeem: {per_day: 60}}\n"
        shell = Shell(engine, limits=TRUSTED, program_text=NOTHING_EARNED + limits)
        shell.take(command("credit", "g1", points=300), authorize(), order("o1", "100.00", **AUTHORIZED))
        shell.take(redeem("p1", 10), order("o2", "100.00", points_paid="40.00", points_command_id="p1"))
        shell.take(cancellation("o1"), refund("r2", "o2"))
        assert (balance(shell), repaid(shell)) == ((300, 0), [10])
        shell.take(redeem("p2", 11), redeem("p3", 10))
        assert (answer(shell, "p2")["code"], answer(shell, "p3")["type"]) == ("limit_reached", "accepted")
        shell.take(reverse("v1", "p3"), redeem("p4", 10))
        assert (answer(shell, "p4")["type"], shell.differences()) == ("accepted", [])

    def test_that_only_forfeited_points_of_a_closed_account_pays_nothing(self, shell: Shell) -> None:
        shell.take(command("account.close", "p1", points_left="forfeit"))
        shell.take(order("o1", "100.00", customer_id="c2", **PAID), refund("r1"))
        assert (repaid(shell), balance(shell), shell.differences()) == ([], (0, 0), [])


class TestAnEdit:
    def test_may_name_what_paid_the_order(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", points_paid="40.00"), refund("r1", paid="18.00"))
        assert repaid(shell) == []
        shell.take(amendment("o1", "100.00", **PAID))
        assert (repaid(shell), balance(shell), shell.differences()) == ([12], (52, 0), [])

    def test_may_name_something_else_and_what_had_come_back_is_taken_again(self, shell: Shell) -> None:
        shell.take(redeem(), redeem("p2", 20), order("o1", "100.00", **PAID), refund("r1", paid="18.00"))
        shell.take(amendment("o1", "100.00", points_paid="40.00", points_command_id="p2"))
        assert (sorted(repaid(shell)), balance(shell), shell.differences()) == ([-12, 6, 12], (26, 0), [])
        shell.take(order("o2", "100.00", **PAID), refund("r2", "o2"))  # which is free again
        assert (balance(shell), shell.differences()) == ((66, 0), [])

    def test_may_name_nothing(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", **PAID), refund("r1"))
        shell.take(amendment("o1", "100.00", points_paid="40.00"))
        assert (repaid(shell), balance(shell), shell.differences()) == ([40, -40], (40, 0), [])


class TestThePayersAccount:
    def test_gets_points_back_while_it_is_frozen(self, shell: Shell) -> None:
        shell.take(redeem(), order("o1", "100.00", customer_id="c2", **PAID), command("account.freeze", "f1"))
        shell.take(refund("r1"))
        assert (repaid(shell), balance(shell), shell.differences()) == ([40], (80, 0), [])

    def test_gets_points_back_with_the_grace_of_its_program(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=NOTHING_EARNED + "returned_points_grace_days: 30\n")
        soon = "2098-01-01T00:00:00Z"
        shell.take(command("credit", "g1", points=40, expires_at=soon), redeem(), order("o1", "100.00", **PAID))
        shell.execute("UPDATE lots SET expires_at = now() + interval '1 day'")
        shell.take(refund("r1"))
        assert (left(shell), repaid(shell)) == ([0, 40], [40])
        assert shell.rows("SELECT DISTINCT origin_id FROM lots") == [("g1",)]
