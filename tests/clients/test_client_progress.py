"""What a consumer remembers: each event once, each account's balance changes in order, and what has not come."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from threading import Thread
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.messages.examples.story import published_events
from loyalty_client import Event, SqlProgress, read_event
from loyalty_client.consumer_progress import Turn
from tests.clients.client_events import ACCOUNT, changed

OTHER = "01a1fde8-0ab7-7c4d-9fea-000000000002"


@pytest.fixture(params=["sqlite", "postgresql"])
def progress(request: pytest.FixtureRequest) -> Iterator[SqlProgress]:
    if request.param == "sqlite":
        with closing(sqlite3.connect(":memory:")) as database:
            yield SqlProgress(database)
        return
    with psycopg.connect(_driver_url(request.getfixturevalue("own_database_url"))) as server:
        yield SqlProgress(server, placeholder="%s")


def _driver_url(url: str) -> str:
    return url.replace("postgresql+psycopg://", "postgresql://")


def come(progress: SqlProgress, *events: dict[str, Any]) -> list[tuple[Turn, list[int]]]:
    """What is to be done with each, and the numbers of what is to be applied."""
    found = []
    for event in events:
        taken = progress.take(read_event(json.dumps(event)))
        found.append((taken.turn, [each.data.sequence for each in taken.events]))
        progress.commit()
    return found


def test_events_in_turn_are_ready_and_the_same_again_is_not(progress: SqlProgress) -> None:
    assert come(progress, changed(1), changed(2), changed(1), changed(2)) == [
        (Turn.READY, [1]),
        (Turn.READY, [2]),
        (Turn.REPEATED, []),
        (Turn.REPEATED, []),
    ]


def test_what_comes_early_is_held_until_those_before_it_are_there(progress: SqlProgress) -> None:
    early = come(progress, changed(3), changed(5), changed(3), changed(2), changed(1), changed(4))
    assert early == [
        (Turn.HELD, []),
        (Turn.HELD, []),
        (Turn.REPEATED, []),
        (Turn.HELD, []),
        (Turn.READY, [1, 2, 3]),
        (Turn.READY, [4, 5]),
    ]
    assert progress.gaps(0) == []


def test_each_account_has_its_own_numbers(progress: SqlProgress) -> None:
    assert come(progress, changed(2), changed(1, OTHER)) == [(Turn.HELD, []), (Turn.READY, [1])]


def test_other_events_are_known_by_their_ids_until_these_are_forgotten(progress: SqlProgress) -> None:
    created = next(event for event in published_events() if event["type"] == "loyalty.account.created")

    def turn() -> Turn:
        taken = progress.take(read_event(json.dumps(created)))
        progress.commit()
        return taken.turn

    assert [turn(), turn()] == [Turn.READY, Turn.REPEATED]
    assert progress.forget_seen(1) == 0
    assert progress.forget_seen(-1) == 1
    assert turn() == Turn.READY


def test_a_gap_tells_what_is_missing_and_how_it_comes_again(progress: SqlProgress) -> None:
    come(progress, changed(1), changed(4), changed(6))
    assert progress.gaps(3_600) == []
    [gap] = progress.gaps(0)
    assert gap[:4] == (ACCOUNT, "C-1001", 2, 3)
    assert gap.advice == "loyalty events replay --customer C-1001 --from-sequence 2"
    assert come(progress, changed(2), changed(3))[-1] == (Turn.READY, [3, 4])
    assert [each[2:4] for each in progress.gaps(0)] == [(5, 5)]


def test_a_consumer_that_comes_late_begins_where_an_account_stands(progress: SqlProgress) -> None:
    come(progress, changed(57), changed(59))
    progress.start_at(ACCOUNT, 57)
    progress.commit()
    assert come(progress, changed(56), changed(58)) == [(Turn.REPEATED, []), (Turn.READY, [58, 59])]


def test_what_is_rolled_back_has_not_come(progress: SqlProgress) -> None:
    for number in (1, 2):
        progress.take(read_event(json.dumps(changed(number))))
        progress.rollback()
    assert come(progress, changed(1), changed(2)) == [(Turn.READY, [1]), (Turn.READY, [2])]


def test_two_processes_that_take_events_of_one_account_at_once_lose_none(own_database_url: str) -> None:
    applied: list[int] = []

    def consume(numbers: list[int]) -> None:
        with psycopg.connect(_driver_url(own_database_url)) as server:
            progress = SqlProgress(server, placeholder="%s")
            for number in numbers:
                taken = progress.take(read_event(json.dumps(changed(number))))
                applied.extend(each.data.sequence for each in taken.events)
                progress.commit()

    with psycopg.connect(_driver_url(own_database_url)) as server:
        SqlProgress(server, placeholder="%s")
    both = [Thread(target=consume, args=(list(range(start, 101, 2)),)) for start in (1, 2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert applied == list(range(1, 101))


@given(st.lists(st.integers(1, 8), max_size=30).map(lambda numbers: [*numbers, *range(8, 0, -1)]))
def test_in_whatever_order_and_however_often_they_come_each_is_applied_once_in_order(numbers: list[int]) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        progress = SqlProgress(database)
        applied: list[Event] = []
        for number in numbers:
            applied += progress.take(read_event(json.dumps(changed(number)))).events
        assert [event.data.sequence for event in applied] == list(range(1, 9))
        assert progress.gaps(0) == []
