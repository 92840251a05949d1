"""What names accounts beside their customers, and what is kept with them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import from_json, to_json
from sqlalchemy import Connection

from core.domain.ledger import AccountDetails
from core.domain.reach import ReferenceKey
from core.domain.value.commands import ACCOUNT
from core.store import tables
from core.store.engine import Asked, ask, run_bulk
from core.store.rows import Append, Field, Put, Shape, arrays, unnested
from core.store.sessions import Rows

# Accounts are found by the ids that we drew without a row of their own.
_REFERENCES = f"""
SELECT kind, reference, program_id, r.account_id
FROM {unnested(tables.account_references, ("kind", "reference", "program_id"))}
     JOIN account_references r USING (kind, reference, program_id)
UNION ALL
SELECT '{ACCOUNT}', a.account_id::text, '', a.account_id FROM accounts a WHERE a.account_id = ANY(%b)
"""  # noqa: S608  # our own names


def ask_references(connection: Connection, keys: Collection[ReferenceKey]) -> Asked[dict[ReferenceKey, UUID]]:
    """The accounts to which these references lead, as far as they lead to any."""

    def read(rows: Rows) -> dict[ReferenceKey, UUID]:
        return {ReferenceKey(*key): account_id for *key, account_id in rows}

    if not keys:
        return Asked(read)
    drawn = [found for key in keys if key.kind == ACCOUNT and (found := drawn_id(key.reference)) is not None]
    return ask(connection, _REFERENCES, (*arrays(keys, 3), drawn), read)


def drawn_id(account_id: str) -> UUID | None:
    """The id that we drew for an account; None for one that somebody gave it. It has one way of being written."""
    try:
        drawn = UUID(account_id)
    except ValueError:
        return None
    return drawn if str(drawn) == account_id else None


_OWNERS = """
WITH RECURSIVE way AS (
    SELECT account_id AS named_id, customer_id, merged_into FROM accounts WHERE account_id = ANY(%b)
    UNION ALL
    SELECT w.named_id, a.customer_id, a.merged_into FROM way w JOIN accounts a ON a.account_id = w.merged_into
)
SELECT named_id, customer_id FROM way
"""


def load_owners(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, set[str]]:
    """Whose each of these accounts is, and whose those are into which it is merged."""
    found: dict[UUID, set[str]] = {account_id: set() for account_id in account_ids}
    if account_ids:
        for account_id, customer_id in run_bulk(connection, _OWNERS, (list(account_ids),)):
            found[account_id].add(customer_id)
    return found


class NewReference(NamedTuple):
    """A name by which an account is found from now on, and the shard where what names it is posted."""

    key: ReferenceKey
    account_id: UUID
    shard: int


_APPEND_REFERENCES = Append(Shape(tables.account_references, NewReference).new())


def append_references(connection: Connection, references: Sequence[NewReference]) -> None:
    """Let accounts be found by these names; fails if one of them is taken, and the batch is then done again."""
    _APPEND_REFERENCES.run(connection, references)


_OF_REFERENCES = ("kind", "reference", "program_id")
_DELETE_REFERENCES = f"""
DELETE FROM account_references r USING {unnested(tables.account_references, _OF_REFERENCES)}
WHERE (r.kind, r.reference, r.program_id) = (k.kind, k.reference, k.program_id)
"""  # noqa: S608  # our own names


def delete_references(connection: Connection, keys: Collection[ReferenceKey]) -> None:
    """Let accounts that the caller has locked no longer be found by these names."""
    if keys:
        run_bulk(connection, _DELETE_REFERENCES, arrays(keys, 3))


class _OwnedDetails(NamedTuple):
    account_id: UUID
    details: AccountDetails


def _json(value: Any) -> str:
    return to_json(value).decode()


def _read_tags(text: str) -> tuple[str, ...]:
    return tuple(from_json(text))


DETAILS = Shape(
    tables.account_details,
    _OwnedDetails,
    business_hash="details.digest",
    metadata=Field("details.metadata", lambda metadata: _json(dict(metadata)), from_json),
    tags=Field("details.tags", _json, _read_tags),
)
_DETAILS = f"SELECT {DETAILS.select('d')} FROM account_details d WHERE d.account_id = ANY(%b)"  # noqa: S608  # our own names
_PUT_DETAILS = Put(DETAILS.new())


def ask_details(connection: Connection, account_ids: Collection[UUID]) -> Asked[dict[UUID, AccountDetails]]:
    """What is kept with each of these accounts."""

    def read(rows: Rows) -> dict[UUID, AccountDetails]:
        return {**dict.fromkeys(account_ids, AccountDetails()), **dict(map(DETAILS.read, rows))}

    return ask(connection, _DETAILS, (list(account_ids),), read) if account_ids else Asked(read)


def write_details(connection: Connection, details: Mapping[UUID, AccountDetails]) -> None:
    """Write what is kept with accounts that the caller has locked, or opens."""
    _PUT_DETAILS.run(connection, [_OwnedDetails(*pair) for pair in details.items()])
