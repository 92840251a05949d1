"""What to send instead of numbers that a contract does not take, such as negative lines, by what they stand for."""

import math
import re
from collections.abc import Container, Mapping
from typing import Any

_NEGATIVE = re.compile(r"\s*-\s*[0-9.,]*[1-9][0-9.,]*\s*")
_ZERO = re.compile(r"[-+]?0+([.,]0+)?")

_EXCHANGE = (
    "send the goods that were bought as order.completed, and those that came back as order.refunded of their order"
)
_WITHOUT_RECEIPT = ", or as order.returned if nobody knows it"
_UNDO = "; a refund that did not happen after all is an order.refund_reverted"
_NEGATIVE_LINE = (
    "amounts are not negative: leave the line out, and take a discount off the amounts of the goods that it is for"
)


def number_advice(
    field: str | None, value: object, there: Mapping[str, Any], event_type: object, known: Container[str]
) -> str | None:
    """What to do about the number `value` of a field `there`; None: nothing that its format does not say.

    `known` are the types of event that may be suggested.
    """
    is_signed = event_type == "order.amended" and field != "points_paid"  # its lines may be below 0
    if field == "quantity" and _is_zero(value) and not is_signed:
        is_refund = event_type == "order.refunded"
        instead = "leave it out where money alone was given back, else the line" if is_refund else "leave the line out"
        return f"a quantity is above 0: {instead}"
    if is_signed or not _is_negative(value):
        return None
    if event_type == "order.completed":
        return _of_order(field, there, known)
    if field in {"paid", "net", "amount", "quantity"} and event_type == "order.refunded":
        undo = _UNDO if "order.refund_reverted" in known else ""
        return f"amounts and quantities are not negative: write what is given back without a sign{undo}"
    return f"{'a quantity is above 0' if field == 'quantity' else 'amounts are not negative'}: write it without a sign"


def _of_order(field: str | None, there: Mapping[str, Any], known: Container[str]) -> str:
    back = _EXCHANGE + (_WITHOUT_RECEIPT if "order.returned" in known else "")
    if field == "quantity":
        return f"a quantity is above 0: {back}"
    if field == "points_paid":
        return "amounts are not negative: write it without a sign"
    if _is_negative(there.get("quantity")):
        return "amounts are not negative; the line is not needed when the goods that came back are sent by themselves"
    if field == "tax":
        return "amounts are not negative: leave the line out"
    return f"{_NEGATIVE_LINE}; where goods came back, {back}"


def _is_negative(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= 40 and _NEGATIVE.fullmatch(value) is not None  # noqa: PLR2004
    return isinstance(value, int | float) and -math.inf < value < 0


def _is_zero(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= 40 and _ZERO.fullmatch(value) is not None  # noqa: PLR2004
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0
