"""What a role counts, from what tasks and intake tell after their commits."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import values
from sqlalchemy import Engine
from uuid6 import uuid7

from core.domain.outcomes import Reason
from core.errors import EventNotConfirmedError
from core.posting.batch import BatchResult, Poster
from core.posting.tally import CountedOutcome, CountedPoints, Tally
from core.store.shards import ACCOUNT_SHARDS
from tasks.periodic import void_authorizations
from tasks.posting import post_inbox, sweep_inbox
from tasks.relay import relay_outbox
from tests.factories import as_bytes, command, order, refund
from tests.scraped import Scraped, counted
from tests.shell import EVENT_SOURCE, LIMITS, SALT, Shell, take_by_operator
from tests.tasks.runtimes import RecordingPublisher, RecordingRuntime, make_runtime
from tests.workers.test_intake import Source
from workers.intake import Intake, IntakeLimits
from workers.metrics.counting import FOLDER_VARIABLE, Counting, make_room
from workers.metrics.families import COUNTED, OTHER, PROGRAMS_MAX

FAULT = "RAISE EXCEPTION '{text}' USING ERRCODE = '{code}'"
ONCE = "IF nextval(pg_get_serial_sequence('dead_letter_actions', 'action_id')) <= 1 THEN {fault}; END IF"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    make_room(tmp_path, 1)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    yield tmp_path
    values.close_all_multiprocess_files()


@pytest.fixture
def shell(engine: Engine) -> Iterator[Shell]:
    shell = Shell(engine, shards=1)
    yield shell
    shell.execute("DROP FUNCTION IF EXISTS fault CASCADE")


@pytest.fixture
def runtime(engine: Engine, folder: Path) -> RecordingRuntime:
    runtime = make_runtime(engine, watcher=Counting(COUNTED["worker"]), posting_batch_messages=500)
    runtime.poster = Poster(
        engine, event_source=EVENT_SOURCE, new_account_id=uuid7, reference_salt=SALT.encode(), tallies=True
    )
    return runtime


def inject(shell: Shell, fault: str, order_id: str) -> None:
    """Let the database raise `fault` when this order is written."""
    shell.execute(f"CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {fault}; RETURN NEW; END $$")
    shell.execute(
        "CREATE TRIGGER fault BEFORE INSERT ON orders FOR EACH ROW"
        f" WHEN (NEW.order_id = '{order_id}') EXECUTE FUNCTION fault()"
    )


def posted(scraped: Scraped) -> dict[str, float]:
    names = ("posted", "replayed", "waiting", "parked", "rejected")
    found = {name: scraped.sum("loyalty_messages_posted_total", outcome=name) for name in names}
    return {name: value for name, value in found.items() if value}


class TestPosting:
    def test_messages_count_by_type_and_outcome_and_points_by_program_kind_and_direction(
        self, shell: Shell, runtime: RecordingRuntime, folder: Path
    ) -> None:
        shell.receive(order(), order("o2", currency="USD"), refund(net="30.00"), refund("r2", net="20.00"))
        post_inbox(runtime, 0)
        shell.receive(order(event_id="again"))
        post_inbox(runtime, 0)
        found = counted(folder)
        posted_total = {
            (kind, outcome): found.value("loyalty_messages_posted_total", type=kind, outcome=outcome)
            for kind in ("order.completed", "order.refunded")
            for outcome in ("posted", "replayed", "parked")
        }
        assert posted_total == {
            ("order.completed", "posted"): 1,
            ("order.completed", "replayed"): 1,
            ("order.completed", "parked"): 1,
            ("order.refunded", "posted"): 2,
            ("order.refunded", "replayed"): 0,
            ("order.refunded", "parked"): 0,
        }
        labels = {"program": "test", "kind": "accrual"}
        assert found.value("loyalty_points_total", **labels, direction="credited") == 100
        assert found.value("loyalty_points_total", **(labels | {"kind": "clawback"}), direction="debited") == 50
        assert found.value("loyalty_messages_parked_total", reason="wrong_currency") == 1
        assert found.value("loyalty_posting_batch_messages_sum") == 5
        assert found.value("loyalty_posting_batch_seconds_count") == 2

    def test_commands_count_by_verb_and_answer(self, shell: Shell, runtime: RecordingRuntime, folder: Path) -> None:
        shell.poster = runtime.poster
        events = [command("credit", "a", points=50, reason="gift"), command("debit", "b", points=80, reason="gift")]
        for event in (*events, events[0]):
            take_counted(shell, runtime, event)
        found = counted(folder)
        answers = [("credit", "accepted"), ("debit", "insufficient_points")]
        assert [found.value("loyalty_commands_total", verb=verb, answer=answer) for verb, answer in answers] == [1, 1]
        assert found.sum("loyalty_commands_total") == 2

    def test_what_a_batch_that_failed_has_decided_counts_when_it_is_posted_one_by_one_and_once(
        self, shell: Shell, runtime: RecordingRuntime, folder: Path
    ) -> None:
        inject(shell, FAULT.format(text="cannot be", code="data_exception"), "bad")
        shell.receive(order("o1"), order("bad"), order("o2"))
        post_inbox(runtime, 0)
        found = counted(folder)
        assert posted(found) == {"posted": 2, "parked": 1}
        assert found.sum("loyalty_points_total") == 200

    def test_what_is_done_again_after_a_race_counts_once(
        self, shell: Shell, runtime: RecordingRuntime, folder: Path
    ) -> None:
        inject(shell, ONCE.format(fault=FAULT.format(text="lost", code="unique_violation")), "raced")
        shell.receive(order("o1"), order("raced"))
        post_inbox(runtime, 0)
        assert posted(counted(folder)) == {"posted": 2}
        assert counted(folder).sum("loyalty_points_total") == 200

    def test_what_is_not_committed_is_not_counted(self, shell: Shell, runtime: RecordingRuntime, folder: Path) -> None:
        inject(shell, "PERFORM pg_terminate_backend(pg_backend_pid())", "lost")
        shell.receive(order("o1"), order("lost"))
        with pytest.raises(Exception, match=r"terminat|closed"):
            post_inbox(runtime, 0)
        assert posted(counted(folder)) == {}
        assert counted(folder).sum("loyalty_points_total") == 0

    def test_a_poster_that_is_not_to_count_tells_nothing(self, shell: Shell) -> None:
        shell.receive(order())
        assert shell.poster.post_batch(0, 500).tallies == []


def take_counted(shell: Shell, runtime: RecordingRuntime, event: dict[str, Any]) -> None:
    """Receive what somebody hands over who may write to the database, and post it as a task."""
    shell.poster = Poster(shell.engine, event_source=EVENT_SOURCE, new_account_id=uuid7, reference_salt=SALT.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shell, "post", lambda: post_inbox(runtime, 0))
        take_by_operator(shell, event)


class TestUpkeepAndRelay:
    def test_points_that_come_back_at_a_deadline_count_too(
        self, shell: Shell, runtime: RecordingRuntime, folder: Path
    ) -> None:
        shell.take(order())
        take_by_operator(shell, command("authorize", "a", points=40, authorization_id="basket"))
        void_authorizations(runtime, "2090-01-01T00:00:00+00:00")
        void_authorizations(runtime, "2090-01-01T00:00:00+00:00")
        credited = {"program": "test", "kind": "void", "direction": "credited"}
        assert counted(folder).value("loyalty_points_total", **credited) == 40
        assert counted(folder).sum("loyalty_points_total") == 40

    def test_what_waited_too_long_counts_as_parked(self, shell: Shell, runtime: RecordingRuntime, folder: Path) -> None:
        shell.receive(refund())
        shell.execute("UPDATE inbox SET received_at = received_at - interval '40 days'")
        sweep_inbox(runtime)
        assert counted(folder).value("loyalty_messages_parked_total", reason="order_never_came") == 1

    def test_events_count_when_they_are_confirmed_and_a_batch_that_is_not_counts_as_a_failure(
        self, shell: Shell, runtime: RecordingRuntime, folder: Path
    ) -> None:
        shell.take(order())
        publisher = RecordingPublisher()
        runtime.open_publisher = lambda: publisher
        publisher.failure = EventNotConfirmedError(count=2, reason="no")
        (shard,) = {row.account_shard for row in shell.rows("SELECT account_shard FROM outbox")}
        with pytest.raises(EventNotConfirmedError):
            relay_outbox(runtime, shard)
        found = counted(folder)
        assert (found.sum("loyalty_events_published_total"), found.value("loyalty_relay_failures_total")) == (0, 1)
        publisher.failure = None
        for each in range(ACCOUNT_SHARDS):
            relay_outbox(runtime, each)
        found = counted(folder)
        assert found.value("loyalty_events_published_total", type="loyalty.balance.changed") == 1
        assert found.value("loyalty_events_published_total", type="loyalty.account.created") == 1
        assert found.value("loyalty_relay_batch_events_sum") == 2


class TestIntake:
    @pytest.fixture
    def take(self, engine: Engine, folder: Path) -> Callable[..., Scraped]:
        watcher = Counting(COUNTED["intake"])

        def step(*bodies: bytes) -> Scraped:
            limits = IntakeLimits(LIMITS, 500, 0.01, 600, 1)
            source = Source(*bodies)
            intake = Intake(engine, lambda: source, lambda *_: True, limits, event_source=EVENT_SOURCE, watcher=watcher)
            while intake.step(source):
                pass
            return counted(folder)

        return step

    def test_messages_count_by_type_and_by_what_became_of_them(self, take: Callable[..., Scraped]) -> None:
        strange = {**order("o9"), "type": "order.of.somebody@example.com"}
        found = take(
            *map(as_bytes, (order(), order(), refund("r9", "never"), command("credit", "c", points=1), strange)),
            b"no json",
        )
        received = {
            (kind, outcome): value
            for kind in ("order.completed", "order.refunded", "loyalty.command.credit", OTHER)
            for outcome in ("stored", "replayed", "waiting", "rejected", "parked")
            if (value := found.value("loyalty_messages_received_total", type=kind, outcome=outcome))
        }
        assert received == {
            ("order.completed", "stored"): 1,
            ("order.completed", "replayed"): 1,
            ("order.refunded", "waiting"): 1,
            ("loyalty.command.credit", "rejected"): 1,
            (OTHER, "parked"): 2,
        }
        assert found.value("loyalty_commands_total", verb="credit", answer="not_allowed") == 1
        assert found.value("loyalty_messages_parked_total", reason="unknown_type") == 1
        assert found.value("loyalty_messages_parked_total", reason="not_json") == 1
        assert found.value("loyalty_intake_transaction_messages_sum") == 6

    def test_no_label_has_anything_that_a_sender_chose(self, take: Callable[..., Scraped]) -> None:
        secret = "kim@example.com"
        found = take(
            as_bytes({**order(secret, customer_id=secret), "type": secret}),
            as_bytes(order(secret, customer_id=secret, event_id=secret, source=f"/{secret}")),
            as_bytes({**command("credit", secret, points=1), "type": f"loyalty.command.{secret}"}),
        )
        assert found.sum("loyalty_messages_received_total") == 3
        assert [text for text in found.texts() if secret in text] == []


class TestBounds:
    def test_programs_beyond_the_first_hundred_are_counted_together(self, folder: Path) -> None:
        counting = Counting(COUNTED["worker"])
        for number in range(PROGRAMS_MAX + 5):
            tally = Tally()
            tally.points[CountedPoints(f"p{number}", "accrual", True)] = 1
            counting.moved(tally)
        found = counted(folder)
        assert len(found.label_values("loyalty_points_total", "program")) == PROGRAMS_MAX + 1
        assert found.value("loyalty_points_total", program=OTHER, kind="accrual", direction="credited") == 5

    def test_every_reason_is_there_from_the_start_so_that_the_first_one_is_an_increase(self, folder: Path) -> None:
        Counting(COUNTED["intake"])
        reasons = counted(folder).label_values("loyalty_messages_parked_total", "reason")
        assert reasons == {*map(str, Reason), OTHER}

    def test_all_that_a_process_can_count_fits_into_the_room_that_it_has_taken(self, folder: Path) -> None:
        """A file that had to grow on a full disk would end the process."""
        counting = Counting(COUNTED["worker"])
        before = {file.name: file.stat().st_size for file in folder.iterdir()}
        for number in range(PROGRAMS_MAX + 1):
            tally = Tally()
            for kind in ("accrual", "clawback", "expiry", "credit", "redemption"):
                tally.points[CountedPoints(f"program-{number}", kind, True)] = 1
            for code in Reason:
                tally.outcomes[CountedOutcome("order.completed", "parked", code)] = 1
            counting.posted(BatchResult(claimed=1, tallies=[tally]), 0.1)
        assert {file.name: file.stat().st_size for file in folder.iterdir()} == before


COUNT = """
import os, signal, sys
from workers.metrics.counting import Counting
from workers.metrics.families import COUNTED
counting = Counting(COUNTED["worker"])
for _ in range(3):
    counting.ran("loyalty.purge", "done", 1.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_who_takes_the_place_of_a_child_that_was_killed_counts_on_and_there_are_no_more_files(folder: Path) -> None:
    files = sorted(file.name for file in folder.iterdir())
    for _ in range(3):
        process = subprocess.run([sys.executable, "-c", COUNT], check=False, env=os.environ.copy())
        assert process.returncode == -signal.SIGKILL
    assert counted(folder).value("loyalty_task_runs_total", task="loyalty.purge", outcome="done") == 9
    assert counted(folder).value("loyalty_task_seconds_sum", task="loyalty.purge") == 9
    assert sorted(file.name for file in folder.iterdir()) == files


def test_without_room_for_its_files_nothing_is_counted_and_that_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        make_room(tmp_path / "none", 1)
