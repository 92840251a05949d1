"""The newest revision of an order as JSON, in the words of its message; null in the table where there is none."""

from decimal import Decimal

from pydantic_core import from_json, to_json

from core.domain.orders.posted import Amendment
from core.messages.inbound.order_lines import lines_again, lines_of
from core.store.judgements import judgement_json, read_judgement

_PAID_BY = ("points_authorization_id", "points_command_id", "points_command_source")


def amendment_json(amendment: Amendment | None) -> str | None:
    """The column's text."""
    if amendment is None:
        return None
    content = {
        "revision": amendment.revision,
        "lines": lines_again(amendment.lines),
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
        lines_of(content["lines"]),
        Decimal(content["points_paid"]),
        content["attributes"],
        tuple(content["customer_tags"]),
        read_judgement(content["judgement"]),
        *(content.get(name) for name in _PAID_BY),
    )
