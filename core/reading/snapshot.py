"""What is read together is of one instant: a snapshot, read only, with the programs as they stand."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from core.domain.program import Program
from core.domain.program.registry import ProgramRegistry
from core.store.engine import begin_reading, run_bulk
from core.store.programs import STAMP, load_registry, require_program


class Snapshot(NamedTuple):
    """One state of everything. Lasts as long as the `with` that made it."""

    connection: Connection  #: in a transaction that may only read
    as_of: datetime  #: by the clock of the database
    registry: ProgramRegistry  #: every version of every program

    def program(self, program_id: str) -> Program:
        """The version of a program that is in force; UnknownProgramError."""
        require_program(self.registry, program_id)
        return self.registry.at(program_id, self.as_of).program


class Reader:
    """Makes snapshots of one database. It keeps the programs and reads them again only when they have changed.

    Several threads may use one. The tables must be those of this release (`core.store.migrate.require_current`); the
    role needs no more than `loyalty db grant --read-only` gives.
    """

    def __init__(self, engine: Engine) -> None:
        """Opens nothing yet."""
        self._engine = engine
        self._registry = ProgramRegistry((), stamp=-1)

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One state of everything; whatever is written meanwhile, it stays. Keep it for moments, not for minutes."""
        with self._engine.begin() as connection:
            begin_reading(connection)
            ((as_of, stamp),) = run_bulk(connection, f"SELECT clock_timestamp(), {STAMP}")
            registry = self._registry
            if registry.stamp != stamp:
                self._registry = registry = load_registry(connection)
            yield Snapshot(connection, as_of, registry)
