"""A consumer of `loyalty.events` that loses nothing and counts nothing twice.

Copy it and put your own work into `apply`:

    python docs/examples/durable_consumer.py --broker-url redis://localhost:6379/0 --state storefront.sqlite

It keeps every customer's balance in SQLite. The three rules that make it right:

1. Acknowledge only after the commit of your own database; then a crash brings the event again, never loses it.
2. An event comes at least once, always with the same `id`: what you have seen, skip.
3. Each account's balance-changed events are numbered without gaps (`data.sequence`). One that comes too early is held
   until those before it have come; a hole that stays is a loss, which you can see and have published again.
"""

import argparse
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import kombu
import redis

NAME = "storefront"  # your consumer: its group or queue collects events while it is away
STREAM = "loyalty.events"
BALANCE_CHANGED = "loyalty.balance.changed"

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS balances (account_id TEXT PRIMARY KEY, customer_id TEXT, balance INTEGER, sequence INTEGER);
CREATE TABLE IF NOT EXISTS held (account_id TEXT, sequence INTEGER, event TEXT, PRIMARY KEY (account_id, sequence));
"""


def handle(database: sqlite3.Connection, event: dict[str, Any]) -> str:
    """Take one event into the database, in one transaction. Returns what became of it."""
    with database:
        if not database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (event["id"],)).rowcount:
            return "repeat, skipped"
        if event["type"] != BALANCE_CHANGED:
            return "not about a balance"
        data = event["data"]
        account_id, sequence = data["account_id"], data["sequence"]
        if sequence > last_sequence(database, account_id) + 1:
            database.execute("INSERT OR IGNORE INTO held VALUES (?, ?, ?)", (account_id, sequence, json.dumps(event)))
            return f"early, held until {last_sequence(database, account_id) + 1} comes"
        if sequence <= last_sequence(database, account_id):
            return "known by its sequence, skipped"
        apply(database, data)
        return f"applied{_apply_held(database, account_id)}"


def apply(database: sqlite3.Connection, data: dict[str, Any]) -> None:
    """Do your own work here: in order, once, in the transaction that remembers it."""
    database.execute(
        "INSERT INTO balances VALUES (:account_id, :customer_id, :balance, :sequence)"
        " ON CONFLICT (account_id) DO UPDATE SET balance = excluded.balance, sequence = excluded.sequence",
        data,
    )


def _apply_held(database: sqlite3.Connection, account_id: str) -> str:
    count = 0
    while True:
        key = (account_id, last_sequence(database, account_id) + 1)
        row = database.execute("SELECT event FROM held WHERE account_id = ? AND sequence = ?", key).fetchone()
        if row is None:
            return f", and {count} that were held" if count else ""
        apply(database, json.loads(row[0])["data"])
        database.execute("DELETE FROM held WHERE account_id = ? AND sequence = ?", key)
        count += 1


def last_sequence(database: sqlite3.Connection, account_id: str) -> int:
    """Return the newest sequence applied to the account; 0 for none."""
    row = database.execute("SELECT sequence FROM balances WHERE account_id = ?", (account_id,)).fetchone()
    return int(row[0]) if row else 0


def stream_events(database: sqlite3.Connection, broker_url: str, *, idle_seconds_max: float | None) -> Iterator[str]:
    """Consume from Redis or Valkey, as a consumer group that keeps its place."""
    client = redis.Redis.from_url(broker_url, protocol=2, decode_responses=True)
    try:
        client.xgroup_create(STREAM, NAME, id="0", mkstream=True)
    except redis.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise
    start = "0"  # first what an earlier run took and did not acknowledge, then what is new
    wait_milliseconds = int((idle_seconds_max or 5) * 1000)
    with closing(client):
        while True:
            answer: Any = client.xreadgroup(NAME, "one", {STREAM: start}, count=100, block=wait_milliseconds)
            entries = answer[0][1] if answer else []
            for entry_id, fields in entries:
                yield handle(database, json.loads(fields["event"]))
                client.xack(STREAM, NAME, entry_id)
            if not entries and start == "0":
                start = ">"
            elif not entries and idle_seconds_max is not None:
                return


def queue_events(database: sqlite3.Connection, broker_url: str, *, idle_seconds_max: float | None) -> Iterator[str]:
    """Consume from RabbitMQ: a durable queue of your own, declared before the events that you must not miss."""
    exchange = kombu.Exchange(STREAM, type="topic", durable=True)
    queue = kombu.Queue(NAME, exchange, routing_key="#", durable=True, queue_arguments={"x-queue-type": "quorum"})
    with kombu.Connection(broker_url) as connection:
        messages: list[Any] = []
        consumer = kombu.Consumer(connection, [queue], on_message=messages.append, prefetch_count=100)
        with consumer:
            while True:
                try:
                    connection.drain_events(timeout=idle_seconds_max or 5)
                except TimeoutError:
                    if idle_seconds_max is not None:
                        return
                for message in messages:
                    yield handle(database, json.loads(message.body))
                    message.ack()
                messages.clear()


def main() -> int:
    """Consume until interrupted, or until nothing came for --idle-seconds-max."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker-url", required=True)
    parser.add_argument("--state", default="storefront.sqlite", help="where balances are kept")
    parser.add_argument("--idle-seconds-max", type=float, help="stop when nothing came for that long")
    parser.add_argument("--quiet", action="store_true")
    arguments = parser.parse_args()
    consume = queue_events if arguments.broker_url.startswith("amqp") else stream_events
    with closing(sqlite3.connect(arguments.state)) as database:
        database.executescript(SCHEMA)
        try:
            for outcome in consume(database, arguments.broker_url, idle_seconds_max=arguments.idle_seconds_max):
                if not arguments.quiet:
                    print(outcome)
        except KeyboardInterrupt:
            pass
        accounts, points = database.execute("SELECT count(*), coalesce(sum(balance), 0) FROM balances").fetchone()
        (held,) = database.execute("SELECT count(*) FROM held").fetchone()
        print(f"{accounts} accounts, {points} points, {held} events held for one that is missing")
    return 1 if held else 0


if __name__ == "__main__":
    sys.exit(main())
