"""AMQP frames of messages, in and out, without a broker: cut up by the network and mixed with other frames."""

from collections import deque
from collections.abc import Callable, Iterable
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.serialization import dumps

from core.messages.inbound.reading import HEAD_BYTES, CutMessage
from workers.brokers.amqp_frames import (
    Delivery,
    Frame,
    FrameReader,
    delivery_handler,
    message_properties,
    publish_frames,
)

METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
CHANNEL = 1
HEARTBEAT_FRAME = (HEARTBEAT, 0, b"")
BLOCKED_FRAME = (METHOD, 0, b"\x00\x0a\x00\x3c" + b"\x03low")


def _socket(*pieces: bytes | type[Exception]) -> Callable[[int], bytes]:
    """Stand for a socket that gives these pieces, one for each read, or fails."""
    waiting = deque(pieces)

    def _receive(_bytes_max: int) -> bytes:
        piece = waiting.popleft()
        if isinstance(piece, bytes):
            return piece
        raise piece

    return _receive


def _bytes(frames: Iterable[Frame]) -> bytes:
    return b"".join(
        kind.to_bytes(1, "big") + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"
        for kind, channel, payload in frames
    )


def _delivery(
    tag: int, *chunks: bytes, properties: bytes = b"\0\0", routing_key: bytes = b"order.completed"
) -> list[Frame]:
    method = b"\0\x3c\0\x3c" + dumps("sLbss", ("intake-1", tag, False, "shop.events", routing_key))
    header = b"\0\x3c\0\0" + sum(map(len, chunks)).to_bytes(8, "big") + properties
    return [(METHOD, CHANNEL, method), (HEADER, CHANNEL, header), *((BODY, CHANNEL, chunk) for chunk in chunks)]


def _collected(frames: Iterable[Frame]) -> tuple[list[Delivery], list[Any]]:
    deliveries: deque[Delivery] = deque()
    methods: list[Any] = []
    connection = SimpleNamespace(bytes_recv=0)
    handle = delivery_handler(connection, lambda *method: methods.append(method), deliveries.append)
    count = 0
    for frame in frames:
        handle(frame)
        count += 1
    assert connection.bytes_recv == count, "py-amqp takes a broker whose frames are not counted for dead"
    return list(deliveries), methods


def test_frames_are_read_from_any_pieces() -> None:
    frames = [*_delivery(1, b"one"), HEARTBEAT_FRAME, *_delivery(2)]
    stream = _bytes(frames)
    for piece_bytes in (1, 7, 8, 50, len(stream)):
        pieces = [stream[start : start + piece_bytes] for start in range(0, len(stream), piece_bytes)]
        reader = FrameReader(_socket(*pieces))
        assert [reader.read_frame() for _ in frames] == frames
        assert reader.buffered_frame() is None


@pytest.mark.parametrize("timeout", [TimeoutError, BlockingIOError])
def test_what_a_timeout_interrupts_is_kept(timeout: type[Exception]) -> None:
    frame = (BODY, CHANNEL, b"0123456789")
    stream = _bytes([frame])
    reader = FrameReader(_socket(stream[:3], timeout, stream[3:12], timeout, stream[12:]))
    for _ in range(2):
        with pytest.raises(TimeoutError):
            reader.read_frame()
    assert reader.read_frame() == frame


@pytest.mark.parametrize("pieces", [[b""], [b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9, b""]], ids=["closed", "not amqp"])
def test_a_peer_that_closes_or_speaks_something_else_is_a_lost_connection(pieces: list[bytes]) -> None:
    with pytest.raises(ConnectionResetError):
        FrameReader(_socket(*pieces)).read_frame()


def test_a_wrong_frame_end_is_a_lost_connection() -> None:
    stream = _bytes([HEARTBEAT_FRAME])[:-1] + b"\0"
    with pytest.raises(ConnectionResetError, match="not AMQP"):
        FrameReader(_socket(stream)).read_frame()


def test_deliveries_are_collected_with_their_tags_and_whole_bodies() -> None:
    frames = [
        *_delivery(7, b"one"),
        *_delivery(2**40, b"in ", b"three ", b"frames"),
        *_delivery(9),
        *_delivery(10, b"x"),
    ]
    deliveries, methods = _collected(frames)
    assert [(message.tag, message.body) for message in deliveries] == [
        (7, b"one"),
        (2**40, b"in three frames"),
        (9, b""),
        (10, b"x"),
    ]
    assert {message.consumer_tag for message in deliveries} == {b"intake-1"}
    assert methods == []


def test_frames_of_the_connection_between_those_of_a_message_do_not_disturb_it() -> None:
    method, header, first, second = _delivery(1, b"a", b"b")
    deliveries, methods = _collected([method, HEARTBEAT_FRAME, header, first, BLOCKED_FRAME, second])
    assert [(message.tag, message.body) for message in deliveries] == [(1, b"ab")]
    assert [(channel, signature) for channel, signature, *_ in methods] == [(0, (10, 60))]


def test_names_and_properties_that_are_not_utf_8_are_never_looked_at() -> None:
    content_type_not_utf_8 = b"\x80\0\x02\xff\xfe"
    frames = _delivery(1, b"{}", properties=content_type_not_utf_8, routing_key=b"order.r\xfcckgabe")
    assert [(message.tag, message.body) for message in _collected(frames)[0]] == [(1, b"{}")]


@pytest.mark.parametrize(
    "frame",
    [(METHOD, CHANNEL, b"\0\x3c\0\x3c"), (METHOD, CHANNEL, b"\0\x3c\0\x3c\x03abc"), (HEADER, CHANNEL, b"\0\x3c\0\0")],
    ids=["no tag", "half a tag", "no size"],
)
def test_a_frame_that_is_cut_off_is_a_lost_connection(frame: Frame) -> None:
    first, *_ = _delivery(1)
    with pytest.raises(ConnectionResetError, match="not AMQP"):
        _collected([first, frame])


def test_a_message_that_the_broker_returns_is_left_to_the_library() -> None:
    returned = b"\0\x3c\0\x32" + dumps("Bsss", (312, "NO_ROUTE", "shop.events", "customer.created"))
    frames = [(METHOD, CHANNEL, returned), *_delivery(0, b"{}")[1:]]
    deliveries, methods = _collected(frames)
    assert deliveries == []
    assert [message.body for *_, message in methods] == [b"{}"]


def test_published_messages_are_cut_to_the_frame_size_and_put_together_to_pieces() -> None:
    properties = message_properties("application/json", "utf-8")
    sent = [("order.completed", b"x" * 250), ("order.ü", b""), *[("order.refunded", b"y" * 90)] * 1500]
    pieces = list(
        publish_frames(
            [(key, body, properties) for key, body in sent],
            channel=CHANNEL,
            frame_bytes_max=108,
            exchange="shop.events",
            mandatory=True,
        )
    )
    assert 2 <= len(pieces) <= 4
    reader = FrameReader(_socket(b"".join(pieces)))
    published: list[tuple[bytes, bytes]] = []
    open_bytes = 0
    while frame := reader.read_frame() if not published else reader.buffered_frame():
        kind, channel, payload = frame
        assert (channel, len(payload) <= 100) == (CHANNEL, True)
        if kind == METHOD:
            assert payload.startswith(b"\0\x3c\0\x28\0\0\x0bshop.events")
            assert (open_bytes, payload[-1]) == (0, 1)
            published.append((payload[19:-1], b""))
        elif kind == HEADER:
            open_bytes = int.from_bytes(payload[4:12], "big")
            assert payload[12:] == b"\xd0\0\x10application/json\x05utf-8\x02"
        else:
            open_bytes -= len(payload)
            key, body = published[-1]
            published[-1] = key, body + payload
    assert published == [(key.encode(), body) for key, body in sent]


def test_of_a_message_that_is_too_large_head_length_and_hash_are_held() -> None:
    chunk = bytes(range(256)) * 4096
    whole = chunk * 17
    deliveries, _ = _collected([*_delivery(1, *[chunk] * 17), *_delivery(2, chunk), *_delivery(3)])
    cut = CutMessage(whole[:HEAD_BYTES], len(whole), sha256(whole).digest())
    assert [(message.tag, message.body) for message in deliveries] == [(1, cut), (2, chunk), (3, b"")]
