"""What became of commands: their answers, or where they stand until they have one."""

from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection

from core.messages.inbound.command_messages import COMMAND_PREFIX
from core.store.engine import run_bulk


class KnownCommand(NamedTuple):
    """One command with its answer, or one that waits for it."""

    source: str
    command_id: str
    type: str
    occurred_at: datetime | None
    state: str  #: accepted, rejected; without an answer that of its message: received, rejected, dead, dropped
    inbox_id: int
    reason: str | None  #: why it is parked, or was not let in
    detail: str | None  #: the same for people
    answer: dict[str, Any] | None


# A key leads with the source, of which there are few: each is looked up by itself.
_SOURCES = """
WITH RECURSIVE sources AS (
    (SELECT source FROM {table} ORDER BY source LIMIT 1)
    UNION ALL
    SELECT (SELECT t.source FROM {table} t WHERE t.source > s.source ORDER BY t.source LIMIT 1)
    FROM sources s WHERE s.source IS NOT NULL
)
"""
_ANSWERED = f"""
{_SOURCES.format(table="commands")}
SELECT c.source, c.command_id, c.type, c.occurred_at,
       CASE WHEN c.code IS NULL THEN 'accepted' ELSE 'rejected' END, c.inbox_id, NULL, NULL, c.answer::text
FROM sources s JOIN commands c ON c.source = s.source AND c.command_id = %(command_id)s
WHERE %(source)s::text IS NULL OR c.source = %(source)s ORDER BY c.source
"""  # noqa: S608  # our own words
# What is not even let in has no answer that is kept, and uses up no id.
_UNANSWERED = f"""
{_SOURCES.format(table="inbox")}
SELECT i.source, i.event_id, i.type, i.occurred_at, i.state, i.inbox_id, i.reason, i.detail, NULL
FROM sources s JOIN inbox i ON i.source = s.source AND i.event_id = %(command_id)s
WHERE (%(source)s::text IS NULL OR i.source = %(source)s) AND starts_with(i.type, '{COMMAND_PREFIX}')
      AND i.state NOT IN ('posted', 'replayed') AND NOT (i.state = 'rejected' AND i.variant = '')
ORDER BY i.source, i.inbox_id
"""  # noqa: S608  # our own words


def load_known_commands(connection: Connection, command_id: str, source: str | None = None) -> list[KnownCommand]:
    """The commands with this id, of one source or of each: first those that have an answer."""
    values = {"command_id": command_id, "source": source}
    rows = [*run_bulk(connection, _ANSWERED, values), *run_bulk(connection, _UNANSWERED, values)]
    return [KnownCommand(*row)._replace(answer=row[-1] and from_json(row[-1])) for row in rows]
