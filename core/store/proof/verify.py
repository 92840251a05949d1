"""Runs the checks of the invariants: over everything with progress, or over some accounts. Nothing is changed.

Everything is looked at in one snapshot, so that it may run beside posting. Checks go slice by slice through the
accounts, so that they need memory for one slice, and can say how far they are. Of several slices each is copied first,
and looked at by all checks that need no more.
"""

from collections.abc import Collection, Iterator
from contextlib import closing
from itertools import islice
from time import monotonic
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.program.registry import ProgramRegistry
from core.store.engine import begin_reading, run_bulk
from core.store.programs import load_registry
from core.store.proof.copies import changing_nothing, opened_copies
from core.store.proof.counted_periods import load_periods
from core.store.proof.invariants import CHECKS, Check
from core.store.proof.scope import EVERYTHING, SLICE_ENTRIES_MAX, Scope, slices, these_accounts, with_merged

#: Differences that one check reports; a broken ledger would drown the reader otherwise.
DIFFERENCES_MAX = 50


class Difference(NamedTuple):
    """One row that breaks an invariant."""

    invariant: int
    name: str
    account_id: UUID | None  #: None: it is about no account, or about more than one
    text: str


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
        """Whether the check has looked at everything."""
        return self.slices_done == self.slices


def verify_ledger(connection: Connection) -> list[Difference]:
    """Every difference, at most `DIFFERENCES_MAX` per check; an empty list is a clean ledger."""
    return [difference for step in verify_steps(connection) if step.is_done for difference in step.found]


def verify_steps(connection: Connection) -> Iterator[Step]:
    """Run all checks, for those who show progress. `connection` must be at the start of its transaction.

    A check that has found `DIFFERENCES_MAX` looks no further.
    """
    run_bulk(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    # On tables without statistics the planner takes them for empty, and nests the loops of a join of four.
    run_bulk(connection, "SET LOCAL enable_nestloop = off")
    run_bulk(connection, "SET LOCAL work_mem = '64MB'")  # what a slice needs, so that it is not sorted on disk
    yield from run_checks(connection)
    run_bulk(connection, "SET TRANSACTION READ ONLY")


def run_checks(connection: Connection, slice_entries_max: int = SLICE_ENTRIES_MAX) -> Iterator[Step]:
    """The steps of `verify_steps`, in whatever transaction `connection` is in."""
    registry = load_registry(connection)
    periods = load_periods(connection, registry, EVERYTHING)
    scopes = slices(connection, slice_entries_max)
    steps = [Step(check, number, len(CHECKS), 0, 1 if check.is_global else len(scopes), [])
             for number, check in enumerate(CHECKS, start=1)]  # fmt: skip

    def looked(step: Step, scope: Scope) -> Step:
        found = step.found
        found += differences_of(connection, step.check, scope, registry, periods, DIFFERENCES_MAX - len(found))
        is_full = len(found) == DIFFERENCES_MAX
        return step._replace(slices_done=step.slices if is_full else step.slices_done + 1)

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


# Materialized, or the limit makes PostgreSQL choose what finds the first rows soonest: there are none.
_LIMITED = """
SELECT * FROM (
    WITH differences AS MATERIALIZED ({check}) SELECT * FROM differences LIMIT %(differences_max)s
) AS shown
"""


def differences_of(
    connection: Connection,
    check: Check,
    scope: Scope,
    registry: ProgramRegistry,
    periods: dict[str, Any],
    differences_max: int,
) -> list[Difference]:
    """What breaks one invariant within `scope`; `periods` are those of `load_periods`."""
    if check.find is not None:
        with closing(check.find(connection, registry, scope)) as stream:
            return [Difference(check.invariant, check.name, *found) for found in islice(stream, differences_max)]
    query = _LIMITED.format(check=check.query.replace("%s", "%%s"))
    loaded = check.load(connection, registry, scope) if check.load is not None else {}
    parameters = {**scope.parameters, **periods, **loaded, "differences_max": differences_max}
    rows = run_bulk(connection, scope.narrow(query), parameters)
    return [Difference(check.invariant, check.name, account_id, text) for account_id, text in rows]
