"""`loyalty.submit`: the way in for producers that already speak Celery."""

import json
from typing import Any

from core.receiving.receive import receive_in_parts
from tasks.runtime import Runtime

#: Stands for what no text is, and so no signature.
_NO_SIGNATURE = "?"


def submit(runtime: Runtime, *events: Any, signature: Any = None, **named: Any) -> dict[str, int]:
    """Store one event, a list of them, or their JSON text in the inbox, as intake would; a repeat is only counted.

    Several arguments are several events. What was called wrongly is parked like any other message that is no event.
    `signature` is that of the JSON text in UTF-8: a source that must sign hands over text.

    While the database is away the message goes back to its queue. On Redis/Valkey a Celery message can be lost when a
    worker is killed: publish to the stream, or submit again until the event's outcome is known.
    """
    given = _given(events, named)
    raw = given if isinstance(given, str) else json.dumps(given)
    parts = receive_in_parts(
        runtime.engine,
        [raw.encode(errors="surrogatepass")],
        limits=runtime.limits,
        shards=runtime.shards,
        event_source=runtime.event_source,
        signatures=[signature if signature is None or isinstance(signature, str) else _NO_SIGNATURE],
    )
    receipts = [receipt for _, receipt in parts]
    for shard in sorted({shard for receipt in receipts for shard in receipt.shards}):
        runtime.nudge("loyalty.post_inbox", shard)
    return {
        name: sum(getattr(receipt, name) for receipt in receipts)
        for name in ("received", "waiting", "replayed", "parked")
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
