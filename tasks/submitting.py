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
    given = _given(events, named)
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


def _given(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What the caller handed over; a call that fits no form is handed on whole, to be parked as no event."""
    if len(arguments) == 1 and not named:
        return arguments[0]
    if arguments and not named:
        return arguments
    if not arguments and set(named) == {"events"}:
        return named["events"]
    return {"args": arguments, "kwargs": named}
