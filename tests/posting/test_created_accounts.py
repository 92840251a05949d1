"""account.create: an account under an id of its maker's own, with what it begins with."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, claim, command, order, refund
from tests.posting.test_posted_commands import TRUSTED, answer
from tests.shell import Shell

SEVERAL = PROGRAM_TEXT + "one_account_per_customer: false\n"
THEN = "2020-05-20T00:00:00Z"
LATER = "2099-01-01T00:00:00Z"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, limits=TRUSTED)


def create(command_id: str, account_id: str = "a1", customer_id: str = "c1", **data: Any) -> dict[str, Any]:
    return command("account.create", command_id, account_id=account_id, customer_id=customer_id, **data)


def accounts(shell: Shell) -> list[tuple[Any, ...]]:
    rows = shell.rows("SELECT own_account_id, customer_id, balance FROM accounts ORDER BY account_id")
    return [tuple(row) for row in rows]


class TestItsBeginning:
    def test_it_has_the_id_of_its_maker_and_one_that_we_draw(self, shell: Shell) -> None:
        assert shell.take(create("k1")) == {"posted": 1}
        told = answer(shell, "k1")
        drawn = str(shell.value("SELECT account_id FROM accounts"))
        assert (told["type"], told["account_id"], told["entries"]) == ("accepted", drawn, [])
        [account] = told["accounts"]
        assert (account["own_account_id"], account["balance"], account["status"]) == ("a1", 0, "active")
        assert (accounts(shell), shell.differences()) == ([("a1", "c1", 0)], [])

    def test_it_is_announced_with_what_is_kept_with_it(self, shell: Shell) -> None:
        kept = {"metadata": {"shop": "Bath", "staff": True}, "tags": ["vip", "bath", "vip"]}
        shell.take(create("k1", enrolled_at=THEN, time="2026-03-01T12:00:00Z", **kept))
        [created] = shell.events("loyalty.account.created")
        told = created["data"]
        assert (told["own_account_id"], told["metadata"], told["tags"]) == ("a1", kept["metadata"], ["bath", "vip"])
        assert (told["enrolled_at"], told["occurred_at"]) == (THEN, "2026-03-01T12:00:00Z")

    def test_it_begins_with_what_was_earned_elsewhere(self, shell: Shell) -> None:
        shell.take(create("k1", points=5, lifetime_points=900), create("k2", "a2", "c2", lifetime_points=7))
        told = answer(shell, "k1")
        assert (told["lifetime_points"], told["accounts"][0]["lifetime_points"]) == (900, 900)
        created = [event["data"] for event in shell.events("loyalty.account.created")]
        assert [each["lifetime_points"] for each in created] == [900, 7]
        shell.take(order("o1", "10.00"), refund("r1", "o1", full=True), order("o2", "20.00"))
        rows = shell.rows("SELECT lifetime_points, tier_id FROM accounts ORDER BY own_account_id")
        assert [tuple(row) for row in rows] == [(920, "bronze"), (7, "bronze")], "it is none that counts for a tier"
        assert shell.differences() == []

    def test_what_was_earned_elsewhere_goes_along_with_a_merge_and_comes_back(self, shell: Shell) -> None:
        shell.take(create("k1", points=5, lifetime_points=900), create("k2", "a2", "c2", lifetime_points=7))
        lifetime = "SELECT lifetime_points FROM accounts ORDER BY own_account_id"
        shell.take(command("account.merge", "k3", account_id="a2", into_account_id="a1"))
        assert [tuple(row) for row in shell.rows(lifetime)] == [(907,), (0,)]
        assert shell.differences() == []
        shell.take(command("account.unmerge", "k4", account_id="a2"))
        assert [tuple(row) for row in shell.rows(lifetime)] == [(900,), (7,)]
        assert shell.differences() == []

    def test_its_opening_value_is_a_credit(self, shell: Shell) -> None:
        shell.take(create("k1", points=250, expires_at=LATER, reason="moved here"))
        told = answer(shell, "k1")
        [entry] = told["entries"]
        assert (told["points"], entry["kind"], entry["lots"][0]["expires_at"]) == (250, "credit", LATER)
        [changed] = [event["data"] for event in shell.events("loyalty.balance.changed")]
        assert (changed["own_account_id"], changed["balance"], changed["reason"]) == ("a1", 250, "command_credit")
        assert shell.differences() == []

    @pytest.mark.parametrize("value", [{"points": 5, "expires_at": "2021-01-01T00:00:00Z"}, {"unit": "miles"}])
    def test_what_cannot_be_credited_opens_nothing(self, shell: Shell, value: dict[str, Any]) -> None:
        shell.take(create("k1", **value))
        assert answer(shell, "k1")["code"] in {"already_expired", "wrong_unit"}
        assert (accounts(shell), shell.differences()) == ([], [])

    def test_a_program_that_is_not_active_opens_none(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "active: false\n")
        shell.take(create("k1"))
        assert (answer(shell, "k1")["code"], accounts(shell)) == ("program_inactive", [])

    def test_orders_come_to_it_also_where_customers_are_enrolled_by_command(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "enrol: command\n")
        shell.take(order("o0", "70.00"), create("k1"), order("o1", "100.00"))
        rows = shell.rows("SELECT order_id, account_id IS NULL FROM orders ORDER BY order_id")
        assert [tuple(row) for row in rows] == [("o0", True), ("o1", False)]
        assert (shell.balance(), shell.differences()) == (100, [])


class TestItsId:
    def test_commands_name_the_account_by_it_or_by_the_one_that_we_drew(self, shell: Shell) -> None:
        shell.take(create("k1", points=100))
        drawn = answer(shell, "k1")["account_id"]
        shell.take(command("debit", "k2", account_id="a1", points=30))
        shell.take(command("debit", "k3", account_id=drawn, points=30))
        assert [answer(shell, each)["account_id"] for each in ("k2", "k3")] == [drawn] * 2
        assert (shell.balance(), shell.differences()) == (40, [])

    def test_what_names_it_comes_after_it_though_both_came_at_once(self, engine: Engine) -> None:
        for shards in (1, 16):
            shell = Shell(engine, limits=TRUSTED, shards=shards, program_text=PROGRAM_TEXT if shards == 1 else None)
            named = [f"{shards}-{number}" for number in range(8)]
            shell.take(*(create(f"k{each}", each, customer_id=f"c{each}", points=10) for each in named))
            shell.take(
                *(create(f"m{each}", f"m{each}", customer_id=f"m{each}") for each in named),
                *(command("credit", f"n{each}", account_id=f"m{each}", points=7) for each in named),
                *(command("debit", f"d{each}", account_id=each, points=1) for each in named),
            )
            assert {answer(shell, f"n{each}")["type"] for each in named} == {"accepted"}
            assert {answer(shell, f"d{each}")["type"] for each in named} == {"accepted"}
        assert shell.differences() == []

    def test_it_is_taken_for_ever(self, shell: Shell) -> None:
        shell.take(create("k1", points=5), create("k2", points=6))
        shell.take(create("k3", customer_id="c2"))
        assert [answer(shell, each)["code"] for each in ("k2", "k3")] == ["account_exists"] * 2
        assert (accounts(shell), shell.differences()) == ([("a1", "c1", 5)], [])

    def test_the_same_content_in_another_command_changes_nothing(self, shell: Shell) -> None:
        shell.take(create("k1", points=5, tags=["b", "a"]))
        shell.take(create("k2", points=5, tags=["a", "b"]))
        told = answer(shell, "k2")
        assert (told["type"], told["entries"], told["account_id"]) == (
            "accepted",
            [],
            answer(shell, "k1")["account_id"],
        )
        assert (answer(shell, "k1")["points"], told.get("points")) == (5, None), "it moves none"
        assert (accounts(shell), shell.differences()) == ([("a1", "c1", 5)], [])

    def test_it_is_taken_in_all_programs(self, shell: Shell) -> None:
        shell.apply_program(PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace("/shops/test", "/o"))
        shell.take(create("k1"), create("k2", program_id="other", customer_id="c1"))
        assert answer(shell, "k2")["code"] == "account_exists"

    @pytest.mark.parametrize(
        "account_id",
        ["", "x" * 65, "6a1f9f6e-0000-7000-8000-000000000000", "6A1F9F6E-0000-7000-8000-00000000000A", "a@b"],
    )
    def test_it_has_1_to_64_characters_and_looks_like_none_of_ours(self, shell: Shell, account_id: str) -> None:
        shell.take(create("k1", account_id))
        assert (answer(shell, "k1")["code"], accounts(shell)) == ("invalid_data", [])


class TestSeveralAccounts:
    def test_a_customer_has_one_in_a_program(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), create("k1"))
        assert (answer(shell, "k1")["code"], len(accounts(shell))) == ("account_exists", 1)

    def test_or_several_of_which_the_first_gets_the_orders(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=SEVERAL)
        shell.take(create("k1", "a1"), create("k2", "a2", points=30), order("o1", "100.00"))
        shell.take(command("credit", "k3", points=1), command("debit", "k4", account_id="a2", points=10))
        assert (accounts(shell), shell.differences()) == ([("a1", "c1", 101), ("a2", "c1", 20)], [])

    def test_their_numbers_can_be_rebuilt(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=SEVERAL)
        shell.take(create("k1", "a1"), create("k2", "a2", points=30), order("o1", "100.00"))
        assert shell.repairs().repairs == []


class TestEnrolment:
    YEARLY = PROGRAM_TEXT + "qualification: {window: membership_year}\n"

    def enrolled(self, shell: Shell) -> str:
        return str(shell.value("SELECT (enrolled_at AT TIME ZONE 'UTC')::date FROM accounts"))

    def test_it_may_be_past_and_older_orders_do_not_move_it(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=self.YEARLY)
        shell.take(create("k1", enrolled_at="2024-05-20T12:00:00Z"))
        shell.take(
            order("o1", "600.00", time="2026-03-01T12:00:00Z"), order("o2", "10.00", time="2019-01-01T12:00:00Z")
        )
        assert (self.enrolled(shell), answer(shell, "k1")["enrolled_at"]) == ("2024-05-20", "2024-05-20T12:00:00Z")
        # The year in which silver was reached ends on the day of the enrolment.
        assert str(shell.value("SELECT (tier_until AT TIME ZONE 'Europe/Berlin')::date FROM accounts")) == "2026-05-20"
        assert (shell.differences(), shell.repairs().repairs) == ([], [])

    def test_nor_do_orders_that_go_away(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=self.YEARLY)
        shell.take(create("k1", enrolled_at="2024-05-20T12:00:00Z"), order("o1", "600.00"))
        shell.take(claim("o1", "c2", previous_customer_id="c1"))
        rows = shell.rows("SELECT customer_id, (enrolled_at AT TIME ZONE 'UTC')::date::text FROM accounts ORDER BY 1")
        assert [tuple(row) for row in rows] == [("c1", "2024-05-20"), ("c2", "2026-03-01")]
        assert shell.differences() == []

    def test_it_cannot_be_in_the_future(self, shell: Shell) -> None:
        tomorrow = (datetime.now(UTC) + timedelta(hours=20)).isoformat()
        shell.take(create("k1", enrolled_at=tomorrow))
        assert (answer(shell, "k1")["code"], accounts(shell)) == ("enrolment_in_future", [])

    def test_unsaid_it_is_the_first_order(self, shell: Shell) -> None:
        shell.take(create("k1"), order("o1", "100.00"), order("o2", "5.00", time="2025-01-02T12:00:00Z"))
        assert (self.enrolled(shell), shell.differences()) == ("2025-01-02", [])
