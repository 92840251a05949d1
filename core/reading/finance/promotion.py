"""What became of a promotion, from what the entries of orders explain of it."""

from sqlalchemy import Connection

from core.domain.accounting.promotion import PromotionMonth, PromotionOutcome, Uptake
from core.domain.program.registry import ProgramRegistry
from core.store.engine import database_now, run_bulk
from core.store.liability import value_of_point

#: Entries by which orders earn, and their orders.
_ENTRIES = """
FROM entries e
JOIN accounts a ON a.account_id = e.account_id AND a.program_id = %(program_id)s
JOIN orders o ON o.source = e.source AND o.order_id = e.order_id AND o.program_id = %(program_id)s
WHERE e.order_id IS NOT NULL AND e.kind IN ('accrual', 'clawback')
"""
_EARNED = "coalesce((e.why->>'points_entitled_after')::bigint, e.points + e.pending_change)"
_GIVEN = """
coalesce((SELECT sum((p->>'points')::bigint) FROM json_array_elements(e.why->'promotions') AS p
          WHERE p->>'promotion_id' = %(promotion_id)s), 0)
"""
#: Whether the promotion gave something by an entry: asked so, several processes can ask it.
_HAS_IT = """
coalesce(jsonb_path_exists((e.why->'promotions')::jsonb, '$[*] ? (@.promotion_id == $id && @.points > 0)',
                           jsonb_build_object('id', %(promotion_id)s::text)), false)
"""
#: Whether nothing has happened to an order but that it was fulfilled. Such an order has one entry, which tells all of
#: it: so it is neither sorted nor looked for again, and most orders are such.
UNCHANGED = """
NOT EXISTS (SELECT FROM refunds r
            WHERE r.order_source = o.source AND r.order_id = o.order_id AND r.program_id = o.program_id)
AND NOT EXISTS (SELECT FROM order_events v WHERE v.source = o.source AND v.order_id = o.order_id
                AND v.program_id = o.program_id AND v.kind <> 'fulfilled')
"""
_CHANGED = """
SELECT order_source AS source, order_id FROM refunds WHERE program_id = %(program_id)s
UNION
SELECT source, order_id FROM order_events WHERE program_id = %(program_id)s AND kind <> 'fulfilled'
"""
#: Each order that has changed: the most that the promotion gave it, what it gives now, and the same of all it earned.
_EARNING = f"""
SELECT account_id, program_version, occurred_at,
       max(given) AS given, coalesce(max(given) FILTER (WHERE from_last = 1), 0) AS given_now,
       max(earned) AS earned, coalesce(max(earned) FILTER (WHERE from_last = 1), 0) AS earned_now
FROM (
    SELECT o.source, o.order_id, o.account_id, o.program_version, o.occurred_at, {_GIVEN} AS given, {_EARNED} AS earned,
           row_number() OVER (PARTITION BY o.source, o.order_id
                              ORDER BY e.recorded_at DESC, (e.account_id = o.account_id) DESC, e.sequence DESC)
               AS from_last
    {_ENTRIES} AND (o.source, o.order_id) IN ({_CHANGED})
) AS told
GROUP BY source, order_id, account_id, program_version, occurred_at
"""  # noqa: S608  # our own words
_HAD = f"""
WITH had AS MATERIALIZED (
    SELECT account_id, program_version, occurred_at, given, given_now FROM ({_EARNING}) AS changed WHERE given > 0
    UNION ALL
    SELECT account_id, program_version, occurred_at, given, given
    FROM (SELECT o.account_id, o.program_version, o.occurred_at, {_GIVEN} AS given
          {_ENTRIES} AND {_HAS_IT} AND {UNCHANGED} OFFSET 0) AS unchanged
)
SELECT NULL::date AS month, NULL::integer AS version, count(*), count(DISTINCT account_id),
       coalesce(sum(given), 0)::bigint, coalesce(sum(given_now), 0)::bigint, min(occurred_at), max(occurred_at)
FROM had
UNION ALL
SELECT date_trunc('month', occurred_at AT TIME ZONE %(zone)s)::date, program_version, count(*),
       count(DISTINCT account_id), sum(given)::bigint, sum(given_now)::bigint, NULL, NULL
FROM had GROUP BY 1, 2
"""  # noqa: S608  # our own words
#: The others of the same time: first of each account, since customers are counted.
_OTHERS = f"""
SELECT coalesce(sum(orders), 0)::bigint, count(*), coalesce(sum(earned), 0)::bigint,
       coalesce(sum(earned_now), 0)::bigint
FROM (SELECT account_id, sum(orders) AS orders, sum(earned) AS earned, sum(earned_now) AS earned_now
      FROM (SELECT account_id, count(*) AS orders, sum(earned) AS earned, sum(earned_now) AS earned_now
            FROM ({_EARNING}) AS changed
            WHERE occurred_at BETWEEN %(first_at)s AND %(last_at)s AND given = 0 GROUP BY account_id
            UNION ALL
            SELECT o.account_id, count(*), sum({_EARNED}), sum({_EARNED})
            {_ENTRIES} AND {UNCHANGED} AND NOT {_HAS_IT}
            AND o.occurred_at BETWEEN %(first_at)s AND %(last_at)s GROUP BY o.account_id) AS others
      GROUP BY account_id) AS of_account
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
    rows = run_bulk(connection, _HAD, asked)
    ((_, _, *had, first_at, last_at),) = (row for row in rows if row[0] is None)
    others = Uptake(0, 0, 0, 0)
    if first_at is not None:
        (row,) = run_bulk(connection, _OTHERS, {**asked, "first_at": first_at, "last_at": last_at})
        others = Uptake(*row)
    months = []
    for month, version, orders, _, given, left, *_ in sorted(row for row in rows if row[0] is not None):
        value = value_of_point(registry.version(program_id, version).program)
        worth = None if value is None else left * value
        months.append(PromotionMonth(month, version, orders, given, left, worth))
    return PromotionOutcome(
        program_id,
        promotion_id,
        program.unit,
        program.currency,
        first_at,
        last_at,
        Uptake(*had),
        others,
        tuple(months),
    )
