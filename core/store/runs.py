"""When each periodic task last ran, and what it found."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text


def record_run(connection: Connection, task: str, as_of: datetime, result: dict[str, Any]) -> None:
    """Keep the last run of `task`."""
    connection.execute(
        text(
            "INSERT INTO periodic_runs (task, as_of, finished_at, result)"
            " VALUES (:task, :as_of, clock_timestamp(), CAST(:result AS jsonb))"
            " ON CONFLICT (task) DO UPDATE SET as_of = excluded.as_of, finished_at = excluded.finished_at,"
            " result = excluded.result"
        ),
        {"task": task, "as_of": as_of, "result": json.dumps(result)},
    )


def next_audit_shard(connection: Connection, shards: int) -> int:
    """The account shard after the one that was audited last."""
    last = connection.execute(
        text("SELECT (result->>'account_shard')::integer FROM periodic_runs WHERE task = 'loyalty.audit_ledger'")
    ).scalar()
    return 0 if last is None else (int(last) + 1) % shards


def last_runs(connection: Connection) -> list[dict[str, Any]]:
    """Every periodic task's last run."""
    rows = connection.execute(text("SELECT task, as_of, finished_at, result FROM periodic_runs ORDER BY task"))
    return [dict(row) for row in rows.mappings()]
