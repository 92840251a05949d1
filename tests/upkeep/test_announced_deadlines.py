"""Deadlines of authorizations that are near: told of once, whoever runs it, and however late."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from core.domain.accounting.months import month_of
from core.posting.events import EventContext
from core.store.programs import load_registry
from core.upkeep.deadlines import announce_batch, shards_with_near_deadlines, void_batch
from core.upkeep.retention import purge_reminders
from core.upkeep.runs import BatchDone
from core.upkeep.snapshots import keep_month
from tests.factories import PROGRAM_TEXT, command, order, refund
from tests.posting.test_authorizations import authorize, capture, void
from tests.posting.test_posted_commands import TRUSTED
from tests.shell import EVENT_SOURCE, Shell

DAY = 24


@pytest.fixture
def shell(engine: Engine) -> Shell:
    shell = Shell(engine, limits=TRUSTED)
    shell.take(command("credit", "g1", points=500))
    return shell


def before(shell: Shell, hours: float, authorization_id: str = "a1") -> str:
    """The instant that is so long before the deadline."""
    deadline = shell.value(f"SELECT expires_at FROM authorizations WHERE authorization_id = '{authorization_id}'")
    assert isinstance(deadline, datetime)
    return (deadline - timedelta(hours=hours)).isoformat()


def told(shell: Shell) -> list[tuple[Any, ...]]:
    events = [event["data"] for event in shell.events("loyalty.authorization.expiring")]
    return [(data["authorization_id"], data["points_held"], data["customer_id"]) for data in events]


def test_it_is_told_of_once_a_day_before_its_deadline(shell: Shell) -> None:
    shell.take(authorize())
    assert (shell.announce(before(shell, DAY + 0.1)), told(shell)) == (0, [])
    assert (shell.announce(before(shell, DAY)), told(shell)) == (1, [("a1", 120, "c1")])
    assert (shell.announce(before(shell, 1)), told(shell)) == (0, [("a1", 120, "c1")])
    [event] = shell.events("loyalty.authorization.expiring")
    assert event["id"].endswith(":authorization:a1:expiring")
    assert (event["data"]["command_id"], event["data"]["command_source"]) == ("k1", "/shops/test")
    assert datetime.fromisoformat(event["data"]["expires_at"]) == datetime.fromisoformat(before(shell, 0))
    assert shell.differences() == []


def test_a_late_run_tells_of_what_it_still_holds_and_of_nothing_past_its_deadline(shell: Shell) -> None:
    shell.take(authorize(), capture("k2", points=20, is_final=False))
    assert shell.announce(before(shell, 0)) == 0
    assert (shell.announce(before(shell, 0.01)), told(shell)) == (1, [("a1", 100, "c1")])


@pytest.mark.parametrize("closing", [capture("k2"), void("k2")])
def test_nothing_is_told_of_one_that_holds_nothing_any_more(shell: Shell, closing: dict[str, Any]) -> None:
    shell.take(authorize())
    shell.take(closing)
    assert (shell.announce(before(shell, 1)), told(shell)) == (0, [])


@pytest.mark.parametrize(("hours", "count"), [(DAY - 1, 0), (DAY, 0), (DAY + 1, 1)])
def test_nothing_is_told_of_one_that_lasts_no_longer(shell: Shell, hours: int, count: int) -> None:
    shell.take(authorize(expires_in_seconds=hours * 3600))
    assert shell.announce(before(shell, 0.5)) == count


@pytest.mark.parametrize(("ahead", "told_hours"), [(0, None), (2, 2), (100, 100)])
def test_the_program_says_how_long_ahead(engine: Engine, ahead: int, told_hours: int | None) -> None:
    program = PROGRAM_TEXT + f"reminders: {{authorization_hours_ahead: {ahead}}}\n"
    shell = Shell(engine, limits=TRUSTED, program_text=program)
    shell.take(command("credit", "g1", points=500), authorize())
    assert shell.announce(before(shell, (told_hours or 0) + 0.01)) == 0
    assert shell.announce(before(shell, told_hours or 0.01)) == (0 if told_hours is None else 1)


def test_beats_side_by_side_tell_once(shell: Shell, engine: Engine) -> None:
    shell.take(authorize())
    as_of = datetime.fromisoformat(before(shell, 1))
    with engine.connect() as connection:
        registry = load_registry(connection)
        [shard] = shards_with_near_deadlines(connection, as_of, 256, registry)
    context = EventContext(EVENT_SOURCE, as_of)
    with engine.begin() as first, engine.begin() as second:
        assert announce_batch(first, shard, as_of, 500, registry, context) == BatchDone(1)
        assert announce_batch(second, shard, as_of, 500, registry, context) is None
    with engine.begin() as third:
        assert shards_with_near_deadlines(third, as_of, 256, registry) == []
        assert announce_batch(third, shard, as_of, 500, registry, context) == BatchDone(0)
    assert told(shell) == [("a1", 120, "c1")]


def test_of_many_some_at_a_time(shell: Shell) -> None:
    shell.take(*(authorize(f"k{n}", points=1, authorization_id=f"a{n}") for n in range(5)))
    assert shell.announce(before(shell, 1, "a4"), rows_max=2) == 5
    assert len(set(told(shell))) == 5


def test_a_clawback_of_part_of_it_changes_what_is_told(engine: Engine) -> None:
    shell = Shell(engine, limits=TRUSTED, program_text=PROGRAM_TEXT + "clawback: {takes_reserved: true}\n")
    shell.take(order(), authorize(points=100))
    shell.take(refund(lines=[{"line_id": "1", "net": "40.00"}]))
    shell.announce(before(shell, 1))
    assert told(shell) == [("a1", 60, "c1")]


def test_neither_purging_nor_keeping_a_month_holds_up_a_deadline(shell: Shell) -> None:
    now = datetime.now(UTC)
    context = EventContext(EVENT_SOURCE, now)
    with shell.engine.begin() as purging, shell.engine.begin() as keeping, shell.engine.begin() as other:
        registry = load_registry(other)
        assert purge_reminders(purging, now, 10) == 0
        assert keep_month(keeping, registry, "test", month_of(registry, "test", now - timedelta(days=40)))
        assert void_batch(other, 0, now, 10, registry, context, None) == BatchDone(0), (
            "none is due, and it was looked for"
        )
        assert announce_batch(other, 0, now, 10, registry, context) == BatchDone(0)
