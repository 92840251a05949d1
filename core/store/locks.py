"""Advisory locks: who may work on a shard. Two integers each: what for, and which shard."""

from enum import IntEnum

from sqlalchemy import Connection

from core.store.engine import run_bulk


class LockClass(IntEnum):
    """What a lock is for. The numbers only need to differ from other users' of the same database."""

    POSTING = 0x4C59_0001
    RELAY = 0x4C59_0002
    PERIODIC = 0x4C59_0003
    PROGRAMS = 0x4C59_0004


def lock(connection: Connection, lock_class: LockClass, number: int = 0) -> None:
    """Take the lock until the transaction ends, waiting for another session that has it."""
    run_bulk(connection, "SELECT pg_advisory_xact_lock(%s, %s)", (int(lock_class), number))


def try_lock(connection: Connection, lock_class: LockClass, shard: int) -> bool:
    """Take the lock until the transaction ends; False if another session has it."""
    ((is_ours,),) = run_bulk(connection, "SELECT pg_try_advisory_xact_lock(%s, %s)", (int(lock_class), shard))
    return bool(is_ours)
