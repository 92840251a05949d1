"""`loyalty account explain`: points that wait, parcels, and lines that were cancelled."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from core.posting.events import EventContext
from core.store.shards import ACCOUNT_SHARDS
from core.upkeep.due_batches import release_batch
from tests.factories import PROGRAM_TEXT, cancellation, fulfilment, line, order
from tests.shell import Shell
from tests.workers.cli.command_line import CommandLine
from tests.workers.cli.explanations import explained, order_explained


def test_pending_points_are_told_with_when_they_become_available(loyalty: CommandLine, engine: Engine) -> None:
    held = "availability: {policy: after_days, days: 10}\nexpiry: {policy: after_days, days: 30}\n"
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + held)
    now = datetime.now(UTC).replace(microsecond=0)
    shell.take(order("o1", time=now.isoformat()))
    told = explained(loyalty)
    available = (now + timedelta(days=10)).astimezone(ZoneInfo("Europe/Berlin"))
    assert told["summary"][:2] == [
        "The balance is 0 points.",
        f"100 pending points will be available on {available:%Y-%m-%d %H:%M}.",
    ]
    assert "Not available yet, but pending: 100 points." in told["entries"][0]["sentences"]
    release(shell, now + timedelta(days=11))
    _, released = explained(loyalty)["entries"]
    assert "The waiting time ended, which made available 100 points: balance 100, 0 pending." in released["headline"]
    assert released["sentences"] == ["Pending until then."]


def test_points_that_wait_for_fulfilment_are_told_so(loyalty: CommandLine, engine: Engine) -> None:
    held = "availability: {policy: on_fulfilled}\nexpiry: {policy: after_days, days: 3000}\n"
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + held)
    shell.take(order("o1"))
    assert explained(loyalty)["summary"][1:3] == [
        "100 pending points will be available when their order is fulfilled.",
        "How long 100 points can be used is counted from the day on which they become available.",
    ]
    shown = loyalty("account", "show", "c1").out
    assert "when the order is fulfilled  counted from then" in shown
    assert "100, not available yet" in shown
    assert "100 pending; recorded" in loyalty("account", "history", "c1").out
    told = loyalty("account", "explain", "c1", "--order", "o1").out
    assert "pending, available when the order is fulfilled; how long they can be used is counted from then." in told
    shell.take(fulfilment("o1"))
    assert "Order o1 was fulfilled, which made available 100 points" in explained(loyalty)["entries"][1]["headline"]


def test_parcels_are_told_with_what_waits_for_the_rest(loyalty: CommandLine, engine: Engine) -> None:
    held = "availability: {policy: on_fulfilled}\nexpiry: {policy: after_days, days: 3000}\n"
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + held)
    shell.take(order("o1", lines=[line("1", "60.00"), line("2", "40.00", 2)]))
    shell.take(fulfilment("o1", lines=[{"line_id": "1", "quantity": 1}], time="2026-03-06T12:00:00+01:00"))
    _, released = explained(loyalty)["entries"]
    assert (
        "A part of order o1 was fulfilled, which made available 60 points: balance 60, 40 pending"
        in (released["headline"])
    )
    assert released["sentences"] == ["What is fulfilled of it earns 60 points; 40 wait for the rest."]
    told = loyalty("account", "explain", "c1", "--order", "o1").out
    assert "Of it, line 1 (1 piece) was fulfilled at 2026-03-06 12:00." in told
    assert "60 points of it are left: available;" in told
    assert "40 points of it are left: pending, available when the rest of the order is fulfilled;" in told
    document = order_explained(loyalty, "o1")
    assert document["fulfilled_parts"][0]["lines"] == [{"line_id": "1", "quantity": "1"}]
    assert document["fulfilled_at"] is None


def test_parcels_whose_points_wait_for_some_days_are_told_so(loyalty: CommandLine, engine: Engine) -> None:
    held = "availability: {policy: days_after_fulfilment, days: 3000}\n"
    shell = Shell(engine, shards=16, program_text=PROGRAM_TEXT + held)
    shell.take(order("o1", lines=[line("1", "60.00"), line("2", "40.00", 2)]))
    shell.take(fulfilment("o1", lines=[{"line_id": "1"}]))
    told = explained(loyalty)
    assert "was fulfilled, which makes available some days later 60 points" in told["entries"][1]["headline"]
    assert "40 pending points will be available 3,000 days after their order is fulfilled." in told["summary"]


def test_cancelled_lines_are_told_beside_the_refunds(loyalty: CommandLine, shell: Shell) -> None:
    shell.take(order("o1", lines=[line("1", "60.00"), line("2", "40.00", 2)]))
    shell.take(cancellation("o1", lines=[{"line_id": "2", "quantity": 1}], time="2026-03-04T12:00:00+01:00"))
    shell.take(cancellation("o1", event_id="rest", time="2026-03-05T12:00:00+01:00"))
    _, part, rest = explained(loyalty)["entries"]
    assert "1 line of order o1 was cancelled, which took back 20 points" in part["headline"]
    assert part["sentences"][0] == "The order earns 80 without what is cancelled, 100 before it."
    assert "Order o1 was cancelled, which took back 80 points" in rest["headline"]
    told = order_explained(loyalty, "o1")
    assert [text.partition("  ")[2].partition(":")[0] for text in told["refunds"]] == [
        "Cancelled line 2 (1 piece)",
        "Cancelled",
    ]


def release(shell: Shell, as_of: datetime) -> None:
    for shard in range(ACCOUNT_SHARDS):
        with shell.engine.begin() as connection:
            release_batch(connection, shard, as_of, 10, EventContext("/loyalty", as_of), None)
