"""Members of an account: who they are, and where their orders come to."""

from typing import Any

import pytest
from sqlalchemy import Engine

from core.reading.accounts import load_history
from tests.factories import PROGRAM_TEXT, amendment, claim, command, order, refund, reversion
from tests.posting.test_posted_commands import TRUSTED, answer
from tests.shell import Shell

LATER = "2026-03-20T12:00:00Z"
SEVERAL = PROGRAM_TEXT + "one_account_per_customer: false\n"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, limits=TRUSTED, program_text=SEVERAL)


def member(customer_id: str, role: str = "member") -> dict[str, str]:
    return {"customer_id": customer_id, "role": role}


def create(command_id: str, account_id: str, customer_id: str, **data: Any) -> dict[str, Any]:
    return command("account.create", command_id, account_id=account_id, customer_id=customer_id, **data)


def update(command_id: str, account_id: str, **data: Any) -> dict[str, Any]:
    return command("account.update", command_id, account_id=account_id, **data)


def primaries(shell: Shell) -> dict[str, str]:
    """By customer, whose account their orders come to, and its own id."""
    rows = shell.rows(
        "SELECT m.customer_id, concat_ws(' ', a.customer_id, a.own_account_id) FROM members m"
        " JOIN accounts a USING (account_id)"
    )
    return {row[0]: row[1] for row in rows}


def balances(shell: Shell) -> dict[str, int]:
    return {row[0]: row[1] for row in shell.rows("SELECT customer_id, balance FROM accounts")}


class TestWhoTheyAre:
    def test_they_are_told_with_the_account_that_a_command_opens(self, shell: Shell) -> None:
        shell.take(create("k1", "home", "c1", members=[member("c3", "viewer"), member("c2")]))
        told = [member("c2"), member("c3", "viewer")]
        assert answer(shell, "k1")["accounts"][0]["members"] == told
        [created] = shell.events("loyalty.account.created")
        assert (created["data"]["members"], shell.differences()) == (told, [])

    def test_a_list_takes_the_place_of_the_one_before(self, shell: Shell) -> None:
        shell.take(create("k1", "home", "c1", members=[member("c2"), member("c3")]))
        shell.take(update("k2", "home", members=[member("c3", "viewer"), member("c4")]))
        [updated] = shell.events("loyalty.account.updated")
        assert updated["data"]["members"] == [member("c3", "viewer"), member("c4")]
        assert (updated["data"]["primary_of"], updated["data"]["primary_no_longer_of"]) == (["c4"], ["c2"])
        rows = shell.rows("SELECT customer_id, role FROM account_members ORDER BY customer_id")
        assert [tuple(row) for row in rows] == [("c3", "viewer"), ("c4", "member")]
        shell.take(update("k3", "home", members=[]))
        assert (shell.rows("SELECT * FROM account_members"), primaries(shell)) == ([], {"c1": "c1 home"})
        assert shell.differences() == []

    def test_the_same_list_changes_nothing(self, shell: Shell) -> None:
        shell.take(create("k1", "home", "c1", members=[member("c2")]))
        shell.take(update("k2", "home", members=[member("c2")]), update("k3", "home", tags=["x"]))
        assert [answer(shell, each)["type"] for each in ("k2", "k3")] == ["accepted"] * 2
        assert (len(shell.events("loyalty.account.updated")), shell.differences()) == (1, [])

    def test_the_owner_is_none_of_them(self, shell: Shell) -> None:
        shell.take(create("k1", "home", "c1"), update("k2", "home", members=[member("c1")]))
        assert (answer(shell, "k2")["code"], shell.rows("SELECT * FROM account_members")) == ("owner_listed", [])

    @pytest.mark.parametrize(
        "members", [[member("c1")], [member("c2"), member("c2", "viewer")], [member("c2", "owner")]]
    )
    def test_what_names_one_twice_is_not_read(self, shell: Shell, members: list[dict[str, str]]) -> None:
        shell.take(create("k1", "home", "c1", members=members))
        assert answer(shell, "k1")["code"] == "invalid_data"

    def test_a_closed_account_gets_none_whose_orders_it_would_take(self, shell: Shell) -> None:
        shell.take(
            create("k1", "home", "c1", members=[member("c2")]), command("account.close", "k2", account_id="home")
        )
        shell.take(update("k3", "home", members=[member("c3")]), update("k4", "home", members=[]))
        assert answer(shell, "k3")["code"] == "account_closed"
        assert (answer(shell, "k4")["type"], primaries(shell)) == ("accepted", {"c1": "c1 home"})


class TestTheirOrders:
    def test_orders_of_a_household_earn_for_its_account(self, shell: Shell) -> None:
        shell.take(create("k1", "home", "c1", members=[member("c2"), member("c3", "viewer")]))
        shell.take(
            order("o1", "10.00", customer_id="c2"),
            order("o2", "20.00", customer_id="c3"),
            order("o3", "40.00", customer_id="c1"),
        )
        shell.take(refund("r1", "o1", net="10.00"))
        assert (balances(shell), shell.differences()) == ({"c1": 60}, [])
        rows = shell.rows("SELECT customer_id FROM orders ORDER BY order_id")
        assert [row[0] for row in rows] == ["c2", "c3", "c1"]

    def test_who_has_an_account_keeps_it(self, shell: Shell) -> None:
        shell.take(order("o1", "10.00", customer_id="c2"))
        shell.take(create("k1", "home", "c1", members=[member("c2")]))
        shell.take(order("o2", "20.00", customer_id="c2"))
        assert (balances(shell), shell.differences()) == ({"c1": 0, "c2": 30}, [])

    def test_they_come_together_however_the_messages_are_cut(self, engine: Engine) -> None:
        messages = [
            create("k1", "home", "c1", members=[member("c2")]),
            order("o1", "10.00", customer_id="c2"),
            update("k2", "home", members=[]),
            order("o2", "20.00", customer_id="c2"),
            update("k3", "home", members=[member("c2"), member("c3")]),
            order("o3", "40.00", customer_id="c3"),
            order("o4", "80.00", customer_id="c2"),
        ]
        shell = Shell(engine, limits=TRUSTED, program_text=SEVERAL, shards=1)
        shell.take(*messages)
        at_once = balances(shell)
        other = PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace("/shops/test", "/o")
        shell.apply_program(other + "one_account_per_customer: false\n")
        for each in messages:
            data = {**each["data"], "program_id": "other"}
            data |= {"account_id": "house"} if "account_id" in data else {}
            shell.take({**each, "source": "/o", "data": data})
        rows = shell.rows("SELECT customer_id, balance FROM accounts WHERE program_id = 'other'")
        assert at_once == {row[0]: row[1] for row in rows} == {"c1": 50, "c2": 100}
        assert shell.differences() == []

    def test_who_leaves_gets_an_account_with_the_next_order(self, shell: Shell) -> None:
        shell.take(create("k1", "home", "c1", members=[member("c2")]))
        shell.take(order("o1", "10.00", customer_id="c2"))
        shell.take(update("k2", "home", members=[]))
        shell.take(order("o2", "20.00", customer_id="c2"))
        assert (balances(shell), shell.differences()) == ({"c1": 10, "c2": 20}, [])

    def test_who_leaves_goes_back_to_an_account_that_was_made_for_them(self, shell: Shell) -> None:
        shell.take(create("k1", "home", "c1", members=[member("c2")]))
        shell.take(create("k2", "own", "c2"))
        assert primaries(shell) == {"c1": "c1 home", "c2": "c1 home"}
        shell.take(update("k3", "home", members=[]))
        assert (primaries(shell), shell.differences()) == ({"c1": "c1 home", "c2": "c2 own"}, [])

    def test_a_claim_for_a_member_brings_a_guests_order_to_the_household(self, shell: Shell) -> None:
        shell.take(create("k1", "home", "c1", members=[member("c2")]), order("o1", "10.00", customer_id=None))
        shell.take(claim("o1", customer_id="c2", time=LATER))
        shell.take(claim("o1", customer_id="c1", event_id="again", time=LATER))
        assert (balances(shell), shell.differences()) == ({"c1": 10}, [])

    @pytest.mark.parametrize("previous", ["c1", "c2"])
    def test_a_members_order_moves_out_of_the_household_by_either_name(self, shell: Shell, previous: str) -> None:
        shell.take(create("k1", "home", "c1", members=[member("c2")]))
        shell.take(order("o1", "10.00", customer_id="c2"))
        shell.take(claim("o1", customer_id="c5", previous_customer_id="c7", event_id="wrong", time=LATER))
        assert balances(shell) == {"c1": 10}
        shell.take(claim("o1", customer_id="c5", previous_customer_id=previous, time=LATER))
        assert (balances(shell), shell.differences()) == ({"c1": 0, "c5": 10}, [])


#: How the order o1 comes to the account of c1, and whether what it earns there names c2.
_JOINED = create("k1", "home", "c1", members=[member("c2", "viewer")])
_OWNED = create("k1", "home", "c1")
MERGED = command("account.merge", "m1", customer_id="c2", into_account_id="home")
WAYS = {
    "the owner's": ([_JOINED, order("o1", "10.00", customer_id="c1")], False),
    "a member's": ([_JOINED, order("o1", "10.00", customer_id="c2")], True),
    "claimed from another": (
        [_OWNED, order("o1", "10.00", customer_id="c2"), claim("o1", "c1", previous_customer_id="c2", time=LATER)],
        False,
    ),
    "claimed for a member": (
        [_JOINED, order("o1", "10.00", customer_id=None), claim("o1", "c2", time=LATER)],
        False,
    ),
    "moved by a merge": ([_OWNED, order("o1", "10.00", customer_id="c2"), MERGED], False),
    "of who was merged": (
        [_OWNED, order("o0", "1.00", customer_id="c2"), MERGED, order("o1", "10.00", customer_id="c2")],
        False,
    ),
}  # fmt: skip
LATER_ON = [
    refund("r1", "o1", net="4.00", time=LATER),
    reversion("r1", "o1", time=LATER),
    amendment("o1", "15.00", time=LATER),
    refund("r2", "o1", net="5.00", time=LATER),
]


class TestWhoActed:
    @pytest.mark.parametrize(("came", "is_named"), WAYS.values(), ids=WAYS.keys())
    def test_only_what_a_members_order_earned_names_them(
        self, shell: Shell, came: list[dict[str, Any]], *, is_named: bool
    ) -> None:
        for message in (*came, *LATER_ON):
            shell.take(message)
        [home] = shell.rows("SELECT account_id, balance FROM accounts WHERE own_account_id = 'home'")
        told = [event["data"] for event in shell.events("loyalty.balance.changed")]
        told = [each for each in told if each["account_id"] == str(home.account_id)]
        assert [each["acting_customer_id"] for each in told if "acting_customer_id" in each] == ["c2"] * is_named
        assert [each["reason"] for each in told][-4:] == [
            "order_refunded", "refund_reverted", "order_amended", "order_refunded",
        ]  # fmt: skip
        with shell.engine.connect() as connection:
            read = load_history(connection, home.account_id, 100)
        assert {each.sequence: each.acting_customer_id for each in read} == {
            each["sequence"]: each.get("acting_customer_id") for each in told
        }
        assert shell.differences() == []


class TestThePrimaryAccount:
    def test_it_is_the_first_until_changed(self, shell: Shell) -> None:
        shell.take(order("o1", "10.00"), create("k1", "second", "c1"))
        assert primaries(shell) == {"c1": "c1"}
        shell.take(update("k2", "second", is_primary=True), order("o2", "20.00"))
        rows = shell.rows("SELECT own_account_id, balance FROM accounts ORDER BY balance")
        assert [tuple(row) for row in rows] == [(None, 10), ("second", 20)]
        [updated] = shell.events("loyalty.account.updated")
        assert updated["data"]["primary_of"] == ["c1"]
        shell.take(update("k3", "second", is_primary=True))
        assert (answer(shell, "k3")["type"], len(shell.events("loyalty.account.updated"))) == ("accepted", 1)
        assert shell.differences() == []

    def test_a_closed_one_is_none(self, shell: Shell) -> None:
        shell.take(order("o1", "10.00"), create("k1", "second", "c1"))
        shell.take(command("account.close", "k2", account_id="second"), update("k3", "second", is_primary=True))
        assert (answer(shell, "k3")["code"], primaries(shell)) == ("account_closed", {"c1": "c1"})


OWNER_ONLY = SEVERAL + "access: owner\n"
#: How each command that spends is asked for; the account has enough for all of them.
SPENDING = [
    ("debit", {"points": 5}),
    ("redeem", {"points": 5}),
    ("authorize", {"points": 5}),
    ("transfer", {"points": 5, "to_customer_id": "c9"}),
]


def household(engine: Engine, program_text: str = SEVERAL) -> Shell:
    shell = Shell(engine, limits=TRUSTED, program_text=program_text)
    shell.take(create("k0", "home", "c1", points=100, members=[member("c2"), member("c3", "viewer")]))
    return shell


class TestWhoMaySpend:
    @pytest.mark.parametrize("access", ["members", "owner"])
    def test_each_in_each_program(self, engine: Engine, access: str) -> None:
        shell = household(engine, OWNER_ONLY if access == "owner" else SEVERAL)
        expected = {
            None: "accepted",
            "c1": "accepted",
            "c2": "accepted" if access == "members" else "member_may_not_spend",
            "c3": "member_may_not_spend",
            "c4": "not_a_member",
        }
        asked = {(verb, who): f"{verb} {who}" for verb, _ in SPENDING for who in expected}
        for (verb, who), command_id in asked.items():
            named = {} if who is None else {"acting_customer_id": who}
            shell.take(command(verb, command_id, account_id="home", **named, **dict(SPENDING)[verb]))
        told = {key: answer(shell, command_id) for key, command_id in asked.items()}
        assert {key: each.get("code", each["type"]) for key, each in told.items()} == {
            (verb, who): expected[who] for verb, who in asked
        }
        assert shell.differences() == []

    def test_who_names_only_a_customer_acts_as_that_customer(self, engine: Engine) -> None:
        shell = household(engine)
        shell.take(
            command("redeem", "k1", customer_id="c2", points=5),
            command("redeem", "k2", customer_id="c3", points=5),
            command("redeem", "k3", customer_id="c2", acting_customer_id="c1", points=5),
        )
        told = [answer(shell, each) for each in ("k1", "k2", "k3")]
        assert [each.get("code") for each in told] == [None, "member_may_not_spend", None]
        assert (told[0]["customer_id"], told[0]["acting_customer_id"]) == ("c1", "c2")
        assert "acting_customer_id" not in told[2]

    def test_a_viewer_may_be_given_points(self, engine: Engine) -> None:
        shell = household(engine)
        shell.take(command("credit", "k1", customer_id="c3", points=5))
        shell.take(command("credit", "k2", account_id="home", acting_customer_id="c4", points=5))
        assert (answer(shell, "k1")["customer_id"], answer(shell, "k2")["code"]) == ("c1", "not_a_member")

    def test_who_has_left_spends_nothing(self, engine: Engine) -> None:
        shell = household(engine)
        shell.take(update("k1", "home", members=[]))
        shell.take(command("debit", "k2", account_id="home", acting_customer_id="c2", points=5))
        shell.take(command("debit", "k3", customer_id="c2", points=5))
        assert [answer(shell, each)["code"] for each in ("k2", "k3")] == ["not_a_member", "unknown_account"]

    def test_events_name_the_member_and_the_owner(self, engine: Engine) -> None:
        shell = household(engine)
        shell.take(command("debit", "k1", account_id="home", acting_customer_id="c2", points=5))
        shell.take(order("o1", "10.00", customer_id="c3"), order("o2", "20.00"))
        shell.take(refund("r1", "o1", net="10.00"))
        told = [event["data"] for event in shell.events("loyalty.balance.changed")]
        acting = {each["sequence"]: each.get("acting_customer_id") for each in told}
        assert sorted(acting.values(), key=str) == [None, None, None, "c2", "c3"]
        assert ({each["customer_id"] for each in told}, shell.differences()) == ({"c1"}, [])


def test_a_member_leaves_the_account_that_theirs_was_merged_into(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED)
    shell.take(order("o1", "10.00", customer_id="home"), order("o2", "10.00", customer_id="other"))
    listed = {"members": [member("c2")]}
    shell.take(command("account.update", "k1", customer_id="home", **listed))
    shell.take(order("o3", "10.00", customer_id="c2"))
    shell.take(command("account.merge", "k2", customer_id="home", into_customer_id="other"))
    shell.take(command("account.update", "k3", customer_id="other", **listed))
    shell.take(order("o4", "10.00", customer_id="c2"))
    assert shell.balance("other") == 40
    shell.take(command("account.update", "k4", customer_id="other", members=[]))
    shell.take(order("o5", "10.00", customer_id="c2"))
    assert (shell.balance("other"), shell.balance("c2"), shell.differences()) == (40, 10, [])
