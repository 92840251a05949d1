"""The newest revision of an order as JSON, in the words of its message; null in the table where there is none."""

from decimal import Decimal
from typing import Any

from pydantic_core import from_json, to_json

from core.domain.orders.facts import LineKind, OrderLine
from core.domain.orders.posted import Amendment
from core.messages.inbound.order_facts import line_of
from core.store.judgements import judgement_json, read_judgement

_PAID_BY = ("points_authorization_id", "points_command_id", "points_command_source")


def amendment_json(amendment: Amendment | None) -> str | None:
    """The column's text."""
    if amendment is None:
        return None
    content = {
        "revision": amendment.revision,
        "lines": [_line(line) for line in amendment.lines],
        "points_paid": f"{amendment.points_paid:f}",
        "attributes": dict(amendment.attributes),
        "customer_tags": amendment.customer_tags,
        "judgement": judgement_json(amendment.judgement),
        **{name: value for name in _PAID_BY if (value := getattr(amendment, name)) is not None},
    }
    return to_json(content).decode()


def read_amendment(text: str | None) -> Amendment | None:
    """What `amendment_json` wrote."""
    if text is None:
        return None
    content = from_json(text)
    return Amendment(
        content["revision"],
        tuple(line_of(line) for line in content["lines"]),
        Decimal(content["points_paid"]),
        content["attributes"],
        tuple(content["customer_tags"]),
        read_judgement(content["judgement"]),
        *(content.get(name) for name in _PAID_BY),
    )


def _line(line: OrderLine) -> dict[str, Any]:
    settled: dict[str, Any] = {
        "line_id": line.line_id,
        "quantity": int(line.quantity) if line.quantity % 1 == 0 else f"{line.quantity:f}",
        "amount": f"{line.amount:f}",
    }
    if line.sku is not None:
        settled["sku"] = line.sku
    if line.tax:
        settled["tax"] = f"{line.tax:f}"
    if line.kind is not LineKind.PRODUCT:
        settled["kind"] = line.kind.value
    if line.categories:
        settled["categories"] = line.categories
    return settled
