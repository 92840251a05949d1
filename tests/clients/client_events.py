"""Events as the loyalty worker publishes them, for consumers that are tried without one."""

import json
from typing import Any

import kombu
import redis

from core.messages.examples.story import published_events
from workers.brokers.topology import EVENT_EXCHANGE, EVENT_FIELD, EVENT_STREAM

ACCOUNT = "01a1fde8-0ab7-7c4d-9fea-000000000001"
_CHANGED = next(event for event in published_events() if event["type"] == "loyalty.balance.changed")


def changed(sequence: int, account_id: str = ACCOUNT, **data: Any) -> dict[str, Any]:
    """The balance change of this number, of 10 points."""
    told = {"account_id": account_id, "sequence": sequence, "points": 10, "balance": 10 * sequence, **data}
    return {
        **_CHANGED,
        "id": f"{account_id}:{sequence}",
        "subject": account_id,
        "data": {**_CHANGED["data"], **told},
    }


def publish_events(broker_url: str, *events: Any) -> None:
    """As the relay does; a text is published as it stands."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    if not broker_url.startswith("amqp"):
        with redis.Redis.from_url(broker_url) as client:
            for text in texts:
                client.xadd(EVENT_STREAM, {EVENT_FIELD: text})
        return
    exchange = kombu.Exchange(EVENT_EXCHANGE, "topic", durable=True)
    with kombu.Connection(broker_url, transport_options={"confirm_publish": True}) as connection:
        producer = kombu.Producer(connection.channel(), exchange)
        for text in texts:
            producer.publish(text, routing_key="loyalty.balance.changed", declare=[exchange], delivery_mode=2)
