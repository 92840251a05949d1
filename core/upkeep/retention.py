"""What is not kept for ever: settled inbox rows, published events, reminders. The ledger and its business keys are.

What limits have used (usages, budgets) stays too: a late order or refund of any day may still ask for it.

The rows are found by walking the primary key from its low end: a run goes on where the last one stopped, so that what
must stay there (dead letters, waiting messages) is not read again each minute, and begins anew now and then for what
was settled meanwhile. `retention.purged_before` is written with the deletion: who reads a table knows from when on it
is complete.
"""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection

from core.store import tables
from core.store.engine import run_bulk
from core.store.locks import PeriodicTurn, try_periodic_turn
from core.store.outbox import PUBLISHED_THROUGH
from core.store.proof.seals import require_key_of_books, seal
from core.upkeep.runs import last_result

#: How long a walk waits at a row at most.
_SOON = "1 hour"


class KeptTable(NamedTuple):
    """A table whose rows may go at some age. The texts are SQL of our own, with `%s` for the instant."""

    name: str
    key: str
    written_at: str  #: follows the key closely enough to stop at the first row that is younger than the limit
    done_at: str
    is_done: str  #: nobody will need the row again
    children: tuple[str, ...] = ()  #: tables whose rows go with it


INBOX = KeptTable(
    "inbox",
    "inbox_id",
    "received_at",
    "settled_at",
    "state IN ('posted', 'replayed', 'rejected', 'dropped') AND settled_at < %s",
    ("dead_letter_actions",),
)
_IS_OUT = f"created_at < %s AND outbox_id <= {PUBLISHED_THROUGH.format(shard='outbox.account_shard')}"
#: Its last row stays, so that the number after it tells whether all the others were there.
OUTBOX = KeptTable(
    "outbox",
    "outbox_id",
    "created_at",
    "created_at",
    f"{_IS_OUT} AND outbox_id < (SELECT max(outbox_id) FROM outbox)",  # noqa: S608  # our own words
)


class PurgeStep(NamedTuple):
    """What one batch came to."""

    deleted: int
    after: int  #: the key to go on behind
    is_finished: bool  #: what follows is younger, or there is nothing more


_SET_PURGED = """
INSERT INTO retention (table_name, purged_before, seal) VALUES (%s, %s, %s)
ON CONFLICT (table_name) DO UPDATE SET purged_before = greatest(retention.purged_before, excluded.purged_before),
    seal = CASE WHEN excluded.purged_before >= retention.purged_before THEN excluded.seal ELSE retention.seal END
"""


def purge_batch(
    connection: Connection,
    table: KeptTable,
    before: datetime,
    after: int,
    rows_max: int,
    chain_key: bytes | None,
) -> PurgeStep | None:
    """Look at the next rows behind the key `after` and delete what was done before `before`, in this transaction.

    None when another worker purges. Rows that somebody has locked are left to a later walk: waiting for them could
    end in a deadlock with intake, which counts a repeat on several of them. ChainKeyMissingError without `chain_key`
    where there is something to delete and entries carry a hash chain: the instant in `retention` is sealed then.
    """
    if not try_periodic_turn(connection, PeriodicTurn.PURGE):
        return None
    name, key, written_at, done_at, is_done, children = table
    # A row that was done soon after it was written is waited for: passed by, it would stay until the next walk, and
    # where the worker lags behind, most rows would.
    is_soon = f"coalesce({done_at} >= %s AND {done_at} < {written_at} + interval '{_SOON}', false)"
    page = run_bulk(
        connection,
        f"SELECT {key}, {written_at} < %s AND NOT {is_soon} FROM {name} WHERE {key} > %s ORDER BY {key} LIMIT %s",  # noqa: S608  # our own names
        (before, before, after, rows_max),
    )
    young = next((place for place, (_, is_old) in enumerate(page) if not is_old), len(page))
    keys = [row[0] for row in page[:young]]
    done = run_bulk(
        connection,
        f"SELECT {key} FROM {name} WHERE {key} = ANY(%b) AND {is_done} FOR UPDATE SKIP LOCKED",  # noqa: S608
        (keys, before),
    )
    if done:
        require_key_of_books(connection, chain_key)
        doomed = ([row[0] for row in done],)
        proof = None if chain_key is None else seal(chain_key, tables.retention, (name, before))
        run_bulk(connection, _SET_PURGED, (name, before, proof))
        for doomed_from in (*children, name):
            run_bulk(connection, f"DELETE FROM {doomed_from} WHERE {key} = ANY(%b)", doomed)  # noqa: S608
    return PurgeStep(len(done), keys[-1] if keys else after, len(keys) < rows_max)


_PURGE_REMINDERS = """
DELETE FROM reminders WHERE (account_id, expires_at) IN (
    SELECT account_id, expires_at FROM reminders WHERE expires_at < %s LIMIT %s FOR UPDATE SKIP LOCKED
)
RETURNING 1
"""


def purge_reminders(connection: Connection, before: datetime, rows_max: int) -> int | None:
    """Forget at most so many reminders of points that ended before `before`; None when another worker purges.

    Those are never announced again. There is no index by their time: meant for now and then.
    """
    if not try_periodic_turn(connection, PeriodicTurn.PURGE):
        return None
    return len(run_bulk(connection, _PURGE_REMINDERS, (before, rows_max)))


def purged_before(connection: Connection, table: KeptTable) -> datetime | None:
    """The instant before which rows of `table` may be gone; None while everything is there."""
    rows = run_bulk(connection, "SELECT purged_before FROM retention WHERE table_name = %s", (table.name,))
    return rows[0][0] if rows else None


class Walk(NamedTuple):
    """Where the walks through the tables stand."""

    began_at: datetime  #: when they last began at the low end
    inbox_after: int = 0
    outbox_after: int = 0


def load_walk(connection: Connection, task: str, now: datetime, anew_seconds: float) -> Walk:
    """The walk that the last run of `task` recorded; a new one if that began longer ago than `anew_seconds`."""
    last = last_result(connection, task)
    if last:
        walk = Walk(datetime.fromisoformat(last["walk_began_at"]), last["inbox_after"], last["outbox_after"])
        if 0 <= (now - walk.began_at).total_seconds() < anew_seconds:
            return walk
    return Walk(now)
