"""Commands that have their answers."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.reach import CommandKey
from core.domain.value.commands import PostedCommand
from core.store import tables
from core.store.engine import Asked, ask, run_bulk
from core.store.rows import Append, Shape, arrays, unnested
from core.store.sessions import Rows

COMMANDS = Shape(tables.commands, PostedCommand, business_hash="digest")
_OF_COMMANDS = ("source", "command_id")
_COMMANDS = f"""
SELECT {COMMANDS.select("c")} FROM {unnested(tables.commands, _OF_COMMANDS)} JOIN commands c USING (source, command_id)
"""  # noqa: S608  # our own names


def ask_commands(connection: Connection, keys: Collection[CommandKey]) -> Asked[list[PostedCommand]]:
    """Those of these (source, command_id) that have their answers."""
    return ask(connection, _COMMANDS, arrays(keys, 2), _read_commands) if keys else Asked(_read_commands)


def _read_commands(rows: Rows) -> list[PostedCommand]:
    return [COMMANDS.read(row) for row in rows]


class NewCommand(NamedTuple):
    """A command to record with its answer, with what the ledger needs beside the decision."""

    posted: PostedCommand
    inbox_id: int
    occurred_at: datetime
    account_id: UUID | None  #: None: it was rejected
    program_version: int | None
    code: str | None
    answer_json: str


_APPEND_COMMANDS = Append(Shape(tables.commands, NewCommand, business_hash="posted.digest", answer="answer_json").new())


def append_commands(connection: Connection, commands: Sequence[NewCommand]) -> None:
    """Record commands with their answers; the key (source, command_id) refuses a second one."""
    _APPEND_COMMANDS.run(connection, commands)


class StoredAnswer(NamedTuple):
    """The answer of a command, as its sender was told it."""

    source: str
    command_id: str
    business_hash: bytes  #: of its content
    account_id: UUID | None
    code: str | None
    answer_json: str
    traceparent: str | None  #: of the message that brought it first, as long as that is kept
    tracestate: str | None


_ANSWERS = f"""
SELECT c.source, c.command_id, c.business_hash, c.account_id, c.code, c.answer::text, i.traceparent, i.tracestate
FROM {unnested(tables.commands, _OF_COMMANDS)} JOIN commands c USING (source, command_id)
     LEFT JOIN inbox i USING (inbox_id)
"""  # noqa: S608  # our own names


def load_answers(connection: Connection, keys: Collection[CommandKey]) -> list[StoredAnswer]:
    """The answers of those of these (source, command_id) that have one."""
    return [StoredAnswer(*row) for row in run_bulk(connection, _ANSWERS, arrays(keys, 2))] if keys else []


_FIRST_TIME = """
SELECT occurred_at FROM commands WHERE source = %(source)s AND command_id = %(command_id)s
UNION ALL
SELECT occurred_at FROM inbox WHERE source = %(source)s AND event_id = %(command_id)s AND variant = ''
LIMIT 1
"""


def load_first_time(connection: Connection, source: str, command_id: str) -> datetime | None:
    """When a command occurred, as it said that came first under this id, posted or not; None if none did."""
    rows = run_bulk(connection, _FIRST_TIME, {"source": source, "command_id": command_id})
    return rows[0][0] if rows else None
