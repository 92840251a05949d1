"""How much is there and how much is under way: quick however large the tables are, unless exact counts are wanted."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.store.engine import run_bulk
from core.store.orders_elsewhere import OrderElsewhere, orders_elsewhere
from core.store.outbox import UNPUBLISHED
from core.store.programs import load_registry
from core.store.proof.seals import IS_CHAINED

#: A table up to this size is counted in a moment, and its statistics may not be there yet.
_COUNTED_BYTES_MAX = 16 * 1024 * 1024

INBOX_STATES = ("received", "waiting", "posted", "replayed", "rejected", "dead", "dropped")
#: The tables whose rows are counted.
_TABLES = {"messages": "inbox", "accounts": "accounts", "orders": "orders", "entries": "entries"}


class Backlog(NamedTuple):
    """What waits in one place, and since when."""

    rows: int
    oldest_at: datetime | None


class BusyShard(NamedTuple):
    """A shard with messages to post, or whose posting has died."""

    shard: int
    rows: int
    oldest_at: datetime | None
    attempts: int  #: to post, in a row, of which none has ended; more than one means that workers died at it


class UnderWay(NamedTuple):
    """What is under way. Only rows that are open are read, by the indexes that have no others."""

    as_of: datetime
    stored_at: datetime | None  #: when the newest message was stored in the inbox
    received: Backlog  #: inbox rows to post
    waiting: Backlog  #: messages that wait for their orders
    unpublished: Backlog  #: outbox rows to publish
    dead: dict[str, int]  #: dead letters by reason, the most frequent first
    shards: list[BusyShard]


class Status(NamedTuple):
    """What is under way, counted, and what is settled: counted too where that is quick, else about."""

    as_of: datetime
    stored_at: datetime | None  #: this and what follows as of `UnderWay`
    received: Backlog
    waiting: Backlog
    unpublished: Backlog
    dead: dict[str, int]
    shards: list[BusyShard]
    inbox: dict[str, int | None]  #: rows by state; None: not counted
    totals: dict[str, int | None]  #: rows of the tables; None: not known
    estimated: list[str]  #: which of the totals are about
    programs: int
    programs_since: datetime | None  #: when the first program was applied: it can be asked what has run since
    elsewhere: list[OrderElsewhere]  #: orders that waiting messages may mean
    is_chained: bool  #: entries carry a hash chain, without whose key nothing is posted


_STORED_AT = "SELECT max(received_at) FROM (SELECT received_at FROM inbox ORDER BY inbox_id DESC LIMIT 1) AS newest"
_OPEN = f"""
SELECT now(),
       (SELECT count(*) FROM inbox WHERE state = 'waiting'),
       (SELECT received_at FROM inbox WHERE state = 'waiting' ORDER BY inbox_id LIMIT 1),
       (SELECT count(*) FROM {UNPUBLISHED} AS u)
"""  # noqa: S608  # our own words
_PROGRAMS = f"SELECT count(DISTINCT program_id), min(applied_at), {IS_CHAINED} FROM programs"  # noqa: S608  # our own words
_AUTHORIZATIONS = "SELECT count(*) FROM authorizations WHERE state = 'open' AND expires_at IS NOT NULL"

# By the numbers of the rows, which the indexes of what is open are in, and which are in the order of arrival.
_SHARDS = """
SELECT coalesce(r.shard, a.shard), coalesce(r.messages, 0),
       (SELECT received_at FROM inbox WHERE inbox_id = r.first), coalesce(a.attempts, 0)
FROM (SELECT shard, count(*) AS messages, min(inbox_id) AS first FROM inbox WHERE state = 'received' GROUP BY shard) r
FULL JOIN (SELECT shard, attempts FROM posting_attempts WHERE attempts > 0) a ON a.shard = r.shard
ORDER BY 1
"""
_UNPUBLISHED_SINCE = f"""
SELECT min(created_at) FROM outbox WHERE outbox_id IN (
    SELECT min(outbox_id) FROM {UNPUBLISHED} AS u GROUP BY account_shard)
"""  # noqa: S608  # our own words
_SIZES = """
SELECT relname, pg_relation_size(oid),
       CASE WHEN reltuples >= 0 AND relpages > 0
            THEN (reltuples / relpages * pg_relation_size(oid) / current_setting('block_size')::integer)::bigint END
FROM pg_class
WHERE relname = ANY(%b) AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'inbox'::regclass)
"""


def load_status(connection: Connection, *, is_exact: bool = False) -> Status:
    """Look at everything, in one snapshot if `connection` keeps one.

    `is_exact` counts what is settled too, which reads whole tables; else large ones are estimated by their statistics.
    """
    found = load_under_way(connection)
    ((programs, since, is_chained),) = run_bulk(connection, _PROGRAMS)
    inbox: dict[str, int | None] = dict.fromkeys(INBOX_STATES)
    inbox |= {"received": found.received.rows, "waiting": found.waiting.rows, "dead": sum(found.dead.values())}
    totals, counted = _totals(connection, is_exact=is_exact)
    if "messages" in counted:
        states: dict[str, int] = dict(run_bulk(connection, "SELECT state, count(*) FROM inbox GROUP BY state"))
        inbox |= {state: states.get(state, 0) for state in ("posted", "replayed", "rejected", "dropped")}
    return Status(
        *found,
        inbox,
        totals,
        [name for name in totals if name not in counted],
        programs,
        since,
        orders_elsewhere(connection, load_registry(connection)) if found.waiting.rows else [],
        is_chained,
    )


def load_under_way(connection: Connection) -> UnderWay:
    """Count what is open, and find since when."""
    stored_at = load_stored_at(connection)
    ((as_of, waiting, waiting_at, unpublished),) = run_bulk(connection, _OPEN)
    ((unpublished_at,),) = run_bulk(connection, _UNPUBLISHED_SINCE)
    shards = [BusyShard(*row) for row in run_bulk(connection, _SHARDS)]
    dead = run_bulk(
        connection, "SELECT reason, count(*) FROM inbox WHERE state = 'dead' GROUP BY reason ORDER BY 2 DESC, 1"
    )
    received = Backlog(
        sum(shard.rows for shard in shards), min((s.oldest_at for s in shards if s.oldest_at), default=None)
    )
    return UnderWay(
        as_of,
        stored_at,
        received,
        Backlog(waiting, waiting_at),
        Backlog(unpublished, unpublished_at),
        dict(dead),
        shards,
    )


def count_open_authorizations(connection: Connection) -> int:
    """How many authorizations and rewards hold points until a deadline."""
    ((count,),) = run_bulk(connection, _AUTHORIZATIONS)
    return int(count)


def load_stored_at(connection: Connection) -> datetime | None:
    """When the newest message was stored in the inbox; None if there is none."""
    ((stored_at,),) = run_bulk(connection, _STORED_AT)
    assert stored_at is None or isinstance(stored_at, datetime)
    return stored_at


def _totals(connection: Connection, *, is_exact: bool) -> tuple[dict[str, int | None], set[str]]:
    """Rows of each table, and which of them are counted."""
    sizes = {name: (size, about) for name, size, about in run_bulk(connection, _SIZES, (list(_TABLES.values()),))}
    totals: dict[str, int | None] = {}
    counted: set[str] = set()
    for name, table in _TABLES.items():
        size_bytes, about = sizes[table]
        if is_exact or size_bytes <= _COUNTED_BYTES_MAX:
            ((totals[name],),) = run_bulk(connection, f"SELECT count(*) FROM {table}")  # noqa: S608  # our own names
            counted.add(name)
        else:
            totals[name] = about
    return totals, counted
