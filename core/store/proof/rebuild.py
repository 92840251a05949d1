"""Recomputes what is kept up incrementally from what is only ever added, set-based, and puts it right.

Facts: entries, allocations, refunds, tier changes, and of orders and lots all but their numbers. Derived: the numbers
of accounts, lots and orders, and usages. Facts that contradict each other cannot be rebuilt: their account is left as
it is. Budgets, which are no account's: `core.store.budgets`.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection

from core.domain.orders.limits import Usage
from core.domain.program import UsageKey
from core.store.appending import write_usages
from core.store.engine import copy_rows, run_bulk
from core.store.ledger import lock_accounts
from core.store.programs import ProgramRegistry, load_registry
from core.store.proof.counted_periods import load_periods
from core.store.proof.invariants import CHECKS
from core.store.proof.invariants.orders import ORDERS_AND_REFUNDS
from core.store.proof.limits_used import USAGES_OF_ORDERS, usages_of_orders
from core.store.proof.scope import Scope, these_accounts
from core.store.proof.verify import differences_of

#: Texts of contradicting facts that are read of one check; every account concerned is left alone all the same.
_TEXTS_MAX = 1_000_000


class Numbers(NamedTuple):
    """The derived numbers of one table."""

    table: str
    subject: str  #: how a row is called, with its key
    key: tuple[str, ...]  #: columns of the key beside the account
    names: tuple[str, ...]
    types: tuple[str, ...]
    query: str  #: account, customer, program, key, the numbers found, the numbers that the facts give


class Repair(NamedTuple):
    """One row whose numbers are not what the facts give."""

    account_id: UUID
    customer_id: str
    program_id: str
    table: str
    key: tuple[Any, ...]  #: of the row within its account
    subject: str  #: account, lot 7, order 5001 of /shops/high-street, or usage of daily, 2026-11-21
    found: dict[str, Any]  #: what the row says, where it differs
    rebuilt: dict[str, Any]  #: what the facts give instead
    numbers: tuple[Any, ...]  #: all of the row, as the facts give them


class Contradiction(NamedTuple):
    """An account that is not rebuilt, and why."""

    account_id: UUID
    customer_id: str
    program_id: str
    texts: tuple[str, ...]


class Examined(NamedTuple):
    """What a look at some accounts found."""

    repairs: list[Repair]  #: of accounts whose facts agree with each other
    contradictions: list[Contradiction]  #: accounts that differ, and cannot be rebuilt


# Columns: account, customer, program, the row's key, its numbers, the numbers that the facts give.
_ORDERS = f"""
SELECT o.account_id, a.customer_id, a.program_id, o.source, o.order_id, o.program_id AS of_program,
       o.points_entitled, o.points_excused, o.points_shortfall,
       (o.accrued - o.due)::bigint AS entitled, o.excused::bigint, o.shortfall::bigint, o.occurred_at,
       o.qualifying_points, o.qualifying_spend, o.qualifying_orders
FROM ({ORDERS_AND_REFUNDS}) AS o JOIN accounts a USING (account_id)
"""  # noqa: S608  # our own words
_LOTS = """
SELECT account_id, a.customer_id, a.program_id, l.lot_number, l.points_granted, l.points_remaining, l.points_expired,
       coalesce(n.granted, 0)::bigint, coalesce(n.remaining, 0)::bigint, coalesce(n.expired, 0)::bigint
FROM lots l
JOIN accounts a USING (account_id)
LEFT JOIN (SELECT account_id, lot_number, sum(greatest(n.points, 0)) AS granted, sum(n.points) AS remaining,
                  -sum(n.points) FILTER (WHERE e.kind = 'expiry') AS expired
           FROM allocations n JOIN entries e USING (account_id, sequence)
           GROUP BY account_id, lot_number) n USING (account_id, lot_number)
"""
# An account that never changed its tier is in the first tier of some version: that of its opening.
_ACCOUNTS = f"""
WITH first_tiers AS MATERIALIZED (
    SELECT program_id, version, effective_from, applied_at, document->'tiers'->0->>'tier_id' AS tier_id FROM programs
)
SELECT a.account_id, a.customer_id, a.program_id, a.sequence, a.lots_opened, a.balance, a.pending, a.deficit,
       a.lifetime_points, a.qualifying_points, a.tier_id, a.tier_since, a.tier_changes,
       coalesce(e.sequence, 0), coalesce(l.lots_opened, 0), coalesce(e.balance, 0)::bigint,
       coalesce(e.pending, 0)::bigint,
       coalesce(e.deficit, 0)::bigint, coalesce(e.lifetime_points, 0)::bigint,
       CASE WHEN p.program_id IS NULL THEN a.qualifying_points ELSE coalesce(q.points, 0)::bigint END,
       coalesce(t.tier_id, (SELECT f.tier_id FROM first_tiers f WHERE f.program_id = a.program_id
                            ORDER BY f.tier_id = a.tier_id DESC,
                                     f.applied_at <= a.created_at AND f.effective_from <= a.created_at DESC,
                                     f.version DESC LIMIT 1), a.tier_id),
       t.effective_at, coalesce(t.change_number, 0)
FROM accounts a
LEFT JOIN (SELECT account_id, max(sequence) AS sequence, sum(points) AS balance, sum(deficit_change) AS deficit,
                  sum(pending_change) AS pending,
                  sum(points + pending_change) FILTER (WHERE kind IN ('accrual', 'clawback')) AS lifetime_points
           FROM entries GROUP BY account_id) e USING (account_id)
LEFT JOIN (SELECT account_id, max(lot_number) AS lots_opened FROM lots GROUP BY account_id) l USING (account_id)
LEFT JOIN (SELECT DISTINCT ON (account_id) account_id, tier_id, effective_at, change_number
           FROM tier_changes ORDER BY account_id, change_number DESC) t USING (account_id)
LEFT JOIN (SELECT * FROM unnest(%(period_programs)s::text[], %(period_starts)s::timestamptz[])
                         AS k(program_id, qualifying_from)) AS p
     ON p.program_id = a.program_id AND p.qualifying_from IS NOT DISTINCT FROM a.qualifying_from
LEFT JOIN (SELECT a.account_id, sum(CASE k.measure
                      WHEN 'spend' THEN coalesce(o.qualifying_spend, 0)
                      WHEN 'orders' THEN coalesce(o.qualifying_orders, (o.entitled > 0)::integer)
                      ELSE coalesce(o.qualifying_points, o.entitled) END) AS points
           FROM accounts a JOIN ({_ORDERS}) AS o USING (account_id)
           JOIN unnest(%(period_programs)s::text[], %(period_starts)s::timestamptz[],
                       %(period_firsts)s::timestamptz[], %(period_ends)s::timestamptz[], %(period_measures)s::text[])
                AS k(program_id, qualifying_from, first, ending, measure)
                ON k.program_id = a.program_id AND k.qualifying_from IS NOT DISTINCT FROM a.qualifying_from
                   AND o.occurred_at >= k.first AND o.occurred_at < k.ending
           GROUP BY a.account_id) AS q USING (account_id)
"""  # noqa: S608  # our own words
_USAGES = f"""
SELECT account_id, a.customer_id, a.program_id, name, period,
       coalesce(u.points, 0), coalesce(u.orders, 0), coalesce(u.carried, '0'),
       coalesce(o.points, 0), coalesce(o.orders, 0), coalesce(o.carried, '0')
FROM usages u
FULL JOIN ({USAGES_OF_ORDERS}) AS o USING (account_id, name, period)
JOIN accounts a USING (account_id)
"""  # noqa: S608  # our own words

_TABLES = (
    Numbers(
        "accounts", "account", (),
        ("sequence", "lots_opened", "balance", "pending", "deficit", "lifetime_points", "qualifying_points",
         "tier_id", "tier_since", "tier_changes"),
        ("bigint", "integer", "bigint", "bigint", "bigint", "bigint", "bigint", "text", "timestamptz", "integer"),
        _ACCOUNTS,
    ),
    Numbers(
        "lots", "lot {lot_number}", ("lot_number",),
        ("points_granted", "points_remaining", "points_expired"), ("bigint",) * 3, _LOTS,
    ),
    Numbers(
        "orders", "order {order_id} of {source}", ("source", "order_id", "program_id"),
        ("points_entitled", "points_excused", "points_shortfall"), ("bigint",) * 3, _ORDERS,
    ),
    Numbers(
        "usages", "usage of {name}, {period}", ("name", "period"),
        ("points", "orders", "carried"), ("bigint", "integer", "text"), _USAGES,
    ),
)  # fmt: skip


def examine(connection: Connection, scope: Scope) -> Examined:
    """Compare the numbers of these accounts, lots, orders and usages with what the facts give. Changes nothing."""
    registry = load_registry(connection)
    periods = load_periods(connection, registry, scope)
    parameters = {**scope.parameters, **periods, **usages_of_orders(connection, registry, scope)}
    found = [repair for numbers in _TABLES for repair in _differing(connection, scope, parameters, numbers)]
    if not found:
        return Examined([], [])
    reasons = _contradictions(connection, found, registry, periods)
    account_of = {repair.account_id: repair for repair in found}
    return Examined(
        sorted((repair for repair in found if repair.account_id not in reasons), key=lambda repair: repair[:1]),
        [
            Contradiction(account_id, account_of[account_id].customer_id, account_of[account_id].program_id, texts)
            for account_id, texts in sorted(reasons.items())
        ],
    )


def apply_repairs(connection: Connection, planned: Sequence[Repair]) -> list[Repair]:
    """Write what the facts of these repairs' accounts give now; keep each change in `repairs`, and return them.

    Safe beside workers: orders, then accounts are locked in the order of their keys, as posting does, and everything
    is computed again under the locks. An order that differs only since then is left to the next run.
    """
    orders = sorted(repair.key for repair in planned if repair.table == "orders")
    if orders:
        run_bulk(connection, _LOCK_ORDERS, [list(column) for column in zip(*orders, strict=True)])
    account_ids = {repair.account_id for repair in planned}
    lock_accounts(connection, account_ids)
    now_differing = examine(connection, these_accounts(account_ids)).repairs
    repairs = [repair for repair in now_differing if repair.table != "orders" or repair.key in orders]
    for numbers in _TABLES:
        _write(connection, numbers, [repair for repair in repairs if repair.table == numbers.table])
    rows = ((r.account_id, r.subject, _json(r.found), _json(r.rebuilt)) for r in repairs)
    copy_rows(connection, "repairs", ("account_id", "subject", "found", "rebuilt"), rows)
    return repairs


_LOCK_ORDERS = """
SELECT o.order_id FROM unnest(%b::text[], %b::text[], %b::text[]) AS k(source, order_id, program_id)
JOIN orders o USING (source, order_id, program_id) ORDER BY o.source, o.order_id, o.program_id FOR UPDATE OF o
"""


def _differing(connection: Connection, scope: Scope, parameters: dict[str, Any], numbers: Numbers) -> Iterator[Repair]:
    found, rebuilt = ([f"{side}_{name}" for name in numbers.names] for side in ("found", "rebuilt"))
    columns = ["account_id", "customer_id", "of_program", *numbers.key, *found, *rebuilt]
    query = (
        f"SELECT {', '.join(columns)} FROM ({numbers.query}) AS compared({', '.join(columns)})"  # noqa: S608  # our own names
        f" WHERE ({', '.join(found)}) IS DISTINCT FROM ({', '.join(rebuilt)})"
    )
    first, width = 3 + len(numbers.key), len(numbers.names)
    for row in run_bulk(connection, scope.narrow(query), parameters):
        key, old, new = row[3:first], row[first : first + width], row[first + width :]
        changed = [place for place in range(width) if old[place] != new[place]]
        yield Repair(
            account_id=row[0],
            customer_id=row[1],
            program_id=row[2],
            table=numbers.table,
            key=key,
            subject=numbers.subject.format(**dict(zip(numbers.key, key, strict=True))),
            found={numbers.names[place]: old[place] for place in changed},
            rebuilt={numbers.names[place]: new[place] for place in changed},
            numbers=new,
        )


def _contradictions(
    connection: Connection, found: Sequence[Repair], registry: ProgramRegistry, periods: dict[str, Any]
) -> dict[UUID, tuple[str, ...]]:
    """Accounts whose facts are not whole, and what is wrong with them."""
    reasons: dict[UUID, list[str]] = defaultdict(list)
    scope = these_accounts({repair.account_id for repair in found})
    for check in CHECKS:
        if check.is_of_facts:
            for difference in differences_of(connection, check, scope, registry, periods, _TEXTS_MAX):
                assert difference.account_id is not None
                reasons[difference.account_id].append(difference.text)
    for repair in found:
        if repair.table == "accounts" and _seems_shortened(repair):
            reasons[repair.account_id].append(
                f"the account counts {repair.found['sequence']} entries and has another balance, but only"
                f" {repair.rebuilt['sequence']} are there: the last may be lost"
            )
        elif _is_impossible(repair):
            reasons[repair.account_id].append(f"{repair.subject}: its facts give {_json(repair.rebuilt)}")
    return {account_id: tuple(texts) for account_id, texts in reasons.items()}


def _seems_shortened(repair: Repair) -> bool:
    """Whether the row counts more entries than there are, and their points too: the entries may be what is wrong."""
    if "balance" not in repair.found or "sequence" not in repair.found:
        return False
    return bool(repair.found["sequence"] > repair.rebuilt["sequence"])


def _is_impossible(repair: Repair) -> bool:
    """Whether the facts give numbers that the tables refuse, so that the facts are wrong."""
    match repair.table, repair.numbers:
        case "accounts", (_, _, balance, _, deficit, _, qualifying_points, *_):
            return bool(deficit < 0 or balance < -deficit or qualifying_points < 0)
        case "lots", (granted, remaining, expired):
            return bool(granted <= 0 or remaining < 0 or expired < 0 or remaining + expired > granted)
        case "usages", _:  # a remainder may be below zero
            return False
    return any(number < 0 for number in repair.numbers)


def _write(connection: Connection, numbers: Numbers, repairs: Sequence[Repair]) -> None:
    if not repairs:
        return
    if numbers.table == "usages":  # a row may be missing
        write_usages(connection, [(r.account_id, UsageKey(*r.key), _usage(*r.numbers)) for r in repairs])
        return
    key = ("account_id", *numbers.key)
    types = ("uuid", *("integer" if name == "lot_number" else "text" for name in numbers.key), *numbers.types)
    sets = ", ".join(f"{name} = c.new_{name}" for name in numbers.names)
    if numbers.table == "accounts":
        sets += ", updated_at = now()"
    statement = (
        f"UPDATE {numbers.table} t SET {sets} FROM unnest({', '.join(f'%b::{kind}[]' for kind in types)})"  # noqa: S608  # our own names
        f" AS c({', '.join((*key, *(f'new_{name}' for name in numbers.names)))})"
        f" WHERE {' AND '.join(f't.{name} = c.{name}' for name in key)}"
    )
    rows = ((repair.account_id, *repair.key, *repair.numbers) for repair in repairs)
    run_bulk(connection, statement, [list(column) for column in zip(*rows, strict=True)])


def _usage(points: int, orders: int, carried: str) -> Usage:
    return Usage(points, orders, Fraction(carried))


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, default=datetime.isoformat)
