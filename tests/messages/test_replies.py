"""Where answers may go: to queues that only who asks can have, whatever a sender writes."""

import pytest
from pydantic import ValidationError

from config.queues import QUEUE_NAMES
from config.settings import OWN_NAMES, Settings
from core.messages.inbound.replies import REPLY_PREFIX, ReplyAddress, allowed_reply
from workers.brokers import topology


@pytest.mark.parametrize(
    "name",
    [
        "loyalty.replies.shop",
        "loyalty.replies.",
        "loyalty.replies.Zoë",
        "loyalty.replies." + "x" * 239,
        "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA.x==",
        "amq.gen-Xa2",
    ],
)
def test_a_queue_for_answers_and_one_that_rabbitmq_has_named_are_taken(name: str) -> None:
    assert allowed_reply(ReplyAddress(name, "1"), REPLY_PREFIX) == ReplyAddress(name, "1")


@pytest.mark.parametrize(
    "name",
    [
        "loyalty.intake",
        "loyalty.events",
        "shop.events",
        "orders",
        " loyalty.replies.shop",
        "amq.rabbitmq.reply-to",
        "amq.topic",
        "loyalty.replies." + "x" * 240,
        "loyalty.replies." + "ü" * 120,
        "loyalty.replies.a\nb",
        "loyalty.replies.a\x00",
        pytest.param("loyalty.replies." + chr(0xD800), id="half a character"),
        "loyalty.replies.\ufffd",
    ],
)
def test_any_other_queue_and_what_no_queue_can_be_called_is_not_taken(name: str) -> None:
    assert allowed_reply(ReplyAddress(name, "1"), REPLY_PREFIX) is None


@pytest.mark.parametrize(
    "correlation_id", ["", "x" * 256, "ü" * 128, "a\tb", "\x9f", pytest.param(chr(0xD800), id="half a character")]
)
def test_a_wrong_correlation_id_is_left_out_and_the_answer_goes_out_all_the_same(correlation_id: str) -> None:
    asked = ReplyAddress("loyalty.replies.shop", correlation_id)
    assert allowed_reply(asked, REPLY_PREFIX) == ReplyAddress("loyalty.replies.shop")


def test_the_settings_may_name_another_prefix() -> None:
    prefix = Settings(reply_prefix="answers/").reply_prefix
    assert allowed_reply(ReplyAddress("answers/shop"), prefix) is not None
    assert allowed_reply(ReplyAddress("loyalty.replies.shop"), prefix) is None


@pytest.mark.parametrize(
    "prefix", ["", "l", "loyalty.", "loyalty.events", "shop", "_kombu", "unacked", "celery", "x" * 101]
)
def test_no_prefix_leads_to_queues_of_ours(prefix: str) -> None:
    with pytest.raises(ValidationError):
        Settings(reply_prefix=prefix)


def test_every_queue_and_stream_of_ours_is_known_to_the_settings() -> None:
    named = {value for name, value in vars(topology).items() if name.endswith(("_EXCHANGE", "_QUEUE", "_STREAM"))}
    assert len(named) > 4
    assert [name for name in {*named, *QUEUE_NAMES, *topology.SUBMIT_LISTS} if not name.startswith(OWN_NAMES)] == []
