"""`loyalty.submit`: the way in for producers that already speak Celery."""

import json
from typing import Any

from core.posting.receiving import receive
from tasks.runtime import Runtime


def submit(runtime: Runtime, *events: Any, **named: Any) -> dict[str, int]:
    """Store one event, a list of them, or their JSON text in the inbox, as intake would; a repeat is only counted.

    Several arguments are several events. What was called wrongly is parked like any other message that is no event.

    On Redis/Valkey a Celery message can be lost when a worker is killed: publish to the stream, or submit again until
    the event's outcome is known. Publishing to the queue has no such gap.
    """
    match events, named:
        case ((given,), {**others}) | ((), {"events": given, **others}) if not others:
            pass
        case _ if events and not named:
            given = events
        case _:
            given = {"args": events, "kwargs": named}
    raw = given if isinstance(given, str) else json.dumps(given)
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
