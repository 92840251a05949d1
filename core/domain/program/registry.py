"""All program versions, and which of them holds for a message: by the program it names, its source, and its time."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from core.domain.program import Program


class ProgramVersion(NamedTuple):
    """One applied program file."""

    program_id: str
    version: int
    effective_from: datetime
    program: Program


#: Stands for PostgreSQL's -infinity, from which a first version is in force.
BEGINNING = datetime.min.replace(tzinfo=UTC)


class ProgramRegistry:
    """All program versions, as posting needs them. `stamp` shows whether a newer set exists."""

    def __init__(self, versions: Iterable[ProgramVersion], stamp: int) -> None:
        """Index `versions`, given in ascending order of version."""
        self.stamp = stamp
        self._versions: dict[str, list[ProgramVersion]] = {}
        for version in versions:
            self._versions.setdefault(version.program_id, []).append(version)
        newest = [known[-1].program for known in self._versions.values()]
        self._by_source = {source: program.program_id for program in newest for source in program.sources}
        self._default = next((program.program_id for program in newest if program.default), None)

    def resolve(self, named: str | None, source: str) -> str | None:
        """The program of a message: the one it names, else the one that lists its source, else the default."""
        if named is not None:
            return named if named in self._versions else None
        return self._by_source.get(source, self._default)

    def at(self, program_id: str, instant: datetime) -> ProgramVersion:
        """The version in force at `instant`; before the first one's start, the first."""
        known = self._versions[program_id]
        if len(known) == 1:
            return known[0]
        return next((v for v in reversed(known) if v.effective_from <= instant), known[0])

    def version(self, program_id: str, version: int) -> ProgramVersion:
        """That very version."""
        return self._versions[program_id][version - 1]

    def program_ids(self) -> list[str]:
        """All known programs."""
        return sorted(self._versions)

    def versions(self) -> list[ProgramVersion]:
        """Every version, by program and version."""
        return [version for program_id in self.program_ids() for version in self._versions[program_id]]
