"""The bundled sample of real orders (ATTRIBUTION.md), moved to the present, with repeats and broken messages."""

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import NamedTuple

_REPEATED_EVERY = 80
_ROUTE = "order.completed"


class Traffic(NamedTuple):
    """What the demo publishes, and what must come of it."""

    messages: list[tuple[str, bytes]]  #: (routing key, body)
    distinct: int  #: that must each end in one outcome
    repeated: int  #: that must change nothing
    broken: int  #: that must be parked


def load_traffic(now: datetime) -> Traffic:
    """Read the sample with its last order moved to yesterday, by whole days, so that expiry has something to do."""
    packed = files("workers.demo").joinpath("online_retail_sample.ndjson.gz").read_bytes()
    events = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    newest = max(datetime.fromisoformat(event["time"]) for event in events)
    shift = timedelta(days=(now.astimezone(UTC) - newest).days - 1)
    messages: list[tuple[str, bytes]] = []
    repeated = 0
    for number, event in enumerate(events):
        event["time"] = (datetime.fromisoformat(event["time"]) + shift).isoformat()
        message = (event["type"], json.dumps(event, separators=(",", ":")).encode())
        messages.append(message)
        if number % _REPEATED_EVERY == _REPEATED_EVERY - 1:
            messages.append(message)
            repeated += 1
    broken = _broken_messages(events[-1]["time"])
    for number, body in enumerate(broken):
        messages.insert((number + 1) * len(messages) // (len(broken) + 1), (_ROUTE, body))
    return Traffic(messages, len(events) + len(broken), repeated, len(broken))


def _broken_messages(time: str) -> Sequence[bytes]:
    """Mistakes that shops make."""
    envelope = {"specversion": "1.0", "source": "/shops/online-retail", "time": time}
    line = {"line_id": "1", "sku": "85123A", "quantity": 1, "amount": "12.50"}
    order = {"order_id": "demo-1", "customer_id": "demo", "currency": "GBP", "lines": [line]}
    events = [
        {**envelope, "id": "demo-float", "type": _ROUTE, "data": {**order, "lines": [{**line, "amount": 12.5}]}},
        {**envelope, "id": "demo-type", "type": "order.shipped", "data": order},
        {**envelope, "id": "demo-currency", "type": _ROUTE, "data": {**order, "currency": "JPY"}},
    ]
    return [b'{"id": "demo-cut", "type": "order.comp', *(json.dumps(event).encode() for event in events)]
