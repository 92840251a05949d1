"""Accounts that are merged, and parted again: what comes later ends where it would have in one account all along."""

from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine

from core.store.engine import create_database_engine
from tests.answers import TRUSTED, answer
from tests.factories import (
    PROGRAM_TEXT,
    SOURCE,
    amendment,
    claim,
    command,
    fulfilment,
    goods_back,
    line,
    order,
    refund,
    reversion,
)
from tests.ledger_rows import empty_ledger
from tests.shell import Shell

LATER = "2099-01-01T00:00:00Z"
RECENT = (datetime.now(UTC) - timedelta(days=10)).isoformat()
OTHER = PROGRAM_TEXT.replace("program_id: test", "program_id: other").replace(SOURCE, "/other")
MERGE = command("account.merge", "m1", customer_id="c1", into_customer_id="c2")
UNMERGE = command("account.unmerge", "u1", customer_id="c1")


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, limits=TRUSTED)


def accounts(shell: Shell) -> list[tuple[Any, ...]]:
    rows = shell.rows(
        "SELECT customer_id, balance, pending, lifetime_points, tier_id, orders_posted FROM accounts"
        " WHERE program_id = 'test' ORDER BY customer_id"
    )
    return [tuple(row) for row in rows]


def lots(shell: Shell, customer_id: str = "c2") -> list[tuple[Any, ...]]:
    """What is left by what earned it, and until when."""
    rows = shell.rows(
        "SELECT l.origin_id, sum(l.points_remaining)::integer, l.expires_at, l.is_pending FROM dated_lots l"
        " JOIN accounts USING (account_id) WHERE customer_id = :c AND points_remaining > 0"
        " GROUP BY 1, 3, 4 ORDER BY 1, 3",
        c=customer_id,
    )
    return [tuple(row) for row in rows]


def is_proven(shell: Shell) -> bool:
    assert shell.differences() == []
    assert shell.repairs().repairs == []
    return True


class TestWhatMoves:
    def test_all_points_with_their_dates_orders_and_the_lifetime(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), command("credit", "k1", points=50, expires_at=LATER))
        shell.take(command("credit", "k2", points=7, available_at=LATER), order("o2", "30.00", customer_id="c2"))
        before = lots(shell, "c1") + lots(shell)
        shell.take(MERGE)
        assert accounts(shell) == [("c1", 0, 0, 0, "bronze", 0), ("c2", 180, 7, 130, "bronze", 2)]
        assert (lots(shell), lots(shell, "c1")) == (sorted(before, key=lambda lot: lot[0]), [])
        told = answer(shell, "m1")
        assert (told["points"], told["customer_id"]) == (157, "c2")
        assert [(each["kind"], each["points"]) for each in told["entries"]] == [("merge", -150), ("merge", 150)]
        assert is_proven(shell)

    def test_the_tier_follows_from_the_orders_of_both(self, shell: Shell) -> None:
        shell.take(order("o1", "300.00"), order("o2", "300.00", customer_id="c2"), MERGE)
        assert [row[4] for row in accounts(shell)] == ["bronze", "silver"]
        assert is_proven(shell)
        shell.take(UNMERGE)
        assert [row[4] for row in accounts(shell)] == ["bronze", "bronze"]
        assert is_proven(shell)

    def test_it_is_told_with_the_account_that_survives(self, shell: Shell) -> None:
        shell.take(order("o1", "10.00"), order("o2", "20.00", customer_id="c2"), MERGE, UNMERGE)
        told = [event["data"] for event in shell.events() if "merged" in event["type"]]
        survivor = str(shell.value("SELECT account_id FROM accounts WHERE customer_id = 'c2'"))
        assert [(each["customer_id"], each["survivor_account_id"]) for each in told] == [("c1", survivor)] * 2
        changed = [event["data"] for event in shell.events("loyalty.balance.changed")][2:]
        moved = [(each["customer_id"], each["points"], each["reason"]) for each in changed]
        assert moved == [
            ("c1", -10, "account_merged"),
            ("c2", 10, "account_merged"),
            ("c2", -10, "account_unmerged"),
            ("c1", 10, "account_unmerged"),
        ]


EARLIER = [
    order("o1", "100.00"),
    refund("r1", "o1", net="30.00"),
    order("o2", "200.00", customer_id="c2", time="2026-03-05T12:00:00+01:00"),
    command("credit", "k1", points=50, expires_at=LATER),
    command("debit", "k2", points=60),
]
LATE = {
    "an order of either customer": ("", EARLIER, [order("o3", "70.00"), order("o4", "5.00", customer_id="c2")]),
    "a refund of an order that moved": ("", EARLIER, [refund("r2", "o1", net="20.00")]),
    "a refund in full": ("", EARLIER, [refund("r2", "o1", full=True)]),
    "a refund that did not happen after all": ("", EARLIER, [reversion("r1", "o1")]),
    "commands for the customer": ("", EARLIER, [command("credit", "k3", points=5), command("debit", "k4", points=100)]),
    "a refund of what was spent": ("", EARLIER, [command("debit", "k3", points=290), refund("r2", "o1", full=True)]),
    "an edit of an order that moved": ("", EARLIER, [amendment("o1", "500.00")]),
    "a return without a receipt": ("", EARLIER, [goods_back("b1", "40.00")]),
    "a refund of what has expired, and one that did not happen": (
        "expiry: {policy: after_months, months: 3}\n",
        [
            order("o1", "100.00"),
            order("o2", "200.00", customer_id="c2", time=RECENT),
            "expire",
            refund("r1", "o1", net="30.00"),
        ],
        [refund("r2", "o1", net="20.00"), reversion("r1", "o1"), refund("r3", "o1", full=True)],
    ),
    "a fulfilment, by parts, with refunds of what waits": (
        "availability: {policy: on_fulfilled}\nexpiry: {policy: after_months, months: 600}\n",
        [
            order("o1", lines=[line("1", "60.00"), line("2", "40.00")]),
            order("o2", "200.00", customer_id="c2"),
            fulfilment("o1", lines=[{"line_id": "1"}], fulfilment_id="f1"),
        ],
        [refund("r1", "o1", net="10.00"), fulfilment("o1", event_id="f2"), fulfilment("o2", event_id="f3")],
    ),
    "an order that was clawed back from other lots, given back": (
        "",
        [
            order("o1", "100.00"),
            command("credit", "k1", points=100, expires_at=LATER),
            order("o2", "200.00", customer_id="c2", time=RECENT),
            command("debit", "k2", points=150),
            refund("r1", "o1", net="45.00"),
        ],
        [command("credit", "k3", points=9), reversion("r1", "o1")],
    ),
    "orders to which a limit for each customer leaves nothing, until one is given back": (
        "promotions:\n  - {promotion_id: extra, kind: addition, points: 30, limits: {orders_per_customer: 2}}\n",
        [order("o1", "100.00"), order("o2", "200.00", customer_id="c2", time="2026-04-01T12:00:00+02:00")],
        [order("o3", "1.00"), order("o4", "1.00"), refund("r1", "o1", full=True), order("o5", "1.00")],
    ),
    "orders to which a limit leaves nothing that two orders have used up": (
        "promotions:\n  - {promotion_id: extra, kind: addition, points: 30, limits: {orders_per_customer: 3}}\n",
        [
            order("o1", "100.00"),
            order("o2", "50.00"),
            order("o3", "200.00", customer_id="c2", time="2026-04-01T12:00:00+02:00"),
        ],
        [order("o4", "1.00"), refund("r1", "o1", full=True), order("o5", "1.00")],
    ),
    "commands to which a limit leaves less": (
        "limits: {redeem: {per_day: 50, per_month: 90}}\n",
        [
            order("o1", "100.00"),
            order("o2", "200.00", customer_id="c2", time="2026-03-05T12:00:00+01:00"),
            command("redeem", "k1", points=30),
        ],
        [
            command("redeem", "k2", points=21, customer_id="c2"),
            command("redeem", "k3", points=20, customer_id="c2"),
            command("redeem", "k4", points=1),
        ],
    ),
    "orders that bring what others left over": (
        "",
        [order("o1", "19.00"), order("o2", "16.00", customer_id="c2", time="2026-04-01T12:00:00+02:00")],
        [order("o3", "6.00", time=RECENT), refund("r1", "o3", net="3.00", time=RECENT), order("o4", "8.00")],
    ),
    "orders by which the tier is another": (
        "qualification: {window: calendar_year, refunds: at_once}\n",
        [order("o1", "300.00"), order("o2", "250.00", customer_id="c2", time="2026-02-01T12:00:00+01:00")],
        [
            order("o3", "10.00", time=RECENT),
            refund("r1", "o1", net="100.00", time=RECENT),
            order("o4", "5.00", time=RECENT),
        ],
    ),
}


class TestWhatComesLater:
    @pytest.mark.parametrize(("more", "earlier", "late"), LATE.values(), ids=LATE.keys())
    def test_ends_where_it_would_have_in_one_account(
        self, engine: Engine, more: str, earlier: list[Any], late: list[Any]
    ) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + more, shards=1)

        def end_of(messages: list[Any], customer_id: str | None = None) -> tuple[Any, ...]:
            empty_ledger(shell)
            for message in messages:
                if message == "expire":
                    shell.expire(datetime.now(UTC).isoformat())
                elif customer_id is not None and "customer_id" in message["data"]:
                    shell.take({**message, "data": {**message["data"], "customer_id": customer_id}})
                else:
                    shell.take(message)
            assert is_proven(shell)
            (account,) = (each[1:] for each in accounts(shell) if each[0] == "c2")
            tier = shell.rows("SELECT tier_id, tier_until, qualifying_points FROM accounts WHERE customer_id = 'c2'")
            used = shell.rows(
                "SELECT name, period, points, orders FROM usages JOIN accounts USING (account_id)"
                " WHERE customer_id = 'c2' AND (points, orders) <> (0, 0) ORDER BY 1, 2"
            )
            return account, lots(shell), [tuple(row) for row in (*tier, *used)]

        merged = end_of([*earlier, MERGE, *late])
        assert merged == end_of([*earlier, *late], customer_id="c2")


class TestWhatIsUndone:
    def test_a_tier_that_both_had_together_is_taken_back_with_what_is_left_of_then(self, shell: Shell) -> None:
        shell.take(order("o1", "200.00"), order("o2", "350.00", customer_id="c2", time="2026-03-03T12:00:00+01:00"))
        shell.take(MERGE)
        shell.take(UNMERGE)
        told = [event["data"] for event in shell.events("loyalty.tier.changed")]
        assert [(each["tier"], each["reason"], each["qualifying_points"]) for each in told] == [
            ("silver", "qualified", 550), ("bronze", "corrected", 350),
        ]  # fmt: skip
        assert is_proven(shell)

    def test_with_nothing_between_both_are_as_they_were(self, shell: Shell) -> None:
        for message in EARLIER:
            shell.take(message)
        before = accounts(shell), lots(shell), lots(shell, "c1")
        shell.take(MERGE)
        shell.take(UNMERGE)
        assert (accounts(shell), lots(shell), lots(shell, "c1")) == before
        assert is_proven(shell)
        shell.take(reversion("r1", "o1"), refund("r3", "o2", customer_id=None, net="50.00"))
        assert [row[1] for row in accounts(shell)] == [before[0][0][1] + 30, before[0][1][1] - 50]
        assert is_proven(shell)

    def test_what_is_left_of_each_lot_goes_back_with_the_orders_and_later_ones_stay(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), order("o2", "200.00", customer_id="c2"), MERGE)
        shell.take(refund("r1", "o1", net="30.00"), order("o3", "40.00"), command("debit", "k1", points=20))
        shell.take(UNMERGE)
        assert accounts(shell) == [("c1", 70, 0, 70, "bronze", 1), ("c2", 220, 0, 240, "bronze", 2)]
        assert is_proven(shell)
        shell.take(refund("r2", "o1", full=True), reversion("r1", "o1"), refund("r4", "o3", full=True))
        shell.take(order("o4", "1.00"))
        assert [row[1] for row in accounts(shell)] == [1, 180]
        assert is_proven(shell)

    def test_what_its_commands_had_used_of_limits_is_its_own_again(self, engine: Engine) -> None:
        limits = "limits: {redeem: {per_day: 50}, credit: {per_month: 1000}}\n"
        shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + limits)
        shell.take(command("credit", "k1", points=300), command("credit", "k2", points=200, customer_id="c2"))
        shell.take(command("redeem", "k3", points=30), command("redeem", "k4", points=15, customer_id="c2"))
        shell.take(command("credit", "k5", points=100, customer_id="c3"))
        shell.take(MERGE)
        shell.take(command("account.merge", "m2", customer_id="c2", into_customer_id="c3"))
        shell.take(command("redeem", "k6", points=5), command("redeem", "k7", points=1, customer_id="c3"))
        assert answer(shell, "k7")["code"] == "limit_reached"
        assert is_proven(shell)
        shell.take(command("account.unmerge", "u1", customer_id="c2"))
        shell.take(command("account.unmerge", "u2"))
        assert is_proven(shell)
        asked = {"c1": 21, "c2": 36, "c3": 46}
        shell.take(*(command("redeem", f"l{who}", points=much, customer_id=who) for who, much in asked.items()))
        shell.take(*(command("redeem", f"n{who}", points=much - 1, customer_id=who) for who, much in asked.items()))
        assert [answer(shell, f"l{who}")["code"] for who in asked] == ["limit_reached"] * 3
        assert [answer(shell, f"n{who}").get("code") for who in asked] == [None] * 3
        assert is_proven(shell)

    def test_it_may_be_merged_again_and_on(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), order("o2", "200.00", customer_id="c2"))
        shell.take(order("o3", "5.00", customer_id="c3"))
        shell.take(MERGE, UNMERGE, refund("r1", "o1", net="30.00"))
        shell.take({**MERGE, "id": "m2"})
        shell.take(command("account.merge", "m3", customer_id="c2", into_customer_id="c3"))
        shell.take(reversion("r1", "o1"), order("o4", "10.00"), refund("r2", "o1", net="1.00"))
        assert accounts(shell)[2][1:4] == (314, 0, 314)
        assert is_proven(shell)
        shell.take({**UNMERGE, "id": "u2"})
        assert answer(shell, "u2")["code"] == "already_merged"
        shell.take(command("account.unmerge", "u3", customer_id="c2"))
        shell.take({**UNMERGE, "id": "u4"})
        assert [row[1] for row in accounts(shell)] == [99, 200, 15]
        assert is_proven(shell)


BY_INACTIVITY = PROGRAM_TEXT + "expiry: {policy: inactivity, days: 30}\n"
REFUSED: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any]]] = {
    "one that is already merged": ("already_merged", [{**MERGE, "id": "m0"}], {}),
    "into itself": ("same_account", [], {"into_customer_id": "c1"}),
    "into an account that is merged into it": (
        "same_account",
        [command("account.merge", "m0", customer_id="c2", into_customer_id="c1")],
        {},
    ),
    "into nobody's": ("unknown_account", [], {"into_customer_id": "c9"}),
    "into one of another program": (
        "other_program",
        [command("account.create", "n1", customer_id="c1", account_id="far", program_id="other")],
        {"into_customer_id": None, "into_account_id": "far"},
    ),
    "a frozen one": ("account_frozen", [command("account.freeze", "f1")], {}),
    "a closed one": ("account_closed", [command("account.close", "f1", points_left="forfeit")], {}),
    "into a closed one": (
        "account_closed",
        [command("account.close", "f1", customer_id="c2", points_left="forfeit")],
        {},
    ),
    "one with points reserved": ("authorizations_open", [command("authorize", "h1", points=5)], {}),
    "one that owes points": (
        "not_mergeable",
        [command("adjust", "d1", points=-101, reason="x", allow_negative_balance=True)],
        {},
    ),
    "one whose membership a command dates before the other's": (
        "not_mergeable",
        [
            command("account.create", "n1", customer_id="c4", account_id="old", enrolled_at="2001-01-01T00:00:00Z"),
        ],
        {"customer_id": "c4"},
    ),
}


class TestWhatIsNot:
    @pytest.mark.parametrize(("code", "before", "asked"), REFUSED.values(), ids=REFUSED.keys())
    def test_merged(self, shell: Shell, code: str, before: list[dict[str, Any]], asked: dict[str, Any]) -> None:
        shell.apply_program(OTHER)
        shell.take(order("o1", "100.00"), order("o2", "200.00", customer_id="c2"))
        for message in before:
            shell.take(message)
        data = {"customer_id": "c1", "into_customer_id": "c2", **asked}
        shell.take(command("account.merge", "m1", **{name: said for name, said in data.items() if said is not None}))
        assert answer(shell, "m1")["code"] == code
        assert is_proven(shell)

    def test_merged_where_points_expire_by_inactivity(self, engine: Engine) -> None:
        shell = Shell(engine, limits=TRUSTED, program_text=BY_INACTIVITY)
        shell.take(order("o1", "100.00"), order("o2", "200.00", customer_id="c2"), MERGE)
        assert answer(shell, "m1")["code"] == "not_mergeable"

    def test_undone_where_nothing_is_merged_or_what_it_brought_went_on(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), order("o2", "200.00", customer_id="c2"), UNMERGE, MERGE)
        assert answer(shell, "u1")["code"] == "not_merged"
        shell.take(claim("o1", customer_id="c3", previous_customer_id="c1"), {**UNMERGE, "id": "u2"})
        assert (answer(shell, "u2")["code"], [row[1] for row in accounts(shell)]) == ("not_mergeable", [0, 200, 100])
        assert is_proven(shell)

    def test_reversed_in_an_account_that_is_merged(self, shell: Shell) -> None:
        shell.take(command("credit", "k1", points=9), order("o2", "200.00", customer_id="c2"), MERGE)
        shell.take(command("reverse", "k2", command_id="k1"), UNMERGE, command("reverse", "k3", command_id="k1"))
        assert (answer(shell, "k2")["code"], answer(shell, "k3")["type"]) == ("already_merged", "accepted")
        assert is_proven(shell)

    def test_merged_into_an_account_from_which_an_order_of_it_was_claimed(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), order("o2", "200.00", customer_id="c2"))
        shell.take(claim("o1", customer_id="c2", previous_customer_id="c1"))
        shell.take({**MERGE, "data": {"customer_id": "c2", "into_customer_id": "c1"}})
        assert answer(shell, "m1")["code"] == "not_mergeable"
        shell.take(command("account.merge", "m2", customer_id="c1", into_customer_id="c2"))
        assert answer(shell, "m2")["type"] == "accepted"
        assert is_proven(shell)

    def test_reversed_as_other_commands_are(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), order("o2", "200.00", customer_id="c2"), MERGE)
        shell.take(command("reverse", "k1", command_id="m1"), UNMERGE, command("reverse", "k2", command_id="u1"))
        told = [answer(shell, name) for name in ("k1", "k2")]
        assert [(each["code"], "account.unmerge" in each["advice"]) for each in told] == [("not_reversible", True)] * 2


class TestNames:
    def test_every_name_of_the_merged_account_leads_to_the_survivor(self, shell: Shell) -> None:
        shell.take(
            command("account.create", "n1", customer_id="c1", account_id="a1"),
            command("account.link", "n2", customer_id="c1", card="9801-0007"),
            order("o1", "100.00"),
            order("o2", "200.00", customer_id="c2"),
            MERGE,
        )
        shell.take(
            command("debit", "k1", account_id="a1", points=1),
            command("debit", "k2", points=1),
            {**command("debit", "k3", points=1), "data": {"card": "9801-0007", "points": 1}},
            command("transfer", "k4", to_account_id="a1", customer_id="c2", points=1),
        )
        shell.take(command("account.freeze", "k5"))
        assert [answer(shell, f"k{number}").get("code") for number in (1, 2, 3, 4, 5)] == [
            None, None, None, "same_account", None,
        ]  # fmt: skip
        frozen = shell.rows("SELECT customer_id, balance, status FROM accounts ORDER BY customer_id")
        assert [tuple(row) for row in frozen] == [("c1", 0, "active"), ("c2", 297, "frozen")]
        assert is_proven(shell)

    def test_a_command_that_is_sent_again_is_answered_again_and_does_nothing(self, shell: Shell) -> None:
        shell.take(order("o1", "100.00"), order("o2", "200.00", customer_id="c2"), MERGE)
        assert shell.take({**MERGE, "time": "2026-04-01T00:00:00Z"}) in ({"replayed": 1}, {})
        assert is_proven(shell)


def test_while_orders_transfers_and_refunds_for_both_run_no_point_is_lost(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED, batch_messages=3)
    for number in range(30):
        customer, other = ("c1", "c2") if number % 2 else ("c2", "c1")
        shell.receive(
            order(f"o{number}", "10.00", customer_id=customer),
            refund(f"r{number}", f"o{number}", net="3.00"),
            command("transfer", f"t{number}", customer_id=customer, to_customer_id=other, points=1),
        )
        if number in {8, 20}:
            shell.receive({**MERGE, "id": f"m{number}"})
        if number == 14:
            shell.receive(UNMERGE)
    url = engine.url.render_as_string(hide_password=False)

    def post() -> None:
        own = create_database_engine(url)
        Shell(own, program_text=None, batch_messages=3).post()
        own.dispose()

    threads = [Thread(target=post) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shell.post()
    assert shell.rows("SELECT reason FROM inbox WHERE state NOT IN ('posted', 'rejected')") == []
    assert sum(row[1] for row in accounts(shell)) == 30 * 7
    assert is_proven(shell)


def test_a_reward_that_was_taken_back_stands_in_no_ones_way(engine: Engine) -> None:
    catalogue = "rewards:\n  - {reward_id: mug, name: A mug, cost: 70, kind: item, sku: MUG}\n"
    shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + catalogue)
    shell.take(
        command("credit", "k1", points=100),
        command("credit", "k2", customer_id="c2", points=100),
        command("reward.issue", "k3", reward_id="mug"),
    )
    taken_back = command("reward.delete", "k4", issue_id="k3")
    del taken_back["data"]["customer_id"]
    shell.take(taken_back)
    shell.take(command("account.merge", "k5", into_customer_id="c2"))
    assert (answer(shell, "k5")["type"], shell.balance("c2"), shell.differences()) == ("accepted", 200, [])
