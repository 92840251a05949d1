"""`loyalty events replay`: past events once more, unchanged."""

import json
from typing import Any

import pytest
import redis
from sqlalchemy import Engine

from core.store.shards import ACCOUNT_SHARDS
from tasks.purge import purge
from tasks.relay import relay_outbox
from tests.factories import order
from tests.shell import Shell
from tests.tasks.runtimes import make_runtime
from tests.workers.cli.command_line import CommandLine
from workers.brokers import open_event_publisher


@pytest.fixture
def published(
    loyalty: CommandLine, shell: Shell, engine: Engine, stream_broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, Any]]:
    """Three orders of one customer and one of another, with their events on the stream."""
    monkeypatch.setenv("LOYALTY_BROKER_URL", stream_broker_url)
    shell.take(*(order(f"o{n}") for n in range(3)), order("other", customer_id="c2"))
    runtime = make_runtime(engine, lambda: open_event_publisher(stream_broker_url))
    for shard in range(ACCOUNT_SHARDS):
        relay_outbox(runtime, shard)
    runtime.close()
    return stream(stream_broker_url)


def stream(broker_url: str) -> list[dict[str, Any]]:
    client = redis.Redis.from_url(broker_url)
    try:
        return [json.loads(fields[b"event"]) for _, fields in client.xrange("loyalty.events")]
    finally:
        client.close()


def test_a_customers_events_come_again_in_order_with_their_own_ids(
    loyalty: CommandLine, published: list[dict[str, Any]], stream_broker_url: str
) -> None:
    assert loyalty("events", "replay", "--customer", "c1", "--json").json["published"] == 4
    again = stream(stream_broker_url)[len(published) :]
    assert again == [event for event in published if event["data"]["customer_id"] == "c1"]


def test_a_replay_from_a_sequence_leaves_out_what_the_consumer_has(
    loyalty: CommandLine, published: list[dict[str, Any]], stream_broker_url: str
) -> None:
    printed = loyalty("events", "replay", "--customer", "c1", "--from-sequence", "2")
    assert printed.out.startswith("Published 2 past events again to redis://")
    assert [event["data"]["sequence"] for event in stream(stream_broker_url)[len(published) :]] == [2, 3]


def test_a_replay_since_an_instant_takes_every_account(
    loyalty: CommandLine, published: list[dict[str, Any]], stream_broker_url: str
) -> None:
    assert loyalty("events", "replay", "--since", "2020-01-01T00:00:00Z", "--json").json["published"] == len(published)
    assert loyalty("events", "replay", "--since", "2199-01-01T00:00:00Z", "--json").json["published"] == 0


def test_what_the_relay_has_not_published_is_left_to_it(
    loyalty: CommandLine, shell: Shell, published: list[dict[str, Any]], stream_broker_url: str
) -> None:
    shell.take(order("o9"))
    assert loyalty("events", "replay", "--customer", "c1", "--json").json["published"] == 4


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "Say which events"),
        (("--since", "yesterday"), 2, "--since yesterday is not a time"),
        (("--since", "2026-01-01T00:00:00"), 2, "with its offset"),
        (("--customer", "nobody"), 1, "no account of customer nobody"),
        (("--account", "x"), 2, "--account"),
    ],
)
def test_a_replay_of_nothing_that_is_known_says_so(
    loyalty: CommandLine, published: list[dict[str, Any]], arguments: tuple[str, ...], code: int, text: str
) -> None:
    printed = loyalty("events", "replay", *arguments)
    assert printed.code == code
    assert text in " ".join(printed.err.split())


def test_a_replay_says_what_retention_has_purged(
    loyalty: CommandLine, shell: Shell, engine: Engine, published: list[dict[str, Any]]
) -> None:
    purge(make_runtime(engine, outbox_retention_days=1e-9))
    shell.take(order("o9"))
    purged_before = shell.value("SELECT purged_before FROM retention")
    # The last event of all is kept, so that its number tells whether the others were there.
    everything = loyalty("events", "replay", "--since", "2020-01-01T00:00:00Z", "--json")
    assert everything.code == 1
    assert (everything.json["published"], everything.json["entries_without_event"]) == (1, 3)  # the last event stays
    assert everything.json["complete_since"][:19] == purged_before.isoformat()[:19]
    assert "3 entries of this choice have no stored event" in everything.err
    assert "are purged" in everything.err
    for choice in (("--since", purged_before.isoformat()), ("--customer", "c1", "--from-sequence", "4")):
        assert loyalty("events", "replay", *choice).code == 0
    assert loyalty("events", "replay", "--customer", "c1", "--from-sequence", "3", "--json").json[
        "entries_without_event"
    ] == 1  # fmt: skip


def test_an_account_is_replayed_by_its_id(
    loyalty: CommandLine, shell: Shell, published: list[dict[str, Any]], stream_broker_url: str
) -> None:
    account_id = shell.value("SELECT account_id FROM accounts WHERE customer_id = 'c2'")
    assert loyalty("events", "replay", "--account", account_id, "--json").json["published"] == 2
    again = stream(stream_broker_url)[len(published) :]
    assert {event["subject"] for event in again} == {str(account_id)}
