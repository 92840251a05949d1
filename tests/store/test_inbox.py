"""The inbox: what is a replay, what is a conflict, where a message goes, and how many statements that takes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import psycopg
import pytest
from sqlalchemy import Connection, Engine

from core.receiving.receive import Receipt, receive_in_parts
from core.store.engine import driver_connection
from core.store.posting_turns import shards_with_work
from core.store.shards import message_shard
from tests.factories import as_bytes, cancellation, fulfilment, order, refund
from tests.shell import EVENT_SOURCE, LIMITS, Shell, receive_into


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def inbox(shell: Shell) -> list[Any]:
    return shell.rows(
        "SELECT inbox_id, event_id, state, reason, detail, deliveries, shard, body FROM inbox ORDER BY inbox_id"
    )


def counts(receipt: Receipt) -> dict[str, int]:
    named = {name: getattr(receipt, name) for name in ("received", "waiting", "replayed", "parked")}
    return {name: count for name, count in named.items() if count}


def test_a_new_order_is_received_in_its_customers_shard_byte_for_byte(shell: Shell) -> None:
    raw = as_bytes(order(customer_id="c7")).replace(b": ", b" :  ")
    receipt = shell.receive(raw)
    [row] = inbox(shell)
    assert counts(receipt) == {"received": 1}
    assert receipt.shards == {message_shard("c7", 4)}
    assert (row.state, row.shard, row.deliveries, row.body) == ("received", message_shard("c7", 4), 1, raw)


def test_a_guests_order_is_spread_by_its_order_id(shell: Shell) -> None:
    shell.receive(order("o77", customer_id=None))
    assert inbox(shell)[0].shard == message_shard("o77", 4)


def test_messages_keep_their_order_of_arrival(shell: Shell) -> None:
    shell.receive(*(order(f"o{n}") for n in (5, 3, 9, 1)))
    shell.receive(order("o4"))
    assert [row.event_id for row in inbox(shell)] == [f"completed-o{n}" for n in (5, 3, 9, 1, 4)]


def test_no_messages_are_no_work(shell: Shell) -> None:
    assert shell.receive() == Receipt([], set())


@pytest.mark.parametrize("beside", ["signatures", "replies", "traces"])
@pytest.mark.parametrize("too_many", [-1, 1])
def test_a_list_of_what_came_beside_messages_that_is_of_another_length_is_refused(
    shell: Shell, beside: str, too_many: int
) -> None:
    messages = [as_bytes(order(f"o{n}")) for n in range(3)]
    given: dict[str, Any] = {beside: [None] * (len(messages) + too_many)}
    with pytest.raises(ValueError, match="zip"):
        list(receive_in_parts(shell.engine, messages, limits=LIMITS, shards=4, event_source=EVENT_SOURCE, **given))
    assert inbox(shell) == [], "none is stored, so that none may be acknowledged"


class TestReplays:
    def test_a_replay_is_counted_on_the_first_row_and_nothing_else(self, shell: Shell) -> None:
        shell.receive(order())
        receipt = shell.receive(order())
        [row] = inbox(shell)
        assert counts(receipt) == {"replayed": 1}
        assert receipt.shards == set()
        assert (row.state, row.deliveries) == ("received", 2)

    def test_the_same_content_in_other_json_is_a_replay(self, shell: Shell) -> None:
        event = order()
        again = {**dict(reversed(event.items())), "time": "2026-03-01T11:00:00.000Z", "extension": "ignored"}
        shell.receive(event)
        assert counts(shell.receive(again)) == {"replayed": 1}
        assert inbox(shell)[0].body == as_bytes(event)

    def test_repeats_within_one_batch_are_counted_too(self, shell: Shell) -> None:
        receipt = shell.receive(order("o1"), order("o2"), order("o1"), order("o1"))
        assert counts(receipt) == {"received": 2, "replayed": 2}
        assert [(row.event_id, row.deliveries) for row in inbox(shell)] == [("completed-o1", 3), ("completed-o2", 1)]
        shell.receive(order("o1"), order("o1"))
        assert inbox(shell)[0].deliveries == 5

    def test_a_replay_of_a_posted_message_leaves_it_posted(self, shell: Shell) -> None:
        shell.take(order())
        shell.receive(order())
        assert [(row.state, row.deliveries) for row in inbox(shell)] == [("posted", 2)]

    def test_the_same_id_from_another_source_is_another_message(self, shell: Shell) -> None:
        receipt = shell.receive(order(), order(source="/shops/other"))
        assert counts(receipt) == {"received": 2}


class TestConflicts:
    def test_other_content_under_a_known_id_is_parked_beside_the_first(self, shell: Shell) -> None:
        shell.receive(order(amount="10.00"))
        receipt = shell.receive(order(amount="20.00"))
        first, conflict = inbox(shell)
        assert counts(receipt) == {"parked": 1}
        assert (first.state, first.deliveries) == ("received", 1)
        assert (conflict.state, conflict.reason) == ("dead", "event_conflict")
        assert f"message {first.inbox_id} " in conflict.detail
        assert shell.parked_events() == [("completed-o1", "event_conflict")]

    def test_a_conflict_that_comes_twice_is_one_dead_letter(self, shell: Shell) -> None:
        shell.receive(order(amount="10.00"))
        shell.receive(order(amount="20.00"))
        receipt = shell.receive(order(amount="20.00"), order(amount="20.00"))
        assert counts(receipt) == {"replayed": 2}
        assert [(row.state, row.deliveries) for row in inbox(shell)] == [("received", 1), ("dead", 3)]
        assert len(shell.parked_events()) == 1

    def test_within_one_batch_the_first_content_stands(self, shell: Shell) -> None:
        receipt = shell.receive(order(amount="10.00"), order(amount="20.00"), order(amount="10.00"))
        assert counts(receipt) == {"received": 1, "parked": 1, "replayed": 1}
        assert [(row.state, row.deliveries) for row in inbox(shell)] == [("received", 2), ("dead", 1)]

    def test_replays_of_the_stored_content_are_counted_even_behind_a_conflict(self, shell: Shell) -> None:
        shell.receive(order(amount="10.00"))
        receipt = shell.receive(order(amount="20.00"), order(amount="10.00"), order(amount="20.00"))
        assert counts(receipt) == {"parked": 1, "replayed": 2}
        assert [(row.state, row.deliveries) for row in inbox(shell)] == [("received", 2), ("dead", 2)]

    def test_a_shop_that_numbers_all_its_events_alike_gets_one_posted_and_the_rest_parked(self, shell: Shell) -> None:
        receipt = shell.receive([order(f"o{n}", event_id="always") for n in range(1000)])
        assert counts(receipt) == {"received": 1, "parked": 999}


class TestUnreadable:
    def test_unreadable_bytes_are_kept_and_told(self, shell: Shell) -> None:
        receipt = shell.receive(b"\xff\x00 not json")
        [row] = inbox(shell)
        assert counts(receipt) == {"parked": 1}
        assert (row.state, row.reason, row.body) == ("dead", "not_json", b"\xff\x00 not json")
        assert shell.parked_events() == [(None, "not_json")]

    def test_the_same_bytes_again_are_a_replay(self, shell: Shell) -> None:
        shell.receive(b"{}")
        receipt = shell.receive(b"{}", b"{}")
        assert counts(receipt) == {"replayed": 2}
        assert [row.deliveries for row in inbox(shell)] == [3]
        assert len(shell.parked_events()) == 1

    def test_a_readable_event_after_an_unreadable_one_of_the_same_id_is_received(self, shell: Shell) -> None:
        broken = order(amount=12.5)  # type: ignore[arg-type]  # what a careless shop sends
        shell.receive(broken)
        assert counts(shell.receive(order())) == {"received": 1}
        assert [(row.state, row.reason) for row in inbox(shell)] == [("dead", "invalid_data"), ("received", None)]

    def test_the_elements_of_an_array_stand_and_fall_each_by_itself(self, shell: Shell) -> None:
        receipt = shell.receive([order("o1"), {"type": "order.completed"}, 7, order("o2"), order("o1")])
        assert counts(receipt) == {"received": 2, "parked": 2, "replayed": 1}
        assert [(row.event_id, row.reason) for row in inbox(shell)] == [
            ("completed-o1", None),
            ("", "bad_envelope"),
            ("", "not_an_event"),
            ("completed-o2", None),
        ]


class TestShardOfWhatIsAboutAnOrder:
    shard_of_c9 = message_shard("c9", 4)

    def test_is_that_of_its_order_in_the_same_batch_whichever_comes_first(self, shell: Shell) -> None:
        shell.receive(refund("r1", "o1"), order("o1", customer_id="c9"), refund("r2", "o1"))
        assert {row.shard for row in inbox(shell)} == {self.shard_of_c9}

    def test_is_that_of_its_order_in_the_inbox(self, shell: Shell) -> None:
        shell.receive(order("o1", customer_id="c9"))
        shell.receive(refund("r1", "o1"))
        assert [(row.state, row.shard) for row in inbox(shell)] == [("received", self.shard_of_c9)] * 2

    def test_is_that_of_its_posted_order(self, shell: Shell) -> None:
        shell.take(order("o1", customer_id="c9"))
        receipt = shell.receive(refund("r1", "o1"))
        assert receipt.shards == {self.shard_of_c9}

    def test_stays_where_its_order_was_posted_when_the_number_of_shards_changes(self, shell: Shell) -> None:
        shell.take(order("o1", customer_id="c9"))
        shell.shards = 64
        assert shell.receive(refund("r1", "o1")).shards == {self.shard_of_c9}

    def test_is_unknown_while_its_order_is_and_then_it_waits(self, shell: Shell) -> None:
        receipt = shell.receive(refund("r1", "o1"))
        [row] = inbox(shell)
        assert counts(receipt) == {"waiting": 1}
        assert (row.state, row.shard) == ("waiting", None)

    @pytest.mark.parametrize("about", [fulfilment, cancellation])
    def test_is_found_for_all_that_is_about_an_order(self, shell: Shell, about: Callable[..., Any]) -> None:
        unknown = about("o0", event_id="unknown")
        receipt = shell.receive(about("o1", event_id="a"), order("o1", customer_id="c9"), about("o1"), unknown)
        assert counts(receipt) == {"received": 3, "waiting": 1}
        assert [row.shard for row in inbox(shell)] == [self.shard_of_c9] * 3 + [None]
        shell.post()
        assert shell.receive(about("o1", event_id="c")).shards == {self.shard_of_c9}

    def test_is_not_looked_for_in_another_source(self, shell: Shell) -> None:
        shell.take(order("o1", source="/shops/test"))
        assert counts(shell.receive(refund("r1", "o1", source="/shops/other"))) == {"waiting": 1}

    def test_is_not_that_of_a_parked_order(self, shell: Shell) -> None:
        shell.take(order("o1", currency="USD"))
        assert shell.outcome("completed-o1") == ("dead", "wrong_currency")
        assert counts(shell.receive(refund("r1", "o1"))) == {"waiting": 1}


class TestWork:
    def test_every_shard_with_received_rows_is_named_once(self, shell: Shell, engine: Engine) -> None:
        shell.receive(*(order(f"o{n}", customer_id=f"c{n % 7}") for n in range(50)), refund("r1", "unknown"))
        expected = sorted({message_shard(f"c{n}", 4) for n in range(7)})
        with engine.begin() as connection:
            assert shards_with_work(connection) == expected
        shell.post()
        with engine.begin() as connection:
            assert shards_with_work(connection) == []

    def test_a_shard_beyond_todays_number_is_named_too(self, shell: Shell, engine: Engine) -> None:
        shell.receive(order())
        shell.execute("UPDATE inbox SET shard = 900")
        with engine.begin() as connection:
            assert shards_with_work(connection) == [900]


class CountingCursor(psycopg.Cursor[Any]):
    """Notes every statement that goes to the server."""

    statements: ClassVar[list[str]]

    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        self.statements.append(bytes(query).decode())
        return super().execute(query, *arguments, **options)


@contextmanager
def statements_counted(connection: Connection) -> Iterator[list[str]]:
    driver = driver_connection(connection)
    CountingCursor.statements = []
    driver.cursor_factory = CountingCursor
    yield CountingCursor.statements
    driver.cursor_factory = psycopg.Cursor


def test_a_batch_without_conflicts_takes_one_statement_on_the_inbox(shell: Shell, engine: Engine) -> None:
    shell.take(order("o1", customer_tags=["vip"]))
    batch = [order(f"o{n}", customer_tags=["vip"] if n % 2 else None) for n in range(1, 100)]
    batch += [refund(f"r{n}", f"o{n}") for n in (1, 5, 500)] + [cancellation(f"o{n}") for n in (2, 501)]
    with engine.begin() as connection, statements_counted(connection) as statements:
        receive_into(connection, *batch, order("o8"))
    assert sum("INTO inbox" in statement for statement in statements) == 1


def test_a_batch_with_conflicts_takes_two_statements_on_the_inbox(shell: Shell, engine: Engine) -> None:
    batch = [order(f"o{n}", event_id=f"e{n % 10}") for n in range(100)]
    with engine.begin() as connection, statements_counted(connection) as statements:
        receive_into(connection, *batch)
    assert sum("INTO inbox" in statement for statement in statements) == 2


@pytest.mark.parametrize("is_opposite", [False, True], ids=["in the same order", "in opposite orders"])
def test_two_intakes_with_the_same_messages_store_each_once(shell: Shell, engine: Engine, is_opposite: bool) -> None:
    messages = [order(f"o{n}", customer_id=f"c{n}") for n in range(300)]
    receipts = []
    barrier = threading.Barrier(2)

    def take(batch: list[Any]) -> None:
        barrier.wait()
        receipt = None
        while receipt is None:
            try:
                with engine.begin() as connection:
                    receipt = receive_into(connection, *batch)
            except psycopg.errors.DeadlockDetected:
                continue  # as intake does: what was not acknowledged comes again
        receipts.append(receipt)

    other = threading.Thread(target=take, args=(messages[::-1] if is_opposite else messages,))
    other.start()
    take(messages)
    other.join()
    assert [sum(getattr(each, name) for each in receipts) for name in ("received", "replayed")] == [300, 300]
    assert {(row.state, row.deliveries) for row in inbox(shell)} == {("received", 2)}
