"""What the benchmarks run on: real orders, and as many of them as a run needs."""

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.online_retail import compact, convert, read_records

Message = tuple[str, bytes]

_SAMPLE = Path(__file__).parent.parent / "workers" / "demo" / "online_retail_sample.ndjson.gz"
_OWN = {"order_id", "refund_id", "customer_id"}  #: of each copy of the sample


def sample_messages(wanted: int, lines_max: int | None = None) -> list[Message]:
    """Read the bundled sample, as often as needed, each time with other customers and orders; in order of time.

    With `lines_max` orders are cut to so many lines, and refunds, which may name others, are left out.
    """
    events = [json.loads(body) for _, body in recorded_messages(_SAMPLE)]
    if lines_max is not None:
        events = [event for event in events if event["type"] == "order.completed"]
        for event in events:
            event["data"]["lines"] = event["data"]["lines"][:lines_max]
    copies = -(-wanted // len(events))
    return list(islice((_copied(event, number) for event in events for number in range(copies)), wanted))


def _copied(event: dict[str, Any], number: int) -> Message:
    data = {name: f"{value}-{number}" if name in _OWN else value for name, value in event["data"].items()}
    copy = {**event, "id": f"{event['id']}-{number}", "data": data}
    return str(event["type"]), json.dumps(copy, separators=(",", ":")).encode()


def recorded_messages(file: Path) -> list[Message]:
    """Every order and cancellation of the CSV, or of documents that online_retail.py wrote (.ndjson.gz)."""
    if ".ndjson" not in file.suffixes:
        return [(str(document["type"]), compact(document).encode()) for document in convert(read_records(file))]
    lines = gzip.decompress(file.read_bytes()).splitlines()
    return [(str(json.loads(line)["type"]), line) for line in lines]
