"""A signature travels beside its message, whichever client wrote it, and whatever else stands there."""

import struct
from collections.abc import Callable
from typing import Any

import amqp
import pytest
import redis
from broker_steps import ORDER, receive

from core.messages.inbound.sources import sign
from workers.brokers import open_intake, open_shop_publisher
from workers.brokers.headers import beside_text, signature_of_fields, signature_of_header
from workers.brokers.topology import SHOP_EXCHANGE, SHOP_STREAM, SIGNATURE_FIELD, SIGNATURE_HEADER

SIGNATURE = sign(ORDER, "2026-11", b"s" * 32)


def header_frame(**properties: Any) -> bytes:
    """The payload of a header frame as py-amqp writes it."""
    message: Any = amqp.basic_message.Message(b"", **properties)
    return b"\0\x3c\0\0" + bytes(8) + bytes(message._serialize_properties())  # noqa: SLF001  # there is no other way


def raw_headers(*entries: bytes) -> bytes:
    """The payload of a header frame with these entries in its table, right or not."""
    table = b"".join(entries)
    return b"\0\x3c\0\0" + bytes(8) + b"\x20\0" + struct.pack(">I", len(table)) + table


def entry(name: str, kind: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name.encode() + kind + value


def test_what_a_shop_signs_arrives_with_its_signature(broker_url: str, opened: Callable[..., Any]) -> None:
    intake = opened(open_intake, broker_url, consumer="one")
    shop = opened(open_shop_publisher, broker_url)
    shop.publish([("order.completed", ORDER)])
    shop.publish([("order.completed", ORDER)], sign=lambda raw: sign(raw, "2026-11", b"s" * 32))
    assert [(message.raw, message.signature) for message in receive(intake, 2)] == [(ORDER, None), (ORDER, SIGNATURE)]


@pytest.mark.rabbitmq
@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({SIGNATURE_HEADER: SIGNATURE}, SIGNATURE),
        ({"a": 1, "b": [1, "x", {"c": None}], "d": 1.5, "e": True, "f": 2**40, SIGNATURE_HEADER: SIGNATURE}, SIGNATURE),
        ({"nested": {SIGNATURE_HEADER: SIGNATURE}}, None),
        ({"text": SIGNATURE_HEADER}, None),
        ({SIGNATURE_HEADER: 17}, ""),
        ({SIGNATURE_HEADER: {"a": 1}}, ""),
        ({SIGNATURE_HEADER: "ü" * 500}, "\ufffd" * 200),
        ({}, None),
    ],
)
def test_a_header_of_any_client_of_rabbitmq_is_found(
    rabbitmq_url: str, rabbitmq: Any, opened: Callable[..., Any], headers: dict[str, Any], found: str | None
) -> None:
    intake = opened(open_intake, rabbitmq_url, consumer="one")
    properties = {"content_type": "text/plain", "content_encoding": "utf-8", "correlation_id": "1"}
    message = amqp.basic_message.Message(ORDER, application_headers=headers, **properties)
    rabbitmq.basic_publish(message, SHOP_EXCHANGE, "order.completed")
    [received] = receive(intake, 1)
    assert (received.raw, received.signature) == (ORDER, found)


def test_a_field_of_a_stream_entry_is_found(valkey_url: str, valkey: redis.Redis, opened: Callable[..., Any]) -> None:
    valkey.xadd(SHOP_STREAM, {"event": ORDER, SIGNATURE_FIELD: SIGNATURE, "more": "x"})
    valkey.xadd(SHOP_STREAM, {"event": ORDER, SIGNATURE_FIELD: b"\xff" * 1000})
    found = receive(opened(open_intake, valkey_url, consumer="one"), 2)
    assert [message.signature for message in found] == [SIGNATURE, "\ufffd" * 200]
    assert signature_of_fields({}) is None


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        (header_frame(content_type="a" * 255, application_headers={SIGNATURE_HEADER: SIGNATURE}), SIGNATURE),
        (raw_headers(entry(SIGNATURE_HEADER, b"x", b"\0\0\0\3a=1")), "a=1"),
        (raw_headers(entry("x", b"V", b""), entry("y", b"s", b"\0\1"), entry(SIGNATURE_HEADER, b"S", b"\0\0\0\0")), ""),
        (raw_headers(entry("of no known type", b"?", b"1"), entry(SIGNATURE_HEADER, b"S", b"\0\0\0\1a")), None),
        (raw_headers(entry(SIGNATURE_HEADER, b"S", b"\xff\xff\xff\xffab")), "ab"),
        (raw_headers(entry("long", b"S", b"\xff\xff\xff\xff"), entry(SIGNATURE_HEADER, b"S", b"\0\0\0\1a")), None),
        (raw_headers(SIGNATURE_HEADER.encode()), None),
        (raw_headers(bytes((len(SIGNATURE_HEADER),)) + SIGNATURE_HEADER.encode()), None),
        (raw_headers(entry(SIGNATURE_HEADER, b"S", b"\0")), None),
        (b"\0\x3c\0\0" + bytes(8) + b"\xff\xff" + SIGNATURE_HEADER.encode(), None),
        (SIGNATURE_HEADER.encode()[:14], None),
    ],
)
def test_headers_that_are_wrongly_made_are_no_signature_and_no_error(payload: bytes, found: str | None) -> None:
    assert signature_of_header(payload) == found


def test_what_is_too_long_for_a_signature_is_cut() -> None:
    assert beside_text(b"x" * 10_000) == "x" * 200
