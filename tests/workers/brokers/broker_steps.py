"""What a shop sends in these tests, and receiving it."""

import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import redis

from workers.brokers import Delivery, EventTail, IntakeSource

LISTENER_QUEUE = "test.listener"
ORDER = b'{"type": "order.completed", "id": "1"}'


def receive(intake: IntakeSource, count: int) -> list[Delivery]:
    """Receive until `count` messages are here; a broker may hand them out in several batches."""
    received: list[Delivery] = []
    while len(received) < count:
        batch = intake.receive(messages_max=count - len(received), wait_seconds=60)
        assert batch, f"only {len(received)} of {count} messages came"
        received += batch
    return received


def bodies(received: list[Delivery]) -> list[bytes]:
    return [message.raw for message in received]


def orders(count: int) -> list[tuple[str, bytes]]:
    return [("order.completed", b'{"id": "%d"}' % number) for number in range(count)]


def told(tail: EventTail, count: int) -> list[bytes]:
    """The next `count` events; a broker may take its time with them."""
    return list(islice(tail.events(wait_seconds=60), count))


def once_somebody_waits(client: redis.Redis, work: Callable[[], Any]) -> threading.Thread:
    """Do something while another client of the server is in the middle of a blocking read."""

    def run() -> None:
        deadline = time.monotonic() + 60
        while not any("b" in other["flags"] for other in client.client_list()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        work()

    thread = threading.Thread(target=run)
    thread.start()
    return thread
