"""What was changed by hand, kept beside what `loyalty rebuild` put right: what was there, what is now, and why."""

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.store import tables
from core.store.engine import run_bulk
from core.store.proof.seals import Sealer
from core.store.rows import Append, Field, Shape


class Repair(NamedTuple):
    """One change by hand; instants are kept as RFC 3339."""

    account_id: UUID | None  #: None: it is of no account
    subject: str  #: tier, lot 7, or budget launch of high-street
    found: Mapping[str, Any]
    rebuilt: Mapping[str, Any]
    applied_by: str  #: the person
    reason: str | None = None  #: in their words
    seal: bytes | None = None


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of columns as JSON holds them."""
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case _:
            return value


_REPAIRS = Shape(tables.repairs, Repair, found=Field("found", plain), rebuilt=Field("rebuilt", plain))
_APPEND = Append(_REPAIRS.new())
_SEALER = Sealer(_REPAIRS)


def append_repairs(connection: Connection, repairs: Collection[Repair], chain_key: bytes | None = None) -> None:
    """Keep what was changed, in the transaction that changes it; with `chain_key` each carries a seal."""
    _APPEND.run(connection, [repair._replace(seal=_SEALER.seal(chain_key, repair)) for repair in repairs])


class KeptRepair(NamedTuple):
    """A change as it was kept, by hand or by `loyalty rebuild`."""

    subject: str  #: account, tier, lot 7, an order, or a usage
    found: dict[str, Any]
    rebuilt: dict[str, Any]
    reason: str | None
    applied_by: str
    applied_at: datetime


_KEPT = Shape(tables.repairs, KeptRepair)
_LOAD = f"""
SELECT {_KEPT.select("r")} FROM repairs r WHERE r.account_id = %s AND r.applied_at <= %s ORDER BY r.repair_id
"""  # noqa: S608  # our own names


def load_repairs(connection: Connection, account_id: UUID, as_of: datetime) -> list[KeptRepair]:
    """What was changed of this account by `as_of` that is no entry, oldest first."""
    return [_KEPT.read(row) for row in run_bulk(connection, _LOAD, (account_id, as_of))]
