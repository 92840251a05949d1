"""Reading for people: an account and its history, program files, and how much is under way. Changes nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.ledger import Account, EntryKind
from core.domain.lots import Lot, in_spending_order
from core.store.engine import run_bulk
from core.store.ledger import ACCOUNT_COLUMNS


class OpenRefund(NamedTuple):
    """A refund of one of the account's orders that is not in the ledger."""

    inbox_id: int
    source: str
    order_id: str
    state: str  #: received, waiting or dead
    reason: str | None
    received_at: datetime


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
    currency: str | None  #: of the order
    lots: tuple[LotMove, ...]


class ProgramFile(NamedTuple):
    """The text of one program version as it was applied."""

    file_text: str
    applied_at: datetime


class Backlog(NamedTuple):
    """What waits in one place, and since when."""

    rows: int
    oldest_at: datetime | None


class Status(NamedTuple):
    """How much is there and how much is under way."""

    as_of: datetime
    inbox: dict[str, int]  #: rows by state
    received: Backlog  #: inbox rows to post
    waiting: Backlog  #: refunds that wait for their orders
    unpublished: Backlog  #: outbox rows to publish
    accounts: int
    orders: int
    entries: int
    programs: int


def database_now(connection: Connection) -> datetime:
    """Read the clock that every worker shares."""
    ((now,),) = run_bulk(connection, "SELECT now()")
    assert isinstance(now, datetime)
    return now


# By way of the programs, since the key of members leads with them: one probe per program, however many customers.
_ACCOUNTS = f"""
SELECT {", ".join(f"a.{column}" for column in ACCOUNT_COLUMNS)}
FROM (SELECT DISTINCT program_id FROM programs) p
JOIN members m ON m.program_id = p.program_id AND m.customer_id = %s
JOIN accounts a USING (account_id)
WHERE %s::text IS NULL OR p.program_id = %s ORDER BY p.program_id
"""  # noqa: S608  # our own column names


def load_accounts(connection: Connection, customer_id: str, program_id: str | None = None) -> list[Account]:
    """The accounts that the customer may use, by program; of one program if named."""
    rows = run_bulk(connection, _ACCOUNTS, (customer_id, program_id, program_id))
    return [Account(*row) for row in rows]


def load_open_lots(connection: Connection, account_id: UUID) -> list[Lot]:
    """Lots with points left, in the order in which they would be spent."""
    columns = ", ".join(Lot._fields)
    statement = f"SELECT {columns} FROM lots WHERE account_id = %s AND points_remaining > 0"  # noqa: S608  # our own names
    return in_spending_order(Lot(*row) for row in run_bulk(connection, statement, (account_id,)))


# Two halves, since each has an index of its own and the whole has none.
_OPEN_REFUNDS = """
SELECT i.inbox_id, i.source, i.order_id, i.state, i.reason, i.received_at
FROM orders o JOIN inbox i ON i.source = o.source AND i.order_id = o.order_id
WHERE o.account_id = %s AND i.state IN ('received', 'waiting') AND i.type = 'order.refunded'
UNION ALL
SELECT i.inbox_id, i.source, i.order_id, i.state, i.reason, i.received_at
FROM orders o JOIN inbox i ON i.source = o.source AND i.order_id = o.order_id
WHERE o.account_id = %s AND i.state = 'dead' AND i.type = 'order.refunded'
ORDER BY inbox_id
"""


def load_open_refunds(connection: Connection, account_id: UUID) -> list[OpenRefund]:
    """Refunds of the account's orders that wait, are about to be posted, or are parked."""
    return [OpenRefund(*row) for row in run_bulk(connection, _OPEN_REFUNDS, (account_id, account_id))]


_HISTORY = """
SELECT e.sequence, e.kind, e.points, e.balance_after, e.deficit_change, e.occurred_at, e.recorded_at,
       e.source, e.order_id, e.refund_id, e.corrects_sequence, e.why, o.currency, n.lot_numbers, n.points, n.expiries
FROM entries e
JOIN accounts a USING (account_id)
LEFT JOIN orders o ON o.source = e.source AND o.order_id = e.order_id AND o.program_id = a.program_id
LEFT JOIN LATERAL (
    SELECT array_agg(n.lot_number ORDER BY n.lot_number) AS lot_numbers,
           array_agg(n.points ORDER BY n.lot_number) AS points,
           array_agg(l.expires_at ORDER BY n.lot_number) AS expiries
    FROM allocations n JOIN lots l USING (account_id, lot_number)
    WHERE n.account_id = e.account_id AND n.sequence = e.sequence
) n ON true
WHERE e.account_id = %s ORDER BY e.sequence DESC LIMIT %s
"""


def load_history(connection: Connection, account_id: UUID, entries_max: int) -> list[HistoryEntry]:
    """The account's last entries, oldest of them first."""
    rows = run_bulk(connection, _HISTORY, (account_id, entries_max))
    return [_history_entry(row) for row in reversed(rows)]


def _history_entry(row: Sequence[Any]) -> HistoryEntry:
    *values, lot_numbers, points, expiries = row
    values[1] = EntryKind(values[1])
    moves = zip(lot_numbers or (), points or (), expiries or (), strict=True)
    return HistoryEntry._make((*values, tuple(LotMove(*move) for move in moves)))


def load_program_file(connection: Connection, program_id: str, version: int) -> ProgramFile:
    """The file of a version that is known to exist."""
    statement = "SELECT file_text, applied_at FROM programs WHERE program_id = %s AND version = %s"
    (row,) = run_bulk(connection, statement, (program_id, version))
    return ProgramFile(*row)


_BACKLOGS = """
SELECT (SELECT count(*) FROM inbox WHERE state = 'received'),
       (SELECT min(received_at) FROM inbox WHERE state = 'received'),
       (SELECT count(*) FROM inbox WHERE state = 'waiting'),
       (SELECT min(received_at) FROM inbox WHERE state = 'waiting'),
       (SELECT count(*) FROM outbox WHERE published_at IS NULL),
       (SELECT min(created_at) FROM outbox WHERE published_at IS NULL),
       (SELECT count(*) FROM accounts), (SELECT count(*) FROM orders), (SELECT count(*) FROM entries),
       (SELECT count(DISTINCT program_id) FROM programs), now()
"""

INBOX_STATES = ("received", "waiting", "posted", "replayed", "dead", "dropped")


def load_status(connection: Connection) -> Status:
    """Count, exactly; on a very large database this takes its time."""
    ((received, received_at, waiting, waiting_at, unpublished, unpublished_at, *counts, as_of),) = run_bulk(
        connection, _BACKLOGS
    )
    found = dict(run_bulk(connection, "SELECT state, count(*) FROM inbox GROUP BY state"))
    return Status(
        as_of,
        {state: found.get(state, 0) for state in INBOX_STATES},
        Backlog(received, received_at),
        Backlog(waiting, waiting_at),
        Backlog(unpublished, unpublished_at),
        *counts,
    )
