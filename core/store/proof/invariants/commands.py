"""Commands: each has one answer, which says what the ledger holds."""

from core.store.proof.invariants.check import Check
from core.store.proof.invariants.messages import kept_since

COMMANDS = (
    Check(
        6,
        "an accepted command's entries are those of its answer",
        """
        SELECT c.account_id, format('command %s of %s: its answer tells of entry %s of account %s, a %s of %s points,'
                                    ' and the ledger has %s', c.command_id, c.source, t.sequence, t.account_id, t.kind,
                                    t.points, coalesce('a ' || e.kind || ' of ' || e.points, 'no such entry of it'))
        FROM commands c
        CROSS JOIN LATERAL json_to_recordset(c.answer->'entries')
                           AS t(account_id uuid, sequence bigint, kind text, points bigint)
        LEFT JOIN entries e ON (e.account_id, e.sequence) = (t.account_id, t.sequence)
                            AND (e.source, e.command_id) = (c.source, c.command_id)
        WHERE c.code IS NULL AND (e.kind, e.points) IS DISTINCT FROM (t.kind, t.points)
        """,
        is_global=True,
    ),
    Check(
        6,
        "an entry of a command is told of in the command's answer",
        """
        SELECT e.account_id, format('entry %s of account %s is of command %s of %s, whose answer does not tell of it',
                                    e.sequence, e.account_id, e.command_id, e.source)
        FROM entries e
        LEFT JOIN commands c ON c.source = e.source AND c.command_id = e.command_id AND c.code IS NULL
        WHERE e.command_id IS NOT NULL AND NOT coalesce(EXISTS (
            SELECT FROM json_array_elements(c.answer->'entries') AS t
            WHERE (t->>'account_id')::uuid = e.account_id AND (t->>'sequence')::bigint = e.sequence), false)
        """,
        is_global=True,
    ),
    Check(
        9,
        "an account that a command made is as its answer says",
        """
        SELECT a.account_id, format('account %s has the id %s of its own, began at %s, and had %s lifetime points'
                                    ' before, but by the commands that made it that is %s, %s and %s', a.account_id,
                                    coalesce(a.own_account_id, '-'),
                                    CASE WHEN a.is_enrolment_given THEN a.enrolled_at END, a.lifetime_points_given,
                                    coalesce(r.reference, '-'), c.enrolled_at, coalesce(c.lifetime_points, 0))
        FROM accounts a
        LEFT JOIN (SELECT account_id, max(reference) AS reference FROM account_references WHERE kind = 'account'
                   GROUP BY account_id) r USING (account_id)
        LEFT JOIN (SELECT account_id, max(answer->>'enrolled_at')::timestamptz AS enrolled_at,
                          max((answer->>'lifetime_points')::bigint) AS lifetime_points
                   FROM commands WHERE code IS NULL AND type = 'loyalty.command.account.create'
                   GROUP BY account_id) c USING (account_id)
        WHERE a.own_account_id IS DISTINCT FROM r.reference
           OR CASE WHEN a.is_enrolment_given THEN a.enrolled_at END IS DISTINCT FROM c.enrolled_at
           OR a.lifetime_points_given <> coalesce(c.lifetime_points, 0)
        """,
    ),
    Check(
        9,
        "an account's members are those that a command said last",
        """
        SELECT account_id, format('account %s has the members %s, and by its commands it has %s', account_id,
                                  coalesce(m.members, '-'), coalesce(c.members, '-'))
        FROM accounts
        LEFT JOIN (SELECT account_id, string_agg(customer_id || ' ' || role, ', ' ORDER BY customer_id) AS members
                   FROM account_members GROUP BY account_id) m USING (account_id)
        LEFT JOIN (SELECT DISTINCT ON (c.account_id) c.account_id, (
                       SELECT string_agg(concat_ws(' ', u->>'customer_id', u->>'role'), ', '
                                         ORDER BY u->>'customer_id')
                       FROM json_array_elements(t->'members') AS u) AS members
                   FROM commands c CROSS JOIN LATERAL json_array_elements(c.answer->'accounts') AS t
                   WHERE c.code IS NULL AND (t->>'account_id')::uuid = c.account_id AND t->'members' IS NOT NULL
                   ORDER BY c.account_id, c.recorded_at DESC, c.inbox_id DESC) c USING (account_id)
        WHERE m.members IS DISTINCT FROM c.members
        """,
    ),
    Check(
        2,
        "a lot that was moved is like the one that its points came from",
        """
        SELECT l.account_id, format('lot %s of account %s, from %s %s of %s, expires at %s, but command %s of %s took'
                                    ' no such points from the other account', l.lot_number, l.account_id, l.origin_kind,
                                    l.origin_id, l.origin_source, coalesce(l.expires_at::text, 'no time'),
                                    e.command_id, e.source)
        FROM dated_lots l JOIN entries e ON e.account_id = l.account_id AND e.sequence = l.opened_by_sequence
        WHERE e.kind = 'transfer' AND NOT EXISTS (
            SELECT FROM commands c
            CROSS JOIN LATERAL json_array_elements(c.answer->'entries') AS t
            CROSS JOIN LATERAL json_array_elements(t->'lots') AS n
            JOIN lots f ON f.account_id = (t->>'account_id')::uuid AND f.lot_number = (n->>'lot_number')::integer
            WHERE (c.source, c.command_id) = (e.source, e.command_id) AND f.account_id <> l.account_id
              AND (n->>'points')::bigint < 0
              AND (f.origin_kind, f.origin_source, f.origin_id, f.origin_at, f.earned_by, f.available_at)
                  = (l.origin_kind, l.origin_source, l.origin_id, l.origin_at, l.earned_by, l.available_at)
              AND ((n->>'expires_at')::timestamptz IS NOT DISTINCT FROM l.expires_at
                   -- A person has let it last longer since.
                   OR EXISTS (SELECT FROM repairs r
                              WHERE r.account_id = l.account_id AND r.subject = 'lot ' || l.lot_number
                                AND (r.rebuilt->>'expires_at')::timestamptz = l.expires_at)))
        """,
        is_global=True,
        is_of_facts=True,
    ),
    Check(
        2,
        "a reversal undoes what its command did, and no more",
        """
        SELECT r.account_id, format('entry %s of account %s, a reversal of %s points and %s pending, undoes entry %s,'
                                    ' %s of %s and %s', r.sequence, r.account_id, r.points, r.pending_change,
                                    coalesce(r.corrects_sequence::text, 'none'), coalesce(e.kind, 'nothing'), e.points,
                                    e.pending_change)
        FROM entries r LEFT JOIN entries e ON e.account_id = r.account_id AND e.sequence = r.corrects_sequence
        WHERE r.kind = 'reversal'
          AND (e.command_id IS NULL OR e.kind = 'reversal'
               OR sign(e.points + e.pending_change) <> - sign(r.points + r.pending_change)
               OR abs(e.points + e.pending_change) < abs(r.points + r.pending_change))
        """,
        is_of_facts=True,
    ),
    Check(
        9,
        "a conversion takes points in one program and gives points in another",
        """
        SELECT NULL::uuid, format('command %s of %s made %s entries of conversion, in %s programs, of which %s give'
                                  ' points', command_id, source, count(*), count(DISTINCT program_id),
                                  count(*) FILTER (WHERE points > 0))
        FROM entries JOIN accounts USING (account_id) WHERE kind = 'conversion'
        GROUP BY source, command_id
        HAVING (count(*), count(DISTINCT program_id), count(*) FILTER (WHERE points > 0)) <> (2, 2, 1)
        """,
        is_global=True,
        is_of_facts=True,
    ),
    Check(
        9,
        "a conversion gives what its points come to at the rate of its version",
        """
        SELECT NULL::uuid, format('command %s of %s converted %s points to %s of %s, and version %s of %s gives %s',
                                  command_id, source, taken, given, to_program, program_version, program_id,
                                  coalesce(whole + up, 0))
        FROM (
            SELECT k.*, div(k.taken * n.gives, n.points) AS whole,
                   CASE WHEN mod(k.taken * n.gives, n.points) = 0 THEN 0
                        ELSE CASE n.rounding WHEN 'ceil' THEN 1
                             WHEN 'half_up' THEN (2 * mod(k.taken * n.gives, n.points) >= n.points)::integer
                             WHEN 'half_even' THEN (2 * mod(k.taken * n.gives, n.points)
                                                    + mod(div(k.taken * n.gives, n.points), 2) > n.points)::integer
                             ELSE 0 END END AS up
            FROM (SELECT c.source, c.command_id, c.program_version, f.program_id, t.program_id AS to_program,
                         - e.points::numeric AS taken, g.points::numeric AS given
                  FROM commands c
                  JOIN entries e ON e.account_id = c.account_id AND (e.source, e.command_id) = (c.source, c.command_id)
                                    AND e.kind = 'conversion' AND e.points < 0
                  JOIN accounts f ON f.account_id = e.account_id
                  JOIN entries g ON (g.source, g.command_id, g.kind) = (c.source, c.command_id, 'conversion')
                                    AND g.points > 0
                  JOIN accounts t ON t.account_id = g.account_id
                  WHERE c.type = 'loyalty.command.convert' AND c.code IS NULL) AS k
            LEFT JOIN LATERAL (
                SELECT (n->>'points')::numeric AS points, (n->>'gives')::numeric AS gives,
                       coalesce(n->>'rounding', 'floor') AS rounding
                FROM programs p CROSS JOIN LATERAL jsonb_array_elements(p.document->'conversions') AS n
                WHERE p.program_id = k.program_id AND p.version = k.program_version
                  AND n->>'to_program' = k.to_program
                LIMIT 1) AS n ON true
        ) AS reckoned
        WHERE given IS DISTINCT FROM whole + up
        """,
        is_global=True,
        is_of_facts=True,
    ),
    Check(
        9,
        "a conversion is undone on both sides, as a whole",
        """
        SELECT NULL::uuid, format('command %s of %s was undone on %s of %s sides, by %s commands, for %s of %s points',
                                  e.command_id, e.source, count(r.sequence), count(*), count(DISTINCT r.command_id),
                                  sum(abs(r.points + r.pending_change)), sum(abs(e.points)))
        FROM entries e LEFT JOIN entries r ON r.account_id = e.account_id AND r.corrects_sequence = e.sequence
                                              AND r.kind = 'reversal'
        WHERE e.kind = 'conversion'
        GROUP BY e.source, e.command_id
        HAVING count(r.sequence) > 0 AND (count(r.sequence) < count(*) OR count(DISTINCT (r.source, r.command_id)) > 1
                                          OR sum(abs(r.points + r.pending_change)) <> sum(abs(e.points)))
        """,
        is_global=True,
        is_of_facts=True,
    ),
    Check(
        9,
        "what a transfer takes from one account it gives to another",
        """
        SELECT NULL::uuid, format('command %s of %s moved %s points out of, and %s points into accounts',
                                  command_id, source, sum(points) FILTER (WHERE points < 0),
                                  sum(points) FILTER (WHERE points > 0))
        FROM (SELECT e.source, e.command_id, e.kind, e.points + e.pending_change AS points
              FROM entries e
              LEFT JOIN entries c ON c.account_id = e.account_id AND c.sequence = e.corrects_sequence
              -- Of a conversion each side has a number of its own.
              WHERE e.kind IN ('transfer', 'reversal') AND c.kind IS DISTINCT FROM 'conversion') AS moved
        GROUP BY source, command_id, kind
        HAVING (sum(points) <> 0 AND (kind = 'transfer' OR count(*) > 1)) OR (kind = 'transfer' AND count(*) <> 2)
        """,
        is_global=True,
        is_of_facts=True,
    ),
    Check(
        9,
        "an account is frozen or closed by a command",
        """
        SELECT a.account_id, format('account %s is %s, but of its commands %s freeze it, %s unfreeze it, %s close it',
                                    a.account_id, a.status, coalesce(c.freezing, 0), coalesce(c.unfreezing, 0),
                                    coalesce(c.closing, 0))
        FROM accounts a
        LEFT JOIN (SELECT account_id, count(*) FILTER (WHERE type = 'loyalty.command.account.freeze') AS freezing,
                          count(*) FILTER (WHERE type = 'loyalty.command.account.unfreeze') AS unfreezing,
                          count(*) FILTER (WHERE type = 'loyalty.command.account.close') AS closing
                   FROM commands WHERE code IS NULL GROUP BY account_id) c USING (account_id)
        LEFT JOIN erased_accounts d ON d.account_id = a.account_id AND d.is_closed
        WHERE (a.status = 'closed') <> (coalesce(c.closing, 0) > 0 OR d.account_id IS NOT NULL)
           OR (a.status = 'frozen' AND coalesce(c.freezing, 0) = 0)
           OR (a.status = 'active' AND c.freezing > 0 AND c.unfreezing = 0)
        """,
    ),
    Check(
        7,
        "every command's answer has its event",
        f"""
        SELECT c.account_id, format('command %s of %s has no event of its answer', c.command_id, c.source)
        FROM commands c
        LEFT JOIN outbox o ON o.account_id IS NOT DISTINCT FROM c.account_id
             AND o.event_key = concat('answer:', c.source, ' ', c.command_id)
        WHERE o.outbox_id IS NULL AND c.recorded_at >= {kept_since("outbox")}
        UNION ALL
        SELECT NULL, format('message %s (%s %s) is rejected, and command %s of %s is accepted', i.inbox_id, i.source,
                            i.event_id, c.command_id, c.source)
        FROM inbox i JOIN commands c USING (inbox_id) WHERE (i.state = 'rejected') <> (c.code IS NOT NULL)
        """,  # noqa: S608  # our own words
        is_global=True,
    ),
)
