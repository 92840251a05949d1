"""Seals: a hash under the chain's key over what was written of a row for good, where no chain of entries goes through.

seal = HMAC-SHA256(key, a JSON array of the table's name and the columns that never change). Orders carry one, of which
many write no entry; changes by hand, which move lots and tiers; and how far retention has come. Points of lots need
none, since the chain covers allocations, nor their dates, which follow from orders and changes by hand.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Table

from core.errors import ChainKeyMissingError
from core.store import tables
from core.store.engine import run_bulk, stream_rows
from core.store.proof.hashing import KeyRing, canonical, hash_of
from core.store.proof.scope import Scope
from core.store.rows import Shape, arrays, selected, unnested

Value = TypeVar("Value")

#: By table the columns that are sealed: those that were given with the row, and that no statement changes afterwards.
SEALED = {
    tables.orders: (
        "source", "order_id", "program_id", "account_id", "customer_id", "reference_kind", "reference", "shard",
        "inbox_id", "business_hash", "currency", "rate", "occurred_at", "lines", "points_paid",
        "points_authorization_id", "points_command_id", "points_command_source", "program_version", "tier_id",
        "sequence", "attributes", "customer_tags", "judgement",
    ),
    tables.returns: (
        "source", "return_id", "program_id", "account_id", "customer_id", "reference_kind", "reference", "inbox_id",
        "business_hash", "currency", "rate", "occurred_at", "lines", "program_version", "tier_id", "points_due",
        "points_taken", "points_excused", "points_shortfall", "sequence",
    ),
    tables.repairs: ("account_id", "subject", "found", "rebuilt", "reason", "applied_by"),
    tables.retention: ("table_name", "purged_before"),
}  # fmt: skip


class Sealer(Generic[Value]):
    """Seals values of one shape."""

    def __init__(self, shape: Shape[Value]) -> None:
        """Prepare; the shape fills all columns that are sealed."""
        self._rows = shape.only(*SEALED[shape.table])

    def seal(self, key: bytes | None, value: Value) -> bytes | None:
        """The seal of a new row; None without a key."""
        return None if key is None else seal(key, self._rows.table, self._rows.row(value))


def seal(key: bytes, table: Table, values: Sequence[Any]) -> bytes:
    """The seal of these columns of a row."""
    return hash_of(key, seal_content(table, values))


def seal_content(table: Table, values: Sequence[Any]) -> bytes:
    """What the seal of these columns of a row is of."""
    return canonical([table.name, *values])


_TO_SEAL = f"""
SELECT {selected(tables.orders, ("source", "order_id", "program_id"), "t")},
       {selected(tables.orders, SEALED[tables.orders], "t")}
FROM {unnested(tables.orders, ("source", "order_id", "program_id"))} JOIN orders t USING (source, order_id, program_id)
"""  # noqa: S608  # our own names
_SEAL_AGAIN = """
UPDATE orders t SET seal = k.seal
FROM unnest(%b::text[], %b::text[], %b::text[], %b::bytea[]) AS k(source, order_id, program_id, seal)
WHERE (t.source, t.order_id, t.program_id) = (k.source, k.order_id, k.program_id)
"""


def seal_again(connection: Connection, key: bytes, orders: Collection[tuple[str, str, str]]) -> None:
    """Seal these (source, order_id, program_id) as they are now: a claim has changed what is sealed of them."""
    rows = run_bulk(connection, _TO_SEAL, arrays(orders, 3))
    sealed = [(*row[:3], seal(key, tables.orders, row[3:])) for row in rows]
    run_bulk(connection, _SEAL_AGAIN, arrays(sealed, 4))


_CHAINED = """
SELECT 1 FROM unnest(%b::uuid[]) AS k(account_id) JOIN accounts a USING (account_id)
JOIN entries e ON e.account_id = a.account_id AND e.sequence = a.sequence
WHERE e.chain_hash IS NOT NULL LIMIT 1
"""


def require_key(connection: Connection, key: bytes | None, account_ids: Collection[UUID]) -> None:
    """Raise ChainKeyMissingError where a change by hand of these accounts is to be sealed, and there is no key."""
    if key is None and run_bulk(connection, _CHAINED, (list(account_ids),)):
        raise ChainKeyMissingError


class _Looked(NamedTuple):
    """How a sealed table is looked at."""

    table: Table
    what: str  #: SQL of what a row is called
    is_due: str  #: SQL: it was written after its account's chain had begun


# Who has no key can leave out a seal, but not on an account whose entries were chained by then.
_SINCE = "(SELECT account_id, min(recorded_at) AS since FROM entries WHERE chain_hash IS NOT NULL GROUP BY account_id)"
_ROWS = (
    _Looked(tables.orders, "concat('order ', t.order_id, ' of ', t.source)", "t.recorded_at >= c.since"),
    _Looked(tables.returns, "concat('return ', t.return_id, ' of ', t.source)", "t.recorded_at >= c.since"),
    _Looked(
        tables.repairs,
        "concat('the change by hand of ', t.subject, ' at ', t.applied_at)",
        "t.applied_at >= c.since AND (t.subject = 'tier' OR t.rebuilt ? 'expires_at')",
    ),
)
_RETENTION = f"""
SELECT table_name, purged_before, seal,
       purged_before > (SELECT min(recorded_at) FROM entries WHERE chain_hash IS NOT NULL)
FROM {tables.retention.name}
"""  # noqa: S608  # our own names
#: Differences that are told of one table and slice.
_SHOWN_MAX = 50


class BrokenSeal(NamedTuple):
    """A row that is not what was sealed."""

    account_id: UUID | None
    text: str


def broken_seals(connection: Connection, keys: KeyRing, scope: Scope) -> list[BrokenSeal]:
    """Rows of these accounts whose seals do not fit, or that should have one."""
    found: list[BrokenSeal] = []
    for looked in _ROWS:
        found += islice(_broken(connection, keys, looked, scope), _SHOWN_MAX)
    return found


def broken_seals_elsewhere(connection: Connection, keys: KeyRing) -> list[BrokenSeal]:
    """The same of rows that are of no account, and of retention."""
    found = broken_seals(connection, keys, Scope("account_id IS NULL", {}))
    for table_name, purged_before, kept, is_due in run_bulk(connection, _RETENTION):
        text = _fault(keys, tables.retention, (table_name, purged_before), kept, is_due=bool(is_due))
        if text is not None:
            found.append(BrokenSeal(None, f"what retention says of {table_name} {text}"))
    return found


def _broken(connection: Connection, keys: KeyRing, looked: _Looked, scope: Scope) -> Iterator[BrokenSeal]:
    table = looked.table
    query = f"""
    SELECT t.account_id, {looked.what}, {looked.is_due}, t.seal, {selected(table, SEALED[table], "t")}
    FROM {table.name} t LEFT JOIN {_SINCE} c USING (account_id)
    """  # noqa: S608  # our own words
    for account_id, what, is_due, kept, *values in stream_rows(
        connection, "sealed", scope.narrow(query), scope.parameters
    ):
        text = _fault(keys, table, values, kept, is_due=bool(is_due))
        if text is not None:
            yield BrokenSeal(account_id, f"{what} {text}")


def _fault(keys: KeyRing, table: Table, values: Sequence[Any], kept: bytes | None, *, is_due: bool) -> str | None:
    if kept is None:
        return "has no seal, and was written after the chain began" if is_due else None
    return None if keys.fits(kept, seal_content(table, values)) else "does not fit its seal"
