"""`loyalty.submit`: the way in for producers that already speak Celery."""

import json
from typing import Any

from core.posting.receiving import receive
from tasks.runtime import Runtime


def submit(runtime: Runtime, events: dict[str, Any] | list[dict[str, Any]] | str) -> dict[str, int]:
    """Store one event, a list of them, or their JSON text in the inbox, as intake would; a repeat is only counted.

    On Redis/Valkey a Celery message can be lost when a worker is killed: publish to the stream, or submit again until
    the event's outcome is known. Publishing to the queue has no such gap.
    """
    raw = events if isinstance(events, str) else json.dumps(events)
    with runtime.engine.begin() as connection:
        receipt = receive(
            connection,
            [raw.encode(errors="surrogatepass")],
            limits=runtime.limits,
            shards=runtime.shards,
            event_source=runtime.event_source,
        )
    for shard in sorted(receipt.shards):
        runtime.nudge("loyalty.post_inbox", shard)
    return {
        "received": receipt.received,
        "waiting": receipt.waiting,
        "replayed": receipt.replayed,
        "parked": receipt.parked,
    }
