"""Invariants 1, 2, 3 and 8: balances, entries, allocations and lots."""

from core.store.proof.invariants.check import Check
from core.store.proof.invariants.orders import GIVEN_UP
from core.store.proof.lot_dates import lots_otherwise

POINTS = (
    Check(
        1,
        "balance, pending, reserved and deficit are the sums of their changes",
        """
        SELECT a.account_id, format('account %s: balance %s, pending %s, reserved %s, deficit %s, but entries changed'
                                    ' them by %s, %s, %s, %s', a.account_id, a.balance, a.pending, a.reserved,
                                    a.deficit, coalesce(e.balance, 0), coalesce(e.pending, 0),
                                    coalesce(e.reserved, 0), coalesce(e.deficit, 0))
        FROM accounts a
        LEFT JOIN (SELECT account_id, sum(points) AS balance, sum(pending_change) AS pending,
                          sum(reserved_change) AS reserved, sum(deficit_change) AS deficit
                   FROM entries GROUP BY account_id) e USING (account_id)
        WHERE a.balance <> coalesce(e.balance, 0) OR a.pending <> coalesce(e.pending, 0)
           OR a.reserved <> coalesce(e.reserved, 0) OR a.deficit <> coalesce(e.deficit, 0)
        """,
    ),
    Check(
        1,
        "balance and pending are the lots less the deficit",
        """
        SELECT a.account_id, format('account %s: balance %s, pending %s, deficit %s, but lots hold %s available and %s'
                                    ' pending', a.account_id, a.balance, a.pending, a.deficit,
                                    coalesce(l.points, 0), coalesce(l.pending, 0))
        FROM accounts a
        LEFT JOIN (SELECT account_id, sum(points_remaining) FILTER (WHERE NOT is_pending) AS points,
                          sum(points_remaining) FILTER (WHERE is_pending) AS pending
                   FROM lots GROUP BY account_id) l USING (account_id)
        WHERE a.balance <> coalesce(l.points, 0) - a.deficit OR a.pending <> coalesce(l.pending, 0)
        """,
    ),
    Check(
        2,
        "an entry is the sum of its allocations",
        """
        SELECT e.account_id, format('entry %s of account %s: %s points, %s pending, allocations %s, deficit'
                                    ' changed by %s', e.sequence, e.account_id, e.points, e.pending_change,
                                    coalesce(n.points, 0), e.deficit_change)
        FROM entries e
        LEFT JOIN (SELECT account_id, sequence, sum(points) AS points FROM allocations GROUP BY account_id, sequence) n
             USING (account_id, sequence)
        WHERE e.points + e.pending_change <> coalesce(n.points, 0) - e.deficit_change
        """,
        is_of_facts=True,
    ),
    Check(
        2,
        "credits open lots, and debits take from earlier ones",
        """
        SELECT account_id, format('entry %s of account %s, %s of %s, moved %s points of lot %s, opened by entry %s, as'
                                  ' %s', e.sequence, account_id, e.kind, e.points, n.points, l.lot_number,
                                  l.opened_by_sequence, n.kind)
        FROM allocations n JOIN entries e USING (account_id, sequence) JOIN lots l USING (account_id, lot_number)
        WHERE n.kind <> ALL(CASE e.kind WHEN 'accrual' THEN '{opened,returned}'::text[] WHEN 'expiry' THEN '{expired}'
                                        WHEN 'release' THEN '{opened,taken,returned}' WHEN 'credit' THEN '{opened}'
                                        WHEN 'adjustment' THEN '{opened,taken}' WHEN 'transfer' THEN '{opened,taken}'
                                        WHEN 'reversal' THEN '{opened,taken,returned}'
                                        WHEN 'void' THEN '{opened,returned}' WHEN 'capture' THEN '{}'
                                        WHEN 'conversion' THEN '{opened,taken}'
                                        WHEN 'merge' THEN '{opened,taken,returned}'
                                        WHEN 'repayment' THEN '{opened,taken,returned}'
                                        ELSE '{taken}' END)
           OR (n.kind IN ('opened', 'returned')) <> (n.points > 0)
           OR CASE n.kind WHEN 'opened' THEN l.opened_by_sequence <> n.sequence
                          ELSE l.opened_by_sequence >= n.sequence END
        UNION ALL
        SELECT account_id, format('entry %s of account %s, %s of %s, changed the deficit by %s',
                                  sequence, account_id, kind, points, deficit_change)
        FROM entries
        WHERE NOT CASE kind WHEN 'clawback' THEN deficit_change >= 0 WHEN 'expiry' THEN deficit_change = 0
                            WHEN 'debit' THEN deficit_change = 0 WHEN 'authorization' THEN deficit_change = 0
                            WHEN 'capture' THEN deficit_change = 0 WHEN 'redemption' THEN deficit_change = 0
                            WHEN 'adjustment' THEN sign(points) * sign(deficit_change) <= 0
                            WHEN 'reversal' THEN sign(points) * sign(deficit_change) <= 0
                            WHEN 'repayment' THEN sign(points) * sign(deficit_change) <= 0
                            WHEN 'conversion' THEN deficit_change <= 0 AND (points > 0 OR deficit_change = 0)
                            WHEN 'transfer' THEN deficit_change <= 0 AND (points > 0 OR deficit_change = 0)
                            ELSE deficit_change <= 0 END
        """,
        is_of_facts=True,
    ),
    Check(
        2,
        "a lot is what its entry opened",
        """
        SELECT l.account_id, format('lot %s of account %s: place %s, available at %s%s, expires at %s, but entry %s,'
                                    ' which opened it, %s', l.lot_number, l.account_id, l.place,
                                    coalesce(l.available_at::text, 'no time'),
                                    CASE WHEN l.is_pending THEN ' and pending' ELSE '' END,
                                    coalesce(l.expires_at::text, 'no time'), l.opened_by_sequence,
                                    coalesce('is of ' || e.occurred_at || coalesce(', ' || p.policy, ''),
                                             'opens none'))
        FROM (SELECT *, row_number() OVER w AS place, lag(opened_by_sequence) OVER w AS opener_before
              FROM dated_lots WINDOW w AS (PARTITION BY account_id ORDER BY lot_number)) AS l
        LEFT JOIN (SELECT *, least(occurred_at, recorded_at) AS available_at FROM entries
                   WHERE kind IN ('accrual', 'release', 'credit', 'adjustment', 'transfer', 'reversal', 'void',
                                'conversion', 'merge', 'repayment')) AS e
             ON e.account_id = l.account_id AND e.sequence = l.opened_by_sequence
        LEFT JOIN orders o ON o.account_id = e.account_id AND o.sequence = e.sequence
        LEFT JOIN (SELECT program_id, version, coalesce(document->'availability'->>'policy', 'at_once') AS policy,
                          make_interval(hours => 24 * (document->'availability'->>'days')::integer) AS later
                   FROM programs) AS p ON p.program_id = o.program_id AND p.version = o.program_version
        WHERE e.sequence IS NULL OR l.lot_number <> l.place OR l.opened_by_sequence < l.opener_before
           OR (o.order_id IS NOT NULL AND l.available_at < e.available_at) OR l.expires_at < l.available_at
           OR (l.expires_at = l.available_at AND l.available_at <> e.recorded_at)
           OR CASE p.policy
              WHEN 'at_once' THEN l.is_pending OR l.available_at <> e.available_at
              WHEN 'after_days' THEN l.available_at IS DISTINCT FROM e.occurred_at + p.later
                                  OR (l.is_pending AND l.available_at <= e.recorded_at)
              WHEN 'on_fulfilled' THEN l.is_pending <> (l.available_at IS NULL)
                                    OR l.is_pending <> (o.fulfilled_at IS NULL)
              WHEN 'days_after_fulfilment' THEN (l.available_at IS NULL) <> (o.fulfilled_at IS NULL)
              END
        """,
        is_of_facts=True,
    ),
    Check(
        2,
        "a lot's dates are what its order and what moved it give",
        find=lots_otherwise,
        is_of_facts=True,
    ),
    Check(
        2,
        "a lot's origin is what its entry is about",
        """
        SELECT l.account_id, format('lot %s of account %s: from %s %s of %s at %s, but entry %s, which opened it, is'
                                    ' about order %s of %s at %s', l.lot_number, l.account_id, l.origin_kind,
                                    l.origin_id, l.origin_source, l.origin_at, l.opened_by_sequence,
                                    coalesce(o.order_id, '-'), coalesce(o.source, '-'),
                                    coalesce(o.occurred_at::text, '-'))
        FROM lots l
        LEFT JOIN entries e ON e.account_id = l.account_id AND e.sequence = l.opened_by_sequence
        LEFT JOIN accounts a ON a.account_id = e.account_id
        LEFT JOIN orders o ON o.program_id = a.program_id AND o.source = e.source AND o.order_id = e.order_id
        WHERE coalesce(e.kind, '') NOT IN ('void', 'repayment') AND CASE WHEN e.command_id IS NULL
              THEN (l.origin_kind, l.origin_source, l.origin_id, l.origin_at)
                   IS DISTINCT FROM ('order', o.source, o.order_id, o.occurred_at)
              -- Of what was moved the commands tell.
              ELSE e.kind NOT IN ('transfer', 'merge') AND NOT (e.kind = 'reversal' AND EXISTS (
                       -- Points that come back with a grace stay what they were.
                       SELECT FROM lots f
                       WHERE f.account_id = l.account_id AND f.origin_id = l.origin_id AND f.lot_number < l.lot_number
                         AND (f.origin_kind, f.origin_source, f.origin_at)
                             = (l.origin_kind, l.origin_source, l.origin_at)))
                   AND (l.origin_kind, l.origin_source, l.origin_id, l.origin_at)
                   IS DISTINCT FROM ('command', e.source, e.command_id, e.occurred_at) END
        """,
        is_of_facts=True,
    ),
    Check(
        2,
        "a lot holds what its allocations left",
        """
        SELECT account_id, format('lot %s of account %s: granted %s, %s left, %s expired, but allocations give'
                                  ' %s, %s, %s', lot_number, account_id, sum(granted), sum(remaining), sum(expired),
                                  sum(given), sum(left_over), sum(let_expire))
        FROM (
            SELECT account_id, lot_number, points_granted AS granted, points_remaining AS remaining,
                   points_expired AS expired, 0 AS given, 0 AS left_over, 0 AS let_expire
            FROM lots
            UNION ALL
            SELECT account_id, lot_number, 0, 0, 0, CASE kind WHEN 'opened' THEN points ELSE 0 END, points,
                   CASE kind WHEN 'expired' THEN -points ELSE 0 END
            FROM allocations
            UNION ALL
            -- What was gone of a lot before a merge moved it moves along.
            SELECT account_id, lot_number, 0, 0, 0, points_granted, 0, points_expired FROM lot_moves
        ) AS sides
        GROUP BY account_id, lot_number
        HAVING sum(granted) <> sum(given) OR sum(remaining) <> sum(left_over) OR sum(expired) <> sum(let_expire)
        """,
    ),
    Check(
        2,
        "what refunds excused of lots is what they excused of their orders",
        f"""
        SELECT account_id, format('order %s of %s: points_excused %s, but those of its lots are %s', order_id, source,
                                  sum(of_order), sum(of_lots))
        FROM (SELECT account_id, source, order_id, points_excused AS of_order, 0 AS of_lots FROM orders
              WHERE account_id IS NOT NULL
              UNION ALL
              SELECT account_id, source, order_id, excused, 0 FROM ({GIVEN_UP}) AS g
              UNION ALL
              SELECT account_id, origin_source, origin_id, 0, points_excused FROM lots WHERE origin_kind = 'order'
             ) AS sides
        GROUP BY account_id, source, order_id HAVING sum(of_order) <> sum(of_lots)
        """,  # noqa: S608  # our own words
    ),
    Check(
        3,
        "entries are numbered without gaps and their balances chain",
        """
        SELECT account_id, format('entry %s of account %s: place %s, balance_after %s, running sum %s,'
                                  ' pending_after %s, running sum %s, reserved_after %s, running sum %s,'
                                  ' lifetime_points_after %s, running sum %s', sequence, account_id, place,
                                  balance_after, running, pending_after, pending, reserved_after, reserved,
                                  lifetime_points_after, lifetime)
        FROM (
            SELECT account_id, sequence, balance_after, lifetime_points_after, pending_after, reserved_after,
                   row_number() OVER w AS place, sum(points) OVER w AS running, sum(pending_change) OVER w AS pending,
                   sum(reserved_change) OVER w AS reserved,
                   a.lifetime_points_given
                   + coalesce(sum(CASE WHEN kind IN ('accrual', 'clawback') THEN points + pending_change
                                       ELSE m.lifetime_points END) OVER w, 0) AS lifetime
            FROM entries e
            JOIN (SELECT account_id, lifetime_points_given FROM accounts) AS a USING (account_id)
            LEFT JOIN (SELECT account_id, sequence, lifetime_points FROM merges) AS m
                 USING (account_id, sequence) WINDOW w AS (PARTITION BY account_id ORDER BY sequence)
        ) AS chain
        WHERE sequence <> place OR balance_after <> running OR lifetime_points_after <> lifetime
           OR pending_after <> pending OR reserved_after <> reserved
        """,
        is_of_facts=True,
    ),
    Check(
        3,
        "an account counts its entries and its lots",
        """
        SELECT a.account_id, format('account %s: sequence %s, lots_opened %s, but the last entry is %s, the last lot'
                                    ' %s', a.account_id, a.sequence, a.lots_opened,
                                    coalesce(e.last, 0), coalesce(l.last, 0))
        FROM accounts a
        LEFT JOIN (SELECT account_id, max(sequence) AS last FROM entries GROUP BY account_id) e USING (account_id)
        LEFT JOIN (SELECT account_id, max(lot_number) AS last FROM lots GROUP BY account_id) l USING (account_id)
        WHERE a.sequence <> coalesce(e.last, 0) OR a.lots_opened <> coalesce(l.last, 0)
        """,
    ),
    Check(
        3,
        "an account counts its orders",
        """
        SELECT a.account_id, format('account %s: %s orders posted, of which %s count, the first at %s, but it has %s,'
                                    ' of which %s count%s', a.account_id, a.orders_posted, a.orders_counted,
                                    coalesce(a.enrolled_at::text, 'no time'), coalesce(o.orders, 0),
                                    coalesce(o.counted, 0),
                                    CASE WHEN f.account_id IS NULL THEN ', none of that time' END)
        FROM accounts a
        LEFT JOIN (SELECT account_id, count(*) AS orders, count(*) FILTER (WHERE is_counted) AS counted
                   FROM orders GROUP BY account_id) o USING (account_id)
        LEFT JOIN (SELECT DISTINCT account_id, occurred_at AS enrolled_at FROM orders) f USING (account_id, enrolled_at)
        WHERE a.orders_posted <> coalesce(o.orders, 0) OR a.orders_counted <> coalesce(o.counted, 0)
           OR (NOT a.is_enrolment_given AND (o.orders > 0) <> (f.account_id IS NOT NULL))
        """,
    ),
    Check(
        8,
        "no expired lot was taken from",
        """
        SELECT account_id, format('entry %s of account %s took from lot %s, which had expired at %s',
                                  e.sequence, account_id, l.lot_number, l.expires_at)
        FROM allocations n JOIN entries e USING (account_id, sequence) JOIN dated_lots l USING (account_id, lot_number)
        WHERE n.kind = 'taken' AND e.kind NOT IN ('release', 'merge') AND l.expires_at < e.recorded_at
          -- What the order's own lot still held has no end before it is available, and a late fulfilment may set one.
          AND NOT (e.pending_change < 0 AND l.origin_kind = 'order'
                   AND (l.origin_source, l.origin_id) = (e.source, e.order_id))
          -- Reserved points outlast their lot: a clawback lets them come back to it, and takes them at once.
          AND NOT (e.kind = 'clawback' AND EXISTS (
              SELECT FROM entries v JOIN allocations b USING (account_id, sequence)
              WHERE v.account_id = e.account_id AND v.kind = 'void' AND v.sequence < e.sequence
                AND v.recorded_at = e.recorded_at AND b.lot_number = n.lot_number AND b.points <= -n.points
                AND (v.source, v.order_id, v.refund_id, v.return_id)
                    IS NOT DISTINCT FROM (e.source, e.order_id, e.refund_id, e.return_id)))
        """,
    ),
    Check(
        8,
        "an expiry took what was due at its instant",
        """
        SELECT account_id, format('entry %s of account %s expired points of lot %s at %s, but it expires at %s',
                                  e.sequence, account_id, l.lot_number, e.occurred_at,
                                  coalesce(l.expires_at::text, 'no time'))
        FROM allocations n JOIN entries e USING (account_id, sequence) JOIN dated_lots l USING (account_id, lot_number)
        WHERE n.kind = 'expired' AND l.expires_at IS DISTINCT FROM e.occurred_at
        """,
    ),
    Check(
        8,
        "what refunds excused as expired has ended",
        """
        SELECT account_id, format('lot %s of account %s: refunds excused %s points as expired, but %s expired, %s are'
                                  ' left, and it expires at %s', lot_number, account_id, points_excused,
                                  points_expired, points_remaining, coalesce(expires_at::text, 'no time'))
        FROM dated_lots
        WHERE points_excused > points_expired
          AND (points_excused > points_expired + points_remaining OR expires_at > now() OR expires_at IS NULL)
        """,
    ),
    Check(
        8,
        "points last as long as a person has let them",
        """
        SELECT x.account_id, format('the expiry of lot %s of account %s was moved to %s by a person, but the repairs'
                                    ' say %s, and it is at %s', x.expires_with, x.account_id,
                                    coalesce(x.extended_to::text, 'no time'), coalesce(r.until::text, 'no time'),
                                    x.expires_at)
        FROM shared_expiries x
        LEFT JOIN (SELECT l.account_id, l.expires_with, max((r.rebuilt->>'expires_at')::timestamptz) AS until
                   FROM repairs r
                   JOIN lots l ON l.account_id = r.account_id AND r.subject = 'lot ' || l.lot_number
                   WHERE r.rebuilt ? 'expires_at' AND l.expires_with IS NOT NULL
                   GROUP BY l.account_id, l.expires_with) r
             ON r.account_id = x.account_id AND r.expires_with = x.expires_with
        WHERE NOT x.is_over AND x.expires_at > now()
          AND (x.extended_to IS DISTINCT FROM r.until OR x.expires_at < x.extended_to)
        """,
    ),
    Check(
        8,
        "lots that share their expiry are of one kind, and none is left once it is over",
        """
        SELECT account_id, format('lot %s of account %s, earned by %s, has %s points left and expires with lot %s at'
                                  ' %s, which is earned by %s%s', l.lot_number, account_id, l.earned_by,
                                  l.points_remaining, x.expires_with, x.expires_at, x.earned_by,
                                  CASE WHEN x.is_over THEN ' and over' ELSE '' END)
        FROM lots l JOIN shared_expiries x USING (account_id, expires_with)
        WHERE l.earned_by <> x.earned_by OR (x.is_over AND l.points_remaining > 0)
        """,
    ),
    Check(
        8,
        "a shared expiry is kept while an order that keeps something, or a command, has points with it",
        """
        SELECT x.account_id, format('the expiry of lot %s of account %s is %s by its points', x.expires_with,
                                    x.account_id, CASE WHEN x.is_kept THEN 'kept' ELSE 'not kept' END)
        FROM shared_expiries x
        WHERE NOT x.is_over AND x.expires_at > now() AND x.is_kept <> EXISTS (
            SELECT FROM lots l
            JOIN accounts a USING (account_id)
            JOIN orders o ON (o.source, o.order_id, o.program_id) = (l.origin_source, l.origin_id, a.program_id)
                          AND o.account_id = l.account_id AND l.origin_kind = 'order'
            WHERE (l.account_id, l.expires_with) = (x.account_id, x.expires_with)
              AND (o.is_counted OR o.points_entitled > 0 OR (l.is_pending AND l.points_remaining > 0))
            UNION ALL
            SELECT FROM lots l
            JOIN commands c ON (c.source, c.command_id, c.account_id) = (l.origin_source, l.origin_id, l.account_id)
            WHERE l.origin_kind = 'command' AND (l.account_id, l.expires_with) = (x.account_id, x.expires_with))
        """,
    ),
)
