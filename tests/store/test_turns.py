"""One worker at a time has a shard; its turn is a row that it holds until its transaction ends."""

import threading
from contextlib import suppress
from itertools import product

import pytest
from sqlalchemy import Engine

from core.store.locks import PeriodicTurn, Task, try_periodic_turn
from core.store.shards import ACCOUNT_SHARDS
from tests.shell import Shell
from tests.turns import has_turn


@pytest.fixture(params=["at the first turn", "later"])
def ready(request: pytest.FixtureRequest, engine: Engine) -> Engine:
    if request.param == "later":
        with engine.begin() as connection:
            assert has_turn(connection, Task.POSTING, 3)
    return engine


def test_two_posters_cannot_have_one_turn(ready: Engine) -> None:
    with ready.begin() as one, ready.begin() as other:
        assert has_turn(one, Task.POSTING, 3)
        assert not has_turn(other, Task.POSTING, 3)
    with ready.begin() as other:
        assert has_turn(other, Task.POSTING, 3)


def test_turns_of_other_shards_and_tasks_are_apart(ready: Engine) -> None:
    with ready.begin() as one, ready.begin() as other:
        assert has_turn(one, Task.POSTING, 3)
        assert has_turn(other, Task.POSTING, 4)
        assert has_turn(other, Task.RELAY, 3)


def test_who_has_a_turn_has_it_still_when_asked_again(ready: Engine) -> None:
    with ready.begin() as one:
        assert [has_turn(one, Task.POSTING, 3) for _ in range(2)] == [True, True]


def test_a_turn_ends_with_a_transaction_that_fails(ready: Engine) -> None:
    with suppress(ZeroDivisionError), ready.begin() as one:
        assert has_turn(one, Task.POSTING, 3)
        _ = 1 / 0
    with ready.begin() as other:
        assert has_turn(other, Task.POSTING, 3)


def test_of_two_that_come_at_once_for_the_first_time_one_has_the_turn(engine: Engine) -> None:
    barrier, end = threading.Barrier(2), threading.Barrier(2)
    had = []

    def ask() -> None:
        with engine.begin() as connection:
            barrier.wait()
            had.append(has_turn(connection, Task.RELAY, 5))
            end.wait()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(had) == [False, True]
    assert Shell(engine, program_text=None).value("SELECT count(*) FROM turns") == 1


def test_no_periodic_task_keeps_another_from_its_turn_on_any_shard(engine: Engine) -> None:
    turns = list(product(PeriodicTurn, range(ACCOUNT_SHARDS)))
    with engine.begin() as one, engine.begin() as other:
        for turn, shard in turns[::2]:
            assert try_periodic_turn(one, turn, shard)
        assert [each for each in turns if try_periodic_turn(other, *each)] == turns[1::2]


@pytest.mark.parametrize("shard", [-1, ACCOUNT_SHARDS])
def test_there_is_no_periodic_turn_on_a_shard_that_does_not_exist(engine: Engine, shard: int) -> None:
    with engine.begin() as connection, pytest.raises(AssertionError):
        try_periodic_turn(connection, PeriodicTurn.EXPIRY, shard)
