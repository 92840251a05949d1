"""What a shop sends in these tests, and receiving it."""

from workers.brokers import IntakeSource, Received

LISTENER_QUEUE = "test.listener"
ORDER = b'{"type": "order.completed", "id": "1"}'


def receive(intake: IntakeSource, count: int) -> list[Received]:
    """Receive until `count` messages are here; a broker may hand them out in several batches."""
    received: list[Received] = []
    while len(received) < count:
        batch = intake.receive(messages_max=count - len(received), wait_seconds=5)
        assert batch, f"only {len(received)} of {count} messages came"
        received += batch
    return received


def bodies(received: list[Received]) -> list[bytes]:
    return [message.raw for message in received]


def orders(count: int) -> list[tuple[str, bytes]]:
    return [("order.completed", b'{"id": "%d"}' % number) for number in range(count)]
