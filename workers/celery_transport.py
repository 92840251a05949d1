"""What Celery's own consumer gets to see of the messages on its queues: a task's name, its end and its arguments.

Celery and kombu believe what a message says of itself: a header that has another form than theirs, a compressed body of
a gigabyte or something that is no envelope at all raises in the worker's loop, or much later, and ends every worker
that is given the message; callbacks are tasks that the worker would send on. So each message is written anew before
kombu reads it, from the little that a nudge or a tick has. What is none arrives empty, for `SurvivingConsumer` to
discard.
"""

import json
from base64 import b64encode
from typing import Any
from uuid import uuid4

from kombu.transport import redis as kombu_redis

from core.messages.inbound.celery_messages import CeleryMessage, open_envelope
from workers.brokers.amqp_frames import nudge_frames

#: The headers that are kept: of which task, and until when it is of any use.
KEPT_HEADERS = ("task", "expires")


def transport_settings(*, is_amqp: bool) -> dict[str, Any]:
    """Celery's settings that have each message written anew: with RabbitMQ its frames, with Redis what a list gave."""
    return {} if is_amqp else {"broker_transport": RedisTransport}


def frame_handler(connection: Any, on_method: Any) -> Any:
    """Stand for py-amqp's frame handler."""
    return nudge_frames(connection, on_method, KEPT_HEADERS)


def rewritten(queue: str, item: bytes) -> bytes:
    """Write an item of one of Celery's lists anew, as kombu would have written it."""
    message = open_envelope(item) or CeleryMessage({}, b"")
    headers = {name: message.headers.get(name) for name in KEPT_HEADERS}
    document = {
        "body": b64encode(message.body).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {name: text for name, text in headers.items() if isinstance(text, str)},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": str(uuid4()),
            "delivery_info": {"exchange": "", "routing_key": queue},
        },
    }
    return json.dumps(document).encode()


class RedisChannel(kombu_redis.Channel):
    """kombu's channel, whose lists give messages that are written anew."""

    def _create_client(self, asynchronous: bool = False) -> Any:  # kombu's contract
        client = super()._create_client(asynchronous)  # type: ignore[misc]  # kombu has no types
        parse = client.parse_response

        def parse_rewritten(connection: Any, command_name: str, **options: Any) -> Any:
            answer = parse(connection, command_name, **options)
            if command_name != "BRPOP" or not answer:
                return answer
            key, item = answer
            return key, rewritten(key.decode().rsplit(self.sep, 1)[0], item)

        client.parse_response = parse_rewritten
        return client


class RedisTransport(kombu_redis.Transport):
    """kombu's transport with our channel."""

    Channel = RedisChannel
