"""Who may use an account beside its owner, and to which account a customer's orders come."""

from collections.abc import Collection, Mapping
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.members import Member, OwnAccounts, PrimaryChange, Role
from core.domain.reach import CustomerKey
from core.store import tables
from core.store.engine import Asked, ask, run_bulk
from core.store.rows import Append, Put, Shape, arrays, unnested
from core.store.sessions import Rows


class _AccountMember(NamedTuple):
    account_id: UUID
    member: Member


class _Primary(NamedTuple):
    program_id: str
    customer_id: str
    account_id: UUID


_MEMBERS = """
SELECT account_id, customer_id, role FROM account_members WHERE account_id = ANY(%b) ORDER BY account_id, customer_id
"""


def ask_members(connection: Connection, account_ids: Collection[UUID]) -> Asked[dict[UUID, tuple[Member, ...]]]:
    """Who may use these accounts, which the caller has locked, beside their owners."""

    def read(rows: Rows) -> dict[UUID, tuple[Member, ...]]:
        found: dict[UUID, tuple[Member, ...]] = dict.fromkeys(account_ids, ())
        for account_id, customer_id, role in rows:
            found[account_id] += (Member(customer_id, Role(role)),)
        return found

    return ask(connection, _MEMBERS, (list(account_ids),), read) if account_ids else Asked(read)


_PERSONS = """
SELECT k.customer_id, a.account_id FROM unnest(%b::text[]) AS k(customer_id) JOIN accounts a USING (customer_id)
UNION
SELECT k.customer_id, m.account_id FROM unnest(%b::text[]) AS k(customer_id) JOIN account_members m USING (customer_id)
"""


def load_persons(connection: Connection, customer_ids: Collection[str]) -> dict[str, list[UUID]]:
    """All accounts of these customers, in all programs, and all that they may use."""
    found: dict[str, list[UUID]] = {customer_id: [] for customer_id in customer_ids}
    if customer_ids:
        named = list(customer_ids)
        for customer_id, account_id in run_bulk(connection, _PERSONS, (named, named)):
            found[customer_id].append(account_id)
    return found


_OWN_ACCOUNTS = """
SELECT m.program_id, m.customer_id, p.account_id,
       (WITH RECURSIVE at AS (
            SELECT account_id, merged_into FROM accounts WHERE account_id = p.account_id
            UNION ALL
            SELECT a.account_id, a.merged_into FROM at JOIN accounts a ON a.account_id = at.merged_into
        ) SELECT account_id FROM at WHERE merged_into IS NULL),
       (SELECT o.account_id FROM accounts o
        WHERE o.customer_id = m.customer_id AND o.own_account_id IS NOT NULL AND o.program_id = m.program_id
        ORDER BY o.created_at, o.account_id LIMIT 1)
FROM (
    SELECT account_id, program_id, m.customer_id FROM account_members m JOIN accounts a USING (account_id)
    UNION ALL
    SELECT account_id, program_id, customer_id FROM accounts
) AS m
LEFT JOIN members p ON p.program_id = m.program_id AND p.customer_id = m.customer_id
WHERE m.account_id = ANY(%b)
"""


def load_own_accounts(connection: Connection, account_ids: Collection[UUID]) -> dict[CustomerKey, OwnAccounts]:
    """Where the orders of the owners and members of these accounts come to, and would come if they left them."""
    if not account_ids:
        return {}
    rows = run_bulk(connection, _OWN_ACCOUNTS, (list(account_ids),))
    return {(program_id, customer_id): OwnAccounts(*ids) for program_id, customer_id, *ids in rows}


_APPEND_MEMBERS = Append(Shape(tables.account_members, _AccountMember).new())


def write_members(connection: Connection, members: Mapping[UUID, Collection[Member]]) -> None:
    """Write who may use accounts that the caller has locked, or opens."""
    if members:
        run_bulk(connection, "DELETE FROM account_members WHERE account_id = ANY(%b)", (list(members),))
        _APPEND_MEMBERS.run(connection, [_AccountMember(i, each) for i, of_one in members.items() for each in of_one])


_PRIMARIES = Shape(tables.members, _Primary)
_APPEND_PRIMARIES = Append(_PRIMARIES.new())
_PUT_PRIMARIES = Put(_PRIMARIES.new())
_DELETE_PRIMARIES = f"""
DELETE FROM members m USING {unnested(tables.members, ("program_id", "customer_id", "account_id"))}
WHERE (m.program_id, m.customer_id, m.account_id) = (k.program_id, k.customer_id, k.account_id)
"""  # noqa: S608  # our own names


def write_primaries(connection: Connection, changes: Mapping[CustomerKey, PrimaryChange]) -> None:
    """Write to which accounts these customers' orders come from now on.

    Fails if another transaction was first to give a customer an account; the batch is then done again. In one order
    everywhere, since two transactions that give accounts to the same customers wait for each other.
    """
    gone: list[_Primary] = []
    moved: list[_Primary] = []
    new: list[_Primary] = []
    for key in sorted(changes):
        _, before, after = changes[key]
        if after is not None:
            (new if before is None else moved).append(_Primary(*key, after))
        elif before is not None:
            gone.append(_Primary(*key, before))
    if gone:
        run_bulk(connection, _DELETE_PRIMARIES, arrays(gone, 3))
    _APPEND_PRIMARIES.run(connection, new)
    _PUT_PRIMARIES.run(connection, moved)
