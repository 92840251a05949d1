"""The invariants of the ledger as set-based checks: each finds the rows that break it and says so in words.

The numbers are those of docs/ledger.md. One account shard or everything; one snapshot, so that it may run beside
posting. Nothing is changed.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection

from core.store.engine import run_bulk

#: Differences that one check reports; a broken ledger would drown the reader otherwise.
DIFFERENCES_MAX = 50


class Check(NamedTuple):
    """One invariant; `query` returns the text of each difference. `a` are the accounts in scope."""

    invariant: int
    name: str
    query: str
    is_global: bool = False  #: needs everything: left out when only one shard is looked at


class Difference(NamedTuple):
    """One row that breaks an invariant."""

    invariant: int
    name: str
    text: str


# The two sides of a check are put below each other and added up, where each row of one has to be found in the other:
# a join would be quadratic for an account that thousands share, since it is the accounts that have an index.
CHECKS = (
    Check(
        1,
        "balance is the sum of the entries",
        """
        SELECT format('account %s: balance %s, entries sum to %s', a.account_id, a.balance, coalesce(sum(e.points), 0))
        FROM a LEFT JOIN entries e USING (account_id)
        GROUP BY a.account_id, a.balance HAVING a.balance <> coalesce(sum(e.points), 0)
        """,
    ),
    Check(
        1,
        "balance and pending are the lots less the deficit",
        """
        SELECT format('account %s: balance %s, pending %s, deficit %s, but lots hold %s',
                      a.account_id, a.balance, a.pending, a.deficit, coalesce(sum(l.points_remaining), 0))
        FROM a LEFT JOIN lots l USING (account_id)
        GROUP BY a.account_id, a.balance, a.pending, a.deficit
        HAVING a.balance + a.pending <> coalesce(sum(l.points_remaining), 0) - a.deficit
        """,
    ),
    Check(
        1,
        "deficit is the sum of its changes",
        """
        SELECT format('account %s: deficit %s, entries changed it by %s',
                      a.account_id, a.deficit, coalesce(sum(e.deficit_change), 0))
        FROM a LEFT JOIN entries e USING (account_id)
        GROUP BY a.account_id, a.deficit HAVING a.deficit <> coalesce(sum(e.deficit_change), 0)
        """,
    ),
    Check(
        2,
        "an entry is the sum of its allocations",
        """
        SELECT format('entry %s of account %s: %s points, allocations %s, deficit changed by %s',
                      e.sequence, e.account_id, e.points, coalesce(sum(n.points), 0), e.deficit_change)
        FROM a JOIN entries e USING (account_id) LEFT JOIN allocations n USING (account_id, sequence)
        GROUP BY e.account_id, e.sequence, e.points, e.deficit_change
        HAVING e.points <> coalesce(sum(n.points), 0) - e.deficit_change
        """,
    ),
    Check(
        2,
        "a lot holds what its allocations left",
        """
        SELECT format('lot %s of account %s: granted %s, %s left, %s expired, but allocations give %s, %s, %s',
                      lot_number, account_id, sum(granted), sum(remaining), sum(expired),
                      sum(given), sum(left_over), sum(let_expire))
        FROM (
            SELECT account_id, l.lot_number, l.points_granted AS granted, l.points_remaining AS remaining,
                   l.points_expired AS expired, 0 AS given, 0 AS left_over, 0 AS let_expire
            FROM a JOIN lots l USING (account_id)
            UNION ALL
            SELECT account_id, n.lot_number, 0, 0, 0, greatest(n.points, 0), n.points,
                   CASE WHEN e.kind = 'expiry' THEN -n.points ELSE 0 END
            FROM a JOIN allocations n USING (account_id) JOIN entries e USING (account_id, sequence)
        ) AS sides
        GROUP BY account_id, lot_number
        HAVING sum(granted) <> sum(given) OR sum(remaining) <> sum(left_over) OR sum(expired) <> sum(let_expire)
        """,
    ),
    Check(
        3,
        "entries are numbered without gaps and their balances chain",
        """
        SELECT format('entry %s of account %s: place %s, balance_after %s, running sum %s',
                      sequence, account_id, place, balance_after, running)
        FROM (
            SELECT e.account_id, e.sequence, e.balance_after,
                   row_number() OVER w AS place, sum(e.points) OVER w AS running
            FROM a JOIN entries e USING (account_id) WINDOW w AS (PARTITION BY e.account_id ORDER BY e.sequence)
        ) AS chain
        WHERE sequence <> place OR balance_after <> running
        UNION ALL
        SELECT format('account %s: sequence %s, but %s entries', a.account_id, a.last_sequence, count(e.sequence))
        FROM a LEFT JOIN entries e USING (account_id)
        GROUP BY a.account_id, a.last_sequence HAVING a.last_sequence <> count(e.sequence)
        """,
    ),
    Check(
        4,
        "an order's entries are its entitlement, what expired and what was not taken",
        """
        SELECT format('order %s of %s: entitled %s, excused %s, shortfall %s, but entries sum to %s',
                      order_id, source, sum(entitled), sum(excused), sum(shortfall), sum(points))
        FROM (
            SELECT account_id, o.source, o.order_id, o.points_entitled AS entitled, o.points_excused AS excused,
                   o.points_shortfall AS shortfall, 0 AS points
            FROM a JOIN orders o USING (account_id)
            UNION ALL
            SELECT account_id, e.source, e.order_id, 0, 0, 0, e.points
            FROM a JOIN entries e USING (account_id) WHERE e.order_id IS NOT NULL
        ) AS sides
        GROUP BY account_id, source, order_id
        HAVING sum(points) <> sum(entitled) + sum(excused) + sum(shortfall)
        """,
    ),
    Check(
        5,
        "lifetime points are accruals less clawbacks",
        """
        SELECT format('account %s: lifetime_points %s, entries give %s', a.account_id, a.lifetime_points,
                      coalesce(sum(e.points) FILTER (WHERE e.kind IN ('accrual', 'clawback')), 0))
        FROM a LEFT JOIN entries e USING (account_id)
        GROUP BY a.account_id, a.lifetime_points
        HAVING a.lifetime_points <> coalesce(sum(e.points) FILTER (WHERE e.kind IN ('accrual', 'clawback')), 0)
        """,
    ),
    Check(
        6,
        "a posted message is in the ledger, once",
        """
        SELECT format('message %s (%s %s) is posted, but %s order(s) and refund(s) name it',
                      i.inbox_id, i.source, i.event_id, count(p.inbox_id))
        FROM inbox i
        LEFT JOIN (SELECT inbox_id FROM orders UNION ALL SELECT inbox_id FROM refunds) p USING (inbox_id)
        WHERE i.state = 'posted'
        GROUP BY i.inbox_id, i.source, i.event_id HAVING count(p.inbox_id) <> 1
        UNION ALL
        SELECT format('%s %s of %s names message %s, which is %s', p.what, p.id, p.source, p.inbox_id,
                      coalesce(i.state, 'not there'))
        FROM (SELECT 'order' AS what, order_id AS id, source, inbox_id FROM orders
              UNION ALL SELECT 'refund', refund_id, source, inbox_id FROM refunds) AS p
        LEFT JOIN inbox i USING (inbox_id) WHERE i.state IS DISTINCT FROM 'posted'
        """,
        is_global=True,
    ),
    Check(
        7,
        "every entry has its event, and an account's events are in order",
        """
        SELECT format('entry %s of account %s has no event', e.sequence, e.account_id)
        FROM a JOIN entries e USING (account_id)
        LEFT JOIN outbox o ON o.account_id = e.account_id AND o.event_id = e.account_id || ':' || e.sequence
        WHERE o.outbox_id IS NULL
        UNION ALL
        SELECT format('entry %s of account %s: its event %s stands before that of the previous entry,'
                      ' or was published before it', sequence, account_id, outbox_id)
        FROM (
            SELECT e.account_id, e.sequence, o.outbox_id, o.published_at, lag(o.outbox_id) OVER w AS outbox_id_before,
                   lag(o.published_at) OVER w AS published_before, e.sequence > 1 AS has_before
            FROM a JOIN entries e USING (account_id)
            JOIN outbox o ON o.account_id = e.account_id AND o.event_id = e.account_id || ':' || e.sequence
            WINDOW w AS (PARTITION BY e.account_id ORDER BY e.sequence)
        ) AS chain
        WHERE outbox_id < outbox_id_before OR (has_before AND published_at IS NOT NULL AND published_before IS NULL)
        """,
    ),
    Check(
        8,
        "no expired lot was taken from",
        """
        SELECT format('entry %s of account %s took from lot %s, which had expired at %s',
                      e.sequence, e.account_id, l.lot_number, l.expires_at)
        FROM a JOIN entries e USING (account_id)
        JOIN allocations n USING (account_id, sequence) JOIN lots l USING (account_id, lot_number)
        WHERE n.points < 0 AND e.kind <> 'expiry' AND l.expires_at <= e.recorded_at
        """,
    ),
    Check(
        9,
        "a program's balances are what it issued, less what was taken back or expired",
        """
        SELECT format('program %s: balances sum to %s, entries to %s', program_id, balances, points)
        FROM (SELECT program_id, sum(balance) AS balances FROM a GROUP BY program_id) AS held
        FULL JOIN (SELECT a.program_id, sum(e.points) AS points FROM a JOIN entries e USING (account_id)
                   GROUP BY a.program_id) AS issued USING (program_id)
        WHERE coalesce(balances, 0) <> coalesce(points, 0)
        """,
        is_global=True,
    ),
)


_QUERY = """
WITH a AS (
    SELECT account_id, program_id, sequence AS last_sequence, balance, pending, deficit, lifetime_points
    FROM accounts WHERE %s::smallint IS NULL OR account_shard = %s
)
SELECT * FROM ({check}) AS differences LIMIT {differences_max}
"""


def verify_ledger(connection: Connection, *, account_shard: int | None = None) -> list[Difference]:
    """Every difference, at most `DIFFERENCES_MAX` per check; an empty list is a clean ledger."""
    return [difference for _, found in verify_steps(connection, account_shard=account_shard) for difference in found]


def verify_steps(
    connection: Connection, *, account_shard: int | None = None
) -> Iterator[tuple[Check, list[Difference]]]:
    """Run check by check, for those who show progress. `connection` must be at the start of its transaction."""
    run_bulk(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    run_bulk(connection, "SET LOCAL statement_timeout = 0")
    for check in CHECKS:
        if check.is_global and account_shard is not None:
            continue
        query = _QUERY.format(check=check.query.replace("%s", "%%s"), differences_max=DIFFERENCES_MAX)
        rows = run_bulk(connection, query, (account_shard, account_shard))
        yield check, [Difference(check.invariant, check.name, text) for (text,) in rows]
