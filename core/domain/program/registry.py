"""All program versions, and which of them holds for a message: by the program it names, its source, and its time."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from core.domain.program import Enrol, Program

#: Stands for PostgreSQL's -infinity, from which a first version is in force.
BEGINNING = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


class ProgramVersion(NamedTuple):
    """One applied program file."""

    program_id: str
    version: int
    effective_from: datetime  #: as it was moved last
    program: Program
    applied_at: datetime = BEGINNING
    is_withdrawn: bool = False  #: before it came into force: it never does

    def for_the_enrolled(self) -> "ProgramVersion":
        """The same, where orders open accounts: for what asks of customers as if each had one."""
        if self.program.enrol is Enrol.FIRST_ACTIVITY:
            return self
        return self._replace(program=self.program.model_copy(update={"enrol": Enrol.FIRST_ACTIVITY}))


class _Routes(NamedTuple):
    """Where messages of one stretch of time belong that name no program."""

    by_source: dict[str, str]
    default: str | None


class Collision(NamedTuple):
    """Two programs would take the same messages at one time."""

    program_id: str  #: the other one
    source: str | None  #: that both list; None: both are the default
    since: datetime
    until: datetime | None  #: None: for good


class ProgramRegistry:
    """All program versions, as posting needs them. `stamp` shows whether a newer set exists."""

    def __init__(self, versions: Iterable[ProgramVersion], stamp: int) -> None:
        """Index `versions`, given in ascending order of version."""
        self.stamp = stamp
        self._versions: dict[str, list[ProgramVersion]] = {}
        for version in versions:
            self._versions.setdefault(version.program_id, []).append(version)
        self._lines = {
            program_id: [version for version in known if not version.is_withdrawn]
            for program_id, known in self._versions.items()
        }
        #: The instants at which a version follows another: between two of them every message is routed alike.
        self._turns = sorted({version.effective_from for line in self._lines.values() for version in line[1:]})
        self._routes: dict[int, _Routes] = {}

    def resolve(self, named: str | None, source: str, instant: datetime) -> str | None:
        """The program of a message of `instant`: the one it names, else that of its source, else the default.

        What counts is the version of each program that is in force at `instant`.
        """
        if named is not None:
            return named if named in self._versions else None
        stretch = bisect_right(self._turns, instant)
        routes = self._routes.get(stretch)
        if routes is None:
            routes = self._routes[stretch] = self._routes_at(self._turns[stretch - 1] if stretch else BEGINNING)
        return routes.by_source.get(source, routes.default)

    def next_turn(self, instant: datetime) -> datetime | None:
        """When after `instant` another version of any program comes into force; None: none is known to."""
        place = bisect_right(self._turns, instant)
        return self._turns[place] if place < len(self._turns) else None

    def takes_ever(self, source: str) -> bool:
        """Whether messages of `source` that name no program have one at any time."""
        instants = [BEGINNING, *self._turns]
        return any(self.resolve(None, source, instant) is not None for instant in instants)

    def _routes_at(self, instant: datetime) -> _Routes:
        programs = [self.at(program_id, instant).program for program_id in self.program_ids()]
        return _Routes(
            {source: program.program_id for program in programs for source in program.sources},
            next((program.program_id for program in programs if program.default), None),
        )

    def collisions(self, program_id: str) -> list[Collision]:
        """With which other programs `program_id` shares a source, or the default, at any time; by its files' order."""
        found: dict[tuple[str, str | None], Collision] = {}
        for since, until in zip([BEGINNING, *self._turns], [*self._turns, None], strict=True):
            mine = self.at(program_id, since).program
            for other_id in self.program_ids():
                other = self.at(other_id, since).program
                if other_id == program_id:
                    continue
                shared: list[str | None] = [source for source in mine.sources if source in other.sources]
                for source in [*([None] if mine.default and other.default else []), *shared]:
                    first = found.get((other_id, source))
                    found[other_id, source] = Collision(other_id, source, first.since if first else since, until)
        return list(found.values())

    def at(self, program_id: str, instant: datetime) -> ProgramVersion:
        """The version in force at `instant`; before the first one's start, the first."""
        line = self._lines[program_id]
        if len(line) == 1:
            return line[0]
        return next((v for v in reversed(line) if v.effective_from <= instant), line[0])

    def in_force(self, program_id: str) -> Callable[[datetime], Program]:
        """What gives the content of the version in force at an instant."""
        line = self._lines[program_id]
        if len(line) == 1:
            only = line[0].program
            return lambda _: only
        return lambda instant: self.at(program_id, instant).program

    def between(self, program_id: str, first: datetime, last: datetime) -> list[Program]:
        """The contents of the versions that are in force at some time from `first` to `last`, oldest first."""
        start = self.at(program_id, first).version
        return [
            version.program
            for version in self._lines[program_id]
            if version.version == start or first < version.effective_from <= last
        ]

    def line(self, program_id: str) -> list[ProgramVersion]:
        """The versions that are or come into force, in that order; KeyError for an unknown program."""
        return self._lines[program_id]

    def stretches(self) -> Iterator[tuple[ProgramVersion, datetime]]:
        """Every version that is or comes into force, with the instant at which the next of its program follows."""
        for line in self._lines.values():
            yield from zip(line, [*(following.effective_from for following in line[1:]), _NEVER], strict=True)

    def changed(self, version: ProgramVersion) -> "ProgramRegistry":
        """With `version` in the place of the one of its number, or as a new one."""
        others = [each for each in self.versions() if each[:2] != version[:2]]
        return ProgramRegistry(sorted([*others, version], key=lambda each: each[:2]), self.stamp)

    def version(self, program_id: str, version: int) -> ProgramVersion:
        """That very version, also if it was withdrawn."""
        return self._versions[program_id][version - 1]

    def next_number(self, program_id: str) -> int:
        """The number that the next version of the program gets: 1 for an unknown program."""
        return len(self._versions.get(program_id, ())) + 1

    def programs(self, program_id: str) -> list[Program]:
        """The contents of all its versions, oldest first; none of an unknown program."""
        return [version.program for version in self._versions.get(program_id, ())]

    def begun(self, program_id: str, as_of: datetime) -> list[Program]:
        """The contents of the versions that have come into force by `as_of`, oldest first; the first always has."""
        first, *later = self._lines[program_id]
        return [first.program, *(version.program for version in later if version.effective_from <= as_of)]

    def same_expiries(self, program_ids: Iterable[str]) -> list[tuple[str, int, int]]:
        """Each version of these programs with the first that lets points expire alike, where inactivity ends some."""
        found = []
        for program_id in sorted(set(program_ids)):
            programs = self.programs(program_id)
            terms = [(program.expiries, program.time_zone) for program in programs]
            if any(program.has_inactivity for program in programs):
                found += [(program_id, n, terms.index(each) + 1) for n, each in enumerate(terms, start=1)]
        return found

    def program_ids(self) -> list[str]:
        """All known programs."""
        return sorted(self._versions)

    def versions(self) -> list[ProgramVersion]:
        """Every version, also those that were withdrawn, by program and version."""
        return [version for program_id in self.program_ids() for version in self._versions[program_id]]
