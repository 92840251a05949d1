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
from core.store.rows import Shape, arrays, keys_of, selected, unnested

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


class _Again(NamedTuple):
    """The statements that seal rows of a table anew."""

    width: int  #: of the key
    load: str
    write: str


def _again(table: Table) -> _Again:
    keys = keys_of(table)
    key = ", ".join(keys)
    load = f"""
    SELECT {selected(table, keys, "t")}, {selected(table, SEALED[table], "t")}
    FROM {unnested(table, keys)} JOIN {table.name} t USING ({key})
    """  # noqa: S608  # our own names
    found = " AND ".join(f"t.{name} = k.{name}" for name in keys)
    write = f"UPDATE {table.name} t SET seal = k.seal FROM {unnested(table, (*keys, 'seal'))} WHERE {found}"  # noqa: S608
    return _Again(len(keys), load, write)


_SEALED_AGAIN = {table: _again(table) for table in (tables.orders, tables.returns, tables.repairs)}


def seal_again(connection: Connection, key: bytes, table: Table, rows: Collection[tuple[Any, ...]]) -> None:
    """Seal the rows of these keys as they are now: a claim, say, has changed what is sealed of an order."""
    width, load, write = _SEALED_AGAIN[table]
    found = run_bulk(connection, load, arrays(rows, width))
    sealed = [(*row[:width], seal(key, table, row[width:])) for row in found]
    run_bulk(connection, write, arrays(sealed, width + 1))


_CHAINED = """
SELECT 1 FROM unnest(%b::uuid[]) AS k(account_id) JOIN accounts a USING (account_id)
JOIN entries e ON e.account_id = a.account_id AND e.sequence = a.sequence
WHERE e.chain_hash IS NOT NULL LIMIT 1
"""


def require_key(connection: Connection, key: bytes | None, account_ids: Collection[UUID]) -> None:
    """Raise ChainKeyMissingError where a change by hand of these accounts is to be sealed, and there is no key."""
    if key is None and run_bulk(connection, _CHAINED, (list(account_ids),)):
        raise ChainKeyMissingError


#: SQL: some entry has a hash. Its account's salt was drawn with it; erasing a person takes the salt away and leaves the
#: digests of the explanations.
IS_CHAINED = "(EXISTS (SELECT FROM account_salts) OR EXISTS (SELECT FROM erased_whys))"


def require_key_of_books(connection: Connection, key: bytes | None) -> None:
    """Raise ChainKeyMissingError where any entry has a hash, and there is no key to go on with.

    To be asked before whatever must carry a hash or a seal then, whichever account it is of.
    """
    if key is None and run_bulk(connection, f"SELECT 1 WHERE {IS_CHAINED}"):  # our own words
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
