"""When each periodic task last ran, and what it found."""

import json
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

#: How old the record of a task that runs each second may become.
RECORD_SECONDS = 10


class LastRun(NamedTuple):
    """What the last run of a task left for the next one."""

    result: dict[str, Any]  #: empty before the first
    is_due: bool  #: a new record is wanted


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


def last_run(connection: Connection, task: str) -> LastRun | None:
    """What `task` kept last, locked until the transaction ends; None while another run holds it.

    `is_due` when that is longer than RECORD_SECONDS ago: a task of every second need not write every second.
    """
    row = connection.execute(
        text(
            "SELECT result, finished_at < clock_timestamp() - make_interval(secs => :seconds) FROM periodic_runs"
            " WHERE task = :task FOR UPDATE SKIP LOCKED"
        ),
        {"task": task, "seconds": RECORD_SECONDS},
    ).first()
    if row is not None:
        return LastRun(*row)
    is_there = connection.execute(text("SELECT 1 FROM periodic_runs WHERE task = :task"), {"task": task}).first()
    return None if is_there else LastRun({}, is_due=True)


def next_audit(connection: Connection, shards: int) -> tuple[int, UUID | None]:
    """Where the audit goes on: the account shard, and the account after which; None is the shard's beginning."""
    row = connection.execute(
        text(
            "SELECT (result->>'account_shard')::integer, (result->>'after')::uuid FROM periodic_runs"
            " WHERE task = 'loyalty.audit_ledger'"
        )
    ).first()
    if row is None:
        return 0, None
    shard, after = row
    return ((shard + 1) % shards, None) if after is None else (shard, after)


def standing_differences(connection: Connection) -> dict[str, str]:
    """What the audits of all accounts found last, by account; one that was right when it was looked at is out."""
    standing = connection.execute(
        text("SELECT result->'standing' FROM periodic_runs WHERE task = 'loyalty.audit_ledger'")
    ).scalar()
    return dict(standing or {})


def last_runs(connection: Connection) -> list[dict[str, Any]]:
    """Every periodic task's last run."""
    rows = connection.execute(text("SELECT task, as_of, finished_at, result FROM periodic_runs ORDER BY task"))
    return [dict(row) for row in rows.mappings()]
