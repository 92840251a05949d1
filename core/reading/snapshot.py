"""What is read together is of one instant: a snapshot, read only, with the programs as they stand."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.reading.running_periods import RunningPeriods
from core.store.engine import database_now, run_bulk
from core.store.programs import STAMP, load_registry, require_program


class Snapshot(NamedTuple):
    """One state of everything. Lasts as long as the `with` that made it."""

    connection: Connection  #: in a transaction that may only read
    as_of: datetime  #: by the clock of the database
    registry: ProgramRegistry  #: every version of every program
    periods: RunningPeriods  #: since when orders count for tiers

    def program(self, program_id: str) -> Program:
        """The version of a program that is in force; UnknownProgramError."""
        require_program(self.registry, program_id)
        return self.registry.at(program_id, self.as_of).program


class _Known:
    """The programs, and what is worked out of them."""

    def __init__(self, registry: ProgramRegistry) -> None:
        self.registry = registry
        self.periods = RunningPeriods(registry)


class Reader:
    """Makes snapshots of one database. It keeps the programs and reads them again only when they have changed.

    Several threads may use one. The tables must be those of this release (`core.store.migrate.require_current`); the
    role needs no more than `loyalty db grant --read-only` gives.
    """

    def __init__(self, engine: Engine) -> None:
        """Opens nothing yet."""
        self._engine = engine
        self._known = _Known(ProgramRegistry((), stamp=-1))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One state of everything; whatever is written meanwhile, it stays. Keep it for moments, not for minutes."""
        reading = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with reading.begin() as connection:
            ((as_of, stamp),) = run_bulk(connection, f"SELECT clock_timestamp(), {STAMP}")
            known = self._known
            if known.registry.stamp != stamp:
                self._known = known = _Known(load_registry(connection))
            yield Snapshot(connection, as_of, known.registry, known.periods)


def snapshot_of(connection: Connection) -> Snapshot:
    """What a transaction sees that the caller has begun, which may write too; as of its beginning."""
    registry = load_registry(connection)
    return Snapshot(connection, database_now(connection), registry, RunningPeriods(registry))
