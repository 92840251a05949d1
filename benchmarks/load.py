"""What the benchmarks run on: real orders, and as many of them as a run needs."""

import gzip
import json
from collections.abc import Iterator
from importlib.resources import files
from itertools import count, islice
from pathlib import Path

from benchmarks.online_retail import compact, convert, read_records

Message = tuple[str, bytes]


def sample_messages(wanted: int, lines_max: int | None = None) -> list[Message]:
    """Read the bundled sample, as often as needed: each round with its own customers and orders.

    With `lines_max` orders are cut to so many lines, and refunds, which may name others, are left out.
    """
    packed = files("workers.demo").joinpath("online_retail_sample.ndjson.gz").read_bytes()
    events = [json.loads(line) for line in gzip.decompress(packed).splitlines()]
    if lines_max is not None:
        events = [event for event in events if event["type"] == "order.completed"]
        for event in events:
            event["data"]["lines"] = event["data"]["lines"][:lines_max]
    return list(islice(_rounds(events), wanted))


def _rounds(events: list[dict[str, object]]) -> Iterator[Message]:
    for number in count():
        for event in events:
            data = dict(event["data"])  # type: ignore[call-overload]  # the sample's data are objects
            for name in ("order_id", "refund_id", "customer_id"):
                if name in data:
                    data[name] = f"{data[name]}-{number}"
            changed = {**event, "id": f"{event['id']}-{number}", "data": data}
            yield str(event["type"]), json.dumps(changed, separators=(",", ":")).encode()


def full_messages(csv: Path) -> list[Message]:
    """Every order and cancellation of the whole file."""
    return [(str(document["type"]), compact(document).encode()) for document in convert(read_records(csv))]
