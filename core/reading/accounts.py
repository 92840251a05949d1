"""Reading for people: an account and its history. Changes nothing."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.decision import TierChange
from core.domain.ledger import Account, EntryKind
from core.domain.members import OF_MEMBER
from core.domain.value.authorizations import AuthorizationState
from core.store import tables
from core.store.engine import run_bulk
from core.store.ledger import ACCOUNTS
from core.store.programs import VERSIONS
from core.store.rows import Shape


class LotMove(NamedTuple):
    """What one entry gave to (positive) or took from (negative) one lot."""

    lot_number: int
    points: int
    expires_at: datetime | None


class HistoryEntry(NamedTuple):
    """One ledger entry with everything that explains it."""

    sequence: int
    kind: EntryKind
    points: int
    balance_after: int
    deficit_change: int
    occurred_at: datetime
    recorded_at: datetime
    source: str | None
    order_id: str | None
    refund_id: str | None
    corrects_sequence: int | None
    why: dict[str, Any]
    pending_change: int
    pending_after: int
    currency: str | None  #: of the amounts that earn: the order's, or the program's where that is another one
    points_paid: str | None  #: the part of the order that was paid with points, in major units; None: nothing
    lots: tuple[LotMove, ...]
    return_id: str | None = None
    command_id: str | None = None
    reserved_change: int = 0
    reserved_after: int = 0
    acting_customer_id: str | None = None  #: the member whose order or command it is; None: the owner's, or nobody's


# By way of the programs, since the key of members leads with them: one probe per program, however many customers.
_ACCOUNTS = f"""
SELECT {ACCOUNTS.select("a")}
FROM (SELECT DISTINCT program_id FROM programs) p
JOIN members m ON m.program_id = p.program_id AND m.customer_id = %s
JOIN accounts a USING (account_id)
WHERE %s::text IS NULL OR p.program_id = %s ORDER BY p.program_id
"""  # noqa: S608  # our own column names


def load_accounts(connection: Connection, customer_id: str, program_id: str | None = None) -> list[Account]:
    """The accounts that the customer may use, by program; of one program if named."""
    rows = run_bulk(connection, _ACCOUNTS, (customer_id, program_id, program_id))
    return [ACCOUNTS.read(row) for row in rows]


def load_accounts_by_id(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, Account]:
    """These accounts, as far as there are any."""
    statement = f"SELECT {ACCOUNTS.select('a')} FROM accounts a WHERE a.account_id = ANY(%b)"  # noqa: S608  # our own names
    rows = run_bulk(connection, statement, (list(account_ids),))
    return {account.account_id: account for account in map(ACCOUNTS.read, rows)}


class AccountTimes(NamedTuple):
    """When an account was made, and when something of it changed last."""

    created_at: datetime
    updated_at: datetime


def load_account_times(connection: Connection, account_id: UUID) -> AccountTimes:
    """These of an account that is known to be there."""
    (row,) = run_bulk(connection, "SELECT created_at, updated_at FROM accounts WHERE account_id = %s", (account_id,))
    return AccountTimes(*row)


def load_authorization_states(
    connection: Connection, account_id: UUID, sequences: Collection[int]
) -> dict[int, AuthorizationState]:
    """What became of what these entries of the account reserved, by their numbers."""
    if not sequences:
        return {}
    statement = "SELECT sequence, state FROM authorizations WHERE account_id = %s AND sequence = ANY(%s)"
    rows = run_bulk(connection, statement, (account_id, list(sequences)))
    return {sequence: AuthorizationState(state) for sequence, state in rows}


_ORDER_TIMES = """
SELECT o.source, o.order_id, o.occurred_at FROM unnest(%b::text[], %b::text[]) AS k (source, order_id)
JOIN orders o ON o.source = k.source AND o.order_id = k.order_id AND o.program_id = %b
"""


def load_order_times(
    connection: Connection, program_id: str, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], datetime]:
    """When these orders of a program, by source and id, were placed."""
    if not keys:
        return {}
    sources, order_ids = map(list, zip(*keys, strict=True))
    rows = run_bulk(connection, _ORDER_TIMES, (sources, order_ids, program_id))
    return {(source, order_id): occurred_at for source, order_id, occurred_at in rows}


_SEQUENCE_MAX = 2**63 - 1
_HISTORY = f"""
SELECT e.sequence, e.kind, e.points, e.balance_after, e.deficit_change, e.occurred_at, e.recorded_at,
       e.source, e.order_id, e.refund_id, e.corrects_sequence, e.why, e.pending_change, e.pending_after,
       coalesce(e.why #>> '{{converted,into}}', o.currency, r.currency),
       CASE WHEN e.kind = 'accrual' THEN trim_scale(nullif(o.points_paid, 0))::text END,
       n.lot_numbers, n.points, n.expiries, e.return_id, e.command_id, e.reserved_change, e.reserved_after,
       CASE WHEN e.command_id IS NOT NULL THEN c.answer->>'acting_customer_id'
            WHEN e.why->'{OF_MEMBER}' IS NOT NULL THEN o.customer_id END
FROM entries e
JOIN accounts a USING (account_id)
LEFT JOIN orders o ON o.source = e.source AND o.order_id = e.order_id AND o.program_id = a.program_id
LEFT JOIN commands c ON c.source = e.source AND c.command_id = e.command_id
LEFT JOIN returns r ON r.source = e.source AND r.return_id = e.return_id AND r.program_id = a.program_id
LEFT JOIN LATERAL (
    SELECT array_agg(n.lot_number ORDER BY n.lot_number) AS lot_numbers,
           array_agg(n.points ORDER BY n.lot_number) AS points,
           array_agg(l.expires_at ORDER BY n.lot_number) AS expiries
    FROM allocations n JOIN dated_lots l USING (account_id, lot_number)
    WHERE n.account_id = e.account_id AND n.sequence = e.sequence
) n ON true
WHERE e.account_id = %s AND e.sequence <= %s AND (%s::text IS NULL OR (e.source = %s AND e.order_id = %s))
ORDER BY e.sequence DESC LIMIT %s
"""  # noqa: S608  # our own word


def load_history(
    connection: Connection,
    account_id: UUID,
    entries_max: int,
    *,
    through: int | None = None,
    of_order: tuple[str, str] | None = None,
) -> list[HistoryEntry]:
    """The account's last entries, oldest of them first: up to the entry `through`, of one (source, order_id) only."""
    source, order_id = of_order or (None, None)
    last = _SEQUENCE_MAX if through is None else through
    rows = run_bulk(connection, _HISTORY, (account_id, last, source, source, order_id, entries_max))
    return [_history_entry(row) for row in reversed(rows)]


def _history_entry(row: Sequence[Any]) -> HistoryEntry:
    sequence, kind, *values, lot_numbers, points, expiries, return_id, command_id, reserved, reserved_after, acting = (
        row
    )
    moves = zip(lot_numbers or (), points or (), expiries or (), strict=True)
    lots = tuple(LotMove(*move) for move in moves)
    return HistoryEntry._make(
        (sequence, EntryKind(kind), *values, lots, return_id, command_id, reserved, reserved_after, acting)
    )


_TIER_CHANGES = Shape(tables.tier_changes, TierChange)
# A review goes by the version of the end of its period.
_LOAD_TIER_CHANGES = f"""
SELECT coalesce((
    SELECT max(version) FROM ({VERSIONS}) AS v
    WHERE v.program_id = a.program_id AND NOT is_withdrawn AND applied_at <= t.recorded_at
      AND effective_from <= effective_at
), 1), {_TIER_CHANGES.select("t")}
FROM tier_changes t JOIN accounts a USING (account_id) WHERE account_id = %s ORDER BY change_number
"""  # noqa: S608  # our own names


def load_tier_changes(connection: Connection, account_id: UUID) -> list[tuple[TierChange, int]]:
    """The account's tier changes, oldest first, each with the program version that judged it.

    That is the version in force at its own instant, as far as it was known when it was posted.
    """
    return [
        (_TIER_CHANGES.read(values), version)
        for version, *values in run_bulk(connection, _LOAD_TIER_CHANGES, (account_id,))
    ]
