"""Authorizations: what they hold is what accounts have reserved, and follows from entries."""

from core.store.proof.invariants.check import Check

#: The numbers of every authorization, as entries give them.
AUTHORIZATIONS_OF_ENTRIES = """
SELECT a.account_id, a.kind, a.authorization_id, coalesce(-e.points, 0)::bigint AS points_authorized,
       coalesce(c.captured, 0)::bigint AS points_captured, coalesce(c.returned, 0)::bigint AS points_returned,
       CASE WHEN coalesce(c.captured + c.returned, 0) < coalesce(-e.points, 0) THEN 'open'
            WHEN c.is_clawed_back THEN 'clawed_back' WHEN c.is_by_deadline THEN 'expired'
            WHEN c.is_captured THEN 'captured' ELSE 'voided' END AS state
FROM authorizations a
LEFT JOIN entries e ON e.account_id = a.account_id AND e.sequence = a.sequence AND e.kind = 'authorization'
     AND (e.source, e.command_id) = (a.source, a.command_id)
LEFT JOIN (
    SELECT account_id, corrects_sequence AS sequence,
           coalesce(sum(-reserved_change) FILTER (WHERE kind = 'capture'), 0) AS captured,
           coalesce(sum(points) FILTER (WHERE kind = 'void'), 0) AS returned,
           bool_or(kind = 'void' AND command_id IS NULL AND source IS NULL) AS is_by_deadline,
           -- Refunds and returns let come back what they take; the last one, if it is all. An order that was cancelled
           -- voids what was to pay it.
           (array_agg(kind = 'void' AND command_id IS NULL AND source IS NOT NULL AND NOT is_cancelled
                      ORDER BY sequence DESC))[1] AS is_clawed_back,
           -- A final capture lets its rest come back by its own command.
           (array_agg(command_id ORDER BY sequence DESC) FILTER (WHERE kind = 'capture'))[1]
               IS NOT DISTINCT FROM (array_agg(command_id ORDER BY sequence DESC))[1]
               AND bool_or(kind = 'capture') AS is_captured
    FROM (SELECT account_id, sequence, kind, points, reserved_change, corrects_sequence,
                 why->'cancelled_order' IS NOT NULL AS is_cancelled,
                 source, source || ' ' || command_id AS command_id
          FROM entries WHERE kind IN ('capture', 'void')) AS closing
    GROUP BY account_id, corrects_sequence
) c ON c.account_id = a.account_id AND c.sequence = a.sequence
"""
AUTHORIZATIONS = (
    Check(
        1,
        "what an account has reserved is what its authorizations hold",
        """
        SELECT a.account_id, format('account %s: %s points are reserved, but its authorizations hold %s',
                                    a.account_id, a.reserved, coalesce(h.held, 0))
        FROM accounts a
        LEFT JOIN (SELECT account_id, sum(points_authorized - points_captured - points_returned) AS held
                   FROM authorizations GROUP BY account_id) h USING (account_id)
        WHERE a.reserved <> coalesce(h.held, 0)
        """,
    ),
    Check(
        2,
        "an authorization's points are those of its entries",
        f"""
        SELECT account_id, format('%s %s of account %s: %s points authorized, %s captured, %s returned, %s, but'
                                  ' entries give %s, %s, %s, %s', kind, authorization_id, account_id,
                                  t.points_authorized, t.points_captured, t.points_returned, t.state,
                                  f.points_authorized, f.points_captured, f.points_returned, f.state)
        FROM authorizations t JOIN ({AUTHORIZATIONS_OF_ENTRIES}) AS f USING (account_id, kind, authorization_id)
        WHERE (t.points_authorized, t.points_captured, t.points_returned, t.state)
              IS DISTINCT FROM (f.points_authorized, f.points_captured, f.points_returned, f.state)
        UNION ALL
        SELECT e.account_id, format('entry %s of account %s, a %s, is of no authorization', e.sequence, e.account_id,
                                    e.kind)
        FROM entries e
        LEFT JOIN authorizations a ON a.account_id = e.account_id
             AND a.sequence = CASE e.kind WHEN 'authorization' THEN e.sequence ELSE e.corrects_sequence END
        WHERE e.kind IN ('authorization', 'capture', 'void') AND a.account_id IS NULL
        """,  # noqa: S608  # our own words
    ),
    Check(
        2,
        "an authorization is found by its id, and is as its command's answer says",
        """
        SELECT a.account_id, format('%s %s of account %s is found at account %s, with the deadline %s, which its answer'
                                    ' says is %s', a.kind, a.authorization_id, a.account_id,
                                    coalesce(r.account_id::text, '-'), coalesce(a.expires_at::text, '-'),
                                    coalesce(c.answer->>'expires_at', '-'))
        FROM authorizations a
        LEFT JOIN account_references r ON r.kind = a.kind AND r.reference = a.authorization_id
        LEFT JOIN commands c ON c.source = a.source AND c.command_id = a.command_id
        WHERE r.account_id IS DISTINCT FROM a.account_id
           OR (c.answer->>'expires_at')::timestamptz IS DISTINCT FROM a.expires_at
           OR coalesce(c.answer->>'authorization_id', c.answer->>'issue_id') IS DISTINCT FROM a.authorization_id
        """,
        is_global=True,
    ),
    Check(
        2,
        "an issued reward costs what the version says that issued it",
        """
        SELECT r.account_id, format('reward %s of account %s, %s, is at %s points, and version %s of the program says'
                                    ' %s', r.authorization_id, r.account_id, r.reward_id, r.points_authorized,
                                    coalesce(c.program_version::text, '-'), coalesce(k.cost::text, '-'))
        FROM authorizations r
        JOIN accounts a ON a.account_id = r.account_id
        LEFT JOIN commands c ON (c.source, c.command_id) = (r.source, r.command_id)
        LEFT JOIN LATERAL (
            SELECT (w->>'cost')::bigint AS cost
            FROM programs p CROSS JOIN LATERAL jsonb_array_elements(p.document->'rewards') AS w
            WHERE p.program_id = a.program_id AND p.version = c.program_version AND w->>'reward_id' = r.reward_id
        ) AS k ON true
        WHERE r.reward_id IS NOT NULL AND k.cost IS DISTINCT FROM r.points_authorized
        """,
        is_of_facts=True,
    ),
    Check(
        2,
        "a lot that points came back to instead of theirs has their origin, and a grace",
        """
        SELECT l.account_id, format('lot %s of account %s, opened by entry %s, which let points come back, is of %s %s'
                                    ' of %s until %s, as none is that they came from', l.lot_number, l.account_id,
                                    e.sequence, l.origin_kind, l.origin_id, l.origin_source,
                                    coalesce(l.expires_at::text, 'no time'))
        FROM lots l
        JOIN entries e ON e.account_id = l.account_id AND e.sequence = l.opened_by_sequence
             AND e.kind IN ('void', 'repayment')
        JOIN accounts a ON a.account_id = l.account_id
        -- Past its deadline points have come back at that, whatever gave them back.
        LEFT JOIN authorizations r ON r.account_id = e.account_id AND r.sequence = e.corrects_sequence
        WHERE NOT EXISTS (
            SELECT FROM allocations n JOIN lots o USING (account_id, lot_number)
            WHERE n.account_id = e.account_id AND n.sequence = e.corrects_sequence AND n.kind = 'taken'
              AND (o.origin_kind, o.origin_source, o.origin_id, o.origin_at, o.earned_by, o.available_at)
                  = (l.origin_kind, l.origin_source, l.origin_id, l.origin_at, l.earned_by, l.available_at))
           OR NOT EXISTS (
            SELECT FROM programs p, unnest(ARRAY[e.occurred_at, e.recorded_at, r.expires_at]) AS back(at)
            WHERE p.program_id = a.program_id
              AND l.expires_at = (date_trunc('day', back.at AT TIME ZONE (p.document->>'time_zone'))
                                  + make_interval(days => 1 + (p.document->>'returned_points_grace_days')::integer))
                                 AT TIME ZONE (p.document->>'time_zone')
            UNION ALL
            -- A person has let it last longer since.
            SELECT FROM repairs h
            WHERE h.account_id = l.account_id AND h.subject = 'lot ' || l.lot_number
              AND (h.rebuilt->>'expires_at')::timestamptz = l.expires_at)
        """,
        is_of_facts=True,
    ),
)
