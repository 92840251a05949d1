"""Right messages, and ways to make them wrong. A test says what matters to it, the rest is usual."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

from core.messages.inbound.reading import MessageLimits, ReadEvent, UnreadableEvent, read_message

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LIMITS = MessageLimits(message_bytes_max=100_000, array_events_max=10, clock_skew_seconds_max=86_400)

ORDER: dict[str, Any] = {
    "specversion": "1.0",
    "id": "evt-1",
    "source": "/shops/high-street",
    "type": "order.completed",
    "time": "2026-03-01T10:00:00+01:00",
    "data": {
        "order_id": "o-1",
        "customer_id": "c-1",
        "program_id": "high-street",
        "currency": "GBP",
        "lines": [
            {"line_id": "1", "sku": "mug", "quantity": 2, "amount": "12.50", "tax": "2.50", "categories": ["kitchen"]},
            {"line_id": "2", "quantity": "0.250", "amount": "3", "kind": "shipping"},
        ],
        "points_paid": "5.00",
        "attributes": {"channel": "web", "gift": True, "items": 2},
    },
}
REFUND: dict[str, Any] = {
    "id": "evt-2",
    "source": "/shops/high-street",
    "type": "order.refunded",
    "time": "2026-03-01T11:00:00Z",
    "data": {
        "refund_id": "r-1",
        "order_id": "o-1",
        "lines": [{"line_id": "1", "quantity": 1}, {"line_id": "2", "net": "1.50"}],
    },
}
FULFILMENT: dict[str, Any] = {
    "id": "evt-3",
    "source": "/shops/high-street",
    "type": "order.fulfilled",
    "time": "2026-03-01T11:30:00Z",
    "data": {"order_id": "o-1"},
}
CANCELLATION: dict[str, Any] = {**FULFILMENT, "id": "evt-4", "type": "order.cancelled"}


def body(event: Any) -> bytes:
    return json.dumps(event).encode()


def changed(event: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The event with the value at `path` ("data.lines.0.amount") set, or taken out when it is `...`."""
    event = copy.deepcopy(event)
    target: Any = event
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        target = target[part]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return event


def read(event: Any, limits: MessageLimits = LIMITS) -> list[ReadEvent | UnreadableEvent]:
    return read_message(event if isinstance(event, bytes) else body(event), limits=limits, now=NOW)


def read_one(event: Any) -> ReadEvent:
    (result,) = read(event)
    assert isinstance(result, ReadEvent), result
    return result


def refused(event: Any, limits: MessageLimits = LIMITS) -> UnreadableEvent:
    (result,) = read(event, limits)
    assert isinstance(result, UnreadableEvent), result
    return result
