"""Which shards are to be posted, and the beginning of a batch: whose turns it takes, and what it has to know first.

A message that comes alone costs nearly what thirty cost together. So whoever posts a shard takes along what has come
for others, as long as that is little: under a flood each worker has a shard of its own.
"""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine

from core.store.engine import run_alone, run_bulk
from core.store.inbox import ClaimedMessage, ask_received
from core.store.locks import SHARE_ERASURE_LOCK, Task, run_in_turns, turns_statement
from core.store.programs import STAMP
from core.store.proof.seals import IS_CHAINED

#: So few messages are posted together, whatever shards they are of: a batch of more is worth its while by itself, and
#: other workers have something to do.
FEW_MESSAGES_MAX = 50
#: How long posting waits for rows that another transaction holds; ours hold them for less. Where somebody holds them
#: for longer, the shards that need them wait, and no child process with them, which all shards need.
LOCK_MILLISECONDS_MAX = 1_000

# All that a batch reads it finds by keys. Of tables that have grown since they were last analyzed, as after every rush,
# the planner would read the whole one, again for each batch: a third of the server's work. A session plans a statement
# once: whatever is asked for, that is the same plan, and for a single message planning took longer than the statement.
_BY_KEYS = {
    "enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "random_page_cost": "1.1",
    "plan_cache_mode": "force_generic_plan",
}  # fmt: skip

_HAS_DIED = "EXISTS (SELECT 1 FROM posting_attempts p WHERE p.shard = {shard} AND p.attempts > 0)"
_RECEIVED = """(SELECT count(*) FROM (
    SELECT 1 FROM inbox i WHERE i.shard = {shard} AND i.state = 'received' LIMIT %(along_max)s + 1) AS few)"""
# The shards with the fewest messages first, as many as have no more together. Not where a process has just died: who
# died with whom would be hard to say, and the innocent would be parked.
_ALONG = f"""ARRAY(
    WITH RECURSIVE own AS (
        SELECT {_RECEIVED.format(shard="s.shard")} AS messages FROM unnest(%(shards)s::smallint[]) AS s(shard)
        WHERE NOT {_HAS_DIED.format(shard="s.shard")}
    ), next(shard) AS (
        SELECT (SELECT shard FROM inbox WHERE state = 'received' ORDER BY shard LIMIT 1)
        FROM own WHERE own.messages < %(along_max)s
        UNION ALL
        SELECT (SELECT i.shard FROM inbox i WHERE i.state = 'received' AND i.shard > next.shard
                ORDER BY i.shard LIMIT 1) FROM next WHERE next.shard IS NOT NULL
    ), counted AS (
        SELECT shard, {_RECEIVED.format(shard="next.shard")} AS messages FROM next
        WHERE shard <> ALL(%(shards)s::smallint[] || %(left_out)s::smallint[])
              AND NOT {_HAS_DIED.format(shard="next.shard")}
    ), summed AS (
        SELECT shard, sum(messages) OVER (ORDER BY messages, shard) AS total FROM counted
    )
    SELECT shard FROM summed, own WHERE summed.total + own.messages <= %(along_max)s
)"""  # noqa: S608  # our own words
_CRASHES = "coalesce((SELECT max(attempts) FROM posting_attempts WHERE shard = ANY(%(shards)s::smallint[])), 0)"
_BEGIN = turns_statement(
    f""", now(), {STAMP}, {_CRASHES}, {IS_CHAINED},
    set_config('lock_timeout', '{LOCK_MILLISECONDS_MAX}', true), {SHARE_ERASURE_LOCK},
    {", ".join(f"set_config('{name}', '{value}', true)" for name, value in _BY_KEYS.items())}""",
    _ALONG,
)


class PostingTurn(NamedTuple):
    """What a transaction that posts begins with."""

    shards: tuple[int, ...]  #: that are ours until it ends; empty: others have what was asked for
    as_of: datetime
    programs_stamp: int  #: grows with whatever changes which version is in force
    crashes: int  #: attempts in a row that neither succeeded nor raised: the process died
    is_chained: bool  #: entries carry a hash chain, which only who has its key may go on with
    claimed: list[ClaimedMessage]  #: of all these shards, oldest first


class ClaimBounds(NamedTuple):
    """How much is claimed."""

    messages_max: int
    bytes_max: int
    along_max: int = 0  #: together with the messages of other shards no more than so many; 0: no other shard
    left_out: Collection[int] = ()  #: shards that are not taken along


def begin_posting(connection: Connection, shard: int, bounds: ClaimBounds) -> PostingTurn:
    """Take the shard's turn, those of others along with it, and their next messages: in one round trip."""
    values = {"along_max": bounds.along_max, "left_out": [*bounds.left_out]}
    (shards, _, _, as_of, programs, crashes, is_chained, *_), claimed = run_in_turns(
        connection,
        _BEGIN,
        Task.POSTING,
        {shard},
        lambda: ask_received(connection, bounds.messages_max, bounds.bytes_max),
        values,
    )
    return PostingTurn(tuple(shards), as_of, programs, crashes, is_chained, claimed)


_FIRST_WITH_WORK = """
SELECT s.shard FROM unnest(%s::smallint[]) AS s(shard) CROSS JOIN LATERAL (
    SELECT 1 FROM inbox WHERE state = 'received' AND shard = s.shard LIMIT 1) AS first LIMIT 1
"""


def first_with_work(engine: Engine, shards: Collection[int]) -> int | None:
    """One of these shards that has received rows now; None if none has."""
    rows = run_alone(engine, _FIRST_WITH_WORK, ([*shards],)) if shards else []
    return rows[0][0] if rows else None


def shards_with_work(connection: Connection) -> list[int]:
    """Every shard that has received rows, also one beyond today's LOYALTY_SHARDS."""
    # A loose index scan: one index probe per shard, however many rows wait.
    rows = run_bulk(
        connection,
        """
        WITH RECURSIVE s AS (
            (SELECT shard FROM inbox WHERE state = 'received' ORDER BY shard LIMIT 1)
            UNION ALL
            SELECT (SELECT i.shard FROM inbox i WHERE i.state = 'received' AND i.shard > s.shard
                    ORDER BY i.shard LIMIT 1) FROM s WHERE s.shard IS NOT NULL
        ) SELECT shard FROM s WHERE shard IS NOT NULL
        """,
    )
    return [row[0] for row in rows]
