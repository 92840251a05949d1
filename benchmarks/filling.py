"""A large ledger in which every invariant holds, made quickly: each account has ten orders of ten points.

It is filled in order of time, as real ones are: the first order of every account, then the second of every account. So
the rows of an account do not lie together. What the server knows of its tables is of when they had half their rows.
"""

import json
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from hashlib import md5
from typing import Any
from uuid import UUID

from sqlalchemy import Engine, text

from benchmarks.bulk import without_indexes
from core.domain.ledger import Entry, EntryKind
from core.domain.lots import Allocation, AllocationKind
from core.domain.program import Program
from core.messages.program_files.program_file import parse_program
from core.store.appending import append_entries
from core.store.judgements import why_json
from core.store.programs import append_version
from core.store.shards import ACCOUNT_SHARDS

ORDERS_EACH = 10
_LIMITS = """
promotions:
  - {promotion_id: extra, kind: addition, points: 5, when: {starts_on: "2100-01-01"}, limits: {budget_points: 100}}
"""
_POINTS = 10
_ENTRIES_AT_ONCE = 10_000
_PROGRAM = """
program_id: bench
name: Bench
currency: EUR
time_zone: Europe/Berlin
default: true
earning_rules:
  - {rule_id: spend, kind: spend, per_amount: "1.00", points: {bronze: "1"}}
tiers:
  - {tier_id: bronze, threshold_points: 0}
expiry: {policy: after_days, days: 300}
"""
_LINES = f'{{"line_id":["1"],"quantity":[1],"amount":["{_POINTS}"]}}'
_WHY = {"basis_amount": "10.00", "tier": "bronze", "rules": [{"rule_id": "spend", "points": _POINTS}]}
PROMOTED = "doubled"  #: the promotion that, where it is asked for, gave the orders of every tenth account half of it
_PROMOTED_WHY = {
    **_WHY,
    "rules": [{"rule_id": "spend", "points": _POINTS // 2}],
    "promotions": [{"promotion_id": PROMOTED, "points": _POINTS // 2}],
}
#: The large tables.
_FILLED = ("accounts", "members", "orders", "entries", "lots", "allocations", "inbox", "outbox", "usages")
_OCCURRED_AT = "CAST(:occurred_at AS timestamptz) + make_interval(days => CAST({k} * :spread AS integer))"
_NUMBERED = "(SELECT n, md5('account ' || n)::uuid AS account_id FROM generate_series(1, :accounts) AS n) AS numbered"

_SHARD = "('x' || right(account_id::text, 4))::bit(16)::integer % :shards"

_ACCOUNTS = f"""
INSERT INTO accounts (account_id, program_id, customer_id, account_shard, sequence, lots_opened, balance,
                      lifetime_points, qualifying_points, tier_id, orders_posted, orders_counted, counted_until,
                      enrolled_at)
SELECT account_id, 'bench', 'c' || n, {_SHARD}, :each, :each, :points * :each, :points * :each, :points * :each,
       'bronze', :each, :each, {_OCCURRED_AT.format(k=":each")}, {_OCCURRED_AT.format(k=1)}
FROM {_NUMBERED};
INSERT INTO members (program_id, customer_id, account_id) SELECT program_id, customer_id, account_id FROM accounts
"""
# Of each account one order, its entry unless that is chained, and what that gives.
_ORDERS = f"""
INSERT INTO orders (source, order_id, program_id, account_id, customer_id, shard, inbox_id, business_hash, currency,
                    occurred_at, lines, points_paid, program_version, tier_id, sequence, points_entitled,
                    qualifying_points, qualifying_spend, qualifying_orders, is_counted)
SELECT '/bench', concat(n, '-', :k), 'bench', account_id, 'c' || n, 0, (:k - 1) * :accounts + n,
       sha256(convert_to(concat('{{"order_id":"', n, '-', :k, '","customer_id":"c', n,
                                '","currency":"EUR","lines":', CAST(:lines AS text), '}}'), 'UTF8')), 'EUR',
       {_OCCURRED_AT.format(k=":k")}, CAST(:lines AS json), 0, 1, 'bronze', :k, :points, :points, :points * 100, 1, true
FROM {_NUMBERED} ORDER BY n
"""
_ENTRIES = f"""
INSERT INTO entries (account_id, sequence, kind, points, pending_change, reserved_change, deficit_change,
                     balance_after, pending_after, reserved_after, lifetime_points_after, occurred_at, source, order_id,
                     why, recorded_at)
SELECT account_id, :k, 'accrual', :points, 0, 0, 0, :points * :k, 0, 0, :points * :k, {_OCCURRED_AT.format(k=":k")},
       '/bench', concat(n, '-', :k), CAST(CASE WHEN n % 10 = 0 THEN :tenth_why ELSE :why END AS json),
       CASE WHEN :is_recorded_then THEN {_OCCURRED_AT.format(k=":k")} ELSE now() END
FROM {_NUMBERED} ORDER BY n
"""
_LOTS = f"""
INSERT INTO lots (account_id, lot_number, account_shard, opened_by_sequence, origin_kind, origin_source, origin_id,
                  origin_at, points_granted, points_remaining, available_at, expires_at)
SELECT account_id, :k, {_SHARD}, :k, 'order', '/bench', concat(n, '-', :k), at, :points, :points, at,
       ((at AT TIME ZONE 'Europe/Berlin')::date + 301)::timestamp AT TIME ZONE 'Europe/Berlin'
FROM {_NUMBERED}, CAST({_OCCURRED_AT.format(k=":k")} AS timestamptz) AS at ORDER BY n;
INSERT INTO allocations (account_id, sequence, lot_number, kind, points)
SELECT account_id, :k, :k, 'opened', :points FROM {_NUMBERED} ORDER BY n
"""
_MESSAGES = f"""
INSERT INTO inbox (inbox_id, source, event_id, type, occurred_at, subject, body, state, settled_at)
SELECT (:k - 1) * :accounts + n, '/bench', 'e' || (:k - 1) * :accounts + n, 'order.completed',
       {_OCCURRED_AT.format(k=":k")}, concat('order ', n, '-', :k), '', 'posted', now()
FROM {_NUMBERED} ORDER BY n;
INSERT INTO outbox (outbox_id, account_shard, account_id, event_key, type, body)
SELECT row_number() OVER (ORDER BY k, n) + :k * :accounts - CASE :k WHEN 1 THEN :accounts ELSE 0 END,
       {_SHARD}, account_id, CASE k WHEN 0 THEN 'created' ELSE k::text END,
       CASE k WHEN 0 THEN 'loyalty.account.created' ELSE 'loyalty.balance.changed' END, '{{}}'
FROM {_NUMBERED}, generate_series(CASE :k WHEN 1 THEN 0 ELSE CAST(:k AS integer) END, :k) AS k ORDER BY k, n
"""
_NUMBERS = """
UPDATE numbers SET next_number = 1 + CASE name WHEN 'inbox' THEN (SELECT count(*) FROM inbox)
                                     ELSE (SELECT count(*) FROM outbox) END;
INSERT INTO relay_positions SELECT account_shard, max(outbox_id) FROM outbox GROUP BY account_shard
"""

_USAGES = """
INSERT INTO usages (account_id, name, period, points, orders)
SELECT account_id, 'spend', period, :points * :each, :each FROM accounts, unnest(ARRAY[:day, :month]) AS period
"""


def fill_ledger(
    engine: Engine,
    accounts: int,
    chain_key: bytes | None = None,
    *,
    is_limited: bool = False,
    has_messages: bool = True,
    ordered_days_ago: int = 400,
    days_between: int = 1,
    is_recorded_then: bool = False,
    is_promoted: bool = False,
) -> None:
    """Fill an empty, migrated database. No lot was taken, and points last 300 days; entries are chained with a key.

    The orders of each account are some days apart. With `is_limited` they are of one day, and the program has caps of a
    day and a month, and a budget. Without messages, inbox and outbox stay empty. Entries are recorded now, or then,
    which a chain cannot have. With `is_promoted` entries say so, and no program does.
    """
    occurred_at, spread = datetime.now(UTC) - timedelta(days=ordered_days_ago), 0 if is_limited else days_between
    values = {
        "spread": spread,
        "lines": _LINES,
        "accounts": accounts,
        "each": ORDERS_EACH,
        "shards": ACCOUNT_SHARDS,
        "points": _POINTS,
        "occurred_at": occurred_at,
        "is_recorded_then": is_recorded_then,
        "why": json.dumps(_WHY),
        "tenth_why": json.dumps(_PROMOTED_WHY if is_promoted else _WHY),
    }
    program = _apply_program(engine, is_limited=is_limited)
    # With a chain entries find those before them by their key.
    with without_indexes(engine, _FILLED) if chain_key is None else nullcontext():
        _run_all(engine, _ACCOUNTS, values)
        if is_limited:
            day = occurred_at.astimezone(program.zone).date().isoformat()
            _run_all(engine, _USAGES, {**values, "day": day, "month": day[:7]})
        for k in range(1, ORDERS_EACH + 1) if chain_key is not None else ():
            _run_all(engine, _ORDERS, {**values, "k": k})  # what comes after a chained entry would need a seal
        for k in range(1, ORDERS_EACH + 1):
            _fill_round(engine, {**values, "k": k}, chain_key, has_messages=has_messages)
            if k == ORDERS_EACH // 2:
                _run_alone(engine, "ANALYZE")
        if has_messages:
            _run_all(engine, _NUMBERS, values)
    _run_alone(engine, "VACUUM")


def _fill_round(engine: Engine, values: dict[str, Any], chain_key: bytes | None, *, has_messages: bool) -> None:
    """One order of every account, and what it gave."""
    if chain_key is None:
        _run_all(engine, _ORDERS, values)
        _run_all(engine, _ENTRIES, values)
    else:
        occurred_at = values["occurred_at"] + timedelta(days=values["k"] * values["spread"])
        _append_entries(engine, values["accounts"], values["k"], occurred_at, chain_key)
    _run_all(engine, _LOTS, values)
    if has_messages:
        _run_all(engine, _MESSAGES, values)


def _run_alone(engine: Engine, statement: str) -> None:
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text(statement))


def _apply_program(engine: Engine, *, is_limited: bool) -> Program:
    program_text = _PROGRAM
    if is_limited:
        program_text = _PROGRAM.replace("kind: spend,", "kind: spend, caps: {per_day: 500, per_month: 900},") + _LIMITS
    program = parse_program(program_text, path="bench.yaml")
    with engine.begin() as connection:
        append_version(connection, program, program_text, None)
    return program


def _append_entries(engine: Engine, accounts: int, k: int, occurred_at: datetime, chain_key: bytes) -> None:
    for start in range(1, accounts + 1, _ENTRIES_AT_ONCE):
        numbers = range(start, min(start + _ENTRIES_AT_ONCE, accounts + 1))
        entries = [_entry(n, k, occurred_at) for n in numbers]
        with engine.begin() as connection:
            append_entries(connection, entries, [why_json(entry.why) for entry in entries], chain_key)


def _run_all(engine: Engine, statements: str, values: Mapping[str, object]) -> None:
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        for statement in statements.split(";\n"):
            connection.execute(text(statement), {name: values[name] for name in values if f":{name}" in statement})


def _entry(number: int, k: int, occurred_at: datetime) -> Entry:
    return Entry(
        account_id=UUID(md5(f"account {number}".encode(), usedforsecurity=False).hexdigest()),
        sequence=k,
        kind=EntryKind.ACCRUAL,
        points=_POINTS,
        pending_change=0,
        reserved_change=0,
        deficit_change=0,
        balance_after=_POINTS * k,
        pending_after=0,
        reserved_after=0,
        lifetime_points_after=_POINTS * k,
        occurred_at=occurred_at,
        allocations=(Allocation(k, AllocationKind.OPENED, _POINTS, None),),
        source="/bench",
        order_id=f"{number}-{k}",
        refund_id=None,
        corrects_sequence=None,
        why=_WHY,
    )
