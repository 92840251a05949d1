"""A mended event in the place of a dead letter: whatever was wrong with the letter, and whatever id the new one has."""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Engine

from core.mending.dead_letters import MendOutcome, RetryLimits
from core.mending.letters import load_actions, load_letter
from core.mending.replacing import replace_letter
from tests.factories import as_bytes, line, order, refund
from tests.shell import EVENT_SOURCE, LIMITS, Shell

FIX = RetryLimits(LIMITS, shards=4, event_source=EVENT_SOURCE, waiting_days_max=30)


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


class Case(NamedTuple):
    """What came first, the letter that is to be fixed (the newest dead one), and what it is replaced by."""

    name: str
    before: tuple[Any, ...]
    mended: Any


def broken_line(**over: Any) -> dict[str, Any]:
    return order("o1", lines=[{**line(), **over}])


POSTED = [
    Case("a cut-off text", (as_bytes(order("o1"))[:-9],), order("o1")),
    Case("an amount that was a number, under the id that it had", (broken_line(amount=12.5),), order("o1")),
    Case("an amount that was a number, under a new id", (broken_line(amount=12.5),), order("o1", event_id="new")),
    Case("no id", ({**order("o1"), "id": ""},), order("o1")),
    Case("another type", ({**order("o1"), "type": "order.complete"},), order("o1")),
    Case("a program that never was, under the id that it had", (order("o1", program_id="nope"),), order("o1")),
    Case("the wrong currency", (order("o1", currency="USD"),), order("o1")),
    Case("a conflict, under a new id", (order("o0"), order("o0", "7.00")), order("o1", event_id="new")),
    Case(
        "an order id that was taken",
        (order("o0"), order("o0", event_id="x", currency="USD")),
        order("o1", event_id="x"),
    ),
    Case(
        "a line that the order has not",
        (order("o0"), refund("r", "o0", lines=[{"line_id": "9", "quantity": 1}])),
        refund("r", "o0", lines=[{"line_id": "1", "net": "1.00"}]),
    ),
    Case("an array that was cut off", (as_bytes([order("o1")])[:-3],), [order("o1"), order("o2")]),
]


def newest_dead(shell: Shell) -> int:
    found: int = shell.value("SELECT max(inbox_id) FROM inbox WHERE state = 'dead'")
    return found


def fix(shell: Shell, inbox_id: int, mended: Any) -> MendOutcome:
    raw = mended if isinstance(mended, bytes) else as_bytes(mended)
    return replace_letter(shell.engine, inbox_id, raw, FIX, "kim")


@pytest.mark.parametrize("case", POSTED, ids=lambda case: case.name)
def test_a_mended_event_is_posted_and_the_letter_is_settled(shell: Shell, case: Case) -> None:
    shell.take(*case.before)
    letter = newest_dead(shell)
    result = fix(shell, letter, case.mended)
    assert (result.state, result.is_mended, len(result.shards) > 0) == ("dropped", True, True)
    events = case.mended if isinstance(case.mended, list) else [case.mended]
    assert shell.post() == {"posted": len(events)}
    assert shell.rows("SELECT count(*) FROM inbox WHERE state = 'dead'") == [(0,)]
    (step,) = shell.rows("SELECT action, detail FROM dead_letter_actions WHERE action = 'replaced'")
    new = [row.inbox_id for row in shell.rows("SELECT inbox_id FROM inbox WHERE inbox_id > :n ORDER BY 1", n=letter)]
    assert [str(number) in step.detail for number in new] == [True] * len(events)
    assert shell.differences() == []


@pytest.mark.parametrize("case", POSTED, ids=lambda case: case.name)
def test_what_was_replaced_is_counted_on_the_letter_when_it_comes_again(shell: Shell, case: Case) -> None:
    shell.take(*case.before)
    letter = newest_dead(shell)
    fix(shell, letter, case.mended)
    before = shell.outcomes()
    shell.receive(case.before[-1])
    assert shell.outcomes() == before, "no new row: neither a dead letter nor a message"
    assert shell.value("SELECT deliveries FROM inbox WHERE inbox_id = :n", n=letter) == 2
    shell.receive(case.mended)
    assert shell.outcomes() == before
    shell.post()
    assert shell.differences() == []


REFUSED = [
    (Case("no JSON", (b"{",), b"{{"), "would be parked too (not_json)"),
    (
        Case("still an amount that is a number", (broken_line(amount=1.5),), broken_line(amount=2.5)),
        "data.lines[0].amount",
    ),
    (
        Case("the same bytes", (order("o1", program_id="nope"),), order("o1", program_id="nope")),
        "retry this one as it is",
    ),
    (
        Case(
            "the same content in other words",
            (order("o1", "1.0", program_id="nope"),),
            order("o1", "1.00", program_id="nope"),
        ),
        "retry this one as it is",
    ),
    (
        Case("a conflict that keeps its id", (order("o1"), order("o1", "7.00")), order("o1", "8.00")),
        "would be parked too (event_conflict)",
    ),
    (
        Case("what another message says already", (order("o1"), order("o1", "7.00")), order("o1")),
        "has event id completed-o1 and this content already",
    ),
    (Case("one good and one bad", (b"{",), [order("o1"), {}]), "bad_envelope"),
    (Case("the same id twice", (b"{",), [order("o1"), order("o1", "7.00")]), "event_conflict"),
]


@pytest.mark.parametrize(("case", "words"), REFUSED, ids=lambda given: getattr(given, "name", ""))
def test_what_would_not_help_is_refused_and_nothing_has_changed(shell: Shell, case: Case, words: str) -> None:
    shell.take(*case.before)
    letter = newest_dead(shell)
    tables = ("inbox", "outbox", "dead_letter_actions")
    before = [shell.rows(f"SELECT t.*, xmin FROM {table} t ORDER BY 1") for table in tables]
    result = fix(shell, letter, case.mended)
    assert (result.state, result.is_mended) == ("dead", False)
    assert words in result.text
    assert [shell.rows(f"SELECT t.*, xmin FROM {table} t ORDER BY 1") for table in tables] == before


def test_a_letter_is_replaced_once(shell: Shell) -> None:
    shell.take(b"{")
    letter = newest_dead(shell)
    assert fix(shell, letter, order("o1")).is_mended
    assert fix(shell, letter, order("o2")).text == "is not a dead letter: it is dropped"
    assert fix(shell, 7_000, order("o2")).state is None
    assert shell.value("SELECT count(*) FROM inbox WHERE subject = 'order o2'") == 0


def test_a_mended_event_that_is_parked_again_can_be_mended_again_though_conflicts_came_under_its_id(
    shell: Shell,
) -> None:
    first, second, third = order("o1", currency="USD"), order("o1", currency="GBP"), order("o1")
    shell.take(first)
    letter = newest_dead(shell)
    shell.take(second)  # a conflict with the first, and dead too
    shell.execute("UPDATE inbox SET state = 'dropped' WHERE reason = 'event_conflict'")
    assert fix(shell, letter, second).is_mended
    assert shell.post() == {"parked": 1}
    assert fix(shell, newest_dead(shell), third).is_mended
    assert shell.post() == {"posted": 1}
    before = shell.outcomes()
    for event in (first, second, third):
        shell.take(event)
    assert shell.outcomes() == before


def test_the_history_says_when_it_was_parked_and_by_what_it_was_replaced(shell: Shell) -> None:
    shell.take(order("o1", currency="USD"))
    letter = newest_dead(shell)
    fix(shell, letter, order("o1"))
    with shell.engine.begin() as connection:
        found = load_letter(connection, letter)
        assert found is not None
        steps = load_actions(connection, found[0])
    assert [(step.action, step.reason) for step in steps] == [
        ("parked", "wrong_currency"),
        ("replaced", "wrong_currency"),
    ]
    new = shell.value("SELECT inbox_id FROM inbox WHERE event_id = 'completed-o1' AND variant = ''")
    assert steps[1].detail == f"is replaced by message {new}"


def test_the_letters_own_content_that_comes_in_the_same_moment_is_stored_once(shell: Shell) -> None:
    event = order("o1", currency="USD")
    shell.take(event)
    letter = newest_dead(shell)
    work: list[Callable[[], Any]] = [lambda: fix(shell, letter, order("o1")), lambda: shell.receive(event)]
    threads = [threading.Thread(target=step) for step in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shell.post()
    assert shell.balance() == 100
    assert shell.value("SELECT count(*) FROM inbox") == 2
    assert shell.value("SELECT sum(deliveries) FROM inbox") == 3
