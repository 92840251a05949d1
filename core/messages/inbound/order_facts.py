"""Makes the facts of the domain of the settled data of messages."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from core.domain.orders.facts import (
    AmendedOrder,
    Cancellation,
    Fulfilment,
    LinePart,
    Order,
    OrderClaim,
    Refund,
    RefundLine,
    RefundReversion,
    Return,
)
from core.domain.value.commands import ACCOUNT, LINKED
from core.messages.inbound.order_lines import lines_of

#: Fields that name an account otherwise than by its customer, with the kind of reference that each is.
_REFERENCES = {"account_id": ACCOUNT, **{kind: kind for kind in LINKED}}


def order_of(source: str, occurred_at: datetime, data: Mapping[str, Any]) -> Order:
    """Make the order of an `order.completed` event."""
    return Order(
        source=source,
        order_id=data["order_id"],
        customer_id=data.get("customer_id"),
        currency=data["currency"],
        occurred_at=occurred_at,
        lines=lines_of(data["lines"]),
        points_paid=Decimal(data.get("points_paid") or 0),
        attributes=data.get("attributes") or {},
        customer_tags=tuple(data.get("customer_tags") or ()),
        rate=Decimal(data["rate"]) if "rate" in data else None,
        points_authorization_id=data.get("points_authorization_id"),
        points_command_id=data.get("points_command_id"),
        points_command_source=data.get("points_command_source"),
        **_reference(data),
    )


def _reference(data: Mapping[str, Any]) -> dict[str, str]:
    """By what the account is named, where it is not by its customer."""
    for field, kind in _REFERENCES.items():
        if field in data:
            return {"reference_kind": kind, "reference": data[field]}
    return {}


def refund_of(source: str, occurred_at: datetime, data: Mapping[str, Any]) -> Refund:
    """Make the refund of an `order.refunded` event."""
    return Refund(
        source=source,
        refund_id=data["refund_id"],
        order_id=data["order_id"],
        occurred_at=occurred_at,
        full=data.get("full") is True,
        paid=_decimal_of(data, "paid"),
        net=_decimal_of(data, "net"),
        lines=tuple(_refund_line(line) for line in data.get("lines") or ()),
        currency=data.get("currency"),
        order_source=data.get("order_source"),
    )


def fulfilment_of(source: str, occurred_at: datetime, data: Mapping[str, Any]) -> Fulfilment:
    """Make the fulfilment of an `order.fulfilled` event."""
    return Fulfilment(
        source, data["order_id"], occurred_at, data.get("order_source"), parts_of(data), data.get("fulfilment_id")
    )


def cancellation_of(source: str, occurred_at: datetime, data: Mapping[str, Any]) -> Cancellation:
    """Make the cancellation of an `order.cancelled` event."""
    return Cancellation(
        source, data["order_id"], occurred_at, data.get("order_source"), parts_of(data), data.get("cancellation_id")
    )


def parts_of(data: Mapping[str, Any]) -> tuple[LinePart, ...]:
    """Which pieces of which lines a message is about; none: the whole order."""
    lines = data.get("lines") or ()
    return tuple([LinePart(line["line_id"], _quantity(line.get("quantity"))) for line in lines])


def _quantity(value: str | int | None) -> Decimal | None:
    return None if value is None else Decimal(value)


def amended_order_of(source: str, occurred_at: datetime, data: Mapping[str, Any]) -> AmendedOrder:
    """Make the amended order of an `order.amended` event."""
    order_source = data.get("order_source")
    order = order_of(order_source or source, occurred_at, data)
    return AmendedOrder(source, data["order_id"], occurred_at, data["revision"], order, order_source)


def claim_of(source: str, occurred_at: datetime, data: Mapping[str, Any]) -> OrderClaim:
    """Make the claim of an `order.claimed` event."""
    return OrderClaim(
        source,
        data["order_id"],
        data.get("customer_id"),
        data.get("previous_customer_id"),
        occurred_at,
        data.get("order_source"),
        **_reference(data),
    )


def reversion_of(source: str, occurred_at: datetime, data: Mapping[str, Any]) -> RefundReversion:
    """Make the reversion of an `order.refund_reverted` event."""
    return RefundReversion(source, data["refund_id"], data["order_id"], occurred_at, data.get("order_source"))


def return_of(source: str, occurred_at: datetime, data: Mapping[str, Any]) -> Return:
    """Make the return of an `order.returned` event."""
    lines = lines_of(data["lines"])
    rate = Decimal(data["rate"]) if "rate" in data else None
    customer_id = data.get("customer_id")
    return Return(
        source, data["return_id"], customer_id, data["currency"], occurred_at, lines, rate, **_reference(data)
    )


def _refund_line(line: Mapping[str, Any]) -> RefundLine:
    return RefundLine(
        line["line_id"], _decimal_of(line, "quantity"), _decimal_of(line, "paid"), _decimal_of(line, "net")
    )


def _decimal_of(fields: Mapping[str, Any], name: str) -> Decimal | None:
    value = fields.get(name)
    return None if value is None else Decimal(value)
