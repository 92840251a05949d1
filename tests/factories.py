"""Messages as shops send them. Plain functions: every test says what matters to it, the rest is usual."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from kombu.utils import json as kombu_json

from core.domain.program import Program
from core.messages.program_files.program_file import parse_program

SOURCE = "/shops/test"
PROGRAM_TEXT = """
program_id: test
name: Test Rewards
currency: EUR
time_zone: Europe/Berlin
sources: ["/shops/test"]
earning_rules:
  - rule_id: spend
    kind: spend
    per_amount: "1.00"
    points: {bronze: "1", silver: "1.5", gold: "2"}
tiers:
  - {tier_id: bronze, threshold_points: 0}
  - {tier_id: silver, threshold_points: 500}
  - {tier_id: gold, threshold_points: 2000}
"""


def program(extra: str = "") -> Program:
    """The usual program, with more YAML at its end."""
    return parse_program(PROGRAM_TEXT + extra, path="test.yaml")


def line(line_id: str = "1", amount: str = "100.00", quantity: int | str = 1, **over: Any) -> dict[str, Any]:
    return {"line_id": line_id, "sku": f"sku-{line_id}", "quantity": quantity, "amount": amount, **over}


def order(
    order_id: str = "o1",
    amount: str = "100.00",
    *,
    customer_id: str | None = "c1",
    time: str = "2026-03-01T12:00:00+01:00",
    event_id: str | None = None,
    lines: list[dict[str, Any]] | None = None,
    source: str = SOURCE,
    **data: Any,
) -> dict[str, Any]:
    body: dict[str, Any] = {"order_id": order_id, "currency": "EUR", "lines": lines or [line(amount=amount)], **data}
    if customer_id is not None:
        body["customer_id"] = customer_id
    return _event("order.completed", event_id or f"completed-{order_id}", time, source, body)


def refund(
    refund_id: str = "r1",
    order_id: str = "o1",
    *,
    time: str = "2026-03-05T12:00:00+01:00",
    event_id: str | None = None,
    source: str = SOURCE,
    **data: Any,
) -> dict[str, Any]:
    is_partial = bool(data.keys() & {"lines", "paid", "net", "full"})
    body = {"refund_id": refund_id, "order_id": order_id, **data, **({} if is_partial else {"full": True})}
    return _event("order.refunded", event_id or f"refunded-{refund_id}", time, source, body)


def command(verb: str, event_id: str, *, time: str | None = None, source: str = SOURCE, **data: Any) -> dict[str, Any]:
    """A command on the usual customer's account, unless `data` name another; now, unless `time` says otherwise."""
    body = data if data.keys() & {"customer_id", "account_id"} else {"customer_id": "c1", **data}
    return _event(f"loyalty.command.{verb}", event_id, time or datetime.now(UTC).isoformat(), source, body)


def amendment(
    order_id: str = "o1",
    amount: str = "100.00",
    *,
    revision: int = 1,
    customer_id: str | None = "c1",
    time: str = "2026-03-06T12:00:00+01:00",
    event_id: str | None = None,
    lines: list[dict[str, Any]] | None = None,
    source: str = SOURCE,
    **data: Any,
) -> dict[str, Any]:
    """The whole order as it is now."""
    body = order(order_id, amount, customer_id=customer_id, lines=lines, **data)["data"] | {"revision": revision}
    return _event("order.amended", event_id or f"amended-{order_id}-{revision}", time, source, body)


def claim(
    order_id: str = "o1",
    customer_id: str = "c1",
    *,
    time: str = "2026-03-08T12:00:00+01:00",
    event_id: str | None = None,
    source: str = SOURCE,
    **data: Any,
) -> dict[str, Any]:
    """The order is this customer's."""
    body = {"order_id": order_id, "customer_id": customer_id, **data}
    return _event("order.claimed", event_id or f"claimed-{order_id}-{customer_id}", time, source, body)


def reversion(
    refund_id: str = "r1",
    order_id: str = "o1",
    *,
    time: str = "2026-03-07T12:00:00+01:00",
    event_id: str | None = None,
    source: str = SOURCE,
    **data: Any,
) -> dict[str, Any]:
    """The refund did not happen after all."""
    body = {"refund_id": refund_id, "order_id": order_id, **data}
    return _event("order.refund_reverted", event_id or f"reverted-{refund_id}", time, source, body)


def goods_back(
    return_id: str = "b1",
    amount: str = "20.00",
    *,
    customer_id: str | None = "c1",
    time: str = "2026-03-07T12:00:00+01:00",
    event_id: str | None = None,
    lines: list[dict[str, Any]] | None = None,
    source: str = SOURCE,
    **data: Any,
) -> dict[str, Any]:
    """A return without a receipt."""
    body = {
        "return_id": return_id,
        "customer_id": customer_id,
        "currency": "EUR",
        "lines": lines or [line(amount=amount)],
    }
    return _event("order.returned", event_id or f"returned-{return_id}", time, source, body | data)


def fulfilment(order_id: str = "o1", **over: Any) -> dict[str, Any]:
    return _about_order("fulfilled", order_id, **over)


def cancellation(order_id: str = "o1", **over: Any) -> dict[str, Any]:
    return _about_order("cancelled", order_id, **over)


def _about_order(
    what: str,
    order_id: str,
    *,
    time: str = "2026-03-06T12:00:00+01:00",
    event_id: str | None = None,
    source: str = SOURCE,
    **data: Any,
) -> dict[str, Any]:
    return _event(f"order.{what}", event_id or f"{what}-{order_id}", time, source, {"order_id": order_id, **data})


def _event(kind: str, event_id: str, time: str, source: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"specversion": "1.0", "id": event_id, "source": source, "type": kind, "time": time, "data": data}


def as_bytes(event: Any) -> bytes:
    return json.dumps(event).encode()


def task_of(*arguments: Any, task: str | None = "loyalty.submit", **named: Any) -> bytes:
    """A Celery message as its client leaves it on Redis; `None` names no task."""
    return in_envelope(kombu_json.dumps([arguments, named, {"callbacks": None, "chord": None}]).encode(), task=task)


def in_envelope(body: bytes, *, task: str | None = "loyalty.submit", **properties: Any) -> bytes:
    """Any bytes in the envelope that kombu puts around a body on Redis."""
    document = {
        "body": b64encode(body).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "id": "7", "eta": None, **({} if task is None else {"task": task})},
        "properties": {"body_encoding": "base64", "delivery_tag": "8", "delivery_info": {"exchange": ""}, **properties},
    }
    return json.dumps(document).encode()
