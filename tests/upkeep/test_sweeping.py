"""The sweep of waiting messages: bounded work each second however many wait, and none is left out."""

import pytest
from sqlalchemy import Engine, text

from core.upkeep.sweeping import sweep_waiting
from tests.factories import order, refund
from tests.shell import EVENT_SOURCE, Shell

ROWS_MAX = 500
WAITING = 20_000

_WAITING = """
INSERT INTO inbox (inbox_id, source, event_id, type, subject, body, settled, content_hash, state, received_at,
                   occurred_at)
SELECT n, '/shops/test', 'r' || n, 'order.refunded', 'order o' || n, '', '{}', '', 'waiting', now() - interval '1 day',
       now()
FROM generate_series(1, :refunds) AS n
"""
_ORDER = """
INSERT INTO orders (source, order_id, program_id, shard, inbox_id, business_hash, currency, occurred_at, lines,
                    points_paid, program_version, qualifying_points, qualifying_spend, qualifying_orders,
                    is_counted)
VALUES ('/shops/test', :order_id, 'test', 3, 1, '', 'EUR', now(), '[]', 0, 1, 0, 0, 0, false)
"""
_READ = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables WHERE relname = :name"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def sweeps_until(shell: Shell, event_id: str, sweeps_max: int) -> int:
    after = 0
    for number in range(1, sweeps_max + 1):
        with shell.engine.begin() as connection:
            swept = sweep_waiting(connection, EVENT_SOURCE, 30, ROWS_MAX, after=after)
        after = swept.after
        if swept.woken:
            assert shell.outcome(event_id) == ("received", None)
            return number
    raise AssertionError(f"{event_id} was not found in {sweeps_max} sweeps")


def test_a_sweep_looks_at_so_many_however_many_wait_and_comes_to_each_in_its_turn(shell: Shell) -> None:
    shell.execute(_WAITING, refunds=WAITING)
    shell.execute("ANALYZE inbox")
    with shell.engine.begin() as connection:
        after = sweep_waiting(connection, EVENT_SOURCE, 30, ROWS_MAX).after
        for table, reads_max in (("inbox", 5 * ROWS_MAX), ("orders", 3 * ROWS_MAX)):
            assert (connection.execute(text(_READ), {"name": table}).scalar() or 0) <= reads_max
    assert after == shell.value("SELECT min(inbox_id) FROM inbox") + ROWS_MAX - 1
    shell.execute(_ORDER, order_id=f"o{WAITING // 2}")
    assert sweeps_until(shell, f"r{WAITING // 2}", WAITING // ROWS_MAX) == WAITING // ROWS_MAX // 2
    shell.execute(_ORDER, order_id=f"o{WAITING}")
    assert sweeps_until(shell, f"r{WAITING}", 1) == 1, "what came last is looked at first"


def test_after_the_newest_the_walk_begins_anew(shell: Shell) -> None:
    shell.execute(_WAITING, refunds=5)
    afters, after = [], 0
    for _ in range(4):
        with shell.engine.begin() as connection:
            after = sweep_waiting(connection, EVENT_SOURCE, 30, 2, after=after).after
        afters.append(after)
    first = shell.value("SELECT min(inbox_id) FROM inbox")
    assert afters == [first + 1, first + 3, 0, first + 1]


def test_only_the_oldest_that_wait_too_long_are_parked_in_one_sweep(shell: Shell) -> None:
    shell.execute(_WAITING, refunds=5)
    shell.execute("UPDATE inbox SET received_at = now() - interval '31 days' WHERE event_id <> 'r5'")
    assert [shell.sweep(rows_max=3)["overdue"] for _ in range(3)] == [3, 1, 0]
    assert shell.outcome("r5") == ("waiting", None)


def test_what_waits_for_an_order_that_is_posted_alone_follows_it_without_a_sweep(shell: Shell) -> None:
    shell.receive(refund("r1", "o1", net="30.00"))
    shell.receive(order("o1"), order("bad"))
    shell.execute("UPDATE inbox SET settled = 'no longer an event' WHERE event_id = 'completed-bad'")
    assert shell.post() == {"posted": 2, "parked": 1}
    assert shell.balance() == 70
