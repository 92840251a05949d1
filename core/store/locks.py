"""Who may work: turns at a shard, which are rows, and advisory locks for what has no shard of messages or events."""

from collections.abc import Callable
from enum import IntEnum, StrEnum
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection

from core.store.engine import Asked, ask, run_bulk, run_later

Work = TypeVar("Work")


class LockClass(IntEnum):
    """What an advisory lock is for. The numbers only need to differ from other users' of the same database."""

    PERIODIC = 0x4C59_0003
    PROGRAMS = 0x4C59_0004
    PAYMENTS = 0x4C59_0005
    ERASURE = 0x4C59_0006


class Task(StrEnum):
    """What one worker at a time does on a shard."""

    POSTING = "posting"
    RELAY = "relay"


#: Begins a statement that takes a turn: `SELECT is_ours, … FROM turn`. Null: the row has still to be made.
TURN = """
WITH held AS MATERIALIZED (
    SELECT 1 FROM turns WHERE task = %(task)s AND shard = %(shard)s FOR UPDATE SKIP LOCKED
), turn AS (
    SELECT CASE WHEN EXISTS (SELECT 1 FROM held) THEN true
                WHEN EXISTS (SELECT 1 FROM turns WHERE task = %(task)s AND shard = %(shard)s) THEN false END AS is_ours
)
"""
_MAKE_TURN = "INSERT INTO turns (task, shard) VALUES (%(task)s, %(shard)s) ON CONFLICT DO NOTHING"


def run_in_turn(
    connection: Connection, statement: str, task: Task, shard: int, ask_work: Callable[[], Asked[Work]]
) -> tuple[tuple[Any, ...], Work]:
    """Run a statement that begins with TURN, and behind it ask for what there is to do on the shard.

    The statement's first value says whether the shard is ours until the transaction ends; what was asked for counts
    only then. It is not ours if another worker has it, in whatever transaction. The row is made at the very first turn,
    in a transaction of its own, since whoever came meanwhile would have to wait for it.
    """
    values = {"task": str(task), "shard": shard}

    def run() -> tuple[tuple[Any, ...], Work]:
        asked, work = ask(connection, statement, values, itemgetter(0)), ask_work()
        return asked.found, work.found

    found = run()
    if found[0][0] is None:
        with connection.engine.begin() as other:
            run_bulk(other, _MAKE_TURN, values)
        found = run()
    return found


def take_turn(connection: Connection, task: Task, shard: int, ask_work: Callable[[], Asked[Work]]) -> Work | None:
    """Have the shard until the transaction ends: what there is to do on it; None if another worker has it."""
    statement = f"{TURN} SELECT is_ours FROM turn"  # noqa: S608  # our own words
    (is_ours,), work = run_in_turn(connection, statement, task, shard, ask_work)
    return work if is_ours else None


def lock(connection: Connection, lock_class: LockClass, number: int = 0) -> None:
    """Take the lock until the transaction ends, waiting for another session that has it."""
    run_bulk(connection, "SELECT pg_advisory_xact_lock(%s, %s)", (int(lock_class), number))


def share_lock(connection: Connection, lock_class: LockClass) -> None:
    """Keep others from having the lock alone until the transaction ends; any number of sessions may do so at once."""
    run_later(connection, "SELECT pg_advisory_xact_lock_shared(%s, 0)", (int(lock_class),))


#: The expression by which a transaction keeps customers from being erased until it ends: it may hold their names.
SHARE_ERASURE_LOCK = f"pg_advisory_xact_lock_shared({int(LockClass.ERASURE)}, 0)"


def try_lock(connection: Connection, lock_class: LockClass, shard: int) -> bool:
    """Take the lock until the transaction ends; False if another session has it."""
    ((is_ours,),) = run_bulk(connection, "SELECT pg_try_advisory_xact_lock(%s, %s)", (int(lock_class), shard))
    return bool(is_ours)
