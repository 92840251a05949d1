"""The limit: the very rows that posting wrote, written again by set-based SQL inside PostgreSQL.

The rows of a finished run are put aside in unlogged tables, the ledger is emptied, the inbox is set back, and then
every batch of messages is written in one transaction, as posting does, with no decision and no client in between.
"""

import time

from sqlalchemy import Connection, Engine, text

_TABLES = ("accounts", "members", "orders", "entries", "lots", "allocations", "tier_changes", "refunds", "outbox")

# Which batch each row belongs to: that of the message that caused it.
_STAGE = """
CREATE SCHEMA stage;
CREATE UNLOGGED TABLE stage.inbox AS
    SELECT inbox_id, state, inbox_id / {batch} AS batch FROM inbox WHERE state = 'posted';
CREATE UNLOGGED TABLE stage.orders AS SELECT o.*, o.inbox_id / {batch} AS batch FROM orders o;
CREATE UNLOGGED TABLE stage.refunds AS SELECT r.*, r.inbox_id / {batch} AS batch FROM refunds r;
CREATE UNLOGGED TABLE stage.entries AS
    SELECT e.*, coalesce(r.batch, o.batch, 0) AS batch FROM entries e
    LEFT JOIN stage.orders o ON o.source = e.source AND o.order_id = e.order_id
    LEFT JOIN stage.refunds r ON r.source = e.source AND r.refund_id = e.refund_id;
CREATE UNLOGGED TABLE stage.accounts AS
    SELECT a.*, (SELECT min(batch) FROM stage.orders o WHERE o.account_id = a.account_id) AS batch FROM accounts a;
CREATE UNLOGGED TABLE stage.members AS SELECT m.*, a.batch FROM members m JOIN stage.accounts a USING (account_id);
CREATE UNLOGGED TABLE stage.lots AS
    SELECT l.*, e.batch FROM lots l
    JOIN stage.entries e ON e.account_id = l.account_id AND e.sequence = l.opened_by_sequence;
CREATE UNLOGGED TABLE stage.allocations AS
    SELECT n.*, e.batch FROM allocations n JOIN stage.entries e USING (account_id, sequence);
CREATE UNLOGGED TABLE stage.tier_changes AS
    SELECT t.*, a.batch FROM tier_changes t JOIN stage.accounts a USING (account_id);
CREATE UNLOGGED TABLE stage.outbox AS
    SELECT b.*, ntile((SELECT count(DISTINCT batch)::integer FROM stage.inbox)) OVER (ORDER BY outbox_id)
                + (SELECT min(batch) FROM stage.inbox) - 1 AS batch
    FROM outbox b;
"""
_CHANGED_ACCOUNTS = """
UPDATE accounts a SET sequence = s.sequence, balance = s.balance, lifetime_points = s.lifetime_points,
    qualifying_points = s.qualifying_points, updated_at = now()
FROM stage.accounts s
WHERE a.account_id = s.account_id AND s.batch < :batch
  AND s.account_id IN (SELECT account_id FROM stage.entries WHERE batch = :batch)
"""


def measure_sql_limit(engine: Engine, batch_messages: int) -> float:
    """Messages per second that PostgreSQL writes by itself, from the rows of the run in this database."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        _stage(connection, batch_messages)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM ANALYZE"))
    with engine.connect() as connection:
        batches = connection.execute(text("SELECT DISTINCT batch FROM stage.inbox ORDER BY batch")).scalars().all()
        messages = connection.execute(text("SELECT count(*) FROM stage.inbox")).scalar_one()
        columns = {table: _columns(connection, table) for table in _TABLES}
    started = time.perf_counter()
    for batch in batches:
        with engine.begin() as connection:
            for table in _TABLES:
                names = ", ".join(columns[table])
                override = "OVERRIDING SYSTEM VALUE" if table == "outbox" else ""
                rows = f"SELECT {names} FROM stage.{table} WHERE batch = :batch"
                connection.execute(text(f"INSERT INTO {table} ({names}) {override} {rows}"), {"batch": batch})
            connection.execute(text(_CHANGED_ACCOUNTS), {"batch": batch})
            connection.execute(
                text(
                    "UPDATE inbox i SET state = s.state, settled_at = now()"
                    " FROM stage.inbox s WHERE i.inbox_id = s.inbox_id AND s.batch = :batch"
                ),
                {"batch": batch},
            )
    return float(messages / (time.perf_counter() - started))


def _stage(connection: Connection, batch_messages: int) -> None:
    for statement in _STAGE.format(batch=batch_messages).split(";"):
        if statement.strip():
            connection.execute(text(statement))
    for table in (*_TABLES, "inbox"):
        connection.execute(text(f"CREATE INDEX ON stage.{table} (batch)"))
    connection.execute(text("CREATE INDEX ON stage.entries (account_id)"))
    connection.execute(text(f"TRUNCATE {', '.join(_TABLES)}"))
    connection.execute(
        text(
            "UPDATE inbox SET state = 'received', settled_at = NULL, shard = coalesce(shard, 0) WHERE state = 'posted'"
        )
    )


def _columns(connection: Connection, table: str) -> list[str]:
    rows = connection.execute(
        text(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = :table"
            " ORDER BY ordinal_position"
        ),
        {"table": table},
    )
    return [row[0] for row in rows]
