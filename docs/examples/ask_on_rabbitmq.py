r"""Sends a command on RabbitMQ, and waits for its answer.

Copy `ask`; the program around it sends one command:

    python docs/examples/ask_on_rabbitmq.py --broker-url amqp://localhost:5672// --source /services/support \
        --id gift-81 credit '{"customer_id": "C-1001", "points": 500}'

The answer comes by direct reply-to: through a queue that RabbitMQ keeps for this channel, and that nobody declares.
Without an answer in time, or after a crash, send the same again, with the same id and time: it is done once, and
answered as it was the first time.
"""

import argparse
import json
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

import kombu

EXCHANGE = "shop.events"
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to"


def ask(connection: kombu.Connection, command: dict[str, Any], seconds_max: float) -> dict[str, Any]:
    """Send a command and return the event that answers it; TimeoutError if none comes."""
    answers: list[dict[str, Any]] = []
    correlation_id = str(uuid.uuid4())

    def take(message: kombu.Message) -> None:
        if message.properties.get("correlation_id") == correlation_id:
            answers.append(json.loads(message.body))

    with connection.channel() as channel:
        # The queue of answers is this channel's: read it there, and before anything is sent.
        queue = kombu.Queue(DIRECT_REPLY_TO, no_declare=True)
        with kombu.Consumer(channel, [queue], on_message=take, no_ack=True, auto_declare=False):
            kombu.Producer(channel).publish(
                json.dumps(command),
                exchange=EXCHANGE,
                routing_key=command["type"],
                content_type="application/json",
                delivery_mode=2,
                reply_to=DIRECT_REPLY_TO,
                correlation_id=correlation_id,
            )
            while not answers:
                connection.drain_events(timeout=seconds_max)  # raises TimeoutError
    return answers[0]


def main() -> int:
    """Send the command of the command line; 0 if it was done, 1 if it was rejected, 2 without an answer."""
    parser = argparse.ArgumentParser(description="Send a command, and wait for its answer.")
    parser.add_argument("--broker-url", required=True)
    parser.add_argument("--source", required=True, help="who asks: listed in the file of LOYALTY_SOURCES_FILE")
    parser.add_argument("--id", default=None, help="of the command, for ever; else one is drawn")
    parser.add_argument("--time", default=None, help="of the command; else now")
    parser.add_argument("--seconds-max", type=float, default=10.0)
    parser.add_argument("verb", help="such as credit")
    parser.add_argument("data", type=json.loads, help="JSON")
    given = parser.parse_args()
    command = {
        "id": given.id or str(uuid.uuid4()),
        "source": given.source,
        "type": f"loyalty.command.{given.verb}",
        "time": given.time or datetime.now(UTC).isoformat(),
        "data": given.data,
    }
    try:
        with kombu.Connection(given.broker_url, transport_options={"confirm_publish": True}) as connection:
            answer = ask(connection, command, given.seconds_max)
    except TimeoutError:
        print(f"no answer yet; ask again with --id {command['id']} --time {command['time']}", file=sys.stderr)
        return 2
    print(json.dumps(answer))
    return 0 if answer["type"] == "loyalty.command.accepted" else 1


if __name__ == "__main__":
    sys.exit(main())
