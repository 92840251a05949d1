"""What a producer's Celery client sends to `loyalty.submit` reaches intake, whatever it is, and no Celery worker."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from broker_steps import ORDER, bodies, once_somebody_waits, receive
from celery import Celery
from kombu import pools
from kombu.exceptions import OperationalError

from core.messages.inbound.celery_messages import HandedOver, handed_over, open_envelope
from tests.pages import ROOT, blocks
from workers.brokers import Delivery, look_at_intake, open_intake
from workers.brokers.stream_scripts import GREATEST_ID
from workers.brokers.topology import SHOP_STREAM, SUBMIT_LISTS, SUBMIT_QUEUE

EVENT = json.loads(ORDER)


@pytest.fixture
def shop(broker_url: str) -> Iterator[Celery]:
    app = Celery("shop", broker=broker_url, set_as_current=False)
    app.conf.broker_transport_options = {"confirm_publish": True} if broker_url.startswith("amqp") else {}
    pools.reset()  # or an earlier connection believes that the queue is declared, which was deleted meanwhile
    with app:
        yield app
    pools.reset()


def submit(shop: Celery, **options: Any) -> None:
    shop.send_task(SUBMIT_QUEUE, args=[EVENT], **(options or {"queue": SUBMIT_QUEUE}))


def events(received: list[Delivery]) -> list[Any]:
    found = [handed_over(message.raw) for message in received]
    assert all(isinstance(each, HandedOver) for each in found), found
    return [json.loads(each.raw) for each in found if isinstance(each, HandedOver)]


@pytest.mark.parametrize(
    "options",
    [
        {"queue": SUBMIT_QUEUE},
        {"queue": SUBMIT_QUEUE, "priority": 9},
        {"queue": SUBMIT_QUEUE, "priority": 4, "countdown": 3600, "expires": 600, "time_limit": "b"},
    ],
    ids=["as documented", "of the highest priority", "with options that Celery would trip over"],
)
def test_a_task_comes_with_its_event_until_it_is_acknowledged(
    broker_url: str, shop: Celery, opened: Callable[..., Any], options: dict[str, Any]
) -> None:
    submit(shop, **options)
    first = opened(open_intake, broker_url, consumer="one")
    assert events(receive(first, 1)) == [EVENT]
    first.close()
    second = opened(open_intake, broker_url, consumer="one")
    received = receive(second, 1)
    assert events(received) == [EVENT]
    second.acknowledge(received)
    second.close()
    assert opened(open_intake, broker_url, consumer="one").receive(messages_max=9, wait_seconds=0.05) == []


def test_tasks_and_plain_messages_are_received_and_acknowledged_together(
    broker_url: str, shop: Celery, opened: Callable[..., Any]
) -> None:
    intake = opened(open_intake, broker_url, consumer="one")
    for _ in range(3):
        submit(shop)
    assert look_at_intake(broker_url).waiting in {0, 3}, "on RabbitMQ they are under way already"
    received = receive(intake, 3)
    intake.acknowledge(received[:2])
    intake.close()
    assert len(receive(opened(open_intake, broker_url, consumer="one"), 1)) == 1


def code_of_the_page(broker: str) -> str:
    """What docs/messages.md shows for this broker."""
    found = [block for block in blocks(ROOT / "docs/messages.md", "python") if "send_task" in block]
    return found[broker == "rabbitmq"]


def test_the_code_of_the_page_sends_what_intake_takes(
    broker_url: str, shop: Celery, opened: Callable[..., Any]
) -> None:
    intake = opened(open_intake, broker_url, consumer="one")
    broker = "rabbitmq" if broker_url.startswith("amqp") else "valkey"
    exec(code_of_the_page(broker), {"app": shop, "order": EVENT})  # noqa: S102  # the page's own code
    assert events(receive(intake, 1)) == [EVENT]


class TestOnRedis:
    def test_the_rights_of_the_page_are_enough_and_reach_no_other_queue(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        [row] = re.findall(r"\| shop that speaks Celery \|.*`([^`]+)` \|\n", (ROOT / "docs/operations.md").read_text())
        valkey.execute_command("ACL", "SETUSER", "shop", "reset", "on", ">secret", *row.split())  # type: ignore[no-untyped-call]
        url = valkey_url.replace("://", "://shop:secret@") if "@" not in valkey_url else valkey_url
        with Celery("shop", broker=url, set_as_current=False) as shop:
            exec(code_of_the_page("valkey"), {"app": shop, "order": EVENT})  # noqa: S102  # the page's own code
            with pytest.raises(OperationalError, match="No permissions"):
                shop.send_task("loyalty.expire_lots", queue="loyalty.periodic", retry=False)
        pools.reset()
        assert events(receive(opened(open_intake, valkey_url, consumer="one"), 1)) == [EVENT]

    @pytest.mark.parametrize("item", [b"nonsense", b"", b"\xff\xfe\0", b"{}", b"[1, 2]", ORDER])
    def test_whatever_stands_in_the_list_comes_byte_for_byte(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any], item: bytes
    ) -> None:
        valkey.lpush(SUBMIT_QUEUE, item)
        assert bodies(receive(opened(open_intake, valkey_url, consumer="one"), 1)) == [item]

    def test_the_oldest_comes_first_and_every_priority_is_read(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        for place in SUBMIT_LISTS:
            valkey.lpush(place, f"{place} 1", f"{place} 2")
        received = receive(opened(open_intake, valkey_url, consumer="one"), 8)
        assert [raw.decode() for raw in bodies(received)] == [f"{place} {n}" for place in SUBMIT_LISTS for n in (1, 2)]

    def test_it_is_taken_while_intake_waits_for_a_message(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        intake = opened(open_intake, valkey_url, consumer="one")
        later = once_somebody_waits(valkey, lambda: valkey.lpush(SUBMIT_QUEUE, ORDER))
        # Less than the longest read of the stream, behind which the lists would be looked at anyway.
        assert bodies(intake.receive(messages_max=10, wait_seconds=4.5)) == [ORDER]
        later.join()

    def test_a_key_that_is_no_list_holds_nothing_up(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        valkey.set(SUBMIT_QUEUE, "x")
        valkey.xadd(SHOP_STREAM, {"event": ORDER})
        assert bodies(receive(opened(open_intake, valkey_url, consumer="one"), 1)) == [ORDER]

    def test_a_server_that_the_list_has_filled_is_drained(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        intake = opened(open_intake, valkey_url, consumer="one")
        for _ in range(10):
            valkey.lpush(SUBMIT_QUEUE, b"x" * 100_000)
        valkey.config_set("maxmemory", 1)
        try:
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                valkey.lpush(SUBMIT_QUEUE, b"x")
            received = receive(intake, 10)
            intake.acknowledge(received)
        finally:
            valkey.config_set("maxmemory", 0)
        assert (valkey.exists(SUBMIT_QUEUE), valkey.xlen(SHOP_STREAM)) == (0, 0)

    def test_what_the_stream_does_not_take_stays_in_the_list(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        valkey.xadd(SHOP_STREAM, {"event": ORDER}, id=GREATEST_ID.decode())
        valkey.lpush(SUBMIT_QUEUE, b"later")
        assert bodies(receive(opened(open_intake, valkey_url, consumer="one"), 1)) == [ORDER]
        assert valkey.llen(SUBMIT_QUEUE) == 1


@pytest.mark.rabbitmq
class TestOnRabbitMQ:
    @pytest.mark.parametrize("body", [b"nonsense", b"\xff\xfe\0", b""])
    def test_whatever_stands_in_a_queue_of_rabbitmq_comes_byte_for_byte_with_the_name_of_its_task(
        self, rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any], body: bytes
    ) -> None:
        intake = opened(open_intake, rabbitmq_url, consumer="one")
        headers = {"task": "somebody's", "timelimit": "a", "compression": "zlib", "x": [1, {"y": 2.5}]}
        message = rabbitmq.prepare_message(body, headers=headers, content_type="application/x-python-serialize")
        rabbitmq.basic_publish(message, "", SUBMIT_QUEUE)
        [received] = receive(intake, 1)
        opened_again = open_envelope(received.raw)
        assert opened_again is not None
        assert (opened_again.headers, opened_again.body) == ({"task": "somebody's"}, body)

    def test_a_producer_may_send_to_rabbitmq_through_the_exchange_that_leads_nowhere_else(
        self, rabbitmq_url: str, opened: Callable[..., Any]
    ) -> None:
        intake = opened(open_intake, rabbitmq_url, consumer="one")
        with Celery("shop", broker=rabbitmq_url, set_as_current=False) as shop:
            submit(shop, exchange=SUBMIT_QUEUE, routing_key=SUBMIT_QUEUE)
            assert events(receive(intake, 1)) == [EVENT]

    def test_a_queue_of_rabbitmq_that_a_producer_declared_otherwise_is_read_all_the_same(
        self, rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any]
    ) -> None:
        rabbitmq.queue_declare(SUBMIT_QUEUE, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        rabbitmq.basic_publish(rabbitmq.prepare_message(ORDER), "", SUBMIT_QUEUE)
        assert events(receive(opened(open_intake, rabbitmq_url, consumer="one"), 1)) == [EVENT]
