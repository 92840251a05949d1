"""Which accounts a statement of verify or rebuild looks at: everything, a slice by account id, or some.

The statements are written as if for everything; a scope puts before them what narrows each table to its accounts.
So they need memory for one slice, however large the ledger, and can say how far they are.
"""

from collections.abc import Collection, Generator
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.store.engine import run_bulk

#: The account (None: it is about none) and the text of each difference that a look at a scope finds.
Findings = Generator[tuple[UUID | None, str], None, None]
#: Entries of the accounts that one slice holds; an account with more is a slice of its own.
SLICE_ENTRIES_MIN, SLICE_ENTRIES_MAX = 200_000, 2_000_000
#: Between these, slices are so large that there are so many: rows lie in the order of time, so that each slice reads
#: most of the pages.
SLICES = 10
#: Tables whose rows belong to one account, which they name.
OF_ACCOUNTS = (
    "accounts", "members", "account_members", "entries", "lots", "allocations", "tier_changes", "orders", "refunds",
    "order_events", "returns", "commands", "usages", "outbox", "repairs", "shared_expiries", "dated_lots",
    "account_references", "authorizations", "merges", "lot_moves", "account_salts", "erased_whys",
    "erased_accounts",
)  # fmt: skip


class Scope(NamedTuple):
    """A condition on `account_id` and its parameters."""

    condition: str
    parameters: dict[str, Any]
    is_copied: bool = False  #: the tables of the session hold nothing else (core.store.proof.copies)

    def narrow(self, query: str) -> str:
        """`query` on the rows of these accounts only: each table's name means those rows in it."""
        if self.condition == "true" or self.is_copied:
            return query
        # Not materialized: a name that is used twice would be copied first, and lose its indexes.
        views = [
            f"{table} AS NOT MATERIALIZED (SELECT * FROM {table} WHERE {self.condition})"  # noqa: S608  # our own words
            for table in OF_ACCOUNTS
        ]
        return f"WITH {', '.join(views)} {query}"


EVERYTHING = Scope("true", {})


def these_accounts(account_ids: Collection[UUID]) -> Scope:
    """Only these accounts."""
    return Scope("account_id = ANY(%(account_ids)s)", {"account_ids": list(account_ids)})


# The last account of each slice: the one after it begins a new multiple of the size.
_ENDS = """
SELECT account_id FROM (
    SELECT account_id, slice, lead(slice) OVER (ORDER BY account_id) AS following
    FROM (
        SELECT account_id, div(sum(sequence + 1) OVER (ORDER BY account_id),
                               coalesce(%s, least(greatest(%s, (SELECT sum(sequence + 1) / %s FROM accounts)), %s)))
                   AS slice
        FROM accounts
    ) AS numbered
) AS slices
WHERE slice <> following ORDER BY account_id
"""
# What moved an account's orders and lots to another one is explained by both, so they are looked at together.
_MERGED_PAIRS = "SELECT DISTINCT account_id, other_account_id FROM merges WHERE account_id < other_account_id"
_FAMILY = """
WITH RECURSIVE family AS (
    SELECT unnest(%s::uuid[]) AS account_id
    UNION
    SELECT m.other_account_id FROM family JOIN merges m USING (account_id)
)
SELECT account_id FROM family
"""
_FIRST, _LAST = UUID(int=0), UUID(int=2**128 - 1)


def slices(connection: Connection, entries_max: int | None = None) -> list[Scope]:
    """Divide all accounts by their ids into slices of about `entries_max` entries; at least one slice.

    Unless that is given, about `SLICES`: fewer of a small ledger, more of a very large one.
    Accounts that were merged are in the slice of the first of them.
    """
    ends = [row[0] for row in run_bulk(connection, _ENDS, (entries_max, SLICE_ENTRIES_MIN, SLICES, SLICE_ENTRIES_MAX))]
    found = []
    moved = _moved_to_first(connection)
    for after, last in zip((_FIRST, *ends), (*ends, _LAST), strict=True):
        condition, parameters = "account_id > %(after)s AND account_id <= %(last)s", {"after": after, "last": last}
        here = [each for each, first in moved.items() if after < first <= last]
        elsewhere = [each for each, first in moved.items() if after < each <= last and not after < first <= last]
        if here or elsewhere:
            condition = f"({condition} AND account_id <> ALL(%(elsewhere)s) OR account_id = ANY(%(here)s))"
            found.append(Scope(condition, {**parameters, "elsewhere": elsewhere, "here": here}))
        else:
            found.append(Scope(condition, parameters))
    return found


def _moved_to_first(connection: Connection) -> dict[UUID, UUID]:
    """The accounts that were merged, each with the first one of those that hang together."""
    first_of: dict[UUID, UUID] = {}

    def first(account_id: UUID) -> UUID:
        while first_of.get(account_id, account_id) != account_id:
            account_id = first_of[account_id]
        return account_id

    for one, other in run_bulk(connection, _MERGED_PAIRS):
        both = sorted((first(one), first(other)))
        first_of[both[1]] = both[0]
        first_of.setdefault(one, first(one))
        first_of.setdefault(other, first(other))
    return {account_id: first(account_id) for account_id in first_of}


def with_merged(connection: Connection, account_ids: Collection[UUID]) -> list[UUID]:
    """These accounts, and those that they were merged with."""
    return [row[0] for row in run_bulk(connection, _FAMILY, (list(account_ids),))] if account_ids else []


# By way of the primary key, past the accounts of other shards: of each eight rows that are read seven are skipped.
_NEXT_OF_SHARD = """
SELECT account_id, sequence FROM accounts
WHERE account_shard = %s AND account_id > %s ORDER BY account_id LIMIT %s
"""


def next_of_shard(
    connection: Connection, account_shard: int, after: UUID | None, accounts_max: int, entries_max: int
) -> list[UUID]:
    """The shard's next accounts after `after`, at most so many, with at most so many entries unless it is one."""
    found: list[UUID] = []
    entries = 0
    for account_id, sequence in run_bulk(connection, _NEXT_OF_SHARD, (account_shard, after or _FIRST, accounts_max)):
        entries += sequence
        if found and entries > entries_max:
            break
        found.append(account_id)
    return found
