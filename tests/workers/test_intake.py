"""Intake against a real database: what it stores together, what it acknowledges, and what no message may do to it."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from core.messages.inbound.contracts import CONTRACTS, Contracts
from core.receiving.receive import receive_in_parts
from core.store.engine import create_database_engine
from tests.factories import as_bytes, order
from tests.shell import EVENT_SOURCE, LIMITS
from workers.brokers import Delivery
from workers.intake import BATCH_BYTES_MAX, Intake, IntakeLimits


class Source:
    """A queue that hands out what it was given, and writes down what it was asked and told."""

    def __init__(self, *bodies: bytes) -> None:
        self.waiting = list(bodies)
        self.asked: list[int] = []
        self.acknowledged: list[int] = []

    def receive(self, *, messages_max: int, wait_seconds: float) -> list[Delivery]:  # noqa: ARG002  # the source's contract
        self.asked.append(messages_max)
        batch, self.waiting = self.waiting[:messages_max], self.waiting[messages_max:]
        return [Delivery(body, None) for body in batch]

    def acknowledge(self, received: Sequence[Delivery]) -> None:
        self.acknowledged.append(len(received))

    def heartbeat(self) -> None:
        pass

    def waiting_messages(self) -> int:
        return len(self.waiting)

    def close(self) -> None:
        pass


Nudges = list[tuple[str, int]]


@pytest.fixture
def nudges() -> Nudges:
    return []


@pytest.fixture
def make(nudges: Nudges) -> Callable[..., Intake]:
    def build(engine: Engine, source: Source) -> Intake:
        limits = IntakeLimits(LIMITS, batch_messages=500, wait_seconds=0.01, nudge_interval_seconds=600, shards=4)

        def nudge(task: str, shard: int) -> bool:
            nudges.append((task, shard))
            return True

        return Intake(engine, lambda: source, nudge, limits, event_source=EVENT_SOURCE)

    return build


def states(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT state, reason, count(*) FROM inbox GROUP BY 1, 2 ORDER BY 1, 2"))
        return [tuple(row) for row in rows]


def test_what_is_stored_is_acknowledged_and_its_shards_are_woken_once_per_interval(
    engine: Engine, make: Callable[..., Intake], nudges: Nudges
) -> None:
    source = Source(*(as_bytes(order(f"o{n}")) for n in range(40)))
    intake = make(engine, source)
    assert [intake.step(source) for _ in range(3)] == [32, 8, 0]
    assert source.acknowledged == [32, 8]
    assert states(engine) == [("received", None, 40)]
    assert len(nudges) == 1


def test_a_batch_begins_small_and_grows_to_its_limit(engine: Engine, make: Callable[..., Intake]) -> None:
    source = Source(*(b"%d" % n for n in range(2000)))
    intake = make(engine, source)
    while intake.step(source):
        pass
    assert source.asked[:6] == [32, 64, 128, 256, 500, 500]


def test_large_messages_are_stored_in_parts_and_fewer_of_them_are_asked_for(
    engine: Engine, make: Callable[..., Intake]
) -> None:
    size_bytes = BATCH_BYTES_MAX // 4
    source = Source(*(b"%02d".ljust(size_bytes) % n for n in range(10)), as_bytes(order()))
    intake = make(engine, source)
    intake.step(source)
    assert source.acknowledged == [4, 4, 3]
    intake.step(source)
    assert source.asked == [32, 4]
    assert states(engine) == [("dead", "too_large", 10), ("received", None, 1)]


def test_a_message_larger_than_a_part_is_stored_alone(engine: Engine, make: Callable[..., Intake]) -> None:
    source = Source(as_bytes(order("o1")), b"x" * (BATCH_BYTES_MAX + 1), as_bytes(order("o2")))
    make(engine, source).step(source)
    assert source.acknowledged == [1, 1, 1]
    assert states(engine) == [("dead", "too_large", 1), ("received", None, 2)]


def test_a_message_that_cannot_be_stored_is_parked_unread_and_holds_no_other_up(
    own_engine: Engine, make: Callable[..., Intake]
) -> None:
    with own_engine.begin() as connection:
        connection.execute(text("ALTER TABLE inbox ADD CHECK (subject <> 'order poison')"))
    source = Source(as_bytes(order("o1")), as_bytes(order("poison")), as_bytes(order("o2")))
    make(own_engine, source).step(source)
    assert source.acknowledged == [1, 1, 1]
    assert states(own_engine) == [("dead", "posting_failed", 1), ("received", None, 2)]
    with own_engine.connect() as connection:
        row = connection.execute(text("SELECT detail, body FROM inbox WHERE state = 'dead'")).one()
    assert row.detail == "receiving it raised CheckViolation; retry it after a repair"
    assert bytes(row.body) == as_bytes(order("poison"))


def test_events_are_stored_in_parts_and_so_is_what_nobody_can_read(engine: Engine, make: Callable[..., Intake]) -> None:
    arrays = [b"[" + b",".join([b"%d" % n] * 1000) + b"]" for n in range(3)]
    source = Source(*arrays, *(as_bytes(order(f"o{n}")) for n in range(5)))
    make(engine, source).step(source)
    assert source.acknowledged == [2, 6]
    assert states(engine) == [("dead", "not_an_event", 3), ("received", None, 5)]


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


def test_nothing_is_acknowledged_while_the_database_is_away(make: Callable[..., Intake]) -> None:
    nowhere = create_database_engine("postgresql://127.0.0.1:1/nowhere")
    source = Source(as_bytes(order()))
    with pytest.raises(DBAPIError):
        make(nowhere, source).step(source)
    assert source.acknowledged == []
