"""Processes that look at slices of the ledger side by side: all see the snapshot of the one that asked them."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager
from multiprocessing import get_context
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

from core.errors import VerifyStoppedError
from core.store.engine import create_database_engine, run_bulk
from core.store.proof.scope import Scope

Seen = TypeVar("Seen")
Look = Callable[[Scope], Seen]


class Processes(NamedTuple):
    """How many there are; one is this process alone."""

    jobs: int = 1
    begin: Callable[[], None] | None = None  #: what each of several does first; it must be a function of a module


ALONE = Processes()


def prepare_session(connection: Connection) -> None:
    """Let checks take their time until the transaction ends, and have their statements planned as they need it."""
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    run_bulk(connection, "SET LOCAL idle_in_transaction_session_timeout = 0")  # while others look
    # On tables without statistics the planner takes them for empty, and nests the loops of a join of four.
    run_bulk(connection, "SET LOCAL enable_nestloop = off")
    run_bulk(connection, "SET LOCAL work_mem = '64MB'")  # what a slice needs, so that it is not sorted on disk


@contextmanager
def look_side_by_side(
    connection: Connection,
    open_look: Callable[[Connection], AbstractContextManager[Look[Seen]]],
    scopes: Sequence[Scope],
    processes: Processes,
) -> Iterator[Iterator[Seen]]:
    """Begin to look at all slices; what is seen comes in the order of the slices.

    Each process opens its look once, on a session of its own; `open_look` is sent to it, and so is what it sees. They
    end with the context, whatever they have still to do. `connection` must see one snapshot, outside of any savepoint.
    VerifyStoppedError when a process is killed.
    """
    ((snapshot,),) = run_bulk(connection, "SELECT pg_export_snapshot()")
    url = connection.engine.url.render_as_string(hide_password=False)
    pool = ProcessPoolExecutor(
        min(processes.jobs, len(scopes)),
        mp_context=get_context("spawn"),  # a fork would share this session
        initializer=_begin,
        initargs=(url, snapshot, open_look, processes.begin),
    )
    try:
        yield _unless_killed(pool.map(_look, scopes))
    finally:
        pool.shutdown(cancel_futures=True)


def _unless_killed(seen: Iterator[Seen]) -> Iterator[Seen]:
    try:
        yield from seen
    except BrokenProcessPool as error:
        raise VerifyStoppedError from error


_own: dict[str, Any] = {}  #: of this process: its look, and the session for as long as it lives


def _begin(
    url: str,
    snapshot: str,
    open_look: Callable[[Connection], AbstractContextManager[Look[Any]]],
    begin: Callable[[], None] | None,
) -> None:
    # An interrupt from the terminal reaches all processes; the first one reports it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if begin is not None:
        begin()
    opened = ExitStack()
    engine = create_database_engine(url, application_name="loyalty-verify")
    connection = opened.enter_context(engine.begin())
    run_bulk(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    run_bulk(connection, f"SET TRANSACTION SNAPSHOT '{snapshot}'")  # takes no parameters; the server made the name
    prepare_session(connection)
    _own.update(session=opened, look=opened.enter_context(open_look(connection)))


def _look(scope: Scope) -> Any:
    return _own["look"](scope)
