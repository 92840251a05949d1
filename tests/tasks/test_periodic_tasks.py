"""Periodic tasks: all that is due at an instant, in bounded steps, and a record of what the last run found."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError
from structlog.testing import capture_logs

from core.store.shards import ACCOUNT_SHARDS
from core.upkeep.runs import last_runs
from tasks.periodic import audit_ledger, expire_lots, review_tiers
from tasks.runtime import Runtime
from tests.factories import PROGRAM_TEXT, order
from tests.shell import Shell
from tests.tasks.runtimes import make_runtime

UPKEEP = "qualification: {window: calendar_year}\nexpiry: {policy: after_months, months: 1}\n"

NOTHING_IN_USE = {"in_use": 0, "shards_in_use": 0}


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """Ten silver customers of 2024, whose points have expired long since."""
    shell = Shell(engine, program_text=PROGRAM_TEXT + UPKEEP)
    shell.take(*(order(f"o{n}", "600.00", customer_id=f"c{n}", time="2024-05-01T12:00:00Z") for n in range(10)))
    return shell


def runs(engine: Engine) -> dict[str, Any]:
    with engine.begin() as connection:
        return {run["task"]: run for run in last_runs(connection)}


each_task = pytest.mark.parametrize("task", [expire_lots, review_tiers])


@each_task
def test_every_task_does_all_that_is_due_and_records_it(shell: Shell, engine: Engine, task: Any) -> None:
    runtime = make_runtime(engine)
    result = task(runtime, "2026-02-01T00:00:00+01:00")
    assert (result["is_finished"], result["accounts"] >= 10) == (True, True)
    run = runs(engine)[f"loyalty.{task.__name__}"]
    assert (run["result"], run["as_of"]) == (result, datetime(2026, 1, 31, 23, tzinfo=UTC))
    assert {nudged for nudged, _ in runtime.nudges} == {"loyalty.relay_outbox"}
    assert shell.differences() == []


@each_task
def test_every_task_does_nothing_the_second_time(shell: Shell, engine: Engine, task: Any) -> None:
    task(make_runtime(engine), "2026-02-01T00:00:00Z")
    before = len(shell.events())
    runtime = make_runtime(engine)
    assert task(runtime, "2026-02-01T00:00:00Z") == {"accounts": 0, **NOTHING_IN_USE, "is_finished": True}
    assert (len(shell.events()), runtime.nudges) == (before, [])


@each_task
def test_every_task_takes_the_present_instant_when_none_is_given(shell: Shell, engine: Engine, task: Any) -> None:
    assert task(make_runtime(engine))["accounts"] >= 10


@each_task
def test_every_task_does_nothing_before_its_time(shell: Shell, engine: Engine, task: Any) -> None:
    assert task(make_runtime(engine), "2024-05-02T00:00:00Z")["accounts"] == 0


@each_task
def test_every_task_goes_on_at_the_next_tick_when_its_time_is_up(shell: Shell, engine: Engine, task: Any) -> None:
    runtime: Runtime = make_runtime(engine, run_seconds_max=0, upkeep_batch_rows=1)
    results = [task(runtime, "2024-12-31T23:30:00Z")]
    assert results[0] == {"accounts": 1, **NOTHING_IN_USE, "is_finished": False}
    while not results[-1]["is_finished"]:
        results.append(task(runtime, "2024-12-31T23:30:00Z"))
    assert sum(result["accounts"] for result in results) == 10
    assert shell.differences() == []


@each_task
def test_every_task_refuses_an_instant_without_offset_or_of_a_year_that_nobody_means(
    shell: Shell, engine: Engine, task: Any
) -> None:
    for instant in ("2026-02-01T00:00:00", "0001-01-01T00:00:00+14:00", "1899-12-31T23:59:59Z", "2201-01-01T00:00:00Z"):
        with pytest.raises(ValueError, match="as_of needs an offset and a year from 1900 to 2200"):
            task(make_runtime(engine), instant)
    with pytest.raises(IntegrityError, match="ck_periodic_runs_as_of"):
        shell.execute("INSERT INTO periodic_runs (task, as_of, result) VALUES ('t', '0001-01-01 BC', '{}')")


def test_the_audit_goes_round_the_account_shards_one_per_run(shell: Shell, engine: Engine) -> None:
    runtime = make_runtime(engine)
    audited = [audit_ledger(runtime)["account_shard"] for _ in range(ACCOUNT_SHARDS + 2)]
    assert audited == [*range(ACCOUNT_SHARDS), 0, 1]


def test_the_audit_of_a_large_shard_goes_on_where_the_last_run_stopped(
    shell: Shell, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One account a run, since the time is always up; each difference is found once on the way round."""
    monkeypatch.setattr("tasks.periodic._AUDITED_ENTRIES_MAX", 1)
    monkeypatch.setattr("tasks.periodic.monotonic", count(0, 100).__next__)
    shell.execute("UPDATE accounts SET lifetime_points = lifetime_points + 1")
    runtime = make_runtime(engine)
    results = [audit_ledger(runtime)]
    while results[-1]["account_shard"] < ACCOUNT_SHARDS - 1 or results[-1]["after"] is not None:
        results.append(audit_ledger(runtime))
    assert {result["accounts"] for result in results} <= {0, 1}
    assert len({text for result in results for text in result["differences"]}) == 10
    assert sum(len(result["differences"]) for result in results) == sum(result["accounts"] for result in results) == 10


def test_the_audit_goes_past_accounts_that_take_too_long_and_says_so(shell: Shell, engine: Engine) -> None:
    largest = shell.value("SELECT account_shard FROM accounts GROUP BY 1 ORDER BY count(*) DESC LIMIT 1")
    runtime = make_runtime(engine, run_seconds_max=0.05)
    with engine.begin() as connection, capture_logs() as logs:
        connection.exec_driver_sql("LOCK TABLE entries IN ACCESS EXCLUSIVE MODE")
        result = audit_ledger(runtime, largest)
    assert result["accounts"] == 0
    assert result["skipped"] > 1
    assert [(log["action"], log["accounts"]) for log in logs] == [("audit_skipped", result["skipped"])]
    following = audit_ledger(runtime)
    assert (following["account_shard"], following["accounts"], following["after"]) == (largest, 0, None)


def test_the_audit_finds_nothing_on_a_clean_ledger(shell: Shell, engine: Engine) -> None:
    results = [audit_ledger(make_runtime(engine)) for _ in range(ACCOUNT_SHARDS)]
    assert [result["differences"] for result in results] == [[]] * ACCOUNT_SHARDS


def test_the_audit_logs_and_keeps_what_it_finds(shell: Shell, engine: Engine) -> None:
    shell.execute("UPDATE accounts SET balance = balance + 1 WHERE customer_id = 'c3'")
    damaged = shell.value("SELECT account_shard FROM accounts WHERE customer_id = 'c3'")
    with capture_logs() as logs:
        result = audit_ledger(make_runtime(engine), damaged)
    assert "balance 601" in result["differences"][0]
    assert {(log["action"], log["log_level"]) for log in logs} == {("ledger_difference", "error")}
    assert runs(engine)["loyalty.audit_ledger"]["result"] == result


def test_what_the_audit_found_stands_until_the_account_is_audited_again_and_right(shell: Shell, engine: Engine) -> None:
    def standing_after_a_round() -> set[str]:
        for shard in range(ACCOUNT_SHARDS):
            result = audit_ledger(make_runtime(engine), shard)
        return set(result["standing"])

    damaged = {
        str(row.account_id) for row in shell.rows("SELECT account_id FROM accounts ORDER BY customer_id LIMIT 4")
    }
    shell.execute("UPDATE accounts SET balance = balance + 1 WHERE account_id::text = ANY(:ids)", ids=list(damaged))
    assert standing_after_a_round() == damaged
    repaired = max(damaged)
    shell.execute("UPDATE accounts SET balance = balance - 1 WHERE account_id::text = :id", id=repaired)
    assert standing_after_a_round() == damaged - {repaired}
