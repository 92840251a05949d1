"""Where an answer goes travels with the message that asks for it, and the answer goes there if it still can."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from broker_steps import ORDER, bodies, receive
from celery import Celery
from kombu import pools

from core.errors import EventNotConfirmedError
from core.messages.inbound.celery_messages import HandedOver, handed_over
from core.messages.inbound.reading import MESSAGE_BYTES_KEPT_MAX
from core.messages.inbound.replies import ReplyAddress
from core.messages.outbound.replies import Reply
from workers.brokers import open_event_publisher, open_intake, renew_closed_stream
from workers.brokers.stream_scripts import GREATEST_ID
from workers.brokers.topology import EVENT_STREAM, SHOP_STREAM, SUBMIT_QUEUE

REPLIES = "loyalty.replies.test"
ASKED = ReplyAddress(REPLIES, "ask-1")
EVENT = ("loyalty.command.accepted", '{"name": "Zoë"}')
ANSWER = Reply(REPLIES, "ask-1", EVENT[1])


@pytest.fixture
def shop(broker_url: str) -> Iterator[Celery]:
    with Celery("shop", broker=broker_url, set_as_current=False) as app:
        yield app
    pools.reset()  # or the next one's connection believes that the queue is declared, which was deleted meanwhile


def sent_with_celery(shop: Celery, intake: Any, **options: Any) -> ReplyAddress | None:
    """Where the answer to a task is wanted that is submitted with these options."""
    shop.send_task(SUBMIT_QUEUE, args=[json.loads(ORDER)], queue=SUBMIT_QUEUE, **options)
    found = handed_over(bodies(receive(intake, 1))[0])
    assert isinstance(found, HandedOver)
    return found.reply


def test_a_producer_that_speaks_celery_may_say_where_an_answer_goes(
    broker_url: str, shop: Celery, opened: Callable[..., Any]
) -> None:
    intake = opened(open_intake, broker_url, consumer="one")
    assert sent_with_celery(shop, intake, reply_to=REPLIES, task_id="ask-1") == ASKED


def test_the_place_for_results_of_which_celery_tells_in_every_message_asks_for_nothing(
    broker_url: str, shop: Celery, opened: Callable[..., Any]
) -> None:
    assert sent_with_celery(shop, opened(open_intake, broker_url, consumer="one")) is None


def test_events_without_replies_go_out_as_before_one_that_has_some(broker_url: str, opened: Callable[..., Any]) -> None:
    publisher = opened(open_event_publisher, broker_url)
    publisher.publish([EVENT] * 3, [ANSWER._replace(reply_to="loyalty.replies.gone", correlation_id=None)])
    publisher.publish([EVENT])


class TestOnStreams:
    @pytest.mark.parametrize(
        ("fields", "found"),
        [
            ({"reply_to": REPLIES, "correlation_id": "ask-1"}, ASKED),
            ({"reply_to": REPLIES}, ReplyAddress(REPLIES)),
            ({"reply_to": b"loyalty.replies.\xff"}, ReplyAddress("loyalty.replies.\ufffd")),
            ({"reply_to": b"x" * 100_000, "correlation_id": b"y" * 100_000}, ReplyAddress("x" * 256, "y" * 256)),
            ({"reply_to": b"x" * (MESSAGE_BYTES_KEPT_MAX + 1)}, ReplyAddress("x" * 256)),
            ({"reply_to": ""}, None),
            ({"correlation_id": "ask-1"}, None),
            ({}, None),
        ],
    )
    def test_where_an_answer_goes_is_read_beside_the_event(
        self,
        valkey_url: str,
        valkey: redis.Redis,
        opened: Callable[..., Any],
        fields: dict[str, Any],
        found: ReplyAddress | None,
    ) -> None:
        valkey.xadd(SHOP_STREAM, {"event": ORDER, **fields, "more": "x"})
        [received] = receive(opened(open_intake, valkey_url, consumer="one"), 1)
        assert (received.raw, received.reply) == (ORDER, found)

    def test_it_is_kept_when_a_closed_stream_is_renewed(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        wide: Any = {f"field {number}": "x" for number in range(9_000)}
        asking = {"event": ORDER, "reply_to": REPLIES, "correlation_id": "ask-1"}
        valkey.xadd(SHOP_STREAM, {**wide, **asking})
        valkey.xadd(SHOP_STREAM, {**asking, "signature": "k=1"}, id=GREATEST_ID.decode())
        assert renew_closed_stream(valkey_url) == 2
        received = receive(opened(open_intake, valkey_url, consumer="one"), 2)
        assert [(each.raw, each.reply, each.signature) for each in received] == [
            (ORDER, ASKED, None),
            (ORDER, ASKED, "k=1"),
        ]

    @pytest.mark.parametrize("correlation_id", ["ask-1", None])
    def test_an_answer_is_the_event_with_its_correlation_id_and_the_event_goes_out_too(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any], correlation_id: str | None
    ) -> None:
        opened(open_event_publisher, valkey_url).publish([EVENT], [Reply(REPLIES, correlation_id, EVENT[1])])
        [(_, answer)], [(_, event)] = valkey.xrange(REPLIES), valkey.xrange(EVENT_STREAM)  # type: ignore[misc]
        named = {} if correlation_id is None else {b"correlation_id": correlation_id.encode()}
        assert answer == {b"event": EVENT[1].encode(), **named}
        assert event[b"event"] == EVENT[1].encode()

    def test_a_stream_of_answers_goes_an_hour_after_the_last_one(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        publisher = opened(open_event_publisher, valkey_url)
        publisher.publish([EVENT], [ANSWER])
        assert 3590 < int(valkey.ttl(REPLIES)) <= 3600
        valkey.expire(REPLIES, 10)
        publisher.publish([EVENT], [ANSWER])
        assert 3590 < int(valkey.ttl(REPLIES)) <= 3600
        assert valkey.ttl(EVENT_STREAM) == -1

    def test_of_answers_that_nobody_reads_the_last_ones_are_kept(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        opened(open_event_publisher, valkey_url).publish([EVENT], [ANSWER] * 10_500)
        assert 10_000 <= int(valkey.xlen(REPLIES)) <= 10_100

    def test_what_is_no_stream_is_left_alone_and_holds_nothing_up(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        publisher = opened(open_event_publisher, valkey_url)
        valkey.set("loyalty.replies.other", "somebody's")
        publisher.publish([EVENT] * 2, [ANSWER._replace(reply_to="loyalty.replies.other"), ANSWER])
        assert (valkey.get("loyalty.replies.other"), valkey.ttl("loyalty.replies.other")) == (b"somebody's", -1)
        assert (valkey.xlen(EVENT_STREAM), valkey.xlen(REPLIES)) == (2, 1)
        logged = capsys.readouterr().out
        assert "action='replies_refused'" in logged
        assert "WRONGTYPE" in logged
        assert "loyalty.replies.other" not in logged

    def test_a_stream_that_the_worker_has_no_right_to_holds_nothing_up(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        rights = "reset on >secret ~loyalty.events ~loyalty.replies.test +@all"
        valkey.execute_command("ACL", "SETUSER", "worker", *rights.split())  # type: ignore[no-untyped-call]
        publisher = opened(open_event_publisher, valkey_url.replace("://", "://worker:secret@"))
        publisher.publish([EVENT] * 2, [ANSWER._replace(reply_to="loyalty.replies.other"), ANSWER])
        assert (valkey.xlen(EVENT_STREAM), valkey.xlen(REPLIES), valkey.exists("loyalty.replies.other")) == (2, 1, 0)

    def test_a_full_server_that_takes_no_event_takes_no_answer_either(
        self, valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]
    ) -> None:
        publisher = opened(open_event_publisher, valkey_url)
        valkey.config_set("maxmemory", "1")
        try:
            with pytest.raises(EventNotConfirmedError):
                publisher.publish([EVENT], [ANSWER])
        finally:
            valkey.config_set("maxmemory", "0")
        assert valkey.exists(EVENT_STREAM, REPLIES) == 0
        publisher.publish([EVENT], [ANSWER])
        assert (valkey.xlen(EVENT_STREAM), valkey.xlen(REPLIES)) == (1, 1)
