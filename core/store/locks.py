"""Who may work: turns at a shard, which are rows, and advisory locks for what has no shard of messages or events."""

from collections.abc import Callable, Collection, Mapping
from enum import IntEnum, StrEnum
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import Connection

from core.store.engine import Asked, ask, run_bulk, run_later
from core.store.shards import ACCOUNT_SHARDS

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


#: The shards whose turns a transaction has, for the statements behind the one that took them.
HELD_SHARDS = "current_setting('loyalty.held_shards')::smallint[]"
_MAKE_TURNS = """
INSERT INTO turns (task, shard) SELECT %(task)s, unnest(%(shards)s::smallint[]) ORDER BY 2 ON CONFLICT DO NOTHING
"""


def turns_statement(more: str = "", along: str = "'{}'::smallint[]") -> str:
    """A statement that takes turns at `shards`, and at those of `along`, an SQL array, as far as nobody has them.

    Its row: which turns are ours until the transaction ends, whether rows of `shards` are still to be made, HELD_SHARDS
    as it is set, and `more` values, which begin with a comma.
    """
    return f"""
    WITH wanted AS MATERIALIZED (SELECT %(shards)s::smallint[] AS shards, {along} AS along),
    held AS MATERIALIZED (
        SELECT shard FROM turns
        WHERE task = %(task)s AND shard = ANY((SELECT shards || along FROM wanted)::smallint[]) FOR UPDATE SKIP LOCKED
    ), turn AS (SELECT coalesce(array_agg(shard ORDER BY shard), '{{}}') AS shards FROM held)
    SELECT shards, cardinality(%(shards)s::smallint[]) > (
               SELECT count(*) FROM turns WHERE task = %(task)s AND shard = ANY(%(shards)s::smallint[])),
           set_config('loyalty.held_shards', shards::text, true){more}
    FROM turn
    """  # noqa: S608  # our own words


_TAKE_TURNS = turns_statement()


def run_in_turns(
    connection: Connection,
    statement: str,
    task: Task,
    shards: Collection[int],
    ask_work: Callable[[], Asked[Work]],
    more: Mapping[str, Any] = {},
) -> tuple[tuple[Any, ...], Work]:
    """Run a `turns_statement`, and behind it ask for what there is to do on the shards that it has taken.

    Its row begins with the shards that are ours until the transaction ends: not one that another worker has, in
    whatever transaction. A row is made at the very first turn, in a transaction of its own, since whoever came
    meanwhile would have to wait for it.
    """
    values = {"task": str(task), "shards": sorted(shards), **more}

    def run() -> tuple[tuple[Any, ...], Work]:
        asked, work = ask(connection, statement, values, itemgetter(0)), ask_work()
        return asked.found, work.found

    found = run()
    (_, are_unmade, *_), _ = found
    if are_unmade:
        with connection.engine.begin() as other:
            run_bulk(other, _MAKE_TURNS, values)
        found = run()
    return found


def take_turns(
    connection: Connection, task: Task, shards: Collection[int], ask_work: Callable[[], Asked[Work]]
) -> Work:
    """Have those of the shards that nobody has until the transaction ends: what there is to do on them."""
    _, work = run_in_turns(connection, _TAKE_TURNS, task, shards, ask_work)
    return work


def lock(connection: Connection, lock_class: LockClass, number: int = 0) -> None:
    """Take the lock until the transaction ends, waiting for another session that has it."""
    run_bulk(connection, "SELECT pg_advisory_xact_lock(%s, %s)", (int(lock_class), number))


def share_lock(connection: Connection, lock_class: LockClass) -> None:
    """Keep others from having the lock alone until the transaction ends; any number of sessions may do so at once."""
    run_later(connection, "SELECT pg_advisory_xact_lock_shared(%s, 0)", (int(lock_class),))


#: The expression by which a transaction keeps customers from being erased until it ends: it may hold their names.
SHARE_ERASURE_LOCK = f"pg_advisory_xact_lock_shared({int(LockClass.ERASURE)}, 0)"


class PeriodicTurn(IntEnum):
    """What one worker at a time does of what the calendar brings: on one shard of accounts, or for all of them."""

    EXPIRY = 1
    REVIEW = 2
    RELEASE = 3
    REMINDER = 4
    WARNING = 5
    DEADLINE = 6
    NEAR_DEADLINE = 7
    PURGE = 8
    SNAPSHOT = 9


def try_periodic_turn(connection: Connection, turn: PeriodicTurn, account_shard: int = 0) -> bool:
    """Have the turn until the transaction ends; False if another session has it. Without a shard: for all."""
    assert 0 <= account_shard < ACCOUNT_SHARDS  # or it would be another turn's number
    number = turn * ACCOUNT_SHARDS + account_shard
    ((is_ours,),) = run_bulk(connection, "SELECT pg_try_advisory_xact_lock(%s, %s)", (int(LockClass.PERIODIC), number))
    return bool(is_ours)
