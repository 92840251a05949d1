"""Invariants 4 and 5: orders, refunds, lifetime points, qualifying points and tiers."""

from core.store.proof.counted_periods import UNITS_OF_ORDER
from core.store.proof.held_points import held_otherwise
from core.store.proof.invariants.check import Check
from core.store.proof.order_points import orders_otherwise
from core.store.proof.return_points import returns_otherwise
from core.store.proof.tier_ends import tiers_otherwise

#: What every order says, and what its accrual and its refunds say; `rebuild` puts the one right by the other.
ORDERS_AND_REFUNDS = """
SELECT o.account_id, o.source, o.order_id, o.program_id, o.occurred_at,
       o.points_entitled, o.points_excused, o.points_shortfall, o.qualifying_points, o.qualifying_spend,
       o.qualifying_orders, coalesce(e.points + e.pending_change, 0) AS accrued, coalesce(r.due, 0) AS due,
       coalesce(r.excused, 0) AS excused, coalesce(r.shortfall, 0) AS shortfall
FROM orders o
LEFT JOIN entries e ON e.account_id = o.account_id AND e.sequence = o.sequence
LEFT JOIN (SELECT source, order_id, program_id, account_id, sum(points_due) AS due, sum(points_excused) AS excused,
                  sum(points_shortfall) AS shortfall
           FROM (SELECT order_source AS source, order_id, program_id, account_id, points_due, points_excused,
                        points_shortfall
                 FROM refunds
                 UNION ALL
                 SELECT source, order_id, program_id, account_id, points_due, points_excused, points_shortfall
                 FROM order_events) AS reported
           GROUP BY source, order_id, program_id, account_id) r
     ON r.source = o.source AND r.order_id = o.order_id AND r.program_id = o.program_id AND r.account_id = o.account_id
"""
#: What was not taken back, nor owed, in accounts that gave an order up.
GIVEN_UP = """
SELECT r.account_id, r.source, r.order_id, r.points_excused AS excused, r.points_shortfall AS shortfall
FROM (SELECT order_source AS source, order_id, program_id, account_id, points_excused, points_shortfall FROM refunds
      UNION ALL
      SELECT source, order_id, program_id, account_id, points_excused, points_shortfall FROM order_events) AS r
JOIN orders o USING (source, order_id, program_id)
WHERE r.account_id <> o.account_id AND (r.points_excused <> 0 OR r.points_shortfall <> 0)
"""

#: The entries that orders had earned in accounts that they have left.
_LEFT = """
SELECT source, order_id, program_id, account_id, max(accrual_sequence) AS accrual_sequence
FROM order_events WHERE kind IN ('given_up', 'moved_away') GROUP BY source, order_id, program_id, account_id
"""

ORDERS_AND_TIERS = (
    Check(
        4,
        "an order's entries are its entitlement, what expired and what was not taken",
        f"""
        SELECT account_id, format('order %s of %s: entitled %s, excused %s, shortfall %s, but entries sum to %s',
                                  order_id, source, sum(entitled), sum(excused), sum(shortfall), sum(points))
        FROM (
            SELECT account_id, source, order_id, points_entitled AS entitled, points_excused AS excused,
                   points_shortfall AS shortfall, 0 AS points
            FROM orders WHERE account_id IS NOT NULL
            UNION ALL
            SELECT account_id, source, order_id, 0, excused, shortfall, 0 FROM ({GIVEN_UP}) AS g
            UNION ALL
            SELECT account_id, source, order_id, 0, 0, 0, points + pending_change FROM entries
            -- What a clawback lets come back of authorizations, it takes; and what paid an order it did not earn.
            WHERE order_id IS NOT NULL AND kind NOT IN ('void', 'repayment')
            UNION ALL
            -- What an order had moves with it by a merge, whose entries are of no order.
            SELECT account_id, source, order_id, 0, 0, 0, -points_taken FROM order_events
            WHERE kind IN ('moved_away', 'moved_in')
        ) AS sides
        GROUP BY account_id, source, order_id
        HAVING sum(points) <> sum(entitled) + sum(excused) + sum(shortfall)
        """,  # noqa: S608  # our own words
    ),
    Check(
        4,
        "an order's points are its accrual less its refunds",
        f"""
        SELECT account_id, format('order %s of %s: entitled %s, excused %s, shortfall %s, but it accrued %s, and its'
                                  ' refunds were due %s, of which excused %s, shortfall %s', order_id, source,
                                  points_entitled, points_excused, points_shortfall, accrued, due, excused, shortfall)
        FROM ({ORDERS_AND_REFUNDS}) AS o
        WHERE points_entitled <> accrued - due OR points_excused <> excused OR points_shortfall <> shortfall
        """,  # noqa: S608  # our own words
    ),
    Check(
        4,
        "an order's points are what its program gives for it",
        find=orders_otherwise,
        is_of_facts=True,
    ),
    Check(
        4,
        "what waits for the fulfilment of an order is what it earns with what is not fulfilled",
        find=held_otherwise,
    ),
    Check(
        4,
        "refunds and the like are of their order's account",
        """
        SELECT r.account_id, format('%s of order %s of %s is of account %s, but the order is not', r.what, r.order_id,
                                    r.source, r.account_id)
        FROM (SELECT 'refund ' || refund_id AS what, order_source AS source, order_id, program_id, account_id
              FROM refunds
              UNION ALL SELECT kind || ' event', source, order_id, program_id, account_id FROM order_events) AS r
        LEFT JOIN orders o USING (source, order_id, program_id, account_id)
        WHERE r.account_id IS NOT NULL AND o.account_id IS NULL
          AND (r.source, r.order_id, r.program_id, r.account_id) NOT IN (
              SELECT source, order_id, program_id, account_id FROM order_events
              WHERE kind IN ('given_up', 'moved_away'))
        """,
        is_of_facts=True,
    ),
    Check(
        4,
        "refunds and the like of no account are of guests' orders",
        """
        SELECT o.account_id, format('%s of order %s of %s is of no account, but the order is of account %s', r.what,
                                    r.order_id, r.source, o.account_id)
        FROM (SELECT 'refund ' || refund_id AS what, order_source AS source, order_id, program_id FROM refunds
              WHERE account_id IS NULL
              UNION ALL SELECT kind || ' event', source, order_id, program_id FROM order_events
                        WHERE account_id IS NULL) AS r
        JOIN orders o USING (source, order_id, program_id)
        WHERE o.account_id IS NOT NULL
          AND (r.source, r.order_id, r.program_id) NOT IN (
              SELECT source, order_id, program_id FROM order_events WHERE kind = 'claimed')
        """,
        is_global=True,
    ),
    Check(
        4,
        "an accrual is its order's, and a clawback is its refund's",
        f"""
        SELECT coalesce(r.account_id, e.account_id),
               CASE WHEN e.sequence IS NULL
                    THEN format('%s of %s should have entry %s of account %s, at %s, of %s points', r.what, r.source,
                                r.sequence, r.account_id, r.occurred_at, r.points)
                    WHEN r.account_id IS NULL
                    THEN format('entry %s of account %s at %s, of %s points: nothing reported of order %s of %s names'
                                ' it', e.sequence, e.account_id, e.occurred_at, e.points, e.order_id, e.source)
                    ELSE format('entry %s of account %s at %s: %s of order %s of %s, of %s points, correcting entry %s,'
                                ' but %s has %s points of %s, and corrects entry %s', e.sequence, e.account_id,
                                e.occurred_at, e.kind, e.order_id, e.source, e.points,
                                coalesce(e.corrects_sequence::text, 'none'), r.what, r.points, r.occurred_at,
                                coalesce(r.corrects::text, 'none')) END
        FROM (SELECT o.account_id, o.sequence, o.source, o.order_id, 'order ' || o.order_id AS what, o.occurred_at,
                     NULL::bigint AS corrects, NULL::text AS refund_id, NULL::bigint AS points
              FROM orders o WHERE o.sequence IS NOT NULL
              UNION ALL
              SELECT v.account_id, v.accrual_sequence, v.source, v.order_id, 'order ' || v.order_id, o.occurred_at,
                     NULL, NULL, NULL
              FROM order_events v JOIN orders o USING (source, order_id, program_id)
              WHERE v.accrual_sequence IS NOT NULL
              UNION ALL
              SELECT r.account_id, r.sequence, o.source, r.order_id, 'refund ' || r.refund_id, r.occurred_at,
                     CASE WHEN r.account_id = o.account_id THEN o.sequence ELSE g.accrual_sequence END, r.refund_id,
                     -r.points_taken
              FROM refunds r
              JOIN orders o ON (o.source, o.order_id, o.program_id) = (r.order_source, r.order_id, r.program_id)
              LEFT JOIN ({_LEFT}) AS g ON (g.source, g.order_id, g.program_id, g.account_id)
                                           = (r.order_source, r.order_id, r.program_id, r.account_id)
              WHERE r.sequence IS NOT NULL
              UNION ALL
              SELECT v.account_id, v.sequence, v.source, v.order_id,
                     concat('what is reported of order ', v.order_id, ' (', v.kind, ')'), v.occurred_at,
                     CASE WHEN v.account_id = o.account_id THEN o.sequence ELSE g.accrual_sequence END,
                     CASE v.kind WHEN 'refund_reverted' THEN split_part(v.event_key, E'\\t', 2) END, -v.points_taken
              FROM order_events v JOIN orders o USING (source, order_id, program_id)
              LEFT JOIN ({_LEFT}) AS g ON (g.source, g.order_id, g.program_id, g.account_id)
                                           = (v.source, v.order_id, v.program_id, v.account_id)
              WHERE v.sequence IS NOT NULL AND v.kind NOT IN ('moved_away', 'moved_in')
             ) AS r
        FULL JOIN (SELECT account_id, sequence, kind, source, order_id, occurred_at, corrects_sequence, refund_id,
                          points + pending_change AS points
                   FROM entries WHERE kind IN ('accrual', 'clawback') AND order_id IS NOT NULL) AS e
             USING (account_id, sequence)
        WHERE r.account_id IS NULL OR e.account_id IS NULL OR e.points <> coalesce(r.points, e.points)
           OR (e.source, e.order_id, e.occurred_at, e.corrects_sequence, e.refund_id)
              IS DISTINCT FROM (r.source, r.order_id, r.occurred_at, r.corrects, r.refund_id)
           OR (e.kind = 'accrual') <> (e.points > 0)
        """,  # noqa: S608  # our own words
        is_of_facts=True,
    ),
    Check(
        4,
        "a return's clawback is the one that it names",
        """
        SELECT coalesce(r.account_id, e.account_id),
               format('return %s of %s: took %s points by entry %s at %s, but there is entry %s at %s, of %s points',
                      coalesce(r.return_id, e.return_id), coalesce(r.source, e.source), coalesce(r.points_taken, 0),
                      coalesce(r.sequence::text, 'none'), coalesce(r.occurred_at::text, 'no time'),
                      coalesce(e.sequence::text, 'none'), coalesce(e.occurred_at::text, 'no time'),
                      coalesce(e.points, 0))
        FROM (SELECT * FROM returns WHERE sequence IS NOT NULL) AS r
        FULL JOIN (SELECT * FROM entries WHERE kind = 'clawback' AND order_id IS NULL) AS e
             USING (account_id, sequence)
        WHERE r.account_id IS NULL OR e.account_id IS NULL OR e.points + e.pending_change <> -r.points_taken
           OR (e.source, e.return_id, e.occurred_at) IS DISTINCT FROM (r.source, r.return_id, r.occurred_at)
        """,
        is_of_facts=True,
    ),
    Check(
        4,
        "a return's points are what its program gives for its goods",
        find=returns_otherwise,
        is_of_facts=True,
    ),
    Check(
        5,
        "lifetime points are accruals less clawbacks",
        """
        SELECT a.account_id, format('account %s: lifetime_points %s, entries give %s, and %s were earned before',
                                    a.account_id, a.lifetime_points, coalesce(e.points, 0), a.lifetime_points_given)
        FROM accounts a
        LEFT JOIN (SELECT account_id, sum(points) AS points
                   FROM (SELECT account_id, points + pending_change AS points FROM entries
                         WHERE kind IN ('accrual', 'clawback')
                         UNION ALL
                         SELECT account_id, lifetime_points FROM merges) AS earned
                   GROUP BY account_id) e USING (account_id)
        WHERE a.lifetime_points <> a.lifetime_points_given + coalesce(e.points, 0)
        """,
    ),
    Check(
        5,
        "qualifying points are what the orders of their period earn",
        f"""
        SELECT a.account_id,
               CASE WHEN p.program_id IS NULL
                    THEN format('account %s: qualifying_from %s is not the start of a period', a.account_id,
                                coalesce(a.qualifying_from::text, 'no time'))
                    ELSE format('account %s: qualifying_points %s, the orders of the period from %s earn %s',
                                a.account_id, a.qualifying_points, coalesce(a.qualifying_from::text, 'the beginning'),
                                coalesce(o.points, 0)) END
        FROM accounts a
        LEFT JOIN (SELECT * FROM unnest(%(period_programs)s::text[], %(period_starts)s::timestamptz[],
                                        %(period_firsts)s::timestamptz[], %(period_ends)s::timestamptz[])
                            AS k(program_id, qualifying_from, first, ending)) AS p
             ON p.program_id = a.program_id AND p.qualifying_from IS NOT DISTINCT FROM a.qualifying_from
        LEFT JOIN (SELECT a.account_id, sum({UNITS_OF_ORDER}) AS points
                   FROM accounts a JOIN orders o USING (account_id)
                   JOIN unnest(%(period_programs)s::text[], %(period_starts)s::timestamptz[],
                               %(period_firsts)s::timestamptz[], %(period_ends)s::timestamptz[],
                               %(period_measures)s::text[])
                        AS k(program_id, qualifying_from, first, ending, measure)
                        ON k.program_id = a.program_id AND k.qualifying_from IS NOT DISTINCT FROM a.qualifying_from
                           AND o.occurred_at >= k.first AND o.occurred_at < k.ending
                   GROUP BY a.account_id) AS o USING (account_id)
        WHERE a.program_id = ANY(%(period_programs)s)
          AND (p.program_id IS NULL OR a.qualifying_points <> coalesce(o.points, 0))
        """,  # noqa: S608  # our own words
    ),
    Check(
        5,
        "tier changes are numbered and follow each other",
        """
        SELECT account_id, format('tier change %s of account %s: place %s, from %s to %s at %s, after %s',
                                  change_number, account_id, place, previous_tier_id, tier_id, effective_at,
                                  coalesce(format('%s at %s', tier_before, effective_before), 'none'))
        FROM (
            SELECT account_id, change_number, previous_tier_id, tier_id, effective_at, row_number() OVER w AS place,
                   lag(tier_id) OVER w AS tier_before, lag(effective_at) OVER w AS effective_before,
                   first_value(previous_tier_id) OVER w AS first_tier
            FROM tier_changes WINDOW w AS (PARTITION BY account_id ORDER BY change_number)
        ) AS chain
        WHERE change_number <> place OR tier_id = previous_tier_id
           OR (change_number > 1 AND (previous_tier_id <> tier_before OR effective_at < effective_before)
               -- What is told anew follows what was told of its own instant, or of just before.
               AND previous_tier_id <> ALL (ARRAY[
                   coalesce((SELECT b.tier_id FROM tier_changes b WHERE b.account_id = chain.account_id
                             AND b.change_number < chain.change_number AND b.effective_at < chain.effective_at
                             ORDER BY b.change_number DESC LIMIT 1), first_tier),
                   coalesce((SELECT b.tier_id FROM tier_changes b WHERE b.account_id = chain.account_id
                             AND b.change_number < chain.change_number AND b.effective_at <= chain.effective_at
                             ORDER BY b.change_number DESC LIMIT 1), first_tier)]))
        """,
        is_of_facts=True,
    ),
    Check(
        5,
        "an account's tier is that of its last change",
        """
        SELECT a.account_id, format('account %s: tier %s since %s after %s changes, reviewed at %s, counting from %s,'
                                    ' but the last change is %s', a.account_id, a.tier_id,
                                    coalesce(a.tier_since::text, 'the beginning'), a.tier_changes,
                                    coalesce(a.tier_until::text, 'no time'),
                                    coalesce(a.qualifying_from::text, 'the beginning'),
                                    coalesce(format('%s to %s at %s', t.change_number, t.tier_id, t.effective_at),
                                             'none'))
        FROM accounts a
        LEFT JOIN (SELECT DISTINCT ON (account_id) * FROM tier_changes ORDER BY account_id, change_number DESC) AS t
             USING (account_id)
        LEFT JOIN (SELECT DISTINCT program_id, coalesce(document->'tiers'->0->>'tier_id', 'base') AS tier_id
                   FROM programs) AS f
             ON f.program_id = a.program_id AND f.tier_id = a.tier_id
        WHERE a.tier_changes <> coalesce(t.change_number, 0) OR a.tier_since IS DISTINCT FROM t.effective_at
           OR a.tier_id <> t.tier_id OR (t.tier_id IS NULL AND f.tier_id IS NULL)
           OR (a.tier_until IS NOT NULL AND a.tier_held_until IS NULL AND a.qualifying_from IS NULL)
        """,
    ),
    Check(5, "a tier ends with a period, or as a person held it", find=tiers_otherwise),
)
