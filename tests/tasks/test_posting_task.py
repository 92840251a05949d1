"""Posting tasks: drain a shard, and find what a lost nudge left."""

from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine
from uuid6 import uuid7

from core.errors import BrokerUnavailableError, EventNotConfirmedError
from core.posting.batch import Poster
from core.posting.handlers import HANDLERS, Outcome
from core.store.locks import Task
from core.store.posting_turns import FEW_MESSAGES_MAX
from core.store.shards import message_shard
from core.upkeep.runs import last_run
from tasks.posting import post_inbox, sweep_inbox
from tests.factories import order, refund
from tests.published import COUNT_UNPUBLISHED
from tests.shell import EVENT_SOURCE, Shell
from tests.tasks.runtimes import RecordingPublisher, make_runtime
from tests.turns import has_turn

NOTHING = {"posted": 0, "replayed": 0, "waiting": 0, "parked": 0, "rejected": 0}


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def unpublished(shell: Shell) -> int:
    return int(shell.value(COUNT_UNPUBLISHED))


def account_shards(shell: Shell) -> set[int]:
    return {row.account_shard for row in shell.rows("SELECT account_shard FROM outbox")}


class TestPostInbox:
    def test_posts_batch_after_batch_until_its_shard_is_empty(self, shell: Shell, engine: Engine) -> None:
        shell.receive(*(order(f"o{n}") for n in range(8)), order("o1", event_id="again"), order("x", currency="USD"))
        counts = post_inbox(make_runtime(engine), message_shard("c1", 4))
        assert counts == {"posted": 8, "replayed": 1, "waiting": 0, "parked": 1, "rejected": 0}
        assert shell.differences() == []

    def test_leaves_other_shards_alone(self, shell: Shell, engine: Engine) -> None:
        shell.receive(order())
        other = (message_shard("c1", 4) + 1) % 4
        assert post_inbox(make_runtime(engine), other) == NOTHING
        assert shell.outcome("completed-o1") == ("received", None)

    def test_publishes_at_once_what_it_has_posted(self, shell: Shell, engine: Engine) -> None:
        shell.receive(*(order(f"o{n}", customer_id=f"c{n}") for n in range(20)))
        publisher = RecordingPublisher()
        runtime = make_runtime(engine, lambda: publisher, posting_batch_messages=100)
        for shard in range(4):
            post_inbox(runtime, shard)
        assert (len(publisher.events), runtime.nudges, unpublished(shell)) == (40, [], 0)

    def test_leaves_publishing_to_the_relay_in_a_backlog(self, shell: Shell, engine: Engine) -> None:
        shell.receive(*(order(f"o{n}", customer_id=f"c{n}") for n in range(20)))
        publisher = RecordingPublisher()
        runtime = make_runtime(engine, lambda: publisher, posting_batch_messages=1)
        for shard in range(4):
            post_inbox(runtime, shard)
        assert {shard for _, shard in runtime.nudges} == account_shards(shell)
        assert {task for task, _ in runtime.nudges} == {"loyalty.relay_outbox"}
        assert publisher.events == []

    @pytest.mark.parametrize(
        "failure",
        [
            BrokerUnavailableError(where="redis://there", reason="refused"),
            EventNotConfirmedError(count=1, reason="the queue is full"),
        ],
        ids=lambda failure: type(failure).__name__,
    )
    def test_posts_on_while_the_broker_takes_nothing_and_tries_it_once(
        self, shell: Shell, engine: Engine, failure: Exception
    ) -> None:
        shell.receive(*(order(f"o{n}", customer_id=f"c{n}") for n in range(20)))
        publisher = RecordingPublisher()
        publisher.failure = failure
        runtime = make_runtime(engine, lambda: publisher, posting_batch_messages=100)
        posted = [post_inbox(runtime, shard)["posted"] for shard in range(4)]
        assert (sum(posted), len(publisher.batches), unpublished(shell)) == (20, 1, 40)
        assert {shard for _, shard in runtime.nudges} == account_shards(shell)

    def test_hands_over_to_a_new_nudge_when_its_time_is_up(self, shell: Shell, engine: Engine) -> None:
        shell.receive(*(order(f"o{n}") for n in range(8)))
        shard = message_shard("c1", 4)
        runtime = make_runtime(engine, run_seconds_max=0)
        assert post_inbox(runtime, shard) == {**NOTHING, "posted": 3}
        assert ("loyalty.post_inbox", shard) in runtime.nudges

    def test_posts_every_shard_that_it_is_asked_for(self, shell: Shell, engine: Engine) -> None:
        shell.receive(*(order(f"o{n}", customer_id=f"c{n % 20}") for n in range(2 * FEW_MESSAGES_MAX)))
        assert post_inbox(make_runtime(engine), *range(4)) == {**NOTHING, "posted": 2 * FEW_MESSAGES_MAX}
        assert shell.differences() == []

    def test_posts_the_other_shards_it_is_asked_for_when_the_first_is_taken(self, shell: Shell, engine: Engine) -> None:
        shell.receive(order(), order("o2", customer_id="c2"))
        taken, free = message_shard("c1", 4), message_shard("c2", 4)
        with engine.begin() as other:
            assert has_turn(other, Task.POSTING, taken)
            assert post_inbox(make_runtime(engine), taken, free) == {**NOTHING, "posted": 1}
        assert shell.outcome("completed-o1") == ("received", None)

    def test_posts_what_has_come_meanwhile_for_a_shard_that_was_taken_along(self, shell: Shell, engine: Engine) -> None:
        own, along = message_shard("c1", 4), message_shard("c2", 4)
        assert own != along
        shell.take(order(), order("o2", customer_id="c2"))
        shell.receive(order("o3"), order("o4", customer_id="c2"))
        orders = HANDLERS["order.completed"]
        late = [order("o5", customer_id="c2")]

        def decide(*given: Any) -> Outcome:
            while late:
                shell.receive(late.pop())
                assert post_inbox(make_runtime(engine), along) == NOTHING, "who brought it finds the shard taken"
            return orders.decide(*given)

        runtime = make_runtime(engine, posting_batch_messages=100)
        handlers = {**HANDLERS, "order.completed": orders._replace(decide=decide)}
        runtime.poster = Poster(engine, event_source=EVENT_SOURCE, new_account_id=uuid7, handlers=handlers)
        assert post_inbox(runtime, own) == {**NOTHING, "posted": 3}
        assert shell.outcomes() == {("posted", None): 5}

    def test_does_nothing_beside_another_run(self, shell: Shell, engine: Engine) -> None:
        shell.receive(order())
        with engine.begin() as other:
            assert has_turn(other, Task.POSTING, message_shard("c1", 4))
            runtime = make_runtime(engine)
            assert post_inbox(runtime, message_shard("c1", 4)) == NOTHING
        assert runtime.nudges == []

    def test_fails_when_the_database_does_and_the_messages_stay(self, own_engine: Engine) -> None:
        shell = Shell(own_engine)
        shell.receive(order())
        shell.execute("ALTER TABLE lots RENAME TO lost")
        with pytest.raises(psycopg.ProgrammingError):
            post_inbox(make_runtime(own_engine), message_shard("c1", 4))
        assert shell.outcome("completed-o1") == ("received", None)


class TestSweepInbox:
    def test_nudges_every_shard_that_has_received_messages(self, shell: Shell, engine: Engine) -> None:
        shell.receive(*(order(f"o{n}", customer_id=f"c{n}") for n in range(10)), refund("r", "unknown"))
        runtime = make_runtime(engine)
        expected = sorted({message_shard(f"c{n}", 4) for n in range(10)})
        assert sweep_inbox(runtime) == {"shards": expected, "woken": 0, "overdue": 0}
        assert runtime.nudges == [("loyalty.post_inbox", shard) for shard in expected]

    def test_wakes_refunds_whose_order_came_and_nudges_their_shard(self, shell: Shell, engine: Engine) -> None:
        shell.take(order())
        shell.receive(refund())
        shell.execute("UPDATE inbox SET state = 'waiting', shard = NULL WHERE event_id = 'refunded-r1'")
        shard = message_shard("c1", 4)
        assert sweep_inbox(make_runtime(engine)) == {"shards": [shard], "woken": 1, "overdue": 0}
        assert post_inbox(make_runtime(engine), shard)["posted"] == 1

    def test_parks_refunds_that_waited_too_long(self, shell: Shell, engine: Engine) -> None:
        shell.receive(refund())
        shell.execute("UPDATE inbox SET received_at = now() - interval '3 days'")
        assert sweep_inbox(make_runtime(engine, waiting_days_max=2))["overdue"] == 1
        assert shell.outcome("refunded-r1") == ("dead", "order_never_came")

    def test_keeps_that_it_ran_though_not_each_second(self, shell: Shell, engine: Engine) -> None:
        def kept() -> list[Any]:
            return [tuple(row) for row in shell.rows("SELECT task, finished_at FROM periodic_runs")]

        sweep_inbox(make_runtime(engine))
        first = kept()
        assert [task for task, _ in first] == ["loyalty.sweep_inbox"]
        sweep_inbox(make_runtime(engine))
        assert kept() == first
        shell.execute("UPDATE periodic_runs SET finished_at = finished_at - interval '11 seconds'")
        sweep_inbox(make_runtime(engine))
        assert kept()[0][1] >= first[0][1]

    def test_goes_on_where_it_stopped_when_many_wait(self, shell: Shell, engine: Engine) -> None:
        shell.receive(*(refund(f"r{n}", f"o{n}") for n in range(10)))
        afters = []
        for _ in range(4):
            sweep_inbox(make_runtime(engine, posting_batch_messages=4))
            afters.append(shell.value("SELECT (result->>'after')::bigint FROM periodic_runs"))
        first = shell.value("SELECT min(inbox_id) FROM inbox")
        assert afters == [first + 3, first + 7, 0, first + 3]

    def test_a_second_sweep_leaves_the_waiting_to_the_one_that_is_at_it(self, shell: Shell, engine: Engine) -> None:
        sweep_inbox(make_runtime(engine))
        shell.receive(refund())
        shell.execute("UPDATE inbox SET received_at = now() - interval '3 days'")
        with engine.begin() as connection:
            assert last_run(connection, "loyalty.sweep_inbox") is not None
            assert sweep_inbox(make_runtime(engine, waiting_days_max=2))["overdue"] == 0
        assert sweep_inbox(make_runtime(engine, waiting_days_max=2))["overdue"] == 1

    def test_tells_of_messages_that_wait_long_once_in_an_hour(
        self, shell: Shell, engine: Engine, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def told() -> list[str]:
            shell.execute("UPDATE periodic_runs SET finished_at = finished_at - interval '11 seconds'")
            sweep_inbox(make_runtime(engine, waiting_alarm_hours=5))
            return [line for line in capsys.readouterr().out.splitlines() if "message_waits_long" in line]

        shell.receive(refund("r1", "o1"), refund("r2", "o2"), refund("r3", "o3"))
        assert told() == []
        shell.execute("UPDATE inbox SET received_at = now() - interval '6 hours' WHERE event_id <> 'refunded-r3'")
        (line,) = told()
        assert "messages=2 oldest_seconds=21" in line
        assert told() == []
        shell.execute(
            "UPDATE periodic_runs SET result = result || jsonb_build_object('told_at', now() - interval '61 minutes')"
        )
        assert len(told()) == 1

    def test_a_shard_beyond_todays_number_is_swept_and_posted_too(self, shell: Shell, engine: Engine) -> None:
        shell.receive(order())
        shell.execute("UPDATE inbox SET shard = 900")
        assert sweep_inbox(make_runtime(engine))["shards"] == [900]
        assert post_inbox(make_runtime(engine), 900)["posted"] == 1
