"""What looks for work each second reads only that, also while the statistics still say that there is none.

After a rush most rows are settled, and the planner takes what is open for one row until the table is analyzed again:
then any index is as good as the right one. Counted are rows that were read, since how long it took says little.
"""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, Engine, text

from core.store.engine import create_database_engine, run_bulk
from core.store.locks import Task, take_turns
from core.store.outbox import OutgoingEvent, ask_unpublished, shards_with_unpublished, with_unpublished
from core.store.posting_turns import ClaimBounds, begin_posting, shards_with_work
from core.upkeep.sweeping import sweep_waiting
from tests.conftest import OpenDatabase
from tests.published import COUNT_UNPUBLISHED
from tests.shell import EVENT_SOURCE

SETTLED, OPEN, SHARDS, ROWS_MAX = 40_000, 8_000, 8, 100
IDLE = 6  #: this shard has no event since: what others have is none of its business
_MESSAGES = f"""
INSERT INTO inbox (inbox_id, source, event_id, type, occurred_at, shard, subject, is_subject, body, state, settled,
                   settled_at)
SELECT n, '/shops/test', 'e' || n, 'order.completed', now(), mod(n, {SHARDS}), 'order ' || n, true, '', {{outcome}}
FROM generate_series({{numbers}}) AS n
"""
_EVENTS = f"""
INSERT INTO outbox (outbox_id, account_shard, event_key, type, body)
SELECT n, mod(n, {SHARDS}), n::text, 'loyalty.balance.changed', '' FROM generate_series({{numbers}}) AS n
"""
_BEFORE, _SINCE = f"1, {SETTLED}", f"{SETTLED + 1}, {SETTLED + OPEN}"
_RUSH = (
    "ALTER TABLE inbox SET (autovacuum_enabled = false)",
    "ALTER TABLE outbox SET (autovacuum_enabled = false)",
    _MESSAGES.format(numbers=_BEFORE, outcome="'posted', NULL, now()"),
    _EVENTS.format(numbers=_BEFORE),
    "INSERT INTO relay_positions SELECT account_shard, max(outbox_id) FROM outbox GROUP BY account_shard",
    "ANALYZE",
    _MESSAGES.format(numbers=_SINCE, outcome="'received', '{}', NULL"),
    f"{_EVENTS.format(numbers=_SINCE)} WHERE mod(n, {SHARDS}) <> {IDLE}",
)
_ROWS_READ = """
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
WHERE relname IN ('inbox', 'outbox')
"""


@pytest.fixture(scope="module")
def rush(open_database: OpenDatabase) -> Iterator[Engine]:
    """A database whose statistics are of before a rush."""
    with open_database() as url:
        engine = create_database_engine(url)
        with engine.begin() as connection:
            for statement in _RUSH:
                connection.execute(text(statement))
        yield engine
        engine.dispose()


def events_of(connection: Connection, shard: int) -> list[OutgoingEvent]:
    return take_turns(connection, Task.RELAY, {shard}, lambda: ask_unpublished(connection, ROWS_MAX))


@pytest.mark.parametrize(
    ("read", "found", "rows_max"),
    [
        (shards_with_work, SHARDS, 2 * SHARDS),
        (lambda connection: begin_posting(connection, 3, ClaimBounds(ROWS_MAX, 10**9)).claimed, ROWS_MAX, 2 * ROWS_MAX),
        (lambda connection: begin_posting(connection, 3, ClaimBounds(ROWS_MAX, 10**9, 50)).shards, 1, 2 * ROWS_MAX),
        (shards_with_unpublished, SHARDS - 1, 2 * SHARDS),
        (lambda connection: events_of(connection, IDLE), 0, 1),
        (lambda connection: with_unpublished(connection.engine, {3, IDLE}), 1, 2),
        (lambda connection: range(run_bulk(connection, COUNT_UNPUBLISHED)[0][0]), OPEN - OPEN // SHARDS, OPEN),
        (lambda connection: events_of(connection, 3), ROWS_MAX, 2 * ROWS_MAX),
        (lambda connection: range(sweep_waiting(connection, EVENT_SOURCE, 30, ROWS_MAX).woken), 0, 2 * SHARDS),
    ],
    ids=[
        "sweep of the inbox",
        "claim of posting",
        "shards to take along in a flood",
        "sweep of the outbox",
        "claim at an idle shard",
        "relay's second look",
        "count of what is unpublished",
        "claim of the relay",
        "sweep of what waits",
    ],
)
def test_what_looks_for_work_reads_no_more_than_it_finds(
    rush: Engine, read: Callable[[Connection], list[object]], found: int, rows_max: int
) -> None:
    with rush.begin() as connection:
        ((before,),) = run_bulk(connection, _ROWS_READ)
        assert len(read(connection)) == found
        ((after,),) = run_bulk(connection, _ROWS_READ)
    assert after - before <= rows_max
