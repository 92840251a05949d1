"""Turns at shards, without the work."""

from sqlalchemy import Connection

from core.store.engine import Asked, Rows
from core.store.locks import Task, take_turn


def has_turn(connection: Connection, task: Task, shard: int) -> bool:
    """Take the turn until the transaction ends; False if somebody else has it."""
    return take_turn(connection, task, shard, lambda: Asked[Rows](list)) is not None
