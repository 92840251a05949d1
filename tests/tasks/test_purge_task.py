"""Purging: what goes and what stays, and that what has gone is still known by its order or refund."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from core.mending.dead_letters import MendOutcome, RetryLimits, drop_letters, retry_letters
from core.store.locks import PeriodicTurn, try_periodic_turn
from core.store.shards import ACCOUNT_SHARDS
from core.upkeep.retention import INBOX, OUTBOX, purge_batch, purged_before
from tasks.purge import ANEW_SECONDS, purge
from tasks.relay import relay_outbox
from tests.factories import order, refund
from tests.shell import EVENT_SOURCE, LIMITS, Shell, receive_into
from tests.tasks.runtimes import RecordingPublisher, make_runtime

RETRY = RetryLimits(LIMITS, shards=4, event_source=EVENT_SOURCE, waiting_days_max=30)
NO_TIME = 1e-9  # days
#: Every instant that says when something was done here.
WRITTEN = {
    "inbox": ("received_at", "settled_at"),
    "outbox": ("created_at",),
    "accounts": ("created_at",),
    "entries": ("recorded_at",),
    "tier_changes": ("recorded_at",),
    "orders": ("recorded_at",),
    "refunds": ("recorded_at",),
}


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def publish(engine: Engine) -> int:
    """Relay everything."""
    publisher = RecordingPublisher()
    runtime = make_runtime(engine, lambda: publisher, relay_batch_events=500)
    for shard in range(ACCOUNT_SHARDS):
        relay_outbox(runtime, shard)
    return len(publisher.events)


def let_pass(shell: Shell, days: float) -> None:
    """Make everything that was done until now so much older."""
    with shell.engine.begin() as connection:
        for table, columns in WRITTEN.items():
            changes = ", ".join(f"{column} = {column} - make_interval(secs => {days * 86_400})" for column in columns)
            connection.execute(text(f"UPDATE {table} SET {changes}"))


def run(engine: Engine, **settings: Any) -> dict[str, Any]:
    return purge(make_runtime(engine, **settings))


def begin_anew(shell: Shell) -> None:
    """As if the walks had begun longer ago than they may."""
    shell.execute(
        "UPDATE periodic_runs SET result = jsonb_set(result, '{walk_began_at}', to_jsonb(now() - :age))",
        age=timedelta(seconds=ANEW_SECONDS + 1),
    )


def kept(shell: Shell) -> dict[str, str]:
    """The messages that are there, and their states."""
    return {row.event_id: row.state for row in shell.rows("SELECT event_id, state FROM inbox ORDER BY inbox_id")}


def number(shell: Shell, event_id: str) -> int:
    return int(shell.value("SELECT inbox_id FROM inbox WHERE event_id = :event_id", event_id=event_id))


def drop(shell: Shell, event_id: str) -> None:
    (dropped,) = drop_letters(shell.engine, [number(shell, event_id)], "no program for it", "kim")
    assert dropped.state == "dropped"


def retry(shell: Shell, event_id: str) -> MendOutcome:
    (retried,) = retry_letters(shell.engine, [number(shell, event_id)], RETRY, "kim")
    return retried


def in_dollars(order_id: str) -> dict[str, Any]:
    """An order that no program takes."""
    event = order(order_id, event_id=order_id)
    event["data"]["currency"] = "USD"
    return event


def test_settled_messages_go_at_their_age_and_open_and_dead_ones_stay(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1", event_id="posted"), order("o1", event_id="replayed"), refund(order_id="?", event_id="waits"))
    shell.take(in_dollars("dead"), in_dollars("dropped"))
    drop(shell, "dropped")
    shell.receive(order("o2", event_id="received"))
    let_pass(shell, 91)
    shell.take(order("o3", customer_id="c3", event_id="young"))
    shell.receive_again("event_id = 'received'")
    assert run(engine)["inbox_rows"] == 3
    assert kept(shell) == {"waits": "waiting", "dead": "dead", "received": "received", "young": "posted"}
    actions = shell.rows("SELECT DISTINCT inbox_id FROM dead_letter_actions")
    assert [row.inbox_id for row in actions] in ([], [number(shell, "dead")])


def test_a_message_that_was_settled_a_little_later_is_waited_for(shell: Shell, engine: Engine) -> None:
    """Passed by, it would stay until the walk begins anew; with a worker that lags behind, all would."""
    shell.take(order("o1", event_id="slow"), order("o2", event_id="next"))
    let_pass(shell, 90)
    shell.execute("UPDATE inbox SET settled_at = settled_at + interval '30 minutes' WHERE event_id = 'slow'")
    assert run(engine)["inbox_rows"] == 0
    let_pass(shell, 1)
    assert run(engine)["inbox_rows"] == 2
    assert kept(shell) == {}


def test_what_is_done_about_a_dead_letter_stays_with_it(shell: Shell, engine: Engine) -> None:
    shell.take(in_dollars("dead"))
    retry(shell, "dead")
    shell.post()
    let_pass(shell, 91)
    assert run(engine)["inbox_rows"] == 0
    assert "retried" in [row.action for row in shell.rows("SELECT action FROM dead_letter_actions")]


def test_events_go_at_their_age_once_they_are_published(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1"))
    assert publish(engine) == 2  # the account's opening and the accrual
    shell.take(order("o2"))
    let_pass(shell, 91)
    assert run(engine)["outbox_rows"] == 2
    assert [event["data"]["order_id"] for event in shell.events()] == ["o2"]
    assert publish(engine) == 1


def test_reminders_go_some_time_after_their_points_have_ended(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1"))
    for days in (-100, -80, 5):
        shell.execute(
            "INSERT INTO reminders SELECT account_id, now() + make_interval(days => :days), 5, 30 FROM accounts",
            days=days,
        )
    assert run(engine)["reminders"] == 1
    assert shell.value("SELECT count(*) FROM reminders") == 2


def test_what_limits_have_used_stays(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1"))
    shell.execute("INSERT INTO usages SELECT account_id, 'spend', '2001-01-01', 5 FROM accounts")
    run(engine, inbox_retention_days=NO_TIME, outbox_retention_days=NO_TIME)
    assert shell.value("SELECT count(*) FROM usages") == 1


@pytest.mark.parametrize(
    ("settings", "left"),
    [({"inbox_retention_days": 200}, (1, 1)), ({"outbox_retention_days": 200}, (0, 2)), ({}, (0, 1))],
    ids=["of messages", "of events", "as usual"],
)
def test_each_table_has_a_retention_of_its_own(
    shell: Shell, engine: Engine, settings: Any, left: tuple[int, int]
) -> None:
    shell.take(order())
    publish(engine)
    let_pass(shell, 100)
    run(engine, **settings)
    assert (len(kept(shell)), len(shell.events())) == left


ONCE = {
    "an order": [order()],
    "a refund": [order(), refund(net="30.00")],
    "a refund that came before its order": [refund(net="30.00"), order()],
    "a guest's order and its refund": [order(customer_id=None), refund()],
    "two refunds, in another order": [order(), refund("r1", net="30.00"), refund("r2", net="20.00")],
}


@pytest.mark.parametrize("events", ONCE.values(), ids=ONCE)
@pytest.mark.parametrize("with_other_ids", [False, True], ids=["same events", "same facts in other events"])
def test_what_comes_again_after_the_purge_is_a_replay(
    shell: Shell, engine: Engine, events: list[dict[str, Any]], with_other_ids: bool
) -> None:
    for event in events:
        shell.take(event)
    publish(engine)
    let_pass(shell, 91)
    balance, entries, last = shell.balance(), shell.value("SELECT count(*) FROM entries"), shell.events()[-1:]
    assert run(engine)["inbox_rows"] == len(events)
    again = [event | {"id": f"again-{event['id']}"} if with_other_ids else event for event in reversed(events)]
    assert shell.take(*again) == {"replayed": len(events)}
    assert (shell.balance(), shell.value("SELECT count(*) FROM entries")) == (balance, entries)
    assert (shell.events(), shell.differences()) == (last, [])  # the last event is never purged


def test_an_event_id_that_was_purged_is_as_good_as_new(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1", event_id="one"))
    let_pass(shell, 91)
    run(engine)
    assert shell.take(order("o2", event_id="one")) == {"posted": 1}
    assert shell.balance() == 200


def test_other_content_for_an_order_is_parked_after_the_purge_too(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1"))
    let_pass(shell, 91)
    run(engine)
    assert shell.take(order("o1", "200.00")) == {"parked": 1}
    assert shell.outcome("completed-o1") == ("dead", "order_conflict")


def test_a_conflict_whose_first_message_was_purged_is_judged_by_its_order_when_retried(
    shell: Shell, engine: Engine
) -> None:
    shell.take(order("o1", event_id="one"))
    shell.take(order("o2", event_id="one"))
    assert shell.outcome("one") == ("dead", "event_conflict")
    let_pass(shell, 91)
    run(engine)
    assert retry(shell, "one").state == "received"
    assert shell.post() == {"posted": 1}
    assert shell.balance() == 200


def test_a_walk_goes_on_where_the_last_one_stopped_and_begins_anew_later(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1"), in_dollars("dead"), order("o3"))
    let_pass(shell, 91)
    shell.take(order("o4"))
    results = [run(engine, upkeep_batch_rows=1, run_seconds_max=0)]
    while not results[-1]["is_finished"]:
        results.append(run(engine, upkeep_batch_rows=1, run_seconds_max=0))
    assert [result["inbox_rows"] for result in results][:3] == [1, 0, 1]
    drop(shell, "dead")
    shell.execute("UPDATE inbox SET settled_at = received_at WHERE state = 'dropped'")
    assert run(engine)["inbox_rows"] == 0
    begin_anew(shell)
    assert run(engine)["inbox_rows"] == 1
    assert list(kept(shell)) == ["completed-o4"]


def test_a_walk_does_not_pass_what_is_still_too_young(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1"))
    assert run(engine)["inbox_rows"] == 0
    let_pass(shell, 91)
    assert run(engine)["inbox_rows"] == 1


def test_who_finds_another_at_it_leaves_it_to_that_one(shell: Shell, engine: Engine) -> None:
    shell.take(order())
    let_pass(shell, 91)
    with engine.begin() as other:
        assert try_periodic_turn(other, PeriodicTurn.PURGE)
        assert run(engine)["is_finished"] is False
    assert run(engine)["inbox_rows"] == 1


def test_the_instant_from_which_a_table_is_complete_is_written_with_the_deletion(shell: Shell, engine: Engine) -> None:
    def instants() -> tuple[datetime | None, datetime | None]:
        with engine.connect() as connection:
            return purged_before(connection, INBOX), purged_before(connection, OUTBOX)

    shell.take(order())
    publish(engine)
    run(engine)
    assert instants() == (None, None)
    let_pass(shell, 91)
    now = shell.value("SELECT now()")
    with engine.connect() as connection:
        assert purge_batch(connection, INBOX, now - timedelta(days=90), 0, 10, None) == (
            1,
            number(shell, "completed-o1"),
            True,
        )
        assert purged_before(connection, INBOX) == now - timedelta(days=90)
    assert instants() == (None, None)  # it was not committed, and neither was the deletion
    assert run(engine)["inbox_rows"] == 1
    first = instants()
    assert all(instant is not None and now - timedelta(days=91) < instant for instant in first)
    shell.take(order("o2"))
    let_pass(shell, 201)
    run(engine, inbox_retention_days=200)
    assert kept(shell) == {}
    assert instants()[0] == first[0]  # a longer retention brings nothing back


def test_a_message_that_intake_counts_a_repeat_of_is_left_to_a_later_walk(shell: Shell, engine: Engine) -> None:
    """Waiting for it would be one half of a deadlock: intake may want the next row that the purge has."""
    events = [order(f"o{n}") for n in range(4)]
    shell.take(*events)
    let_pass(shell, 91)
    with engine.begin() as intake:
        receive_into(intake, events[2])
        assert run(engine)["inbox_rows"] == 3
    assert kept(shell) == {"completed-o2": "posted"}
    begin_anew(shell)
    assert run(engine)["inbox_rows"] == 1


def test_the_tables_stay_bounded(own_engine: Engine) -> None:
    shell = Shell(own_engine, batch_messages=100)
    tables = ("inbox", "outbox", "dead_letter_actions", "retention", "periodic_runs", "posting_attempts")
    vacuum = create_engine(own_engine.url, isolation_level="AUTOCOMMIT")
    sizes = []
    for cycle in range(12):
        orders = [order(f"o{cycle}-{n}", "1.00", customer_id=f"c{n % 5}", event_id=f"e{cycle}-{n}") for n in range(200)]
        shell.take(*orders, *(refund(f"r{cycle}-{n}", f"o{cycle}-{n}") for n in range(50)))
        publish(own_engine)
        result = run(own_engine, inbox_retention_days=NO_TIME, outbox_retention_days=NO_TIME, upkeep_batch_rows=500)
        assert (result["inbox_rows"], result["outbox_rows"] >= 249) == (250, True)
        with vacuum.connect() as connection:
            connection.execute(text(f"VACUUM {', '.join(tables)}"))
            sizes.append({t: shell.value(f"SELECT pg_total_relation_size('{t}')") for t in tables})
    vacuum.dispose()
    # All kept, it would be four times as much; pages that vacuum has freed are used again a cycle or two later.
    assert max(sum(size.values()) for size in sizes) < 2 * sum(sizes[2].values())
    assert (shell.balance("c0"), shell.value("SELECT count(*) FROM orders")) == (360, 2400)
    assert shell.differences() == []
