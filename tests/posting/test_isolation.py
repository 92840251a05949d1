"""One bad message must not stop the others; a broken database must not be taken for a bad message."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy import Engine, text
from uuid6 import uuid7

from core.domain.books import Books
from core.domain.message import Message
from core.domain.program.registry import ProgramRegistry
from core.posting.batch import CRASHES_BEFORE_PARKING, HELD_UP_SECONDS_MIN, BatchResult, Poster
from core.posting.handlers import HANDLERS, Outcome
from core.store.engine import SessionLimits, create_database_engine
from core.store.locks import Task
from core.store.shards import message_shard
from tests.factories import PROGRAM_TEXT, order, refund
from tests.shell import EVENT_SOURCE, Shell
from tests.turns import has_turn

NO_FAULT = "DROP FUNCTION IF EXISTS fault CASCADE"
DATA_ERROR = "RAISE EXCEPTION 'cannot be' USING ERRCODE = 'data_exception'"
DISK_FULL = "RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'"
# Counted by a sequence of our own, which no rollback takes back.
TWICE = """
IF nextval(pg_get_serial_sequence('dead_letter_actions', 'action_id')) <= 2 THEN
    RAISE EXCEPTION 'lost' USING ERRCODE = '{error}';
END IF"""
CONNECTION_LOST = "PERFORM pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
def shell(engine: Engine) -> Iterator[Shell]:
    shell = Shell(engine)
    yield shell
    shell.execute(NO_FAULT)


def inject(shell: Shell, fault: str, table: str = "orders", key: str = "order_id") -> None:
    """Let the database raise `fault` when the order or refund `bad` is written."""
    shell.execute(f"CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {fault}; RETURN NEW; END $$")
    shell.execute(
        f"CREATE TRIGGER fault BEFORE INSERT ON {table} FOR EACH ROW WHEN (NEW.{key} = 'bad') EXECUTE FUNCTION fault()"
    )


def many_and_a_bad_one() -> list[dict[str, object]]:
    good = [order(f"o{n}", customer_id=f"c{n % 5}") for n in range(40)]
    return [*good[:20], order("bad", customer_id="c1"), *good[20:], refund("r7", "o7")]


def assert_all_but_the_bad_one_are_posted(shell: Shell, reason: str = "posting_failed") -> None:
    assert shell.outcomes() == {("posted", None): 41, ("dead", reason): 1}
    assert shell.outcome("completed-bad") == ("dead", reason)
    assert shell.parked_events() == [("completed-bad", reason)]
    assert shell.value("SELECT sum(attempts) FROM posting_attempts") == 0
    assert shell.differences() == []


class TestBadMessage:
    def test_is_parked_and_the_others_of_its_batch_are_posted(self, shell: Shell) -> None:
        inject(shell, DATA_ERROR)
        shell.take(*many_and_a_bad_one())
        assert_all_but_the_bad_one_are_posted(shell)

    def test_is_found_by_whatever_it_breaks(self, shell: Shell) -> None:
        shell.receive(*many_and_a_bad_one())
        shell.execute("UPDATE inbox SET settled = 'no longer an event' WHERE event_id = 'completed-bad'")
        shell.post()
        assert_all_but_the_bad_one_are_posted(shell)

    @pytest.mark.parametrize("is_known_customer", [True, False])
    def test_may_be_an_order_of_more_points_than_a_number_holds(self, shell: Shell, is_known_customer: bool) -> None:
        shell.apply_program(
            PROGRAM_TEXT.replace("program_id: test", "program_id: rich")
            .replace("/shops/test", "/shops/rich")
            .replace('per_amount: "1.00"', 'per_amount: "0.0001"')
            .replace('{bronze: "1", silver: "1.5", gold: "2"}', "{bronze: 1000000, silver: 1000000, gold: 1000000}")
        )
        if is_known_customer:
            shell.take(order("o0", "0.01", source="/shops/rich"))
        shell.take(order("bad", "999999999999.99", source="/shops/rich"), order("o1"))
        assert shell.outcome("completed-bad") == ("dead", "too_many_points")
        assert shell.balance("c1", "test") == 100
        assert shell.differences() == []

    def test_does_not_take_the_order_with_it_that_it_waited_for(self, shell: Shell) -> None:
        inject(shell, DATA_ERROR, table="refunds", key="refund_id")
        shell.receive(refund("bad", "o1"), refund("good", "o1", net="30.00"))
        shell.take(order("o1"))
        assert shell.outcome("completed-o1") == ("posted", None)
        shell.sweep()
        shell.post()
        assert shell.outcome("refunded-good") == ("posted", None)
        assert shell.outcome("refunded-bad") == ("dead", "posting_failed")
        assert (shell.balance(), shell.differences()) == (70, [])

    def test_is_posted_after_a_repair_and_a_retry(self, shell: Shell) -> None:
        inject(shell, DATA_ERROR)
        shell.take(order("bad"))
        shell.execute(NO_FAULT)
        shell.receive_again()
        assert shell.post() == {"posted": 1}
        assert (shell.balance(), shell.differences()) == (100, [])

    def test_that_fails_again_and_again_is_no_crash(self, shell: Shell) -> None:
        inject(shell, DATA_ERROR)
        for n in range(8):
            shell.receive_again()
            shell.take(*([order("bad")] if n == 0 else []))
        assert shell.outcome("completed-bad") == ("dead", "posting_failed")


class TestRace:
    @pytest.mark.parametrize("error", ["unique_violation", "deadlock_detected"])
    def test_that_is_lost_twice_is_run_again_and_no_messages_fault(self, shell: Shell, error: str) -> None:
        inject(shell, TWICE.format(error=error))
        shell.take(*many_and_a_bad_one())
        assert shell.outcomes() == {("posted", None): 42}
        assert shell.differences() == []

    def test_that_is_lost_by_a_message_posted_alone_is_run_again_too(self, shell: Shell) -> None:
        shell.receive(*many_and_a_bad_one())
        shell.execute("INSERT INTO posting_attempts (shard, attempts) SELECT shard, 4 FROM generate_series(0, 3) shard")
        inject(shell, TWICE.format(error="unique_violation"))
        shell.post()
        assert shell.outcomes() == {("posted", None): 42}


class TestOutage:
    @pytest.mark.parametrize("fault", [DISK_FULL, CONNECTION_LOST], ids=["disk full", "connection lost"])
    def test_parks_nothing_and_is_raised_and_is_gone_when_it_is_over(self, shell: Shell, fault: str) -> None:
        inject(shell, fault)
        shell.receive(*many_and_a_bad_one())
        for _ in range(8):  # more often than deaths may be
            with pytest.raises((psycopg.OperationalError, sqlalchemy.exc.OperationalError)):
                shell.post()
        assert shell.value("SELECT count(*) FROM inbox WHERE state = 'dead'") == 0
        shell.execute(NO_FAULT)
        shell.post()
        assert shell.outcomes() == {("posted", None): 42}
        assert shell.differences() == []

    def test_that_cannot_even_be_noted_is_not_counted_as_deaths(self, shell: Shell) -> None:
        inject(shell, DISK_FULL)
        shell.execute(
            "CREATE TRIGGER fault BEFORE UPDATE ON posting_attempts FOR EACH ROW WHEN (NEW.attempts = 0)"
            " EXECUTE FUNCTION fault()"
        )
        shell.receive(order("bad"))
        for _ in range(8):  # more often than deaths may be
            with pytest.raises(psycopg.OperationalError):
                shell.post()
        assert shell.value("SELECT sum(attempts) FROM posting_attempts") == CRASHES_BEFORE_PARKING
        shell.execute(NO_FAULT)
        shell.post()
        assert shell.outcomes() == {("posted", None): 1}

    def test_of_a_schema_that_does_not_fit_parks_nothing(self, own_engine: Engine) -> None:
        shell = Shell(own_engine)
        shell.receive(*many_and_a_bad_one())
        shell.execute("ALTER TABLE entries RENAME COLUMN why TO wherefore")
        with pytest.raises(psycopg.ProgrammingError):
            shell.post()
        assert shell.outcomes() == {("received", None): 42}

    def test_while_messages_are_posted_one_by_one_parks_nothing_either(self, shell: Shell) -> None:
        shell.receive(*many_and_a_bad_one())
        shell.execute("INSERT INTO posting_attempts (shard, attempts) SELECT shard, 4 FROM generate_series(0, 3) shard")
        inject(shell, DISK_FULL)
        with pytest.raises(psycopg.OperationalError):
            shell.post()
        assert {state for state, _ in shell.outcomes()} == {"posted", "received"}


class TestSlowness:
    def test_of_our_own_calculation_parks_the_message_that_takes_so_long_and_no_other(self, database_url: str) -> None:
        orders = HANDLERS["order.completed"]

        def decide(books: Books, message: Message[Any], rules: ProgramRegistry, as_of: datetime) -> Outcome:
            until = time.monotonic() + 1.3
            while message.fact.order_id == "bad" and time.monotonic() < until:
                sum(range(1_000))
            return orders.decide(books, message, rules, as_of)

        engine = create_database_engine(database_url, limits=SessionLimits(idle_seconds_max=1))
        shell = Shell(engine, shards=1, handlers={**HANDLERS, "order.completed": orders._replace(decide=decide)})
        shell.take(*many_and_a_bad_one())
        assert_all_but_the_bad_one_are_posted(shell, "too_heavy")
        engine.dispose()

    def test_of_a_statement_about_many_messages_lets_each_be_posted_alone(self, shell: Shell) -> None:
        inject(shell, "PERFORM pg_sleep(0.06)", key="customer_id")
        shell.receive(*(order(f"o{n}", customer_id="bad") for n in range(20)))
        url = shell.engine.url.render_as_string(hide_password=False)
        engine = create_database_engine(url, limits=SessionLimits(statement_seconds_max=1))
        assert Shell(engine, program_text=None).post() == {"posted": 20}
        engine.dispose()


class TestHeldUp:
    def test_shard_is_left_alone_until_it_can_have_its_rows_and_the_others_go_on(self, shell: Shell) -> None:
        shell.take(order("o1"), order("o2", customer_id="c2"))
        shell.receive(order("o3"), order("o4", customer_id="c2"))
        blocked, free = (message_shard(customer, shell.shards) for customer in ("c1", "c2"))
        assert blocked != free
        with shell.engine.begin() as foreign:
            foreign.execute(text("SELECT 1 FROM accounts WHERE customer_id = 'c1' FOR UPDATE"))
            assert shell.poster.post_batch(blocked, 500).shards == {free}, "taken along, and posted without it"
            shell.receive(order("o5", customer_id="c2"))
            assert shell.poster.post_batch(blocked, 500) == BatchResult(is_busy=True), "nobody waits with it"
            assert shell.poster.post_batch(free, 500).shards == {free}, "it is not taken along meanwhile"
        time.sleep(HELD_UP_SECONDS_MIN)
        shell.receive(order("o6"))
        with shell.engine.begin() as foreign:
            foreign.execute(text("SELECT 1 FROM accounts WHERE customer_id = 'c1' FOR UPDATE"))
            with pytest.raises(psycopg.errors.LockNotAvailable):
                shell.poster.post_batch(blocked, 500)
        while not shell.poster.post_batch(blocked, 500).posted:
            time.sleep(0.05)
        assert shell.outcomes() == {("posted", None): 6}
        assert shell.value("SELECT sum(attempts) FROM posting_attempts") == 0


# Posts in children, each killed by the message `bad` in the middle of its transaction, until one comes through.
DYING_WORKERS = """
import os, sys
from core.posting.handlers import HANDLERS
from core.store.engine import create_database_engine
from tests.turns import has_turn
from tests.shell import Shell
from tests.turns import has_turn

orders = HANDLERS["order.completed"]

def decide(books, message, rules, as_of):
    outcome = orders.decide(books, message, rules, as_of)
    if message.fact.order_id == "bad":
        os._exit(9)
    return outcome

dying = {**HANDLERS, "order.completed": orders._replace(decide=decide)}
deaths = 0
while (pid := os.fork()) and os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
    deaths += 1
    assert deaths < 50
if not pid:
    Shell(create_database_engine(sys.argv[1]), shards=1, program_text=None, handlers=dying).post()
    os._exit(0)
print(deaths)
"""


class TestDeath:
    def test_of_the_process_at_one_message_parks_it_after_a_few_times(self, engine: Engine) -> None:
        shell = Shell(engine, shards=1)
        shell.receive(*many_and_a_bad_one())
        url = engine.url.render_as_string(hide_password=False)
        run = subprocess.run([sys.executable, "-c", DYING_WORKERS, url], capture_output=True, check=True, text=True)
        assert int(run.stdout) <= 12
        assert_all_but_the_bad_one_are_posted(shell, "posting_crashed")

    def test_is_not_what_workers_that_find_their_shard_taken_look_like(self, engine: Engine) -> None:
        shell = Shell(engine, shards=1)
        shell.receive(order())
        with engine.begin() as other:
            assert has_turn(other, Task.POSTING, 0)
            assert {shell.poster.post_batch(0, 500).is_busy for _ in range(10)} == {True}
        assert shell.post() == {"posted": 1}

    def test_is_not_what_many_workers_at_once_look_like(self, engine: Engine) -> None:
        shell = Shell(engine, shards=1)
        shell.receive(*(order(f"o{n}", customer_id=f"c{n % 10}") for n in range(50)))
        url = engine.url.render_as_string(hide_password=False)
        results = []

        def work() -> None:
            own = create_database_engine(url)
            poster = Poster(own, event_source=EVENT_SOURCE, new_account_id=uuid7)
            while shell.value("SELECT count(*) FROM inbox WHERE state = 'received'"):
                results.append(poster.post_batch(0, 5))
            own.dispose()

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (sum(result.posted for result in results), sum(result.parked for result in results)) == (50, 0)
        assert shell.differences() == []


def test_a_shard_that_another_worker_has_is_left_to_it(shell: Shell, engine: Engine) -> None:
    shell.receive(order())
    with engine.begin() as other:
        assert all(has_turn(other, Task.POSTING, shard) for shard in range(shell.shards))
        results = [shell.poster.post_batch(shard, 500) for shard in range(shell.shards)]
    assert [(result.is_busy, result.claimed) for result in results] == [(True, 0)] * shell.shards
    assert shell.post() == {"posted": 1}
