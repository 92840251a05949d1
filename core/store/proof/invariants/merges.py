"""Merges: what one account gave the other got, and lots and orders stay what they are."""

from core.store.proof.invariants.check import Check

MERGES = (
    Check(
        9,
        "an account is merged into the one that its last merge says, and nothing comes to it since",
        """
        SELECT a.account_id, format('account %s is merged into %s and has %s entries, but by its merges, to entry %s,'
                                    ' it is merged into %s', a.account_id, coalesce(a.merged_into::text, 'none'),
                                    a.sequence, coalesce(m.sequence, 0), coalesce(m.into_account_id::text, 'none'))
        FROM accounts a
        LEFT JOIN (SELECT DISTINCT ON (account_id) account_id, sequence,
                          CASE role WHEN 'merged' THEN other_account_id END AS into_account_id
                   FROM merges WHERE role IN ('merged', 'restored') ORDER BY account_id, sequence DESC) m
             USING (account_id)
        WHERE a.merged_into IS DISTINCT FROM m.into_account_id
           OR (a.merged_into IS NOT NULL AND a.sequence <> m.sequence)
        """,
    ),
    Check(
        9,
        "what a merge takes from one account it gives to the other",
        """
        SELECT coalesce(e.account_id, m.account_id),
               format('entry %s of account %s, a %s of %s points and %s pending, is a merge by command %s of %s (%s),'
                      ' and entry %s of account %s, of %s and %s, the other side (%s)', e.sequence, e.account_id,
                      coalesce(e.kind, '-'), e.points, e.pending_change, coalesce(m.command_id, '-'),
                      coalesce(m.source, '-'), coalesce(m.role, '-'), coalesce(f.sequence::text, '-'),
                      coalesce(f.account_id::text, '-'), f.points, f.pending_change, coalesce(o.role, '-'))
        FROM (SELECT * FROM entries WHERE kind = 'merge') AS e
        FULL JOIN merges m ON m.account_id = e.account_id AND m.sequence = e.sequence
        LEFT JOIN merges o ON o.account_id = m.other_account_id AND o.sequence = m.other_sequence
                          AND o.other_account_id = m.account_id AND o.other_sequence = m.sequence
        LEFT JOIN entries f ON f.account_id = o.account_id AND f.sequence = o.sequence
        WHERE e.account_id IS NULL OR f.account_id IS NULL OR f.kind <> 'merge'
           OR (m.role, o.role) NOT IN (('merged', 'survivor'), ('survivor', 'merged'),
                                       ('parted', 'restored'), ('restored', 'parted'))
           OR (e.points + f.points, e.pending_change + f.pending_change, e.deficit_change, e.reserved_change)
              <> (0, 0, 0, 0)
           OR m.lifetime_points + o.lifetime_points <> 0
           OR (e.source, e.command_id, f.source, f.command_id) IS DISTINCT FROM
              (m.source, m.command_id, o.source, o.command_id)
        """,
        is_global=True,
        is_of_facts=True,
    ),
    Check(
        2,
        "a lot that a merge moved is the one that it was",
        """
        SELECT m.account_id, format('lot %s of account %s is not like lot %s of account %s, which a merge moved',
                                    m.lot_number, m.account_id, m.other_lot_number, m.other_account_id)
        FROM lot_moves m
        JOIN merges s ON s.account_id = m.account_id AND s.sequence = m.sequence
        JOIN dated_lots l ON l.account_id = m.account_id AND l.lot_number = m.lot_number
        JOIN dated_lots f ON f.account_id = m.other_account_id AND f.lot_number = m.other_lot_number
        LEFT JOIN lot_moves o ON o.account_id = s.other_account_id AND o.sequence = s.other_sequence
                             AND o.lot_number = m.other_lot_number
                             AND o.other_account_id = m.account_id AND o.other_lot_number = m.lot_number
        WHERE o.account_id IS NULL OR m.points_expired + o.points_expired <> 0 OR l.points_granted <> f.points_granted
           OR (l.origin_kind, l.origin_source, l.origin_id, l.origin_at, l.earned_by)
              <> (f.origin_kind, f.origin_source, f.origin_id, f.origin_at, f.earned_by)
           -- Until its order is fulfilled a lot has no dates; and a person may let it last longer.
           OR (l.available_at IS NOT NULL AND f.available_at IS NOT NULL
               AND (l.available_at, l.expires_at) IS DISTINCT FROM (f.available_at, f.expires_at)
               AND NOT EXISTS (
                   SELECT FROM repairs r
                   WHERE (r.account_id, r.subject) IN ((l.account_id, 'lot ' || l.lot_number),
                                                       (f.account_id, 'lot ' || f.lot_number))))
        """,
        is_global=True,
        is_of_facts=True,
    ),
    Check(
        4,
        "an order that a merge moved left one account and came to the other as it was",
        r"""
        SELECT NULL::uuid, format('order %s of %s: by merge %s it was due %s points more, and had %s more, in one'
                                  ' account than in the other', v.order_id, v.source, v.event_key, sum(v.points_due),
                                  sum(v.points_taken))
        FROM order_events v
        LEFT JOIN merges m ON m.account_id = v.account_id AND concat(m.source, E'\t', m.command_id) = v.event_key
        WHERE v.kind IN ('moved_away', 'moved_in')
        GROUP BY v.source, v.order_id, v.program_id, v.event_key
        HAVING (count(*), count(DISTINCT v.kind), count(m.account_id)) <> (2, 2, 2)
            OR (sum(v.points_due), sum(v.points_taken), sum(v.points_excused), sum(v.points_shortfall)) <> (0, 0, 0, 0)
            OR bool_or((v.kind = 'moved_away') <> (m.role IN ('merged', 'parted')))
            OR bool_or(v.sequence <> m.sequence)
        """,
        is_global=True,
        is_of_facts=True,
    ),
)
