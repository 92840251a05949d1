"""The Python client's consumer on real brokers: nothing is lost, and nothing counts twice."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import kombu
import pytest
import redis

from loyalty_client import (
    Applied,
    BrokerAwayError,
    Consumer,
    Event,
    Held,
    Outcome,
    Repeated,
    SqlProgress,
    Unreadable,
    UnsupportedBrokerError,
)
from loyalty_client import consuming as consuming_module
from tests.clients.client_events import changed, publish_events
from workers.brokers.topology import EVENT_EXCHANGE, EVENT_STREAM

NAME = "test.storefront"
NOBODY = ["amqp://guest:guest@127.0.0.1:1//", "redis://127.0.0.1:1/0"]


@pytest.fixture(params=["streams", pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)])
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "streams":
        yield request.getfixturevalue("stream_broker_url")
        return
    url = request.getfixturevalue("rabbitmq_url")
    with kombu.Connection(url) as connection:
        connection.channel().queue_delete(NAME)
        yield url
        connection.channel().queue_delete(NAME)
        connection.channel().exchange_delete(EVENT_EXCHANGE)


class Storefront:
    """A consumer with a database, and what it has applied."""

    def __init__(self, broker_url: str, path: Path) -> None:
        self.database = sqlite3.connect(path)
        self.database.execute("CREATE TABLE IF NOT EXISTS applied (number INTEGER)")
        self.consumer = Consumer(broker_url, NAME, SqlProgress(self.database))
        self.fails = False

    def apply(self, event: Event) -> None:
        self.database.execute("INSERT INTO applied VALUES (?)", (event.data.sequence,))
        if self.fails:
            raise OSError("the storefront's own database is away")

    def consume(self) -> list[Outcome]:
        return list(self.consumer.consume(self.apply, idle_seconds_max=0.5))

    def numbers(self) -> list[int]:
        return [number for (number,) in self.database.execute("SELECT number FROM applied ORDER BY rowid")]


@pytest.fixture
def open_storefront(broker_url: str, tmp_path: Path) -> Iterator[Callable[[], Storefront]]:
    opened: list[Storefront] = []

    def start() -> Storefront:
        opened.append(Storefront(broker_url, tmp_path / "storefront.sqlite"))
        return opened[-1]

    yield start
    for each in opened:
        each.database.close()


def kinds(outcomes: list[Outcome]) -> list[type]:
    return [type(outcome) for outcome in outcomes]


def test_each_event_is_applied_once_in_its_accounts_order(
    broker_url: str, open_storefront: Callable[[], Storefront]
) -> None:
    storefront = open_storefront()
    assert storefront.consume() == []  # its queue is there, before the first event
    publish_events(broker_url, changed(1), changed(1), changed(3), changed(2), changed(3))
    assert kinds(storefront.consume()) == [Applied, Repeated, Held, Applied, Repeated]
    assert storefront.numbers() == [1, 2, 3]
    assert storefront.consumer.gaps(seconds_min=0) == []


def test_what_comes_while_it_is_away_waits_for_it_and_a_gap_is_told(
    broker_url: str, open_storefront: Callable[[], Storefront]
) -> None:
    open_storefront().consume()
    publish_events(broker_url, changed(1), changed(3))
    storefront = open_storefront()
    assert kinds(storefront.consume()) == [Applied, Held]
    [gap] = storefront.consumer.gaps(seconds_min=0)
    assert (gap.first_sequence, gap.last_sequence) == (2, 2)
    publish_events(broker_url, changed(1), changed(2), changed(3))  # as a replay does
    assert kinds(storefront.consume()) == [Repeated, Applied, Repeated]
    assert (storefront.numbers(), storefront.consumer.gaps(seconds_min=0)) == ([1, 2, 3], [])


def test_what_apply_raises_keeps_nothing_of_the_event_which_comes_again(
    broker_url: str, open_storefront: Callable[[], Storefront]
) -> None:
    storefront = open_storefront()
    storefront.consume()
    publish_events(broker_url, changed(1), changed(2))
    storefront.fails = True
    with pytest.raises(OSError, match="own database"):
        storefront.consume()
    assert storefront.numbers() == []
    storefront.fails = False
    assert kinds(storefront.consume()) == [Applied, Applied]
    assert storefront.numbers() == [1, 2]


def test_a_process_that_ends_between_commit_and_acknowledgement_counts_nothing_twice(
    broker_url: str, open_storefront: Callable[[], Storefront], monkeypatch: pytest.MonkeyPatch
) -> None:
    storefront = open_storefront()
    storefront.consume()
    publish_events(broker_url, changed(1), changed(2))
    for deliveries in (consuming_module.AmqpDeliveries, consuming_module.StreamDeliveries):
        monkeypatch.setattr(deliveries, "acknowledge", _die)
    with pytest.raises(SystemExit):
        storefront.consume()
    monkeypatch.undo()
    assert kinds(open_storefront().consume()) == [Repeated, Applied]
    assert storefront.numbers() == [1, 2]


def _die(*arguments: object) -> None:
    raise SystemExit


def test_what_is_no_event_is_told_with_its_bytes_and_stops_nothing(
    broker_url: str, open_storefront: Callable[[], Storefront]
) -> None:
    storefront = open_storefront()
    storefront.consume()
    publish_events(broker_url, "no event", changed(1))
    unreadable, applied = storefront.consume()
    assert isinstance(unreadable, Unreadable)
    assert unreadable.raw in {b"no event", "no event"}
    assert isinstance(applied, Applied)
    assert storefront.consume() == []


def test_an_event_of_an_unknown_type_is_applied_too(broker_url: str, open_storefront: Callable[[], Storefront]) -> None:
    storefront = open_storefront()
    seen: list[Event] = []
    list(storefront.consumer.consume(seen.append, idle_seconds_max=0.5))
    publish_events(broker_url, json.dumps({**changed(1), "type": "loyalty.badge.given", "data": {"badge": "tea"}}))
    list(storefront.consumer.consume(seen.append, idle_seconds_max=0.5))
    assert [event.data for event in seen] == [{"badge": "tea"}]


def test_it_waits_for_a_broker_that_ends_its_connection_and_goes_on(stream_broker_url: str, tmp_path: Path) -> None:
    storefront = Storefront(stream_broker_url, tmp_path / "storefront.sqlite")
    with closing(storefront.database), redis.Redis.from_url(stream_broker_url) as client:
        publish_events(stream_broker_url, changed(1))
        outcomes = storefront.consumer.consume(storefront.apply)
        assert isinstance(next(outcomes), Applied)
        client.delete(EVENT_STREAM)  # the group goes with it, and each read fails until it is made again
        publish_events(stream_broker_url, changed(2))
        assert isinstance(next(outcomes), Applied)
        outcomes.close()
        assert storefront.numbers() == [1, 2]


@pytest.mark.parametrize("url", NOBODY)
def test_a_broker_that_stays_away_is_an_error_where_that_is_wanted(url: str) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        consumer = Consumer(url, NAME, SqlProgress(database), seconds_max=1, away_seconds_max=0.1)
        with pytest.raises(BrokerAwayError) as away:
            list(consumer.consume(lambda _: None))
    assert "guest" not in str(away.value)


def test_a_broker_of_another_kind_is_refused() -> None:
    with closing(sqlite3.connect(":memory:")) as database, pytest.raises(UnsupportedBrokerError, match="kafka://"):
        Consumer("kafka://localhost", NAME, SqlProgress(database))
