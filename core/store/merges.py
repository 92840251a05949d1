"""Merges of accounts: what they moved, and what is needed to make and to undo them."""

from collections.abc import Collection, Iterable, Mapping
from uuid import UUID

from sqlalchemy import Connection

from core.domain.books import COMMAND_LIMIT
from core.domain.lots import Lot
from core.domain.merges import LotMove, PostedMerge
from core.domain.program import UsageKey
from core.domain.takes import Take
from core.store import tables
from core.store.engine import run_bulk
from core.store.ledger import LOTS
from core.store.rows import Append, Shape, arrays

OrderKey = tuple[str, str]  #: source, order_id
LotKey = tuple[UUID, int]  #: account, number

MERGES = Shape(tables.merges, PostedMerge)
LOT_MOVES = Shape(tables.lot_moves, LotMove)
_APPEND_MERGES = Append(MERGES.new())
_APPEND_LOT_MOVES = Append(LOT_MOVES.new())
_MERGES = f"SELECT {MERGES.select('m')} FROM merges m WHERE m.account_id = ANY(%b) ORDER BY m.sequence"  # noqa: S608  # our own names
_LOT_MOVES = f"SELECT {LOT_MOVES.select('m')} FROM lot_moves m WHERE m.account_id = ANY(%b)"  # noqa: S608  # our own names
_EVERY_LOT = f"SELECT {LOTS.select('l')} FROM dated_lots l WHERE l.account_id = ANY(%b)"  # noqa: S608  # our own names
_ORDERS_OF = """
SELECT account_id, source, order_id FROM orders WHERE account_id = ANY(%b)
UNION
SELECT account_id, source, order_id FROM order_events WHERE account_id = ANY(%b) AND kind = 'moved_away'
"""


def append_merges(connection: Connection, merges: Collection[PostedMerge], moves: Collection[LotMove]) -> None:
    """Record merges and the lots that they moved, after the entries and lots themselves."""
    _APPEND_MERGES.run(connection, merges)
    _APPEND_LOT_MOVES.run(connection, moves)


def load_merges(connection: Connection, account_ids: Collection[UUID]) -> tuple[list[PostedMerge], list[LotMove]]:
    """All merges of these accounts, oldest first, and the lots that these moved."""
    parameters = (list(account_ids),)
    merges = [MERGES.read(row) for row in run_bulk(connection, _MERGES, parameters)]
    return merges, [LOT_MOVES.read(row) for row in run_bulk(connection, _LOT_MOVES, parameters)]


def load_every_lot(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, list[Lot]]:
    """All lots of these accounts, also the empty ones."""
    found: dict[UUID, list[Lot]] = {account_id: [] for account_id in account_ids}
    if account_ids:
        for account_id, lot in map(LOTS.read, run_bulk(connection, _EVERY_LOT, (list(account_ids),))):
            found[account_id].append(lot)
    return found


def load_orders_of(connection: Connection, account_ids: Collection[UUID]) -> dict[UUID, list[OrderKey]]:
    """Which orders are these accounts', or moved away from them by a merge."""
    found: dict[UUID, list[OrderKey]] = {account_id: [] for account_id in account_ids}
    if account_ids:
        for account_id, *key in run_bulk(connection, _ORDERS_OF, (list(account_ids), list(account_ids))):
            found[account_id].append((key[0], key[1]))
    return found


_REWARDED = """
SELECT DISTINCT account_id FROM authorizations
WHERE account_id = ANY(%b) AND kind = 'reward' AND state IN ('open', 'captured')
"""


def load_rewarded(connection: Connection, account_ids: Collection[UUID]) -> set[UUID]:
    """Those of these accounts that have rewards, or had them: not such as were taken back."""
    return {row[0] for row in run_bulk(connection, _REWARDED, (list(account_ids),))}


_USED_BY_COMMANDS = "SELECT DISTINCT name, period FROM usages WHERE account_id = ANY(%b) AND starts_with(name, %b)"


def load_used_by_commands(connection: Connection, account_ids: Collection[UUID]) -> list[UsageKey]:
    """Of which limits, and on which days and in which months, commands of these accounts have used something."""
    return [UsageKey(*row) for row in run_bulk(connection, _USED_BY_COMMANDS, (list(account_ids), COMMAND_LIMIT))]


_MOVED_TO = """
SELECT k.account_id, k.lot_number, m.account_id, m.lot_number
FROM unnest(%b::uuid[], %b::integer[]) AS k(account_id, lot_number)
JOIN lot_moves m ON m.other_account_id = k.account_id AND m.other_lot_number = k.lot_number
ORDER BY m.lot_number
"""


def lots_moved(
    connection: Connection, wanted: Mapping[OrderKey, UUID], takes: Iterable[tuple[UUID, OrderKey, Take]]
) -> dict[tuple[UUID, OrderKey], list[Take]]:
    """What clawbacks of these orders took from lots that merges have moved to the account whose the order is now.

    Through as many merges as there were between, each way once; what was merged again is in the lots of the last time.
    """
    found: dict[tuple[UUID, OrderKey], list[Take]] = {}
    open_ones = [(account_id, key, take, {account_id}) for account_id, key, take in takes]
    while open_ones:
        lots = {(account_id, take.lot_number) for account_id, _, take, _ in open_ones}
        moved: dict[LotKey, dict[UUID, int]] = {}
        for account_id, number, now_at, now_number in run_bulk(connection, _MOVED_TO, arrays(lots, 2)):
            moved.setdefault((account_id, number), {})[now_at] = now_number
        following = []
        for account_id, key, take, been in open_ones:
            for now_at, number in moved.get((account_id, take.lot_number), {}).items():
                there = take._replace(lot_number=number)
                if now_at == wanted[key]:
                    found.setdefault((now_at, key), []).append(there)
                elif now_at not in been:
                    following.append((now_at, key, there, been | {now_at}))
        open_ones = following
    return found
