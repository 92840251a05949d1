"""RabbitMQ: any client's plain AMQP messages in batches, and publishing with many confirms in flight.

kombu opens the connection and its channel. kombu's own consumer would decode and reject by content type, its
producer would wait for each confirm (1,300 a second instead of 15,000).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Final

import amqp

from core.errors import BrokerTopologyError, EventNotConfirmedError
from core.messages.inbound.celery_messages import envelope
from core.messages.inbound.reading import CutMessage
from core.messages.outbound.replies import Reply
from core.messages.trace_context import TraceContext
from workers.brokers.amqp_answers import EVENT_CONTENT, AmqpAnswers
from workers.brokers.amqp_confirms import ConfirmedChannel
from workers.brokers.amqp_frames import Delivery as FramedDelivery
from workers.brokers.amqp_frames import message_properties
from workers.brokers.amqp_link import AmqpLink
from workers.brokers.amqp_topology import EVENTS, INTAKE, SUBMIT, prepare
from workers.brokers.contracts import Delivery, IntakeQueue
from workers.brokers.headers import (
    reply_of_header,
    signature_of_header,
    text_header,
    trace_headers,
    trace_of_header,
)
from workers.brokers.large_messages import BATCH_BYTES_MAX, kept, sent_bytes
from workers.brokers.topology import EVENT_EXCHANGE, INTAKE_QUEUE, SHOP_EXCHANGE, SIGNATURE_HEADER, SUBMIT_QUEUE

_HEARTBEAT_SECONDS: Final = 6
_WAIT_SLICE_SECONDS_MAX: Final = 2.0  # a longer wait is done in slices, so that heartbeats go on
#: How long a batch that has begun waits for its next message.
_LINGER_SECONDS: Final = 0.002
_FIRST_PREFETCH_MESSAGES: Final = 16
_EVENT_PROPERTIES: Final = message_properties(*EVENT_CONTENT)
_SHOP_TYPE: Final = "application/json"
_SHOP_PROPERTIES: Final = message_properties(_SHOP_TYPE)


class AmqpIntake:
    """`IntakeSource` on the intake queue.

    The broker has a prefetch of messages under way to us, in its own memory until we read them: up to
    `prefetch_messages`, twice a batch for instance, so that it fills up while a batch is stored. While messages are so
    large that few make a batch, only as many are under way: a broker bounds no prefetch by bytes. A prefetch cannot be
    changed but with a new consumer, and so with a new connection, to which nothing large is on its way yet.
    """

    def __init__(self, broker_url: str, *, consumer: str, prefetch_messages: int, declares: bool = True) -> None:
        """Connect, declare exchanges, queues and bindings (or see that they are there), and start consuming."""
        self._broker_url = broker_url
        self._declares = declares
        self._consumer = consumer
        self._prefetch_messages_max = prefetch_messages
        # Small at first: an intake that large messages have ended would else ask for as many again.
        self._prefetch_messages = self._wanted_messages = min(_FIRST_PREFETCH_MESSAGES, prefetch_messages)
        self._submit_tag = f"{consumer}.{SUBMIT_QUEUE}".encode()
        self._unacknowledged: set[int] = set()  # tags of what `receive` has returned
        self._link = self._connect()

    def receive(self, *, messages_max: int, wait_seconds: float) -> list[Delivery]:
        """See `IntakeSource.receive`."""
        if self._wanted_messages != self._prefetch_messages and not self._unacknowledged:
            self._prefetch_messages = self._wanted_messages
            self._link.close()  # with its goodbye, or the last acknowledgement might be lost
            self._link = self._connect()
        deadline = time.monotonic() + wait_seconds
        link = self._link
        with link.errors():
            while len(link.deliveries) < messages_max and link.held_bytes < BATCH_BYTES_MAX:
                link.beat()
                left_seconds = _LINGER_SECONDS if link.deliveries else deadline - time.monotonic()
                arrived = link.drain(min(left_seconds, _WAIT_SLICE_SECONDS_MAX))
                if not arrived and (link.deliveries or time.monotonic() >= deadline):
                    break
        batch = link.take(messages_max)
        self._unacknowledged.update(message.tag for message in batch)
        self._learn([sent_bytes(message.body) for message in batch], messages_max)
        return [self._received(message) for message in batch]

    def _received(self, message: FramedDelivery) -> Delivery:
        token = (self._link, message.tag)
        if message.consumer_tag == self._submit_tag and isinstance(message.body, bytes):
            name, trace = text_header(message.header, "task"), trace_of_header(message.header)
            headers = {**({} if name is None else {"task": name}), **trace_headers(trace)}
            return Delivery(kept(envelope(headers, message.body, reply_of_header(message.header))), token, trace=trace)
        return Delivery(
            message.body,
            token,
            signature_of_header(message.header),
            reply_of_header(message.header),
            trace_of_header(message.header),
        )

    def acknowledge(self, received: Sequence[Delivery]) -> None:
        """Acknowledge these messages, with one frame when nothing older is open.

        `ValueError` for messages of another connection: their tags are numbers that count from 1 on each connection,
        so they would take others away. The broker delivers those again anyway.
        """
        if not received:
            return
        if any(message.token[0] is not self._link for message in received):
            raise ValueError("a message was received through another connection")
        tags = {message.token[1] for message in received} & self._unacknowledged
        with self._link.errors():
            if not tags:
                return
            newest = max(tags)
            # "All up to the newest" is right only if that is exactly this batch: one left out, because it is not
            # stored yet, would be lost. Intake acknowledges batch after batch, so it nearly always is.
            if len(tags) == sum(tag <= newest for tag in self._unacknowledged):
                self._link.channel.basic_ack(newest, multiple=True)
            else:
                for tag in sorted(tags):
                    self._link.channel.basic_ack(tag)
            self._unacknowledged -= tags

    def heartbeat(self) -> None:
        """See `IntakeSource.heartbeat`. Messages that come in meanwhile are kept for the next `receive`."""
        with self._link.errors():
            # The broker's heartbeats count only when they are read. What stands behind a message is left to `receive`:
            # a whole prefetch of large ones, read here, might not fit into memory.
            while not self._link.deliveries and self._link.drain(0):
                pass
            self._link.beat()

    def close(self) -> None:
        """Close the connection; the broker queues what was not acknowledged again, in its old place."""
        self._link.close()

    def _connect(self) -> AmqpLink:
        link = AmqpLink(self._broker_url, purpose=f"intake {self._consumer}", heartbeat_seconds=_HEARTBEAT_SECONDS)
        for topology in (INTAKE, SUBMIT):
            prepare(link, topology, declares=self._declares)
        with link.errors():
            # Per consumer, not global: RabbitMQ 4.3 refuses a global limit.
            link.channel.basic_qos(0, self._prefetch_messages, False)
            link.channel.basic_consume(INTAKE_QUEUE, consumer_tag=self._consumer)
            # Of what consumers come after it.
            link.channel.basic_qos(0, max(1, self._prefetch_messages // 4), False)
            link.channel.basic_consume(SUBMIT_QUEUE, consumer_tag=self._submit_tag.decode())
        return link

    def _learn(self, sizes_bytes: Sequence[int], messages_max: int) -> None:
        """Choose the prefetch after a batch: what makes two batches of its messages, or all when they are small."""
        two_batches = 2 * max(1, len(sizes_bytes) * BATCH_BYTES_MAX // max(1, sum(sizes_bytes)))
        if 2 * two_batches < self._prefetch_messages:
            self._wanted_messages = two_batches
        elif len(sizes_bytes) >= min(messages_max, self._prefetch_messages) and messages_max > self._prefetch_messages:
            self._wanted_messages = min(self._prefetch_messages_max, two_batches)


def look_at_queues(broker_url: str) -> IntakeQueue:
    """Count what waits, and who takes it, without taking or declaring anything."""
    link = AmqpLink(broker_url, purpose="status")
    try:
        with link.errors():
            found = [_counted(link, queue) for queue in (INTAKE_QUEUE, SUBMIT_QUEUE)]
    finally:
        link.close()
    return IntakeQueue(sum(queue.waiting for queue in found), found[0].intakes)


def _counted(link: AmqpLink, queue: str) -> IntakeQueue:
    channel = link.new_channel()
    try:
        found = channel.queue_declare(queue, passive=True)
    except amqp.NotFound:  # no intake has been here yet
        return IntakeQueue(0, 0)
    channel.close()
    return IntakeQueue(found.message_count, found.consumer_count)


class AmqpEventPublisher:
    """`EventPublisher` on the event exchange. Confirmed means: in every queue bound to it, on disk where durable.

    With no queue bound, an event is confirmed and gone, as it must be: nobody asked for it. So a consumer declares its
    durable queue, bound to `loyalty.events`, before the first event that it needs.
    """

    def __init__(self, broker_url: str, *, declares: bool = True) -> None:
        """Connect and declare the exchange, or see that it is there."""
        self._link = AmqpLink(broker_url, purpose="relay")
        prepare(self._link, EVENTS, declares=declares)
        self._channel = ConfirmedChannel(self._link)
        self._answers = AmqpAnswers(broker_url)

    def publish(
        self,
        events: Sequence[tuple[str, str]],
        replies: Sequence[Reply] = (),
        traces: Sequence[TraceContext | None] = (),
    ) -> None:
        """See `EventPublisher.publish`."""
        if replies:
            self._answers.send(replies)
        messages = [
            (event_type, text.encode(), _EVENT_PROPERTIES if trace is None else _traced(trace))
            for (event_type, text), trace in zip(events, traces or repeat(None))  # noqa: B905  # repeat() has no end
        ]
        self._channel.publish(EVENT_EXCHANGE, messages, mandatory=False)

    def close(self) -> None:
        """Close the connection."""
        self._link.close()
        self._answers.close()


def _traced(trace: TraceContext) -> bytes:
    return message_properties(*EVENT_CONTENT, headers=trace_headers(trace))


def _signed(signature: str) -> bytes:
    return message_properties(_SHOP_TYPE, headers={SIGNATURE_HEADER: signature})


class AmqpShopPublisher:
    """`ShopPublisher` on the shop exchange. It declares the intake's queue too, so that messages wait for an intake."""

    def __init__(self, broker_url: str, *, declares: bool = True) -> None:
        """Connect and declare exchange, queue and bindings, or see that they are there."""
        self._link = AmqpLink(broker_url, purpose="shop")
        prepare(self._link, INTAKE, declares=declares)
        self._channel = ConfirmedChannel(self._link)

    def publish(self, messages: Sequence[tuple[str, bytes]], *, sign: Callable[[bytes], str] | None = None) -> None:
        """See `ShopPublisher.publish`."""
        outgoing = [(key, body, _SHOP_PROPERTIES if sign is None else _signed(sign(body))) for key, body in messages]
        try:
            self._channel.publish(SHOP_EXCHANGE, outgoing, mandatory=True)
        except EventNotConfirmedError as error:
            reason = f"{error.data['count']} of {len(messages)} message(s) were not taken: {error.data['reason']}"
            raise BrokerTopologyError(where=self._link.where, reason=reason) from error

    def close(self) -> None:
        """Close the connection."""
        self._link.close()


class AmqpEventTail:
    """`EventTail` on a queue of its own, which goes when the tail goes. RabbitMQ keeps no past events to begin with."""

    def __init__(self, broker_url: str, *, declares: bool = True) -> None:
        """Connect, declare the exchange (or see that it is there), and bind a queue that takes every event from now on.

        Making that queue takes the right to configure names of `amq.gen-`, whoever declares the exchange.
        """
        self._link = AmqpLink(broker_url, purpose="tail")  # no heartbeat: a person may read one event for an hour
        prepare(self._link, EVENTS, declares=declares)
        with self._link.errors():
            channel = self._link.channel
            queue = channel.queue_declare("", exclusive=True, auto_delete=True).queue
            channel.queue_bind(queue, EVENT_EXCHANGE, "#")
            channel.basic_consume(queue, no_ack=True)

    def events(self, *, wait_seconds: float) -> Iterator[bytes]:
        """See `EventTail.events`."""
        deliveries = self._link.deliveries
        while deliveries or self._drained(wait_seconds):
            while deliveries:
                body = deliveries.popleft().body
                yield body.head if isinstance(body, CutMessage) else body

    def close(self) -> None:
        """Close the connection, and with it the queue."""
        self._link.close()

    def _drained(self, wait_seconds: float) -> bool:
        with self._link.errors():
            return self._link.drain(wait_seconds)
