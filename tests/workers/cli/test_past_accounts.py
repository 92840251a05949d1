"""`--as-of`: an account as it was recorded at an instant of the past."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.factories import PROGRAM_TEXT, cancellation, fulfilment, line, order, refund
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine

HELD = PROGRAM_TEXT + "availability: {policy: on_fulfilled}\nexpiry: {policy: after_months, months: 600}\n"


def shown(loyalty: CommandLine, as_of: datetime | str) -> dict[str, Any]:
    [account] = loyalty("account", "show", "c1", "--as-of", _text(as_of), "--json").json["accounts"]
    return dict(account)


def _text(as_of: datetime | str) -> str:
    return as_of if isinstance(as_of, str) else as_of.isoformat()


def now(shell: Shell) -> datetime:
    instant = shell.value("SELECT clock_timestamp()")
    assert isinstance(instant, datetime)
    return instant


def test_a_past_balance_is_that_of_the_last_entry_that_was_recorded(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=HELD)
    instants = []
    for message in (
        order("o1", "600.00"),
        order("o2", "50.00", time="2026-03-02T12:00:00+01:00"),
        fulfilment("o1"),
        refund("r1", "o1", net="90.00"),
        cancellation("o2"),
        order("o3", "10.00", time="2026-02-01T12:00:00+01:00"),
        fulfilment("o3"),
    ):
        shell.take(message)
        instants.append(now(shell))
    entries = {row.sequence: row for row in shell.rows("SELECT * FROM entries")}
    for sequence, instant in enumerate(instants, start=1):
        account = shown(loyalty, instant)
        last = entries[sequence]
        assert account["sequence"] == sequence
        assert (account["balance"], account["pending"]) == (last.balance_after, last.pending_after)
        assert account["lifetime_points"] == last.lifetime_points_after
        pending = sum(lot["points_remaining"] for lot in account["lots"] if lot["is_pending"])
        available = sum(lot["points_remaining"] for lot in account["lots"] if not lot["is_pending"])
        assert (available - account["deficit"], pending) == (last.balance_after, last.pending_after)
    assert (
        shown(loyalty, instants[-1])["lots"] == loyalty("account", "show", "c1", "--json").json["accounts"][0]["lots"]
    )


def test_a_lot_of_the_past_waited_for_fulfilment_and_had_no_end_yet(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=HELD)
    shell.take(order("o1"))
    before = now(shell)
    shell.take(fulfilment("o1"))
    [lot] = shown(loyalty, before)["lots"]
    assert (lot["is_pending"], lot["available_at"], lot["expires_at"]) == (True, None, None)
    assert "when the order is fulfilled" in loyalty("account", "show", "c1", "--as-of", before.isoformat()).out


@pytest.mark.parametrize("days", ["on_fulfilled", "days_after_fulfilment, days: 3000"])
def test_parcels_of_the_past_held_what_they_hold(loyalty: CommandLine, engine: Engine, days: str) -> None:
    shell = Shell(engine, shards=16, program_text=HELD.replace("on_fulfilled", days))
    instants = []
    for message in (
        order("o1", lines=[line("1", "60.00"), line("2", "40.00", 2)]),
        fulfilment("o1", lines=[{"line_id": "1"}]),
        refund("r1", "o1", lines=[{"line_id": "1", "quantity": 1}]),
        fulfilment("o1", event_id="second", lines=[{"line_id": "2", "quantity": 1}]),
    ):
        shell.take(message)
        instants.append(now(shell))
        assert shell.differences() == []
    held = [[(lot["points_remaining"], lot["is_pending"]) for lot in shown(loyalty, at)["lots"]] for at in instants]
    is_later = days != "on_fulfilled"
    assert [sorted(lots) for lots in held] == [
        [(100, True)],
        sorted([(40, True), (60, is_later)]),
        [(40, True)],
        sorted([(20, True), (20, is_later)]),
    ]
    told = loyalty("account", "explain", "c1", "--order", "o1", "--as-of", _text(instants[1])).out
    assert "60 points of it are left" in told
    assert "40 points of it are left: pending, available when the rest of the order is fulfilled" in told
    account = shown(loyalty, instants[-1])
    assert account["lots"] == loyalty("account", "show", "c1", "--json").json["accounts"][0]["lots"]


def test_the_past_tier_is_the_one_that_was_recorded(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "100.00"))
    first = now(shell)
    shell.take(order("o2", "600.00", time="2026-03-02T12:00:00+01:00"))
    second = now(shell)
    shell.take(order("o3", "2000.00", time="2026-03-03T12:00:00+01:00"))
    assert (shown(loyalty, first)["tier"], shown(loyalty, first)["tier_since"]) == ("bronze", None)
    assert (shown(loyalty, second)["tier"], shown(loyalty, second)["tier_since"]) == ("silver", "2026-03-02T11:00:00Z")
    text = loyalty("account", "show", "c1", "--as-of", second.isoformat()).out
    assert "as it was recorded at" in text
    assert "Next tier" not in text, "what counted then is not kept"


def test_history_and_explanation_end_with_the_last_entry_of_then(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", "100.00"))
    then = now(shell)
    shell.take(refund("r1", "o1", net="40.00"))
    for command in ("history", "explain"):
        [account] = loyalty("account", command, "c1", "--as-of", then.isoformat(), "--json").json["accounts"]
        assert ([entry["sequence"] for entry in account["entries"]], account["entries_in_all"]) == ([1], 1)
    printed = loyalty("account", "explain", "c1", "--order", "o1", "--as-of", then.isoformat(), "--json")
    [told] = printed.json["orders"]
    assert (told["points_now"], told["refunds"], len(told["entries"])) == (100, [], 1)
    text = loyalty("account", "explain", "c1", "--as-of", then.isoformat()).out
    assert "The balance was 100 points." in text


def test_an_extended_lot_is_shown_everywhere_with_the_end_that_it_had(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"))
    shell.execute("UPDATE lots SET expires_at = '2090-01-01T00:00:00Z'")
    first = now(shell)
    assert loyalty("lots", "extend", "--customer", "c1", "--days", 5, "--reason", "why", "--apply").code == 0
    second = now(shell)
    assert loyalty("lots", "extend", "--customer", "c1", "--days", 5, "--reason", "why", "--apply").code == 0
    ends = [shown(loyalty, instant)["lots"][0]["expires_at"] for instant in (first, second, now(shell))]
    assert ends == ["2090-01-01T00:00:00Z", "2090-01-06T00:00:00Z", "2090-01-11T00:00:00Z"]
    for command in (["history"], ["explain"], ["explain", "--order", "o1"]):
        for instant, end in zip((first, second), ends, strict=False):
            name, *only = command
            printed = loyalty("account", name, "c1", *only, "--as-of", instant.isoformat(), "--json")
            [told] = printed.json["orders" if only else "accounts"]
            assert told["entries"][0]["lots"][0]["expires_at"] == end


def test_history_of_the_past_has_lots_that_are_empty_by_now(loyalty: CommandLine, engine: Engine) -> None:
    shell = Shell(engine, shards=16, program_text=HELD)
    shell.take(order("o1"), order("o2"), refund("r1", "o1"))
    then = now(shell)
    shell.take(fulfilment("o2"))
    [account] = loyalty("account", "history", "c1", "--as-of", then.isoformat(), "--json").json["accounts"]
    moves = [
        (move["lot_number"], move["points"], move["expires_at"])
        for entry in account["entries"]
        for move in entry["lots"]
    ]
    assert sorted(moves) == [(1, -100, None), (1, 100, None), (2, 100, None)], "their end was not known before"


def test_before_its_first_order_a_customer_had_no_account(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1"))
    printed = loyalty("account", "show", "c1", "--as-of", "2020-01-01T00:00:00Z")
    assert printed.code == 1
    assert "had no account at 2020-01-01 00:00:00Z: the first was opened at" in printed.err


@pytest.mark.parametrize("command", ["show", "history", "explain"])
@pytest.mark.parametrize(
    ("as_of", "error"),
    [
        ("yesterday", "is not a time"),
        ("2026-03-01", "is not a time"),
        ("2026-03-01T12:00:00", "is not a time"),
        ("0001-01-01T00:00:00+14:00", "is not a time"),
        ("2199-01-01T00:00:00+00:00", "is in the future"),
    ],
)
def test_a_time_that_cannot_be_asked_for_is_wrong_use(
    loyalty: CommandLine, shell: Shell, command: str, as_of: str, error: str
) -> None:
    shell.take(order("o1"))
    printed = loyalty("account", command, "c1", "--as-of", as_of)
    assert (printed.code, error in printed.err) == (2, True)
