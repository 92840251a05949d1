"""`loyalty upkeep`: a person may ask for what beat asks for, also for another instant, and looks at it first."""

import pytest
from sqlalchemy import Engine

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
