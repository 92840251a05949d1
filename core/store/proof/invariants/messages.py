"""Invariants 6, 7 and 9: messages, events, programs. What retention has purged is not asked for."""

from core.store.proof.invariants.check import Check


def kept_since(table: str) -> str:
    """The instant from which every row of `table` is still there."""
    kept = f"SELECT purged_before FROM retention WHERE table_name = '{table}'"  # noqa: S608  # our own table names
    return f"coalesce(({kept}), '-infinity')"


MESSAGES_AND_EVENTS = (
    Check(
        6,
        "a posted message is in the ledger, once",
        f"""
        SELECT NULL::uuid, format('message %s (%s %s) is posted, but %s order(s), command(s) and the like name it',
                                  i.inbox_id, i.source, i.event_id, count(p.inbox_id))
        FROM inbox i
        LEFT JOIN (SELECT inbox_id FROM orders UNION ALL SELECT inbox_id FROM refunds
                   UNION ALL SELECT inbox_id FROM returns
                   UNION ALL SELECT inbox_id FROM commands WHERE code IS NULL
                   UNION ALL SELECT inbox_id FROM order_events
                             WHERE kind NOT IN ('given_up', 'moved_away', 'moved_in')) p USING (inbox_id)
        WHERE i.state = 'posted'
        GROUP BY i.inbox_id, i.source, i.event_id HAVING count(p.inbox_id) <> 1
        UNION ALL
        SELECT p.account_id, format('%s %s of %s names message %s, which is %s', p.what, p.id, p.source, p.inbox_id,
                                    coalesce(i.state, 'not there'))
        FROM (SELECT 'order' AS what, order_id AS id, source, inbox_id, recorded_at, account_id FROM orders
              UNION ALL SELECT 'refund', refund_id, source, inbox_id, recorded_at, account_id FROM refunds
              UNION ALL SELECT 'return', return_id, source, inbox_id, recorded_at, account_id FROM returns
              UNION ALL SELECT kind || ' order', order_id, source, inbox_id, recorded_at, account_id
                        FROM order_events
              UNION ALL SELECT 'command', command_id, source, inbox_id, recorded_at, account_id FROM commands
                        WHERE code IS NULL) AS p
        LEFT JOIN inbox i USING (inbox_id)
        WHERE i.state IS DISTINCT FROM 'posted' AND (i.inbox_id IS NOT NULL OR p.recorded_at >= {kept_since("inbox")})
        """,  # noqa: S608  # our own words
        is_global=True,
    ),
    Check(
        7,
        "every entry has its event, and an account's events are in order",
        f"""
        SELECT e.account_id, format('entry %s of account %s has no event', e.sequence, e.account_id)
        FROM entries e
        LEFT JOIN outbox o ON o.account_id = e.account_id AND o.event_key = e.sequence::text
        WHERE o.outbox_id IS NULL AND e.recorded_at >= {kept_since("outbox")}
        UNION ALL
        SELECT account_id, format('entry %s of account %s: its event %s stands before that of the previous entry',
                                  sequence, account_id, outbox_id)
        FROM (
            SELECT e.account_id, e.sequence, o.outbox_id, lag(o.outbox_id) OVER w AS outbox_id_before
            FROM entries e
            JOIN outbox o ON o.account_id = e.account_id AND o.event_key = e.sequence::text
            WINDOW w AS (PARTITION BY e.account_id ORDER BY e.sequence)
        ) AS chain
        WHERE outbox_id < outbox_id_before
        """,  # noqa: S608  # our own words
    ),
    Check(
        7,
        "no event tells of an entry that is not there",
        """
        SELECT o.account_id, format('event %s of account %s tells of an entry that is not there', o.event_key,
                                    o.account_id)
        FROM outbox o LEFT JOIN entries e
             ON e.account_id = o.account_id AND o.event_key = e.sequence::text
        WHERE o.type = 'loyalty.balance.changed' AND e.account_id IS NULL
        """,
        is_of_facts=True,
    ),
    Check(
        7,
        "every account and every tier change has its event",
        f"""
        SELECT a.account_id, format('account %s has no event of its opening', a.account_id)
        FROM accounts a LEFT JOIN outbox o ON o.account_id = a.account_id AND o.event_key = 'created'
        WHERE o.outbox_id IS NULL AND a.created_at >= {kept_since("outbox")}
        UNION ALL
        SELECT t.account_id, format('tier change %s of account %s has no event', t.change_number, t.account_id)
        FROM tier_changes t
        LEFT JOIN outbox o ON o.account_id = t.account_id AND o.event_key = 'tier:' || t.change_number
        WHERE o.outbox_id IS NULL AND t.recorded_at >= {kept_since("outbox")}
        """,  # noqa: S608  # our own words
    ),
    Check(
        7,
        "an account, its lots and its events are on one shard",
        """
        SELECT account_id, format('%s of account %s is on shard %s, the account on %s', what, account_id,
                                  p.account_shard, a.account_shard)
        FROM accounts a
        JOIN (SELECT account_id, 'lot ' || lot_number AS what, account_shard FROM lots
              UNION ALL SELECT account_id, 'expiry of lot ' || expires_with, account_shard FROM shared_expiries
              UNION ALL SELECT account_id, 'event ' || event_key, account_shard FROM outbox) AS p USING (account_id)
        WHERE p.account_shard <> a.account_shard
        """,
    ),
    Check(
        7,
        "events are numbered without gaps to the last, which is never purged",
        f"""
        SELECT NULL::uuid, format('after event %s of %s comes %s: those between are gone', outbox_id, created_at,
                                  following)
        FROM (SELECT outbox_id, created_at, lead(outbox_id) OVER (ORDER BY outbox_id) AS following FROM outbox) AS chain
        -- Numbers are drawn at the end of transactions, which may have begun in another order.
        WHERE following <> outbox_id + 1 AND created_at >= {kept_since("outbox")} + interval '1 hour'
        UNION ALL
        SELECT NULL::uuid, format('events up to number %s were written, but the last that is there is %s',
                                  next_number - 1, coalesce(o.last::text, 'none'))
        FROM numbers CROSS JOIN (SELECT max(outbox_id) AS last FROM outbox) AS o
        WHERE name = 'outbox' AND next_number <> coalesce(o.last, 0) + 1
        UNION ALL
        SELECT NULL::uuid, format('the next message would have number %s, but message %s is there', next_number, i.last)
        FROM numbers CROSS JOIN (SELECT max(inbox_id) AS last FROM inbox) AS i
        WHERE name = 'inbox' AND next_number <= i.last
        UNION ALL
        SELECT NULL::uuid, format('the events of account shard %s are published up to number %s, which none has yet',
                                  account_shard, published_through)
        FROM relay_positions JOIN numbers ON name = 'outbox' WHERE published_through >= next_number
        """,  # noqa: S608  # our own words
        is_global=True,
    ),
    Check(
        7,
        "what retention may have purged is of the past",
        """
        SELECT NULL::uuid, format('rows of %s from before %s may be gone, it says; that is still to come', table_name,
                                  purged_before)
        FROM retention WHERE purged_before > now()
        """,
        is_global=True,
    ),
    Check(
        9,
        "members and orders are of their account's program",
        """
        SELECT account_id, format('%s %s is of program %s, its account %s of program %s', p.what, p.id, p.program_id,
                                  account_id, a.program_id)
        FROM accounts a
        JOIN (SELECT account_id, 'member' AS what, customer_id AS id, program_id FROM members
              UNION ALL SELECT account_id, 'order', order_id, program_id FROM orders) AS p USING (account_id)
        WHERE p.program_id <> a.program_id
        """,
    ),
    Check(
        9,
        "a customer's orders come to one of the customer's accounts",
        """
        SELECT a.account_id, format('account %s: its customer %s has none in program %s to which orders come',
                                    a.account_id, a.customer_id, a.program_id)
        FROM accounts a LEFT JOIN members m USING (program_id, customer_id)
        WHERE m.account_id IS NULL
        UNION ALL
        SELECT a.account_id, format('orders of customer %s come to account %s, which is neither theirs nor shared',
                                    m.customer_id, a.account_id)
        FROM members m JOIN accounts a USING (account_id)
        LEFT JOIN account_members u ON u.account_id = m.account_id AND u.customer_id = m.customer_id
        WHERE m.customer_id <> a.customer_id AND u.customer_id IS NULL
        """,
        is_global=True,
    ),
    Check(
        9,
        "a program's balances are what it issued, less what was taken back or expired",
        """
        SELECT NULL::uuid, format('program %s: balances sum to %s, entries to %s', program_id, balances, points)
        FROM (SELECT program_id, sum(balance) AS balances FROM accounts GROUP BY program_id) AS held
        FULL JOIN (SELECT a.program_id, sum(e.points) AS points
                   FROM accounts a
                   JOIN (SELECT account_id, sum(points) AS points FROM entries GROUP BY account_id) e USING (account_id)
                   GROUP BY a.program_id) AS issued USING (program_id)
        WHERE coalesce(balances, 0) <> coalesce(points, 0)
        """,
        is_global=True,
    ),
)
