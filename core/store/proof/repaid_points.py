"""How many points that paid orders should have come back, worked out anew as posting does: from orders and refunds."""

from typing import Any

from sqlalchemy import Connection

from core.domain.orders.posted import PostedOrder
from core.domain.orders.repaying import share_back
from core.domain.program.registry import ProgramRegistry
from core.domain.value.payments import Payment, PaymentKey
from core.domain.value.repayments import points_due
from core.store.engine import run_bulk, stream_rows
from core.store.order_payments import PAYMENTS
from core.store.proof.order_points import COLUMNS, FROM_ORDERS, read_order
from core.store.proof.scope import Findings, Scope

#: What took the points that orders may name, with what of them a command has let come back.
PAYERS = """
SELECT 'authorization' AS kind, '' AS source, a.authorization_id AS payment_id, a.account_id, a.sequence,
       coalesce(c.captured, 0)::bigint AS taken, 0::bigint AS reversed
FROM authorizations a
LEFT JOIN (SELECT account_id, corrects_sequence AS sequence, sum(-reserved_change) AS captured
           FROM entries WHERE kind = 'capture' GROUP BY account_id, corrects_sequence) c USING (account_id, sequence)
WHERE a.kind = 'authorization'
UNION ALL
SELECT 'command', e.source, e.command_id, e.account_id, e.sequence, -e.points, coalesce(r.points, 0)
FROM entries e
LEFT JOIN entries r ON r.account_id = e.account_id AND r.corrects_sequence = e.sequence AND r.kind = 'reversal'
WHERE e.kind IN ('redemption', 'debit') AND e.command_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM commands m WHERE (m.source, m.command_id) = (e.source, e.command_id)
                  AND m.type = 'loyalty.command.account.close')  -- what is forfeited buys nothing
"""
_PAID_ORDERS = f"""
SELECT p.payment_id IS NOT NULL, {PAYMENTS.select("p")}, coalesce(t.taken, 0), coalesce(t.reversed, 0),
       EXISTS (SELECT FROM merges m WHERE m.account_id = t.account_id AND m.role = 'merged'), {COLUMNS}
{FROM_ORDERS}
LEFT JOIN order_payments p ON (p.order_source, p.order_id, p.program_id) = (o.source, o.order_id, o.program_id)
LEFT JOIN ({PAYERS}) AS t ON (t.kind, t.source, t.payment_id) = (p.kind, p.source, p.payment_id)
WHERE p.payment_id IS NOT NULL OR o.points_authorization_id IS NOT NULL OR o.points_command_id IS NOT NULL
   OR o.amendment->>'points_authorization_id' IS NOT NULL OR o.amendment->>'points_command_id' IS NOT NULL
"""  # noqa: S608  # our own names
_PAYMENT_COLUMNS = len(Payment._fields)
_OF_SAME_ORDER = """
SELECT FROM order_payments
WHERE (kind, source, payment_id, order_source, order_id) = (%s::text, %s::text, %s::text, %s::text, %s::text)
"""


def repaid_otherwise(connection: Connection, registry: ProgramRegistry, scope: Scope) -> Findings:
    """Orders of which other points should have come back that paid them."""
    for row in stream_rows(connection, "paid_orders", scope.narrow(_PAID_ORDERS), scope.parameters):
        is_known, *columns = row
        of_payment = columns[:_PAYMENT_COLUMNS]
        taken, reversed_ones, was_merged, *of_order = columns[_PAYMENT_COLUMNS:]
        account_id, order_id, source = of_order[:3]
        try:
            payment = PAYMENTS.read(of_payment) if is_known else None
            points = None if was_merged else (taken, reversed_ones)
            text = _otherwise(connection, registry, payment, points, tuple(of_order))
        except Exception as error:  # noqa: BLE001  # whatever somebody has put into the row: it is named
            text = f"cannot be worked out anew: {type(error).__name__}"
        if text is not None:
            yield account_id, f"order {order_id} of {source}, paid with points, {text}"


def _otherwise(
    connection: Connection,
    registry: ProgramRegistry,
    payment: Payment | None,
    points: tuple[int, int] | None,
    of_order: tuple[Any, ...],
) -> str | None:
    each = read_order(of_order)
    posted = each.posted
    named = posted.current.paid_by
    if payment is None:
        return None if named is None or _has_another(connection, named, posted) else "has nothing kept of its payment"
    if payment.key != named:
        return f"is kept as paid by {payment.kind.value} {payment.payment_id}, which it does not name"
    versions = registry.programs(posted.program_id)
    share = share_back(posted, each.refunds, versions[posted.program_version - 1])
    # Of an account that is merged into another one nothing comes back by itself; parted again, what fell due meanwhile
    # comes back with the next change of the order.
    due = payment.points_due if points is None else points_due(share, *points)
    if (payment.share, payment.points_due) != (share, due):
        return (
            f"has {payment.share} of it given back, and {payment.points_due} points due, but its refunds give back"
            f" {share} of it, and {due} points"
        )
    return None


def _has_another(connection: Connection, named: PaymentKey, posted: PostedOrder) -> bool:
    """Whether the same order, in another program, has what it names."""
    return bool(run_bulk(connection, _OF_SAME_ORDER, (*named, *posted.key)))
