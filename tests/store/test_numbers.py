"""Messages and events are numbered from a row, so that their order is that of the commits, whoever writes."""

import psycopg
import pytest
from sqlalchemy import Engine, text

from tests.factories import order
from tests.shell import Shell, receive_into


def numbers(shell: Shell) -> dict[str, int]:
    return {row.event_id: row.inbox_id for row in shell.rows("SELECT event_id, inbox_id FROM inbox")}


def test_messages_have_numbers_in_the_order_in_which_they_came(engine: Engine) -> None:
    shell = Shell(engine)
    shell.receive(*(order(f"o{n}", event_id=f"e{n}", customer_id=f"c{n % 3}") for n in (3, 1, 2)))
    shell.receive(order("o0", event_id="e0"))
    assert numbers(shell) == {"e3": 1, "e1": 2, "e2": 3, "e0": 4}


def test_a_replay_takes_a_number_that_nobody_has_and_a_conflict_one_of_its_own(engine: Engine) -> None:
    shell = Shell(engine)
    shell.receive(order("o1", event_id="e1"))
    shell.receive(order("o1", event_id="e1"), order("o1", "7.00", event_id="e1"), order("o2", event_id="e2"))
    rows = shell.rows("SELECT inbox_id, event_id, state FROM inbox ORDER BY inbox_id")
    assert [(row.event_id, row.state) for row in rows] == [("e1", "received"), ("e2", "received"), ("e1", "dead")]


def test_intake_waits_for_an_intake_that_has_drawn_numbers_so_that_none_becomes_visible_late(engine: Engine) -> None:
    shell = Shell(engine)
    with engine.begin() as one:
        receive_into(one, order("o1", event_id="e1"))
        with engine.begin() as other:
            other.execute(text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(psycopg.errors.LockNotAvailable):
                receive_into(other, order("o2", event_id="e2"))
    shell.receive(order("o2", event_id="e2"))
    assert numbers(shell) == {"e1": 1, "e2": 2}


def test_events_have_numbers_in_the_order_in_which_they_were_committed(engine: Engine) -> None:
    shell = Shell(engine)
    shell.take(order("o1"))
    shell.take(order("o2"), order("o3"))
    rows = shell.rows("SELECT outbox_id, event_key FROM outbox ORDER BY outbox_id")
    assert [row.outbox_id for row in rows] == [1, 2, 3, 4]
    assert [row.event_key for row in rows] == ["created", "1", "2", "3"]


def test_what_posting_reads_is_there_until_the_message_has_its_outcome(engine: Engine) -> None:
    shell = Shell(engine)
    shell.receive(order("o1"), order("o2", program_id="nope"), b"{")
    before = {row.inbox_id: row.settled for row in shell.rows("SELECT inbox_id, settled FROM inbox ORDER BY 1")}
    assert [settled is not None for settled in before.values()] == [True, True, False]
    shell.post()
    assert shell.value("SELECT count(settled) FROM inbox") == 0
    assert shell.value("SELECT count(*) FROM inbox WHERE length(body) > 0") == 3
