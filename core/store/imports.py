"""What imports ask of the ledger: what of theirs is there already, and what is still to be posted."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import Connection

from core.domain.reach import CommandKey
from core.store import tables
from core.store.engine import run_bulk
from core.store.rows import arrays, unnested

_CODES = f"""
SELECT c.source, c.command_id, c.code
FROM {unnested(tables.commands, ("source", "command_id"))} JOIN commands c USING (source, command_id)
WHERE c.code IS NOT NULL
"""  # noqa: S608  # our own names


def load_codes(connection: Connection, keys: Collection[CommandKey]) -> dict[CommandKey, str]:
    """Why those of these commands were rejected that were."""
    rows = run_bulk(connection, _CODES, arrays(keys, 2)) if keys else []
    return {(source, command_id): code for source, command_id, code in rows}


def load_held(connection: Connection, account_ids: Collection[UUID], reason: str) -> set[UUID]:
    """The accounts of which somebody has held the tier for this reason."""
    statement = "SELECT account_id FROM repairs WHERE account_id = ANY(%b) AND subject = 'tier' AND reason = %b"
    return {account_id for (account_id,) in run_bulk(connection, statement, (list(account_ids), reason))}


def load_first_by(connection: Connection, source: str) -> str | None:
    """Who gave the first command of this source that says so; None: none does."""
    statement = """
        SELECT coalesce((SELECT answer->>'by' FROM commands WHERE source = %(source)s LIMIT 1),
                        (SELECT settled::json->>'by' FROM inbox
                         WHERE source = %(source)s AND settled IS NOT NULL LIMIT 1))
    """
    ((by,),) = run_bulk(connection, statement, {"source": source})
    return None if by is None else str(by)


def shards_of_source(connection: Connection, source: str) -> list[int]:
    """The shards on which messages of this source are to be posted."""
    statement = "SELECT DISTINCT shard FROM inbox WHERE source = %s AND state = 'received' AND shard IS NOT NULL"
    return sorted(shard for (shard,) in run_bulk(connection, statement, (source,)))


def shards_with_any(connection: Connection, inbox_ids: Collection[int]) -> list[int]:
    """The shards on which these messages are to be posted."""
    statement = "SELECT DISTINCT shard FROM inbox WHERE inbox_id = ANY(%b) AND state = 'received' AND shard IS NOT NULL"
    return sorted(shard for (shard,) in run_bulk(connection, statement, (list(inbox_ids),)))
