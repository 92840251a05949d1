"""Celery's own queues. They carry nudges and ticks only: a lost message costs a second, never a point.

Shops' messages and our events never pass through them, nor does what Celery's clients submit: the names of their queues
are in `workers.brokers.topology`. Nobody but our own roles has business here.
"""

from kombu import Exchange, Queue

POSTING = "loyalty.posting"
RELAY = "loyalty.relay"
PERIODIC = "loyalty.periodic"

QUEUE_NAMES = (POSTING, RELAY, PERIODIC)


def celery_queues(*, is_amqp: bool, declares: bool = True) -> list[Queue]:
    """Queue declarations. On RabbitMQ durable quorum queues, always declared in full: a bare one is not recognized.

    Without `declares` they are described all the same, since Celery goes by that, and never declared.
    """
    # A topic exchange: with a direct one Celery warns about its delayed delivery, which nothing here uses.
    kind = "topic" if is_amqp else "direct"
    exchange = Exchange("loyalty.tasks", type=kind, durable=True, no_declare=not declares)
    quorum = {"x-queue-type": "quorum", "x-delivery-limit": 20} if is_amqp else None
    return [
        Queue(name, exchange, routing_key=name, durable=True, queue_arguments=quorum, no_declare=not declares)
        for name in QUEUE_NAMES
    ]
