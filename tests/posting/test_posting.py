"""Posting, as scenarios: messages in, then what the ledger, the inbox and the outbox say."""

from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, cancellation, line, order, refund
from tests.shell import Shell


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def entries(shell: Shell, customer_id: str = "c1") -> list[tuple[Any, ...]]:
    rows = shell.rows(
        "SELECT e.sequence, e.kind, e.points, e.balance_after, e.order_id, e.refund_id, e.corrects_sequence"
        " FROM entries e JOIN accounts USING (account_id) WHERE customer_id = :customer_id ORDER BY sequence",
        customer_id=customer_id,
    )
    return [tuple(row) for row in rows]


class TestOrders:
    def test_a_first_order_opens_an_account_and_a_lot(self, shell: Shell) -> None:
        assert shell.take(order("o1", "120.50")) == {"posted": 1}
        assert entries(shell) == [(1, "accrual", 120, 120, "o1", None, None)]
        assert [tuple(row) for row in shell.rows("SELECT points_granted, points_remaining FROM lots")] == [(120, 120)]
        assert [event["type"] for event in shell.events()] == ["loyalty.account.created", "loyalty.balance.changed"]
        assert shell.outcome("completed-o1") == ("posted", None)
        assert shell.differences() == []

    def test_an_order_that_earns_nothing_is_recorded_without_an_entry(self, shell: Shell) -> None:
        assert shell.take(order("o1", "0.99"), refund("r1", "o1")) == {"posted": 2}
        assert entries(shell) == []
        assert shell.balance() == 0
        assert [event["type"] for event in shell.events()] == ["loyalty.account.created"]
        assert shell.differences() == []

    def test_an_order_of_more_points_than_are_counted_is_parked_alone_and_opens_no_account(self, shell: Shell) -> None:
        rich = order("rich", customer_id="rich", lines=[line(f"{n}", "9" * 12) for n in range(1001)])
        assert shell.take(rich, order("o1")) == {"posted": 1, "parked": 1}
        assert shell.outcome("completed-rich") == ("dead", "too_many_points")
        assert (shell.balance("rich"), shell.balance()) == (None, 100)
        assert shell.parked_events() == [("completed-rich", "too_many_points")]
        assert shell.differences() == []

    def test_the_same_order_under_a_new_event_id_is_a_replay(self, shell: Shell) -> None:
        shell.take(order("o1", event_id="e1"))
        assert shell.take(order("o1", event_id="e2", time="2026-03-02T09:00:00Z")) == {"replayed": 1}
        assert (shell.balance(), shell.outcome("e2")) == (100, ("replayed", None))

    def test_the_same_order_twice_in_one_batch_is_posted_once(self, shell: Shell) -> None:
        assert shell.take(order(event_id="e1"), order(event_id="e2")) == {"posted": 1, "replayed": 1}
        assert (shell.balance(), shell.differences()) == (100, [])

    @pytest.mark.parametrize("batches", [1, 2])
    def test_a_known_order_with_other_content_is_parked_and_the_first_stands(self, shell: Shell, batches: int) -> None:
        events = [order("o1", "100.00", event_id="e1"), order("o1", "900.00", event_id="e2")]
        for batch in [events] if batches == 1 else [[event] for event in events]:
            shell.take(*batch)
        assert (shell.balance(), shell.outcome("e2")) == (100, ("dead", "order_conflict"))
        assert shell.parked_events() == [("e2", "order_conflict")]

    def test_the_same_order_id_of_two_sources_is_two_orders(self, shell: Shell) -> None:
        both = PROGRAM_TEXT.replace('["/shops/test"]', '["/shops/test", "/shops/2"]')
        shell.apply_program(both, "2026-01-01T00:00:00Z")
        assert shell.take(order("o1"), order("o1", source="/shops/2")) == {"posted": 2}
        assert shell.balance() == 200

    def test_two_orders_of_one_customer_in_one_batch_chain(self, shell: Shell) -> None:
        shell.take(order("o1", "600.00"), order("o2", "100.00", time="2026-03-02T12:00:00Z"))
        assert entries(shell) == [
            (1, "accrual", 600, 600, "o1", None, None),
            (2, "accrual", 150, 750, "o2", None, None),  # silver since the first
        ]
        assert shell.differences() == []

    def test_a_late_order_earns_at_the_tier_of_its_own_time(self, shell: Shell) -> None:
        shell.take(order("o1", "600.00", time="2026-03-01T12:00:00Z"))
        shell.take(
            order("o2", "1600.00", time="2026-03-03T12:00:00Z"),
            order("before", "100.00", time="2026-02-01T12:00:00Z"),
            order("between", "100.00", time="2026-03-02T12:00:00Z"),
            order("after", "100.00", time="2026-03-04T12:00:00Z"),
        )
        points = {row.order_id: row.points_entitled for row in shell.rows("SELECT * FROM orders")}
        assert points == {"o1": 600, "o2": 2400, "before": 100, "between": 150, "after": 200}


class TestRefunds:
    def test_a_refund_takes_back_what_its_part_earned(self, shell: Shell) -> None:
        shell.take(order("o1", lines=[line("1", "60.00"), line("2", "40.00", quantity=4)]))
        shell.take(refund("r1", "o1", lines=[{"line_id": "2", "quantity": 1}]))
        assert entries(shell)[1:] == [(2, "clawback", -10, 90, "o1", "r1", 1)]
        assert shell.differences() == []

    def test_an_order_and_its_refunds_may_come_in_one_batch(self, shell: Shell) -> None:
        assert shell.take(order(), refund("r1", net="30.00"), refund("r2")) == {"posted": 3}
        assert [entry[2:4] for entry in entries(shell)] == [(100, 100), (-30, 70), (-70, 0)]
        assert shell.differences() == []

    def test_the_same_refund_under_a_new_event_id_is_a_replay(self, shell: Shell) -> None:
        shell.take(order(), refund(net="30.00", event_id="e1"))
        assert shell.take(refund(net="30.00", event_id="e2")) == {"replayed": 1}
        assert shell.balance() == 70

    @pytest.mark.parametrize("is_one_batch", [True, False])
    def test_a_known_refund_with_other_content_is_parked(self, shell: Shell, is_one_batch: bool) -> None:
        first, second = refund(net="30.00", event_id="e1"), refund(net="31.00", event_id="e2")
        if is_one_batch:
            shell.take(order(), first, second)
        else:
            shell.take(order(), first)
            shell.take(second)
        assert (shell.balance(), shell.outcome("e2")) == (70, ("dead", "refund_conflict"))

    def test_a_refund_id_that_was_used_for_another_order_is_a_conflict(self, shell: Shell) -> None:
        shell.take(order("o1"), refund("r1", "o1", event_id="e1"), order("o2"))
        shell.take(refund("r1", "o2", event_id="e2"))
        assert (shell.balance(), shell.outcome("e2")) == (100, ("dead", "refund_conflict"))

    def test_a_refund_of_an_account_that_moved_on_still_corrects_its_own_entry(self, shell: Shell) -> None:
        shell.take(order("o1"), order("o2"), order("o3"))
        shell.take(refund("r2", "o2"))
        assert entries(shell)[-1] == (4, "clawback", -100, 200, "o2", "r2", 2)

    def test_a_refund_policy_that_takes_only_pending_points_records_the_rest_as_shortfall(self, engine: Engine) -> None:
        shell = Shell(engine, program_text=PROGRAM_TEXT + "clawback: {policy: pending_only}\n")
        shell.take(order(), refund())
        assert shell.balance() == 100
        assert shell.value("SELECT points_shortfall FROM refunds") == 100
        assert shell.differences() == []


class TestWaiting:
    def test_a_refund_before_its_order_applies_by_itself_with_the_order(self, shell: Shell) -> None:
        assert shell.take(refund(net="30.00")) == {}
        assert shell.outcome("refunded-r1") == ("waiting", None)
        assert shell.take(order()) == {"posted": 2}
        assert [entry[2:4] for entry in entries(shell)] == [(100, 100), (-30, 70)]
        assert shell.outcome("refunded-r1") == ("posted", None)
        assert shell.differences() == []

    def test_a_refund_before_its_order_in_one_batch_applies_with_the_order(self, shell: Shell) -> None:
        shell.take(refund(net="30.00"), order(), order("o2"))
        assert [entry[2:4] for entry in entries(shell)] == [(100, 100), (-30, 70), (100, 170)]

    def test_several_refunds_apply_in_the_order_they_came(self, shell: Shell) -> None:
        shell.receive(refund("r1", net="10.00"))
        shell.receive(refund("r2", net="20.00"))
        shell.take(refund("r3", net="30.00"), order())
        assert [entry[5] for entry in entries(shell)] == [None, "r1", "r2", "r3"]

    def test_a_refund_that_was_overtaken_by_its_orders_posting_is_woken_by_the_sweep(self, shell: Shell) -> None:
        shell.take(order())
        shell.take(refund(net="30.00"))
        # As if this refund's intake had not seen the order, which was committed between.
        shell.take(refund("r2", "o2", net="30.00"))
        shell.take(order("o2"))
        shell.receive(refund("r3", net="5.00"))
        shell.execute("UPDATE inbox SET state = 'waiting', shard = NULL WHERE event_id = 'refunded-r3'")
        assert shell.post() == {}
        assert shell.sweep() == {"woken": 1, "overdue": 0}
        assert shell.post() == {"posted": 1}
        assert (shell.balance(), shell.differences()) == (135, [])

    def test_the_sweep_leaves_a_refund_alone_whose_order_is_still_unknown(self, shell: Shell) -> None:
        shell.receive(refund())
        assert shell.sweep() == {"woken": 0, "overdue": 0}
        assert shell.outcome("refunded-r1") == ("waiting", None)

    def test_a_refund_that_waited_too_long_is_parked_and_told_once(self, shell: Shell) -> None:
        shell.receive(refund("old"), refund("young"))
        shell.execute("UPDATE inbox SET received_at = now() - interval '31 days' WHERE event_id = 'refunded-old'")
        assert shell.sweep(waiting_days_max=30) == {"woken": 0, "overdue": 1}
        assert shell.sweep(waiting_days_max=30) == {"woken": 0, "overdue": 0}
        assert shell.outcome("refunded-old") == ("dead", "order_never_came")
        assert shell.outcome("refunded-young") == ("waiting", None)
        assert shell.parked_events() == [("refunded-old", "order_never_came")]

    def test_a_refund_whose_order_came_is_never_parked_however_long_the_sweep_needs(self, shell: Shell) -> None:
        shell.take(order())
        shell.receive(*(refund(f"r{n}", net="1.00") for n in range(5)))
        shell.execute(
            "UPDATE inbox SET state = 'waiting', shard = NULL, received_at = now() - interval '31 days'"
            " WHERE type = 'order.refunded'"
        )
        sweeps = [shell.sweep(rows_max=2) for _ in range(4)]
        assert [(sweep["woken"], sweep["overdue"]) for sweep in sweeps] == [(4, 0), (1, 0), (0, 0), (0, 0)]
        assert shell.post() == {"posted": 5}

    def test_a_refund_whose_order_is_parked_goes_on_waiting(self, shell: Shell) -> None:
        shell.receive(refund())
        shell.take(order(currency="USD"))
        assert shell.outcome("refunded-r1") == ("waiting", None)
        assert shell.parked_events() == [("completed-o1", "wrong_currency")]


class TestGuests:
    def test_a_guests_order_is_recorded_and_earns_nothing(self, shell: Shell) -> None:
        assert shell.take(order(customer_id=None)) == {"posted": 1}
        assert shell.rows("SELECT * FROM accounts") == []
        assert shell.events() == []
        assert shell.differences() == []

    def test_a_guests_refund_is_recorded_too(self, shell: Shell) -> None:
        shell.take(order(customer_id=None))
        assert shell.take(refund()) == {"posted": 1}
        assert shell.take(refund(event_id="again")) == {"replayed": 1}
        assert (shell.value("SELECT points_due FROM refunds"), shell.differences()) == (0, [])


class TestParking:
    @pytest.mark.parametrize(
        ("reason", "messages"),
        [
            ("unknown_program", [order(event_id="bad", program_id="nowhere")]),
            ("unknown_program", [order(event_id="bad", source="/shops/unlisted")]),
            ("unknown_program", [order(), refund(event_id="bad", program_id="nowhere")]),
            ("wrong_currency", [order(event_id="bad", currency="USD")]),
            ("unknown_line", [order(), refund(event_id="bad", lines=[{"line_id": "9", "quantity": 1}])]),
            ("refund_exceeds_order", [order(), refund(event_id="bad", net="100.02")]),
            ("refund_exceeds_order", [order(), refund(event_id="bad", lines=[{"line_id": "1", "quantity": 2}])]),
        ],
    )
    def test_what_needs_a_person_is_parked_with_its_reason_and_told(
        self, shell: Shell, reason: str, messages: list[dict[str, Any]]
    ) -> None:
        good = order("good", customer_id="c2")
        totals = shell.take(*messages, good)
        assert (totals["parked"], totals["posted"]) == (1, len(messages))
        assert shell.outcome("bad") == ("dead", reason)
        assert shell.parked_events() == [("bad", reason)]
        detail = shell.value("SELECT detail FROM inbox WHERE event_id = 'bad'")
        assert shell.events("loyalty.message.parked")[0]["data"]["detail"] == detail
        assert shell.differences() == []

    def test_a_message_that_is_parked_again_after_a_retry_is_told_again(self, shell: Shell) -> None:
        shell.take(order(currency="USD"))
        shell.receive_again()
        shell.post()
        told = shell.events("loyalty.message.parked")
        inbox_id = shell.value("SELECT inbox_id FROM inbox")
        assert [event["id"] for event in told] == [f"parked:{inbox_id}", f"parked:{inbox_id}:2"]


class TestPrograms:
    @pytest.fixture
    def shell(self, engine: Engine) -> Shell:
        shell = Shell(engine)
        house = PROGRAM_TEXT.replace("program_id: test", "program_id: house").replace('["/shops/test"]', "[]")
        shell.apply_program(house + "default: true\n")
        return shell

    def test_an_order_belongs_to_the_program_of_its_source_else_to_the_default(self, shell: Shell) -> None:
        shell.take(order("o1"), order("o2", "50.00", source="/shops/elsewhere"))
        assert (shell.balance("c1", "test"), shell.balance("c1", "house")) == (100, 50)

    def test_an_order_that_names_a_program_belongs_to_that_one(self, shell: Shell) -> None:
        shell.take(order("o1", program_id="house"))
        assert (shell.balance("c1", "test"), shell.balance("c1", "house")) == (None, 100)

    def test_a_refund_without_a_name_waits_for_the_order_that_its_source_leads_to(self, shell: Shell) -> None:
        shell.take(order("o1", program_id="house"), refund("r1", "o1"))
        assert (shell.balance("c1", "house"), shell.outcome("refunded-r1")[0]) == (100, "waiting")
        assert shell.take(order("o1", event_id="e2")) == {"posted": 2}
        assert (shell.balance("c1", "house"), shell.balance("c1", "test")) == (100, 0)
        assert shell.differences() == []

    def test_what_waits_for_its_order_of_another_program_is_not_looked_at_until_that_comes(self, shell: Shell) -> None:
        shell.take(order("o1", program_id="house"), refund("r1", "o1"))
        assert (shell.sweep(), shell.post()) == ({"woken": 0, "overdue": 0}, {})
        shell.execute("UPDATE inbox SET received_at = now() - interval '31 days' WHERE state = 'waiting'")
        assert shell.sweep() == {"woken": 0, "overdue": 1}
        detail = shell.value("SELECT detail FROM inbox WHERE reason = 'order_never_came'")
        assert '"program_id": "house"' in detail

    def test_the_sweep_wakes_it_when_its_orders_posting_overtook_it(self, shell: Shell) -> None:
        shell.take(order("o1", program_id="house"), refund("r1", "o1"), order("o1", event_id="e2"))
        shell.take(refund("r2", "o1", program_id="house"))
        shell.execute(
            "UPDATE inbox SET state = 'waiting', shard = NULL, settled_at = NULL, others_posted = 1, settled = :settled"
            " WHERE event_id = 'refunded-r2'",
            settled='{"refund_id":"r2","order_id":"o1","program_id":"house","full":true}',
        )
        assert (shell.sweep(), shell.post()) == ({"woken": 1, "overdue": 0}, {"replayed": 1})

    def test_a_refund_without_a_name_of_a_source_that_leads_nowhere_is_told_to_name_its_orders(
        self, engine: Engine
    ) -> None:
        shell = Shell(engine)
        lost: dict[str, Any] = {"source": "/shops/lost"}
        shell.take(order("o1", program_id="test", **lost), refund("r1", "o1", **lost))
        assert shell.outcome("refunded-r1") == ("dead", "unknown_program")
        assert "name the program in data.program_id" in shell.value("SELECT detail FROM inbox WHERE state = 'dead'")

    def test_one_order_may_earn_in_two_programs_and_each_is_refunded_by_itself(self, shell: Shell) -> None:
        shell.take(order("o1", event_id="e1"), order("o1", event_id="e2", program_id="house"))
        shell.take(refund("r1", "o1", event_id="e3", program_id="house"))
        assert (shell.balance("c1", "test"), shell.balance("c1", "house")) == (100, 0)
        shell.take(refund("r1", "o1", event_id="e4"))
        assert (shell.balance("c1", "test"), shell.balance("c1", "house")) == (0, 0)
        assert shell.differences() == []

    def test_a_refund_that_names_another_program_waits_for_the_order_in_that_one(self, shell: Shell) -> None:
        shell.take(order("o1"), refund("r1", "o1", program_id="house"))
        assert (shell.balance("c1", "test"), shell.outcome("refunded-r1")[0]) == (100, "waiting")
        assert shell.take(order("o1", event_id="e2", program_id="house")) == {"posted": 2}
        assert (shell.balance("c1", "house"), shell.differences()) == (0, [])

    def test_an_order_is_judged_by_the_version_in_force_when_it_occurred(self, shell: Shell) -> None:
        shell.apply_program(PROGRAM_TEXT.replace('bronze: "1"', 'bronze: "3"'), effective_from="2026-06-01T00:00:00Z")
        shell.take(
            order("old", time="2026-05-31T23:59:59Z"),
            order("new", "10.00", time="2026-06-01T00:00:00Z"),
        )
        points = {row.order_id: row.points_entitled for row in shell.rows("SELECT * FROM orders")}
        assert points == {"old": 100, "new": 30}

    def test_a_refund_is_judged_by_the_version_that_its_order_was(self, shell: Shell) -> None:
        shell.take(order("o1", time="2026-05-01T12:00:00Z"))
        shell.apply_program(PROGRAM_TEXT.replace('bronze: "1"', 'bronze: "3"'), effective_from="2026-06-01T00:00:00Z")
        shell.take(refund("r1", "o1", net="50.00", time="2026-07-01T12:00:00Z"))
        assert (shell.balance(), shell.differences()) == (50, [])

    def test_a_source_that_moves_to_another_program_takes_later_orders_along_and_no_earlier_ones(
        self, shell: Shell
    ) -> None:
        shell.take(order("old", time="2026-05-01T12:00:00Z"))
        since = "2026-06-01T00:00:00Z"
        shell.apply_program(PROGRAM_TEXT.replace('["/shops/test"]', "[]"), since)
        house = PROGRAM_TEXT.replace("program_id: test", "program_id: house") + "default: true\n"
        shell.apply_program(house, since)
        again = [
            order("old", event_id="e2", time="2026-06-02T12:00:00Z"),
            order("old", "90.00", event_id="e3", time="2026-06-02T12:00:00Z"),
        ]
        assert shell.take(order("late", time="2026-05-31T12:00:00Z"), *again) == {
            "posted": 1, "replayed": 1, "parked": 1,
        }  # fmt: skip
        shell.take(
            order("new", "10.00", time="2026-06-01T12:00:00Z"),
            refund("r1", "old", net="30.00", time="2026-07-01T12:00:00Z"),
            cancellation("late", time="2026-07-01T12:00:00Z"),
        )
        assert (shell.balance("c1", "test"), shell.balance("c1", "house")) == (70, 10)
        assert (shell.outcome("e3"), shell.differences()) == (("dead", "order_conflict"), [])

    def test_a_program_that_is_applied_while_a_worker_runs_is_seen_by_its_next_batch(self, shell: Shell) -> None:
        shell.take(order("o1", program_id="club"))
        shell.apply_program(PROGRAM_TEXT.replace("program_id: test", "program_id: club").replace("/shops/test", "/c"))
        shell.take(order("o2", program_id="club"))
        assert (shell.outcome("completed-o1")[0], shell.outcome("completed-o2")[0]) == ("dead", "posted")


class TestEvents:
    def test_an_accounts_events_are_numbered_without_gaps_and_in_order(self, shell: Shell) -> None:
        for n in range(1, 4):
            shell.take(order(f"o{n}", "400.00"), refund(f"r{n}", f"o{n}", net="10.00"), order(f"x{n}"))
        changed = shell.events("loyalty.balance.changed")
        assert [event["data"]["sequence"] for event in changed] == list(range(1, 10))
        balances = [event["data"]["balance"] for event in changed]
        assert [balance for balance, entry in zip(balances, entries(shell), strict=True) if balance != entry[3]] == []
        assert len({event["id"] for event in changed}) == 9
        assert shell.events()[0]["type"] == "loyalty.account.created"

    def test_a_tier_change_follows_the_change_of_balance_that_caused_it(self, shell: Shell) -> None:
        shell.take(order("o1", "600.00"))
        types = [event["type"].removeprefix("loyalty.") for event in shell.events()]
        assert types == ["account.created", "balance.changed", "tier.changed"]
        changed = shell.events("loyalty.tier.changed")[0]["data"]
        assert (changed["previous_tier"], changed["tier"], changed["qualifying_points"]) == ("bronze", "silver", 600)

    def test_an_event_tells_which_order_and_refund_and_which_lots(self, shell: Shell) -> None:
        shell.take(order("o1"), refund("r1", "o1", net="25.00"))
        told = shell.events("loyalty.balance.changed")[1]["data"]
        assert (told["order_id"], told["refund_id"], told["points"], told["reason"]) == (
            "o1", "r1", -25, "order_refunded",
        )  # fmt: skip
        assert told["lots"] == [{"lot_number": 1, "points": -25, "expires_at": None}]
