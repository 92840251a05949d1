"""What both brokers promise."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from broker_steps import ORDER, bodies, orders, receive, told

from workers.brokers import (
    IntakeQueue,
    look_at_intake,
    open_event_publisher,
    open_event_tail,
    open_intake,
    open_shop_publisher,
)
from workers.brokers.large_messages import BATCH_BYTES_MAX


@pytest.mark.parametrize(
    "body",
    [ORDER, b"\xff\xfe\x00 no JSON and no text", b"", b"[" + b" " * 300_000 + b"]"],
    ids=["json", "bytes", "empty", "larger than a frame"],
)
def test_a_message_comes_through_unchanged(broker_url: str, opened: Callable[..., Any], body: bytes) -> None:
    intake = opened(open_intake, broker_url, consumer="one")
    opened(open_shop_publisher, broker_url).publish([("order.completed", body), ("order.completed", ORDER)])
    assert bodies(receive(intake, 2)) == [body, ORDER]


def test_messages_published_before_the_first_intake_wait_for_it(broker_url: str, opened: Callable[..., Any]) -> None:
    opened(open_shop_publisher, broker_url).publish(orders(3))
    intake = opened(open_intake, broker_url, consumer="one")
    assert bodies(receive(intake, 3)) == [body for _, body in orders(3)]


def test_messages_come_in_the_order_in_which_they_were_published(broker_url: str, opened: Callable[..., Any]) -> None:
    intake = opened(open_intake, broker_url, consumer="one")
    shop = opened(open_shop_publisher, broker_url)
    shop.publish(orders(2500))
    found: list[bytes] = []
    while len(found) < 2500:
        batch = intake.receive(messages_max=500, wait_seconds=60)
        intake.acknowledge(batch)
        found += bodies(batch)
    assert found == [body for _, body in orders(2500)]


def test_a_batch_holds_no_more_than_asked_for_and_the_rest_comes_next(
    broker_url: str, opened: Callable[..., Any]
) -> None:
    opened(open_shop_publisher, broker_url).publish(orders(5))
    intake = opened(open_intake, broker_url, consumer="one")
    first = intake.receive(messages_max=3, wait_seconds=60)
    assert 1 <= len(first) <= 3
    assert bodies(first + receive(intake, 5 - len(first))) == [body for _, body in orders(5)]


def test_a_batch_is_empty_when_nothing_waits(broker_url: str, opened: Callable[..., Any]) -> None:
    intake = opened(open_intake, broker_url, consumer="one")
    assert intake.receive(messages_max=10, wait_seconds=0) == []
    assert intake.receive(messages_max=10, wait_seconds=0.05) == []


def test_a_message_that_is_published_during_the_wait_ends_the_wait(broker_url: str, opened: Callable[..., Any]) -> None:
    intake = opened(open_intake, broker_url, consumer="one")
    shop = opened(open_shop_publisher, broker_url)
    later = threading.Timer(0.1, shop.publish, [[("order.completed", ORDER)]])
    later.start()
    assert bodies(intake.receive(messages_max=10, wait_seconds=60)) == [ORDER]
    later.join()


def test_what_is_received_and_not_acknowledged_comes_again_after_reopening(
    broker_url: str, opened: Callable[..., Any]
) -> None:
    opened(open_shop_publisher, broker_url).publish(orders(4))
    intake = opened(open_intake, broker_url, consumer="one")
    first, second = receive(intake, 2), receive(intake, 2)
    intake.acknowledge(first)
    intake.close()
    again = receive(opened(open_intake, broker_url, consumer="one"), 2)
    assert sorted(bodies(again)) == sorted(bodies(second))


def test_what_is_acknowledged_never_comes_again(broker_url: str, opened: Callable[..., Any]) -> None:
    opened(open_shop_publisher, broker_url).publish(orders(3))
    intake = opened(open_intake, broker_url, consumer="one")
    intake.acknowledge(receive(intake, 3))
    intake.close()
    reopened = opened(open_intake, broker_url, consumer="one")
    assert reopened.receive(messages_max=10, wait_seconds=0.2) == []
    assert look_at_intake(broker_url).waiting == 0


def test_acknowledging_a_later_batch_first_takes_nothing_of_the_earlier_one_away(
    broker_url: str, opened: Callable[..., Any]
) -> None:
    opened(open_shop_publisher, broker_url).publish(orders(4))
    intake = opened(open_intake, broker_url, consumer="one")
    first, second = receive(intake, 2), receive(intake, 2)
    intake.acknowledge(second)
    intake.close()
    again = receive(opened(open_intake, broker_url, consumer="one"), 2)
    assert sorted(bodies(again)) == sorted(bodies(first))


def test_acknowledging_twice_or_nothing_at_all_does_no_harm(broker_url: str, opened: Callable[..., Any]) -> None:
    opened(open_shop_publisher, broker_url).publish(orders(2))
    intake = opened(open_intake, broker_url, consumer="one")
    first = receive(intake, 1)
    intake.acknowledge(first)
    intake.acknowledge(first)
    intake.acknowledge([])
    assert bodies(receive(intake, 1)) == [b'{"id": "1"}']


def test_two_intakes_share_the_messages(broker_url: str, opened: Callable[..., Any]) -> None:
    intakes = [opened(open_intake, broker_url, consumer=name, prefetch_messages=2) for name in ("one", "two")]
    opened(open_shop_publisher, broker_url).publish(orders(4))
    shares = [receive(intake, 2) for intake in intakes]
    assert sorted(bodies(shares[0] + shares[1])) == sorted(body for _, body in orders(4))


def test_what_waits_is_counted_from_outside(broker_url: str, opened: Callable[..., Any]) -> None:
    assert look_at_intake(broker_url) == IntakeQueue(waiting=0, intakes=0)
    opened(open_shop_publisher, broker_url).publish(orders(5))
    assert look_at_intake(broker_url) == IntakeQueue(waiting=5, intakes=0)
    intake = opened(open_intake, broker_url, consumer="one", prefetch_messages=2)
    intake.acknowledge(receive(intake, 2))
    receive(intake, 2)
    assert look_at_intake(broker_url).intakes == 1
    # What is under way to an intake is not told by RabbitMQ.
    assert look_at_intake(broker_url).waiting == (3 if broker_url.startswith("redis") else 1)


def test_a_batch_is_bounded_by_bytes_and_what_does_not_fit_comes_with_the_next(
    broker_url: str, opened: Callable[..., Any]
) -> None:
    sizes_bytes = [1, 9_000_000, 9_000_000, 2, 3, 9_000_000, 4]
    opened(open_shop_publisher, broker_url).publish([("order.completed", b"x" * size) for size in sizes_bytes])
    intake = opened(open_intake, broker_url, consumer="one")
    taken: list[list[int]] = []
    while sum(map(len, taken)) < len(sizes_bytes):
        batch = intake.receive(messages_max=10, wait_seconds=60)
        intake.acknowledge(batch)
        taken.append([len(message.raw) for message in batch])
    assert [size for batch in taken for size in batch] == sizes_bytes
    assert max(map(sum, taken)) < BATCH_BYTES_MAX
    assert look_at_intake(broker_url).waiting == 0


def test_a_heartbeat_loses_nothing_that_comes_in_meanwhile(broker_url: str, opened: Callable[..., Any]) -> None:
    intake = opened(open_intake, broker_url, consumer="one")
    opened(open_shop_publisher, broker_url).publish(orders(3))
    intake.heartbeat()
    assert bodies(receive(intake, 3)) == [body for _, body in orders(3)]


def test_closing_again_does_nothing(broker_url: str) -> None:
    for thing in (open_intake(broker_url, consumer="one"), open_shop_publisher(broker_url)):
        thing.close()
        thing.close()


def test_events_are_published_in_order_and_whole(broker_url: str, opened: Callable[..., Any]) -> None:
    tail = opened(open_event_tail, broker_url)
    events = [("loyalty.balance.changed", json.dumps({"sequence": n, "name": "Zoë"})) for n in range(2500)]
    events.append(("loyalty.tier.changed", json.dumps({"long": "x" * 300_000})))
    opened(open_event_publisher, broker_url).publish(events)
    assert [event.decode() for event in told(tail, len(events))] == [text for _, text in events]


def test_an_event_that_nobody_listens_for_is_confirmed_too(broker_url: str, opened: Callable[..., Any]) -> None:
    publisher = opened(open_event_publisher, broker_url)
    publisher.publish([("loyalty.balance.changed", "{}")])
    publisher.publish([])


def test_a_tail_shows_what_comes_after_it_was_opened_and_goes_on_when_asked_again(
    broker_url: str, opened: Callable[..., Any]
) -> None:
    publisher = opened(open_event_publisher, broker_url)
    publisher.publish([("loyalty.balance.changed", "1")])
    tail = opened(open_event_tail, broker_url)
    assert list(tail.events(wait_seconds=0.05)) == []
    publisher.publish([("loyalty.balance.changed", "2"), ("loyalty.account.created", "3")])
    assert told(tail, 2) == [b"2", b"3"]
    publisher.publish([("loyalty.balance.changed", "4")])
    assert told(tail, 1) == [b"4"]
    assert list(tail.events(wait_seconds=0.05)) == []
