r"""Sends a command on Redis or Valkey, and waits for its answer.

Copy `ask`; the program around it sends one command:

    python docs/examples/ask_on_streams.py --broker-url redis://localhost:6379/0 --source /services/support \
        --id gift-82 credit '{"customer_id": "C-1001", "points": 500}'

The answer comes to a stream of this process alone, which is deleted an hour after its last answer. Without an answer
in time, or after a crash, send the same again, with the same id and time: it is done once, and answered as it was the
first time.
"""

import argparse
import json
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import redis

STREAM = "shop.events"
REPLIES = f"loyalty.replies.{uuid.uuid4()}"  # of this process


def ask(client: "redis.Redis", command: dict[str, Any], seconds_max: float) -> dict[str, Any]:
    """Send a command and return the event that answers it; TimeoutError if none comes."""
    correlation_id = str(uuid.uuid4())
    client.xadd(STREAM, {"event": json.dumps(command), "reply_to": REPLIES, "correlation_id": correlation_id})
    deadline, last = time.monotonic() + seconds_max, "0"
    while (left := deadline - time.monotonic()) > 0:
        found: Any = client.xread({REPLIES: last}, block=max(1, min(int(left * 1000), 1_000)))
        for _, entries in found or ():
            for entry_id, fields in entries:
                last = entry_id
                if fields.get(b"correlation_id") == correlation_id.encode():
                    answer: dict[str, Any] = json.loads(fields[b"event"])
                    return answer
    raise TimeoutError


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
    client = redis.Redis.from_url(given.broker_url)
    try:
        answer = ask(client, command, given.seconds_max)
    except TimeoutError:
        print(f"no answer yet; ask again with --id {command['id']} --time {command['time']}", file=sys.stderr)
        return 2
    finally:
        client.close()
    print(json.dumps(answer))
    return 0 if answer["type"] == "loyalty.command.accepted" else 1


if __name__ == "__main__":
    sys.exit(main())
