"""`loyalty status`: what is under way, and each thing that an operator must look at, with what to do about it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from sqlalchemy import Engine, text

from config.schedule import TICKS
from core.reading.status import load_status
from tests.factories import order, refund
from tests.published import PUBLISH_ALL
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from workers.brokers import open_intake, open_shop_publisher
from workers.cli import status_commands
from workers.heartbeat import beat_heart

ALL_RAN = "INSERT INTO periodic_runs (task, as_of, result) VALUES " + ", ".join(
    f"('{tick.task}', now(), '{{}}')" for tick in TICKS
)
_RUN = "UPDATE periodic_runs SET {} WHERE task = 'loyalty.{}'"


class Case(NamedTuple):
    """What is done to a worker that has no problem, and the words that an operator is to read."""

    problem: str
    statement: str
    words: str  #: a pattern, since time passes while it is read


CASES = [
    Case(
        "inbox_lag",
        "UPDATE inbox SET state = 'received', settled = '{}', settled_at = NULL, received_at = now() - interval '61 s'",
        r"1 message to post, the oldest for 1 min \d+ s\.",
    ),
    Case(
        "outbox_lag",
        "WITH old AS (UPDATE outbox SET created_at = now() - interval '2 h') DELETE FROM relay_positions",
        "2 events to publish, the oldest for 2 h 0 min",
    ),
    Case(
        "dead_letters",
        "UPDATE inbox SET state = 'dead', settled = NULL, reason = 'not_json', settled_at = now()",
        "1 dead letter: not_json 1",
    ),
    Case(
        "message_waits_long",
        "UPDATE inbox SET state = 'waiting', settled = '{}', settled_at = NULL, received_at = now() - interval '25 h'",
        "1 message waits for an order, the oldest for 1 d 1 h",
    ),
    Case(
        "shard_crashes",
        "UPDATE posting_attempts SET attempts = 3",
        "Workers died 3 times in a row while they posted the same messages",
    ),
    Case(
        "task_overdue",
        _RUN.format("finished_at = now() - interval '601 s'", "expire_lots"),
        r"ten of their periods: loyalty\.expire_lots\.",
    ),
    Case(
        "task_overdue",
        "DELETE FROM periodic_runs WHERE task LIKE '%sweep%'; UPDATE programs SET applied_at = now() - interval '61 s'",
        r"loyalty\.sweep_inbox \(never ran\), loyalty\.sweep_outbox \(never ran\)\.",
    ),
    Case(
        "ledger_difference",
        _RUN.format("""result = '{"standing": {"7": "account 7: balance 1"}}'""", "audit_ledger"),
        r"1 difference found by loyalty\.audit_ledger: account 7: balance 1",
    ),
]
IN_TIME = [
    "UPDATE inbox SET state = 'received', settled = '{}', settled_at = NULL, received_at = now() - interval '50 s'",
    "UPDATE inbox SET state = 'waiting', settled = '{}', settled_at = NULL, received_at = now() - interval '23 h'",
    "UPDATE posting_attempts SET attempts = 2",
    _RUN.format("finished_at = now() - interval '50 s'", "sweep_inbox"),
    _RUN.format("finished_at = now() - interval '590 s'", "expire_lots"),
    "DELETE FROM periodic_runs",
]


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """One order, which is through, and all that runs has run."""
    shell.take(order("o1"))
    shell.execute(PUBLISH_ALL)
    shell.execute(ALL_RAN)
    return shell


def test_without_a_problem_it_says_so_and_ends_with_0(loyalty: CommandLine, shell: Shell) -> None:
    printed = loyalty("status")
    assert (printed.code, printed.out.splitlines()[0]) == (0, "No problems.")
    assert loyalty("status", "--json").json["problems"] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.problem)
def test_a_problem_stands_at_the_top_with_what_to_do_and_ends_with_1(
    loyalty: CommandLine, shell: Shell, case: Case
) -> None:
    shell.execute(case.statement)
    printed = loyalty("status")
    heading, problem, mend = printed.out.splitlines()[:3]
    assert (printed.code, heading, mend.startswith("    ")) == (1, "Problems", True)
    assert re.search(case.words, problem), problem
    document = loyalty("status", "--json")
    assert (document.code, [found["name"] for found in document.json["problems"]]) == (1, [case.problem])


class TestIntake:
    """It is seen to stand still from the broker's side, whoever or whatever holds it up."""

    @pytest.fixture
    def shop(
        self, shell: Shell, stream_broker_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Callable[[], None]]:
        """Sends three messages, a minute after the last one was stored."""
        shell.execute("UPDATE inbox SET received_at = now() - interval '61 s'")
        monkeypatch.setenv("LOYALTY_BROKER_URL", stream_broker_url)
        monkeypatch.setattr(status_commands, "_SECOND_LOOK_SECONDS", 0)
        publisher = open_shop_publisher(stream_broker_url)
        yield lambda: publisher.publish([("order.completed", b"{}")] * 3)
        publisher.close()

    def test_what_waits_and_is_not_stored_is_a_problem(self, loyalty: CommandLine, shop: Callable[[], None]) -> None:
        assert "waiting  0" in loyalty("status").out
        shop()
        printed = loyalty("status")
        assert printed.code == 1
        assert re.search(
            r"3 messages wait at the broker, and none has been stored for 1 min \d+ s; no intake takes messages\.",
            printed.out,
        )
        document = loyalty("status", "--json").json
        assert [found["name"] for found in document["problems"]] == ["intake_lag"]
        assert document["queue"] == {"waiting": 3, "intakes": 0, "is_closed": False}

    def test_where_messages_were_stored_of_late_what_waits_is_no_problem(
        self, loyalty: CommandLine, shell: Shell, shop: Callable[[], None]
    ) -> None:
        shop()
        shell.execute("UPDATE inbox SET received_at = now()")
        assert loyalty("status", "--json").json["problems"] == []

    def test_what_goes_on_between_two_looks_is_no_problem(
        self, loyalty: CommandLine, stream_broker_url: str, shop: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop()
        intake = open_intake(stream_broker_url, consumer="one")

        def take_one(_seconds: float) -> None:
            intake.acknowledge(intake.receive(messages_max=1, wait_seconds=9))

        # Of this command alone: a thread that another test has left may sleep as well.
        monkeypatch.setattr(status_commands, "time", SimpleNamespace(sleep=take_one))
        document = loyalty("status", "--json").json
        assert (document["problems"], document["queue"]) == ([], {"waiting": 2, "intakes": 1, "is_closed": False})
        intake.close()

    def test_a_broker_that_is_away_is_a_problem(self, loyalty: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOYALTY_BROKER_URL", "redis://:secret@127.0.0.1:1/0")
        printed = loyalty("status")
        assert "The broker does not answer: " in printed.out
        assert "secret" not in printed.out + printed.err


def test_what_is_within_its_limit_is_no_problem(loyalty: CommandLine, shell: Shell) -> None:
    for statement in IN_TIME:
        shell.execute(statement)
        assert loyalty("status", "--json").json["problems"] == [], statement


def test_the_limits_are_settings(loyalty: CommandLine, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.take(b"{", refund("r1", "o9"))
    shell.receive(order("o2"))
    shell.execute("UPDATE inbox SET received_at = now() - interval '2 h'")
    shell.execute(PUBLISH_ALL)
    names = ("inbox_lag", "dead_letters", "message_waits_long")
    monkeypatch.setenv("LOYALTY_WAITING_ALARM_HOURS", "1")
    assert tuple(found["name"] for found in loyalty("status", "--json").json["problems"]) == names
    monkeypatch.setenv("LOYALTY_WAITING_ALARM_HOURS", "3")
    monkeypatch.setenv("LOYALTY_LAG_ALARM_SECONDS", "9000")
    monkeypatch.setenv("LOYALTY_DEAD_ALARM_MESSAGES", "1")
    assert loyalty("status").code == 0


def test_where_nothing_is_posted_and_the_chains_key_is_not_set_that_is_said(
    loyalty: CommandLine, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.receive(order("o2"))
    shell.execute("UPDATE inbox SET received_at = now() - interval '2 h'")
    shell.execute(PUBLISH_ALL)

    def found() -> set[str]:
        return {problem["name"] for problem in loyalty("status", "--json").json["problems"]}

    assert found() == {"inbox_lag"}
    shell.execute("INSERT INTO account_salts SELECT account_id, 'salt' FROM accounts LIMIT 1")
    assert found() == {"inbox_lag", "chain_key_missing"}
    monkeypatch.setenv("LOYALTY_CHAIN_KEY", "a key that nobody can guess: made up of words")
    assert found() == {"inbox_lag"}


@pytest.mark.parametrize("is_json", [True, False])
def test_it_counts_what_is_there_and_what_is_under_way(loyalty: CommandLine, shell: Shell, is_json: bool) -> None:
    shell.take(refund("r9", "o9"), b"{")
    shell.receive(order("o2"))
    if is_json:
        document = loyalty("status", "--exact", "--json").json
        assert document["inbox"] == {
            "received": 1,
            "waiting": 1,
            "posted": 1,
            "replayed": 0,
            "rejected": 0,
            "dead": 1,
            "dropped": 0,
        }
        assert (document["messages"], document["accounts"], document["orders"], document["entries"]) == (4, 1, 1, 1)
        assert (document["estimated"], document["dead"]) == ([], {"not_json": 1})
        assert (document["received"]["rows"], document["unpublished"]["rows"]) == (1, 1)
        assert document["received"]["oldest_age_seconds"] >= 0
        (shard,) = document["shards"]
        assert (shard["rows"], shard["attempts"], shard["oldest_age_seconds"] >= 0) == (1, 0, True)
        assert {run["task"]: run["is_overdue"] for run in document["periodic_runs"]} == dict.fromkeys(
            (tick.task for tick in TICKS), False
        )
    else:
        shown = loyalty("status").out
        assert "received  1, the oldest for" in shown
        assert "dead      1 (loyalty dead list)" in shown
        assert not re.search("shard|_after", shown, re.IGNORECASE), "what it keeps for itself is in --json"
        assert "loyalty.sweep_inbox" in shown


def test_a_large_inbox_is_not_read_unless_exact_counts_are_wanted(
    loyalty: CommandLine, own_engine: Engine, own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOYALTY_DATABASE_URL", own_database_url)
    shell = Shell(own_engine)
    shell.execute("ALTER TABLE inbox SET (autovacuum_enabled = false)")
    shell.take(order("o1"))
    shell.execute(
        "INSERT INTO inbox (inbox_id, source, event_id, type, body, state, settled_at)"
        " SELECT 1000 + n, '/shops/test', 'x' || n, 'order.completed', convert_to(repeat('x', 1500), 'UTF8'), 'posted',"
        " now()"
        " FROM generate_series(1, 12000) AS n"
    )
    shell.execute("UPDATE numbers SET next_number = 20000 WHERE name = 'inbox'")
    shell.receive(order("o2"), refund("r9", "o9"), b"{")
    document = loyalty("status", "--json").json
    assert (document["messages"], document["inbox"]["posted"]) == (None, None), "there are no statistics yet"
    assert "not known yet; --exact counts them" in loyalty("status").out
    shell.execute("ANALYZE inbox")
    with own_engine.begin() as connection:
        status = load_status(connection)
        read = "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'inbox'"
        sequential, by_index = connection.execute(text(read)).one()
    assert (sequential, by_index < 20) == (0, True)
    assert (status.received.rows, status.waiting.rows, status.dead) == (1, 1, {"not_json": 1})
    assert status.totals["messages"] == pytest.approx(12_004, rel=0.1)
    assert (status.estimated, status.totals["orders"]) == (["messages"], 1)
    assert "in all    about 12,0" in loyalty("status").out
    exact = loyalty("status", "--exact", "--json").json
    assert (exact["estimated"], exact["messages"], exact["inbox"]["posted"]) == ([], 12_004, 12_001)


def test_health_says_what_is_wrong_first_and_ends_with_1(loyalty_alone: CommandLine, tmp_path: Path) -> None:
    heart = tmp_path / ".loyalty" / "heartbeats" / "beat.heartbeat"
    heart.parent.mkdir(parents=True)
    beat_heart(str(heart))
    assert loyalty_alone("health", "live") == (0, "ok    role beat\n", "")
    asked = loyalty_alone("health", "ready", "--role", "beat")
    assert asked.code == 1
    assert [line.split(":")[0] for line in asked.out.splitlines()] == [
        "FAIL  database",
        "FAIL  broker",
        "ok    role beat",
    ]
    document = loyalty_alone("health", "live", "--role", "worker", "--json")
    assert (document.code, document.json["is_well"]) == (1, False)
    assert document.json["findings"][0]["subject"] == "role worker"
