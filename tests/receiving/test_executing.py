"""Commands in process: done at once by whoever asks, once and for ever, beside the workers."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from uuid6 import uuid7

from core.receiving.executing import (
    OPERATOR_SOURCE,
    CommandAccepted,
    CommandAnswer,
    CommandParkedError,
    CommandRejected,
    CommandRequest,
    CommandUndecidedError,
    CommandUnreadableError,
    Executor,
)
from core.store.engine import create_database_engine
from core.store.shards import message_shard
from tests.factories import PROGRAM_TEXT, SOURCE, command, order
from tests.pages import ROOT, blocks
from tests.shell import EVENT_SOURCE, LIMITS, Shell


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def executor_on(shell: Shell) -> Executor:
    return Executor(shell.engine, event_source=EVENT_SOURCE, shards=shell.shards, limits=LIMITS, new_id=uuid7)


@contextmanager
def own_executor(shell: Shell) -> Iterator[Executor]:
    """With connections of its own, as another process has."""
    engine = create_database_engine(shell.engine.url.render_as_string(hide_password=False))
    yield Executor(engine, event_source=EVENT_SOURCE, shards=shell.shards, limits=LIMITS, new_id=uuid7)
    engine.dispose()


@pytest.fixture
def executor(shell: Shell) -> Executor:
    return executor_on(shell)


def credit(points: object = 500, command_id: str | None = None, **more: Any) -> CommandRequest:
    return CommandRequest("credit", {"customer_id": "c1", "points": points, **more}, command_id, SOURCE)


def debit(points: int, command_id: str | None = None, **more: Any) -> CommandRequest:
    return CommandRequest("debit", {"customer_id": "c1", "points": points, **more}, command_id, SOURCE)


def code_of(answer: CommandAnswer) -> str:
    assert isinstance(answer, CommandRejected)
    return answer.data["code"]


@contextmanager
def turn_taken(shell: Shell, customer_id: str = "c1") -> Iterator[None]:
    """Another worker is at the customer's shard."""
    shard = message_shard(customer_id, shell.shards)
    with shell.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO turns VALUES ('posting', :shard) ON CONFLICT DO NOTHING"), {"shard": shard}
        )
    with shell.engine.begin() as connection:
        held = text("SELECT 1 FROM turns WHERE task = 'posting' AND shard = :shard FOR UPDATE")
        connection.execute(held, {"shard": shard})
        yield


class TestExecute:
    def test_it_is_done_when_the_call_returns_and_its_events_are_in_the_outbox(
        self, shell: Shell, executor: Executor
    ) -> None:
        answer = executor.execute(credit(500, reason="late parcel"))
        assert isinstance(answer, CommandAccepted)
        [account], [entry] = answer.data["accounts"], answer.data["entries"]
        assert (account["balance"], entry["points"], answer.data["points"]) == (500, 500, 500)
        assert (answer.data["command_source"], shell.balance()) == (SOURCE, 500)
        assert [event["type"] for event in shell.events()] == [
            "loyalty.account.created",
            "loyalty.balance.changed",
            "loyalty.command.accepted",
        ]
        assert shell.differences() == []

    def test_it_is_rejected_with_a_code_and_advice(self, shell: Shell, executor: Executor) -> None:
        executor.execute(credit(100))
        answer = executor.execute(debit(120))
        assert code_of(answer) == "insufficient_points"
        assert (shell.balance(), shell.differences()) == (100, [])

    def test_what_came_before_on_its_shard_is_posted_before_it(self, shell: Shell, executor: Executor) -> None:
        shell.receive(*(order(f"o{number}", "1.00") for number in range(150)))
        answer = executor.execute(debit(150))
        assert isinstance(answer, CommandAccepted)
        assert (shell.balance(), shell.differences()) == (0, [])

    def test_without_a_source_it_is_the_operators_and_names_its_program(self, executor: Executor) -> None:
        data = {"customer_id": "c1", "points": 5}
        assert code_of(executor.execute(CommandRequest("credit", data))) == "unknown_program"
        answer = executor.execute(CommandRequest("credit", {"program_id": "test", **data}))
        assert isinstance(answer, CommandAccepted)
        assert answer.data["command_source"] == OPERATOR_SOURCE


class TestTheSameAgain:
    def test_it_gets_the_first_answer_and_changes_nothing(self, shell: Shell, executor: Executor) -> None:
        first = executor.execute(credit(500, "k1"))
        executor.execute(debit(200, "k2"))
        again = executor.execute(credit(500, "k1"))
        assert isinstance(again, CommandAccepted)
        assert (first.is_repeated, again.is_repeated, again.data) == (False, True, first.data)
        assert (shell.balance(), shell.differences()) == (300, [])

    def test_so_does_a_rejected_one_and_one_whose_message_is_purged(self, shell: Shell, executor: Executor) -> None:
        first = executor.execute(debit(1, "k1"))
        executor.execute(credit(500))
        shell.execute("DELETE FROM inbox")
        again = executor.execute(debit(1, "k1"))
        assert isinstance(again, CommandRejected)
        assert (again.data, again.is_repeated, shell.balance()) == (first.data, True, 500)

    @pytest.mark.parametrize("is_purged", [False, True])
    def test_other_content_under_its_id_is_rejected(self, shell: Shell, executor: Executor, *, is_purged: bool) -> None:
        executor.execute(credit(500, "k1"))
        if is_purged:
            shell.execute("DELETE FROM inbox")
        assert code_of(executor.execute(credit(501, "k1"))) == "command_conflict"
        assert shell.balance() == 500

    def test_a_time_that_is_said_is_content_too(self, executor: Executor) -> None:
        now = datetime.now(UTC)
        executor.execute(credit(500, "k1")._replace(occurred_at=now))
        later = now + timedelta(seconds=1)
        assert code_of(executor.execute(credit(500, "k1")._replace(occurred_at=later))) == "command_conflict"

    def test_ten_callers_with_one_id_at_once_do_it_once_and_all_have_its_answer(self, shell: Shell) -> None:
        barrier = threading.Barrier(10)

        def ask(_: int) -> CommandAnswer:
            with own_executor(shell) as executor:
                barrier.wait()
                return executor.execute(credit(500, "k1"), timeout_seconds=60)

        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(ask, range(10)))
        assert all(answer.data == answers[0].data for answer in answers)
        assert (shell.balance(), shell.differences()) == (500, [])

    def test_callers_of_one_account_at_once_each_have_their_own_answer(self, shell: Shell, executor: Executor) -> None:
        executor.execute(credit(10))

        def ask(_: int) -> CommandAnswer:
            with own_executor(shell) as own:
                return own.execute(debit(1), timeout_seconds=60)

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(ask, range(20)))
        done = [answer for answer in answers if isinstance(answer, CommandAccepted)]
        assert sorted(answer.data["accounts"][0]["balance"] for answer in done) == list(range(10))
        assert {code_of(answer) for answer in answers if answer not in done} == {"insufficient_points"}
        assert (shell.balance(), shell.differences()) == (0, [])


class TestBesideAWorker:
    def test_one_that_has_the_shard_for_too_long_is_told_of_and_the_command_is_done_later(
        self, shell: Shell, executor: Executor
    ) -> None:
        with turn_taken(shell), pytest.raises(CommandUndecidedError, match="k1 of /shops/test"):
            executor.execute(credit(500, "k1"), timeout_seconds=0.2)
        assert shell.balance() is None
        shell.post()
        assert shell.balance() == 500
        answer = executor.execute(credit(500, "k1"))
        assert isinstance(answer, CommandAccepted)
        assert (answer.is_repeated, shell.balance()) == (True, 500)

    def test_its_answer_is_returned_when_the_other_one_posts_it(self, shell: Shell, executor: Executor) -> None:
        with ThreadPoolExecutor(1) as pool:
            with turn_taken(shell):
                answer = pool.submit(executor.execute, credit(500), timeout_seconds=60)
                while not shell.value("SELECT count(*) FROM inbox"):
                    pass
            assert isinstance(answer.result(), CommandAccepted)

    def test_the_worker_finds_what_a_caller_left_that_died(self, shell: Shell, executor: Executor) -> None:
        with turn_taken(shell), pytest.raises(CommandUndecidedError):
            executor.execute(credit(500, "k1"), timeout_seconds=0)
        assert shell.post() == {"posted": 1}

    def test_one_that_cannot_be_posted_is_parked_and_names_its_message(self, own_engine: Engine) -> None:
        shell = Shell(own_engine)
        executor = executor_on(shell)
        shell.execute("ALTER TABLE entries ADD CHECK (kind <> 'credit')")
        for _ in range(2):
            with pytest.raises(CommandParkedError, match="parked as message 1"):
                executor.execute(credit(500, "k1"))


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("request_", "told"),
        [
            (credit("500"), r"invalid_data.*data\.points"),
            (credit(0), r"invalid_data.*data\.points"),
            (credit(1.5), r"invalid_data.*data\.points"),
            (credit(float("nan")), "not_json"),
            (credit(object()), "not_json"),
            (credit(1, account_id="a1"), "name the account in one way"),
            (CommandRequest("cerdit", {"customer_id": "c1", "points": 1}), "unknown_type"),
            (credit(1)._replace(source=""), "bad_envelope"),
            (credit(1, "x" * 500), "bad_envelope"),
            (credit(1)._replace(occurred_at=datetime(2026, 3, 1)), "bad_envelope.*time"),  # noqa: DTZ001  # that it is
            (credit(1)._replace(occurred_at=datetime(2099, 3, 1, tzinfo=UTC)), "time_in_future"),
        ],
    )
    def test_it_is_told_why_and_nothing_is_stored(
        self, shell: Shell, executor: Executor, request_: CommandRequest, told: str
    ) -> None:
        for call in (executor.execute, executor.preview):
            with pytest.raises(CommandUnreadableError, match=told):
                call(request_)
        assert (shell.value("SELECT count(*) FROM inbox"), shell.events()) == (0, [])


class TestPreview:
    def test_it_is_the_answer_that_the_command_then_gets(self, shell: Shell, executor: Executor) -> None:
        shell.take(order("o1", "100.00"))
        before = executor.preview(debit(30, "k1"))
        assert (shell.balance(), shell.value("SELECT count(*) FROM commands")) == (100, 0)
        done = executor.execute(debit(30, "k1"))
        told = [{k: v for k, v in each.data.items() if k != "recorded_at"} for each in (before, done)]
        assert told[0] == told[1]

    def test_it_writes_nothing_also_where_an_account_would_be_opened(self, shell: Shell, executor: Executor) -> None:
        answer = executor.preview(credit(500))
        assert isinstance(answer, CommandAccepted)
        assert answer.data["accounts"][0]["balance"] == 500
        assert [shell.value(f"SELECT count(*) FROM {table}") for table in ("accounts", "inbox", "outbox")] == [0, 0, 0]

    def test_it_says_what_would_be_rejected(self, executor: Executor) -> None:
        assert code_of(executor.preview(debit(1))) == "unknown_account"

    def test_of_a_known_command_it_is_the_answer_that_it_got(self, shell: Shell, executor: Executor) -> None:
        first = executor.execute(credit(500, "k1"))
        again = executor.preview(credit(500, "k1"))
        assert isinstance(again, CommandAccepted)
        assert (again.data, again.is_repeated) == (first.data, True)
        assert code_of(executor.preview(credit(501, "k1"))) == "command_conflict"
        assert shell.balance() == 500

    def test_it_holds_nobody_up_afterwards(self, shell: Shell, executor: Executor) -> None:
        executor.execute(credit(500))
        executor.preview(debit(30))
        assert shell.take(order("o1")) == {"posted": 1}


def test_a_command_of_a_queue_and_one_in_process_share_their_ids(shell: Shell, executor: Executor) -> None:
    asked = command("credit", "k1", points=500, time="2026-03-01T12:00:00Z")
    request = CommandRequest("credit", asked["data"], "k1", asked["source"])
    executor.execute(request._replace(occurred_at=datetime(2026, 3, 1, 12, tzinfo=UTC)))
    shell.take(asked)
    assert (shell.balance(), len(shell.events("loyalty.command.rejected"))) == (500, 1)
    again = executor.execute(request)
    assert isinstance(again, CommandAccepted)
    assert again.is_repeated


def test_the_example_of_the_page_does_what_it_says(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = PROGRAM_TEXT.replace("program_id: test", "program_id: high-street").replace(
        "/shops/test", "/shops/high-street"
    )
    shell.apply_program(shop)
    monkeypatch.setenv("LOYALTY_DATABASE_URL", shell.engine.url.render_as_string(hide_password=False))
    [example] = blocks(ROOT / "docs" / "commands.md", "python")
    for _ in range(2):
        names: dict[str, Any] = {}
        exec(compile(example, "commands.md", "exec"), names)  # noqa: S102  # our own page
        names["engine"].dispose()
    told = capsys.readouterr().out.splitlines()
    assert (told[:2], told[2:]) == (["500 points given", "not done: insufficient_points"],) * 2
    assert (shell.balance("C-7", "high-street"), shell.differences()) == (500, [])
