"""Fulfilments and cancellations: whenever they come, in whatever order, the ledger ends alike."""

from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.arrivals import rounds
from tests.factories import PROGRAM_TEXT, cancellation, fulfilment, line, order, refund, reversion
from tests.shell import Shell

HELD = """
program_id: held
name: Held
currency: EUR
time_zone: Europe/Berlin
sources: ["/held"]
availability: {policy: on_fulfilled}
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {all: "1"}}
tiers:
  - {tier_id: all, threshold_points: 0}
"""
END = """
SELECT a.balance, a.pending, a.deficit, a.lifetime_points, a.qualifying_points, o.points_entitled, o.points_excused,
       o.fulfilled_at IS NOT NULL AS is_fulfilled, o.cancelled_at IS NOT NULL AS is_cancelled
FROM accounts a JOIN orders o USING (account_id)
"""


@pytest.fixture
def shell(engine: Engine) -> Iterator[Shell]:
    shell = Shell(engine, shards=1)
    shell.apply_program(HELD)
    yield shell
    assert (shell.differences(), shell.repairs()) == ([], ([], []))


@pytest.fixture(params=["/shops/test", "/held"], ids=["available at once", "held"])
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_cancellation_takes_back_all_that_the_order_still_earns(shell: Shell, source: str) -> None:
    shell.take(order("o1", source=source), refund("r1", "o1", net="40.00", source=source))
    assert shell.take(cancellation("o1", source=source)) == {"posted": 1}
    (row,) = shell.rows(END)
    assert (row.balance, row.pending, row.lifetime_points, row.points_entitled) == (0, 0, 0, 0)
    told = shell.events("loyalty.balance.changed")[-1]["data"]
    assert (told["kind"], told["reason"], told["order_id"]) == ("clawback", "order_cancelled", "o1")
    assert "refund_id" not in told


@pytest.mark.parametrize("is_one_batch", [True, False], ids=["in one batch", "one by one"])
def test_in_any_order_of_arrival_the_account_ends_alike(shell: Shell, source: str, is_one_batch: bool) -> None:
    lines = [line("1", "60.00"), line("2", "40.00")]
    messages: list[Any] = [
        order("o1", lines=lines, source=source),
        fulfilment("o1", source=source),
        cancellation("o1", source=source, time="2026-03-09T12:00:00+01:00"),
        refund("r1", "o1", lines=[{"line_id": "1", "quantity": 1}], source=source),
    ]
    for together in rounds(permutations(messages), is_one_batch=is_one_batch):
        shell.take(*together)
    assert shell.outcomes() == {("posted", None): 24 * 4}
    assert Counter(map(tuple, shell.rows(END))) == {(0, 0, 0, 0, 0, 0, 0, True, True): 24}


def test_without_a_cancellation_what_is_kept_stays(shell: Shell, source: str) -> None:
    messages = [
        order("o1", source=source),
        fulfilment("o1", source=source),
        refund("r1", "o1", net="30.00", source=source),
    ]
    for together in rounds(permutations(messages)):
        shell.take(*together)
    assert Counter(tuple(row)[:6] for row in shell.rows(END)) == {(70, 0, 0, 70, 70, 70): 6}


@pytest.mark.parametrize("message", [fulfilment, cancellation])
def test_one_that_comes_before_its_order_waits_for_it(shell: Shell, message: Any) -> None:
    assert shell.take(message("o1")) == {}
    assert shell.outcomes() == {("waiting", None): 1}
    assert shell.take(order("o1")) == {"posted": 2}
    assert shell.value("SELECT count(*) FROM order_events") == 1


@pytest.mark.parametrize("message", [fulfilment, cancellation])
def test_the_same_again_changes_nothing(shell: Shell, source: str, message: Any) -> None:
    shell.take(order("o1", source=source), message("o1", source=source))
    before = shell.rows(END)
    again = message("o1", source=source, event_id="again")
    assert shell.take(again, message("o1", source=source)) == {"replayed": 1}
    assert shell.rows(END) == before
    assert shell.value("SELECT count(*) FROM order_events") == 1


@pytest.mark.parametrize("message", [fulfilment, cancellation])
def test_the_same_twice_in_one_batch_is_posted_once(shell: Shell, source: str, message: Any) -> None:
    assert shell.take(
        message("o1", source=source, event_id="early"), order("o1", source=source), message("o1", source=source)
    ) == {"posted": 2, "replayed": 1}


@pytest.mark.parametrize("message", [fulfilment, cancellation])
def test_a_second_one_of_another_time_is_a_repeat_and_the_first_time_stands(shell: Shell, message: Any) -> None:
    shell.take(order("o1"), message("o1", time="2026-03-06T12:00:00Z"))
    assert shell.take(message("o1", event_id="later", time="2026-03-07T12:00:00Z")) == {"replayed": 1}
    assert shell.value("SELECT extract(day FROM coalesce(fulfilled_at, cancelled_at))::integer FROM orders") == 6


@pytest.mark.parametrize(("message", "advice"), [(fulfilment, "is fulfilled all"), (cancellation, "is cancelled all")])
def test_a_second_one_of_other_content_is_a_conflict(shell: Shell, message: Any, advice: str) -> None:
    shell.take(order("o1"), message("o1"))
    assert shell.take(message("o1", event_id="other", program_id="test")) == {"parked": 1}
    assert shell.outcome("other") == ("dead", "order_conflict")
    assert f"The order {advice} the same" in shell.value("SELECT detail FROM inbox WHERE event_id = 'other'")


def test_a_guests_order_is_fulfilled_and_cancelled_without_points(shell: Shell) -> None:
    shell.take(order("o1", customer_id=None), fulfilment("o1"), cancellation("o1"), refund("r1", "o1"))
    assert shell.outcomes() == {("posted", None): 4}
    (row,) = shell.rows("SELECT fulfilled_at, cancelled_at, account_id FROM orders")
    assert (row.fulfilled_at is None, row.cancelled_at is None, row.account_id) == (False, False, None)
    assert shell.events() == []


def test_a_fulfilment_of_points_that_waited_for_nothing_is_recorded_only(shell: Shell) -> None:
    shell.take(order("o1"), fulfilment("o1"))
    assert shell.value("SELECT count(*) FROM entries") == 1
    assert shell.value("SELECT fulfilled_at IS NOT NULL FROM orders")


def test_a_refund_after_the_cancellation_takes_nothing_more(shell: Shell, source: str) -> None:
    shell.take(order("o1", source=source), cancellation("o1", source=source))
    assert shell.take(refund("r1", "o1", net="30.00", source=source)) == {"posted": 1}
    assert shell.value("SELECT points_due FROM refunds") == 0
    assert shell.value("SELECT count(*) FROM entries") == 2


def test_a_cancellation_of_points_that_have_expired_takes_nothing_twice(shell: Shell) -> None:
    shell.apply_program(PROGRAM_TEXT + "expiry: {policy: after_months, months: 1}\n", "2026-01-01T00:00:00Z")
    shell.take(order("old", time="2026-01-10T12:00:00Z"), order("o2", "50.00", time="2026-11-20T12:00:00Z"))
    shell.expire("2026-03-01T00:00:00Z")
    shell.take(cancellation("old"))
    assert shell.balance() == 50
    assert shell.value("SELECT points_excused FROM order_events") == 100


def test_the_cancellation_of_an_order_that_raised_a_tier_counts_at_the_review(shell: Shell) -> None:
    shell.take(order("o1", "600.00"), cancellation("o1"))
    (row,) = shell.rows("SELECT tier_id, qualifying_points FROM accounts")
    assert (row.tier_id, row.qualifying_points) == ("silver", 0)


def test_orders_of_two_programs_are_told_apart_by_the_program_that_a_message_names(shell: Shell) -> None:
    shell.take(order("o1"), order("o1", program_id="held", event_id="held"))
    assert shell.take(cancellation("o1", program_id="held"), fulfilment("o1")) == {"posted": 2}
    assert (shell.balance(), shell.balance(program_id="held")) == (100, 0)
    assert shell.value("SELECT pending FROM accounts WHERE program_id = 'held'") == 0


def test_fulfilments_and_cancellations_are_posted_on_the_shard_of_their_order(engine: Engine) -> None:
    shell = Shell(engine, shards=8)
    shell.apply_program(HELD)
    shell.take(*(order(f"o{n}", customer_id=f"c{n}", source="/held") for n in range(8)))
    shell.receive(*(message(f"o{n}", source="/held") for n in range(8) for message in (fulfilment, cancellation)))
    strays = shell.value(
        "SELECT count(*) FROM inbox i JOIN orders o ON i.source = o.source AND i.subject = 'order ' || o.order_id"
        " WHERE i.shard <> o.shard"
    )
    assert (shell.post(), strays) == ({"posted": 16}, 0)
    assert shell.value("SELECT sum(pending) + sum(balance) FROM accounts") == 0


class TestCancelledLines:
    BOUGHT = [line("1", "60.00"), line("2", "40.00", 4)]  # noqa: RUF012

    def test_count_as_refunded_and_the_rest_is_kept(self, shell: Shell, source: str) -> None:
        shell.take(order("o1", lines=self.BOUGHT, source=source))
        part = {"lines": [{"line_id": "2", "quantity": 1}], "source": source}
        assert shell.take(cancellation("o1", **part)) == {"posted": 1}
        assert shell.take(cancellation("o1", event_id="again", **part)) == {"replayed": 1}
        assert shell.take(cancellation("o1", event_id="later", time="2026-03-07T12:00:00Z", **part)) == {"posted": 1}
        (row,) = shell.rows(END)
        assert (row.balance + row.pending, row.points_entitled, row.is_cancelled) == (80, 80, False)
        told = shell.events("loyalty.balance.changed")[-1]["data"]
        assert (told["kind"], told["reason"], told["order_id"]) == ("clawback", "order_cancelled", "o1")

    def test_with_and_without_a_quantity_an_id_and_the_order_of_lines(self, shell: Shell, source: str) -> None:
        two = [{"line_id": "2", "quantity": 3}, {"line_id": "1"}]
        shell.take(order("o1", lines=self.BOUGHT, source=source))
        shell.take(cancellation("o1", cancellation_id="k1", lines=two, source=source))
        again = cancellation("o1", cancellation_id="k1", lines=two[::-1], source=source, event_id="again")
        other = cancellation("o1", cancellation_id="k1", lines=two[:1], source=source, event_id="other")
        assert (shell.take(again), shell.take(other)) == ({"replayed": 1}, {"parked": 1})
        assert shell.rows(END)[0].points_entitled == 10
        whole = cancellation("o1", cancellation_id="k2", source=source, event_id="whole", time="2026-03-08T12:00:00Z")
        assert shell.take(whole) == {"posted": 1}
        assert shell.rows(END)[0].points_entitled == 0

    @pytest.mark.parametrize("is_one_batch", [True, False], ids=["in one batch", "one by one"])
    def test_however_they_arrive_the_end_is_the_same(self, shell: Shell, source: str, is_one_batch: bool) -> None:
        messages: list[Any] = [
            order("o1", lines=self.BOUGHT, source=source),
            cancellation("o1", lines=[{"line_id": "2", "quantity": 1}], source=source),
            cancellation("o1", lines=[{"line_id": "1"}], source=source, event_id="second"),
            refund("r1", "o1", lines=[{"line_id": "2", "quantity": 1}], source=source),
        ]
        for together in rounds(permutations(messages), is_one_batch=is_one_batch):
            shell.take(*together)
        ends = Counter(map(tuple, shell.rows(END)))
        assert [*ends.values()] == [24]
        assert shell.rows(END)[0].points_entitled == 20


class TestFulfilledLines:
    BOUGHT = [line("1", "60.00"), line("2", "40.00", 4)]  # noqa: RUF012

    def test_make_their_points_available_and_leave_the_rest_pending(self, shell: Shell) -> None:
        shell.take(order("o1", lines=self.BOUGHT, source="/held"))
        part = {"lines": [{"line_id": "1", "quantity": 1}], "source": "/held"}
        assert shell.take(fulfilment("o1", **part)) == {"posted": 1}
        assert shell.take(fulfilment("o1", event_id="again", **part)) == {"replayed": 1}
        (row,) = shell.rows(END)
        assert (row.balance, row.pending, row.is_fulfilled) == (60, 40, False)
        told = shell.events("loyalty.balance.changed")[-1]["data"]
        assert (told["kind"], told["points"], told["pending_change"]) == ("release", 60, -60)
        assert (told["reason"], told["order_id"], told["pending"]) == ("order_fulfilled", "o1", 40)
        assert shell.differences() == []
        shell.take(fulfilment("o1", event_id="second", lines=[{"line_id": "2"}], source="/held"))
        assert (shell.rows(END)[0].balance, shell.rows(END)[0].pending) == (100, 0)

    @pytest.mark.parametrize("is_one_batch", [True, False], ids=["in one batch", "one by one"])
    def test_however_they_arrive_the_end_is_the_same(self, shell: Shell, source: str, is_one_batch: bool) -> None:
        messages: list[Any] = [
            order("o1", lines=self.BOUGHT, source=source),
            fulfilment("o1", lines=[{"line_id": "2", "quantity": 2}], source=source),
            fulfilment("o1", lines=[{"line_id": "1"}], source=source, event_id="second"),
            refund("r1", "o1", lines=[{"line_id": "1", "quantity": 1}], source=source),
            cancellation("o1", lines=[{"line_id": "2", "quantity": 1}], source=source),
        ]
        arrivals = [*permutations(messages)][::7]
        for together in rounds(arrivals, is_one_batch=is_one_batch):
            shell.take(*together)
        ends = Counter(map(tuple, shell.rows(END)))
        assert [*ends.values()] == [len(arrivals)]
        row = shell.rows(END)[0]
        assert (row.balance, row.pending) == ((20, 10) if source == "/held" else (30, 0))

    def test_are_in_the_ledger_as_it_was_then(self, shell: Shell) -> None:
        shell.take(order("o1", lines=self.BOUGHT, source="/held"))
        shell.take(fulfilment("o1", lines=[{"line_id": "1"}], source="/held"))
        (lot, part) = shell.rows("SELECT * FROM dated_lots ORDER BY lot_number")
        assert (lot.points_remaining, lot.is_pending, lot.available_at) == (40, True, None)
        assert (part.points_granted, part.is_pending, part.origin_id) == (60, False, "o1")
        shell.execute("UPDATE lots SET available_at = available_at + interval '1 hour' WHERE lot_number = 2")
        assert any("is available at" in text for text in shell.differences())
        shell.execute("UPDATE lots SET available_at = available_at - interval '1 hour' WHERE lot_number = 2")

    def test_end_with_the_activity_of_the_account_where_that_ends_points(self, shell: Shell) -> None:
        sliding = HELD.replace("held", "sliding").replace("Held", "Sliding")
        shell.apply_program(sliding + "expiry: {policy: inactivity, months: 600}\n")
        there = {"source": "/sliding"}
        shell.take(order("o1", lines=self.BOUGHT, **there))
        shell.take(fulfilment("o1", lines=[{"line_id": "1"}], time="2026-03-06T12:00:00Z", **there))
        shell.take(refund("r1", "o1", lines=[{"line_id": "1", "quantity": 1}], **there))
        shell.take(fulfilment("o1", event_id="2", lines=[{"line_id": "2", "quantity": 1}], **there))
        shell.take(reversion("r1", "o1", **there))
        shell.take(order("o2", "5.00", time="2026-05-01T12:00:00Z", **there))
        shell.take(fulfilment("o1", event_id="3", lines=[{"line_id": "2"}], time="2026-06-06T12:00:00Z", **there))
        (row,) = shell.rows("SELECT balance, pending FROM accounts")
        assert (row.balance, row.pending) == (100, 5)
        ends = shell.rows("SELECT DISTINCT expires_at FROM dated_lots WHERE NOT is_pending AND points_remaining > 0")
        assert [row.expires_at.date().isoformat() for row in ends] == ["2076-06-06"]
