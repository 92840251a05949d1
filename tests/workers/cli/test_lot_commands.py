"""`loyalty lots extend`: points that last longer than their program says."""

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, order
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

EXPIRY = 'expiry: {policy: fixed_day, day: "02-28", months: 756}\n'  # of orders of 1 March 2026


@pytest.fixture
def ending(engine: Engine) -> Shell:
    """Three customers with 100, 200 and 300 points that end on the last day of February 2090."""
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + EXPIRY)
    for n in (1, 2, 3):
        shell.take(order(f"o{n}", f"{n}00.00", customer_id=f"c{n}"))
    return shell


def ends(shell: Shell) -> dict[str, str]:
    statement = (
        "SELECT customer_id, to_char(expires_at AT TIME ZONE 'Europe/Berlin', 'YYYY-MM-DD HH24:MI') AS ends"
        " FROM lots JOIN accounts USING (account_id) ORDER BY 1"
    )
    return {row.customer_id: row.ends for row in shell.rows(statement)}


def test_without_apply_it_counts_and_shows_a_sample(loyalty: CommandLine, ending: Shell) -> None:
    document = loyalty("lots", "extend", "--program", "test", "--days", 30, "--json").json
    assert (document["accounts"], document["lots"], document["points"]) == (3, 3, 600)
    assert document["sample"][0]["new_expires_at"] == "2090-03-30T22:00:00Z"
    text = loyalty("lots", "extend", "--program", "test", "--days", 30).out
    assert "Would be extended: 3 lots of 3 accounts, 600 points. Nothing is changed" in text
    assert set(ends(ending).values()) == {"2090-03-01 00:00"}
    assert ending.rows("SELECT * FROM repairs") == []


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        (["--to", "2090-03-31"], "2090-04-01 00:00"),
        (["--days", "31"], "2090-04-01 00:00"),
        (["--days", "1"], "2090-03-02 00:00"),
    ],
)
def test_with_apply_lots_end_at_a_local_midnight_as_before(
    loyalty: CommandLine, ending: Shell, arguments: list[str], end: str
) -> None:
    by_kim = ("--reason", "long winter", "--by", "Kim", "--apply")
    printed = loyalty("lots", "extend", "--program", "test", *arguments, *by_kim)
    assert "Extended: 3 lots of 3 accounts, 600 points." in printed.out
    assert set(ends(ending).values()) == {end}
    assert ending.differences() == []
    kept = ending.rows("SELECT subject, reason, applied_by FROM repairs")
    assert {tuple(row) for row in kept} == {("lot 1", "long winter", "Kim")}
    told = loyalty("account", "explain", "c1").out
    assert "Points that could be used until 28 February 2090 can be used until" in told
    assert "2090, by Kim (long winter)." in told


def test_an_event_tells_of_each_account_whose_points_last_longer_and_of_no_person(
    loyalty: CommandLine, ending: Shell
) -> None:
    ending.take(order("o4", "50.00", customer_id="c1"))
    extend = ("lots", "extend", "--to", "2090-03-31", "--reason", "for Kim's mother", "--by", "Kim", "--apply")
    for customer in ("c1", "c2", "c1"):
        assert loyalty(*extend, "--customer", customer).code == 0
    events = ending.events("loyalty.points.extended")
    told = [(event["data"]["customer_id"], event["data"]["ends"]) for event in events]
    ends = {"previous_expires_at": "2090-02-28T23:00:00Z", "expires_at": "2090-03-31T22:00:00Z"}
    assert told == [("c1", [{"points": 150, **ends}]), ("c2", [{"points": 200, **ends}])]
    assert "Kim" not in str(events)
    assert ending.differences() == []


@pytest.mark.parametrize(
    ("chosen", "extended"),
    [
        (["--customer", "c2"], {"c2"}),
        (["--program", "test", "--expiring-before", "2090-02-28T23:59:59+01:00"], set()),
        (["--program", "test", "--expiring-before", "2090-03-01T00:00:00+01:00"], {"c1", "c2", "c3"}),
        (["--earned-by", "birthday"], {"c3"}),
        (["--program", "test", "--earned-by", ""], {"c1", "c2"}),
    ],
)
def test_only_the_chosen_lots_are_extended(
    loyalty: CommandLine, ending: Shell, chosen: list[str], extended: set[str]
) -> None:
    ending.execute("UPDATE lots SET earned_by = 'birthday' WHERE points_granted = 300")
    assert loyalty("lots", "extend", *chosen, "--days", 1, "--reason", "why", "--apply").code == 0
    assert {customer for customer, end in ends(ending).items() if end == "2090-03-02 00:00"} == extended


def test_nothing_is_shortened_and_nothing_that_has_ended_comes_back(loyalty: CommandLine, ending: Shell) -> None:
    ending.execute("UPDATE lots SET expires_at = now() - interval '1 second' WHERE points_granted = 100")
    ending.execute("UPDATE lots SET expires_at = NULL WHERE points_granted = 200")
    before = ends(ending)
    printed = loyalty("lots", "extend", "--program", "test", "--to", "2080-01-01", "--reason", "why", "--apply")
    assert "1 lot lasts that long already: unchanged." in printed.out
    assert "Nothing to extend" in printed.out
    assert ends(ending) == before


def test_a_last_day_can_be_given_again_and_changes_nothing_more(loyalty: CommandLine, ending: Shell) -> None:
    for lots in (3, 0):
        document = loyalty(
            "lots", "extend", "--program", "test", "--to", "2090-12-31", "--reason", "why", "--apply", "--json"
        ).json
        assert document["lots"] == lots
    assert len(ending.rows("SELECT * FROM repairs")) == 3


def test_many_accounts_are_changed_a_few_at_a_time(
    loyalty: CommandLine, ending: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.mending.lot_extensions._ACCOUNTS_AT_ONCE", 1)
    monkeypatch.setattr("workers.cli.lot_commands._SHOWN_MAX", 2)
    printed = loyalty("lots", "extend", "--program", "test", "--days", 1, "--reason", "why", "--apply")
    assert "Shown are the first 2." in printed.out
    assert "Extended: 3 lots of 3 accounts" in printed.out
    assert len(ending.rows("SELECT DISTINCT applied_at FROM repairs")) == 3


def test_pending_points_with_an_end_last_longer_too(loyalty: CommandLine, engine: Engine) -> None:
    held = "availability: {policy: after_days, days: 3000}\nexpiry: {policy: after_days, days: 3000}\n"
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + held)
    shell.take(order("o1"))
    assert loyalty("lots", "extend", "--customer", "c1", "--days", 1, "--json").json["points"] == 100


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (["--days", "1"], 2, "Say which lots"),
        (["--customer", "c1"], 2, "Say until when"),
        (["--customer", "c1", "--days", "1", "--to", "2090-01-01"], 2, "Say until when"),
        (["--customer", "c1", "--days", "0"], 2, "greater than or equal to 1"),
        (["--customer", "c1", "--days", "99999999999"], 2, "36500"),
        (["--customer", "c1", "--to", "tomorrow"], 2, "is not a day"),
        (["--customer", "c1", "--to", "9999-12-31"], 2, "at most 100 years ahead"),
        (["--customer", "c1", "--days", "1", "--expiring-before", "2090-01-01"], 2, "is not a time"),
        (["--customer", "c1", "--days", "1", "--reason", " "], 2, "Say why with --reason"),
        (["--program", "nope", "--days", "1"], 2, "programs here: test"),
        (["--customer", "nobody", "--days", "1"], 1, "no account of customer nobody"),
    ],
)
def test_wrong_use_is_refused_with_what_is_right(
    loyalty: CommandLine, ending: Shell, arguments: list[str], code: int, error: str
) -> None:
    printed = loyalty("lots", "extend", "--reason", "why", *arguments, "--apply")
    assert (printed.code, error in printed.err) == (code, True)
    assert set(ends(ending).values()) == {"2090-03-01 00:00"}
