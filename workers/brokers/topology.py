"""The names of queues, exchanges and streams: a contract with every shop and every consumer of events."""

from typing import Any, Final

from core.messages.inbound.celery_messages import SUBMIT_TASK

# RabbitMQ
SHOP_EXCHANGE: Final = "shop.events"  #: topic exchange, durable; shops publish here, routing key = event type
INTAKE_QUEUE: Final = "loyalty.intake"  #: our durable quorum queue, bound to the shop exchange
INTAKE_BINDINGS: Final = ("order.#", "loyalty.command.#")
EVENT_EXCHANGE: Final = "loyalty.events"  #: topic exchange, durable; our events, routing key = event type

#: RabbitMQ 4 drops a message of a quorum queue that came back more than 20 times, and 20 restarts of intake while the
#: database is down bring it back 20 times. Intake parks what it cannot read, so nothing here ever needs that limit;
#: -1 (no limit) is refused before 4.0, a number out of reach is taken by every version.
INTAKE_QUEUE_ARGUMENTS: Final[dict[str, Any]] = {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}

#: Where producers that speak Celery send the task of the same name: on RabbitMQ a queue, and an exchange of that name
#: that leads to it; on Redis and Valkey a list, and one more for each of kombu's priorities.
SUBMIT_QUEUE: Final = SUBMIT_TASK
SUBMIT_LISTS: Final = (SUBMIT_QUEUE, *(f"{SUBMIT_QUEUE}\x06\x16{priority}" for priority in (3, 6, 9)))

# Redis and Valkey
SHOP_STREAM: Final = "shop.events"  #: shops XADD here; never trimmed, since trimming takes what nobody has read
FRESH_STREAM: Final = "loyalty.fresh_stream"  #: what takes its place when it is closed, while it is filled
INTAKE_GROUP: Final = "loyalty"  #: our consumer group on the shop stream
EVENT_STREAM: Final = "loyalty.events"  #: our events
EVENT_FIELD: Final = "event"  #: the field that holds the JSON, in both streams
SIGNATURE_FIELD: Final = "signature"  #: beside the event in the shop stream: what a source signs its bytes with
SIGNATURE_HEADER: Final = "loyalty-signature"  #: the same in the headers of an AMQP message
REPLY_FIELD: Final = "reply_to"  #: beside the event in the shop stream: a stream for the answer
CORRELATION_FIELD: Final = "correlation_id"  #: comes with it, and goes back with the answer
TYPE_FIELD: Final = "type"  #: the event type, in our stream, so that a consumer can skip without parsing
