"""What is owed at a month's end is kept once, and never moves: what comes late is of the month in which it comes."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from core.domain.accounting.breakage import BreakageHistory
from core.domain.accounting.months import month_of
from core.store.engine import database_now
from core.store.liability import append_snapshot, load_liability, load_snapshot
from core.store.locks import PeriodicTurn, try_periodic_turn
from core.store.programs import load_registry
from core.upkeep.snapshots import SETTLED, next_month_due
from tasks.liability import keep_liability
from tests.factories import PROGRAM_TEXT, command, order, refund
from tests.reading.everything import put_back, with_everything
from tests.shell import Shell
from tests.tasks.runtimes import make_runtime

KEPT = "SELECT program_id, month, as_of, program_version, points_expired, points_spent FROM liability_snapshots"
LINES = "SELECT * FROM liability_lines ORDER BY program_id, month, line_number"
ACTIVITY = "SELECT * FROM activity_lines ORDER BY program_id, month, line_number"


@pytest.fixture
def shell(engine: Engine, months_settle_at_once: None) -> Shell:
    shell = Shell(engine, program_text=None)
    with_everything(shell)
    return shell


def keep(shell: Shell, **over: Any) -> dict[str, Any]:
    return keep_liability(make_runtime(shell.engine, **over))


def kept(shell: Shell) -> tuple[list[Any], list[Any]]:
    return shell.rows(f"{KEPT} ORDER BY program_id, month"), [*shell.rows(LINES), *shell.rows(ACTIVITY)]


def differences(shell: Shell) -> list[str]:
    """Of months alone: in these books everything was put back in time."""
    return [text for text in shell.differences() if "kept are" in text]


def test_each_month_that_is_over_is_kept_once(shell: Shell) -> None:
    assert keep(shell) == {"months": 4, "is_finished": True}, "of two programs two months each"
    before = kept(shell)
    assert len(before[0]) == 4
    assert before[1]
    assert keep(shell) == {"months": 0, "is_finished": True}
    assert kept(shell) == before
    assert differences(shell) == []


def test_what_was_kept_never_moves_and_late_messages_are_of_the_open_month(shell: Shell) -> None:
    keep(shell)
    before = kept(shell)
    shell.take(
        order("late", "500.00", customer_id="c3"), refund("late", "o1"),
        command("reverse", "late", customer_id=None, command_id="k15"),
    )  # fmt: skip
    shell.expire("2098-12-31T00:00:00Z")
    shell.release("2098-12-31T00:00:00Z")
    keep(shell)
    assert kept(shell) == before
    assert differences(shell) == []
    with shell.engine.begin() as connection:
        registry = load_registry(connection)
        first = month_of(registry, "test", before[0][-1].as_of)
        assert first.starts_at == before[0][-1].as_of, "a month is kept as of its end"
        opened = load_liability(connection, registry, "test", datetime.now(UTC))
        snapshot = load_snapshot(connection, registry, "test", month_of(registry, "test", before[0][-2].as_of))
    assert snapshot is not None
    assert snapshot.by_entries != opened.by_entries


def test_a_month_that_was_kept_is_kept_by_nobody_else(shell: Shell) -> None:
    keep(shell)
    before = kept(shell)
    with shell.engine.begin() as connection:
        registry = load_registry(connection)
        month = month_of(registry, "test", shell.value("SELECT min(recorded_at) FROM entries"))
        other = load_liability(connection, registry, "test", month.ends_at, month)
        other.valuation = other.valuation._replace(history=BreakageHistory(points_expired=7, points_spent={}))
        assert append_snapshot(connection, other) is False
    assert kept(shell) == before


def test_a_late_run_keeps_what_a_run_in_time_would_have(shell: Shell) -> None:
    keep(shell)
    in_time = kept(shell)
    shell.execute("DELETE FROM activity_lines")
    shell.execute("DELETE FROM liability_lines")
    shell.execute("DELETE FROM liability_snapshots")
    shell.take(order("o9", "700.00"), refund("r9", "o2"), command("debit", "k99", points=5))
    shell.expire("2098-12-31T00:00:00Z")
    keep(shell)
    assert kept(shell) == in_time
    assert shell.value("SELECT count(DISTINCT month) FROM activity_lines WHERE program_id = 'test'") == 2


def test_a_value_that_a_later_version_gives_a_point_changes_no_month_that_was_kept(shell: Shell) -> None:
    keep(shell)
    shell.apply_program(PROGRAM_TEXT + 'point_value: "3"\n')
    with shell.engine.begin() as connection:
        registry = load_registry(connection)
        month = month_of(registry, "test", shell.value("SELECT min(recorded_at) FROM entries"))
        snapshot = load_snapshot(connection, registry, "test", month)
    assert snapshot is not None
    assert str(snapshot.worth(1_000)) == "5.000"


def test_a_month_is_not_kept_before_what_began_in_it_has_ended(engine: Engine) -> None:
    shell = Shell(engine)
    put_back(shell)
    with engine.begin() as connection:
        registry = load_registry(connection)
        month = month_of(registry, "test", registry.version("test", 1).applied_at)
        assert next_month_due(connection, registry, "test", month.ends_at) is None
        assert next_month_due(connection, registry, "test", month.ends_at + SETTLED) == month
        assert database_now(connection) > month.ends_at


def test_one_worker_at_a_time_keeps_months(shell: Shell) -> None:
    with shell.engine.begin() as other:
        assert try_periodic_turn(other, PeriodicTurn.SNAPSHOT)
        assert keep(shell) == {"months": 0, "is_finished": False}
    assert keep(shell)["months"] == 4


def test_a_run_ends_when_its_time_is_up_and_the_next_goes_on(shell: Shell) -> None:
    assert keep(shell, run_seconds_max=0) == {"months": 1, "is_finished": False}
    assert keep(shell) == {"months": 3, "is_finished": True}


def test_the_runs_leave_nothing_where_there_is_no_program(engine: Engine) -> None:
    assert keep_liability(make_runtime(engine)) == {"months": 0, "is_finished": True}
    with engine.begin() as connection:
        assert connection.execute(text(KEPT)).all() == []
