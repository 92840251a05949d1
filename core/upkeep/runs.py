"""When each periodic task last ran, and what it found."""

import json
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.store.engine import run_bulk

#: How old the record of a task that runs each second may become.
RECORD_SECONDS = 10


class BatchDone(NamedTuple):
    """What one batch of a periodic task came to."""

    changed: int  #: accounts, or authorizations: how many it changed, or told of
    in_use: int = 0  #: accounts that are due and left for the next time, since another session holds them


class LastRun(NamedTuple):
    """What the last run of a task left for the next one."""

    result: dict[str, Any]  #: empty before the first
    is_due: bool  #: a new record is wanted


_RECORD = """
INSERT INTO periodic_runs (task, as_of, finished_at, result) VALUES (%s, %s, clock_timestamp(), %s::jsonb)
ON CONFLICT (task) DO UPDATE SET as_of = excluded.as_of, finished_at = excluded.finished_at, result = excluded.result
"""


def record_run(connection: Connection, task: str, as_of: datetime, result: dict[str, Any]) -> None:
    """Keep the last run of `task`."""
    run_bulk(connection, _RECORD, (task, as_of, json.dumps(result)))


_LAST = """
SELECT result, finished_at < clock_timestamp() - make_interval(secs => %s) FROM periodic_runs
WHERE task = %s FOR UPDATE SKIP LOCKED
"""


def last_run(connection: Connection, task: str) -> LastRun | None:
    """What `task` kept last, locked until the transaction ends; None while another run holds it.

    `is_due` when that is longer than RECORD_SECONDS ago: a task of every second need not write every second.
    """
    rows = run_bulk(connection, _LAST, (RECORD_SECONDS, task))
    if rows:
        return LastRun(*rows[0])
    is_there = run_bulk(connection, "SELECT 1 FROM periodic_runs WHERE task = %s", (task,))
    return None if is_there else LastRun({}, is_due=True)


def last_result(connection: Connection, task: str) -> dict[str, Any]:
    """What the last run of `task` found; empty before the first."""
    rows = run_bulk(connection, "SELECT result FROM periodic_runs WHERE task = %s", (task,))
    return dict(rows[0][0]) if rows else {}


def next_audit(connection: Connection, shards: int) -> tuple[int, UUID | None]:
    """Where the audit goes on: the account shard, and the account after which; None is the shard's beginning."""
    result = last_result(connection, "loyalty.audit_ledger")
    if not result:
        return 0, None
    shard, after = result["account_shard"], result["after"]
    return ((shard + 1) % shards, None) if after is None else (shard, UUID(after))


def standing_differences(connection: Connection) -> dict[str, str]:
    """What the audits of all accounts found last, by account; one that was right when it was looked at is out."""
    return dict(last_result(connection, "loyalty.audit_ledger").get("standing") or {})


def last_runs(connection: Connection) -> list[dict[str, Any]]:
    """Every periodic task's last run."""
    names = ("task", "as_of", "finished_at", "result")
    rows = run_bulk(connection, f"SELECT {', '.join(names)} FROM periodic_runs ORDER BY task")  # noqa: S608  # our own names
    return [dict(zip(names, row, strict=True)) for row in rows]
