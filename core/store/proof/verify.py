"""Runs the checks of the invariants: over everything with progress, or over some accounts. Nothing is changed.

Everything is looked at in one snapshot, so that it may run beside posting. Checks go slice by slice through the
accounts, so that they need memory for one slice, and can say how far they are. Of several slices each is copied first,
and looked at by all checks that need no more; side by side by several processes, if that is asked for.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.program.registry import ProgramRegistry
from core.store.engine import begin_reading, run_bulk
from core.store.programs import load_registry
from core.store.proof.copies import changing_nothing, opened_copies
from core.store.proof.counted_periods import load_periods
from core.store.proof.differences import DIFFERENCES_MAX, Difference, differences_of
from core.store.proof.invariants import CHECKS, Check
from core.store.proof.processes import ALONE, Look, Processes, look_side_by_side, prepare_session
from core.store.proof.scope import EVERYTHING, Scope, slices, these_accounts, with_merged

#: By the place of a check among all: what it found in one slice.
_Found = Mapping[int, Sequence[Difference]]


class Step(NamedTuple):
    """How far `verify_steps` is: this check has looked at so many slices of the accounts."""

    check: Check
    number: int  #: of the check: 1, 2, 3, …
    checks: int
    slices_done: int
    slices: int
    found: list[Difference]  #: by this check so far

    @property
    def is_done(self) -> bool:
        """Whether the check has looked at everything, or has found as much as it may."""
        return self.slices_done == self.slices

    def after(self, found: Sequence[Difference]) -> "Step":
        """With what one more slice showed."""
        all_found = [*self.found, *found][:DIFFERENCES_MAX]
        is_full = len(all_found) == DIFFERENCES_MAX
        return self._replace(found=all_found, slices_done=self.slices if is_full else self.slices_done + 1)


def verify_ledger(connection: Connection) -> list[Difference]:
    """Every difference, at most `DIFFERENCES_MAX` per check; an empty list is a clean ledger."""
    return [difference for step in verify_steps(connection) if step.is_done for difference in step.found]


def verify_steps(connection: Connection, processes: Processes = ALONE) -> Iterator[Step]:
    """Run all checks, for those who show progress. `connection` must be at the start of its transaction.

    A check that has found `DIFFERENCES_MAX` looks no further. VerifyStoppedError when one of several processes is
    killed.
    """
    run_bulk(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    prepare_session(connection)
    yield from run_checks(connection, processes=processes)
    run_bulk(connection, "SET TRANSACTION READ ONLY")


def run_checks(
    connection: Connection, slice_entries_max: int | None = None, processes: Processes = ALONE
) -> Iterator[Step]:
    """The steps of `verify_steps`, in whatever transaction `connection` is in; several processes need one snapshot."""
    registry = load_registry(connection)
    periods = load_periods(connection, registry, EVERYTHING)
    scopes = slices(connection, slice_entries_max)
    steps = _not_begun(len(scopes))
    if processes.jobs > 1 and len(scopes) > 1:
        with look_side_by_side(connection, _opened_look, scopes, processes) as looks:
            yield from _run_side_by_side(connection, registry, periods, steps, looks)
        return

    def looked(step: Step, scope: Scope) -> Step:
        left = DIFFERENCES_MAX - len(step.found)
        return step.after(differences_of(connection, step.check, scope, registry, periods, left))

    # What needs everything comes first: when slices are copied, the names of the tables mean the copies.
    if len(scopes) > 1:
        with changing_nothing(connection):
            for place, step in enumerate(steps):
                if step.check.is_global:
                    yield step
                    steps[place] = looked(step, EVERYTHING)
    with opened_copies(connection, is_wanted=len(scopes) > 1) as copied:
        for scope in scopes:
            here = copied(scope)
            with changing_nothing(connection):
                for place, step in enumerate(steps):
                    if not step.is_done:
                        yield step
                        steps[place] = looked(step, EVERYTHING if step.check.is_global else here)
                    if scope is scopes[-1]:
                        yield steps[place]


def _run_side_by_side(
    connection: Connection,
    registry: ProgramRegistry,
    periods: Mapping[str, Any],
    steps: list[Step],
    looks: Iterator[_Found],
) -> Iterator[Step]:
    """What needs everything is looked at here, while other processes look at slices."""
    with changing_nothing(connection):
        for place, step in enumerate(steps):
            if step.check.is_global:
                yield step
                found = differences_of(connection, step.check, EVERYTHING, registry, periods, DIFFERENCES_MAX)
                steps[place] = step.after(found)
        for look in looks:
            for place, of_slice in look.items():
                if not steps[place].is_done:
                    yield steps[place]
                    steps[place] = steps[place].after(of_slice)
    yield from steps


@contextmanager
def _opened_look(connection: Connection) -> Iterator[Look[_Found]]:
    """What another process finds in one slice after the other."""
    registry = load_registry(connection)
    periods = load_periods(connection, registry, EVERYTHING)

    with opened_copies(connection, is_wanted=True) as copied:

        def look(scope: Scope) -> _Found:
            here = copied(scope)
            with changing_nothing(connection):
                return {
                    place: differences_of(connection, check, here, registry, periods, DIFFERENCES_MAX)
                    for place, check in enumerate(CHECKS)
                    if not check.is_global
                }

        yield look


def _not_begun(slices_of_accounts: int) -> list[Step]:
    return [
        Step(check, number, len(CHECKS), 0, 1 if check.is_global else slices_of_accounts, [])
        for number, check in enumerate(CHECKS, start=1)
    ]


def verify_accounts(connection: Connection, account_ids: Collection[UUID], seconds_max: float = 60) -> list[Difference]:
    """Every difference of these accounts, at most `DIFFERENCES_MAX` per check; what needs everything is left out.

    `connection` must be at the start of its transaction. QueryCanceled when it takes longer than `seconds_max` in all.
    """
    deadline = monotonic() + seconds_max
    begin_reading(connection)
    _end_at(connection, deadline)
    scope = these_accounts(with_merged(connection, account_ids))
    registry = load_registry(connection)
    periods = load_periods(connection, registry, scope)
    differences: list[Difference] = []
    for check in CHECKS:
        if not check.is_global:
            _end_at(connection, deadline)
            differences += differences_of(connection, check, scope, registry, periods, DIFFERENCES_MAX)
    return differences


def _end_at(connection: Connection, deadline: float) -> None:
    """Let the next statements be cancelled at `deadline` of the monotonic clock."""
    milliseconds_left = max(1, int((deadline - monotonic()) * 1000))
    run_bulk(connection, f"SET LOCAL statement_timeout = {milliseconds_left}")
