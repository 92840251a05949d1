"""Recomputes what is kept up incrementally from what is only ever added, set-based, and puts it right.

Facts: entries, allocations, refunds, tier changes, and of orders and lots all but their numbers. Derived: the numbers
of accounts, lots and orders, and usages. Facts that contradict each other cannot be rebuilt: their account is left as
it is. Budgets, which are no account's: `core.store.budgets`.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Table

from core.domain.program import BASE_TIER
from core.domain.program.registry import ProgramRegistry
from core.store import tables
from core.store.engine import run_bulk
from core.store.ledger import lock_accounts
from core.store.programs import VERSIONS, load_registry
from core.store.proof.counted_periods import UNITS_OF_ORDER, load_periods
from core.store.proof.differences import differences_of
from core.store.proof.invariants import CHECKS
from core.store.proof.invariants.authorizations import AUTHORIZATIONS_OF_ENTRIES
from core.store.proof.invariants.orders import ORDERS_AND_REFUNDS
from core.store.proof.scope import Scope, these_accounts, with_merged
from core.store.proof.usages_had import USAGES_HAD, load_usages_had
from core.store.repairs import Repair as MadeRepair
from core.store.repairs import append_repairs, plain
from core.store.rows import Put, Rows, Update, arrays, keys_of, unnested

#: Texts of contradicting facts that are read of one check; every account concerned is left alone all the same.
_TEXTS_MAX = 1_000_000


class Numbers(NamedTuple):
    """The derived numbers of one table."""

    table: Table
    subject: str  #: how a row is called, with its key
    names: tuple[str, ...]
    facts: str  #: account, key, and the numbers that the facts give, each under its name

    @property
    def key(self) -> list[str]:
        """The columns of the key beside the account."""
        return [name for name in keys_of(self.table) if name != "account_id"]


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
    row: dict[str, Any]  #: the table's key, and all numbers as the facts give them


class Contradiction(NamedTuple):
    """An account that is not rebuilt, and why."""

    account_id: UUID
    customer_id: str
    program_id: str
    texts: tuple[str, ...]


class Examination(NamedTuple):
    """What a look at some accounts found."""

    repairs: list[Repair]  #: of accounts whose facts agree with each other
    contradictions: list[Contradiction]  #: accounts that differ, and cannot be rebuilt


_ORDERS = f"""
SELECT account_id, source, order_id, program_id, (accrued - due)::bigint AS points_entitled,
       excused::bigint AS points_excused, shortfall::bigint AS points_shortfall
FROM ({ORDERS_AND_REFUNDS}) AS o WHERE account_id IS NOT NULL
"""  # noqa: S608  # our own words
_LOTS = """
SELECT l.account_id, l.lot_number, coalesce(n.granted, 0)::bigint AS points_granted,
       coalesce(n.remaining, 0)::bigint AS points_remaining, coalesce(n.expired, 0)::bigint AS points_expired
FROM lots l
LEFT JOIN (SELECT account_id, lot_number, sum(granted) AS granted, sum(remaining) AS remaining,
                  sum(expired) AS expired
           FROM (SELECT account_id, lot_number, CASE kind WHEN 'opened' THEN points ELSE 0 END AS granted,
                        points AS remaining, CASE kind WHEN 'expired' THEN -points ELSE 0 END AS expired
                 FROM allocations
                 UNION ALL
                 SELECT account_id, lot_number, points_granted, 0, points_expired FROM lot_moves) AS moved
           GROUP BY account_id, lot_number) n USING (account_id, lot_number)
"""
# An account that never changed its tier is in the first tier of some version: that of its opening.
_ACCOUNTS = f"""
WITH first_tiers AS MATERIALIZED (
    SELECT program_id, version, effective_from, applied_at,
           coalesce(document->'tiers'->0->>'tier_id', '{BASE_TIER.tier_id}') AS tier_id
    FROM ({VERSIONS}) AS v WHERE NOT is_withdrawn
)
SELECT a.account_id, coalesce(e.sequence, 0) AS sequence, coalesce(l.lots_opened, 0) AS lots_opened,
       coalesce(e.balance, 0)::bigint AS balance, coalesce(e.pending, 0)::bigint AS pending,
       coalesce(e.reserved, 0)::bigint AS reserved, coalesce(e.deficit, 0)::bigint AS deficit,
       (a.lifetime_points_given + coalesce(e.lifetime_points, 0))::bigint AS lifetime_points,
       CASE WHEN p.program_id IS NULL THEN a.qualifying_points ELSE coalesce(q.points, 0)::bigint END
           AS qualifying_points,
       coalesce(t.tier_id, (SELECT f.tier_id FROM first_tiers f WHERE f.program_id = a.program_id
                            ORDER BY f.tier_id = a.tier_id DESC,
                                     f.applied_at <= a.created_at AND f.effective_from <= a.created_at DESC,
                                     f.version DESC LIMIT 1), a.tier_id) AS tier_id,
       t.effective_at AS tier_since, coalesce(t.change_number, 0) AS tier_changes,
       coalesce(o.orders_posted, 0) AS orders_posted, coalesce(o.orders_counted, 0) AS orders_counted
FROM accounts a
LEFT JOIN (SELECT account_id, count(*) AS orders_posted, count(*) FILTER (WHERE is_counted) AS orders_counted
           FROM orders GROUP BY account_id) o USING (account_id)
LEFT JOIN (SELECT account_id, max(sequence) AS sequence, sum(points) AS balance, sum(deficit_change) AS deficit,
                  sum(pending_change) AS pending, sum(reserved_change) AS reserved,
                  sum(CASE WHEN kind IN ('accrual', 'clawback') THEN points + pending_change
                           ELSE m.lifetime_points END) AS lifetime_points
           FROM entries LEFT JOIN (SELECT account_id, sequence, lifetime_points FROM merges) AS m
                USING (account_id, sequence)
           GROUP BY account_id) e USING (account_id)
LEFT JOIN (SELECT account_id, max(lot_number) AS lots_opened FROM lots GROUP BY account_id) l USING (account_id)
LEFT JOIN (SELECT DISTINCT ON (account_id) account_id, tier_id, effective_at, change_number
           FROM tier_changes ORDER BY account_id, change_number DESC) t USING (account_id)
LEFT JOIN (SELECT * FROM unnest(%(period_programs)s::text[], %(period_starts)s::timestamptz[])
                         AS k(program_id, qualifying_from)) AS p
     ON p.program_id = a.program_id AND p.qualifying_from IS NOT DISTINCT FROM a.qualifying_from
LEFT JOIN (SELECT a.account_id, sum({UNITS_OF_ORDER}) AS points
           FROM accounts a JOIN orders o USING (account_id)
           JOIN unnest(%(period_programs)s::text[], %(period_starts)s::timestamptz[],
                       %(period_firsts)s::timestamptz[], %(period_ends)s::timestamptz[], %(period_measures)s::text[])
                AS k(program_id, qualifying_from, first, ending, measure)
                ON k.program_id = a.program_id AND k.qualifying_from IS NOT DISTINCT FROM a.qualifying_from
                   AND o.occurred_at >= k.first AND o.occurred_at < k.ending
           GROUP BY a.account_id) AS q USING (account_id)
"""  # noqa: S608  # our own words

#: The numbers that follow from the facts.
DERIVED = (
    Numbers(
        tables.accounts, "account",
        ("sequence", "lots_opened", "balance", "pending", "reserved", "deficit", "lifetime_points", "qualifying_points",
         "tier_id", "tier_since", "tier_changes", "orders_posted", "orders_counted"),
        _ACCOUNTS,
    ),
    Numbers(tables.lots, "lot {lot_number}", ("points_granted", "points_remaining", "points_expired"), _LOTS),
    Numbers(
        tables.orders, "order {order_id} of {source}", ("points_entitled", "points_excused", "points_shortfall"),
        _ORDERS,
    ),
    Numbers(
        tables.authorizations, "{kind} {authorization_id}", ("points_captured", "points_returned", "state"),
        AUTHORIZATIONS_OF_ENTRIES,
    ),
    Numbers(tables.usages, "usage of {name}, {period}", ("points", "orders", "carried"), USAGES_HAD),
)  # fmt: skip


def examine(connection: Connection, scope: Scope) -> Examination:
    """Compare the numbers of these accounts, lots, orders and usages with what the facts give. Changes nothing."""
    registry = load_registry(connection)
    periods = load_periods(connection, registry, scope)
    parameters = {**scope.parameters, **periods, **load_usages_had(connection, registry, scope)}
    found = [repair for numbers in DERIVED for repair in _differing(connection, scope, parameters, numbers)]
    if not found:
        return Examination([], [])
    reasons = _contradictions(connection, found, registry, periods)
    account_of = {repair.account_id: repair for repair in found}
    return Examination(
        sorted((repair for repair in found if repair.account_id not in reasons), key=lambda repair: repair[:1]),
        [
            Contradiction(account_id, account_of[account_id].customer_id, account_of[account_id].program_id, texts)
            for account_id, texts in sorted(reasons.items())
        ],
    )


def apply_repairs(connection: Connection, planned: Sequence[Repair], applied_by: str) -> list[Repair]:
    """Write what the facts of these repairs' accounts give now; keep each change in `repairs`, and return them.

    Safe beside workers: orders, then accounts are locked in the order of their keys, as posting does, and everything
    is computed again under the locks. An order that differs only since then is left to the next run.
    """
    orders = sorted(repair.key for repair in planned if repair.table == "orders")
    if orders:
        run_bulk(connection, _LOCK_ORDERS, arrays(orders, 3))
    account_ids = with_merged(connection, {repair.account_id for repair in planned})
    lock_accounts(connection, account_ids)
    now_differing = examine(connection, these_accounts(account_ids)).repairs
    repairs = [repair for repair in now_differing if repair.table != "orders" or repair.key in orders]
    for numbers in DERIVED:
        names = (*keys_of(numbers.table), *numbers.names)
        write = Put if numbers.table is tables.usages else Update  # of usages a row may be missing
        of_table = [repair.row for repair in repairs if repair.table == numbers.table.name]
        write(Rows(numbers.table, names, itemgetter(*names))).run(connection, of_table)
    append_repairs(connection, [MadeRepair(r.account_id, r.subject, r.found, r.rebuilt, applied_by) for r in repairs])
    return repairs


_LOCK_ORDERS = f"""
SELECT o.order_id FROM {unnested(tables.orders, keys_of(tables.orders))}
JOIN orders o USING (source, order_id, program_id) ORDER BY o.source, o.order_id, o.program_id FOR UPDATE OF o
"""  # noqa: S608  # our own names


def _differing(connection: Connection, scope: Scope, parameters: dict[str, Any], numbers: Numbers) -> Iterator[Repair]:
    columns = ["account_id", "of_customer", "of_program", *numbers.key]
    found, rebuilt = ([_value(numbers.table, side, name) for name in numbers.names] for side in ("t", "f"))
    query = f"""
    SELECT {", ".join([*columns, *found, *rebuilt])}
    FROM {numbers.table.name} t FULL JOIN ({numbers.facts}) AS f USING ({", ".join(["account_id", *numbers.key])})
    JOIN (SELECT account_id, customer_id AS of_customer, program_id AS of_program FROM accounts) AS a USING (account_id)
    WHERE ({", ".join(found)}) IS DISTINCT FROM ({", ".join(rebuilt)})
    """  # noqa: S608  # our own names
    for row in run_bulk(connection, scope.narrow(query), parameters):
        values = iter(row)
        of_row = dict(zip(columns, values, strict=False))
        old, new = (dict(zip(numbers.names, values, strict=False)) for _ in range(2))
        changed = [name for name in numbers.names if old[name] != new[name]]
        yield Repair(
            account_id=of_row["account_id"],
            customer_id=of_row["of_customer"],
            program_id=of_row["of_program"],
            table=numbers.table.name,
            key=tuple(of_row[name] for name in numbers.key),
            subject=numbers.subject.format(**of_row),
            found={name: old[name] for name in changed},
            rebuilt={name: new[name] for name in changed},
            row={**{name: of_row[name] for name in keys_of(numbers.table)}, **new},
        )


def _value(table: Table, side: str, name: str) -> str:
    """The number on one side; a row that is missing there is as good as one of defaults."""
    default = getattr(table.columns[name].server_default, "arg", None)
    return f"{side}.{name}" if default is None else f"coalesce({side}.{name}, {default})"


def _contradictions(
    connection: Connection, found: Sequence[Repair], registry: ProgramRegistry, periods: dict[str, Any]
) -> dict[UUID, tuple[str, ...]]:
    """Accounts whose facts are not whole, and what is wrong with them."""
    reasons: dict[UUID, list[str]] = defaultdict(list)
    scope = these_accounts(with_merged(connection, {repair.account_id for repair in found}))
    for check in CHECKS:
        if check.is_of_facts and not check.is_global:  # what needs everything is no account's alone
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
            reasons[repair.account_id].append(f"{repair.subject}: its facts give {json.dumps(plain(repair.rebuilt))}")
    return {account_id: tuple(texts) for account_id, texts in reasons.items()}


def _seems_shortened(repair: Repair) -> bool:
    """Whether the row counts more entries than there are, and their points too: the entries may be what is wrong."""
    if "balance" not in repair.found or "sequence" not in repair.found:
        return False
    return bool(repair.found["sequence"] > repair.rebuilt["sequence"])


def _is_impossible(repair: Repair) -> bool:
    """Whether the facts give numbers that the tables refuse, so that the facts are wrong."""
    row = repair.row
    match repair.table:
        case "accounts":
            return bool(row["deficit"] < 0 or row["balance"] < -row["deficit"] or row["qualifying_points"] < 0)
        case "lots":
            granted, remaining, expired = row["points_granted"], row["points_remaining"], row["points_expired"]
            return bool(granted <= 0 or remaining < 0 or expired < 0 or remaining + expired > granted)
        case "orders":
            return any(row[name] < 0 for name in ("points_entitled", "points_excused", "points_shortfall"))
    return False  # a usage's remainder may be below zero
