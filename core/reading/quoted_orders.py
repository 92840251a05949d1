"""What an order would earn that is only being thought of: from what a shop would send, or a part of it, to a quote."""

import json
from collections.abc import Mapping
from typing import Any

from core.domain.orders.facts import Order
from core.domain.outcomes import Parked
from core.errors import UserError
from core.messages.inbound.contracts import INBOUND
from core.messages.inbound.fields import NAMING
from core.messages.inbound.reading import MessageLimits, ReadEvent, read_message, read_settled
from core.messages.outbound.event_json import instant_text
from core.reading.quoting import Quote, quote
from core.reading.snapshot import Snapshot
from core.store.programs import require_program

#: Stands for what the data alone do not say. No order is ever posted under these.
_SOURCE, _ID = "/quote", "quote"
_LIMITS = MessageLimits(message_bytes_max=1_000_000, array_events_max=1, clock_skew_seconds_max=0)


class NotAnOrderError(UserError):
    """It is an {found}, and not one order.completed event, or the data of one."""


class OrderNotQuotedError(UserError):
    """The order would be parked ({reason}): {detail}."""


def quote_order(
    now: Snapshot,
    order: bytes | Mapping[str, Any],
    *,
    customer_id: str | None = None,
    program_id: str | None = None,
    limits: MessageLimits = _LIMITS,
) -> Quote:
    """What the order would earn if it were posted now: points by rule and promotion, tier, lots, balance after it.

    `order` is the event or its data alone, which then are an order of now and need no id; amounts are strings, as in
    messages. It is for `customer_id`, else for the customer that it names, else for a new one; in `program_id`, else
    as posting would choose, else in the only one there is. UnknownProgramError; OrderNotQuotedError where it would be
    parked, with the words of the dead letter; NotAnOrderError of another event.
    """
    if program_id is not None:
        require_program(now.registry, program_id)
    raw = order if isinstance(order, bytes) else json.dumps(order).encode()
    body = _event(raw, now, customer_id, program_id)
    event = read_message(body, limits=limits._replace(sources=None), now=now.as_of)[0]
    if not isinstance(event, ReadEvent):
        raise OrderNotQuotedError(reason=event.reason.value, detail=event.detail)
    message = read_settled(INBOUND[event.type], event.source, event.occurred_at, event.settled).message
    if not isinstance(message.fact, Order):
        raise NotAnOrderError(found=event.type)
    found = quote(now.connection, message, now.registry, now.as_of)
    if isinstance(found, Parked):
        raise OrderNotQuotedError(reason=found.reason.value, detail=found.detail)
    return found


def _event(raw: bytes, now: Snapshot, customer_id: str | None, program_id: str | None) -> bytes:
    """Make an event of what is given; what is no JSON object stays as it is, for reading to say what is wrong."""
    try:
        # Numbers stay as they are written: whether one may stand there is for the contract to say.
        given = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    if not isinstance(given, dict):
        return raw
    is_event = isinstance(given.get("data"), dict) and "type" in given
    data: dict[str, Any] = given["data"] if is_event else given
    if customer_id is not None:
        data = {name: value for name, value in data.items() if name not in NAMING} | {"customer_id": customer_id}
        given = {**given, "data": data} if is_event else data
    if program_id is not None:
        data["program_id"] = program_id
    if not is_event:
        known = now.registry.program_ids()
        data.setdefault("order_id", _ID)
        if data.get("program_id") is None and len(known) == 1:
            data["program_id"] = known[0]
        when = instant_text(now.as_of)
        given = {"id": _ID, "source": _SOURCE, "type": "order.completed", "time": when, "data": data}
    return json.dumps(given).encode()
