"""Celery's own queues. They carry nudges and ticks only: a lost message costs a second, never a point.

Shops' messages and our events never pass through them; their names are in `workers.brokers.topology`.
"""

from kombu import Exchange, Queue

POSTING = "loyalty.posting"
RELAY = "loyalty.relay"
PERIODIC = "loyalty.periodic"
SUBMIT = "loyalty.submit"

QUEUE_NAMES = (POSTING, RELAY, PERIODIC, SUBMIT)


def celery_queues(*, is_amqp: bool) -> list[Queue]:
    """Queue declarations. On RabbitMQ durable quorum queues, always declared in full: a bare one is not recognized.

    Not so the queue of `loyalty.submit`: it is declared as any Celery client declares a queue that it sends to. Two
    declarations that differ are refused, and a worker whose declaration is refused posts nothing at all.
    """
    # A topic exchange: with a direct one Celery warns about its delayed delivery, which nothing here uses.
    exchange = Exchange("loyalty.tasks", type="topic" if is_amqp else "direct", durable=True)
    quorum = {"x-queue-type": "quorum", "x-delivery-limit": 20} if is_amqp else None
    return [
        Queue(name, exchange, routing_key=name, durable=True, queue_arguments=None if name == SUBMIT else quorum)
        for name in QUEUE_NAMES
    ]
