"""Both runs of a comparison over what is recorded: beside each other in two processes, where that is worth a start."""

import gc
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from datetime import datetime
from multiprocessing import get_context

from sqlalchemy import Engine

from core.errors import SimulationStoppedError
from core.simulating.comparing import Comparison, Run, Sides, compare, compared, run
from core.simulating.recorded import (
    RecordedMessage,
    export_state,
    has_orders,
    read_only,
    read_only_at,
    recorded_messages,
)
from core.simulating.simulated_books import Line
from core.store.engine import create_database_engine

#: From so many orders on, a second process saves more than its start takes.
ORDERS_APART = 10_000
ShowProgress = Callable[[Iterable[RecordedMessage]], Iterable[RecordedMessage]]


def compare_recorded(
    engine: Engine, program_id: str, both: Sides, until: datetime, shown: ShowProgress, orders_apart: int = ORDERS_APART
) -> Comparison:
    """Run all that is recorded of a program before `until` under both sides' versions. Writes nothing.

    `shown` sees every message as it is run. Both sides see one state of the database. With `orders_apart`
    orders or more the side `changed` has a process of its own; SimulationStoppedError when that is killed.
    """
    with engine.begin() as connection, _uncollected():
        read_only(connection)
        messages = shown(recorded_messages(connection, program_id, until))
        if not has_orders(connection, program_id, orders_apart):
            return compare(messages, both, until)
        url = engine.url.render_as_string(hide_password=False)
        state = export_state(connection)  # known to others until this transaction ends
        # Spawned, since a fork would share this session.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_leave_at_once) as pool:
            other = pool.submit(_run_apart, url, state, program_id, both.changed, both.start, until)
            before = run(messages, both.in_force, both.start, until)
            try:
                return compared(before, other.result())
            except BrokenProcessPool as error:
                raise SimulationStoppedError from error


def _run_apart(url: str, state: str, program_id: str, line: Line, start: datetime, until: datetime) -> Run:
    engine = create_database_engine(url, application_name="loyalty-simulate")
    try:
        with engine.begin() as connection, _uncollected():
            read_only_at(connection, state)
            return run(recorded_messages(connection, program_id, until), line, start, until)
    finally:
        engine.dispose()


def _leave_at_once() -> None:
    """An interrupt from the terminal reaches both processes; the first one reports it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Books are large and hold no cycles: looking for some takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
