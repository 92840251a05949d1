"""What was changed by hand, kept beside what `loyalty rebuild` put right: what was there, what is now, and why."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.store.engine import copy_rows, run_bulk


class Repair(NamedTuple):
    """One change by hand; instants are kept as RFC 3339."""

    account_id: UUID | None  #: None: it is of no account
    subject: str  #: tier, lot 7, or budget launch of high-street
    found: Mapping[str, Any]
    rebuilt: Mapping[str, Any]  #: with the `reason` that a person gave


def append_repairs(connection: Connection, repairs: Iterable[Repair]) -> None:
    """Keep what was changed, in the transaction that changes it."""
    rows = ((r.account_id, r.subject, _json(r.found), _json(r.rebuilt)) for r in repairs)
    copy_rows(connection, "repairs", ("account_id", "subject", "found", "rebuilt"), rows)


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
    )


class KeptRepair(NamedTuple):
    """A change as it was kept, by hand or by `loyalty rebuild`."""

    subject: str  #: account, tier, lot 7, an order, or a usage
    found: dict[str, Any]
    rebuilt: dict[str, Any]
    applied_at: datetime


def load_repairs(connection: Connection, account_id: UUID, as_of: datetime) -> list[KeptRepair]:
    """What was changed of this account by `as_of` that is no entry, oldest first."""
    statement = (
        "SELECT subject, found, rebuilt, applied_at FROM repairs WHERE account_id = %s AND applied_at <= %s"
        " ORDER BY repair_id"
    )
    return [KeptRepair(*row) for row in run_bulk(connection, statement, (account_id, as_of))]
