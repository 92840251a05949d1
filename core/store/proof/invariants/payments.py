"""Points that paid orders: as many have come back as should have, for each order and in all."""

from core.store.proof.invariants.check import Check
from core.store.proof.repaid_points import PAYERS, repaid_otherwise

PAYMENTS = (
    Check(
        4,
        "points that paid an order came back in the share of it that is given back",
        find=repaid_otherwise,
        is_global=True,
    ),
    Check(
        4,
        "what came back of points that paid an order is in entries, and never more than they were",
        f"""
        SELECT account_id, format('%s %s took %s points, of which %s are due back, %s excused, %s not there, and a'
                                  ' reversal gave back %s, but entries let %s come back', kind, payment_id, taken,
                                  points_due, points_excused, points_shortfall, reversed, back)
        FROM (
            SELECT t.account_id, p.kind, p.payment_id, p.order_id, p.share, p.points_due, p.points_excused,
                   p.points_shortfall, coalesce(t.taken, 0) AS taken, coalesce(t.reversed, 0) AS reversed,
                   coalesce(b.back, 0) AS back
            FROM order_payments p
            LEFT JOIN ({PAYERS}) AS t USING (kind, source, payment_id)
            LEFT JOIN (SELECT account_id, corrects_sequence AS sequence, sum(points) AS back
                       FROM entries WHERE kind = 'repayment' GROUP BY account_id, corrects_sequence) b
                 USING (account_id, sequence)
        ) AS sides
        WHERE points_due + points_excused + points_shortfall <> back OR back + reversed > taken
           OR (order_id IS NULL AND (share <> '0' OR points_due <> 0))
        UNION ALL
        SELECT e.account_id, format('entry %s of account %s lets %s points come back that paid order %s, and they are'
                                    ' of no payment', e.sequence, e.account_id, e.points, coalesce(e.order_id, '-'))
        FROM entries e
        LEFT JOIN ({PAYERS}) AS t ON t.account_id = e.account_id AND t.sequence = e.corrects_sequence
        LEFT JOIN order_payments p ON (p.kind, p.source, p.payment_id) = (t.kind, t.source, t.payment_id)
        WHERE e.kind = 'repayment' AND p.payment_id IS NULL
        """,  # noqa: S608  # our own words
        is_global=True,
    ),
)
