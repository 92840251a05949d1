"""`loyalty upkeep`: a person may ask for what beat asks for, also for another instant, and looks at it first."""

import pytest
from sqlalchemy import Engine

from core.store.locks import PeriodicTurn, try_periodic_turn
from core.store.shards import ACCOUNT_SHARDS
from tests.factories import PROGRAM_TEXT, order
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from workers.cli.upkeep_command import DueTask

PROGRAM = PROGRAM_TEXT + (
    "expiry: {policy: after_months, months: 1}\n"
    "qualification: {window: calendar_year, warning_days: 30}\n"
    "reminders: {days_ahead: [30]}\n"
)
FUTURE = "2190-01-01T00:00:00+01:00"


@pytest.fixture
def shell(engine: Engine) -> Shell:
    """Three silver customers with 600 points each that are good for a long time."""
    shell = Shell(engine, program_text=PROGRAM)
    shell.take(*(order(f"o{n}", "600.00", customer_id=f"c{n}") for n in range(3)))
    shell.execute("UPDATE lots SET expires_at = '2189-06-30T22:00:00Z'")
    shell.execute("UPDATE accounts SET tier_until = '2189-12-31T23:00:00Z'")
    return shell


def state(shell: Shell) -> list[object]:
    tables = ("accounts", "lots", "entries", "tier_changes", "outbox", "reminders", "periodic_runs")
    return [shell.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]  # our own names


@pytest.mark.parametrize("task", DueTask)
def test_without_apply_every_task_only_tells_what_it_would_do(
    loyalty: CommandLine, shell: Shell, task: DueTask
) -> None:
    before = state(shell)
    assert loyalty("upkeep", task, "--as-of", FUTURE).code == 0
    assert loyalty("upkeep", task, "--as-of", "2189-06-15T00:00:00Z").code == 0
    assert loyalty("upkeep", task).code == 0
    assert state(shell) == before


def test_a_look_into_the_future_names_the_events_and_says_that_nothing_brings_it_back(
    loyalty: CommandLine, shell: Shell
) -> None:
    printed = loyalty("upkeep", "expire_lots", "--as-of", FUTURE).out
    assert "expire_lots as of 2189-12-31 23:00:00Z would change 3 accounts." in printed
    assert "3 events loyalty.balance.changed of -1,800 points in all" in printed
    assert "in the future: what is due by then would be done now, and nothing brings it back" in printed
    assert f"To do it: loyalty upkeep expire_lots --as-of {FUTURE} --apply" in printed
    document = loyalty("upkeep", "review_tiers", "--as-of", FUTURE, "--json").json
    assert (document["accounts"], document["is_applied"], document["is_complete"]) == (3, False, True)
    assert document["events"] == [{"type": "loyalty.tier.changed", "events": 3, "points": None}]


def test_with_apply_it_is_done_and_keeps_who_asked(loyalty: CommandLine, shell: Shell) -> None:
    before = shell.differences()  # the dates above, which nothing gave
    printed = loyalty("upkeep", "expire_lots", "--as-of", FUTURE, "--apply", "--by", "Kim")
    assert printed.out == "expire_lots as of 2189-12-31 23:00:00Z: 3 accounts changed.\n"
    assert [shell.balance(f"c{n}") for n in range(3)] == [0, 0, 0]
    [kept] = shell.rows("SELECT subject, rebuilt, applied_by FROM repairs")
    assert (kept.subject, kept.rebuilt["accounts"], kept.applied_by) == ("loyalty.expire_lots", 3, "Kim")
    assert loyalty("upkeep", "expire_lots", "--as-of", FUTURE).out.endswith("Nothing is due.\n")
    assert sorted(shell.differences()) == sorted(before)


@pytest.mark.parametrize(
    "instant", ["0001-01-01T00:00:00+14:00", "1899-12-31T23:59:59Z", "2201-01-01T00:00:00Z", "now"]
)
def test_an_instant_that_no_person_can_mean_is_refused(loyalty: CommandLine, shell: Shell, instant: str) -> None:
    printed = loyalty("upkeep", "expire_lots", "--as-of", instant)
    assert printed.code == 2
    assert f"--as-of {instant} is not a time" in printed.err
    assert "The year is from 1900 to 2200" in " ".join(printed.err.split())


def test_what_others_hold_is_told_as_left_and_not_as_not_due(loyalty: CommandLine, shell: Shell) -> None:
    with shell.engine.begin() as foreign:
        foreign.exec_driver_sql("SELECT 1 FROM accounts WHERE customer_id IN ('c1', 'c2') FOR UPDATE")
        printed = loyalty("upkeep", "expire_lots", "--as-of", FUTURE)
        assert "would change at least 1 account." in printed.out
        assert printed.out.endswith("2 accounts are in use just now, and left out; ask again.\n")
        printed = loyalty("upkeep", "expire_lots", "--as-of", FUTURE, "--apply", "--by", "Kim")
        assert (printed.code, printed.out.splitlines()[1:]) == (
            1, ["2 accounts are in use just now, and left out; ask again."],
        )  # fmt: skip
        printed = loyalty("upkeep", "expire_lots", "--as-of", FUTURE, "--apply", "--by", "Kim")
        assert (printed.code, "Nothing is due" in printed.out) == (1, False)
    assert [kept.rebuilt["accounts"] for kept in shell.rows("SELECT rebuilt FROM repairs")] == [1]
    document = loyalty("upkeep", "expire_lots", "--as-of", FUTURE, "--apply", "--by", "Kim", "--json").json
    assert (document["accounts"], document["in_use"], document["is_complete"]) == (2, 0, True)


@pytest.mark.parametrize("task", DueTask)
def test_no_task_calls_finished_what_it_could_not_look_at(loyalty: CommandLine, shell: Shell, task: DueTask) -> None:
    instant = "2189-06-15T00:00:00Z" if task in {DueTask.REMIND, DueTask.WARN_TIERS} else FUTURE
    due = loyalty("upkeep", task, "--as-of", instant, "--json").json
    with shell.engine.begin() as foreign:
        foreign.exec_driver_sql("SELECT 1 FROM accounts FOR UPDATE")
        document = loyalty("upkeep", task, "--as-of", instant, "--json").json
    assert (document["accounts"], document["is_complete"]) == (0, not due["accounts"])
    assert (document["in_use"] > 0) is (due["accounts"] > 0)


def test_what_another_worker_is_at_is_told_as_left(loyalty: CommandLine, shell: Shell) -> None:
    with shell.engine.begin() as other:
        assert all(try_periodic_turn(other, PeriodicTurn.EXPIRY, shard) for shard in range(ACCOUNT_SHARDS))
        for more in ((), ("--apply", "--by", "Kim")):
            printed = loyalty("upkeep", "expire_lots", "--as-of", FUTURE, *more)
            assert printed.out.endswith(
                "A worker is doing the same just now, and what it is at is left out; ask again.\n"
            )
            assert "Nothing is due" not in printed.out
    assert shell.rows("SELECT 1 FROM repairs") == []
