"""One story that arrives in many ways: each arrival is other customers' in the same ledger, as it is in life."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_IDS = (
    "order_id", "refund_id", "customer_id", "previous_customer_id", "return_id", "cancellation_id", "fulfilment_id",
)  # fmt: skip


def with_own_ids(message: Mapping[str, Any], mark: str, event_mark: str = "") -> dict[str, Any]:
    """The same of an order and a customer of their own; `event_mark` makes it another event of them."""
    data = {
        name: f"{value}{mark}" if name in _IDS and value is not None else value
        for name, value in message["data"].items()
    }
    return {**message, "id": f"{message['id']}{mark}{event_mark}", "data": data}


def rounds(
    arrivals: Iterable[Sequence[Mapping[str, Any]]], *, is_one_batch: bool = False
) -> list[list[dict[str, Any]]]:
    """What is posted together: the first message of each arrival, then the second of each, …; or all at once."""
    marked = [[with_own_ids(each, f"~{number}") for each in arrival] for number, arrival in enumerate(arrivals)]
    if is_one_batch:
        return [[message for arrival in marked for message in arrival]]
    return [list(together) for together in zip(*marked, strict=True)]
