"""Redis and Valkey: what streams and their consumer group add to the promises of both brokers."""

import json
import time
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
import redis
from broker_steps import ORDER, bodies, once_somebody_waits, orders, receive, told

from core.errors import BrokerUnavailableError, EventNotConfirmedError
from core.messages.inbound.problems import STREAM_ENTRY
from core.messages.inbound.reading import HEAD_BYTES, CutMessage
from workers.brokers import (
    IntakeQueue,
    look_at_intake,
    open_event_publisher,
    open_event_tail,
    open_intake,
    open_shop_publisher,
    renew_closed_stream,
)
from workers.brokers.large_messages import BATCH_BYTES_MAX
from workers.brokers.stream_scripts import GREATEST_ID
from workers.brokers.topology import EVENT_STREAM, FRESH_STREAM, INTAKE_GROUP, SHOP_STREAM, SUBMIT_QUEUE


def test_another_consumer_claims_the_messages_of_a_dead_one(valkey_url: str, opened: Callable[..., Any]) -> None:
    opened(open_shop_publisher, valkey_url).publish(orders(3))
    dead = open_intake(valkey_url, consumer="dead")
    left = receive(dead, 3)
    dead.close()
    heir = opened(open_intake, valkey_url, consumer="heir", idle_claim_seconds=0.05)
    claimed = receive(heir, 3)
    assert bodies(claimed) == bodies(left)
    heir.acknowledge(claimed)
    assert open_intake(valkey_url, consumer="dead").receive(messages_max=10, wait_seconds=0) == []


def test_messages_of_a_living_consumer_are_left_to_it(valkey_url: str, opened: Callable[..., Any]) -> None:
    opened(open_shop_publisher, valkey_url).publish(orders(1))
    receive(opened(open_intake, valkey_url, consumer="living"), 1)
    other = opened(open_intake, valkey_url, consumer="other", idle_claim_seconds=60)
    assert other.receive(messages_max=10, wait_seconds=0.1) == []


def test_everything_a_dead_consumer_left_is_claimed_batch_after_batch(
    valkey_url: str, opened: Callable[..., Any]
) -> None:
    opened(open_shop_publisher, valkey_url).publish(orders(25))
    dead = open_intake(valkey_url, consumer="dead")
    receive(dead, 25)
    dead.close()
    heir = opened(open_intake, valkey_url, consumer="heir", idle_claim_seconds=0.05)
    time.sleep(0.06)
    batches = [heir.receive(messages_max=10, wait_seconds=1) for _ in range(3)]
    assert [len(batch) for batch in batches] == [10, 10, 5]


def test_all_its_own_pending_messages_come_before_new_ones(valkey_url: str, opened: Callable[..., Any]) -> None:
    shop = opened(open_shop_publisher, valkey_url)
    shop.publish(orders(25))
    before = open_intake(valkey_url, consumer="one")
    receive(before, 20)
    before.close()
    again = receive(opened(open_intake, valkey_url, consumer="one"), 25)
    assert bodies(again) == [body for _, body in orders(25)]


def test_a_delivery_whose_answer_was_lost_comes_again_without_reopening(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
) -> None:
    intake = opened(open_intake, valkey_url, consumer="one")
    assert intake.receive(messages_max=10, wait_seconds=0) == []
    valkey.xadd(SHOP_STREAM, {"event": ORDER})
    # As seen from the server: delivered to our consumer, on a connection that then broke.
    valkey.xreadgroup(INTAKE_GROUP, "one", {SHOP_STREAM: ">"})
    cut = once_somebody_waits(
        valkey, lambda: valkey.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    )
    with pytest.raises(BrokerUnavailableError):
        intake.receive(messages_max=10, wait_seconds=60)
    cut.join()
    assert bodies(intake.receive(messages_max=10, wait_seconds=1)) == [ORDER]


@pytest.mark.parametrize("what", ["group", "stream"])
def test_a_deleted_group_or_stream_is_made_again(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any], what: str
) -> None:
    intake = opened(open_intake, valkey_url, consumer="one")
    shop = opened(open_shop_publisher, valkey_url)
    intake.receive(messages_max=10, wait_seconds=0)
    if what == "group":
        valkey.xgroup_destroy(SHOP_STREAM, INTAKE_GROUP)
    else:
        valkey.delete(SHOP_STREAM)
    shop.publish([("order.completed", ORDER)])
    assert bodies(receive(intake, 1)) == [ORDER]


@pytest.mark.parametrize("what", ["group", "stream"])
def test_a_group_or_stream_that_is_deleted_during_the_wait_is_made_again(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any], what: str
) -> None:
    intake = opened(open_intake, valkey_url, consumer="one")
    shop = opened(open_shop_publisher, valkey_url)

    def _delete_and_publish() -> None:
        if what == "group":
            valkey.xgroup_destroy(SHOP_STREAM, INTAKE_GROUP)
        else:
            valkey.delete(SHOP_STREAM)
        shop.publish([("order.completed", ORDER)])

    later = once_somebody_waits(valkey, _delete_and_publish)
    assert bodies(intake.receive(messages_max=10, wait_seconds=60)) == [ORDER]
    later.join()


def test_waiting_messages_are_counted_after_the_group_was_deleted(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
) -> None:
    opened(open_intake, valkey_url, consumer="one")
    opened(open_shop_publisher, valkey_url).publish(orders(3))
    valkey.xgroup_destroy(SHOP_STREAM, INTAKE_GROUP)
    assert look_at_intake(valkey_url) == IntakeQueue(waiting=3, intakes=0)


class TestLargeEntries:
    """Whatever a shop adds to the stream, intake holds no more of it than a batch may have."""

    @pytest.fixture
    def intake(self, valkey_url: str, opened: Callable[..., Any]) -> Any:
        return opened(open_intake, valkey_url, consumer="one")

    def test_of_one_that_is_too_large_head_length_and_hash_are_held_and_nothing_else(
        self, valkey: redis.Redis, intake: Any
    ) -> None:
        large = b"%d" % 7 + b"x" * 60_000_000
        for _ in range(3):
            valkey.xadd(SHOP_STREAM, {"event": large})
        valkey.xadd(SHOP_STREAM, {"event": ORDER})
        cut = CutMessage(large[:HEAD_BYTES], len(large), sha256(large).digest())
        del large
        tracemalloc.start()
        try:
            taken = [raw for _ in range(3) for raw in self.taken(intake)]
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert taken == [cut, cut, cut, ORDER]
        assert peak_bytes < 5_000_000
        assert valkey.xlen(SHOP_STREAM) == 0

    def test_what_a_dead_consumer_left_is_claimed_and_held_in_parts_too(
        self, valkey: redis.Redis, valkey_url: str, opened: Callable[..., Any]
    ) -> None:
        for size in (9_000_000, 9_000_001, 3):
            valkey.xadd(SHOP_STREAM, {"event": b"x" * size})
        dead = open_intake(valkey_url, consumer="dead")
        receive(dead, 2)
        dead.close()
        heir = opened(open_intake, valkey_url, consumer="heir", idle_claim_seconds=0.05)
        taken: list[list[int]] = []
        while sum(map(len, taken)) < 3:
            taken.append([len(raw) for raw in self.taken(heir)])
        assert sorted(size for batch in taken for size in batch) == [3, 9_000_000, 9_000_001]
        assert max(map(sum, taken)) < BATCH_BYTES_MAX
        assert valkey.xlen(SHOP_STREAM) == 0

    def test_all_fields_of_an_entry_count(self, valkey: redis.Redis, intake: Any) -> None:
        junk = b"x" * 9_000_000
        valkey.xadd(SHOP_STREAM, {"junk": junk, "event": ORDER, "more": junk})
        valkey.xadd(SHOP_STREAM, {"junk": junk, "event": junk, "signature": "s"})
        valkey.xadd(SHOP_STREAM, {"junk": junk, "more": junk})
        valkey.xadd(SHOP_STREAM, {f"{n}" * 60: b"x" for n in range(10_000)})
        valkey.xadd(SHOP_STREAM, {"event": ORDER})
        assert self.taken(intake) == [ORDER]
        assert self.taken(intake) == [CutMessage(junk[:HEAD_BYTES], len(junk), sha256(junk).digest())]
        [fields] = self.taken(intake)
        assert json.loads(fields)[STREAM_ENTRY]["more"].endswith("... (9000000 bytes)")
        assert self.taken(intake)[-1] == ORDER

    def taken(self, intake: Any) -> list[Any]:
        batch = intake.receive(messages_max=10, wait_seconds=5)
        intake.acknowledge(batch)
        return [message.raw for message in batch]


def test_an_entry_without_an_event_is_handed_over_as_json_of_its_fields(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
) -> None:
    valkey.xadd(SHOP_STREAM, {"order_id": "7", "raw": b"\xff"})
    [received] = receive(opened(open_intake, valkey_url, consumer="one"), 1)
    assert json.loads(received.raw) == {STREAM_ENTRY: {"order_id": "7", "raw": "\\xff"}}


def test_a_pending_entry_that_somebody_deleted_is_acknowledged_and_not_handed_over(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
) -> None:
    opened(open_shop_publisher, valkey_url).publish(orders(2))
    before = open_intake(valkey_url, consumer="one")
    first, second = receive(before, 2)
    before.close()
    valkey.xdel(SHOP_STREAM, first.token)
    again = opened(open_intake, valkey_url, consumer="one")
    assert again.receive(messages_max=10, wait_seconds=1) == [second]
    assert valkey.xpending(SHOP_STREAM, INTAKE_GROUP)["pending"] == 1


def test_acknowledged_entries_leave_the_stream(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
) -> None:
    opened(open_shop_publisher, valkey_url).publish(orders(3))
    intake = opened(open_intake, valkey_url, consumer="one")
    intake.acknowledge(receive(intake, 3))
    assert valkey.xlen(SHOP_STREAM) == 0


def test_a_full_server_refuses_events_and_still_lets_the_intake_drain_it(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
) -> None:
    opened(open_shop_publisher, valkey_url).publish(orders(3))
    publisher = opened(open_event_publisher, valkey_url)
    intake = opened(open_intake, valkey_url, consumer="one")
    valkey.config_set("maxmemory", "1")
    try:
        with pytest.raises(EventNotConfirmedError, match="did not confirm 2 event") as caught:
            publisher.publish([("loyalty.balance.changed", "{}")] * 2)
        intake.acknowledge(receive(intake, 3))
    finally:
        valkey.config_set("maxmemory", "0")
    assert "memory" in str(caught.value)
    assert valkey.xlen(SHOP_STREAM) == 0


def test_an_event_names_its_type_beside_the_json(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
) -> None:
    opened(open_event_publisher, valkey_url).publish([("loyalty.balance.changed", "{}")])
    entries: Any = valkey.xrange(EVENT_STREAM)
    [(_, fields)] = entries
    assert fields == {b"event": b"{}", b"type": b"loyalty.balance.changed"}


def test_old_events_are_trimmed_only_when_a_bound_is_given(
    valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
) -> None:
    events = [("loyalty.balance.changed", "{}")] * 2000
    opened(open_event_publisher, valkey_url).publish(events)
    assert valkey.xlen(EVENT_STREAM) == 2000
    opened(open_event_publisher, valkey_url, events_kept_max=500).publish(events)
    assert 500 <= valkey.xlen(EVENT_STREAM) < 1000


def test_a_tail_from_the_beginning_shows_every_event_kept(valkey_url: str, opened: Callable[..., Any]) -> None:
    opened(open_event_publisher, valkey_url).publish([("loyalty.balance.changed", str(n)) for n in range(3)])
    tail = opened(open_event_tail, valkey_url, from_beginning=True)
    assert told(tail, 3) == [b"0", b"1", b"2"]


def test_a_key_of_another_kind_in_the_place_of_the_stream_is_reported(valkey_url: str, valkey: redis.Redis) -> None:
    valkey.set(SHOP_STREAM, "a string")
    with pytest.raises(BrokerUnavailableError, match="WRONGTYPE"):
        open_intake(valkey_url, consumer="one")


class TestAClosedStream:
    """Whoever may add entries may choose their ids, and after the greatest one nobody can add any more."""

    @staticmethod
    def close(valkey: redis.Redis) -> None:
        valkey.xadd(SHOP_STREAM, {"event": b"the last"}, id=GREATEST_ID.decode())
        with pytest.raises(redis.ResponseError, match="last possible ID"):
            valkey.xadd(SHOP_STREAM, {"event": ORDER})

    def test_is_told(self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]) -> None:
        opened(open_intake, valkey_url, consumer="one")
        assert not look_at_intake(valkey_url).is_closed
        self.close(valkey)
        assert look_at_intake(valkey_url).is_closed

    def test_takes_messages_again_with_all_that_waits_once_it_is_renewed(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        intake = opened(open_intake, valkey_url, consumer="one")
        shop = opened(open_shop_publisher, valkey_url)
        shop.publish(orders(5), sign=lambda raw: f"k={len(raw):064x}")
        stored, underway = receive(intake, 1), receive(intake, 2)
        intake.acknowledge(stored)
        self.close(valkey)
        valkey.lpush(SUBMIT_QUEUE, b"submitted")
        assert renew_closed_stream(valkey_url) == 5, "two under way, two that nobody has received, and the last"
        shop.publish([("order.completed", b"after")])
        intake.acknowledge(underway)
        again = receive(intake, 7)
        left = [raw for _, raw in orders(5)[1:]]
        assert sorted(bodies(again)) == sorted([*left, b"the last", b"submitted", b"after"])
        assert sum(message.signature is not None for message in again) == 4
        intake.acknowledge(again)
        assert (valkey.xlen(SHOP_STREAM), valkey.llen(SUBMIT_QUEUE), valkey.exists(FRESH_STREAM)) == (0, 0, 0)
        assert not look_at_intake(valkey_url).is_closed

    def test_is_renewed_whatever_else_its_entries_hold(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        wide: Any = {f"field {number}": "x" for number in range(9_000)}
        valkey.xadd(SHOP_STREAM, wide)
        valkey.xadd(SHOP_STREAM, {**wide, "event": ORDER, "signature": "k=1"})
        self.close(valkey)
        valkey.xadd(FRESH_STREAM, {"event": "of a renewal that never was"})
        assert renew_closed_stream(valkey_url) == 3
        received = receive(opened(open_intake, valkey_url, consumer="one"), 3)
        assert bodies(received)[1:] == [ORDER, b"the last"]
        assert json.loads(bodies(received)[0])[:2] == ["field 0", "x"]

    def test_is_renewed_once_and_what_is_not_closed_is_left_alone(self, valkey_url: str, valkey: redis.Redis) -> None:
        assert renew_closed_stream(valkey_url) is None
        valkey.xadd(SHOP_STREAM, {"event": ORDER}, id="18446744073709551615-1")
        assert renew_closed_stream(valkey_url) is None
        self.close(valkey)
        assert (renew_closed_stream(valkey_url), renew_closed_stream(valkey_url)) == (2, None)
