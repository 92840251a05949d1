"""A large import is posted by processes beside it: the end is the same, and none of them stays."""

import io
import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from multiprocessing import active_children
from typing import Any

import pytest
from sqlalchemy import Engine
from uuid6 import uuid7

from core.errors import ImportStoppedError
from core.importing.account_rows import LAYOUT, AccountRows
from core.importing.files import BadRow, ImportFile
from core.importing.plans import Plan
from core.importing.run import Importer, Step
from core.store.programs import load_registry
from tests.shell import EVENT_SOURCE, LIMITS, Shell
from workers.child_processes import begin_beside

ACCOUNTS = 24
HEADER = "customer_id,account_id,points,expires_at,card\n"
ROWS = "".join(f"C-{n},crm-{n},{n + 1},2090-12-31,{n:012d}\n" for n in range(ACCOUNTS))
POINTS = ACCOUNTS * (ACCOUNTS + 1) // 2


@pytest.fixture
def shell(engine: Engine) -> Shell:
    return Shell(engine)


def importer(shell: Shell, **more: Any) -> Importer:
    return Importer(
        shell.engine,
        source="/import/crm",
        by="ann",
        event_source=EVENT_SOURCE,
        shards=shell.shards,
        limits=LIMITS,
        new_id=uuid7,
        batch_parts=12,
        **more,
    )


def plans(shell: Shell) -> Iterator[Plan | BadRow]:
    with shell.engine.begin() as connection:
        registry = load_registry(connection)
    rows = AccountRows("crm", registry, datetime.now(UTC), by="ann", program_id=None)
    source = ImportFile(io.BytesIO((HEADER + ROWS).encode()), "crm.csv", LAYOUT)
    yield from rows.plans(source.records(), is_csv=True)


def imported(shell: Shell, seen: Callable[[Step], object] = lambda _: None, **more: Any) -> tuple[int, int, int]:
    steps = []
    for step in importer(shell, **more).run(plans(shell)):
        seen(step)
        steps.append(step)
    assert [step.bad for step in steps if step.bad] == []
    return sum(step.imported for step in steps), sum(step.known for step in steps), sum(step.points for step in steps)


def test_an_import_that_is_posted_beside_ends_as_any_other_and_is_done_once(shell: Shell) -> None:
    children: list[int] = []
    beside = {"processes": 2, "begin": begin_beside}
    assert imported(shell, lambda _: children.append(len(active_children())), **beside) == (ACCOUNTS, 0, POINTS)
    assert max(children) == 2
    assert active_children() == []
    assert shell.value("SELECT sum(balance) FROM accounts") == POINTS
    assert shell.differences() == []
    assert imported(shell) == (0, ACCOUNTS, 0)


def test_a_small_import_needs_no_process(shell: Shell) -> None:
    for _ in importer(shell, processes=2).run(list(plans(shell))[:2]):
        assert active_children() == []
    assert shell.value("SELECT count(*) FROM accounts") == 2


def test_an_import_whose_process_was_killed_says_so_and_goes_on_when_it_is_asked_again(shell: Shell) -> None:
    def kill(_: Step) -> None:
        for child in active_children():
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(ImportStoppedError, match="goes on there"):
        imported(shell, kill, processes=2)
    new, known, _ = imported(shell)
    assert new + known == ACCOUNTS
    assert new > 0
    assert shell.value("SELECT sum(balance) FROM accounts") == POINTS
    assert shell.differences() == []
