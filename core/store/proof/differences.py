"""What a check finds: rows that break an invariant, and their words."""

from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.program.registry import ProgramRegistry
from core.store.engine import run_bulk
from core.store.proof.invariants import Check
from core.store.proof.scope import Scope

#: Differences that one check reports; a broken ledger would drown the reader otherwise.
DIFFERENCES_MAX = 50


class Difference(NamedTuple):
    """One row that breaks an invariant."""

    invariant: int
    name: str
    account_id: UUID | None  #: None: it is about no account, or about more than one
    text: str


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
    periods: Mapping[str, Any],
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
