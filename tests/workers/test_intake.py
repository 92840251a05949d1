"""Intake against a real database: what it stores together, what it acknowledges, and what no message may do to it."""

import os
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from core.errors import BrokerUnavailableError
from core.messages.inbound.contracts import CONTRACTS, Contracts
from core.messages.inbound.reading import HEAD_BYTES, CutMessage
from core.receiving.receive import receive_in_parts
from core.store.engine import create_database_engine
from tests.factories import as_bytes, order
from tests.shell import EVENT_SOURCE, LIMITS
from workers.brokers import Delivery
from workers.brokers.large_messages import BATCH_BYTES_MAX
from workers.heartbeat import HEARTBEAT_VARIABLE, mark_progress, progress_file
from workers.intake import Intake, IntakeLimits


class Source:
    """A queue that hands out what it was given, and writes down what it was asked and told."""

    def __init__(self, *bodies: bytes | CutMessage) -> None:
        self.waiting = list(bodies)
        self.asked: list[int] = []
        self.waited_seconds: list[float] = []
        self.acknowledged: list[int] = []

    def receive(self, *, messages_max: int, wait_seconds: float) -> list[Delivery]:
        self.asked.append(messages_max)
        self.waited_seconds.append(wait_seconds)
        batch, self.waiting = self.waiting[:messages_max], self.waiting[messages_max:]
        return [Delivery(body, None) for body in batch]

    def acknowledge(self, received: Sequence[Delivery]) -> None:
        self.acknowledged.append(len(received))

    def heartbeat(self) -> None:
        pass

    def close(self) -> None:
        pass


Nudges = list[list[int]]  #: the shards of each


@pytest.fixture
def nudges() -> Nudges:
    return []


@pytest.fixture
def make(nudges: Nudges) -> Callable[..., Intake]:
    def build(engine: Engine, source: Source, at_once: float = 0.001) -> Intake:
        limits = IntakeLimits(
            LIMITS,
            batch_messages=500,
            wait_seconds=0.01,
            nudge_interval_seconds=600,
            shards=4,
            nudges_at_once_per_second=at_once,
        )

        def nudge(task: str, *shards: int) -> bool:
            assert task == "loyalty.post_inbox"
            nudges.append([*shards])
            return True

        return Intake(engine, lambda: source, nudge, limits, event_source=EVENT_SOURCE)

    return build


def states(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT state, reason, count(*) FROM inbox GROUP BY 1, 2 ORDER BY 1, 2"))
        return [tuple(row) for row in rows]


def test_what_is_stored_is_acknowledged_and_its_shards_are_not_woken_more_often_than_they_may(
    engine: Engine, make: Callable[..., Intake], nudges: Nudges
) -> None:
    source = Source(*(as_bytes(order(f"o{n}")) for n in range(40)))
    intake = make(engine, source)
    assert [intake.step(source) for _ in range(7)] == [1, 2, 4, 8, 16, 9, 0]
    assert source.acknowledged == [1, 2, 4, 8, 16, 9]
    assert states(engine) == [("received", None, 40)]
    assert len(nudges) == 1


def shards_of_all(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return [row.shard for row in connection.execute(text("SELECT shard FROM inbox ORDER BY inbox_id"))]


def test_while_little_comes_it_is_posted_at_once_and_shards_that_come_together_are_woken_by_one_nudge(
    engine: Engine, make: Callable[..., Intake], nudges: Nudges
) -> None:
    source = Source(*(as_bytes(order(f"o{n}", customer_id=f"c{n}")) for n in range(7)))
    intake = make(engine, source, at_once=1_000_000)
    assert [intake.step(source) for _ in range(4)] == [1, 2, 4, 0]
    first, *rest = shards_of_all(engine)
    assert nudges == [[first], sorted({*rest[:2]}), sorted({*rest[2:]})]


def test_what_could_not_wake_its_shards_at_once_does_so_together_as_soon_as_it_may(
    engine: Engine, make: Callable[..., Intake], nudges: Nudges
) -> None:
    source = Source(*(as_bytes(order(f"o{n}", customer_id=f"c{n}")) for n in range(7)))
    intake = make(engine, source, at_once=20)
    while len(nudges) < 2 or intake.step(source):
        intake.step(source)
        time.sleep(0.01)
    assert {shard for each in nudges for shard in each} == {*shards_of_all(engine)}
    assert len(nudges) < 7


def test_of_a_flood_each_shard_is_woken_by_itself_so_that_all_workers_have_one(
    engine: Engine, make: Callable[..., Intake], nudges: Nudges
) -> None:
    source = Source(*(as_bytes(order(f"o{n}", customer_id=f"c{n}")) for n in range(255)))
    intake = make(engine, source)
    assert [intake.step(source) for _ in range(9)] == [1, 2, 4, 8, 16, 32, 64, 128, 0]
    first = shards_of_all(engine)[0]
    assert nudges == [[first], *([shard] for shard in range(4) if shard != first)]


def test_a_message_is_waited_for_at_leisure_unless_a_shard_is_still_to_be_woken(
    engine: Engine, make: Callable[..., Intake]
) -> None:
    source = Source(*(as_bytes(order(f"o{n}")) for n in range(3)))
    intake = make(engine, source)
    for _ in range(3):
        intake.step(source)
    assert source.waited_seconds == [0.5, 0.5, 0.01]  # the first woke the shard; the next ones wait for its interval


def test_a_batch_begins_with_one_message_and_grows_to_its_limit(engine: Engine, make: Callable[..., Intake]) -> None:
    source = Source(*(b"%d" % n for n in range(2000)))
    intake = make(engine, source)
    while intake.step(source):
        pass
    assert source.asked[:11] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 500, 500]


def test_of_large_messages_as_many_are_asked_for_as_fit(engine: Engine, make: Callable[..., Intake]) -> None:
    size_bytes = BATCH_BYTES_MAX // 4
    source = Source(*(b"%02d".ljust(size_bytes) % n for n in range(14)), *(as_bytes(order(f"o{n}")) for n in range(20)))
    intake = make(engine, source)
    while intake.step(source):
        pass
    assert source.asked[:7] == [1, 2, 4, 4, 4, 5, 10]  # the batch of which a quarter was small made it five
    assert states(engine) == [("dead", "too_large", 14), ("received", None, 20)]


def test_a_message_of_which_only_the_head_was_held_is_parked_with_it(
    engine: Engine, make: Callable[..., Intake]
) -> None:
    whole = as_bytes(order("o1")).ljust(20_000_000)
    cut = CutMessage(whole[:HEAD_BYTES], len(whole), sha256(whole).digest())
    source = Source(cut, as_bytes(order("o2")), cut)
    intake = make(engine, source)
    for _ in range(3):
        intake.step(source)
    with engine.connect() as connection:
        letter = connection.execute(text("SELECT * FROM inbox WHERE state = 'dead'")).one()
    assert (letter.reason, letter.deliveries, bytes(letter.body)) == ("too_large", 2, whole[:HEAD_BYTES])
    assert letter.detail == (
        "the message has 20000000 bytes; at most 1000000 are read, and of one so large only the first 65536 are kept "
        f"(SHA-256 of all: {sha256(whole).hexdigest()}); send fewer events in one"
    )
    assert states(engine) == [("dead", "too_large", 1), ("received", None, 1)]


def test_a_message_that_cannot_be_stored_is_parked_unread_and_holds_no_other_up(own_engine: Engine) -> None:
    with own_engine.begin() as connection:
        connection.execute(text("ALTER TABLE inbox ADD CHECK (subject <> 'order poison')"))
    raw = [as_bytes(order(order_id)) for order_id in ("o1", "poison", "o2")]
    parts = receive_in_parts(own_engine, raw, limits=LIMITS, shards=4, event_source=EVENT_SOURCE)
    assert [messages for messages, _ in parts] == [1, 1, 1]
    assert states(own_engine) == [("dead", "posting_failed", 1), ("received", None, 2)]
    with own_engine.connect() as connection:
        row = connection.execute(text("SELECT detail, body FROM inbox WHERE state = 'dead'")).one()
    assert row.detail == "receiving it raised CheckViolation; retry it after a repair"
    assert bytes(row.body) == as_bytes(order("poison"))


def test_messages_are_stored_in_parts_that_are_bounded_by_events_and_by_bytes(engine: Engine) -> None:
    arrays = [b"[" + b",".join([b"%d" % n] * 1000) + b"]" for n in range(3)]
    large = [b"%02d".ljust(BATCH_BYTES_MAX // 4) % n for n in range(5)]
    orders = [as_bytes(order(f"o{n}")) for n in range(5)]
    parts = receive_in_parts(engine, [*arrays, *large, *orders], limits=LIMITS, shards=4, event_source=EVENT_SOURCE)
    assert [messages for messages, _ in parts] == [2, 4, 7]
    assert states(engine) == [("dead", "not_an_event", 3), ("dead", "too_large", 5), ("received", None, 5)]


def test_no_session_is_held_while_messages_are_read_and_explained(engine: Engine) -> None:
    held: list[int] = []

    class Watched(Contracts):
        def __init__(self) -> None:
            super().__init__(CONTRACTS)
            validate_json = self.validate_json

            def watched(body: bytes) -> Any:
                held.append(engine.pool.checkedout())  # type: ignore[attr-defined]  # of the pool that engines have
                return validate_json(body)

            self.validate_json = watched

    raw = [as_bytes(order("o1")), b"{", as_bytes([order("o2"), order("o3")])]
    parts = receive_in_parts(engine, raw, limits=LIMITS, shards=4, event_source=EVENT_SOURCE, contracts=Watched())
    assert [(messages, receipt.received) for messages, receipt in parts] == [(3, 3)]
    assert held == [0] * 4


def test_progress_is_what_was_stored_or_an_empty_queue_and_no_new_start(
    engine: Engine, make: Callable[..., Intake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HEARTBEAT_VARIABLE, str(tmp_path / "intake.heartbeat"))
    file = progress_file(tmp_path / "intake.heartbeat")

    def is_marked() -> bool:
        found = file.stat().st_mtime > 0
        os.utime(file, (0, 0))
        return found

    mark_progress(is_beginning=True)
    assert is_marked()
    mark_progress(is_beginning=True)
    assert not is_marked(), "the process before may have been stuck too"
    nowhere = create_database_engine("postgresql://127.0.0.1:1/nowhere")
    with pytest.raises(DBAPIError):
        make(nowhere, source := Source(as_bytes(order()))).step(source)
    assert not is_marked()
    intake = make(engine, source := Source(as_bytes(order())))
    intake.step(source)
    assert is_marked()
    intake.step(source)
    assert is_marked()


def test_after_an_interruption_it_begins_with_one_message_again(engine: Engine, make: Callable[..., Intake]) -> None:
    source = Source(*(b"%d" % n for n in range(40)))
    intake = make(engine, source)
    take = source.acknowledge

    def interrupted(received: Sequence[Delivery]) -> None:
        if len(source.asked) == 4:
            raise BrokerUnavailableError(where="here", reason="it went away")
        take(received)
        if not source.waiting:
            intake.stop()

    source.acknowledge = interrupted  # type: ignore[method-assign]
    intake.run()
    assert source.asked == [1, 2, 4, 8, 1, 2, 4, 8, 16]


def test_nothing_is_acknowledged_while_the_database_is_away(make: Callable[..., Intake]) -> None:
    nowhere = create_database_engine("postgresql://127.0.0.1:1/nowhere")
    source = Source(as_bytes(order()))
    with pytest.raises(DBAPIError):
        make(nowhere, source).step(source)
    assert source.acknowledged == []
