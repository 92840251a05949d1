"""The trace of a message goes on to every event that the message causes, whenever that is, and to no other."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from core.mending.dead_letters import RetryLimits, retry_letters
from core.mending.replacing import replace_letter
from core.messages.inbound.reading import CutMessage
from core.messages.trace_context import TraceContext
from core.receiving.receive import receive, receive_in_parts
from core.store.outbox import load_published
from tests.answers import TRUSTED
from tests.factories import as_bytes, cancellation, command, order, refund
from tests.published import PUBLISH_ALL
from tests.shell import EVENT_SOURCE, LIMITS, Shell

RETRY = RetryLimits(LIMITS, shards=4, event_source=EVENT_SOURCE, waiting_days_max=30)
AS_OF = "2027-03-01T00:00:00Z"


def trace(number: int, state: str | None = "congo=1") -> TraceContext:
    return TraceContext(f"00-{number:032x}-{number:016x}-01", state)


def traced(event: dict[str, Any], number: int) -> dict[str, Any]:
    parent, state = trace(number)
    return {**event, "traceparent": parent, "tracestate": state}


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine, limits=TRUSTED)


def traces(shell: Shell) -> dict[str, tuple[str | None, str | None]]:
    """Of each event its trace, which is also that which goes out beside it."""
    found = {}
    for row in shell.rows("SELECT event_key, type, body, traceparent, tracestate FROM outbox ORDER BY outbox_id"):
        event = json.loads(row.body)
        name = f"{row.type.removeprefix('loyalty.')} {row.event_key.rpartition(':')[2]}"
        found[name] = event.get("traceparent"), event.get("tracestate")
        assert found[name] == (row.traceparent, row.tracestate)
    return found


def test_all_that_an_order_causes_has_its_trace_and_nothing_of_another(shell: Shell) -> None:
    shell.take(
        traced(order("o1", "600.00"), 1), order("o2", "50.00"), traced(order("o3", "70.00", customer_id="c2"), 3)
    )
    assert traces(shell) == {
        "account.created created": trace(3),
        "balance.changed 1": trace(3),
        "balance.changed 2": (None, None),
        "tier.changed 1": trace(1),
    }
    first = shell.rows("SELECT traceparent FROM outbox o JOIN accounts a USING (account_id) WHERE customer_id = 'c1'")
    assert [row.traceparent for row in first].count(trace(1).traceparent) == 3


def test_what_waited_keeps_its_own_trace_when_its_order_comes(shell: Shell) -> None:
    shell.take(traced(refund("r1", "o1"), 1), cancellation("o2"))
    shell.take(traced(order("o1"), 2), traced(order("o2", customer_id="c2"), 3))
    shell.take(traced(order("o3", customer_id="c2"), 4))
    reasons = {event["data"]["reason"]: event.get("traceparent") for event in shell.events("loyalty.balance.changed")}
    assert reasons["order_refunded"] == trace(1).traceparent
    assert reasons["order_cancelled"] is None
    shell.take(refund("r9", "o9"))
    shell.execute("UPDATE inbox SET traceparent = :p WHERE state = 'waiting'", p=trace(9).traceparent)
    shell.execute("UPDATE inbox SET received_at = received_at - interval '40 days'")
    assert shell.sweep()["overdue"] == 1
    [told] = shell.events("loyalty.message.parked")
    assert told["traceparent"] == trace(9).traceparent, "though beat has parked it"


def test_what_the_calendar_brings_has_none(shell: Shell) -> None:
    shell.apply_program(
        shell.value("SELECT file_text FROM programs") + "expiry: {policy: after_days, days: 30}\n", "2020-01-01T00:00Z"
    )
    shell.take(traced(order("o1"), 1))
    assert shell.expire(AS_OF) == 1
    assert "traceparent" not in shell.events("loyalty.balance.changed")[-1]


def test_one_that_is_parked_has_it_too_and_so_has_one_that_cannot_be_read(shell: Shell, engine: Engine) -> None:
    wrong = traced(order("o1"), 1)
    del wrong["data"]["currency"]
    large = CutMessage(b"{}", 10**8, b"0" * 32)
    list(
        receive_in_parts(
            engine,
            [as_bytes(wrong), b"no JSON", large],
            limits=LIMITS,
            shards=4,
            event_source=EVENT_SOURCE,
            traces=[None, trace(2), trace(3)],
        )
    )
    told = {event["data"]["reason"]: event["traceparent"] for event in shell.events("loyalty.message.parked")}
    assert told == {
        "invalid_data": trace(1).traceparent,
        "not_json": trace(2).traceparent,
        "too_large": trace(3).traceparent,
    }


class TestAnAnswer:
    def test_has_the_trace_of_its_command(self, shell: Shell) -> None:
        shell.take(order("o1"))
        shell.take(
            traced(command("credit", "k1", points=5, reason="late"), 1),
            traced(command("debit", "k2", points=5_000, reason="too many"), 2),
        )
        [done], [refused] = shell.events("loyalty.command.accepted"), shell.events("loyalty.command.rejected")
        assert (done["traceparent"], refused["traceparent"]) == (trace(1).traceparent, trace(2).traceparent)
        assert shell.events("loyalty.balance.changed")[-1]["traceparent"] == trace(1).traceparent

    def test_that_is_told_again_is_the_same_and_goes_beside_the_trace_of_who_asked(self, shell: Shell) -> None:
        shell.take(order("o1"))
        asked = command("credit", "k1", points=5, reason="late")
        shell.take(traced(asked, 1))
        shell.take(traced(asked, 2))
        rows = shell.rows(
            "SELECT body, traceparent FROM outbox WHERE type = 'loyalty.command.accepted' ORDER BY outbox_id"
        )
        assert [row.traceparent for row in rows] == [trace(1).traceparent, trace(2).traceparent]
        assert rows[0].body == rows[1].body

    def test_of_one_that_is_not_let_in_has_it_too(self, engine: Engine) -> None:
        shell = Shell(engine)
        shell.take(traced(command("credit", "k1", points=5, reason="late"), 1))
        [refused] = shell.events("loyalty.command.rejected")
        assert (refused["data"]["code"], refused["traceparent"]) == ("not_allowed", trace(1).traceparent)


class TestADeadLetter:
    @pytest.fixture
    def mended(self, shell: Shell) -> Iterator[Shell]:
        small = LIMITS._replace(message_bytes_max=10)
        with shell.engine.begin() as connection:
            receive(
                connection,
                [as_bytes(traced(order("o1"), 1)), as_bytes([traced(order("o2", customer_id="c2"), 2), order("o3")])],
                limits=small,
                shards=4,
                event_source=EVENT_SOURCE,
                traces=[None, trace(7)],
            )
        yield shell
        assert shell.differences() == []

    def test_that_is_retried_keeps_what_it_has_and_gets_what_can_be_read_by_now(self, mended: Shell) -> None:
        numbers = [row.inbox_id for row in mended.rows("SELECT inbox_id FROM inbox ORDER BY inbox_id")]
        assert all(each.is_mended for each in retry_letters(mended.engine, numbers, RETRY, "kim"))
        mended.post()
        found = {event["data"]["order_id"]: event["traceparent"] for event in mended.events("loyalty.balance.changed")}
        assert found == {"o1": trace(1).traceparent, "o2": trace(2).traceparent, "o3": trace(7).traceparent}

    def test_keeps_it_whatever_its_bytes_say(self, shell: Shell) -> None:
        shell.receive(traced(order("o1", time="2099-01-01T00:00:00Z"), 1))
        shell.execute("UPDATE inbox SET traceparent = :p, tracestate = NULL", p=trace(5).traceparent)
        patient = RETRY._replace(messages=LIMITS._replace(clock_skew_seconds_max=10**10))
        [mended] = retry_letters(shell.engine, [shell.value("SELECT inbox_id FROM inbox")], patient, "kim")
        shell.post()
        assert (mended.state, traces(shell)["balance.changed 1"]) == ("received", (trace(5).traceparent, None))

    def test_leaves_it_to_what_takes_its_place(self, shell: Shell) -> None:
        wrong = traced(order("o1"), 1)
        del wrong["data"]["currency"]
        shell.receive(wrong)
        number = shell.value("SELECT inbox_id FROM inbox")
        assert replace_letter(shell.engine, number, as_bytes(order("o1")), RETRY, "kim").is_mended
        shell.post()
        assert traces(shell)["balance.changed 1"] == trace(1)


def test_a_repeat_changes_nothing_of_it(shell: Shell) -> None:
    shell.receive(traced(order("o1"), 1), traced(order("o1"), 2))
    shell.receive(traced(order("o1"), 3))
    assert shell.post() == {"posted": 1}
    assert set(traces(shell).values()) == {trace(1)}


def test_events_that_are_published_again_have_it_still(shell: Shell, engine: Engine) -> None:
    shell.take(traced(order("o1"), 1))
    shell.execute(PUBLISH_ALL)
    with engine.begin() as connection:
        again = load_published(connection, after=0, rows_max=10)
    assert {each.trace for each in again} == {trace(1)}
    assert {json.loads(each.body)["traceparent"] for each in again} == {trace(1).traceparent}


NAMED = "kim-7701"


def test_what_tracing_systems_say_to_themselves_goes_with_a_customer_who_is_erased(shell: Shell) -> None:
    """A tracestate may name somebody. A traceparent is drawn by lot, and stays."""
    says = {"traceparent": trace(1).traceparent, "tracestate": f"user={NAMED}"}
    wrong = order("o8", customer_id=NAMED)
    del wrong["data"]["currency"]
    shell.take({**order("o1", customer_id=NAMED), **says}, {**wrong, **says}, traced(order("o2", customer_id="c2"), 2))
    shell.take({**command("customer.erase", "e1", customer_id=NAMED), **says})
    assert shell.outcome("e1") == ("posted", None)
    shell.take({**order("o3", customer_id=NAMED), **says}, {**order("o1", customer_id=NAMED), **says})
    shell.take({**command("customer.erase", "e2", customer_id=NAMED), **says})
    for table in ("inbox", "outbox"):
        left = shell.rows(f"SELECT traceparent, tracestate FROM {table} WHERE tracestate IS NOT NULL")
        assert {row.tracestate for row in left} <= {trace(2).tracestate}
        assert shell.value(f"SELECT count(*) FROM {table} t WHERE t::text LIKE '%{NAMED}%'") == 0
        assert shell.value(f"SELECT count(*) FROM {table} WHERE traceparent = '{trace(1).traceparent}'") > 0
    assert shell.value("SELECT count(*) FROM outbox WHERE body LIKE '%user=%'") == 0
    kept = shell.rows("SELECT body FROM outbox WHERE tracestate IS NOT NULL")
    assert [json.loads(row.body)["tracestate"] for row in kept] == [trace(2).tracestate] * 2
