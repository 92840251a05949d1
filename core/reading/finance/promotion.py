"""What became of a promotion, from what the entries of orders explain of it."""

from sqlalchemy import Connection

from core.domain.accounting.promotion import PromotionMonth, PromotionOutcome, Uptake
from core.domain.program.registry import ProgramRegistry
from core.store.engine import database_now, run_bulk
from core.store.liability import value_of_point

#: Each order that earned: the most that the promotion gave it, what it gives now, and the same of all that it earned.
_ORDERS = """
SELECT o.source, o.order_id, o.account_id, o.program_version, o.occurred_at,
       max(told.given) AS given, coalesce(max(told.given) FILTER (WHERE told.from_last = 1), 0) AS given_now,
       max(told.earned) AS earned, coalesce(max(told.earned) FILTER (WHERE told.from_last = 1), 0) AS earned_now
FROM (
    SELECT x.source, x.order_id,
           coalesce((SELECT sum((p->>'points')::bigint) FROM json_array_elements(e.why->'promotions') AS p
                     WHERE p->>'promotion_id' = %(promotion_id)s), 0) AS given,
           coalesce((e.why->>'points_entitled_after')::bigint, e.points + e.pending_change) AS earned,
           row_number() OVER (PARTITION BY x.source, x.order_id
                              ORDER BY e.recorded_at DESC, (e.account_id = x.account_id) DESC, e.sequence DESC)
               AS from_last
    FROM entries e
    JOIN accounts a ON a.account_id = e.account_id AND a.program_id = %(program_id)s
    JOIN orders x ON x.source = e.source AND x.order_id = e.order_id AND x.program_id = %(program_id)s
    WHERE e.order_id IS NOT NULL AND e.kind IN ('accrual', 'clawback')
) AS told
JOIN orders o ON o.source = told.source AND o.order_id = told.order_id AND o.program_id = %(program_id)s
GROUP BY o.source, o.order_id, o.account_id, o.program_version, o.occurred_at
"""
_OUTCOME = f"""
WITH earning AS MATERIALIZED ({_ORDERS}),
     time AS (SELECT min(occurred_at) AS first_at, max(occurred_at) AS last_at FROM earning WHERE given > 0)
SELECT 'had' AS what, NULL::date AS month, NULL::integer AS version, count(*), count(DISTINCT account_id),
       coalesce(sum(given), 0)::bigint, coalesce(sum(given_now), 0)::bigint, min(occurred_at), max(occurred_at)
FROM earning WHERE given > 0
UNION ALL
SELECT 'others', NULL, NULL, count(*), count(DISTINCT account_id), coalesce(sum(earned), 0)::bigint,
       coalesce(sum(earned_now), 0)::bigint, NULL, NULL
FROM earning JOIN time ON occurred_at BETWEEN first_at AND last_at WHERE given = 0
UNION ALL
SELECT 'month', date_trunc('month', occurred_at AT TIME ZONE %(zone)s)::date, program_version, count(*),
       count(DISTINCT account_id), sum(given)::bigint, sum(given_now)::bigint, NULL, NULL
FROM earning WHERE given > 0 GROUP BY 2, 3
"""  # noqa: S608  # our own words


def programs_with(registry: ProgramRegistry, promotion_id: str) -> list[str]:
    """The programs of which some version has this promotion."""
    found = [
        version.program_id
        for version in registry.versions()
        if promotion_id in {promotion.promotion_id for promotion in version.program.promotions}
    ]
    return sorted(set(found))


def load_promotion(
    connection: Connection, registry: ProgramRegistry, program_id: str, promotion_id: str
) -> PromotionOutcome:
    """What became of the promotion, by all that is recorded; nothing, of one that no order has had.

    `connection` should see one snapshot. KeyError for an unknown program.
    """
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    program = registry.at(program_id, database_now(connection)).program
    asked = {"program_id": program_id, "promotion_id": promotion_id, "zone": program.time_zone}
    rows = run_bulk(connection, _OUTCOME, asked)
    (had,) = (row for row in rows if row[0] == "had")
    (others,) = (row for row in rows if row[0] == "others")
    months = []
    for _, month, version, orders, _, given, left, *_ in sorted(row for row in rows if row[0] == "month"):
        value = value_of_point(registry.version(program_id, version).program)
        worth = None if value is None else left * value
        months.append(PromotionMonth(month, version, orders, given, left, worth))
    return PromotionOutcome(
        program_id,
        promotion_id,
        program.unit,
        program.currency,
        had[7],
        had[8],
        Uptake(*had[3:7]),
        Uptake(*others[3:7]),
        tuple(months),
    )
