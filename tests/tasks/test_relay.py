"""The relay: events leave in order, at least once, and are marked only when the broker has confirmed them."""

import json
import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from sqlalchemy import Engine, text

from core.errors import BrokerUnavailableError, EventNotConfirmedError
from core.messages.outbound.replies import Reply
from core.store.appending import OutboxEvent, append_events
from core.store.engine import create_database_engine
from core.store.locks import Task, take_turns
from core.store.outbox import UNPUBLISHED, ask_unpublished
from core.store.shards import ACCOUNT_SHARDS
from tasks.relay import relay_outbox, sweep_outbox
from tests.factories import order, refund
from tests.published import COUNT_UNPUBLISHED
from tests.shell import Shell
from tests.tasks.runtimes import RecordingPublisher, make_runtime
from tests.turns import has_turn
from workers.brokers import open_event_publisher


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """Six customers with an order and a refund each, and one parked message."""
    shell = Shell(engine)
    shell.take(*(order(f"o{n}", customer_id=f"c{n}") for n in range(6)), order("x", currency="USD"))
    shell.take(*(refund(f"r{n}", f"o{n}", net="10.00") for n in range(6)))
    return shell


def unpublished(shell: Shell) -> int:
    return int(shell.value(COUNT_UNPUBLISHED))


def outbox(shell: Shell, shard: int) -> list[tuple[str, str]]:
    rows = shell.rows("SELECT type, body FROM outbox WHERE account_shard = :shard ORDER BY outbox_id", shard=shard)
    return [(row.type, row.body) for row in rows]


def relay_all(runtime: Any) -> int:
    return sum(relay_outbox(runtime, shard)["published"] for shard in range(ACCOUNT_SHARDS))


def assert_in_order_per_account(events: Sequence[tuple[str, str]]) -> None:
    sequences: dict[str, list[int]] = defaultdict(list)
    for kind, body in events:
        event = json.loads(body)
        if kind == "loyalty.balance.changed":
            sequences[event["subject"]].append(event["data"]["sequence"])
        elif kind == "loyalty.account.created":
            assert event["subject"] not in sequences
    assert len(sequences) == 6
    assert all(found == list(range(1, len(found) + 1)) for found in sequences.values())


def test_a_shards_events_are_published_in_order_batch_after_batch_and_marked(shell: Shell, engine: Engine) -> None:
    for shard in range(ACCOUNT_SHARDS):
        publisher = RecordingPublisher()
        expected = outbox(shell, shard)
        assert relay_outbox(make_runtime(engine, lambda p=publisher: p), shard) == {"published": len(expected)}
        assert publisher.events == expected
        assert all(size <= 4 for size in publisher.batches)
    assert unpublished(shell) == 0


def test_several_shards_are_published_together_each_in_order_and_marked(shell: Shell, engine: Engine) -> None:
    publisher = RecordingPublisher()
    shards = range(ACCOUNT_SHARDS)
    assert relay_outbox(make_runtime(engine, lambda: publisher, relay_batch_events=5), *shards) == {"published": 19}
    assert sorted(publisher.batches, reverse=True) == [5, 5, 5, 4]
    assert_in_order_per_account(publisher.events)
    assert unpublished(shell) == 0


def test_of_several_shards_one_that_another_relay_has_is_left_to_it(shell: Shell, engine: Engine) -> None:
    publisher = RecordingPublisher()
    taken = shell.value("SELECT account_shard FROM accounts LIMIT 1")
    with engine.begin() as other:
        assert has_turn(other, Task.RELAY, taken)
        runtime = make_runtime(engine, lambda: publisher, relay_batch_events=100)
        relay_outbox(runtime, *range(ACCOUNT_SHARDS))
    left = shell.rows(f"SELECT DISTINCT account_shard FROM {UNPUBLISHED} AS u")
    assert [row.account_shard for row in left] == [taken]
    assert len(publisher.events) == 19 - len(outbox(shell, taken))


def test_events_are_taken_in_order_however_the_database_finds_them(shell: Shell, engine: Engine) -> None:
    # Rewritten rows lie at the end of the table, and without an index only an ORDER BY brings them in order.
    shell.execute("UPDATE outbox SET created_at = now() WHERE outbox_id % 3 = 1")
    shell.execute("UPDATE outbox SET account_shard = 0")
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_indexscan = off"))
        connection.execute(text("SET LOCAL enable_bitmapscan = off"))
        events = take_turns(connection, Task.RELAY, {0}, lambda: ask_unpublished(connection, 100))
        taken = [event.outbox_id for event in events]
    assert taken == sorted(taken)
    assert len(taken) == 19


def test_a_second_run_publishes_nothing(shell: Shell, engine: Engine) -> None:
    publisher = RecordingPublisher()
    runtime = make_runtime(engine, lambda: publisher)
    assert relay_all(runtime) == 19
    assert relay_all(runtime) == 0
    assert_in_order_per_account(publisher.events)


@pytest.mark.parametrize(
    "failure",
    [
        EventNotConfirmedError(count=1, reason="the queue is full"),
        BrokerUnavailableError(where="redis://there", reason="refused"),
        TimeoutError("a time limit that came in between"),
        KeyboardInterrupt(),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_nothing_is_marked_and_the_publisher_is_dropped_when_a_batch_is_not_confirmed(
    shell: Shell, engine: Engine, failure: BaseException
) -> None:
    publishers: list[RecordingPublisher] = []

    def open_publisher() -> RecordingPublisher:
        publishers.append(RecordingPublisher())
        publishers[0].failure = failure
        return publishers[-1]

    runtime = make_runtime(engine, open_publisher)
    before = unpublished(shell)
    with pytest.raises(type(failure)):
        relay_all(runtime)
    assert (unpublished(shell), publishers[0].closed) == (before, 1)
    assert relay_all(runtime) == before
    assert len(publishers) == 2
    # What the failed run had sent is sent again, with the same ids and before anything later.
    assert publishers[1].events[: len(publishers[0].events)] == publishers[0].events


def test_a_publisher_that_cannot_be_opened_marks_nothing(shell: Shell, engine: Engine) -> None:
    def refuse() -> RecordingPublisher:
        raise BrokerUnavailableError(where="redis://there", reason="refused")

    before = unpublished(shell)
    with pytest.raises(BrokerUnavailableError):
        relay_all(make_runtime(engine, refuse))
    assert unpublished(shell) == before


def test_batches_that_were_confirmed_before_a_failure_stay_marked(shell: Shell, engine: Engine) -> None:
    publisher = RecordingPublisher()
    runtime = make_runtime(engine, lambda: publisher, relay_batch_events=1)
    shard = shell.value("SELECT account_shard FROM accounts LIMIT 1")
    publish = publisher.publish

    def fail_at_the_third(*given: Any) -> None:
        publish(*given)
        if len(publisher.batches) == 3:
            raise EventNotConfirmedError(count=1, reason="full")

    publisher.publish = fail_at_the_third  # type: ignore[method-assign]
    before = unpublished(shell)
    with pytest.raises(EventNotConfirmedError):
        relay_outbox(runtime, shard)
    assert unpublished(shell) == before - 2


def test_a_relay_beside_another_one_of_its_shard_publishes_nothing(shell: Shell, engine: Engine) -> None:
    publisher = RecordingPublisher()
    with engine.begin() as other:
        assert all(has_turn(other, Task.RELAY, shard) for shard in range(ACCOUNT_SHARDS))
        assert relay_all(make_runtime(engine, lambda: publisher)) == 0
    assert publisher.events == []


def test_what_is_written_while_a_relay_publishes_does_not_wait_for_the_sweep(shell: Shell, engine: Engine) -> None:
    publisher = RecordingPublisher()
    shard = shell.value("SELECT account_shard FROM accounts LIMIT 1")
    publish = publisher.publish
    late = OutboxEvent(shard, None, "late", "loyalty.message.parked", "{}")

    def publish_while_another_writes(*given: Any) -> None:
        if not publisher.batches:
            with engine.begin() as other:
                append_events(other, [late])
            # Who wrote it finds the shard taken.
            assert relay_outbox(make_runtime(engine, RecordingPublisher), shard) == {"published": 0}
        publish(*given)

    publisher.publish = publish_while_another_writes  # type: ignore[method-assign]
    relay_outbox(make_runtime(engine, lambda: publisher, relay_batch_events=100), shard)
    assert publisher.events[-1] == (late.type, late.body)
    assert shell.value(f"{COUNT_UNPUBLISHED} WHERE account_shard = :s", s=shard) == 0


def test_many_relays_at_once_publish_each_event_once_and_in_order(shell: Shell, engine: Engine) -> None:
    publisher = RecordingPublisher()
    url = engine.url.render_as_string(hide_password=False)

    def work() -> None:
        own = create_database_engine(url)
        for _ in range(5):
            relay_all(make_runtime(own, lambda: publisher, relay_batch_events=1))
        own.dispose()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    relay_all(make_runtime(engine, lambda: publisher))
    assert len(publisher.events) == len(set(publisher.events)) == 19
    assert_in_order_per_account(publisher.events)


def test_a_relay_hands_over_to_a_new_nudge_when_its_time_is_up(shell: Shell, engine: Engine) -> None:
    shard = shell.value("SELECT account_shard FROM accounts LIMIT 1")
    runtime = make_runtime(engine, relay_batch_events=1, run_seconds_max=0)
    assert relay_outbox(runtime, shard) == {"published": 1}
    assert runtime.nudges == [("loyalty.relay_outbox", shard)]


def test_the_sweep_nudges_every_shard_that_has_events_to_publish(shell: Shell, engine: Engine) -> None:
    runtime = make_runtime(engine)
    expected = sorted({row.account_shard for row in shell.rows("SELECT account_shard FROM outbox")})
    assert sweep_outbox(runtime) == {"shards": expected}
    assert runtime.nudges == [("loyalty.relay_outbox", shard) for shard in expected]
    relay_all(runtime)
    assert sweep_outbox(runtime) == {"shards": []}


def test_events_reach_the_stream_as_they_stand_in_the_outbox(
    shell: Shell, engine: Engine, stream_broker_url: str
) -> None:
    runtime = make_runtime(engine, lambda: open_event_publisher(stream_broker_url))
    assert relay_all(runtime) == 19
    runtime.close()
    with redis.Redis.from_url(stream_broker_url, protocol=2) as client:
        entries: Any = client.xrange("loyalty.events")
    sent = [(fields[b"type"].decode(), fields[b"event"].decode()) for _, fields in entries]
    assert sorted(sent) == sorted(event for shard in range(ACCOUNT_SHARDS) for event in outbox(shell, shard))
    assert_in_order_per_account(sent)
    assert unpublished(shell) == 0


def test_a_stream_that_refuses_events_leaves_them_in_the_outbox(
    shell: Shell, engine: Engine, stream_broker_url: str
) -> None:
    before = unpublished(shell)
    runtime = make_runtime(engine, lambda: open_event_publisher(stream_broker_url))
    with redis.Redis.from_url(stream_broker_url, protocol=2) as client:
        client.set("loyalty.events", "somebody's own key")
        with pytest.raises(EventNotConfirmedError):
            relay_all(runtime)
        assert unpublished(shell) == before
        client.delete("loyalty.events")
    assert relay_all(runtime) == before
    runtime.close()


def test_an_event_that_answers_somebody_goes_to_them_too_until_it_is_confirmed(shell: Shell, engine: Engine) -> None:
    asked = [("loyalty.replies.a", "1"), (None, None), ("loyalty.replies.a", None)]
    answers = [
        OutboxEvent(0, None, f"answer:{n}", "loyalty.command.accepted", str(n), *where) for n, where in enumerate(asked)
    ]
    with engine.begin() as connection:
        append_events(connection, answers)
    publisher = RecordingPublisher()
    publisher.failure = EventNotConfirmedError(count=1, reason="full")
    runtime = make_runtime(engine, lambda: publisher, relay_batch_events=1_000)
    with pytest.raises(EventNotConfirmedError):
        relay_outbox(runtime, 0)
    publisher.failure = None
    relay_all(runtime)
    assert publisher.replies == [Reply("loyalty.replies.a", "1", "0"), Reply("loyalty.replies.a", None, "2")] * 2
    published = [event for event in publisher.events if event[0] == "loyalty.command.accepted"]
    assert published == [(answer.type, answer.body) for answer in answers] * 2
    assert unpublished(shell) == 0


def test_an_answer_reaches_the_stream_of_who_asked_and_an_unusable_one_holds_nothing_up(
    shell: Shell, engine: Engine, stream_broker_url: str
) -> None:
    with engine.begin() as connection:
        for name in ("loyalty.replies.other", "loyalty.replies.shop"):
            append_events(
                connection, [OutboxEvent(0, None, name, "loyalty.command.accepted", f'{{"id": "{name}"}}', name, "1")]
            )
    before = unpublished(shell)
    runtime = make_runtime(engine, lambda: open_event_publisher(stream_broker_url))
    with redis.Redis.from_url(stream_broker_url, protocol=2) as client:
        client.set("loyalty.replies.other", "somebody's")
        assert relay_all(runtime) == before
        runtime.close()
        [(_, answer)] = client.xrange("loyalty.replies.shop")  # type: ignore[misc]
    assert answer == {b"event": b'{"id": "loyalty.replies.shop"}', b"correlation_id": b"1"}
    assert unpublished(shell) == 0
