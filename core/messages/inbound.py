"""Reads the messages that come in: bytes from a queue to checked events, or to the reason why not.

Reading is the hot path of intake, so it makes what intake needs (who, what, hashes) and leaves the facts of an event
to `read_stored_event`, with which posting reads the stored body again. Nothing here raises for what a message holds.
"""

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple, NoReturn

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from core.domain.orders import LineKind, Order, OrderLine, Refund, RefundLine
from core.domain.outcomes import Reason
from core.messages.inbound_contract import INBOUND, InboundEvent, plain_decimal, plain_quantity
from core.messages.problems import NO_NUMBER, explain, not_json_detail

_KINDS = {kind.value: kind for kind in LineKind}
_ZERO = Decimal(0)
_ID_CLEAN = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")
_JSON_SPACE = re.compile(r"[ \t\n\r]*")
_validate = INBOUND.validator.validate_json


class MessageLimits(NamedTuple):
    """What is too much of a message."""

    message_bytes_max: int
    array_events_max: int
    clock_skew_seconds_max: int  #: how far an event's time may be ahead of now


class ReadEvent(NamedTuple):
    """An event that keeps the contract of its type."""

    source: str
    event_id: str
    type: str
    occurred_at: datetime  #: aware, in UTC
    order_id: str
    refund_id: str | None
    customer_id: str | None  #: None for a guest, and for a refund, which names no customer
    program_id: str | None
    content_hash: bytes  #: of type, time and data: the same event again has the same one
    business_hash: bytes  #: of data alone: the same order or refund again has the same one, in whichever event
    body: bytes  #: this event's JSON, exactly as received


class UnreadableEvent(NamedTuple):
    """A message, or one event of an array, that cannot be read."""

    reason: Reason
    detail: str  #: what is wrong, where, and how to mend it; no personal data
    body: bytes  #: exactly as received
    source: str | None  #: as far as it can be read
    event_id: str | None
    type: str | None


class StoredOrder(NamedTuple):
    """What posting needs of an `order.completed` event."""

    order: Order
    program_id: str | None
    business_hash: bytes
    lines_json: str  #: for `read_lines`


class StoredRefund(NamedTuple):
    """What posting needs of an `order.refunded` event."""

    refund: Refund
    program_id: str | None
    business_hash: bytes


def read_message(raw: bytes, *, limits: MessageLimits, now: datetime) -> list[ReadEvent | UnreadableEvent]:
    """Read one queue message: an event, or an array of events, whose elements stand and fall each by itself.

    Never raises and never returns an empty list, so whatever came in can be stored. `now` is aware.
    """
    if len(raw) > limits.message_bytes_max:
        detail = (
            f"the message has {len(raw)} bytes; at most {limits.message_bytes_max} are read: send fewer events in one"
        )
        return [UnreadableEvent(Reason.TOO_LARGE, detail, raw, None, None, None)]
    latest = now + timedelta(seconds=limits.clock_skew_seconds_max)
    if raw[:1] != b"{" and raw.lstrip(b" \t\n\r")[:1] == b"[":
        return _read_array(raw, limits, latest)
    return [_read_event(raw, latest)]


def read_stored_event(body: bytes) -> StoredOrder | StoredRefund:
    """Read again the body of a ReadEvent. Never raises for one; raises pydantic's ValidationError for another."""
    event = _validate(body)
    business_hash = sha256(to_json(event["data"])).digest()
    if event["type"] == "order.refunded":
        return _stored_refund(event, business_hash)
    return _stored_order(event, business_hash)


def read_lines(lines_json: str | bytes) -> tuple[OrderLine, ...]:
    """Read the lines of an order in the form that the orders table keeps (`StoredOrder.lines_json`)."""
    return tuple(_order_line(line) for line in from_json(lines_json))


def lines_json(lines: Iterable[OrderLine]) -> str:
    """Write lines in the form that `read_lines` reads: compact JSON, defaults left out, one form for one content."""
    written = []
    for line in lines:
        fields: dict[str, Any] = {"line_id": line.line_id}
        if line.sku is not None:
            fields["sku"] = line.sku
        fields["quantity"] = plain_quantity(f"{line.quantity:f}")
        fields["amount"] = plain_decimal(f"{line.amount:f}")
        if line.tax:
            fields["tax"] = plain_decimal(f"{line.tax:f}")
        if line.kind is not LineKind.PRODUCT:
            fields["kind"] = line.kind.value
        if line.categories:
            fields["categories"] = line.categories
        written.append(fields)
    return to_json(written).decode()


def _read_event(body: bytes, latest: datetime) -> ReadEvent | UnreadableEvent:
    if b"NaN" in body or b"Infinity" in body:  # pydantic's parser lets both pass in fields that it ignores
        try:
            from_json(body, allow_inf_nan=False)
        except ValueError:
            if _is_json(body):
                return _unreadable(Reason.NOT_JSON, not_json_detail(body, NO_NUMBER), body)
    try:
        event = _validate(body)
    except ValidationError as error:
        return _unreadable(*explain(body, error), body)
    occurred_at = event["time"]
    if occurred_at > latest:
        detail = (
            f"time is {_instant(occurred_at)}; nothing after {_instant(latest)} is taken now: "
            "check the sender's clock and its offset from UTC"
        )
        return _unreadable(Reason.TIME_IN_FUTURE, detail, body)
    data = event["data"]
    business = sha256(to_json(data))
    content = business.copy()
    content.update(f"\n{event['type']}\n{occurred_at.isoformat()}".encode())
    return ReadEvent(
        event["source"],
        event["id"],
        event["type"],
        occurred_at,
        data["order_id"],
        data.get("refund_id"),
        data.get("customer_id"),
        data.get("program_id"),
        content.digest(),
        business.digest(),
        body,
    )


def _instant(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _is_json(body: bytes) -> bool:
    try:
        from_json(body)
    except ValueError:
        return False
    return True


def _unreadable(reason: Reason, detail: str, body: bytes) -> UnreadableEvent:
    try:
        event = from_json(body)
    except ValueError:
        event = None
    attributes = event if isinstance(event, dict) else {}
    source, event_id, event_type = (_clean(attributes.get(name)) for name in ("source", "id", "type"))
    return UnreadableEvent(reason, detail, body, source, event_id, event_type)


def _clean(value: object) -> str | None:
    """Take only what could be a right id, since PostgreSQL stores no NUL and an index no megabyte."""
    return value if isinstance(value, str) and _ID_CLEAN.fullmatch(value) else None


def _read_array(raw: bytes, limits: MessageLimits, latest: datetime) -> list[ReadEvent | UnreadableEvent]:
    """Cut the array into its elements; one that cannot be cut is kept whole, so that nothing of it is read twice."""
    bodies: list[bytes] = []
    try:
        for element in _elements(raw.decode()):
            if len(bodies) == limits.array_events_max:
                detail = f"the array has more than {limits.array_events_max} events; send fewer in one message"
                return [UnreadableEvent(Reason.TOO_LARGE, detail, raw, None, None, None)]
            bodies.append(element.encode())
    except RecursionError:
        return [UnreadableEvent(Reason.NOT_JSON, not_json_detail(raw, "recursion limit"), raw, None, None, None)]
    except ValueError as error:  # also UnicodeDecodeError, whose own text repeats the whole message
        what = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        return [UnreadableEvent(Reason.NOT_JSON, not_json_detail(raw, what), raw, None, None, None)]
    if not bodies:
        return [UnreadableEvent(Reason.NOT_AN_EVENT, "the array is empty; send events in it", raw, None, None, None)]
    return [_read_event(body, latest) for body in bodies]


# Numbers stay text here: Python refuses to make an integer of more than 4,300 digits.
_scan = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).raw_decode


def _elements(text: str) -> Iterator[str]:
    at = _skip_space(text, _skip_space(text, 0) + 1)
    if text[at : at + 1] == "]":
        at += 1
    else:
        separator = ","
        while separator == ",":
            start = _skip_space(text, at)
            _, at = _scan(text, start)
            yield text[start:at]
            at = _skip_space(text, at)
            separator = text[at : at + 1]
            at += 1
        if separator != "]":
            _refuse(f"a comma or the end of the array is missing at character {at}")
    if _skip_space(text, at) != len(text):
        _refuse(f"something follows the array at character {at + 1}")


def _skip_space(text: str, at: int) -> int:
    match = _JSON_SPACE.match(text, at)
    return match.end() if match else at


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)


def _stored_order(event: InboundEvent, business_hash: bytes) -> StoredOrder:
    data: Any = event["data"]
    order = Order(
        source=event["source"],
        order_id=data["order_id"],
        customer_id=data.get("customer_id"),
        currency=data["currency"],
        occurred_at=event["time"],
        lines=tuple(_order_line(line) for line in data["lines"]),
        points_paid=Decimal(data.get("points_paid") or 0),
    )
    lines = to_json(data["lines"]).decode()
    return StoredOrder(order, data.get("program_id"), business_hash, lines)


def _stored_refund(event: InboundEvent, business_hash: bytes) -> StoredRefund:
    data: Any = event["data"]
    amount = data.get("amount")
    refund = Refund(
        source=event["source"],
        refund_id=data["refund_id"],
        order_id=data["order_id"],
        occurred_at=event["time"],
        full=data.get("full") is True,
        amount=None if amount is None else Decimal(amount),
        lines=tuple(_refund_line(line) for line in data.get("lines") or ()),
    )
    return StoredRefund(refund, data.get("program_id"), business_hash)


def _order_line(line: dict[str, Any]) -> OrderLine:
    get = line.get
    tax = get("tax")
    return OrderLine(
        line["line_id"],
        get("sku"),
        Decimal(line["quantity"]),
        Decimal(line["amount"]),
        Decimal(tax) if tax else _ZERO,
        _KINDS[get("kind") or "product"],
        tuple(get("categories") or ()),
    )


def _refund_line(line: dict[str, Any]) -> RefundLine:
    quantity, amount = line.get("quantity"), line.get("amount")
    return RefundLine(
        line["line_id"],
        None if quantity is None else Decimal(quantity),
        None if amount is None else Decimal(amount),
    )
