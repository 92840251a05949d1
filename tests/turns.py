"""Turns at shards, without the work."""

from sqlalchemy import Connection

from core.store.engine import Asked
from core.store.locks import Task, run_in_turns, turns_statement
from core.store.sessions import Rows


def has_turn(connection: Connection, task: Task, shard: int) -> bool:
    """Take the turn until the transaction ends; False if somebody else has it."""
    (shards, *_), _ = run_in_turns(connection, turns_statement(), task, {shard}, lambda: Asked[Rows](list))
    return shards == [shard]
