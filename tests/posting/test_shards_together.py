"""What little has come for other shards is posted along with a shard's own messages, and never to their harm."""

import threading
from dataclasses import fields
from typing import Any

import pytest
from sqlalchemy import Engine
from uuid6 import uuid7

from core.posting.batch import BatchBounds, BatchResult, Poster
from core.posting.tally import Tally
from core.store.engine import create_database_engine
from core.store.locks import Task
from core.store.shards import message_shard
from tests.factories import fulfilment, order, refund
from tests.shell import EVENT_SOURCE, Shell
from tests.turns import has_turn

SHARDS = 4
#: Of each shard one.
CUSTOMERS = {message_shard(name, SHARDS): name for name in (f"c{n}" for n in range(50))}


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """Each shard has been posted before."""
    shell = Shell(engine, shards=SHARDS)
    for shard in range(SHARDS):
        assert shell.poster.post_batch(shard, 500) == BatchResult()
    return shell


def of_shard(shard: int, count: int, name: str = "o") -> list[dict[str, Any]]:
    """Orders of the customer of that shard."""
    return [order(f"{name}{shard}-{n}", customer_id=CUSTOMERS[shard]) for n in range(count)]


def poster(engine: Engine, **bounds: int) -> Poster:
    return Poster(engine, event_source=EVENT_SOURCE, new_account_id=uuid7, bounds=BatchBounds(**bounds))


@pytest.mark.parametrize(
    ("own", "others", "along_max", "taken"),
    [
        (1, {1: 1, 2: 1, 3: 1}, 10, {0, 1, 2, 3}),
        (0, {1: 1, 2: 1}, 10, {0, 1, 2}),
        (5, {1: 3, 2: 2}, 10, {0, 1, 2}),
        (5, {1: 3, 2: 3}, 10, {0, 1}),
        (5, {1: 6, 2: 3}, 10, {0, 2}),
        (5, {1: 6, 2: 6, 3: 6}, 10, {0}),
        (10, {1: 1}, 10, {0}),
        (30, {1: 1}, 10, {0}),
        (1, {1: 1}, 0, {0}),
        (1, {1: 1}, 1, {0}),
        (1, {1: 1}, 2, {0, 1}),
    ],
)
def test_other_shards_come_along_as_long_as_all_together_are_few(
    own: int, others: dict[int, int], along_max: int, taken: set[int], shell: Shell, engine: Engine
) -> None:
    shell.receive(*of_shard(0, own), *(each for shard, count in others.items() for each in of_shard(shard, count)))
    result = poster(engine, along_max=along_max).post_batch(0, 500)
    assert (result.shards, result.claimed) == (taken, sum(({0: own} | others)[shard] for shard in taken))
    assert result.posted == result.claimed
    assert shell.differences() == []


def test_no_more_messages_are_taken_than_a_batch_may_have_and_the_oldest_of_all(shell: Shell, engine: Engine) -> None:
    mixed = [each for n in range(3) for shard in (2, 0, 3) for each in of_shard(shard, 1, name=f"o{n}-")]
    shell.receive(*mixed)
    results = [poster(engine).post_batch(0, 4) for _ in range(3)]
    assert [result.claimed for result in results] == [4, 4, 1]
    rows = shell.rows("SELECT order_id FROM orders JOIN inbox USING (inbox_id) ORDER BY settled_at, inbox_id")
    assert [row.order_id for row in rows] == [each["data"]["order_id"] for each in mixed]


def test_each_order_is_posted_on_its_own_shard_and_what_is_about_it_goes_there(shell: Shell) -> None:
    shell.receive(*(each for shard in range(SHARDS) for each in of_shard(shard, 1)))
    shell.receive(*(fulfilment(f"o{shard}-0") for shard in range(SHARDS)))
    assert shell.poster.post_batch(2, 500).shards == set(range(SHARDS))
    shell.receive(*(refund(f"r{shard}", f"o{shard}-0", net="10.00") for shard in range(SHARDS)))
    shard_of = "SELECT DISTINCT substr(order_id, 2, 1)::integer = shard FROM orders"
    assert shell.value(shard_of) is True
    assert [row.shard for row in shell.rows("SELECT shard FROM inbox WHERE state = 'received' ORDER BY 1")] == [
        *range(4)
    ]
    assert shell.post()["posted"] == SHARDS
    assert shell.differences() == []


def test_refunds_that_came_first_go_with_their_orders_whatever_the_shards(shell: Shell) -> None:
    shell.take(*(refund(f"r{shard}", f"o{shard}-0", net="10.00") for shard in range(SHARDS)))
    shell.receive(*(each for shard in range(SHARDS) for each in of_shard(shard, 1)))
    assert shell.poster.post_batch(1, 500).posted == 2 * SHARDS
    assert (
        shell.value("SELECT count(DISTINCT shard) FROM inbox WHERE state = 'posted' AND type = 'order.refunded'") >= 0
    )
    assert shell.differences() == []


def test_a_shard_that_another_worker_has_is_not_taken_along(shell: Shell, engine: Engine) -> None:
    shell.receive(*of_shard(0, 1), *of_shard(1, 1), *of_shard(2, 1))
    with engine.begin() as other:
        assert has_turn(other, Task.POSTING, 1)
        assert shell.poster.post_batch(0, 500).shards == {0, 2}
    assert shell.poster.post_batch(0, 500).shards == {0, 1}


def test_nothing_is_taken_along_by_who_does_not_have_its_own_shard(shell: Shell, engine: Engine) -> None:
    shell.receive(*of_shard(0, 1), *of_shard(1, 1))
    with engine.begin() as other:
        assert has_turn(other, Task.POSTING, 0)
        assert shell.poster.post_batch(0, 500) == BatchResult(is_busy=True)
    assert shell.outcomes() == {("received", None): 2}


@pytest.mark.parametrize("died", [0, 1])
def test_where_a_process_has_died_a_shard_is_posted_by_itself(died: int, shell: Shell) -> None:
    shell.receive(*of_shard(0, 1), *of_shard(1, 1), *of_shard(2, 1))
    shell.execute("UPDATE posting_attempts SET attempts = 1 WHERE shard = :shard", shard=died)
    shell.execute("INSERT INTO posting_attempts VALUES (:shard, 1) ON CONFLICT DO NOTHING", shard=died)
    assert shell.poster.post_batch(0, 500).shards == ({0} if died == 0 else {0, 2})
    assert shell.value("SELECT sum(attempts) FROM posting_attempts") == (0 if died == 0 else 1)


def test_a_death_counts_for_every_shard_that_was_posted(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.receive(*of_shard(0, 1), *of_shard(3, 1))

    def die(*_: Any) -> None:
        raise SystemExit

    monkeypatch.setattr("core.posting.batch.forget_attempts", die)
    with pytest.raises(SystemExit):
        shell.poster.post_batch(0, 500)
    assert [tuple(row) for row in shell.rows("SELECT shard, attempts FROM posting_attempts ORDER BY 1")] == [
        (0, 1),
        (3, 1),
    ]


def test_a_bad_message_of_one_shard_is_parked_and_those_of_all_others_are_posted(shell: Shell) -> None:
    shell.execute(
        "CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.order_id = 'o2-0' THEN PERFORM 1 / 0; END IF; RETURN NEW; END $$"
    )
    shell.execute("CREATE TRIGGER fault BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION fault()")
    try:
        shell.receive(*of_shard(0, 2), *of_shard(1, 1), *of_shard(2, 3))
        result = shell.poster.post_batch(0, 500)
    finally:
        shell.execute("DROP FUNCTION fault CASCADE")
    assert (result.posted, result.parked, result.shards) == (5, 1, {0, 1, 2})
    assert shell.outcome("completed-o2-0")[0] == "dead"
    assert shell.value("SELECT sum(attempts) FROM posting_attempts") == 0
    assert shell.differences() == []


def test_workers_that_take_along_what_they_find_post_each_message_once(shell: Shell, engine: Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    is_over = threading.Event()
    results: list[BatchResult] = []

    def work(own_shard: int) -> None:
        own = create_database_engine(url)
        mine = poster(own)
        while not is_over.is_set():
            results.append(mine.post_batch(own_shard, 500))
        own.dispose()

    threads = [threading.Thread(target=work, args=(shard,)) for shard in range(SHARDS)]
    for thread in threads:
        thread.start()
    for n in range(60):
        shell.receive(*(each for shard in range(SHARDS) for each in of_shard(shard, 1, name=f"o{n}-")))
    is_over.set()
    for thread in threads:
        thread.join()
    shell.post()
    assert shell.outcomes() == {("posted", None): 60 * SHARDS}
    assert sum(result.posted for result in results) <= 60 * SHARDS
    assert any(len(result.shards) > 1 for result in results)
    assert shell.differences() == []


@pytest.mark.parametrize("name", [each.name for each in fields(BatchResult)])
def test_nothing_of_a_result_is_lost_when_it_is_added_to_another(name: str) -> None:
    something = {int: 3, bool: True, set: {7}, list: [Tally()]}
    other = BatchResult(**{name: something[type(getattr(BatchResult(), name))]})
    total = BatchResult()
    total.add(other)
    total.add(BatchResult())
    assert total == other
