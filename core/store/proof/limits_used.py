"""What customers have of limits and budgets, from the facts: what the tables `usages` and `budgets` must say.

The last entry about an order explains what each rule and promotion gives it, and PostgreSQL adds that up. No entry
tells what a rule leaves over for the next order (`carry`), nor what an order still has after a refund or cancellation
that took no points, because they had expired or the program leaves them to the customer. Such orders, few but for
programs with `carry`, are worked out anew, from the order, its refunds and what was judged of it, as posting does.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from core.domain.calendar import local_midnight, next_midnight
from core.domain.orders.earning import Entitlement, entitlement
from core.domain.orders.limits import budget_changes, usage_changes
from core.domain.orders.posted import Budget, BudgetChange, PostedOrder, Usage
from core.domain.program import Program, UsageKey
from core.domain.program.registry import ProgramRegistry, ProgramVersion
from core.store.engine import run_bulk
from core.store.proof.order_points import read_order, stream_orders
from core.store.proof.rewards_had import stocks_had
from core.store.proof.scope import Scope, slices


class _Limit(NamedTuple):
    """A rule or promotion of one version that is counted, and over which period."""

    program_id: str
    version: int
    name: str
    period: str  #: day, month or ever
    zone: str


#: Orders with a refund, a cancellation or the like that wrote no entry, or that were moved by a merge, whose entry says
#: nothing of them.
_SILENT = """
SELECT order_source AS source, order_id, program_id FROM refunds WHERE points_taken = 0
UNION ALL
SELECT source, order_id, program_id FROM order_events
WHERE kind <> 'fulfilled' AND (points_taken = 0 OR kind IN ('moved_away', 'moved_in'))
"""
# What each order has of the counted rules and promotions, where its last entry says so.
_TOLD = f"""
SELECT t.account_id, t.occurred_at, l.program_id, l.name, l.period, l.zone, (t.part->>'points')::bigint AS points
FROM (SELECT o.account_id, o.occurred_at, o.program_id, o.program_version,
             jsonb_array_elements((e.why->'rules')::jsonb || coalesce(e.why->'promotions', '[]')::jsonb) AS part
      FROM orders o
      JOIN (SELECT DISTINCT program_id, program_version
            FROM unnest(%(limit_programs)s::text[], %(limit_versions)s::integer[]) AS k(program_id, program_version)) v
           USING (program_id, program_version)
      LEFT JOIN (SELECT source, order_id, program_id, account_id, max(sequence) AS last
                 FROM (SELECT order_source AS source, order_id, program_id, account_id, sequence FROM refunds
                       UNION ALL
                       SELECT source, order_id, program_id, account_id, sequence FROM order_events) AS reported
                 GROUP BY source, order_id, program_id, account_id) c USING (source, order_id, program_id, account_id)
      JOIN entries e ON e.account_id = o.account_id AND e.sequence = coalesce(c.last, o.sequence)
      WHERE NOT EXISTS (SELECT FROM ({_SILENT}) AS s
                        WHERE s.source = o.source AND s.order_id = o.order_id AND s.program_id = o.program_id)
     ) AS t
JOIN unnest(%(limit_programs)s::text[], %(limit_versions)s::integer[], %(limit_names)s::text[],
            %(limit_periods)s::text[], %(limit_zones)s::text[]) AS l(program_id, version, name, period, zone)
     ON l.program_id = t.program_id AND l.version = t.program_version
        AND l.name = coalesce(t.part->>'rule_id', t.part->>'promotion_id')
"""  # noqa: S608  # our own words
#: What the orders of each account have, by rule or promotion and period; with the parameters of `usages_of_orders`.
USAGES_OF_ORDERS = f"""
SELECT account_id, name, period, sum(points)::bigint AS points, sum(orders)::integer AS orders,
       coalesce(max(carried), 0) AS carried
FROM (
    SELECT t.account_id, t.name, points, 1 AS orders, NULL::numeric AS carried,
           CASE t.period WHEN 'day' THEN d.day WHEN 'month' THEN left(d.day, 7) ELSE t.period END AS period
    FROM ({_TOLD}) AS t
    LEFT JOIN unnest(%(day_zones)s::text[], %(days_utc)s::date[], %(day_starts)s::timestamptz[],
                     %(day_ends)s::timestamptz[], %(days)s::text[]) AS d(zone, utc, start, ending, day)
         ON d.zone = t.zone AND d.utc = (t.occurred_at AT TIME ZONE 'UTC')::date
            AND t.occurred_at >= d.start AND t.occurred_at < d.ending
    UNION ALL
    SELECT account_id, name, points, orders, carried, period
    FROM unnest(%(anew_accounts)s::uuid[], %(anew_names)s::text[], %(anew_periods)s::text[], %(anew_points)s::bigint[],
                %(anew_orders)s::integer[], %(anew_carried)s::numeric[])
         AS k(account_id, name, period, points, orders, carried)
) AS used
GROUP BY account_id, name, period
"""  # noqa: S608  # our own words
_BUDGETS_TOLD = f"""
SELECT program_id, name, sum(points)::bigint, count(*) FROM ({_TOLD}) AS t GROUP BY program_id, name
"""  # noqa: S608  # our own words


def usages_of_orders(connection: Connection, registry: ProgramRegistry, scope: Scope) -> dict[str, Any]:
    """Parameters of `USAGES_OF_ORDERS`: what is counted, what the days are, and what no entry says."""
    versions = [version for version in registry.versions() if _counts_per_customer(version.program)]
    limits = list(_limits(versions, _per_customer))
    found: dict[tuple[UUID, UsageKey], Usage] = defaultdict(Usage)
    for each in _anew(connection, versions, scope):
        for change in usage_changes(
            each.program, each.account_id, each.posted.order, each.posted.judgement, None, each.earned
        ):
            key = each.account_id, UsageKey(change.name, change.period)
            found[key] = found[key].plus(change)
    anew = [(account_id, *key, use.points, use.orders, use.carried) for (account_id, key), use in found.items()]
    return {
        **_columns(_LIMITS, limits),
        **_columns(_DAYS, _days(connection, [limit for limit in limits if limit.period != "ever"], scope)),
        **_columns(_ANEW, anew),
    }


def budgets_had(connection: Connection, registry: ProgramRegistry) -> dict[tuple[str, str], Budget]:
    """What is spent of each budget and stock, by (program, name); orders slice by slice through the accounts."""
    versions = [version for version in registry.versions() if version.program.budgeted]
    limits = _columns(_LIMITS, _limits(versions, lambda program: [(name, "ever") for name in program.budgeted]))
    found: dict[tuple[str, str], Budget] = defaultdict(Budget)
    for scope in slices(connection) if versions else []:
        rows = run_bulk(connection, scope.narrow(_BUDGETS_TOLD), {**scope.parameters, **limits})
        changes = [BudgetChange(*row) for row in rows]
        for each in _anew(connection, versions, scope):
            changes += budget_changes(each.program, None, each.earned)
        for change in changes:
            key = change.program_id, change.name
            found[key] = found[key].plus(change)
    for had in stocks_had(connection, registry):
        key = had.program_id, had.name
        found[key] = found[key].plus(had)
    return found


_LIMITS = ("limit_programs", "limit_versions", "limit_names", "limit_periods", "limit_zones")
_DAYS = ("day_zones", "days_utc", "day_starts", "day_ends", "days")
_ANEW = ("anew_accounts", "anew_names", "anew_periods", "anew_points", "anew_orders", "anew_carried")


def _columns(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> dict[str, list[Any]]:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names]
    return dict(zip(names, columns, strict=True))


def _carries(program: Program) -> bool:
    return any(rule.carry for rule in program.earning_rules)


def _per_customer(program: Program) -> Iterator[tuple[str, str]]:
    for rule in program.earning_rules:
        yield from ((rule.rule_id, period) for period, _ in rule.limited_per)
    for promotion in program.promotions:
        yield from ((promotion.promotion_id, period) for period, _ in promotion.limited_per)


def _counts_per_customer(program: Program) -> bool:
    return _carries(program) or any(True for _ in _per_customer(program))


def _limits(
    versions: Sequence[ProgramVersion], counted: Callable[[Program], Iterable[tuple[str, str]]]
) -> Iterator[_Limit]:
    """What entries show; not of versions whose orders are all worked out anew."""
    for version in versions:
        program = version.program
        if not _carries(program):
            for name, period in counted(program):
                yield _Limit(version.program_id, version.version, name, period, program.time_zone)


class Day(NamedTuple):
    """A day of a time zone, as far as it lies in a day of UTC."""

    zone: str
    utc: date
    start: datetime
    end: datetime
    day: str


_UTC_DAYS = """
SELECT DISTINCT k.zone, (o.occurred_at AT TIME ZONE 'UTC')::date
FROM orders o
JOIN (SELECT DISTINCT * FROM unnest(%(limit_programs)s::text[], %(limit_versions)s::integer[], %(limit_zones)s::text[])
                             AS k(program_id, program_version, zone)) k USING (program_id, program_version)
"""


def _days(connection: Connection, limits: Sequence[_Limit], scope: Scope) -> Iterator[Day]:
    """The days of orders, as posting names them: PostgreSQL may know other rules of a time zone than we."""
    if limits:
        parameters = {**scope.parameters, **_columns(_LIMITS, limits)}
        for zone, utc in run_bulk(connection, scope.narrow(_UTC_DAYS), parameters):
            yield from days_of(zone, utc)


@lru_cache(maxsize=10_000)
def days_of(zone_name: str, utc: date) -> tuple[Day, ...]:
    """The days of a time zone that share some time with a day of UTC."""
    zone = ZoneInfo(zone_name)
    start = datetime.combine(utc, time(), tzinfo=UTC)
    first, last = (instant.astimezone(zone).date() for instant in (start, start + timedelta(days=1, microseconds=-1)))
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return tuple(Day(zone_name, utc, local_midnight(d, zone), next_midnight(d, zone), d.isoformat()) for d in days)


class _Anew(NamedTuple):
    """An order of which no entry says enough."""

    account_id: UUID
    program: Program
    posted: PostedOrder
    earned: Entitlement


_IS_ANEW = f"""
(o.program_id, o.program_version) IN (
    SELECT * FROM unnest(%(anew_programs)s::text[], %(anew_versions)s::integer[]))
AND ((o.program_id, o.program_version) IN (
         SELECT program_id, version
         FROM unnest(%(anew_programs)s::text[], %(anew_versions)s::integer[], %(anew_carries)s::boolean[])
              AS v(program_id, version, carries) WHERE v.carries)
     OR (o.source, o.order_id, o.program_id) IN ({_SILENT}))
"""  # noqa: S608  # our own words


def _anew(connection: Connection, versions: Sequence[ProgramVersion], scope: Scope) -> Iterator[_Anew]:
    if not versions:
        return
    programs = {(version.program_id, version.version): version.program for version in versions}
    wanted = [(*key, _carries(program)) for key, program in programs.items()]
    parameters = _columns(("anew_programs", "anew_versions", "anew_carries"), wanted)
    for row in stream_orders(connection, scope, _IS_ANEW, parameters):
        each = read_order(row)
        posted, refunds = each.posted, each.refunds
        if each.is_moved and not posted.points_entitled:
            continue  # its refunds are not all here, and left nothing of it
        assert posted.account_id is not None
        assert posted.tier_id is not None
        program = programs[posted.program_id, posted.program_version]
        earned = entitlement(posted.current, refunds, program, posted.tier_id, posted.judged)
        yield _Anew(posted.account_id, program, posted, earned)
