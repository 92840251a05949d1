"""Reading for people: an account and its history. Changes nothing."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.decision import TierChange
from core.domain.ledger import Account, AccountStatus, EntryKind
from core.domain.lots import Lot
from core.domain.reach import ReferenceKey
from core.domain.value.authorizations import AuthorizationState
from core.domain.value.commands import ACCOUNT, LINKED, told_reference
from core.store import tables
from core.store.account_names import drawn_id
from core.store.engine import run_bulk
from core.store.ledger import ACCOUNTS, LOTS
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


# Primary ones first: what is said of a customer's points is mostly about those.
_ALL_ACCOUNTS = f"""
SELECT {ACCOUNTS.select("a")}
FROM accounts a LEFT JOIN members m ON m.account_id = a.account_id AND m.customer_id = %s
WHERE a.account_id IN (
    SELECT account_id FROM accounts WHERE customer_id = %s
    UNION SELECT account_id FROM account_members WHERE customer_id = %s
) AND (%s::text IS NULL OR a.program_id = %s)
ORDER BY a.program_id, m.account_id IS NULL, a.created_at, a.account_id
"""  # noqa: S608  # our own names


def load_all_accounts(connection: Connection, customer_id: str, program_id: str | None = None) -> list[Account]:
    """All accounts that the customer owns or is a member of, by program, the one to which their orders come first."""
    values = (customer_id, customer_id, customer_id, program_id, program_id)
    return [ACCOUNTS.read(row) for row in run_bulk(connection, _ALL_ACCOUNTS, values)]


_NAMED = f"""
SELECT {ACCOUNTS.select("a")} FROM accounts a
WHERE a.account_id IN (
    SELECT account_id FROM account_references WHERE kind = %s AND reference = %s AND program_id = ANY(%s)
    UNION ALL SELECT %s::uuid
) AND (%s::text IS NULL OR a.program_id = %s)
ORDER BY a.program_id, a.account_id
"""  # noqa: S608  # our own names


def load_named_accounts(
    connection: Connection, keys: Collection[ReferenceKey], program_id: str | None = None
) -> list[Account]:
    """The accounts to which one name leads, by program; `keys` differ by the program alone, and there is one."""
    kind, name, _ = next(iter(keys))
    drawn = drawn_id(name) if kind == ACCOUNT else None
    values = (kind, name, [key.program_id for key in keys], drawn, program_id, program_id)
    return [ACCOUNTS.read(row) for row in run_bulk(connection, _NAMED, values)]


_LINKED = """
SELECT kind, reference FROM account_references WHERE account_id = %s AND kind = ANY(%s) ORDER BY kind, reference
"""


def load_linked(connection: Connection, account_id: UUID) -> list[tuple[str, str]]:
    """By what else the account is found, in its program: kind and reference, as far as that is told."""
    rows = run_bulk(connection, _LINKED, (account_id, list(LINKED)))
    return [(kind, told_reference(kind, reference)) for kind, reference in rows]


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


class StatusChange(NamedTuple):
    """What put an account into the status that it is in."""

    since: datetime
    source: str
    command_id: str


_OF_STATUS = {
    AccountStatus.FROZEN: "loyalty.command.account.freeze",
    AccountStatus.CLOSED: "loyalty.command.account.close",
}
_STATUS_COMMANDS = """
SELECT recorded_at, source, command_id, type FROM commands
WHERE account_id = %s AND code IS NULL AND type = ANY(%s) ORDER BY recorded_at, inbox_id
"""


def load_status_change(connection: Connection, account: Account) -> StatusChange | None:
    """The command since which the account is frozen or closed; None for one that is neither, or if nobody knows."""
    wanted = _OF_STATUS.get(account.status)
    if wanted is None:
        return None
    types = [*_OF_STATUS.values(), "loyalty.command.account.unfreeze"]
    found: StatusChange | None = None
    for since, source, command_id, of_type in run_bulk(connection, _STATUS_COMMANDS, (account.account_id, types)):
        if of_type != wanted:
            found = None
        elif found is None:
            found = StatusChange(since, source, command_id)
    return found


#: So many lots of an account are listed; the rest is summed up.
LOTS_LISTED_MAX = 1_000
_OPEN_LOTS = f"""
SELECT {LOTS.select("l")} FROM dated_lots l WHERE l.account_id = %s AND l.points_remaining > 0
ORDER BY l.expires_at NULLS LAST, l.available_at NULLS LAST, l.lot_number LIMIT {LOTS_LISTED_MAX}
"""  # noqa: S608  # our own names


def load_open_lots(connection: Connection, account_id: UUID) -> list[Lot]:
    """Lots with points left, in the order in which they would be spent, at most `LOTS_LISTED_MAX`."""
    return [LOTS.read(row).lot for row in run_bulk(connection, _OPEN_LOTS, (account_id,))]


class PointsLeft(NamedTuple):
    """What is left of lots that are alike in when their points can be used."""

    earned_by: str
    is_pending: bool
    available_at: datetime | None  #: of pending ones
    expires_at: datetime | None
    lots: int
    points: int


_POINTS_LEFT = """
SELECT earned_by, is_pending, CASE WHEN is_pending THEN available_at END, expires_at, count(*),
       sum(points_remaining)::bigint
FROM dated_lots WHERE account_id = %s AND points_remaining > 0 GROUP BY 1, 2, 3, 4
"""


def load_points_left(connection: Connection, account_id: UUID) -> list[PointsLeft]:
    """The points of all lots of the account, summed up."""
    return [PointsLeft(*row) for row in run_bulk(connection, _POINTS_LEFT, (account_id,))]


def points_left_of(lots: Iterable[Lot]) -> list[PointsLeft]:
    """The points of these lots, summed up."""
    return [
        PointsLeft(
            lot.earned_by, lot.is_pending, lot.available_at if lot.is_pending else None, lot.expires_at, 1,
            lot.points_remaining,
        )
        for lot in lots
    ]  # fmt: skip


_SEQUENCE_MAX = 2**63 - 1
_HISTORY = """
SELECT e.sequence, e.kind, e.points, e.balance_after, e.deficit_change, e.occurred_at, e.recorded_at,
       e.source, e.order_id, e.refund_id, e.corrects_sequence, e.why, e.pending_change, e.pending_after,
       coalesce(e.why #>> '{converted,into}', o.currency, r.currency),
       CASE WHEN e.kind = 'accrual' THEN trim_scale(nullif(o.points_paid, 0))::text END,
       n.lot_numbers, n.points, n.expiries, e.return_id, e.command_id, e.reserved_change, e.reserved_after,
       CASE WHEN e.command_id IS NOT NULL THEN c.answer->>'acting_customer_id'
            WHEN e.kind = 'accrual' THEN nullif(o.customer_id, a.customer_id) END
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
"""


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
