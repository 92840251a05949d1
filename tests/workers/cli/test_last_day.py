"""Where people read until when something is good, they read its last day; machines read the first instant after it."""

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from core.domain.calendar import next_midnight
from tests.factories import PROGRAM_TEXT, order
from tests.pages import ROOT
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from workers.cli.event_lines import event_line
from workers.cli.output import until_text

#: Cairo and Beirut have days that begin at 01:00, New York and Lord Howe lose and gain hours at other times.
ZONES = ["UTC", "Europe/Berlin", "Africa/Cairo", "Asia/Beirut", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo"]
BERLIN = ZoneInfo("Europe/Berlin")
EXPIRING = PROGRAM_TEXT + "expiry: {policy: fixed_day, day: 12-31}\n"
#: What a person reads of points that expire at the midnight after the last day of a year, and must not read.
LAST_DAY, MIDNIGHT = re.compile(r"31 December 20\d\d"), re.compile(r"01-01|1 January")
UNTIL_2088 = "2088-12-31T23:00:00+00:00"
COMMANDS = {
    "account show": ("account", "show", "c1"),
    "account history": ("account", "history", "c1"),
    "account explain": ("account", "explain", "c1"),
    "account explain --order": ("account", "explain", "c1", "--order", "o1"),
    "lots extend": ("lots", "extend", "--customer", "c1", "--days", "30"),
    "quote": ("quote", "order.json"),
}


@given(day=st.dates(date(1990, 1, 1), date(2090, 1, 1)), zone=st.sampled_from(ZONES))
def test_what_ends_with_a_day_is_good_until_that_day(day: date, zone: str) -> None:
    assert until_text(next_midnight(day, ZoneInfo(zone)), ZoneInfo(zone)) == f"{day.day} {day:%B %Y}"


def test_what_ends_within_a_day_is_good_until_the_minute_before() -> None:
    end = datetime(2026, 11, 29, 17, tzinfo=UTC)
    assert until_text(end, BERLIN) == "29 November 2026 17:59"
    assert until_text(end + timedelta(seconds=30), BERLIN) == "29 November 2026 18:00"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tells_the_last_day(command: str, loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=EXPIRING)
    shell.take(order("o1"))
    shell.execute("UPDATE lots SET expires_at = '2088-12-31T23:00Z'")
    Path("order.json").write_text(json.dumps(order("o2", time=datetime.now(UTC).isoformat())))
    printed = loyalty(*COMMANDS[command])
    assert (printed.code, bool(LAST_DAY.search(printed.out)), MIDNIGHT.findall(printed.out)) == (0, True, [])
    assert '-12-31T23:00:00Z"' in loyalty(*COMMANDS[command], "--json").out, "machines get the instant"


def test_expired_points_and_extended_ones_are_told_by_their_last_day(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"), order("o2"))
    shell.execute("UPDATE lots SET expires_at = '2026-06-01T22:00Z' WHERE origin_id = 'o1'")
    shell.execute("UPDATE lots SET expires_at = '2088-12-31T23:00Z' WHERE origin_id = 'o2'")
    told = loyalty("account", "explain", "c1").out
    assert "100 points could be used until 1 June 2026; the next run of expiry takes them from the balance." in told
    shell.expire("2026-06-02T00:00:00+00:00")
    assert loyalty("lots", "extend", "--customer", "c1", "--days", 1, "--reason", "why", "--apply").code == 0
    told = loyalty("account", "explain", "c1").out
    assert "They could be used until 1 June 2026." in told
    assert "Points that could be used until 31 December 2088 can be used until 1 January 2089, by " in told


def test_a_held_tier_is_told_by_its_last_day(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"))
    hold = ("account", "hold-tier", "c1", "--tier", "gold", "--until", UNTIL_2088, "--reason", "as promised", "--apply")
    for command in (hold, ("account", "show", "c1")):
        assert "until 31 December 2088" in loyalty(*command).out


def test_a_reminder_is_told_by_its_last_minute_in_utc() -> None:
    data = {"program_id": "p", "customer_id": "c", "points": 7, "expires_at": "2026-12-31T23:00:00Z"}
    event = {"type": "loyalty.points.expiring", "time": "2026-11-29T12:00:00Z", "data": data}
    assert "7 points can be used until 31 December 2026 22:59 UTC" in event_line(json.dumps(event).encode())


def test_no_text_is_made_of_an_end_without_asking_for_its_last_day() -> None:
    shown = re.compile(r"time_text\([^()]*(?:expires_at|held_until|ends_at)")
    files = [*ROOT.glob("workers/**/*.py"), *ROOT.glob("core/**/*.py")]
    assert [str(file) for file in files if shown.search(file.read_text())] == []
