"""A small message for tests of the client, and a key to sign it with."""

from datetime import UTC, datetime

from loyalty_client import SigningKey
from loyalty_client.facts import OrderFulfilled, OrderFulfilledData

KEY = SigningKey("2026-11", b"a secret of thirty-two bytes or so")


def fulfilled(number: int = 1) -> OrderFulfilled:
    return OrderFulfilled(
        id=f"fulfilled-{number}",
        source="/shops/high-street",
        time=datetime(2026, 3, 1, tzinfo=UTC),
        data=OrderFulfilledData(order_id=str(number)),
    )
