"""Slices of the ledger looked at by several processes, which all see the snapshot of the one that asked them."""

import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from typing import Any

from sqlalchemy import Connection, Engine

from core.domain.program.registry import ProgramRegistry
from core.errors import VerifyStoppedError
from core.store.engine import create_database_engine, run_bulk
from core.store.programs import load_registry
from core.store.proof.copies import changing_nothing, opened_copies
from core.store.proof.counted_periods import load_periods
from core.store.proof.differences import DIFFERENCES_MAX, Difference, differences_of
from core.store.proof.invariants import CHECKS
from core.store.proof.scope import EVERYTHING, Scope

#: By the place of a check among all: what it found in one slice.
Look = Mapping[int, Sequence[Difference]]


def prepare_session(connection: Connection) -> None:
    """Let checks take their time until the transaction ends, and have their statements planned as they need it."""
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    run_bulk(connection, "SET LOCAL idle_in_transaction_session_timeout = 0")  # while others look
    # On tables without statistics the planner takes them for empty, and nests the loops of a join of four.
    run_bulk(connection, "SET LOCAL enable_nestloop = off")
    run_bulk(connection, "SET LOCAL work_mem = '64MB'")  # what a slice needs, so that it is not sorted on disk


def export_snapshot(connection: Connection) -> str:
    """Name the snapshot of this transaction, for other sessions, until it ends."""
    ((name,),) = run_bulk(connection, "SELECT pg_export_snapshot()")
    return str(name)


@contextmanager
def look_at_slices(
    engine: Engine, snapshot: str, scopes: Sequence[Scope], jobs: int, begin: Callable[[], None] | None
) -> Iterator[Iterator[Look]]:
    """Begin to look at all slices, with `jobs` processes; what is found comes in the order of the slices.

    Each process calls `begin` first. They end with the context, whatever they have still to do. VerifyStoppedError when
    one is killed.
    """
    url = engine.url.render_as_string(hide_password=False)
    # Spawned, since a fork would share this session.
    pool = ProcessPoolExecutor(
        min(jobs, len(scopes)), mp_context=get_context("spawn"), initializer=_begin, initargs=(url, snapshot, begin)
    )
    try:
        yield _unless_killed(pool.map(_look, scopes))
    finally:
        pool.shutdown(cancel_futures=True)


def _unless_killed(looks: Iterator[Look]) -> Iterator[Look]:
    try:
        yield from looks
    except BrokenProcessPool as error:
        raise VerifyStoppedError from error


class _Looker:
    """A process's own session, in one transaction for as long as it lives."""

    def __init__(self, url: str, snapshot: str) -> None:
        self._open = ExitStack()
        engine = create_database_engine(url, application_name="loyalty-verify")
        connection = self._open.enter_context(engine.begin())
        run_bulk(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        run_bulk(connection, f"SET TRANSACTION SNAPSHOT '{snapshot}'")  # takes no parameters; the server made the name
        prepare_session(connection)
        self._connection = connection
        self._registry: ProgramRegistry = load_registry(connection)
        self._periods: Mapping[str, Any] = load_periods(connection, self._registry, EVERYTHING)
        self._copied = self._open.enter_context(opened_copies(connection, is_wanted=True))

    def look(self, scope: Scope) -> Look:
        here = self._copied(scope)
        with changing_nothing(self._connection):
            return {
                place: differences_of(self._connection, check, here, self._registry, self._periods, DIFFERENCES_MAX)
                for place, check in enumerate(CHECKS)
                if not check.is_global
            }


_own: dict[str, _Looker] = {}  #: of this process


def _begin(url: str, snapshot: str, begin: Callable[[], None] | None) -> None:
    # An interrupt from the terminal reaches all processes; the first one reports it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if begin is not None:
        begin()
    _own["looker"] = _Looker(url, snapshot)


def _look(scope: Scope) -> Look:
    return _own["looker"].look(scope)
